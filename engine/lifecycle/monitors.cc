// The monitors there are: one line each.
#include "engine/lifecycle/monitor.h"
#include "engine/lifecycle/performance.h"

namespace shrike::engine {

std::vector<std::unique_ptr<Monitor>> make_monitors(const ConfigPtr& config) {
  std::vector<std::unique_ptr<Monitor>> monitors;
  monitors.push_back(std::make_unique<Performance>(config));
  return monitors;
}

}  // namespace shrike::engine
