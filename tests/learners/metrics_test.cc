#include "learners/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace shrike::learners {
namespace {

using Scores = std::vector<float>;
using Labels = std::vector<uint8_t>;

// By definition: over every distinct threshold, falling.
double brute_ap(const Scores& s, const Labels& y) {
  std::vector<float> thresholds(s);
  std::sort(thresholds.rbegin(), thresholds.rend());
  thresholds.erase(std::unique(thresholds.begin(), thresholds.end()), thresholds.end());
  double frauds = 0, ap = 0, recall_before = 0;
  for (const auto l : y) frauds += l;
  for (const float t : thresholds) {
    double caught = 0, alarms = 0;
    for (size_t i = 0; i < s.size(); ++i) {
      if (s[i] < t) continue;
      ++alarms;
      caught += y[i];
    }
    ap += (caught / frauds - recall_before) * (caught / alarms);
    recall_before = caught / frauds;
  }
  return ap;
}

double brute_auc(const Scores& s, const Labels& y) {
  double wins = 0, pairs = 0;
  for (size_t i = 0; i < s.size(); ++i) {
    for (size_t j = 0; j < s.size(); ++j) {
      if (y[i] != 1 || y[j] != 0) continue;
      ++pairs;
      wins += s[i] > s[j] ? 1 : s[i] == s[j] ? 0.5 : 0;
    }
  }
  return wins / pairs;
}

TEST(Metrics, KnownValues) {
  // scikit-learn's documentation: AP 0.83, AUC 0.75 for these.
  const Scores s = {0.1f, 0.4f, 0.35f, 0.8f};
  const Labels y = {0, 0, 1, 1};
  EXPECT_NEAR(average_precision(s, y), 0.8333333, 1e-6);
  EXPECT_NEAR(auc(s, y), 0.75, 1e-12);
  EXPECT_NEAR(brier(s, y), (0.01 + 0.16 + 0.4225 + 0.04) / 4, 1e-6);
  EXPECT_NEAR(log_loss(s, y), -(std::log(0.9) + std::log(0.6) + std::log(0.35) + std::log(0.8)) / 4, 1e-6);
  EXPECT_NEAR(recall_at_fpr(s, y, 0.5), 1, 1e-12);
  EXPECT_NEAR(recall_at_fpr(s, y, 0.4), 0.5, 1e-12);
}

TEST(Metrics, EqualBruteForceWithTies) {
  std::mt19937 random(3);
  for (int round = 0; round < 50; ++round) {
    Scores s;
    Labels y;
    for (int i = 0; i < 60; ++i) {
      s.push_back(static_cast<float>(random() % 12) / 12.0f);
      y.push_back(i == 0 ? 1 : i == 1 ? 0 : random() % 5 == 0);
    }
    EXPECT_NEAR(average_precision(s, y), brute_ap(s, y), 1e-12);
    EXPECT_NEAR(auc(s, y), brute_auc(s, y), 1e-12);
  }
}

TEST(Metrics, OneClassHasNoRanking) {
  const Scores s = {0.1f, 0.2f};
  EXPECT_TRUE(std::isnan(average_precision(s, Labels{0, 0})));
  EXPECT_TRUE(std::isnan(auc(s, Labels{1, 1})));
}

TEST(Metrics, CardPrecisionCountsCardsNotTransactions) {
  const Scores s = {0.9f, 0.8f, 0.7f, 0.1f};
  const Labels y = {0, 1, 1, 1};
  const std::vector<uint64_t> cards = {1, 1, 2, 3};
  EXPECT_NEAR(card_precision(s, y, cards, 2), 1.0, 1e-12);
  EXPECT_NEAR(card_precision(s, y, cards, 4), 0.75, 1e-12);
}

TEST(Metrics, CalibrationErrorOfPerfectScoresIsZero) {
  Scores s(1000, 0.25f);
  Labels y;
  for (int i = 0; i < 1000; ++i) y.push_back(i % 4 == 0);
  EXPECT_NEAR(calibration_error(s, y, 10), 0, 1e-9);
  std::fill(s.begin(), s.end(), 0.5f);
  EXPECT_NEAR(calibration_error(s, y, 10), 0.25, 1e-9);
}

TEST(Bootstrap, TellsABetterModelFromAWorse) {
  std::mt19937 random(4);
  Scores good, bad;
  Labels y;
  for (int i = 0; i < 4000; ++i) {
    const bool fraud = random() % 50 == 0;
    y.push_back(fraud);
    const auto noise = [&] { return static_cast<float>(random() % 1000) / 1000.0f; };
    good.push_back((fraud ? 0.5f : 0.0f) + noise() * 0.5f);
    bad.push_back((fraud ? 0.2f : 0.0f) + noise() * 0.8f);
  }
  const auto better = paired_bootstrap_ap(bad, good, y, 200, 1);
  EXPECT_GT(better.win_probability, 0.99);
  EXPECT_GT(better.mean_difference, 0.1);
  const auto worse = paired_bootstrap_ap(good, bad, y, 200, 1);
  EXPECT_LT(worse.win_probability, 0.01);
  const auto same = paired_bootstrap_ap(good, good, y, 200, 1);
  EXPECT_EQ(same.win_probability, 0.5);
  const auto again = paired_bootstrap_ap(bad, good, y, 200, 1);
  EXPECT_EQ(again.mean_difference, better.mean_difference);
}

}  // namespace
}  // namespace shrike::learners
