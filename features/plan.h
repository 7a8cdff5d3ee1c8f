// The compiled form of a feature set: which columns each entity's event ring keeps, which accumulators run
// over which windows, the program of its expressions, and the list of instructions one event executes.
// Immutable; shared by every thread.
//
// Two features over the same entity, window, delay, filter and input share one accumulator; all windows of an
// entity share its one event ring.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "features/program.h"
#include "features/schema.h"
#include "features/spec.h"

namespace shrike::features {

// A window of one entity kind: two cursors into the event ring.
struct Window {
  int64_t length_us = kForever;
  int64_t delay_us = 0;
  std::vector<uint16_t> accumulators;  // those that run over it
};

enum class AccumulatorKind : uint8_t {
  kCount,        // int64 n
  kMoments,      // int128 sum, int64 n
  kMoments2,     // and int128 sum of squares
  kClipped,      // kMoments over values clipped as they enter; the clipped value is kept in the ring
  kLabels,       // int64 frauds
  kTold,         // int64 n, of events whose silence tells: those not hidden
  kNewestFraud,  // ring position of the newest event known as fraud, plus 1; 0 for none
  kLast,         // int64 value, int64 time, whether there is one
  kDecayed,      // double sum, double weight, int64 time
  kRun,      // frauds in a row at the end of the settled labels, time of the oldest, and of what is before
  kMinimum,  // monotonic deque of ring positions; over the whole history, the extremum itself
  kMaximum,
  kDistinct,     // count by value; over the whole history, a sketch
  kSorted,       // order statistics; over the whole history, a sample
  kOldest,       // ring position of the oldest event, plus 1; 0 for none
  kFrequencies,  // count by value, in order of counts, and what the entropy is made of
  kSlope,        // int128 sums of value, time, their squares and products, int64 n
  kSpread,       // double mean, squared deviations, weight, int64 time: decayed
};

struct Accumulator {
  AccumulatorKind kind;
  uint16_t window = 0;
  int16_t filter = -1;  // bit in the event's flags
  int16_t column = -1;  // value column of the ring
  int16_t clipped_column = -1;
  bool after = false;  // the current event joins after all features are computed (include_current = false)
  bool unbounded = false;  // runs over the whole history: keeps a base state for events that left the ring
  uint32_t offset = 0;     // in the entity's fixed block, or the index of its growing part
  double scale = 1;        // of the column's fixed-point values
  double parameter = 0;    // clip factor, or half-life in microseconds
};

struct EntityPlan {
  std::string name;
  std::vector<size_t> key_fields;
  size_t entities_max = 0;
  size_t events_max = 0;  // of one entity's ring; beyond it the oldest event leaves early
  std::vector<Window> windows;
  std::vector<Accumulator> accumulators;
  std::vector<uint16_t> filters;      // registers of conditions, by flag bit
  std::vector<double> column_scales;  // one per value column
  bool has_labels = false;            // the ring keeps sequence numbers and label flags
  bool has_flags = false;
  bool has_runs = false;         // the entity keeps where the known labels are
  int64_t retention_us = 0;      // an event older than this (by the entity's newest) leaves the ring
  int64_t idle_us = 0;           // an entity idle for longer starts anew
  uint32_t unbounded_bytes = 0;  // the first part of the fixed block, which has a base copy
  uint32_t fixed_bytes = 0;
  uint32_t deques = 0, maps = 0, sorted = 0, frequencies = 0;  // of finite windows
  uint32_t sketches = 0, samples = 0;                          // over the whole history, with a base each
};

enum class OpCode : uint8_t {
  kRun,                 // the program's steps index..source
  kColumnFromField,     // ring column <- field
  kColumnFromNumber,    // ring column <- register, fixed point
  kColumnFromIdentity,  // the same, where only whether two are equal matters
  kColumnFromText,      // ring column <- register of a text, as an identity
  kFilter,              // flag bit <- register
  kAdd,                 // the current event joins an accumulator
  kEvaluate,            // feature's register <- accumulators, registers
};

struct Instruction {
  OpCode code;
  uint16_t entity = 0;
  uint16_t index = 0;   // column, filter, accumulator, feature or first step
  uint16_t source = 0;  // field, register or end of steps
};

struct Feature {
  std::string name;
  Aggregate aggregate;
  bool categorical = false;
  int16_t output = -1;  // position in the learner's row; -1 when hidden
  uint16_t value = 0;   // its register
  uint16_t entity = 0;
  int16_t input = -1;             // ring column
  Register source;                // of a plain one: what it is the value or the identity of,
  int16_t field = -1;             // and the field that this is,
  int16_t key_of = -1;            // or the entity kind whose key it is
  std::vector<uint16_t> made_of;  // features that a plain one is computed from
  int16_t first = -1;             // accumulators
  int16_t second = -1;
  double scale = 1;
  double empty = 0;
  Transform transform = Transform::kNone;
  bool calendar_days = false;
  double quantile = 0.5;
  double at_least, at_most;
  std::string state;  // what it keeps, in words, for check-config
};

struct Plan {
  Schema schema;
  std::vector<EntityPlan> entities;
  std::vector<Feature> features;
  std::vector<Instruction> instructions;
  Program program;                   // of all expressions
  std::vector<std::string> columns;  // of the learner's row
  std::vector<bool> categorical;     // per column
  int64_t lateness_us = 0;
  uint64_t fingerprint = 0;  // of schema, features and lateness: state saved under another is refused

  // The entity's identity in this transaction.
  Key entity_key(size_t entity, const Transaction& transaction) const;
  // Of every kind, in order.
  void entity_keys(const Transaction& transaction, std::vector<Key>& out) const;
};

struct PlanOptions {
  int64_t lateness_us = 0;                 // how far behind the newest event a late one may be
  int64_t maturity_us = 0;                 // default delay of kLabelRun
  int64_t forget_after_us = 400 * kDayUs;  // idle limit of entities with features over the whole history
  size_t events_per_entity_max = 1 << 17;
  ZoneSource zones;  // without one only UTC is known
};

// Which fields of the schema each column is computed from, by its bit: its inputs, what its filters look at
// and the keys of its entity, through expressions and other features too. That windows go by the time of
// events does not count.
std::vector<uint64_t> fields_of_columns(const Plan& plan);

// Compiles and checks a feature set. Errors name the feature.
Result<Plan> compile(const Schema& schema, const std::vector<FeatureSpec>& specs, const PlanOptions& options);

}  // namespace shrike::features
