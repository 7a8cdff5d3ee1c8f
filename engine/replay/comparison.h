// How two spans of days differ: how the values of each feature column and of the score are distributed, and
// how well the score holds as a probability. For reports, off the fold. Memory is bounded: of each span a
// sample of rows is kept, and counts in a fixed number of bins. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/replay/prequential.h"
#include "features/key.h"
#include "learners/matrix.h"

namespace shrike::engine {

// Population stability index of `second` against `first`: the sum over bins of (q - p) ln(q / p), p and q the
// bin's share of first and second. 0 for equal shares, otherwise positive; symmetric but for the bins, which
// are those of `first`: its deciles, or its values where they are at most kValuesMax different ones (the most
// frequent kCategoriesShown of a categorical column), and one bin for all others. Missing values (NaN) are a
// bin of their own. A bin that one side leaves empty counts there as half a row, so that the index stays
// finite. NaN when either side has no row. O(n log n).
//
// How it is commonly read (E. M. Lewis, An Introduction to Credit Scoring, 1994): below 0.1 stable, to 0.25
// moderate, above large. These are conventions: two samples of n and m rows of one population differ by about
// (bins - 1)(1/n + 1/m) (B. Yurdakul, Statistical Properties of Population Stability Index, 2018), so that a
// few hundred rows say little.
double population_stability(std::span<const float> first, std::span<const float> second,
                            learners::ColumnKind kind = learners::ColumnKind::kNumeric);
inline constexpr size_t kDeciles = 10, kValuesMax = 10, kCategoriesShown = 20;
// "stable", "moderate", "large"; "-" for NaN.
std::string_view read_psi(double psi);

// Kolmogorov-Smirnov statistic: the largest difference between the two empirical distribution functions, in
// [0, 1], missing values left out. NaN when either side has no value. O(n log n).
double kolmogorov_smirnov(std::span<const float> first, std::span<const float> second);

// Predicted against observed frauds by bins of score. The bins are the same for all streams, finer where
// frauds are rare; those without a row are there too. `calibration_error` is the expected calibration error
// (Naeini, Cooper, Hauskrecht, AAAI 2015): the mean over rows of |expected - observed| of their bin; NaN
// without a row.
class Reliability {
 public:
  struct Bin {
    float from = 0, to = 0;  // from <= score < to; the last has 1 too
    uint64_t rows = 0, frauds = 0;
    double score_sum = 0;
    double expected() const {
      return score_sum / static_cast<double>(rows);
    }  // mean score; NaN without a row
    double observed() const { return static_cast<double>(frauds) / static_cast<double>(rows); }
  };

  Reliability();
  // `label`: 1 fraud, 0 legitimate, -1 unknown (left out).
  void add(float score, int label);
  const std::vector<Bin>& bins() const { return bins_; }
  uint64_t rows() const;
  double calibration_error() const;

 private:
  std::vector<Bin> bins_;
};

// What a column's values are in the first and in the second span.
struct Shift {
  std::string column;
  bool is_score = false;
  double psi = 0, ks = 0;                   // ks is NaN for a categorical column
  std::array<double, 2> missing{}, mean{};  // share of rows; mean of what is not missing
};

struct Comparison {
  struct Span {
    DayRange days;
    uint64_t rows = 0, sampled = 0;
    // Of all labelled rows. Where silence has not yet made the legitimate ones known, at a stream's end, it
    // has too many frauds.
    Reliability reliability;
  };
  std::array<Span, 2> spans;
  std::vector<Shift> columns;  // by falling PSI, then by name; of the sampled rows
};

// A sample of rows without replacement: those whose transactions' keys have the smallest hashes (bottom-k,
// E. Cohen and H. Kaplan, PODC 2007). Depends on which transactions came, not on their order or number of
// repetitions of a run; each row is as likely to be in it.
class RowSample {
 public:
  RowSample(size_t width, size_t rows_max) : width_(width), rows_max_(rows_max) {}

  // `row` has width - 1 values, `last` is the one behind them.
  void add(const features::Key& transaction, std::span<const float> row, float last);
  size_t rows() const { return largest_.size(); }
  // rows() x width, row after row, in no order that means anything.
  std::span<const float> values() const { return values_; }

 private:
  size_t width_, rows_max_;
  std::vector<float> values_;
  std::vector<std::pair<uint64_t, uint32_t>> largest_;  // a heap: hash, row in values_
};

class Comparer {
 public:
  static constexpr size_t kRowsMax = 50'000;  // of each span

  // Both ends of a span belong to it; spans may overlap.
  Comparer(std::vector<learners::Column> columns, DayRange first, DayRange second,
           size_t rows_max = kRowsMax);

  // In order of arrival. Days count from the first transaction's, as Prequential has them.
  void add(const features::Key& transaction, int64_t time_us, std::span<const float> row, float score,
           int label, Clock clock = Clock::kOnTime);
  Comparison compare() const;

 private:
  std::vector<learners::Column> columns_;
  StreamDays days_;
  std::array<Comparison::Span, 2> spans_;
  std::array<RowSample, 2> samples_;  // columns, then the score
};

}  // namespace shrike::engine
