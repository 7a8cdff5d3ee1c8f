#include "engine/replay/comparison.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <map>

#include <xtensor/xadapt.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xtensor.hpp>
#include <xtensor/xview.hpp>

namespace shrike::engine {
namespace {

using learners::ColumnKind;
using Counts = xt::xtensor<double, 1>;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kStableBelow = 0.1, kLargeAbove = 0.25;
// Where a bin of score begins, but the first.
constexpr float kScoreEdges[] = {0.001f, 0.003f, 0.01f, 0.03f, 0.1f, 0.3f, 0.5f, 0.7f, 0.9f, 0.97f};

std::vector<float> sorted_values(std::span<const float> column) {
  std::vector<float> values;
  std::copy_if(column.begin(), column.end(), std::back_inserter(values),
               [](float v) { return !std::isnan(v); });
  std::sort(values.begin(), values.end());
  return values;
}

// The bins of a column: by value or by upper edges; then one for what is missing.
class Bins {
 public:
  Bins(std::span<const float> first, ColumnKind kind) {
    const std::vector<float> values = sorted_values(first);
    std::map<float, size_t> counts;
    for (const float v : values) {
      ++counts[v];
      if (kind == ColumnKind::kNumeric && counts.size() > kValuesMax) break;
    }
    by_value_ = kind == ColumnKind::kCategorical || counts.size() <= kValuesMax;
    if (by_value_) {
      take_most_frequent(counts);
    } else {
      for (size_t k = 1; k < kDeciles; ++k) edges_.push_back(values[(values.size() * k - 1) / kDeciles]);
      edges_.erase(std::unique(edges_.begin(), edges_.end()), edges_.end());
    }
  }

  // Rows of the column in each bin.
  Counts count(std::span<const float> column) const {
    Counts counts = xt::zeros<double>({edges_.size() + 2});
    for (const float v : column) counts(bin_of(v)) += 1;
    return counts;
  }

 private:
  void take_most_frequent(const std::map<float, size_t>& counts) {
    std::vector<std::pair<float, size_t>> all(counts.begin(), counts.end());
    std::stable_sort(all.begin(), all.end(),
                     [](const auto& a, const auto& b) { return a.second > b.second; });
    if (all.size() > kCategoriesShown) all.resize(kCategoriesShown);
    for (const auto& [value, count] : all) edges_.push_back(value);
    std::sort(edges_.begin(), edges_.end());
  }

  size_t bin_of(float v) const {
    if (std::isnan(v)) return edges_.size() + 1;
    const auto at = std::lower_bound(edges_.begin(), edges_.end(), v);
    if (by_value_ && (at == edges_.end() || *at != v)) return edges_.size();  // others
    return static_cast<size_t>(at - edges_.begin());
  }

  bool by_value_ = false;
  std::vector<float> edges_;  // rising: the values, or the largest value of each bin but the last
};

std::vector<float> column_of(const RowSample& sample, size_t width, size_t column) {
  if (sample.rows() == 0) return {};
  const std::array<size_t, 2> shape{sample.rows(), width};
  const auto rows = xt::adapt(sample.values().data(), sample.values().size(), xt::no_ownership(), shape);
  const auto one = xt::view(rows, xt::all(), column);
  return {one.begin(), one.end()};
}

Shift shift_of(const learners::Column& column, const std::vector<float>& first,
               const std::vector<float>& second) {
  Shift shift;
  shift.column = column.name;
  shift.psi = population_stability(first, second, column.kind);
  const bool ordered = column.kind == ColumnKind::kNumeric;
  shift.ks = ordered ? kolmogorov_smirnov(first, second) : kNaN;
  for (const size_t s : {0, 1}) {
    shift.missing[s] = shift.mean[s] = kNaN;
    const std::vector<float>& span = s == 0 ? first : second;
    if (span.empty()) continue;
    const auto values = xt::adapt(span);
    shift.missing[s] = xt::mean<double>(xt::isnan(values))();
    if (ordered) shift.mean[s] = xt::nanmean<double>(values)();
  }
  return shift;
}

}  // namespace

double population_stability(std::span<const float> first, std::span<const float> second, ColumnKind kind) {
  if (first.empty() || second.empty()) return kNaN;
  const Bins bins(first, kind);
  const Counts in_first = bins.count(first), in_second = bins.count(second);
  const Counts p = xt::maximum(in_first, 0.5) / static_cast<double>(first.size());
  const Counts q = xt::maximum(in_second, 0.5) / static_cast<double>(second.size());
  return xt::sum(xt::where(in_first + in_second > 0, (q - p) * xt::log(q / p), 0.0))();
}

std::string_view read_psi(double psi) {
  if (std::isnan(psi)) return "-";
  return psi < kStableBelow ? "stable" : psi <= kLargeAbove ? "moderate" : "large";
}

double kolmogorov_smirnov(std::span<const float> first, std::span<const float> second) {
  const std::vector<float> a = sorted_values(first), b = sorted_values(second);
  if (a.empty() || b.empty()) return kNaN;
  double largest = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const float value = std::min(a[i], b[j]);
    while (i < a.size() && a[i] == value) ++i;
    while (j < b.size() && b[j] == value) ++j;
    const double below_a = static_cast<double>(i) / static_cast<double>(a.size());
    const double below_b = static_cast<double>(j) / static_cast<double>(b.size());
    largest = std::max(largest, std::fabs(below_a - below_b));
  }
  return largest;
}

