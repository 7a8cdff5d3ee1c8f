#include "engine/lifecycle/figures.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "learners/metrics.h"

namespace shrike::engine {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kHalf = (ScoreScale::kBins - 1) / 2;
constexpr size_t kCalibrationBins = 10;

double ratio(double of, double all) { return all > 0 ? of / all : kNaN; }
double square(double value) { return value * value; }

// A class of transactions on either side of the threshold, and the squares of its weights.
struct Cell {
  double weight = 0, squares = 0;
  Cell operator+(const Cell& other) const { return {weight + other.weight, squares + other.squares}; }
  double effective() const { return squares > 0 ? square(weight) / squares : 0; }
};

// A share seen in so many, pulled towards a half, so that one of 0 or 1 has an error too.
double pulled(double share, double count) { return (share * count + 2) / (count + 4); }

double share_error(double share, double count) {
  if (!(count > 0)) return 0;
  const double p = pulled(share, count);
  return std::sqrt(p * (1 - p) / (count + 4));
}

double auc_error(double auc, double frauds, double legitimate) {
  if (!(frauds > 1) || !(legitimate > 1)) return 0;
  const double q1 = auc / (2 - auc), q2 = 2 * square(auc) / (1 + auc);
  const double variance =
      auc * (1 - auc) + (frauds - 1) * (q1 - square(auc)) + (legitimate - 1) * (q2 - square(auc));
  return std::sqrt(std::max(variance, 0.0) / (frauds * legitimate));
}

// 2c / (2c + e) by the delta method, c caught and e errors as Poisson counts.
double f1_error(const Cell& caught, const Cell& wrong) {
  const double all = 2 * caught.weight + wrong.weight;
  if (!(all > 0)) return 0;
  return 2 * std::sqrt(square(wrong.weight) * caught.squares + square(caught.weight) * wrong.squares) /
         square(all);
}

struct Mass {
  double fraud = 0, legitimate = 0;
};

// What scores and a threshold give, of masses by rising bin.
template <typename MassAt>
void measure(const ScoreScale& scale, MassAt&& mass_at, Figures& out) {
  double precisions = 0, area = 0;
  double frauds = 0, legitimate = 0;
  for (size_t b = ScoreScale::kBins; b-- > 0;) {
    const Mass mass = mass_at(b);
    area += mass.legitimate * (frauds + mass.fraud / 2);
    frauds += mass.fraud;
    legitimate += mass.legitimate;
    if (mass.fraud > 0) precisions += mass.fraud * (frauds / (frauds + legitimate));
    if (b == scale.alarm()) {
      out.caught = frauds;
      out.false_alarms = legitimate;
    }
  }
  out.missed = frauds - out.caught;
  out.passed = legitimate - out.false_alarms;
  const double wrong = out.missed + out.false_alarms;
  out.value = {ratio(out.caught + out.passed, out.transactions()),
               ratio(out.caught, out.caught + out.false_alarms),
               ratio(out.caught, frauds),
               frauds > 0 ? ratio(2 * out.caught, 2 * out.caught + wrong) : kNaN,
               ratio(area, frauds * legitimate),
               ratio(precisions, frauds),
               kNaN,
               kNaN,
               kNaN};
}

// Groups of equal weight; a bin that reaches over an edge is shared in proportion.
double calibration_error(const SettledCounts& counts, const ScoreScale& scale, double total) {
  const double group = total / kCalibrationBins;
  double error = 0, room = group, off = 0;
  for (size_t b = 0; b < ScoreScale::kBins; ++b) {
    const SettledCounts::Bin& bin = counts.bins[b];
    double left = static_cast<double>(bin.fraud + bin.legitimate);
    if (left == 0) continue;
    const double off_each = scale.centre(b) - static_cast<double>(bin.fraud) / left;
    left /= SettledCounts::kUnit;
    while (left > room) {
      error += std::fabs(off + room * off_each);
      left -= room;
      room = group;
      off = 0;
    }
    off += left * off_each;
    room -= left;
  }
  return (error + std::fabs(off)) / total;
}

}  // namespace

std::string_view name(Metric metric) {
  constexpr std::string_view kNames[kMetrics] = {
      "accuracy", "precision",         "recall",         "f1", "auc", "average_precision",
      "log_loss", "calibration_error", "value_detection"};
  return kNames[static_cast<size_t>(metric)];
}

