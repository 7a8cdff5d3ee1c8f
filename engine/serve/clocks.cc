#include "engine/serve/clocks.h"

#include <chrono>

namespace shrike::engine {
namespace {

template <typename Clock>
int64_t since_epoch_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch()).count();
}

}  // namespace

int64_t now_us() { return since_epoch_us<std::chrono::steady_clock>(); }

int64_t wall_us() { return since_epoch_us<std::chrono::system_clock>(); }

std::optional<int64_t> server_time_us(const Config& config) {
  if (config.limits.clock == LimitConfig::Clock::kEvent) return std::nullopt;
  return wall_us();
}

}  // namespace shrike::engine
