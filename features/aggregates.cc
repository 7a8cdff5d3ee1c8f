#include "features/aggregates.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "features/numeric.h"

namespace shrike::features {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kLn2 = 0.693147180559945309417;

double mean(Int128 sum, int64_t n, double scale) {
  return n == 0 ? kNaN : static_cast<double>(sum) / static_cast<double>(n) / scale;
}

// From exact integers: (n * squares - sum^2) / (n (n - 1)), one rounding per step.
double deviation(const Moments2State& m, double scale) {
  if (m.n < 2) return kNaN;
  const Int128 spread = m.squares * m.n - m.sum * m.sum;
  const double n = static_cast<double>(m.n);
  return std::sqrt(static_cast<double>(spread) / (n * (n - 1))) / scale;
}

double this_value(const Reading& r) {
  const int64_t fixed = r.entity.ring.value(static_cast<size_t>(r.feature.input), r.at);
  return fixed == kMissing ? kNaN : static_cast<double>(fixed) / r.feature.scale;
}

double ratio(const Reading& r, double by) { return by == 0 ? kNaN : this_value(r) / by; }

double age(const Reading& r, int64_t since_us) {
  return r.feature.calendar_days ? static_cast<double>(r.t_us / kDayUs - since_us / kDayUs)
                                 : static_cast<double>(r.t_us - since_us) / 1e6;
}

double count(const Reading& r) { return static_cast<double>(r.entity.state<CountState>(r.first()).n); }

double sum(const Reading& r) {
  const auto& m = r.entity.state<MomentsState>(r.first());
  return m.n == 0 ? kNaN : static_cast<double>(m.sum) / r.feature.scale;
}

double mean(const Reading& r) {
  const auto& m = r.entity.state<MomentsState>(r.first());
  return mean(m.sum, m.n, r.feature.scale);
}

double ratio_to_mean(const Reading& r) { return ratio(r, mean(r)); }

double deviation(const Reading& r) {
  return deviation(r.entity.state<Moments2State>(r.first()), r.feature.scale);
}

double zscore(const Reading& r) {
  const auto& m = r.entity.state<Moments2State>(r.first());
  const double spread = deviation(m, r.feature.scale);
  return spread > 0 ? (this_value(r) - mean(m.sum, m.n, r.feature.scale)) / spread : kNaN;
}

double extremum(const Reading& r) {
  const Accumulator& first = r.first();
  if (first.unbounded) {
    const auto& known = r.entity.state<ExtremumState>(first);
    return known.present ? static_cast<double>(known.value) / r.feature.scale : kNaN;
  }
  const MonotonicDeque& deque = r.entity.deque(first);
  if (deque.empty()) return kNaN;
  return static_cast<double>(r.entity.ring.value(static_cast<size_t>(first.column), deque.front())) /
         r.feature.scale;
}

double distinct(const Reading& r) { return r.entity.distinct(r.first()); }

double median(const Reading& r) {
  int64_t twice = 0;
  return r.entity.twice_median(r.first(), twice) ? static_cast<double>(twice) / 2 / r.feature.scale : kNaN;
}

double ratio_to_median(const Reading& r) { return ratio(r, median(r)); }

double label_rate(const Reading& r) {
  const auto n = static_cast<double>(r.entity.state<CountState>(r.second()).n);
  return n == 0 ? kNaN : count(r) / n;
}

double time_since_label(const Reading& r) {
  const auto& newest = r.entity.state<NewestState>(r.first());
  return newest.next == 0 ? kNaN : age(r, r.entity.ring.time(newest.next - 1));
}

double count_since_label(const Reading& r) {
  const auto& newest = r.entity.state<NewestState>(r.first());
  return newest.next == 0 ? kNaN : static_cast<double>(r.entity.settled_since(newest, r.second()));
}

double last(const Reading& r) {
  const auto& newest = r.entity.state<LastState>(r.first());
  return newest.present ? static_cast<double>(newest.value) / r.feature.scale : kNaN;
}

double time_since_last(const Reading& r) {
  const auto& newest = r.entity.state<LastState>(r.first());
  return newest.present ? age(r, newest.time_us) : kNaN;
}

double decayed_count(const Reading& r) {
  const auto& decayed = r.entity.state<DecayedState>(r.first());
  if (decayed.weight == 0) return kNaN;
  return decayed.weight *
         exact_exp(-kLn2 * static_cast<double>(r.t_us - decayed.time_us) / r.first().parameter);
}

double decayed_mean(const Reading& r) {
  const auto& decayed = r.entity.state<DecayedState>(r.first());
  return decayed.weight == 0 ? kNaN : decayed.sum / decayed.weight;
}

double label_run(const Reading& r) { return static_cast<double>(r.entity.run(r.first()).length); }

double label_run_age(const Reading& r) {
  const RunState run = r.entity.run(r.first());
  return run.length == 0 ? kNaN : age(r, run.since_us);
}

double label_run_before(const Reading& r) {
  const RunState run = r.entity.run(r.first());
  return run.has_before == 0 ? kNaN : age(r, run.before_us);
}

double time_since_first(const Reading& r) {
  const auto& oldest = r.entity.state<OldestState>(r.first());
  return oldest.next == 0 ? kNaN : age(r, r.entity.ring.time(oldest.next - 1));
}

// This event's value as it stands in the ring.
int64_t this_fixed(const Reading& r) {
  return r.entity.ring.value(static_cast<size_t>(r.feature.input), r.at);
}

double count_same(const Reading& r) {
  const int64_t value = this_fixed(r);
  return value == kMissing ? kNaN : static_cast<double>(r.entity.count_of(r.first(), value));
}

double is_new(const Reading& r) {
  const double same = count_same(r);
  return std::isnan(same) ? kNaN : same == 0 ? 1 : 0;
}

double share_same(const Reading& r) {
  const auto n = static_cast<double>(r.entity.state<CountState>(r.second()).n);
  return n == 0 ? kNaN : count_same(r) / n;
}

double changed(const Reading& r) {
  const auto& newest = r.entity.state<LastState>(r.first());
  const int64_t value = this_fixed(r);
  return value == kMissing || newest.present == 0 ? kNaN : value != newest.value ? 1 : 0;
}

double quantile(const Reading& r) {
  double fixed = 0;
  return r.entity.quantile(r.first(), r.feature.quantile, fixed) ? fixed / r.feature.scale : kNaN;
}

double mode(const Reading& r) {
  const Frequencies& frequencies = r.entity.frequencies(r.first());
  return frequencies.empty() ? kNaN : static_cast<double>(frequencies.mode()) / r.feature.scale;
}

double entropy(const Reading& r) {
  const Frequencies& frequencies = r.entity.frequencies(r.first());
  return frequencies.empty() ? kNaN : frequencies.entropy();
}

// From exact integers, as deviation(). A day has 86.4 million milliseconds.
double slope(const Reading& r) {
  const auto& s = r.entity.state<SlopeState>(r.first());
  const Int128 spread = s.squares * s.n - s.times * s.times;
  if (spread == 0) return kNaN;
  const Int128 rise = s.products * s.n - s.times * s.values;
  return static_cast<double>(rise) / static_cast<double>(spread) * 86.4e6 / r.feature.scale;
}

double decayed_std(const Reading& r) {
  const auto& spread = r.entity.state<SpreadState>(r.first());
  if (spread.weight == 0) return kNaN;
  return spread.deviations > 0 ? std::sqrt(spread.deviations / spread.weight) : 0;
}

using enum Aggregate;
using Kind = AccumulatorKind;

// Of the transaction itself: evaluated where transactions are; see evaluate.cc.
constexpr AggregateRow plain(Aggregate aggregate, std::string_view name, bool wants_input) {
  return {.info = {aggregate, name, false, false, wants_input}, .includes_current = true};
}

// In the order of the enumeration. After the name: takes windows, takes an input.
constexpr AggregateRow kRows[] = {
    plain(kField, "field", true),
    plain(kCategory, "category", true),
    plain(kHourOfDay, "hour_of_day", false),
    plain(kDayOfWeek, "day_of_week", false),
    plain(kIsWeekend, "is_weekend", false),
    plain(kIsNight, "is_night", false),
    plain(kQuotient, "quotient", true),
    {.info = {kCount, "count", true, true, false},
     .includes_current = true,
     .zero_when_empty = true,
     .first = Kind::kCount,
     .value = count},
    {.info = {kSum, "sum", true, true, true},
     .includes_current = true,
     .zero_when_empty = true,
     .first = Kind::kMoments,
     .value = sum},
    {.info = {kMean, "mean", true, true, true},
     .includes_current = true,
     .first = Kind::kMoments,
     .value = mean},
    {.info = {kStd, "std", true, true, true},
     .includes_current = true,
     .first = Kind::kMoments2,
     .value = deviation},
    {.info = {kMin, "min", true, true, true},
     .includes_current = true,
     .first = Kind::kMinimum,
     .value = extremum},
    {.info = {kMax, "max", true, true, true},
     .includes_current = true,
     .first = Kind::kMaximum,
     .value = extremum},
    {.info = {kDistinct, "distinct", true, true, true},
     .includes_current = true,
     .zero_when_empty = true,
     .first = Kind::kDistinct,
     .identity = true,
     .value = distinct},
    {.info = {kMedian, "median", true, true, true},
     .includes_current = true,
     .first = Kind::kSorted,
     .value = median},
    {.info = {kClippedMean, "clipped_mean", true, true, true},
     .kin = Kin::kClipped,
     .includes_current = true,
     .first = Kind::kClipped,
     .value = mean},
    {.info = {kRatioToMean, "ratio_to_mean", true, true, true},
     .first = Kind::kMoments,
     .value = ratio_to_mean},
    {.info = {kRatioToMedian, "ratio_to_median", true, true, true},
     .first = Kind::kSorted,
     .value = ratio_to_median},
    {.info = {kRatioToClippedMean, "ratio_to_clipped_mean", true, true, true},
     .kin = Kin::kClipped,
     .first = Kind::kClipped,
     .value = ratio_to_mean},
    {.info = {kZscore, "zscore", true, true, true}, .first = Kind::kMoments2, .value = zscore},
    {.info = {kLabelCount, "label_count", true, true, false},
     .kin = Kin::kLabels,
     .zero_when_empty = true,
     .first = Kind::kLabels,
     .value = count},
    {.info = {kLabelRate, "label_rate", true, true, false},
     .kin = Kin::kLabels,
     .zero_when_empty = true,
     .first = Kind::kLabels,
     .second = Kind::kTold,
     .value = label_rate},
    {.info = {kTimeSinceLabel, "time_since_label", true, true, false},
     .kin = Kin::kSinceLabel,
     .age = true,
     .first = Kind::kNewestFraud,
     .value = time_since_label},
    {.info = {kCountSinceLabel, "count_since_label", true, true, false},
     .kin = Kin::kCountSinceLabel,
     .first = Kind::kNewestFraud,
     .second = Kind::kTold,
     .value = count_since_label},
    {.info = {kLast, "last", true, false, true}, .kin = Kin::kNewest, .first = Kind::kLast, .value = last},
    {.info = {kTimeSinceLast, "time_since_last", true, false, false},
     .kin = Kin::kNewest,
     .age = true,
     .first = Kind::kLast,
     .of_events = true,
     .value = time_since_last},
    {.info = {kDecayedCount, "decayed_count", true, false, false},
     .kin = Kin::kDecayed,
     .includes_current = true,
     .zero_when_empty = true,
     .first = Kind::kDecayed,
     .of_events = true,
     .value = decayed_count},
    {.info = {kDecayedMean, "decayed_mean", true, false, true},
     .kin = Kin::kDecayed,
     .includes_current = true,
     .first = Kind::kDecayed,
     .value = decayed_mean},
    {.info = {kLabelRun, "label_run", true, false, false},
     .kin = Kin::kLabelRun,
     .zero_when_empty = true,
     .first = Kind::kRun,
     .value = label_run},
    {.info = {kLabelRunAge, "label_run_age", true, false, false},
     .kin = Kin::kLabelRun,
     .age = true,
     .first = Kind::kRun,
     .value = label_run_age},
    {.info = {kLabelRunBefore, "label_run_before", true, false, false},
     .kin = Kin::kLabelRun,
     .age = true,
     .first = Kind::kRun,
     .value = label_run_before},
    {.info = {kTimeSinceFirst, "time_since_first", true, true, false},
     .kin = Kin::kFinite,
     .age = true,
     .first = Kind::kOldest,
     .value = time_since_first},
    {.info = {kIsNew, "is_new", true, true, true},
     .kin = Kin::kBefore,
     .first = Kind::kDistinct,
     .identity = true,
     .value = is_new},
    {.info = {kCountSame, "count_same", true, true, true},
     .kin = Kin::kFinite,
     .includes_current = true,
     .first = Kind::kDistinct,
     .identity = true,
     .value = count_same},
    {.info = {kShareSame, "share_same", true, true, true},
     .kin = Kin::kFinite,
     .includes_current = true,
     .first = Kind::kDistinct,
     .identity = true,
     .second = Kind::kCount,
     .value = share_same},
    {.info = {kQuantile, "quantile", true, true, true},
     .includes_current = true,
     .first = Kind::kSorted,
     .value = quantile},
    {.info = {kMode, "mode", true, true, true},
     .kin = Kin::kFinite,
     .includes_current = true,
     .first = Kind::kFrequencies,
     .value = mode},
    {.info = {kEntropy, "entropy", true, true, true},
     .kin = Kin::kFinite,
     .includes_current = true,
     .first = Kind::kFrequencies,
     .identity = true,
     .value = entropy},
    {.info = {kSlope, "slope", true, true, true},
     .includes_current = true,
     .first = Kind::kSlope,
     .value = slope},
    {.info = {kChanged, "changed", true, false, true},
     .kin = Kin::kNewest,
     .first = Kind::kLast,
     .identity = true,
     .value = changed},
    {.info = {kDecayedStd, "decayed_std", true, false, true},
     .kin = Kin::kDecayed,
     .includes_current = true,
     .first = Kind::kSpread,
     .value = decayed_std},
};

constexpr bool in_order() {
  for (size_t i = 0; i < std::size(kRows); ++i) {
    if (static_cast<size_t>(kRows[i].info.aggregate) != i) return false;
  }
  return true;
}
static_assert(in_order());

}  // namespace

const AggregateRow& row_of(Aggregate aggregate) { return kRows[static_cast<size_t>(aggregate)]; }

const std::vector<AggregateInfo>& aggregates() {
  static const std::vector<AggregateInfo> all = [] {
    std::vector<AggregateInfo> infos;
    for (const AggregateRow& row : kRows) infos.push_back(row.info);
    return infos;
  }();
  return all;
}

const AggregateInfo& info(Aggregate aggregate) { return row_of(aggregate).info; }

const AggregateInfo* find_aggregate(std::string_view name) {
  const auto* row = std::find_if(std::begin(kRows), std::end(kRows),
                                 [&](const AggregateRow& r) { return r.info.name == name; });
  return row == std::end(kRows) ? nullptr : &row->info;
}

}  // namespace shrike::features
