// The table of aggregations: what each one wants in the configuration, which accumulators it needs, and how
// its value is read off them. A new aggregation over an entity is its enumerator in spec.h and its row in
// aggregates.cc. Internal to features/.
#pragma once

#include <optional>

#include "features/entity_state.h"
#include "features/plan.h"
#include "features/spec.h"

namespace shrike::features {

// What an aggregation asks for beyond a window, and what it cannot have; see Compiler::check().
enum class Kin : uint8_t {
  kPlain,
  kNewest,      // of the event before this one
  kFinite,      // in a finite window
  kBefore,      // and of the events before this one
  kClipped,     // no delay; clip_factor
  kDecayed,     // no delay; half_life
  kLabels,      // of known labels
  kSinceLabel,  // and in a finite window, counted from when a label is known
  kCountSinceLabel,
  kLabelRun,  // and over the whole history, with a delay
};

// Where a feature's value is read: its entity with the current event, at the event's time there.
struct Reading {
  const EntityPlan& plan;
  const EntityState& entity;
  const Feature& feature;
  uint64_t at;  // the current event's ring position
  int64_t t_us;

  const Accumulator& first() const { return plan.accumulators[static_cast<size_t>(feature.first)]; }
  const Accumulator& second() const { return plan.accumulators[static_cast<size_t>(feature.second)]; }
};

struct AggregateRow {
  AggregateInfo info;
  Kin kin = Kin::kPlain;
  bool includes_current = false;  // by default
  bool age = false;               // seconds since something; may count midnights instead
  bool zero_when_empty = false;   // else missing
  AccumulatorKind first{};
  bool identity = false;   // its input may be a text: only whether two are the same matters
  bool of_events = false;  // the first accumulator counts events, whatever the input's value
  std::optional<AccumulatorKind> second = {};
  double (*value)(const Reading&) = nullptr;  // NaN when there is nothing to aggregate
};

const AggregateRow& row_of(Aggregate aggregate);

}  // namespace shrike::features
