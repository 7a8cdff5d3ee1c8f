// One event's instructions: columns, filters, accumulators, and the value of each feature.
#include <cmath>
#include <limits>

#include "features/feature_store.h"
#include "features/kind.h"
#include "features/numeric.h"

namespace shrike::features {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kLn2 = 0.693147180559945309417;
constexpr double kFeatureScale = 1e6;  // of features that are the input of others
constexpr int64_t kHourUs = 3'600'000'000;

bool holds(double left, Comparison comparison, double right) {
  switch (comparison) {
    case Comparison::kLess:
      return left < right;
    case Comparison::kLessEqual:
      return left <= right;
    case Comparison::kGreater:
      return left > right;
    case Comparison::kGreaterEqual:
      return left >= right;
    case Comparison::kEqual:
      return left == right;
    case Comparison::kNotEqual:
      return left < right || left > right;  // NaN satisfies nothing
  }
  return false;
}

int64_t fixed_point(double value) {
  if (std::isnan(value)) return kMissing;
  const double scaled = std::floor(value * kFeatureScale + 0.5);
  const auto bound = static_cast<double>(Schema::kFixedMax);
  return static_cast<int64_t>(scaled > bound ? bound : scaled < -bound ? -bound : scaled);
}

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

double calendar(Aggregate aggregate, int64_t t_us) {
  const int64_t days = t_us / kDayUs;
  const int64_t in_day = t_us % kDayUs;
  const int64_t weekday = (days + 3) % 7;  // 1970-01-01 was a Thursday; Monday is 0
  switch (aggregate) {
    case Aggregate::kHourOfDay:
      return static_cast<double>(in_day) / static_cast<double>(kHourUs);
    case Aggregate::kDayOfWeek:
      return static_cast<double>(weekday);
    case Aggregate::kIsWeekend:
      return weekday >= 5 ? 1 : 0;
    default:
      return in_day < 7 * kHourUs ? 1 : 0;
  }
}

double category(const Key& key) {
  const uint64_t mixed = mix(key) * 0xD6E8FEB86659FD93ull;
  return static_cast<double>(mixed >> 40);
}

}  // namespace

double FeatureStore::operand(const Transaction& transaction, bool is_feature, size_t index) const {
  return is_feature ? values_[index] : number(plan_->schema, transaction, index);
}

bool FeatureStore::matches(const Transaction& transaction, const Filter& filter) const {
  for (const Filter::Test& test : filter.tests) {
    if (!holds(operand(transaction, test.is_feature, test.index), test.comparison, test.value)) return false;
  }
  return true;
}

void FeatureStore::execute(const Transaction& transaction, const Instruction& instruction) {
  switch (instruction.code) {
    case OpCode::kColumnFromField: {
      const Value& value = transaction.values[instruction.source];
      int64_t fixed = value.present ? value.fixed : kMissing;
      if (value.present && plan_->schema.fields[instruction.source].type == FieldType::kText) {
        fixed = static_cast<int64_t>(key(plan_->schema, transaction, instruction.source).low >> 1);
      }
      current_[instruction.entity]->ring.set_value(instruction.index, at_[instruction.entity], fixed);
      break;
    }
    case OpCode::kColumnFromFeature:
      current_[instruction.entity]->ring.set_value(instruction.index, at_[instruction.entity],
                                                   fixed_point(values_[instruction.source]));
      break;
    case OpCode::kFilter: {
      EntityState& state = *current_[instruction.entity];
      if (matches(transaction, plan_->entities[instruction.entity].filters[instruction.index])) {
        const uint64_t at = at_[instruction.entity];
        state.ring.set_flags(at, state.ring.flags(at) | 1u << instruction.index);
      }
      break;
    }
    case OpCode::kAdd: {
      const EntityPlan& plan = plan_->entities[instruction.entity];
      current_[instruction.entity]->add(plan, plan.accumulators[instruction.index], at_[instruction.entity],
                                        true);
      break;
    }
    case OpCode::kEvaluate:
      values_[instruction.index] = evaluate(transaction, plan_->features[instruction.index]);
      break;
  }
}

double FeatureStore::evaluate(const Transaction& transaction, const Feature& feature) const {
  using enum Aggregate;
  double value = kNaN;
  switch (feature.aggregate) {
    case kField:
      value = operand(transaction, feature.input_is_feature, static_cast<size_t>(feature.input));
      break;
    case kCategory: {
      const auto input = static_cast<size_t>(feature.input);
      value = category(feature.input_is_feature ? plan_->entity_key(input, transaction)
                                                : key(plan_->schema, transaction, input));
      break;
    }
    case kHourOfDay:
    case kDayOfWeek:
    case kIsWeekend:
    case kIsNight:
      value = calendar(feature.aggregate, calendar_us_);
      break;
    case kQuotient: {
      const double divisor =
          operand(transaction, feature.divisor_is_feature, static_cast<size_t>(feature.divisor));
      const double dividend =
          operand(transaction, feature.input_is_feature, static_cast<size_t>(feature.input));
      value = divisor == 0 ? kNaN : dividend / divisor;
      break;
    }
    default:
      value = over_entity(feature);
      break;
  }
  if (std::isnan(value)) value = feature.empty;
  if (feature.transform == Transform::kLog) value = signed_log1p(value);
  if (value < feature.at_least) value = feature.at_least;
  if (value > feature.at_most) value = feature.at_most;
  return value;
}

