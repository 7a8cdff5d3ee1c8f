// The monitors there are: one line each.
#include "engine/lifecycle/ab_test.h"
#include "engine/lifecycle/control_group.h"
#include "engine/lifecycle/drift.h"
#include "engine/lifecycle/kpis.h"
#include "engine/lifecycle/machine.h"
#include "engine/lifecycle/monitor.h"
#include "engine/lifecycle/performance.h"
#include "engine/lifecycle/quality.h"
#include "engine/lifecycle/rollback.h"
#include "engine/lifecycle/rollout.h"
#include "engine/lifecycle/sources.h"
#include "engine/lifecycle/thresholds.h"
#include "engine/lifecycle/triggers.h"

namespace shrike::engine {

std::vector<std::unique_ptr<Monitor>> make_monitors(const ConfigPtr& config) {
  std::vector<std::unique_ptr<Monitor>> monitors;
  if (config->quality.on) monitors.push_back(std::make_unique<Quality>(config));
  if (config->drift.on) monitors.push_back(std::make_unique<Drift>(config));
  monitors.push_back(std::make_unique<SourceMonitor>(config));
  monitors.push_back(std::make_unique<ThresholdMonitor>(config));
  monitors.push_back(std::make_unique<Performance>(config));
  if (config->control.share > 0 || config->policy.decline_hides)
    monitors.push_back(std::make_unique<ControlGroup>(config));
  monitors.push_back(std::make_unique<Kpis>(config));
  monitors.push_back(std::make_unique<Machine>(config));
  monitors.push_back(std::make_unique<Rollout>(config));
  monitors.push_back(std::make_unique<AbTest>(config));
  monitors.push_back(std::make_unique<Rollback>(config));
  monitors.push_back(std::make_unique<Triggers>(config));
  return monitors;
}

}  // namespace shrike::engine
