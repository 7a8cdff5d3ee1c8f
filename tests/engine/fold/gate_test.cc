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

}  // namespace
}  // namespace shrike::engine