Reliability::Reliability() {
  float from = 0;
  for (const float edge : kScoreEdges) {
    bins_.push_back({from, edge});
    from = edge;
  }
  bins_.push_back({from, 1});
}

void Reliability::add(float score, int label) {
  if (label < 0) return;
  const auto at = std::upper_bound(std::begin(kScoreEdges), std::end(kScoreEdges), score);
  Bin& bin = bins_[static_cast<size_t>(at - std::begin(kScoreEdges))];
  ++bin.rows;
  bin.frauds += label == 1;
  bin.score_sum += static_cast<double>(score);
}

uint64_t Reliability::rows() const {
  uint64_t rows = 0;
  for (const Bin& bin : bins_) rows += bin.rows;
  return rows;
}

double Reliability::calibration_error() const {
  double off = 0;
  for (const Bin& bin : bins_) off += std::fabs(bin.score_sum - static_cast<double>(bin.frauds));
  return rows() == 0 ? kNaN : off / static_cast<double>(rows());
}

void RowSample::add(const features::Key& transaction, std::span<const float> row, float last) {
  assert(row.size() + 1 == width_);
  const uint64_t hash = features::combine({&transaction, 1}).low;
  size_t at = largest_.size();
  if (at < rows_max_) {
    values_.resize(values_.size() + width_);
  } else if (rows_max_ == 0 || hash >= largest_.front().first) {
    return;
  } else {
    std::pop_heap(largest_.begin(), largest_.end());
    at = largest_.back().second;
    largest_.pop_back();
  }
  largest_.emplace_back(hash, static_cast<uint32_t>(at));
  std::push_heap(largest_.begin(), largest_.end());
  const auto to = values_.begin() + static_cast<std::ptrdiff_t>(at * width_);
  *std::copy(row.begin(), row.end(), to) = last;
}

Comparer::Comparer(std::vector<learners::Column> columns, DayRange first, DayRange second, size_t rows_max)
    : columns_(std::move(columns)),
      samples_{RowSample(columns_.size() + 1, rows_max), RowSample(columns_.size() + 1, rows_max)} {
  spans_[0].days = first;
  spans_[1].days = second;
}

void Comparer::add(const features::Key& transaction, int64_t time_us, std::span<const float> row, float score,
                   int label, Clock clock) {
  const int day = days_.see(time_us, clock);
  for (size_t s = 0; s < spans_.size(); ++s) {
    Comparison::Span& span = spans_[s];
    if (day < span.days.first || day > span.days.last) continue;
    ++span.rows;
    span.reliability.add(score, label);
    samples_[s].add(transaction, row, score);
  }
}

Comparison Comparer::compare() const {
  Comparison result{spans_, {}};
  for (size_t s = 0; s < spans_.size(); ++s) result.spans[s].sampled = samples_[s].rows();
  const size_t width = columns_.size() + 1;
  for (size_t c = 0; c < width; ++c) {
    const bool is_score = c == columns_.size();
    const learners::Column column = is_score ? learners::Column{"score"} : columns_[c];
    result.columns.push_back(
        shift_of(column, column_of(samples_[0], width, c), column_of(samples_[1], width, c)));
    result.columns.back().is_score = is_score;
  }
  const auto order = [](double psi) { return std::isnan(psi) ? -1 : psi; };
  std::stable_sort(result.columns.begin(), result.columns.end(), [&](const Shift& a, const Shift& b) {
    return order(a.psi) != order(b.psi) ? order(a.psi) > order(b.psi) : a.column < b.column;
  });
  return result;
}

}  // namespace shrike::engine
