#include "engine/lifecycle/shifts.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/fold/event.h"
#include "engine/lifecycle/shifts.pb.h"
#include "engine/lifecycle/statistics.h"
#include "learners/numeric/numeric.h"

namespace shrike::engine {
namespace {

using learners::ColumnKind;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

size_t weekday(int64_t time_us) {
  const int64_t day = time_us / features::kDayUs - (time_us % features::kDayUs < 0);
  return static_cast<size_t>(((day % 7) + 7) % 7);
}

// Whether a value over an entity's whole history grows with the history.
bool grows(features::Aggregate aggregate) {
  switch (aggregate) {
    case features::Aggregate::kCount:
    case features::Aggregate::kSum:
    case features::Aggregate::kDistinct:
    case features::Aggregate::kMin:
    case features::Aggregate::kMax:
    case features::Aggregate::kLabelCount:
    case features::Aggregate::kTimeSinceLabel:
    case features::Aggregate::kCountSinceLabel:
    case features::Aggregate::kTimeSinceFirst:
    case features::Aggregate::kLabelRunBefore:
      return true;
    default:
      return false;
  }
}

template <typename From, typename To>
bool copy_exactly(const From& from, To& to, size_t size) {
  if (static_cast<size_t>(from.size()) != size) return false;
  to.assign(from.begin(), from.end());
  return true;
}

}  // namespace

std::vector<int64_t> settling_us(const features::Plan& plan) {
  // By then the mean, the ratio, the time since the last of a long history are about what they will be.
  constexpr int64_t kLongEnoughUs = 30 * features::kDayUs;
  std::vector<int64_t> all(plan.columns.size(), 0), of_feature(plan.features.size(), 0);
  for (size_t f = 0; f < plan.features.size(); ++f) {
    const features::Feature& feature = plan.features[f];
    int64_t& settles = of_feature[f];
    for (const int16_t at : {feature.first, feature.second}) {
      if (at < 0) continue;
      const features::EntityPlan& entity = plan.entities[feature.entity];
      const features::Window& window = entity.windows[entity.accumulators[static_cast<size_t>(at)].window];
      const bool whole = window.length_us == features::kForever;
      settles = std::max(settles, whole && grows(feature.aggregate) ? kNever
                                  : whole                           ? kLongEnoughUs
                                                                    : window.length_us + window.delay_us);
    }
    // What it is made of settles first.
    for (const uint16_t from : feature.made_of) settles = std::max(settles, of_feature[from]);
    if (feature.output >= 0) all[static_cast<size_t>(feature.output)] = settles;
  }
  return all;
}

Shifts::Shifts(std::vector<ColumnKind> kinds, const Settings& settings)
    : kinds_(std::move(kinds)), settings_(settings) {
  settings_.sample = std::max<size_t>(settings_.sample, 1);
}

void Shifts::renew() {
  if (phase_ == Phase::kGathering) {
    again_ = true;
  } else {
    phase_ = Phase::kWaiting;
  }
}

void Shifts::gather_anew(int64_t now_us) {
  from_us_ = now_us;
  seen_ = 0;
  largest_.clear();
  values_.clear();
  weekdays_.clear();
}

void Shifts::forget() {
  gather_anew(0);
  phase_ = Phase::kIdle;
  again_ = false;
  edges_.clear();
  positions_.clear();
  spreads_.clear();
  reference_.clear();
  reference_rows_ = {};
  counts_.clear();
  rows_ = {};
}

// How many edges are below the value: in five steps without a branch that a value decides.
inline size_t Shifts::bin(size_t column, float value) const {
  if (std::isnan(value)) return kMissing;
  if (kinds_[column] == ColumnKind::kCategorical)
    return learners::mix(static_cast<uint64_t>(static_cast<int64_t>(value))) % kBins;
  const float* edges = &edges_[column * kBins];
  size_t below = 0;
  for (size_t step = kBins / 2; step > 0; step /= 2) below += value > edges[below + step - 1] ? step : 0;
  return below;
}

void Shifts::add(uint64_t dice, int64_t time_us, std::span<const float> row) {
  assert(row.size() == kinds_.size());
  if (has_reference()) {
    ++rows_[weekday(time_us)];
    uint32_t* counts = counts_.data();
    for (size_t c = 0; c < row.size(); ++c, counts += kSlots) ++counts[bin(c, row[c])];
  }
  if (phase_ == Phase::kGathering) gather(dice, time_us, row);
}

// A sample without replacement: the rows with the smallest dice (bottom-k, E. Cohen and H. Kaplan, PODC
// 2007).
void Shifts::gather(uint64_t dice, int64_t time_us, std::span<const float> row) {
  ++seen_;
  size_t at = largest_.size();
  if (at < settings_.sample) {
    values_.resize(values_.size() + row.size());
    weekdays_.resize(at + 1);
  } else if (dice >= largest_.front().first) {
    return;
  } else {
    std::pop_heap(largest_.begin(), largest_.end());
    at = largest_.back().second;
    largest_.pop_back();
  }
  largest_.emplace_back(dice, static_cast<uint32_t>(at));
  std::push_heap(largest_.begin(), largest_.end());
  std::copy(row.begin(), row.end(), values_.begin() + static_cast<std::ptrdiff_t>(at * row.size()));
  weekdays_[at] = static_cast<uint8_t>(weekday(time_us));
}

uint64_t Shifts::window_rows() const { return std::accumulate(rows_.begin(), rows_.end(), uint64_t{0}); }

bool Shifts::window_complete(int64_t now_us) const {
  return has_reference() && now_us - window_from_us_ >= settings_.window_us &&
         window_rows() >= settings_.window_rows;
}

void Shifts::clear_window(int64_t now_us) {
  std::fill(counts_.begin(), counts_.end(), 0);
  rows_ = {};
  window_from_us_ = now_us;
}

std::vector<float> Shifts::draw(size_t rows) const {
  std::vector<std::pair<uint64_t, uint32_t>> order = largest_;
  std::sort(order.begin(), order.end());
  if (order.size() > rows) order.resize(rows);
  std::vector<float> drawn;
  for (const auto& [dice, at] : order) {
    const auto from = values_.begin() + static_cast<std::ptrdiff_t>(at * kinds_.size());
    drawn.insert(drawn.end(), from, from + static_cast<std::ptrdiff_t>(kinds_.size()));
  }
  return drawn;
}

bool Shifts::reference_complete(int64_t now_us) const {
  return phase_ == Phase::kGathering && seen_ >= settings_.rows && now_us - from_us_ >= settings_.span_us;
}

bool Shifts::take_reference(int64_t now_us) {
  if (phase_ == Phase::kWaiting) {
    phase_ = Phase::kGathering;
    from_us_ = now_us;
    return false;
  }
  if (!reference_complete(now_us)) return false;
  const size_t width = kinds_.size(), rows = largest_.size();
  edges_.assign(width * kBins, kInfinity);
  positions_.assign(width * kBins, 0);
  spreads_.assign(width, 0);
  std::vector<float> values;
  for (size_t c = 0; c < width; ++c) {
    values.clear();
    for (size_t r = 0; r < rows; ++r) {
      if (const float value = values_[r * width + c]; !std::isnan(value)) values.push_back(value);
    }
    if (kinds_[c] == ColumnKind::kNumeric) freeze(c, values);
  }
  reference_.assign(kWeekdays * width * kSlots, 0);
  reference_rows_ = {};
  for (size_t r = 0; r < rows; ++r) {
    ++reference_rows_[weekdays_[r]];
    for (size_t c = 0; c < width; ++c)
      ++reference_[(weekdays_[r] * width + c) * kSlots + bin(c, values_[r * width + c])];
  }
  reference_from_us_ = from_us_;
  reference_to_us_ = now_us;
  counts_.assign(width * kSlots, 0);
  clear_window(now_us);
  // Their memory goes with them.
  decltype(largest_)().swap(largest_);
  std::vector<float>().swap(values_);
  std::vector<uint8_t>().swap(weekdays_);
  seen_ = 0;
  phase_ = again_ ? Phase::kGathering : Phase::kIdle;
  from_us_ = now_us;
  again_ = false;
  return true;
}

// Edges at quantiles, so that bins hold about as much; on both sides of a value that many rows have, so that
// it moves to another bin whichever way it changes; and where the sample begins and ends.
void Shifts::freeze(size_t c, std::vector<float>& values) {
  if (values.empty()) return;
  std::sort(values.begin(), values.end());
  const auto before = [](float value) { return std::nextafter(value, -kInfinity); };
  std::vector<float> edges = {before(values.front()), values.back()};
  for (size_t k = 1; k < kQuantiles; ++k) {
    const size_t at = values.size() * k / kQuantiles;
    edges.push_back(values[at]);
    const auto [first, last] = std::equal_range(values.begin(), values.end(), values[at]);
    if (static_cast<size_t>(last - first) * kQuantiles >= values.size()) edges.push_back(before(values[at]));
  }
  std::sort(edges.begin(), edges.end());
  edges.erase(std::unique(edges.begin(), edges.end()), edges.end());
  assert(edges.size() < kBins);
  std::copy(edges.begin(), edges.end(), edges_.begin() + static_cast<std::ptrdiff_t>(c * kBins));

  std::array<double, kBins> sums{}, rows{};
  for (const float value : values) {
    const size_t b = bin(c, value);
    if (std::isfinite(value)) sums[b] += static_cast<double>(value);
    rows[b] += std::isfinite(value);
  }
  double* positions = &positions_[c * kBins];
  double sum = 0, squares = 0, all = 0;
  for (size_t b = 0; b < kBins; ++b) {
    const double edge = static_cast<double>(edges[std::min(b, edges.size() - 1)]);
    positions[b] = rows[b] > 0 ? sums[b] / rows[b] : std::isfinite(edge) ? edge : 0;
    if (b > 0) positions[b] = std::max(positions[b], positions[b - 1]);
    sum += rows[b] * positions[b];
    all += rows[b];
  }
  for (size_t b = 0; b < kBins; ++b) {
    const double off = positions[b] - sum / std::max(all, 1.0);
    squares += rows[b] * off * off;
  }
  spreads_[c] = std::sqrt(squares / std::max(all, 1.0));
}

Shifts::Shift Shifts::compare(size_t c) const {
  const auto rows = static_cast<double>(window_rows());
  const size_t width = kinds_.size();
  // Weekdays of the reference in the window's proportions. Where it lacks one, all of it stands for that.
  std::array<double, kWeekdays> shares{};
  double whole = 0, precision = 0;
  const double reference_rows =
      static_cast<double>(std::accumulate(reference_rows_.begin(), reference_rows_.end(), uint64_t{0}));
  for (size_t d = 0; d < kWeekdays; ++d) {
    const double share = static_cast<double>(rows_[d]) / std::max(rows, 1.0);
    (reference_rows_[d] > 0 ? shares[d] : whole) += share;
  }
  for (size_t d = 0; d < kWeekdays; ++d) {
    if (reference_rows_[d] == 0) continue;
    const auto of_day = static_cast<double>(reference_rows_[d]);
    shares[d] = shares[d] / of_day + whole / reference_rows;
    precision += shares[d] * shares[d] * of_day;
  }
  std::array<double, kSlots> first{}, second{};
  for (size_t d = 0; d < kWeekdays; ++d) {
    if (!(shares[d] > 0)) continue;
    const uint32_t* counts = &reference_[(d * width + c) * kSlots];
    for (size_t b = 0; b < kSlots; ++b) first[b] += shares[d] * static_cast<double>(counts[b]) / precision;
  }
  for (size_t b = 0; b < kSlots; ++b) second[b] = static_cast<double>(counts_[c * kSlots + b]);

  Shift shift;
  if (!(rows > 0) || !(precision > 0)) return shift;
  shift.psi = stability_index(first, second);
  shift.js = jensen_shannon(first, second);
  shift.missing = {first[kMissing] * precision, second[kMissing] / rows};
  const double missing = (first[kMissing] + second[kMissing]) / (1 / precision + rows);
  shift.missing_error = std::sqrt(missing * (1 - missing) * (precision + 1 / rows));
  const Tested test = chi_square(first, second);
  shift.chi2 = test.statistic;
  shift.chi2_p = test.p;
  // Squares, of which chance adds up.
  const double by_chance = jensen_shannon_by_chance(first, second);
  double distance = std::sqrt(std::max(0.0, shift.js * shift.js - by_chance * by_chance));
  if (kinds_[c] == ColumnKind::kNumeric) {
    const BinCounts of_first(first.data(), kBins), of_second(second.data(), kBins);
    const Tested ks = kolmogorov_smirnov_binned(of_first, of_second);
    shift.ks = ks.statistic;
    shift.ks_p = ks.p;
    const double off = wasserstein({&positions_[c * kBins], kBins}, of_first, of_second);
    shift.wasserstein = spreads_[c] > 0 ? off / spreads_[c] : off > 0 ? 1 : off;
    distance = std::min(distance, std::isnan(shift.wasserstein) ? 0 : shift.wasserstein);
    const size_t edges = static_cast<size_t>(
        std::lower_bound(&edges_[c * kBins], &edges_[c * kBins] + kBins, kInfinity) - &edges_[c * kBins]);
    // Of n + m values of one population the k largest are all among the m with a chance of (m / (n + m))^k.
    constexpr double kLogChance = -16;
    const double by_luck = kLogChance / learners::exact_log(rows / (rows + reference_rows));
    shift.outside = std::max(0.0, second[0] + second[edges] - by_luck) / rows;
  } else {
    shift.ks = shift.wasserstein = kNaN;
  }
  shift.surplus = std::max(0.0, shift.psi - stability_index_by_chance(first, second));
  shift.magnitude = std::max(shift.surplus, distance);
  return shift;
}

size_t Shifts::bytes() const {
  return largest_.capacity() * sizeof(largest_[0]) + values_.capacity() * sizeof(float) +
         weekdays_.capacity() + edges_.capacity() * sizeof(float) +
         (positions_.capacity() + spreads_.capacity()) * sizeof(double) +
         (reference_.capacity() + counts_.capacity()) * sizeof(uint32_t);
}

void Shifts::save(proto::ShiftsRecord& record) const {
  record.set_columns(kinds_.size());
  record.set_phase(static_cast<uint32_t>(phase_));
  record.set_again(again_);
  record.set_from_us(from_us_);
  record.set_seen(seen_);
  // Rows in the order of their dice: what they are does not depend on the heap.
  std::vector<std::pair<uint64_t, uint32_t>> order = largest_;
  std::sort(order.begin(), order.end());
  for (const auto& [dice, at] : order) {
    record.add_dice(dice);
    record.mutable_weekdays()->push_back(static_cast<char>(weekdays_[at]));
  }
  record.set_values(floats_to_bytes(draw(order.size())));
  record.set_reference_from_us(reference_from_us_);
  record.set_reference_to_us(reference_to_us_);
  record.set_edges(floats_to_bytes(edges_));
  record.mutable_positions()->Add(positions_.begin(), positions_.end());
  record.mutable_spreads()->Add(spreads_.begin(), spreads_.end());
  record.mutable_reference()->Add(reference_.begin(), reference_.end());
  record.mutable_reference_rows()->Add(reference_rows_.begin(), reference_rows_.end());
  record.set_window_from_us(window_from_us_);
  record.mutable_counts()->Add(counts_.begin(), counts_.end());
  record.mutable_rows()->Add(rows_.begin(), rows_.end());
}

bool Shifts::restore(const proto::ShiftsRecord& record) {
  const size_t width = kinds_.size();
  if (record.columns() != width || record.phase() > static_cast<uint32_t>(Phase::kGathering)) return false;
  const auto sampled = static_cast<size_t>(record.dice_size());
  if (sampled > settings_.sample || record.weekdays().size() != sampled ||
      record.values().size() != sampled * width * sizeof(float))
    return false;
  forget();
  phase_ = static_cast<Phase>(record.phase());
  again_ = record.again();
  from_us_ = record.from_us();
  seen_ = record.seen();
  values_ = floats_from_bytes(record.values());
  for (size_t r = 0; r < sampled; ++r) {
    largest_.emplace_back(record.dice(static_cast<int>(r)), static_cast<uint32_t>(r));
    weekdays_.push_back(static_cast<uint8_t>(record.weekdays()[r]));
    if (weekdays_.back() >= kWeekdays) return false;
  }
  std::make_heap(largest_.begin(), largest_.end());
  reference_from_us_ = record.reference_from_us();
  reference_to_us_ = record.reference_to_us();
  window_from_us_ = record.window_from_us();
  if (record.reference_rows_size() != kWeekdays || record.rows_size() != kWeekdays) return false;
  std::copy(record.reference_rows().begin(), record.reference_rows().end(), reference_rows_.begin());
  std::copy(record.rows().begin(), record.rows().end(), rows_.begin());
  if (record.edges().empty()) return true;
  if (record.edges().size() != width * kBins * sizeof(float)) return false;
  edges_ = floats_from_bytes(record.edges());
  for (size_t c = 0; c < width; ++c) {
    const float* edges = &edges_[c * kBins];
    if (!std::is_sorted(edges, edges + kBins) || edges[kBins - 1] != kInfinity) return false;
  }
  return copy_exactly(record.positions(), positions_, width * kBins) &&
         copy_exactly(record.spreads(), spreads_, width) &&
         copy_exactly(record.reference(), reference_, kWeekdays * width * kSlots) &&
         copy_exactly(record.counts(), counts_, width * kSlots);
}

}  // namespace shrike::engine
