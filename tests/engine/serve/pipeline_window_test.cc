#include "engine/serve/pipeline_window.h"

#include <gtest/gtest.h>

#include <deque>

namespace shrike::engine {
namespace {

// A log that writes so many in each microsecond, and takes so long for each at least: how large the window
// becomes with more requests than that.
size_t settled_size(double per_us, int64_t least_us, int64_t for_us) {
  PipelineWindow window(100'000, true);
  std::deque<int64_t> under_way;  // when each began
  double may_end = 0;
  for (int64_t now_us = 0; now_us < for_us; ++now_us) {
    while (window.open()) {
      window.began(now_us);
      under_way.push_back(now_us);
    }
    may_end = std::min(may_end + per_us, 100.0);
    for (; may_end >= 1 && !under_way.empty() && now_us - under_way.front() >= least_us; --may_end) {
      window.ended(now_us - under_way.front(), now_us);
      under_way.pop_front();
    }
  }
  return window.size();
}

TEST(PipelineWindow, HoldsWhatTheLogTakesInAMoment) {
  // 5,000 a second: a hundred in 20 ms.
  const size_t slow = settled_size(0.005, 0, 3'000'000);
  EXPECT_GE(slow, PipelineWindow::kLeast);
  EXPECT_LE(slow, 160u);
  // 100,000 a second: two thousand.
  const size_t quick = settled_size(0.1, 0, 3'000'000);
  EXPECT_GT(quick, 1'200u);
  EXPECT_LT(quick, 3'200u);
}

// A disk that takes 10 ms for each write, however many are in it: the window grows until it is kept busy.
TEST(PipelineWindow, GrowsWhereOnlyTimePasses) { EXPECT_GT(settled_size(1, 10'000, 2'000'000), 5'000u); }

TEST(PipelineWindow, KnowsForHowLongNothingHasComeThrough) {
  PipelineWindow window(1'000, true);
  EXPECT_EQ(window.stalled_us(5'000), 0);
  window.began(1'000);
  window.began(2'000);
  EXPECT_EQ(window.stalled_us(5'000), 4'000);
  window.ended(100, 6'000);
  EXPECT_EQ(window.stalled_us(7'000), 1'000);
  window.ended(100, 8'000);
  EXPECT_EQ(window.stalled_us(90'000), 0);
  window.began(100'000);
  EXPECT_EQ(window.stalled_us(100'500), 500);
}

// Answers do not wait for this log, however slow it is.
TEST(PipelineWindow, IsOnlyABoundWhereAnswersComeFirst) {
  PipelineWindow window(1'000, false);
  for (int i = 0; i < 1'000; ++i) {
    ASSERT_TRUE(window.open());
    window.began(0);
  }
  EXPECT_FALSE(window.open());
  for (int i = 0; i < 1'000; ++i) window.ended(10'000'000, 0);
  EXPECT_EQ(window.size(), 1'000u);
}

}  // namespace
}  // namespace shrike::engine