ScoreScale::ScoreScale(double threshold) : threshold_(threshold), split_(unsplit(threshold)) {}

size_t ScoreScale::unsplit(double score) {
  const auto towards_end = [](double p) { return static_cast<size_t>(std::sqrt(std::sqrt(2 * p)) * kHalf); };
  if (score < 0.5) return std::min(towards_end(std::max(score, 0.0)), kHalf - 1);
  return 2 * kHalf - 1 - std::min(towards_end(std::max(1 - score, 0.0)), kHalf - 1);
}

double ScoreScale::centre(size_t bin) const {
  const size_t at = bin > split_ ? bin - 1 : bin;
  const auto from_end = [](size_t k) {
    return square(square((static_cast<double>(k) + 0.5) / static_cast<double>(kHalf))) / 2;
  };
  return at < kHalf ? from_end(at) : 1 - from_end(2 * kHalf - 1 - at);
}

size_t ScoreScale::on(const ScoreScale& other, size_t bin) const {
  const size_t at = bin > split_ ? bin - 1 : bin;
  if (at != other.split_) return at + (at > other.split_);
  const bool above = at == split_ ? bin > split_ : centre(bin) >= other.threshold_;
  return at + above;
}

void SettledCounts::add(const ScoreScale& scale, float score, bool fraud, double weight, double amount,
                        int sign) {
  Bin& bin = bins[scale.bin(static_cast<double>(score))];
  const int64_t units = std::max<int64_t>(std::llround(weight * kUnit), 1) * sign;
  const double whole = static_cast<double>(units) / kUnit;
  // What was settled before anybody watched cannot be taken back.
  const auto put = [&](int64_t& count, double& squares) {
    count = std::max<int64_t>(count + units, 0);
    squares = std::max(squares + whole * whole * sign, 0.0);
  };
  if (fraud) {
    put(bin.fraud, bin.fraud_squares);
    bin.money = bin.fraud == 0 ? 0 : std::max(bin.money + amount * whole, 0.0);
  } else {
    put(bin.legitimate, bin.legitimate_squares);
  }
  const auto label = static_cast<uint8_t>(fraud);
  loss = std::max(loss + whole * learners::log_loss({&score, 1}, {&label, 1}), 0.0);
}

SettledCounts& SettledCounts::operator+=(const SettledCounts& other) {
  for (size_t b = 0; b < bins.size(); ++b) {
    bins[b].fraud += other.bins[b].fraud;
    bins[b].legitimate += other.bins[b].legitimate;
    bins[b].fraud_squares += other.bins[b].fraud_squares;
    bins[b].legitimate_squares += other.bins[b].legitimate_squares;
    bins[b].money += other.bins[b].money;
  }
  loss += other.loss;
  return *this;
}

void ScoredCounts::add(const ScoreScale& scale, float score) {
  const auto p = static_cast<double>(score);
  Bin& bin = bins[scale.bin(p)];
  ++bin.count;
  bin.expected += static_cast<uint64_t>(std::llround(p * kUnit));
}

ScoredCounts& ScoredCounts::operator+=(const ScoredCounts& other) {
  for (size_t b = 0; b < bins.size(); ++b) {
    bins[b].count += other.bins[b].count;
    bins[b].expected += other.bins[b].expected;
  }
  return *this;
}

Interval share_interval(double share, double count) {
  if (!(count > 0)) return {};
  const double half = 1.96 * share_error(share, count);
  return {std::max(pulled(share, count) - half, 0.0), std::min(pulled(share, count) + half, 1.0)};
}

