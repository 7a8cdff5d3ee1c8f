// Prequential (test-then-train) evaluation: each transaction's score, made before its label was known, beside
// the label that came later. Collects, and measures per day and over a range of days. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/fold/event.h"

namespace shrike::engine {

struct Metrics {
  uint64_t rows = 0, frauds = 0;
  double average_precision = 0, auc = 0, log_loss = 0, brier = 0, card_precision_100 = 0, recall_at_fpr = 0;
};

struct DayRange {
  int first = 0;
  int last = INT32_MAX;
};

// "60..90", "60..", "7"; both ends included.
std::optional<DayRange> parse_days(const std::string& text);
std::string to_text(DayRange days);

// The day of a stream that a transaction belongs to, counted from the first one's: the days of --days.
class StreamDays {
 public:
  // Never falls: a late transaction counts for the day it came in, and so does one whose clock was ahead.
  int see(int64_t time_us, Clock clock = Clock::kOnTime);
  // How many there are so far.
  int count() const { return first_us_ == INT64_MIN ? 0 : newest_ + 1; }
  // The stream's length up to here; 0 before its first transaction.
  int64_t length_us(int64_t now_us) const { return first_us_ == INT64_MIN ? 0 : now_us - first_us_; }

 private:
  int64_t first_us_ = INT64_MIN;
  int newest_ = 0;
};

class Prequential {
 public:
  explicit Prequential(double fpr) : fpr_(fpr) {}

  // In order of arrival; days count from the first transaction's. `label` 1 fraud, 0 legitimate, -1 unknown
  // (left out). `card`: the entity that card precision counts.
  void add(int64_t time_us, float score, int label, uint64_t card, Clock clock = Clock::kOnTime);

  Metrics overall(DayRange days) const;
  struct Day {
    int day;
    Metrics metrics;
  };
  std::vector<Day> by_day(DayRange days) const;

  size_t bytes() const;

 private:
  Metrics measure(size_t from, size_t to, bool one_day) const;

  double fpr_;
  StreamDays days_;
  std::vector<size_t> day_starts_;  // position of each day's first row
  std::vector<float> scores_;
  std::vector<uint8_t> labels_;
  std::vector<uint64_t> cards_;
};

}  // namespace shrike::engine
