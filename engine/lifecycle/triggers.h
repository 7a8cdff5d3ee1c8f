// When is a learner to be learned anew? At alerts of the champion's performance, of drift and of KPIs, on a
// schedule, and after so many new labels by people; [retraining] says which of these. Several at once are one
// retraining, of the most pressing (the order above); one is not asked for while another is under way, within
// the cool-down, or while the quality of the data fails. What each is answered with:
//
//  - performance: a search over options, recent examples counting more;
//  - drift: learned from what was known since the drifted window began, once there is enough of it;
//  - a KPI: learned from what was known in the last retraining.kpi_window; again, after the cool-down, if
//  that
//    came to nothing and the alert is still on;
//  - schedule: everything that the log has;
//  - labels: alike.
//
// The learner that goes on learning is never stopped by it: what was retrained is the gate's next candidate.
#pragma once

#include <string>

#include "engine/lifecycle/monitor.h"

namespace shrike::engine {

class Triggers : public Monitor {
 public:
  explicit Triggers(ConfigPtr config) : config_(std::move(config)) {}

  std::string_view name() const override { return "triggers"; }
  void labelled(const Labelled& labelled) override;
  void close(const Period& period, std::vector<JudgementEvent>& found) override;
  void judged(const JudgementEvent& event) override;
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

 private:
  bool due(int64_t now_us) const;

  ConfigPtr config_;
  uint64_t labels_ = 0;                    // by people, since the last retraining
  std::string performance_, drift_, kpi_;  // why, once they ask
  std::string kpi_alert_;                  // why, as long as it is on
  int64_t drift_us_ = 0;
  int64_t scheduled_us_ = INT64_MIN;  // when the schedule was met last
  int64_t asked_us_ = INT64_MIN;      // the last retraining
  bool quality_fails_ = false;
};

}  // namespace shrike::engine
