#include "tools/bench/arrivals.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace shrike::tools::bench {
namespace {

std::vector<int64_t> first(const ArrivalOptions& options, int count) {
  Arrivals arrivals(options);
  std::vector<int64_t> all;
  for (int i = 0; i < count; ++i) all.push_back(arrivals.next_ns());
  return all;
}

TEST(Arrivals, ConstantOnesDoNotDrift) {
  const auto all = first({.rate = 3000}, 300'001);
  EXPECT_EQ(all[0], 0);
  EXPECT_NEAR(static_cast<double>(all[1]), 1e9 / 3000, 1);
  EXPECT_NEAR(static_cast<double>(all.back()), 100e9, 1);
}

TEST(Arrivals, PoissonGapsHaveTheRateAndAsMuchSpread) {
  constexpr int kCount = 200'000;
  const auto all = first({.rate = 1000, .pattern = Pattern::kPoisson, .seed = 3}, kCount);
  double sum = 0, squares = 0;
  for (size_t i = 1; i < all.size(); ++i) {
    ASSERT_GE(all[i], all[i - 1]);
    const auto gap = static_cast<double>(all[i] - all[i - 1]) / 1e6;
    sum += gap;
    squares += gap * gap;
  }
  const double mean = sum / kCount, deviation = std::sqrt(squares / kCount - mean * mean);
  EXPECT_NEAR(mean, 1, 0.02);
  EXPECT_NEAR(deviation, 1, 0.03);
}

TEST(Arrivals, ASeedRepeatsAndAnotherDiffers) {
  const ArrivalOptions one{.rate = 1000, .pattern = Pattern::kPoisson, .seed = 3};
  ArrivalOptions other = one;
  other.seed = 4;
  EXPECT_EQ(first(one, 100), first(one, 100));
  EXPECT_NE(first(one, 100), first(other, 100));
}

TEST(Arrivals, ABurstComesAtOnceAndThenNothing) {
  const auto all = first({.rate = 100, .pattern = Pattern::kBurst, .burst = 10}, 30);
  for (int i = 0; i < 30; ++i) EXPECT_EQ(all[static_cast<size_t>(i)], i / 10 * 100'000'000) << i;
}

}  // namespace
}  // namespace shrike::tools::bench
