// One event's instructions: columns, filters, accumulators, and the value of each feature.
#include <cmath>
#include <limits>

#include "features/aggregates.h"
#include "features/feature_store.h"
#include "features/kind.h"
#include "features/numeric.h"

namespace shrike::features {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kFeatureScale = 1e6;  // of features that are the input of others

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
      current_[instruction.entity]->add(plan.accumulators[instruction.index], at_[instruction.entity], true);
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

double FeatureStore::over_entity(const Feature& feature) const {
  return row_of(feature.aggregate)
      .value({plan_->entities[feature.entity], *current_[feature.entity], feature, at_[feature.entity],
              times_[feature.entity]});
}

}  // namespace shrike::features