// NaN when there is nothing to aggregate.
double FeatureStore::over_entity(const Feature& feature) const {
  using enum Aggregate;
  const int64_t t_us = times_[feature.entity];
  const EntityPlan& plan = plan_->entities[feature.entity];
  const EntityState& entity = *current_[feature.entity];
  const Accumulator& first = plan.accumulators[static_cast<size_t>(feature.first)];
  const double scale = feature.scale;
  const auto moments_mean = [&] {
    const auto& m = entity.state<MomentsState>(first);
    return mean(m.sum, m.n, scale);
  };
  const auto median = [&] {
    int64_t twice = 0;
    return entity.twice_median(first, twice) ? static_cast<double>(twice) / 2 / scale : kNaN;
  };
  const auto this_value = [&] {
    const int64_t fixed = entity.ring.value(static_cast<size_t>(feature.input), at_[feature.entity]);
    return fixed == kMissing ? kNaN : static_cast<double>(fixed) / scale;
  };
  const auto age = [&](int64_t since_us) {
    return feature.calendar_days ? static_cast<double>(t_us / kDayUs - since_us / kDayUs)
                                 : static_cast<double>(t_us - since_us) / 1e6;
  };
  const auto ratio = [&](double by) { return by == 0 ? kNaN : this_value() / by; };
  switch (feature.aggregate) {
    case kCount:
      return static_cast<double>(entity.state<CountState>(first).n);
    case kSum: {
      const auto& m = entity.state<MomentsState>(first);
      return m.n == 0 ? kNaN : static_cast<double>(m.sum) / scale;
    }
    case kMean:
    case kClippedMean:
      return moments_mean();
    case kRatioToMean:
    case kRatioToClippedMean:
      return ratio(moments_mean());
    case kStd:
      return deviation(entity.state<Moments2State>(first), scale);
    case kZscore: {
      const auto& m = entity.state<Moments2State>(first);
      const double spread = deviation(m, scale);
      return spread > 0 ? (this_value() - mean(m.sum, m.n, scale)) / spread : kNaN;
    }
    case kMin:
    case kMax: {
      if (first.unbounded) {
        const auto& extremum = entity.state<ExtremumState>(first);
        return extremum.present ? static_cast<double>(extremum.value) / scale : kNaN;
      }
      const MonotonicDeque& deque = entity.deque(first);
      if (deque.empty()) return kNaN;
      return static_cast<double>(entity.ring.value(static_cast<size_t>(first.column), deque.front())) / scale;
    }
    case kDistinct:
      return entity.distinct(first);
    case kMedian:
      return median();
    case kRatioToMedian:
      return ratio(median());
    case kLabelCount:
      return static_cast<double>(entity.state<CountState>(first).n);
    case kLabelRate: {
      const Accumulator& second = plan.accumulators[static_cast<size_t>(feature.second)];
      const auto n = static_cast<double>(entity.state<CountState>(second).n);
      return n == 0 ? kNaN : static_cast<double>(entity.state<CountState>(first).n) / n;
    }
    case kTimeSinceLabel: {
      const auto& newest = entity.state<NewestState>(first);
      return newest.next == 0 ? kNaN : age(entity.ring.time(newest.next - 1));
    }
    case kCountSinceLabel: {
      const auto& newest = entity.state<NewestState>(first);
      const Accumulator& second = plan.accumulators[static_cast<size_t>(feature.second)];
      return newest.next == 0 ? kNaN : static_cast<double>(entity.settled_since(newest, second));
    }
    case kLast: {
      const auto& last = entity.state<LastState>(first);
      return last.present ? static_cast<double>(last.value) / scale : kNaN;
    }
    case kTimeSinceLast: {
      const auto& last = entity.state<LastState>(first);
      return last.present ? age(last.time_us) : kNaN;
    }
    case kDecayedCount:
    case kDecayedMean: {
      const auto& decayed = entity.state<DecayedState>(first);
      if (decayed.weight == 0) return kNaN;
      if (feature.aggregate == kDecayedMean) return decayed.sum / decayed.weight;
      return decayed.weight *
             exact_exp(-kLn2 * static_cast<double>(t_us - decayed.time_us) / first.parameter);
    }
    case kLabelRun:
      return static_cast<double>(entity.run(plan, first).length);
    case kLabelRunAge: {
      const RunState run = entity.run(plan, first);
      return run.length == 0 ? kNaN : age(run.since_us);
    }
    case kLabelRunBefore: {
      const RunState run = entity.run(plan, first);
      return run.has_before == 0 ? kNaN : age(run.before_us);
    }
    case kTimeSinceFirst: {
      const auto& oldest = entity.state<OldestState>(first);
      return oldest.next == 0 ? kNaN : age(entity.ring.time(oldest.next - 1));
    }
    default:
      return kNaN;
  }
}

}  // namespace shrike::features
