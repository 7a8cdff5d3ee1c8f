// What every request begins with, whether it came over a socket or by a call in this process.
#pragma once

#include <cstdint>

#include "engine/config/config.h"
#include "engine/wire/request.h"

namespace shrike::engine {

// Of its socket's kind, received now, and naming no transaction of an earlier request.
void begin(Envelope& envelope, const Config& config, bool feedback);

// Of a score, by what its request said (0: nothing); 0 for what has no deadline. After `received_us` is
// right.
int64_t set_deadline(Envelope& envelope, const Config& config, uint32_t deadline_ms);

}  // namespace shrike::engine
