// One event's instructions: columns, filters, accumulators, and the value of each feature.
#include <bit>
#include <cmath>
#include <limits>

#include "features/aggregates.h"
#include "features/feature_store.h"
#include "features/kind.h"
#include "features/numeric.h"

namespace shrike::features {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

int64_t fixed_point(double value, double scale) {
  if (std::isnan(value)) return kMissing;
  const double scaled = std::floor(value * scale + 0.5);
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

// 0 and -0 are one number.
uint64_t bits_of(double number) { return std::bit_cast<uint64_t>(number + 0.0); }

Key key_of_missing() { return key_of(std::string_view("\0missing", 8)); }

double category(const Key& key) {
  const uint64_t mixed = mix(key) * 0xD6E8FEB86659FD93ull;
  return static_cast<double>(mixed >> 40);
}

}  // namespace

void FeatureStore::execute(const Transaction& transaction, const Instruction& instruction) {
  switch (instruction.code) {
    case OpCode::kRun:
      machine_.run({instruction.index, instruction.source});
      break;
    case OpCode::kColumnFromField: {
      const Value& value = transaction.values[instruction.source];
      int64_t fixed = value.present ? value.fixed : kMissing;
      if (value.present && plan_->schema.fields[instruction.source].type == FieldType::kText) {
        fixed = static_cast<int64_t>(key(plan_->schema, transaction, instruction.source).low >> 1);
      }
      current_[instruction.entity]->ring.set_value(instruction.index, at_[instruction.entity], fixed);
      break;
    }
    case OpCode::kColumnFromNumber: {
      const double scale = plan_->entities[instruction.entity].column_scales[instruction.index];
      current_[instruction.entity]->ring.set_value(instruction.index, at_[instruction.entity],
                                                   fixed_point(machine_.number(instruction.source), scale));
      break;
    }
    case OpCode::kColumnFromIdentity: {
      const double number = machine_.number(instruction.source);
      const int64_t identity =
          std::isnan(number) ? kMissing : static_cast<int64_t>(scramble(bits_of(number)) >> 1);
      current_[instruction.entity]->ring.set_value(instruction.index, at_[instruction.entity], identity);
      break;
    }
    case OpCode::kColumnFromText: {
      const std::string_view text = machine_.text(instruction.source);
      const int64_t identity = text.empty() ? kMissing : static_cast<int64_t>(key_of(text).low >> 1);
      current_[instruction.entity]->ring.set_value(instruction.index, at_[instruction.entity], identity);
      break;
    }
    case OpCode::kFilter: {
      EntityState& state = *current_[instruction.entity];
      if (machine_.number(instruction.source) == 1) {  // what is missing is not so
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
      machine_.set(plan_->features[instruction.index].value,
                   evaluate(transaction, plan_->features[instruction.index]));
      break;
  }
}

Key FeatureStore::identity(const Transaction& transaction, const Feature& feature) const {
  if (feature.key_of >= 0) return plan_->entity_key(static_cast<size_t>(feature.key_of), transaction);
  if (feature.field >= 0) return key(plan_->schema, transaction, static_cast<size_t>(feature.field));
  if (feature.source.is_text()) {
    const std::string_view text = machine_.text(feature.source.at);
    return text.empty() ? key_of_missing() : key_of(text);
  }
  const double number = machine_.number(feature.source.at);
  return std::isnan(number) ? key_of_missing() : key_of(static_cast<int64_t>(bits_of(number)));
}

double FeatureStore::evaluate(const Transaction& transaction, const Feature& feature) const {
  using enum Aggregate;
  double value = kNaN;
  switch (feature.aggregate) {
    case kField:
    case kQuotient:
      value = machine_.number(feature.source.at);
      break;
    case kCategory:
      value = category(identity(transaction, feature));
      break;
    case kHourOfDay:
    case kDayOfWeek:
    case kIsWeekend:
    case kIsNight:
      value = calendar(feature.aggregate, calendar_us_);
      break;
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
