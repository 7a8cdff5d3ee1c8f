// What the configuration declares: features by name, aggregation, entity, input, windows. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "features/error.h"

namespace shrike::features {

inline constexpr int64_t kForever = INT64_MAX;  // a window over the entity's whole history

enum class Aggregate {
  // Of the transaction itself.
  kField,      // the value of an expression, most simply of a field; a text is a category
  kCategory,   // its identity hashed to [0, 2^24)
  kHourOfDay,  // 0..24, with fractions
  kDayOfWeek,  // 0 Monday .. 6 Sunday
  kIsWeekend,  // 1 on Saturday and Sunday
  kIsNight,    // 1 from midnight to before 07:00
  kQuotient,   // input / divisor, both features or fields
  // Over an entity's events in a window.
  kCount,
  kSum,
  kMean,
  kStd,  // of the sample (n - 1)
  kMin,
  kMax,
  kDistinct,  // number of different values
  kMedian,
  kClippedMean,  // each value clipped to clip_factor x the clipped mean before it
  kRatioToMean,  // this value / mean
  kRatioToMedian,
  kRatioToClippedMean,
  kZscore,           // (this value - mean) / std
  kLabelCount,       // events known as fraud
  kLabelRate,        // events known as fraud / events
  kTimeSinceLabel,   // seconds since the newest event known as fraud
  kCountSinceLabel,  // events after it that are older than the delay: legitimate, as far as anyone said
  // Over an entity's whole history.
  kLast,           // the newest value before this event
  kTimeSinceLast,  // seconds since the newest event before this one
  kDecayedCount,   // sum of 2^(-age / half_life)
  kDecayedMean,
  kLabelRun,        // how many of the newest known labels in a row are fraud
  kLabelRunAge,     // seconds since the oldest of that run; empty without a run
  kLabelRunBefore,  // seconds since the newest event known as legitimate: when the run began, at the earliest
  // Over an entity's events in a window.
  kTimeSinceFirst,  // seconds since the oldest event
  kIsNew,           // 1 when no event before this one has its value
  kCountSame,       // events with this value
  kShareSame,       // of those that have a value
  kQuantile,        // with linear interpolation; `quantile`
  kMode,            // the most frequent value, of several the smallest
  kEntropy,         // of the distribution of values, in nats; 0 when all are the same
  kSlope,           // by how much the value rises a day, by least squares
  // Over an entity's whole history.
  kChanged,     // 1 when this value is another than the newest one before
  kDecayedStd,  // of values weighted as by kDecayedMean
};

enum class Transform { kNone, kLog };  // kLog: sign(x) log(1 + |x|)

struct FeatureSpec {
  std::string name;
  Aggregate aggregate = Aggregate::kField;
  std::string entity;
  // A field, a feature declared before (its value is frozen at its event), or an expression of them; of
  // kCategory an entity too.
  std::string input;
  int decimals = 6;     // of an input that is no field: the digits that are kept; at most 2^42 / 10^decimals
  std::string divisor;  // kQuotient
  std::vector<int64_t>
      windows_us;  // each makes a feature NAME_WINDOW; one window keeps the name if exact_name
  bool exact_name = false;
  int64_t delay_us = 0;  // the window ends this long before the event; of kLabelRun and kCountSinceLabel: age
                         // from which silence is legitimate
  std::optional<bool> include_current;
  std::string where;  // a condition: "amount > 200 and country in ['FR', 'DE']"; empty: every event
  int64_t half_life_us = 0;
  double clip_factor = 2.5;
  double quantile = 0.5;        // of kQuantile, 0..1
  std::optional<double> empty;  // the value when there is nothing to aggregate
  Transform transform = Transform::kNone;
  bool calendar_days = false;      // ages count the midnights passed (UTC) instead of seconds
  std::optional<double> at_least;  // clips the result
  std::optional<double> at_most;
  bool hidden = false;  // only the input of others: not a column of the learner's matrix
};

// What the configuration must say for an aggregation. The table is in aggregates.cc.
struct AggregateInfo {
  Aggregate aggregate;
  std::string_view name;
  bool of_entity;  // wants `entity`
  bool windowed;   // wants `windows`
  bool wants_input;
};

// Every aggregation, in the order of the enumeration.
const std::vector<AggregateInfo>& aggregates();
const AggregateInfo& info(Aggregate aggregate);
const AggregateInfo* find_aggregate(std::string_view name);

// "90s", "30m", "12h", "7d", "all" (kForever); "0s" is allowed.
Result<int64_t> parse_duration(std::string_view text);
std::string format_duration(int64_t duration_us);

}  // namespace shrike::features
