#include "engine/fold/gate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace shrike::engine {
namespace {

struct Trial {
  std::vector<float> weak, strong;
  std::vector<uint8_t> labels;
};

// Two calibrated models: `strong` tells more.
Trial make_trial(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  const auto uniform = [&] { return static_cast<double>(random()) / 4294967296.0; };
  Trial trial;
  for (size_t i = 0; i < n; ++i) {
    const bool risky = uniform() < 0.05, sure = risky && uniform() < 0.2;
    const double p = sure ? 0.8 : 0.004;
    trial.labels.push_back(uniform() < p);
    trial.strong.push_back(static_cast<float>(p));
    trial.weak.push_back(static_cast<float>(risky ? 0.2 * 0.8 + 0.8 * 0.004 : 0.004));
  }
  return trial;
}

GateConfig gate() {
  GateConfig config;
  config.examples_min = 2000;
  config.frauds_min = 20;
  config.examples_max = 20'000;
  return config;
}

TEST(Gate, ABetterCandidateIsAccepted) {
  const Trial t = make_trial(6000, 1);
  const GateResult result = judge(gate(), t.weak, t.strong, t.labels, {}, 1);
  EXPECT_EQ(result.verdict, GateVerdict::kAccept) << result.report;
  EXPECT_NE(result.report.find("\"win_probability\""), std::string::npos);
}

TEST(Gate, AWorseCandidateIsRejected) {
  const Trial t = make_trial(6000, 2);
  EXPECT_EQ(judge(gate(), t.strong, t.weak, t.labels, {}, 1).verdict, GateVerdict::kReject);
}

TEST(Gate, WhereFraudsAreRareItWaitsForThem) {
  const Trial common = make_trial(6000, 4);
  Trial rare;  // the same frauds among eleven times as many legitimate rows
  for (size_t i = 0; i < common.labels.size(); ++i) {
    for (int copies = common.labels[i] ? 1 : 11; copies > 0; --copies) {
      rare.labels.push_back(common.labels[i]);
      rare.weak.push_back(common.weak[i] / 11);
      rare.strong.push_back(common.strong[i] / 11);
    }
  }
  GateConfig config = gate();
  config.frauds_min = 1000;
  EXPECT_EQ(judge(config, rare.weak, rare.strong, rare.labels, {}, 1).verdict, GateVerdict::kContinue)
      << rare.labels.size() << " rows are more than examples_max, and too few of them frauds";
  config.examples_max = rare.labels.size() / 100;
  EXPECT_EQ(judge(config, rare.weak, rare.strong, rare.labels, {}, 1).verdict, GateVerdict::kReject)
      << "memory bounds the trial";
  EXPECT_EQ(judge(gate(), rare.weak, rare.strong, rare.labels, {}, 1).verdict, GateVerdict::kAccept);
}

TEST(Gate, TooLittleEvidenceDecidesNothing) {
  const Trial t = make_trial(1500, 3);
  EXPECT_EQ(judge(gate(), t.weak, t.strong, t.labels, {}, 1).verdict, GateVerdict::kContinue);
  const std::vector<uint8_t> none(6000, 0);
  const std::vector<float> scores(6000, 0.1f);
  EXPECT_EQ(judge(gate(), scores, scores, none, {}, 1).verdict, GateVerdict::kContinue);
}

TEST(Gate, EqualModelsDoNotSwapAndTheTrialEnds) {
  Trial t = make_trial(6000, 4);
  EXPECT_EQ(judge(gate(), t.weak, t.weak, t.labels, {}, 1).verdict, GateVerdict::kContinue);
  t = make_trial(20'000, 4);
  EXPECT_EQ(judge(gate(), t.weak, t.weak, t.labels, {}, 1).verdict, GateVerdict::kReject);
}

TEST(Gate, NaNAndBadCalibrationAreRejected) {
  Trial t = make_trial(6000, 5);
  std::vector<float> inflated = t.strong;
  for (float& p : inflated) p = std::min(0.99f, p * 20 + 0.1f);
  const GateResult badly = judge(gate(), t.weak, inflated, t.labels, {}, 1);
  EXPECT_EQ(badly.verdict, GateVerdict::kReject);
  EXPECT_NE(badly.report.find("calibrated"), std::string::npos) << badly.report;
  t.strong[17] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(judge(gate(), t.weak, t.strong, t.labels, {}, 1).verdict, GateVerdict::kReject);
}

TEST(Gate, AsksMoreTheMoreTheChampionHasLearned) {
  const GateConfig config = gate();
  const Demands first = demands(config, {.champion_examples = 0, .champion_learned = false});
  EXPECT_EQ(first.examples_min, 50u);
  EXPECT_EQ(first.frauds_min, 5u);
  Demands before = first;
  for (uint64_t examples = 100; examples <= 8000; examples *= 2) {
    const Demands asked = demands(config, {.champion_examples = examples});
    EXPECT_GE(asked.examples_min, before.examples_min);
    EXPECT_GE(asked.frauds_min, before.frauds_min);
    EXPECT_LE(asked.examples_min, std::max<uint64_t>(50, examples / 4));
    before = asked;
  }
  for (const Demands& whole : {demands(config, {.champion_examples = 8000}), demands(config, {})}) {
    EXPECT_EQ(whole.examples_min, config.examples_min);
    EXPECT_EQ(whole.frauds_min, config.frauds_min);
    EXPECT_EQ(whole.examples_max, config.examples_max);
    EXPECT_EQ(whole.settled, 1);
  }
}

const TrialStanding kNobodyLearned{
    .champion_examples = 0, .champion_learned = false, .candidate_examples = 300};

TEST(Gate, WhileNobodyHasLearnedAHundredRowsCanBeEnough) {
  std::mt19937 random(3);
  std::vector<float> prior(100, 0.01f), candidate;
  std::vector<uint8_t> labels;
  for (size_t i = 0; i < 100; ++i) {
    const bool risky = random() % 2 == 0;
    labels.push_back(random() % 10 < (risky ? 6 : 1));
    candidate.push_back(risky ? 0.6f : 0.1f);
  }
  const GateResult result = judge(gate(), prior, candidate, labels, {}, 1, kNobodyLearned);
  EXPECT_EQ(result.verdict, GateVerdict::kAccept) << result.report;
  EXPECT_EQ(judge(gate(), prior, candidate, labels, {}, 1).verdict, GateVerdict::kContinue)
      << "a settled champion wants more";
}

// A candidate that learned noise: it knows the share of frauds, which the prior may not, and nothing else.
TEST(Gate, NoiseDoesNotTakeOverFromThePrior) {
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  size_t accepted = 0, refused = 0;
  for (size_t stream = 0; stream < 200; ++stream) {
    std::vector<float> prior, candidate;
    std::vector<uint8_t> labels;
    bool done = false;
    for (size_t n = 50; n <= 400 && !done; n += n / 4) {
      while (labels.size() < n) {
        labels.push_back(random() % 10 < 3);
        prior.push_back(stream % 2 == 0 ? 0.01f : 0.3f);
        candidate.push_back(static_cast<float>(1 / (1 + std::exp(0.85 + 0.3 * normal(random)))));
      }
      const GateResult result = judge(gate(), prior, candidate, labels, {}, stream, kNobodyLearned);
      accepted += result.verdict == GateVerdict::kAccept;
      refused += result.verdict == GateVerdict::kReject;
      done = result.verdict != GateVerdict::kContinue;
    }
  }
  EXPECT_LE(accepted, 4u) << "of 200 streams";
  EXPECT_GE(refused, 190u) << "and the trials end";
}

}  // namespace
}  // namespace shrike::engine
