// Monitors as the fold's watch: hands on what happens, closes periods, keeps what was judged until it is in
// the log. Owned by the fold; its state is part of checkpoints.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "engine/fold/fold.h"
#include "engine/lifecycle/monitor.h"

namespace shrike::engine {

class Lifecycle : public Watch {
 public:
  explicit Lifecycle(const ConfigPtr& config) : Lifecycle(config, make_monitors(config)) {}
  Lifecycle(const ConfigPtr& config, std::vector<std::unique_ptr<Monitor>> monitors);

  void arrived(const Arrived& arrived) override;
  void scored(const Scored& scored) override;
  void settled(const Settled& settled) override;
  void labelled(const Labelled& labelled) override;
  void kpi(const KpiEvent& event) override;
  void model(const ModelEvent& event, const Fold& fold) override;
  void machine(const MachineEvent& event, const Moment& moment) override;
  void close(const Moment& moment) override;
  const JudgementEvent* next() const override { return made_.empty() ? nullptr : &made_.front(); }
  void judged(const JudgementEvent& event) override;
  std::string report() const override;
  void save(const std::function<void(std::string)>& sink) const override;
  tl::expected<void, std::string> restore(std::string_view piece) override;

 private:
  void keep(const Monitor& monitor, const Moment& moment, std::vector<JudgementEvent>& found);

  std::vector<std::unique_ptr<Monitor>> monitors_;
  std::deque<JudgementEvent> made_;  // and not yet in the log
  int64_t last_close_us_ = INT64_MIN;
};

// A fold that is watched by the monitors of its configuration. Arguments as Fold's.
std::unique_ptr<Fold> make_fold(const ConfigPtr& config, ExampleSink& examples, History* history,
                                int64_t keep_us = 0);

}  // namespace shrike::engine
