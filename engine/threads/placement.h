// Where a thread runs and whether memory stays where it is: what an operator may ask for on a machine of its
// own. Failures are logged and harmless.
#pragma once

#include <cstdint>

namespace shrike::engine {

// Keeps the calling thread on this core; -1 leaves it to the machine. `what` names the thread in the log.
void pin_thread(int64_t cpu, const char* what);

// All pages of the process, present and future, are in memory and stay there.
void lock_memory();

}  // namespace shrike::engine
