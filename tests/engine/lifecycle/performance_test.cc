#include "engine/lifecycle/performance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/figures.h"
#include "engine/lifecycle/lifecycle.h"
#include "engine/log/recovery.h"
#include "learners/metrics.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

using features::kDayUs;
constexpr int64_t kStartUs = 17'600 * kDayUs;

ConfigPtr config() {
  static const ConfigPtr kConfig = must_parse(handbook_15());
  return kConfig;
}

// Transactions whose scores tell the truth, unless `lost` of the frauds look normal.
struct Day {
  int legitimate = 2000, frauds = 60;
  double lost = 0;    // share of frauds that score as normal traffic
  double weight = 1;  // of what is declined
  bool declines_tell = true;
};

// Feeds a monitor days of transactions, each settled when it is mature, as a fold does.
class Feeder {
 public:
  explicit Feeder(uint64_t seed) : random_(seed), monitor(config()) {}

  void take_over() {
    ModelEvent event;
    event.action = ModelAction::kAccepted;
    monitor.model(event, fold_);
  }

  void day(const Day& of) {
    const int64_t from_us = kStartUs + days_ * kDayUs;
    settle_until(from_us);
    close(from_us);
    std::vector<bool> verdicts(static_cast<size_t>(of.legitimate + of.frauds), false);
    std::fill_n(verdicts.begin(), of.frauds, true);
    std::shuffle(verdicts.begin(), verdicts.end(), random_);
    for (size_t i = 0; i < verdicts.size(); ++i) {
      const int64_t time_us = from_us + static_cast<int64_t>(i + 1) * (kDayUs / 10'000);
      take(of, verdicts[i], time_us);
    }
    ++days_;
  }

  // The judgements since the last call.
  std::vector<JudgementEvent> found() { return std::exchange(found_, {}); }
  int days() const { return static_cast<int>(days_); }

 private:
  struct Waiting {
    int64_t time_us;
    bool fraud;
    double weight, amount;
    Answer answer;
  };

  // Legitimate ones at 0.1 % and below, some at 80 %; frauds at 80 %, a fifth of them at 10 %.
  void take(const Day& of, bool fraud, int64_t time_us) {
    const double u = unit(), high = 0.6 + 0.39 * unit(), low = 0.001 * unit();
    Answer answer;
    const bool alarm = fraud ? u >= 0.2 : u < 0.008;
    answer.score = static_cast<float>(alarm ? high : fraud && u < 0.2 ? 0.1 : low);
    if (fraud && unit() < of.lost) answer.score = static_cast<float>(low);
    const double amount = 10 + 100 * unit();
    monitor.scored(
        {.sequence = ++sequence_, .time_us = time_us, .row = {}, .answer = answer, .amount = amount});
    const bool declined = answer.score >= 0.5F;
    if (declined && !of.declines_tell) return;
    waiting_.push_back({time_us, fraud, declined ? of.weight : 1, amount, answer});
  }

  void settle_until(int64_t now_us) {
    while (!waiting_.empty() && waiting_.front().time_us + config()->training.maturity_us <= now_us) {
      const Waiting& one = waiting_.front();
      monitor.settled({.sequence = ++sequence_,
                       .time_us = one.time_us,
                       .known_us = now_us,
                       .verdict = one.fraud ? Verdict::kFraud : Verdict::kLegitimate,
                       .weight = one.weight,
                       .row = {},
                       .answer = one.answer,
                       .amount = one.amount});
      waiting_.pop_front();
    }
  }

  void close(int64_t now_us) { monitor.close({{sequence_, now_us, sequence_, fold_}, true, true}, found_); }

  double unit() { return std::uniform_real_distribution<double>()(random_); }

  std::mt19937_64 random_;
  NoExamples nowhere_;
  Fold fold_{config(), nowhere_, nullptr};
  std::deque<Waiting> waiting_;
  std::vector<JudgementEvent> found_;
  int64_t days_ = 0;
  uint64_t sequence_ = 0;

 public:
  Performance monitor;
};

std::string subjects(const std::vector<JudgementEvent>& found) {
  std::string all;
  for (const JudgementEvent& event : found)
    all += std::string(name(event.severity)) + " " + event.text + "\n";
  return all;
}

TEST(Figures, AreWithinAFewThousandthsOfTheExactOnes) {
  for (const uint64_t seed : {1, 2, 3, 4, 5, 6}) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> unit;
    const bool weighted = seed % 2 == 0;
    const double threshold = seed <= 2 ? 0.5 : 0.03 * static_cast<double>(seed);
    const double centre = seed <= 4 ? -4.5 : -7;  // rare frauds too
    const ScoreScale scale(threshold);
    SettledCounts counts;
    std::vector<float> scores, weights;
    std::vector<uint8_t> labels;
    double caught = 0, alarms = 0, frauds = 0, money = 0, money_caught = 0;
    for (int i = 0; i < 60'000; ++i) {
      const double margin = centre + 2 * normal(random), truth = 1.1 * margin + 0.4;
      const auto score = static_cast<float>(1 / (1 + std::exp(-margin)));
      const bool fraud = unit(random) < 1 / (1 + std::exp(-truth));
      const bool alarm = static_cast<double>(score) >= threshold;
      const double weight = weighted && alarm ? 1 / 0.3F : 1, amount = 100 * unit(random);
      counts.add(scale, score, fraud, weight, amount, 1);
      scores.push_back(score);
      labels.push_back(fraud);
      weights.push_back(static_cast<float>(weight));
      caught += fraud && alarm ? weight : 0;
      alarms += alarm ? weight : 0;
      frauds += fraud ? weight : 0;
      money += fraud ? amount * weight : 0;
      money_caught += fraud && alarm ? amount * weight : 0;
    }
    const Figures of = figures(counts, scale);
    SCOPED_TRACE(testing::Message() << "seed " << seed << ", frauds " << frauds);
    EXPECT_NEAR(of[Metric::kAveragePrecision], learners::average_precision(scores, labels, weights), 0.005);
    EXPECT_NEAR(of[Metric::kAuc], learners::auc(scores, labels, weights), 0.005);
    EXPECT_NEAR(of[Metric::kLogLoss], learners::log_loss(scores, labels, weights), 0.0005);
    EXPECT_NEAR(of[Metric::kCalibrationError], learners::calibration_error(scores, labels, 10, weights),
                0.005);
    EXPECT_NEAR(of[Metric::kPrecision], caught / alarms, 1e-3 * (weighted ? 1 : 1e-6));
    EXPECT_NEAR(of[Metric::kRecall], caught / frauds, 1e-3 * (weighted ? 1 : 1e-6));
    EXPECT_NEAR(of[Metric::kF1], 2 * caught / (alarms + frauds), 1e-3);
    EXPECT_NEAR(of[Metric::kValueDetection], money_caught / money, 1e-3);
  }
}

