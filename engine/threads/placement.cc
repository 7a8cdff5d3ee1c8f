#include "engine/threads/placement.h"

#include <pthread.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>

namespace shrike::engine {

void pin_thread(int64_t cpu, const char* what) {
  if (cpu < 0) return;
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(static_cast<size_t>(cpu), &cores);
  const int failed = pthread_setaffinity_np(pthread_self(), sizeof(cores), &cores);
  if (failed != 0) {
    spdlog::warn("threads.{}_cpu = {}: {}; the thread runs where the machine puts it", what, cpu,
                 std::strerror(failed));
  }
}

void lock_memory() {
  if (mlockall(MCL_CURRENT | MCL_FUTURE) == 0) return;
  spdlog::warn("threads.lock_memory: {}; raise the limit (ulimit -l, LimitMEMLOCK=infinity)",
               std::strerror(errno));
}

}  // namespace shrike::engine
