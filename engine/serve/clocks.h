// The clocks of a server. The fold has none: what it must know of them is given to it, and in the log.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/config/config.h"

namespace shrike::engine {

// Microseconds of the steady clock: deadlines, latency, pauses.
int64_t now_us();

// Microseconds since 1970 by the server's own clock.
int64_t wall_us();

// The same for admission and retention; none where the stream's own
// time runs (limits.clock = "event").
std::optional<int64_t> server_time_us(const Config& config);

}  // namespace shrike::engine