TEST(Figures, WhatTheThresholdDecidesIsExact) {
  for (const double threshold : {0.0, 1e-6, 0.1, 0.4999, 0.5, 0.50001, 0.93, 1.0}) {
    const ScoreScale scale(threshold);
    for (int i = 0; i <= 100'000; ++i) {
      const double score = i / 100'000.0;
      ASSERT_LT(scale.bin(score), ScoreScale::kBins);
      ASSERT_EQ(scale.bin(score) >= scale.alarm(), score >= threshold) << threshold << " " << score;
    }
  }
}

TEST(Figures, WhatIsTakenBackLeavesNothing) {
  const ScoreScale scale(0.5);
  SettledCounts counts;
  counts.add(scale, 0.7F, false, 1 / 0.02F, 13.7, 1);
  counts.add(scale, 0.7F, false, 1 / 0.02F, 13.7, -1);
  counts.add(scale, 0.7F, true, 1 / 0.02F, 13.7, 1);
  counts.add(scale, 0.7F, true, 1 / 0.02F, 13.7, -1);
  for (const SettledCounts::Bin& bin : counts.bins) EXPECT_EQ(bin, SettledCounts::Bin{});
}

TEST(Figures, MannKendallAsByHand) {
  // All ten pairs rise: S = 10, 5 * 4 * 15 / 18 = 16.667, z = 9 / 4.0825.
  MannKendall of = mann_kendall(std::vector<double>{1, 2, 3, 4, 5});
  EXPECT_EQ(of.s, 10);
  EXPECT_NEAR(of.variance, 16.6667, 1e-4);
  EXPECT_NEAR(of.z, 2.2045, 1e-4);
  // Ties {2, 2} and {3, 3, 3} take 2 * 1 * 9 + 3 * 2 * 11 = 84 of 6 * 5 * 17 = 510: 426 / 18. Of 15 pairs
  // four tie, all others rise: S = 11, z = 10 / 4.8648.
  of = mann_kendall(std::vector<double>{1, 2, 2, 3, 3, 3});
  EXPECT_EQ(of.s, 11);
  EXPECT_NEAR(of.variance, 23.6667, 1e-4);
  EXPECT_NEAR(of.z, 2.0556, 1e-4);
  // 4 3 1 2: pairs -, -, -, -, -, +: S = -4, 4 * 3 * 13 / 18 = 8.6667, z = -3 / 2.9439.
  of = mann_kendall(std::vector<double>{4, 3, 1, 2});
  EXPECT_EQ(of.s, -4);
  EXPECT_NEAR(of.z, -1.0190, 1e-4);
  EXPECT_EQ(mann_kendall(std::vector<double>{2, 2, 2}).z, 0);
  EXPECT_EQ(mann_kendall({}).z, 0);
}

