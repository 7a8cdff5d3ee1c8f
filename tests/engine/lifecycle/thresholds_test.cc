#include "engine/lifecycle/thresholds.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include <nlohmann/json.hpp>

#include "engine/log/recovery.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

// A model's scores double overnight, which makes twice as many alarms: the threshold follows within a day.
TEST(Thresholds, KeepTheShareOfFalseAlarmsThroughASwap) {
  const ConfigPtr config = must_parse(handbook_15() + "\n[thresholds]\nlearn = true\n");
  NoExamples nowhere;
  Fold fold(config, nowhere, nullptr);
  ThresholdMonitor monitor(config);
  std::mt19937 random(1);
  std::normal_distribution<float> logit(-6, 1.5);
  double decline = 0.5;
  uint64_t sequence = 0;
  const auto day = [&](float factor) {
    uint64_t alarms = 0;
    for (int i = 0; i < 10'000; ++i) {
      Answer answer;
      answer.score = std::min(factor * std::exp(logit(random)), 0.99f);
      alarms += answer.score >= static_cast<float>(decline);
      monitor.scored({++sequence, 0, {}, answer});
      if (sequence % 1024 != 0 && i != 9999) continue;
      std::vector<JudgementEvent> found;
      monitor.close({{sequence, 0, sequence, fold}, i == 9999, i == 9999}, found);
      for (const JudgementEvent& judgement : found) decline = judgement.values[1];
    }
    return static_cast<double>(alarms) / 10'000;
  };
  day(1);
  for (int d = 0; d < 5; ++d) EXPECT_NEAR(day(1), 0.02, 0.005) << d;
  ModelEvent swap{ModelAction::kAccepted, 1, "m", ""};
  monitor.model(swap, fold);
  EXPECT_LT(day(2), 0.035) << "found after two thousand transactions";
  // Scores that are twice too high expect fewer of what is above to be legitimate, and nothing has matured.
  for (int d = 0; d < 3; ++d) EXPECT_NEAR(day(2), 0.02, 0.008) << d;
  ThresholdMonitor restored(config);
  ASSERT_TRUE(restored.restore(monitor.save()));
  EXPECT_EQ(restored.save(), monitor.save());
  EXPECT_FALSE(restored.restore("short"));
}

// Frauds are of larger amounts; whatever threshold is tried on the same days, none costs noticeably less.
TEST(Thresholds, AreWhereContactsAndFraudsCostLeastTogether) {
  const ConfigPtr config =
      must_parse(handbook_15() + "\n[thresholds]\nlearn = true\naim = \"cost\"\ncontact_cost = 8\n");
  NoExamples nowhere;
  Fold fold(config, nowhere, nullptr);
  ThresholdMonitor monitor(config);
  std::mt19937 random(1);
  std::normal_distribution<float> logit(-5, 2);
  std::exponential_distribution<double> amount(1.0 / 60);
  struct Seen {
    double score, amount;
    bool fraud;
  };
  std::vector<Seen> seen;
  JudgementEvent newest;
  uint64_t sequence = 0;
  for (int day = 0; day < 4; ++day) {
    for (int i = 0; i < 10'000; ++i) {
      Answer answer;
      answer.score = 1 / (1 + std::exp(-logit(random)));
      const auto score = static_cast<double>(answer.score);
      const bool fraud = std::uniform_real_distribution<double>()(random) < score;
      const double of = amount(random) * (1 + score);
      const double decline = newest.values[1] > 0 ? newest.values[1] : config->policy.decline_score;
      answer.wanted = score >= decline ? Decision::kDecline : Decision::kApprove;
      monitor.scored({++sequence, 0, {}, answer, of});
      monitor.settled({sequence,
                       0,
                       0,
                       fraud ? Verdict::kFraud : Verdict::kLegitimate,
                       Source::kMatured,
                       false,
                       1,
                       {},
                       answer,
                       of,
                       0});
      seen.push_back({score, of, fraud});
      if (i != 9999) continue;
      std::vector<JudgementEvent> found;
      monitor.close({{sequence, 0, sequence, fold}, true, true}, found);
      for (JudgementEvent& judgement : found) monitor.judged(newest = std::move(judgement));
    }
  }
  const auto cost_at = [&](double threshold) {
    double cost = 0;
    for (const Seen& one : seen) {
      if (one.score >= threshold ? !one.fraud : one.fraud) cost += one.fraud ? one.amount : 8;
    }
    return cost / static_cast<double>(seen.size());
  };
  double least = cost_at(1.1);
  for (double threshold = 0.005; threshold < 1; threshold += 0.005)
    least = std::min(least, cost_at(threshold));
  EXPECT_LT(least, 0.7 * cost_at(config->policy.decline_score));
  EXPECT_LT(cost_at(newest.values[1]), 1.02 * least) << newest.text;
  const auto evidence = nlohmann::json::parse(newest.evidence);
  EXPECT_NEAR(evidence["expected_cost"].get<double>(), least, 0.1 * least);
  EXPECT_LT(evidence["settled_cost_low"].get<double>(), evidence["settled_cost"].get<double>());
  ThresholdMonitor restored(config);
  ASSERT_TRUE(restored.restore(monitor.save()));
  EXPECT_EQ(restored.save(), monitor.save());
}

}  // namespace
}  // namespace shrike::engine
