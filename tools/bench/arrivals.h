// When requests are meant to be sent: a schedule that is fixed before the first one leaves and never waits
// for an answer (open loop). Latency counts from these moments, so a server that stalls is charged for
// everyone who would have come meanwhile (no coordinated omission). Seeded; one thread.
#pragma once

#include <cstdint>

#include "tools/simulator.h"

namespace shrike::tools::bench {

enum class Pattern : uint8_t { kConstant, kPoisson, kBurst };

struct ArrivalOptions {
  double rate = 0;  // a second, on average
  Pattern pattern = Pattern::kConstant;
  int burst = 100;  // kBurst: so many at one moment, and then nothing until their share of time has passed
  uint64_t seed = 1;
};

class Arrivals {
 public:
  explicit Arrivals(const ArrivalOptions& options)
      : options_(options), random_(options.seed ^ 0xA881BA15ull) {}

  // Nanoseconds from the start to the next arrival; never less than before.
  int64_t next_ns();

 private:
  ArrivalOptions options_;
  Random random_;
  uint64_t count_ = 0;
  double at_s_ = 0;  // kPoisson
};

}  // namespace shrike::tools::bench
