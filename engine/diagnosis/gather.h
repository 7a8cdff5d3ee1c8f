// Gathers the evidence of a diagnosis from a data directory: reads the log's events of the period and of the
// reference once, and folds the newest checkpoint and the tail for what is in force. A server may be running.
// Nothing is written. One thread.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "engine/config/config.h"
#include "engine/diagnosis/evidence.h"

namespace shrike::storage {
class Store;
}

namespace shrike::engine {

// The days of a log, and those that a diagnosis looks at when nothing else is said: the last 14, or the last
// third of a log that is younger than six weeks, against up to 28 days before them.
struct LogDays {
  int64_t first = kNoDay, last = kNoDay;
  bool complete = true;  // the log has its beginning
};
tl::expected<LogDays, std::string> days_of(const storage::Store& store, const Config& config);

inline constexpr int64_t kPeriodDays = 14, kReferenceDays = 28;
struct Asked {
  std::optional<int64_t> from, to;
  int64_t reference_days = kReferenceDays;
};
// An error when the period is not of the log, or nothing lies before it.
tl::expected<Days, std::string> period_of(const LogDays& log, const Asked& asked);
Days reference_of(const LogDays& log, const Days& period, int64_t days);

struct Gathering {
  ConfigPtr config;
  LogDays log;
  Days reference, period;
  std::function<void(double share)> progress;  // may be empty
};
// What cannot be examined says so in its part; the others are there.
Evidence gather(storage::Store& store, const Gathering& gathering);

}  // namespace shrike::engine
