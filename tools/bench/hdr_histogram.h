// Counts of values over many orders of magnitude at a fixed relative precision, in fixed memory: Gil Tene's
// HdrHistogram (http://hdrhistogram.org), with the bucket layout of its Java original, so that what is
// written here is read there. Plain data; one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shrike::tools::bench {

class HdrHistogram {
 public:
  // Values from `lowest` (told apart by at least that much) to `highest`, with 1 to 5 significant decimal
  // digits: three keep a value within 0.1 %. From 1 ns to an hour that is 270 KiB.
  HdrHistogram(int64_t lowest, int64_t highest, int significant_digits);

  // Below 0 counts as 0, above the highest as the highest.
  void record(int64_t value, uint64_t times = 1);
  // Of someone who is at it only every `interval`: a value that is longer than it also stands for those that
  // should have been taken meanwhile (value - interval, value - 2 x interval, ...).
  void record_corrected(int64_t value, int64_t interval);
  // Of the same range and precision.
  void add(const HdrHistogram& other);
  void reset();

  uint64_t count() const { return count_; }
  bool empty() const { return count_ == 0; }
  // The edges of the buckets that hold them; 0 without values.
  int64_t min() const;
  int64_t max() const;
  double mean() const;
  double standard_deviation() const;
  // The highest value that `percentile` (0..100) per cent of all are at or below, within the precision; 0
  // without values.
  int64_t at(double percentile) const;

  // The percentile distribution as Java's outputPercentileDistribution() prints it (.hgrm), values divided by
  // `unit`. Steps halve their distance to 100 %, with `ticks` steps each time.
  std::string percentile_text(double unit, int ticks = 5) const;
  // HdrHistogram's compressed V2 form (ZigZag LEB128 counts behind a big-endian header, zlib, base64).
  std::string encoded() const;

 private:
  size_t index_of(int64_t value) const;
  int64_t lowest_at(size_t index) const;
  int64_t size_at(size_t index) const;
  int64_t highest_at(size_t index) const { return lowest_at(index) + size_at(index) - 1; }
  int64_t median_at(size_t index) const { return lowest_at(index) + (size_at(index) >> 1); }
  size_t used() const;  // counts up to that of the largest value
  std::string packed_counts() const;

  int64_t lowest_, highest_;
  int digits_;
  int unit_magnitude_, half_magnitude_;  // log2 of the lowest value, and of half the sub-buckets
  int64_t sub_bucket_count_, sub_bucket_mask_;
  int bucket_count_;
  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  int64_t min_, max_ = 0;  // as recorded
};

// An interval log (.hlog, format 1.3): one line for each interval of a run, to cut out any part of it later.
// Times are seconds since the run's start; values nanoseconds, the printed maximum in milliseconds.
class HdrLog {
 public:
  // `unix_s`: when the run started.
  explicit HdrLog(double unix_s);
  // `tag` tells several series in one log apart; "" is the one without.
  void add(const HdrHistogram& interval, double from_s, double to_s, std::string_view tag);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace shrike::tools::bench
