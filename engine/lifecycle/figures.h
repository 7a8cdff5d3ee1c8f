// How well scores told frauds from the rest, of histograms by score: bounded state from which precision,
// recall, AP and the others come, for a day or a pool of days. Plain data and functions, deterministic.
//
// The scale is the fourth root of the score towards both ends, 1,000 bins; the one in which the threshold
// lies is split there, so what the threshold decides is exact. AP and AUC take what shares a bin for ties.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace shrike::engine {

enum class Metric : uint8_t {
  kAccuracy,
  kPrecision,
  kRecall,
  kF1,
  kAuc,
  kAveragePrecision,
  kLogLoss,           // from here on without alerts
  kCalibrationError,  // over ten bins of equal weight
  kValueDetection,    // amount of frauds caught / of all frauds
};
inline constexpr size_t kMetrics = 9;
inline constexpr size_t kMetricsAlerted = 6;
std::string_view name(Metric metric);
inline bool more_is_better(Metric metric) {
  return metric != Metric::kLogLoss && metric != Metric::kCalibrationError;
}

class ScoreScale {
 public:
  static constexpr size_t kBins = 1001;
  explicit ScoreScale(double threshold);

  double threshold() const { return threshold_; }
  // `score` is a probability. Bins from alarm() on are at or above the threshold, and only these.
  size_t bin(double score) const { return unsplit(score) + (score >= threshold_); }
  size_t alarm() const { return split_ + 1; }
  double centre(size_t bin) const;
  // Where the content of this scale's bin lies on another's; exact but for the bin that is newly split.
  size_t on(const ScoreScale& other, size_t bin) const;

 private:
  static size_t unsplit(double score);
  double threshold_;
  size_t split_;
};

// Settled transactions by score. Weights are whole 1,024ths: what is taken back leaves nothing behind.
struct SettledCounts {
  struct Bin {
    int64_t fraud = 0, legitimate = 0;
    double fraud_squares = 0, legitimate_squares = 0;  // of weights
    double money = 0;                                  // of frauds, by weight
    bool operator==(const Bin&) const = default;
  };
  static constexpr double kUnit = 1024;

  std::vector<Bin> bins = std::vector<Bin>(ScoreScale::kBins);
  double loss = 0;  // negative log-likelihoods by weight

  // sign -1 takes back what was added.
  void add(const ScoreScale& scale, float score, bool fraud, double weight, double amount, int sign);
  SettledCounts& operator+=(const SettledCounts& other);
};

// Scored ones, and how many frauds their scores expect, in 2^-30.
struct ScoredCounts {
  static constexpr double kUnit = 1 << 30;
  struct Bin {
    uint64_t count = 0, expected = 0;
    bool operator==(const Bin&) const = default;
  };
  std::vector<Bin> bins = std::vector<Bin>(ScoreScale::kBins);

  void add(const ScoreScale& scale, float score);
  ScoredCounts& operator+=(const ScoredCounts& other);
};

struct Figures {
  std::array<double, kMetrics> value{};                         // NaN where there is nothing to measure
  std::array<double, kMetrics> error{};                         // standard errors; 0 where none is known
  double caught = 0, missed = 0, false_alarms = 0, passed = 0;  // by weight
  double false_positive_error = 0;                              // standard error of false_positive_rate()

  double frauds() const { return caught + missed; }
  double transactions() const { return caught + missed + false_alarms + passed; }
  // NaN without a legitimate transaction.
  double false_positive_rate() const { return false_alarms / (false_alarms + passed); }
  double operator[](Metric metric) const { return value[static_cast<size_t>(metric)]; }
};

// 95 %, of a share that was seen in so many (Agresti and Coull, 1998).
struct Interval {
  double low = 0, high = 1;
};
Interval share_interval(double share, double count);

// Errors are those of sampling: of shares after Agresti and Coull (1998), of AUC after Hanley and McNeil
// (1982), of AP that of a share of frauds, which is more than its own. Weights count by their effective
// number.
Figures figures(const SettledCounts& counts, const ScoreScale& scale);
// Of several days together, each transaction counting the same. Errors are the larger of those of sampling
// and the jackknife's over days: frauds come in waves.
Figures figures(std::span<const SettledCounts* const> days, const ScoreScale& scale);
// Scores taken at their word (confidence-based estimation). Log loss, calibration and money are NaN.
Figures expected_figures(const ScoredCounts& counts, const ScoreScale& scale);

// Mann-Kendall's trend (Mann, 1945; Kendall, 1975): its statistic and the normal deviate, corrected for ties
// and continuity. z is 0 where nothing varies.
struct MannKendall {
  int64_t s = 0;
  double variance = 0, z = 0;
};
MannKendall mann_kendall(std::span<const double> values);

// Of `value` among `others` by median and median absolute deviation (Iglewicz and Hoaglin, 1993); 0 where the
// others hardly vary.
double robust_z(double value, std::span<const double> others);

}  // namespace shrike::engine
