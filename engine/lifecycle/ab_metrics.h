// What can be said of the transactions that one model answered, as ratios of two sums: what A/B tests
// compare, what KPIs are, and what is shown of each day. Where decisions hide labels each settled transaction
// counts by its weight. What no model answered (step static) counts nowhere.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config/config.h"
#include "engine/fold/watch.h"

namespace shrike::engine {

struct AbMetric {
  enum class Kind : uint8_t {
    kRecall,          // of frauds, the share that the policy declined; would have, but for the control group
    kPrecision,       // of what it declined, the share that is fraud
    kFalsePositives,  // of what is legitimate, the share that it declined
    kLogLoss,
    kFraudRate,    // of what has a verdict or told by its silence
    kDeclineRate,  // of what was answered: at once
    kReviewRate,
    kKpi,         // of what was answered: reported, [kpi.NAME]
    kKpiOfLabel,  // the same as the fraud rate, by its own name
  };
  Kind kind;
  std::string name;
  bool more_is_better = false;
  bool is_rate = true;    // its sums count yes and no
  int64_t within_us = 0;  // after its transaction, what is to come has come
};

// All that a configuration knows; the first seven are the same in each.
std::vector<AbMetric> ab_metrics(const Config& config);

// Why an A/B test cannot be about it; "" when it can. What needs the verdicts on what was declined is seen
// only where some of it goes through.
std::string hidden_from_tests(const Config& config, const AbMetric& metric);

// What an event adds to a metric's sums, or takes back.
struct Contribution {
  double numerator = 0, denominator = 0;
  explicit operator bool() const { return numerator != 0 || denominator != 0; }
};
Contribution at_score(const AbMetric& metric, const Answer& answer);
Contribution at_settling(const AbMetric& metric, const Settled& settled);
Contribution at_kpi(const AbMetric& metric, const KpiEvent& event);

}  // namespace shrike::engine
