// What a server measures of itself, as an event a period: what has been counted since the one before, and the
// process's memory. The engine thread's.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/fold/event.h"
#include "engine/threads/probe.h"
#include "engine/wire/request.h"

namespace shrike::engine {

class MachineMeter {
 public:
  // `every_us`: 0 measures nothing.
  MachineMeter(const Probe& probe, int64_t every_us);

  // Nothing while the period lasts, and none of one in which nobody asked. Cheap; never waits.
  std::optional<MachineEvent> take();

 private:
  struct Counts {
    Histogram::Counts latency{};
    uint64_t late = 0, refusals = 0, fallbacks = 0, statics = 0;
  };
  Counts counts() const;

  const Probe& probe_;
  int64_t every_us_;
  int64_t began_us_;  // steady clock
  Counts before_;
};

// Counts a reply that is on its way: refusals by kind, and of an answer its latency and whether it is late.
void note_reply(Probe& probe, const Envelope& envelope, int64_t now_us);

}  // namespace shrike::engine