TEST(Figures, RobustZAsByHand) {
  // Median 3, deviations 2 1 0 1 97: their median 1.
  EXPECT_NEAR(robust_z(7, std::vector<double>{1, 2, 3, 4, 100}), 0.6745 * 4, 1e-9);
  EXPECT_EQ(robust_z(7, std::vector<double>{3, 3, 3}), 0);
}

TEST(Performance, AStationaryHalfYearRaisesNothing) {
  for (const uint64_t seed : {1, 2, 3}) {
    Feeder feeder(seed);
    for (int day = 0; day < 183; ++day) {
      if (day == 20 || day == 70) feeder.take_over();
      feeder.day({.legitimate = 1500, .frauds = 40});
    }
    const auto found = feeder.found();
    EXPECT_TRUE(found.empty()) << "seed " << seed << "\n" << subjects(found);
    EXPECT_LE(feeder.monitor.grade(), 'B') << feeder.monitor.report().dump(1);
  }
}

TEST(Performance, FiveFraudsADayRaiseNothing) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Feeder feeder(seed);
    for (int day = 0; day < 183; ++day) feeder.day({.legitimate = 400, .frauds = 5});
    const auto found = feeder.found();
    EXPECT_TRUE(found.empty()) << "seed " << seed << "\n" << subjects(found);
  }
}

void find_lost_recall(uint64_t seed) {
  Feeder feeder(seed);
  feeder.take_over();
  for (int day = 0; day < 40; ++day) feeder.day({});
  ASSERT_TRUE(feeder.found().empty());
  const int maturity = static_cast<int>(config()->training.maturity_us / kDayUs);
  int found_after = -1;
  for (int day = 1; day <= 30; ++day) {
    feeder.day({.lost = 1.0 / 3});
    const auto found = feeder.found();
    const bool recall = std::any_of(found.begin(), found.end(), [](const JudgementEvent& event) {
      return event.subject == "recall" && event.finding == Finding::kFailed;
    });
    if (recall && found_after < 0) {
      // This day begins; the newest complete one is the day before the maturity period.
      found_after = day - 1 - maturity;
      std::printf("seed %d: found after %d settled days\n", static_cast<int>(seed), found_after);
    }
  }
  EXPECT_GE(found_after, 1);
  EXPECT_LE(found_after, 10);
  EXPECT_GE(feeder.monitor.grade(), 'D');
  const nlohmann::json report = feeder.monitor.report();
  const auto of_recall = std::find_if(report["alerts"].begin(), report["alerts"].end(),
                                      [](const auto& alert) { return alert["subject"] == "recall"; });
  ASSERT_NE(of_recall, report["alerts"].end());
  EXPECT_EQ((*of_recall)["severity"], "critical");
  EXPECT_FALSE((*of_recall)["recommendation"].get<std::string>().empty());
  EXPECT_EQ(report["trends"]["recall"], "declining");

  feeder.found();
  for (int day = 0; day < 45; ++day) feeder.day({});
  size_t resolved = 0;
  for (const JudgementEvent& event : feeder.found()) {
    EXPECT_EQ(event.action, Action::kResolve) << event.text;
    EXPECT_EQ(event.finding, Finding::kSuccessful);
    resolved += event.subject == "recall";
  }
  EXPECT_EQ(resolved, 1u);
  EXPECT_TRUE(feeder.monitor.report()["alerts"].empty()) << feeder.monitor.report()["alerts"].dump(1);
}

TEST(Performance, LosingAThirdOfRecallIsFoundWithinTenSettledDaysAndEndsWithIt) {
  for (const uint64_t seed : {7, 8, 9, 10}) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    find_lost_recall(seed);
  }
}

TEST(Performance, ATakeoverBringsTheLastWeekAndThenItsOwnFirst) {
  Feeder feeder(3);
  for (int day = 0; day < 30; ++day) feeder.day({});
  feeder.take_over();
  feeder.day({.lost = 0.2});
  EXPECT_EQ(feeder.monitor.report()["baseline"]["of"], "the last week before the champion");
  for (int day = 0; day < 20; ++day) feeder.day({.lost = 0.2});
  const nlohmann::json report = feeder.monitor.report();
  EXPECT_EQ(report["baseline"]["of"], "the champion's first week");
  EXPECT_NEAR(report["baseline"]["recall"].get<double>(), 0.8 * 0.8, 0.07);
}

