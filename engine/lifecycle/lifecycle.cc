#include "engine/lifecycle/lifecycle.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

#include "engine/lifecycle/lifecycle.pb.h"
#include "engine/lifecycle/numbers.h"

namespace shrike::engine {
namespace {
constexpr uint32_t kVersion = 1;
}  // namespace

Lifecycle::Lifecycle(const ConfigPtr&, std::vector<std::unique_ptr<Monitor>> monitors)
    : monitors_(std::move(monitors)) {}

void Lifecycle::arrived(const Arrived& arrived) {
  for (const auto& monitor : monitors_) monitor->arrived(arrived);
}

void Lifecycle::scored(const Scored& scored) {
  for (const auto& monitor : monitors_) monitor->scored(scored);
}

void Lifecycle::settled(const Settled& settled) {
  for (const auto& monitor : monitors_) monitor->settled(settled);
}

void Lifecycle::labelled(const Labelled& labelled) {
  for (const auto& monitor : monitors_) monitor->labelled(labelled);
}

void Lifecycle::kpi(const KpiEvent& event) {
  for (const auto& monitor : monitors_) monitor->kpi(event);
}

void Lifecycle::model(const ModelEvent& event, const Fold& fold) {
  for (const auto& monitor : monitors_) monitor->model(event, fold);
}

void Lifecycle::machine(const MachineEvent& event, const Moment& moment) {
  std::vector<JudgementEvent> found;
  for (const auto& monitor : monitors_) {
    found.clear();
    monitor->machine(event, found);
    keep(*monitor, moment, found);
  }
}

void Lifecycle::close(const Moment& moment) {
  const bool first = last_close_us_ == INT64_MIN;
  const Period period{moment, !first && start_of_hour(moment.now_us) > start_of_hour(last_close_us_),
                      !first && start_of_day(moment.now_us) > start_of_day(last_close_us_)};
  last_close_us_ = moment.now_us;
  std::vector<JudgementEvent> found;
  for (const auto& monitor : monitors_) {
    found.clear();
    monitor->close(period, found);
    keep(*monitor, moment, found);
  }
}

// Until it is in the log.
void Lifecycle::keep(const Monitor& monitor, const Moment& moment, std::vector<JudgementEvent>& found) {
  for (JudgementEvent& judgement : found) {
    judgement.monitor = monitor.name();
    judgement.time_us = moment.now_us;
    made_.push_back(std::move(judgement));
  }
}

void Lifecycle::judged(const JudgementEvent& event) {
  if (!made_.empty() && made_.front() == event) made_.pop_front();
  for (const auto& monitor : monitors_) monitor->judged(event);
}

void Lifecycle::save(const std::function<void(std::string)>& sink) const {
  proto::LifecycleRecord record;
  record.set_version(kVersion);
  record.set_last_close_us(last_close_us_);
  for (const auto& monitor : monitors_) {
    proto::MonitorRecord& saved = *record.add_monitors();
    saved.set_name(std::string(monitor->name()));
    saved.set_state(monitor->save());
  }
  for (const JudgementEvent& judgement : made_) write_judgement(judgement, *record.add_made());
  sink(record.SerializeAsString());
}

// A monitor that is new in this version begins anew; the state of one that is no more is left.
tl::expected<void, std::string> Lifecycle::restore(std::string_view piece) {
  proto::LifecycleRecord record;
  if (!record.ParseFromArray(piece.data(), static_cast<int>(piece.size())))
    return tl::make_unexpected(std::string("the life cycle's record is damaged"));
  if (record.version() > kVersion) {
    return tl::make_unexpected(fmt::format(
        "the life cycle's record has version {}; this Shrike reads up to {}", record.version(), kVersion));
  }
  last_close_us_ = record.last_close_us();
  for (const proto::MonitorRecord& saved : record.monitors()) {
    for (const auto& monitor : monitors_) {
      if (monitor->name() != saved.name()) continue;
      if (auto done = monitor->restore(saved.state()); !done)
        return tl::make_unexpected(fmt::format("monitor {}: {}", saved.name(), done.error()));
    }
  }
  made_.clear();
  for (const proto::JudgementRecord& saved : record.made()) {
    JudgementEvent judgement;
    if (!read_judgement(saved, judgement))
      return tl::make_unexpected(std::string("a judgement has a value that this version does not know"));
    made_.push_back(std::move(judgement));
  }
  return {};
}

std::string Lifecycle::report() const {
  nlohmann::json all = nlohmann::json::object();
  for (const auto& monitor : monitors_) all[std::string(monitor->name())] = monitor->report();
  return all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::unique_ptr<Fold> make_fold(const ConfigPtr& config, ExampleSink& examples, History* history,
                                int64_t keep_us) {
  auto fold = std::make_unique<Fold>(config, examples, history, keep_us);
  fold->watch(std::make_unique<Lifecycle>(config));
  return fold;
}

}  // namespace shrike::engine
