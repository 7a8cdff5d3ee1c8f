// One leg of a load test: requests leave at the moments of a schedule, whatever comes back, and what comes
// back is timed from the moment each was meant to leave. A thread of its own sends and receives; the caller's
// thread gathers a tally a second from it and never makes it wait.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include <tl/expected.hpp>

#include "tools/bench/arrivals.h"
#include "tools/bench/reply_reader.h"
#include "tools/bench/tally.h"
#include "tools/bench/traffic.h"

namespace shrike::tools::bench {

struct LegOptions {
  ArrivalOptions arrivals;
  double seconds = 10;
  double warm_up_s = 2;  // before them: sent at the same rate, and counted nowhere
  int connections = 10;
  size_t in_flight_max = 50'000;  // arrivals beyond it are dropped and counted
  int64_t deadline_us = 100'000;  // an answer after it is late
  double give_up_s = 5;           // after the last arrival, on what is not answered
  int64_t lag_max_us = 2'000;     // above it at the 99th percentile the generator could not keep up
};

struct Leg {
  ArrivalOptions arrivals;
  double seconds = 0;  // that were measured: less than asked for when it was stopped
  bool stopped = false;
  bool supply_ended = false;
  int64_t lag_max_us = 0;
  double cores = 0;  // that this process kept busy, warm-up included
  Tally tally;

  // Whether the generator kept its schedule: of its lag the 99th percentile is within the bound.
  bool valid() const { return tally.lag.at(99) <= lag_max_us * 1000; }
  double rate() const { return seconds > 0 ? static_cast<double>(tally.answered) / seconds : 0; }
};

struct Target {
  std::string score;
  std::string feedback;  // "": labels are not sent
  bool secured = true;   // with the keys of --key, if they were given; a bare echo has none
};

// Called once a second on the caller's thread with what came since the last time, seconds after the warm-up's
// end.
using OnInterval = std::function<void(const Tally& interval, double from_s, double to_s)>;

// `reader` null: whatever comes back counts as an answer. `stop` ends it early, with what was measured. An
// error says what could not be connected.
tl::expected<Leg, std::string> run_leg(const LegOptions& options, const Target& target, Supply& supply,
                                       ReplyReader* reader, const std::atomic<bool>& stop,
                                       const OnInterval& on_interval);

}  // namespace shrike::tools::bench
