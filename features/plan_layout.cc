#include "features/plan_layout.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

namespace shrike::features {

uint32_t fixed_size(const Accumulator& accumulator) {
  using enum AccumulatorKind;
  switch (accumulator.kind) {
    case kCount:
    case kLabels:
    case kTold:
    case kNewestFraud:
    case kOldest:
      return 16;
    case kMoments:
    case kClipped:
    case kRun:
    case kLast:
    case kDecayed:
    case kSpread:
      return 32;
    case kSlope:
      return 80;
    case kMoments2:
      return 48;
    case kMinimum:
    case kMaximum:
      return accumulator.unbounded ? 16 : 0;
    case kDistinct:
    case kSorted:
    case kFrequencies:
      return 0;
  }
  return 0;
}

Key Plan::entity_key(size_t entity, const Transaction& transaction) const {
  const std::vector<size_t>& of = entities[entity].key_fields;
  if (of.size() == 1) return key(schema, transaction, of[0]);
  Key parts[8];
  for (size_t i = 0; i < of.size(); ++i) parts[i] = key(schema, transaction, of[i]);
  return combine({parts, of.size()});
}

void Plan::entity_keys(const Transaction& transaction, std::vector<Key>& out) const {
  out.resize(entities.size());
  for (size_t e = 0; e < out.size(); ++e) out[e] = entity_key(e, transaction);
}

void lay_out(EntityPlan& entity, const PlanOptions& options) {
  int64_t longest = 0;
  bool unbounded_any = false;
  for (const Window& window : entity.windows) {
    const bool all = window.length_us == kForever;
    longest = std::max(longest, window.delay_us + (all ? 0 : window.length_us));
    unbounded_any |= all;
  }
  uint32_t offset = 0;
  for (const bool unbounded : {true, false}) {
    for (Accumulator& accumulator : entity.accumulators) {
      if (accumulator.unbounded != unbounded) continue;
      if (const uint32_t bytes = fixed_size(accumulator); bytes > 0) {
        accumulator.offset = offset;
        offset += bytes;
      } else if (accumulator.kind == AccumulatorKind::kDistinct) {
        accumulator.offset = unbounded ? entity.sketches++ : entity.maps++;
      } else if (accumulator.kind == AccumulatorKind::kSorted) {
        accumulator.offset = unbounded ? entity.samples++ : entity.sorted++;
      } else if (accumulator.kind == AccumulatorKind::kFrequencies) {
        accumulator.offset = entity.frequencies++;
      } else {
        accumulator.offset = entity.deques++;
      }
      entity.has_runs |= accumulator.kind == AccumulatorKind::kRun;
    }
    if (unbounded) entity.unbounded_bytes = offset;
  }
  entity.fixed_bytes = offset;
  entity.retention_us = longest + options.lateness_us;
  entity.idle_us =
      unbounded_any ? std::max(options.forget_after_us, entity.retention_us) : entity.retention_us;
}

uint64_t fingerprint(const Plan& plan, const PlanOptions& options, const std::vector<FeatureSpec>& specs) {
  std::string all = fmt::format("{}/{}/{}/{}/{};", plan.schema.fingerprint(), options.lateness_us,
                                options.maturity_us, options.forget_after_us, options.events_per_entity_max);
  for (const EntityKind& kind : plan.schema.entities) {
    all += fmt::format("{}:{}:", kind.name, kind.entities_max);
    for (const size_t field : kind.fields) all += fmt::format("{},", field);
  }
  for (const FeatureSpec& s : specs) {
    all += fmt::format("{}:{}:{}:{}:{}:{}:{}:{}:{}:{}:{}:{}:{}:{}:{}:", s.name, static_cast<int>(s.aggregate),
                       s.entity, s.input, s.divisor, s.delay_us, s.include_current ? *s.include_current : 2,
                       s.where, s.half_life_us, s.clip_factor, s.empty.value_or(-12345.5),
                       static_cast<int>(s.transform), s.at_least.value_or(-1e300), s.at_most.value_or(1e300),
                       s.hidden);
    if (s.calendar_days) all += "days:";
    if (s.decimals != FeatureSpec().decimals) all += fmt::format("decimals{}:", s.decimals);
    if (s.aggregate == Aggregate::kQuantile) all += fmt::format("q{}:", s.quantile);
    for (const int64_t window : s.windows_us) all += fmt::format("{},", window);
  }
  for (const TimeZone& zone : plan.program.zones) {
    if (zone.name != "UTC") all += fmt::format("{}:{};", zone.name, format_offsets(zone));
  }
  return XXH3_64bits(all.data(), all.size());
}

}  // namespace shrike::features
