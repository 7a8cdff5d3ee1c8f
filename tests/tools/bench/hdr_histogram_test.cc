#include "tools/bench/hdr_histogram.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace shrike::tools::bench {
namespace {

HdrHistogram nanoseconds() { return HdrHistogram(1, 3'600'000'000'000, 3); }

TEST(HdrHistogram, EveryPercentileIsWithinThePrecisionOfThatOfAllValuesSorted) {
  const bool holds = rc::check([] {
    HdrHistogram histogram = nanoseconds();
    std::vector<int64_t> values;
    std::mt19937_64 random(*rc::gen::arbitrary<uint64_t>());
    std::lognormal_distribution<double> times(std::log(1e6), 3);
    for (int i = 0; i < 2000; ++i) values.push_back(static_cast<int64_t>(std::min(times(random), 3e12)));
    for (const int64_t value : values) histogram.record(value);
    std::sort(values.begin(), values.end());
    for (const double percentile : {0.05, 10.0, 50.0, 75.0, 90.0, 99.0, 99.9, 100.0}) {
      const auto rank = static_cast<size_t>(std::ceil(percentile / 100 * 2000 - 1e-9));
      const auto exact = static_cast<double>(values[rank - 1]);
      RC_ASSERT(static_cast<double>(histogram.at(percentile)) >= exact);
      RC_ASSERT(static_cast<double>(histogram.at(percentile)) <= exact * 1.001 + 1);
    }
  });
  EXPECT_TRUE(holds);
}

TEST(HdrHistogram, TwoDigitsAndAnotherUnitKeepOneInAHundred) {
  HdrHistogram coarse(1000, 3'600'000'000'000, 2);
  coarse.record(123'456'789);
  EXPECT_GE(coarse.at(100), 123'456'789);
  EXPECT_LE(coarse.at(100), 123'456'789 * 1.01);
}

TEST(HdrHistogram, ValuesBeyondTheRangeCountAtItsEnds) {
  HdrHistogram histogram(1, 1'000'000, 3);
  histogram.record(-5);
  histogram.record(5'000'000);
  EXPECT_EQ(histogram.count(), 2u);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_GE(histogram.max(), 1'000'000);
  EXPECT_LE(histogram.max(), 1'001'000);
}

TEST(HdrHistogram, ASumOfIntervalsIsTheWhole) {
  HdrHistogram whole = nanoseconds(), sum = nanoseconds(), part = nanoseconds();
  std::mt19937_64 random(7);
  for (int interval = 0; interval < 5; ++interval) {
    for (int i = 0; i < 100; ++i) {
      const auto value = static_cast<int64_t>(random() % 1'000'000'000);
      whole.record(value);
      part.record(value);
    }
    sum.add(part);
    part.reset();
  }
  EXPECT_TRUE(part.empty());
  EXPECT_EQ(part.at(50), 0);
  EXPECT_EQ(sum.percentile_text(1), whole.percentile_text(1));
  EXPECT_EQ(sum.encoded(), whole.encoded());
}

TEST(HdrHistogram, ALongPauseStandsForWhoeverWouldHaveComeMeanwhile) {
  HdrHistogram histogram = nanoseconds();
  histogram.record_corrected(100, 10);
  // 100 itself, and 90, 80, ... 10.
  EXPECT_EQ(histogram.count(), 10u);
  EXPECT_EQ(histogram.min(), 10);
  histogram.record_corrected(5, 10);
  EXPECT_EQ(histogram.count(), 11u);
}

// The steps are those of HdrHistogram's PercentileIterator; hdr_files_test.py compares whole files with the
// PyPI package.
TEST(HdrHistogram, ThePercentileTextIsJavas) {
  HdrHistogram histogram(1, 10'000, 3);
  for (int value = 1; value <= 4; ++value) histogram.record(value);
  EXPECT_EQ(histogram.percentile_text(1, 1),
            "       Value     Percentile TotalCount 1/(1-Percentile)\n\n"
            "       1.000 0.000000000000          1           1.00\n"
            "       2.000 0.500000000000          2           2.00\n"
            "       3.000 0.750000000000          3           4.00\n"
            "       4.000 0.875000000000          4           8.00\n"
            "       4.000 1.000000000000          4\n"
            "#[Mean    =        2.500, StdDeviation   =        1.118]\n"
            "#[Max     =        4.000, Total count    =            4]\n"
            "#[Buckets =            4, SubBuckets     =         2048]\n");
}

TEST(HdrLog, AnIntervalIsALineWithItsTag) {
  HdrHistogram interval = nanoseconds();
  interval.record(2'000'000);
  HdrLog log(1441812279.474);
  log.add(interval, 0.127, 1.134, "A");
  const std::string& text = log.text();
  EXPECT_TRUE(text.starts_with(
      "#[Histogram log format version 1.3]\n"
      "#[BaseTime: 1441812279.474 (seconds since epoch)]\n"
      "#[StartTime: 1441812279.474 (seconds since epoch), Wed Sep 09 15:24:39 UTC 2015]\n"
      "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n"
      "Tag=A,0.127,1.007,2.001,HISTF"))
      << text;
}

}  // namespace
}  // namespace shrike::tools::bench
