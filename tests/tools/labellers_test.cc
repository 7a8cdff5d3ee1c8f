#include "tools/labellers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

namespace shrike::tools {
namespace {

constexpr int64_t kDayS = 86'400;

SimulatedTransaction at(int64_t day, bool fraud) {
  return {.time_s = day * kDayS + 100, .amount_cents = 1000, .is_fraud = fraud ? 1 : 0};
}

TEST(Labellers, WhatWasDeclinedIsNotHeardOfAgain) {
  Labellers open({}, 1), hidden({.hide_declined = true}, 1);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(open.look_at(at(0, true), "decline").size(), 1u);
    EXPECT_TRUE(hidden.look_at(at(0, true), "decline").empty());
    EXPECT_EQ(hidden.look_at(at(0, true), "approve").size(), 1u);
    EXPECT_TRUE(open.look_at(at(0, false), "approve").empty());
  }
}

TEST(Labellers, AnalystsHaveTheirDayAndErr) {
  Labellers labellers({.hide_declined = true, .reviews_per_day = 100, .error = 0.1, .unsure = 0.2}, 2);
  std::map<std::string, int> verdicts;
  size_t later = 0;
  for (int64_t day = 0; day < 70; ++day) {
    size_t looked = 0;
    for (int i = 0; i < 150; ++i) {
      for (const ComingLabel& label : labellers.look_at(at(day, true), "review")) {
        if (std::string(label.source) == "chargeback" || label.delay_s > 26 * 3600) {
          ++later;  // a fraud that an analyst let through, or could not tell
          continue;
        }
        ++looked;
        ++verdicts[label.verdict];
      }
    }
    EXPECT_LE(looked, day % 7 >= 5 ? 120u : 130u);  // some of the frauds found within a day among them
    EXPECT_GE(looked, day % 7 >= 5 ? 50u : 100u);
  }
  const double all = 70 * 100 * 6.0 / 7;
  EXPECT_NEAR(verdicts["\"unsure\""], 0.2 * all, 0.03 * all);
  EXPECT_NEAR(verdicts["0"], 0.08 * all, 0.02 * all);
  EXPECT_GT(later, static_cast<size_t>(0.15 * all));
}

TEST(Labellers, ChargebacksTakeAsLongAsIsSaid) {
  Labellers fixed({.delayed = true, .delay = {7 * kDayS * 1'000'000}}, 3);
  EXPECT_EQ(fixed.look_at(at(0, true), "approve").at(0).delay_s, 7 * kDayS);
  Labellers exponential({.delayed = true, .delay = {14 * kDayS * 1'000'000, true}}, 3);
  double sum = 0;
  constexpr int kDraws = 20'000;
  for (int i = 0; i < kDraws; ++i)
    sum += static_cast<double>(exponential.look_at(at(0, true), "approve").at(0).delay_s);
  EXPECT_NEAR(sum / kDraws / kDayS, 14, 0.5);
}

}  // namespace
}  // namespace shrike::tools