Figures figures(const SettledCounts& counts, const ScoreScale& scale) {
  Figures out;
  measure(
      scale,
      [&](size_t b) {
        const SettledCounts::Bin& bin = counts.bins[b];
        return Mass{static_cast<double>(bin.fraud) / SettledCounts::kUnit,
                    static_cast<double>(bin.legitimate) / SettledCounts::kUnit};
      },
      out);
  if (out.transactions() <= 0) return out;
  Cell caught{out.caught}, missed{out.missed}, false_alarms{out.false_alarms}, passed{out.passed};
  double money = 0, money_caught = 0;
  for (size_t b = 0; b < ScoreScale::kBins; ++b) {
    const SettledCounts::Bin& bin = counts.bins[b];
    const bool alarm = b >= scale.alarm();
    (alarm ? caught : missed).squares += bin.fraud_squares;
    (alarm ? false_alarms : passed).squares += bin.legitimate_squares;
    money += bin.money;
    money_caught += alarm ? bin.money : 0;
  }
  const auto set = [&](Metric metric, double value) { out.value[static_cast<size_t>(metric)] = value; };
  set(Metric::kLogLoss, counts.loss / out.transactions());
  set(Metric::kCalibrationError, calibration_error(counts, scale, out.transactions()));
  set(Metric::kValueDetection, ratio(money_caught, money));
  const Cell frauds = caught + missed, legitimate = false_alarms + passed;
  out.false_positive_error = share_error(out.false_positive_rate(), legitimate.effective());
  out.error = {share_error(out[Metric::kAccuracy], (frauds + legitimate).effective()),
               share_error(out[Metric::kPrecision], (caught + false_alarms).effective()),
               share_error(out[Metric::kRecall], frauds.effective()),
               f1_error(caught, missed + false_alarms),
               auc_error(out[Metric::kAuc], frauds.effective(), legitimate.effective()),
               share_error(out[Metric::kAveragePrecision], frauds.effective()),
               0,
               0,
               0};
  return out;
}

Figures figures(std::span<const SettledCounts* const> days, const ScoreScale& scale) {
  const auto pooled_without = [&](size_t left_out) {
    SettledCounts pool;
    for (size_t d = 0; d < days.size(); ++d) {
      if (d != left_out) pool += *days[d];
    }
    return figures(pool, scale);
  };
  Figures out = pooled_without(days.size());
  if (days.size() < 2) return out;
  std::vector<Figures> without;
  for (size_t d = 0; d < days.size(); ++d) without.push_back(pooled_without(d));
  const auto n = static_cast<double>(days.size());
  for (size_t m = 0; m < kMetrics; ++m) {
    double mean = 0, squares = 0;
    for (const Figures& one : without) mean += one.value[m] / n;
    for (const Figures& one : without) squares += square(one.value[m] - mean);
    const double jackknife = std::sqrt(squares * (n - 1) / n);
    if (jackknife > out.error[m]) out.error[m] = jackknife;
  }
  return out;
}

Figures expected_figures(const ScoredCounts& counts, const ScoreScale& scale) {
  Figures out;
  measure(
      scale,
      [&](size_t b) {
        const double frauds = static_cast<double>(counts.bins[b].expected) / ScoredCounts::kUnit;
        return Mass{frauds, std::max(static_cast<double>(counts.bins[b].count) - frauds, 0.0)};
      },
      out);
  return out;
}

MannKendall mann_kendall(std::span<const double> values) {
  MannKendall out;
  for (size_t i = 0; i < values.size(); ++i) {
    for (size_t k = i + 1; k < values.size(); ++k) out.s += (values[k] > values[i]) - (values[k] < values[i]);
  }
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const auto term = [](size_t count) {
    const auto n = static_cast<double>(count);
    return n * (n - 1) * (2 * n + 5);
  };
  double sum = term(sorted.size());
  for (size_t from = 0, to = 0; from < sorted.size(); from = to) {
    while (to < sorted.size() && sorted[to] == sorted[from]) ++to;
    sum -= term(to - from);
  }
  out.variance = sum / 18;
  if (out.variance > 0 && out.s != 0)
    out.z = static_cast<double>(out.s + (out.s > 0 ? -1 : 1)) / std::sqrt(out.variance);
  return out;
}

double robust_z(double value, std::span<const double> others) {
  const auto median = [](std::vector<double> of) {
    std::sort(of.begin(), of.end());
    const size_t half = of.size() / 2;
    return of.size() % 2 == 1 ? of[half] : (of[half - 1] + of[half]) / 2;
  };
  if (others.empty()) return 0;
  std::vector<double> all(others.begin(), others.end());
  const double middle = median(all);
  for (double& one : all) one = std::fabs(one - middle);
  const double deviation = median(std::move(all));
  return deviation > 1e-9 ? 0.6745 * (value - middle) / deviation : 0;
}

}  // namespace shrike::engine
