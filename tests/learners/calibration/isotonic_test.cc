#include "learners/calibration/isotonic.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace shrike::learners {
namespace {

double logistic_of(double x) { return 1 / (1 + std::exp(-x)); }

TEST(Isotonic, CorrectsBandsAndKeepsTheOrderOfScores) {
  // True log-odds are flat below -3 and twice as steep above.
  std::mt19937 random(3);
  std::uniform_real_distribution<double> uniform(0, 1);
  const auto truth = [](double x) { return x < -3 ? -4.0 : -4 + 2 * (x + 3); };
  std::vector<double> log_odds;
  std::vector<float> labels, weights;
  for (int i = 0; i < 200'000; ++i) {
    log_odds.push_back(-7 + 8 * uniform(random));
    labels.push_back(uniform(random) < logistic_of(truth(log_odds.back())) ? 1.0f : 0.0f);
    weights.push_back(1);
  }
  const Isotonic fitted = fit_isotonic(log_odds, labels, weights);
  ASSERT_FALSE(fitted.from.empty());
  double before = 0, after = 0;
  for (double x = -6; x < 0.5; x += 0.1) {
    before = std::max(before, std::fabs(x - truth(x)));
    after = std::max(after, std::fabs(fitted(x) - truth(x)));
    EXPECT_GT(fitted(x + 1e-3), fitted(x));
  }
  EXPECT_GT(before, 1.9);
  EXPECT_LT(after, 0.45);
  EXPECT_GT(fitted(50), fitted(20));
  EXPECT_LT(fitted(-50), fitted(-20));
}

TEST(Isotonic, WhatIsCalibratedStaysAndWhatIsFewIsLeftAlone) {
  std::mt19937 random(4);
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<double> log_odds;
  std::vector<float> labels, weights;
  for (int i = 0; i < 100'000; ++i) {
    log_odds.push_back(-6 + 8 * uniform(random));
    labels.push_back(uniform(random) < logistic_of(log_odds.back()) ? 1.0f : 0.0f);
    weights.push_back(1);
  }
  const Isotonic fitted = fit_isotonic(log_odds, labels, weights);
  for (double x = -6; x < 2; x += 0.1) EXPECT_NEAR(fitted(x), x, 0.3);
  const Isotonic few =
      fit_isotonic(std::span(log_odds).first(20), std::span(labels).first(20), std::span(weights).first(20));
  EXPECT_EQ(few(-3.25), -3.25);
}

}  // namespace
}  // namespace shrike::learners