TEST(Performance, SavedInTheMiddleItGoesOnToTheSameJudgements) {
  Feeder whole(11), parts(11);
  for (int day = 0; day < 75; ++day) {
    const Day of{.lost = day < 30 || day > 55 ? 0 : 0.4, .weight = 1 / 0.3F};
    if (day == 10) {
      whole.take_over();
      parts.take_over();
    }
    whole.day(of);
    parts.day(of);
    if (day % 6 == 5) {
      const std::string bytes = parts.monitor.save();
      Performance fresh(config());
      ASSERT_TRUE(fresh.restore(bytes));
      ASSERT_EQ(fresh.save(), bytes);
      parts.monitor = std::move(fresh);
    }
  }
  const auto of_whole = whole.found();
  EXPECT_FALSE(of_whole.empty());
  EXPECT_EQ(of_whole, parts.found());
  EXPECT_EQ(whole.monitor.report(), parts.monitor.report());
  std::printf("state: %zu bytes after %d days\n", whole.monitor.save().size(), whole.days());
}

TEST(Performance, DamagedBytesAreErrors) {
  Feeder feeder(5);
  for (int day = 0; day < 25; ++day) feeder.day({.legitimate = 50, .frauds = 12});
  const std::string bytes = feeder.monitor.save();
  std::mt19937_64 random(5);
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = bytes;
    damaged[random() % damaged.size()] = static_cast<char>(random());
    if (i % 3 == 0) damaged.resize(random() % damaged.size());
    Performance fresh(config());
    if (fresh.restore(damaged)) {
      (void)fresh.report();
      (void)fresh.save();
    }
  }
}

TEST(Performance, WhereDeclinesGetNoVerdictNothingIsJudgedAndTheReportSaysSo) {
  Feeder feeder(9);
  for (int day = 0; day < 60; ++day) feeder.day({.lost = day < 30 ? 0 : 0.5, .declines_tell = false});
  EXPECT_TRUE(feeder.found().empty());
  EXPECT_EQ(feeder.monitor.grade(), ' ');
  const nlohmann::json report = feeder.monitor.report();
  EXPECT_TRUE(report["grade"].is_null());
  ASSERT_EQ(report["notes"].size(), 1u);
  EXPECT_NE(report["notes"][0].get<std::string>().find("control"), std::string::npos);
}

TEST(Performance, TheEstimateIsComparedWithWhatWasTrueWeekByWeek) {
  Feeder feeder(13);
  for (int day = 0; day < 50; ++day) feeder.day({});
  const nlohmann::json estimate = feeder.monitor.report()["estimate"];
  EXPECT_EQ(estimate["weeks"].size(), 6u);
  for (const auto& week : estimate["weeks"]) {
    EXPECT_NEAR(week["error"].get<double>(),
                std::fabs(week["estimated_average_precision"].get<double>() -
                          week["realised_average_precision"].get<double>()),
                2e-6);
  }
  EXPECT_NE(estimate["cannot_see"].get<std::string>().find("look like normal traffic"), std::string::npos);
}

TEST(Performance, ANewThresholdMovesTheBaselineWithIt) {
  Feeder feeder(17);
  for (int day = 0; day < 30; ++day) feeder.day({});
  JudgementEvent thresholds{.monitor = "thresholds", .action = Action::kThresholds};
  thresholds.values = {0.05, 0.09};
  feeder.monitor.judged(thresholds);
  for (int day = 0; day < 20; ++day) feeder.day({});
  EXPECT_TRUE(feeder.found().empty());
  const nlohmann::json report = feeder.monitor.report();
  EXPECT_EQ(report["decline_score"].get<double>(), 0.09);
  EXPECT_EQ(report["baseline"]["recall"].get<double>(), 1);  // the fifth that scores 10 % is caught now
  EXPECT_EQ(report["now"]["recall"].get<double>(), 1);
}

TEST(Performance, IsAmongTheMonitorsOfAFold) {
  NoExamples nowhere;
  const auto fold = make_fold(config(), nowhere, nullptr);
  const auto report = nlohmann::json::parse(fold->watch_report());
  EXPECT_TRUE(report["performance"]["grade"].is_null());
  EXPECT_EQ(nlohmann::json::parse(Fold(config(), nowhere, nullptr).watch_report()), nlohmann::json::object());
}

TEST(Performance, ItsSettingsAreRead) {
  const auto of = must_parse(handbook_15() + "\n[performance]\nrecall_drop = 12\nstandard_errors = 4\n");
  ASSERT_NE(of, nullptr);
  EXPECT_EQ(of->performance.recall_drop, 12);
  EXPECT_EQ(of->performance.standard_errors, 4);
  EXPECT_EQ(of->performance.precision_drop, 8);
  EXPECT_FALSE(parse_config(handbook_15() + "\n[performance]\nrecal_drop = 12\n", "test.toml"));
}

}  // namespace
}  // namespace shrike::engine
