#include "engine/lifecycle/alert_book.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

namespace shrike::engine {
namespace {

// What a release or its like undoes, whoever had done it; kNone for other actions.
Action undone_by(Action action) {
  if (action == Action::kRelease) return Action::kQuarantine;
  if (action == Action::kGoOnRollout) return Action::kHoldRollout;
  return action == Action::kGoOnTraining ? Action::kHoldTraining : Action::kNone;
}

}  // namespace

std::optional<Alert> AlertBook::judged(uint64_t sequence, const JudgementEvent& event) {
  Alert alert{.id = sequence,
              .fingerprint = event.monitor + "/" + event.subject,
              .severity = event.severity,
              .judgement = event};
  if (const auto ended = ended_by(event, alert.fingerprint); ended != open_.end()) {
    alert.fingerprint = ended->first;
    alert.severity = ended->second.severity;
    alert.resolved = true;
  } else if (event.severity < least_ || event.action == Action::kResolve ||
             is_known(event, alert.fingerprint)) {
    return std::nullopt;
  }
  told(alert);
  return alert;
}

// The monitor's own word comes first. A person's release ends what a monitor had quarantined, but a monitor
// that goes on with training while its data still warn has not ended its own alert.
AlertBook::OpenAlerts::const_iterator AlertBook::ended_by(const JudgementEvent& event,
                                                          const std::string& fingerprint) const {
  const auto own = open_.find(fingerprint);
  if (own != open_.end() &&
      (event.action == Action::kResolve || (event.finding == Finding::kSuccessful && own->second.failing)))
    return own;
  const Action undone = undone_by(event.action);
  if (undone == Action::kNone) return open_.end();
  return std::find_if(open_.begin(), open_.end(), [&](const auto& one) {
    const auto& [key, open] = one;
    const bool same = undone != Action::kQuarantine || open.target == event.target;
    return open.action == undone && same && (key != fingerprint || event.monitor == kOperator);
  });
}

bool AlertBook::is_known(const JudgementEvent& event, const std::string& fingerprint) const {
  const auto found = open_.find(fingerprint);
  if (found == open_.end()) return false;
  const int64_t since_us = event.time_us - found->second.told_us;  // negative: event time was set back
  return since_us >= 0 && since_us < repeat_us_ && event.severity <= found->second.severity &&
         event.action == found->second.action;
}

void AlertBook::told(const Alert& alert) {
  if (alert.resolved) {
    open_.erase(alert.fingerprint);
    return;
  }
  const JudgementEvent& event = alert.judgement;
  open_[alert.fingerprint] =
      Open{event.severity, event.action, event.target, event.time_us, event.finding != Finding::kSuccessful};
  if (open_.size() <= kOpenMax) return;
  open_.erase(std::min_element(open_.begin(), open_.end(), [](const auto& a, const auto& b) {
    return a.second.told_us < b.second.told_us;
  }));
}

nlohmann::json AlertBook::save() const {
  nlohmann::json all = nlohmann::json::object();
  for (const auto& [fingerprint, open] : open_) {
    all[fingerprint] = {{"severity", static_cast<uint64_t>(open.severity)},
                        {"action", static_cast<uint64_t>(open.action)},
                        {"target", open.target},
                        {"told_us", open.told_us},
                        {"failing", open.failing}};
  }
  return all;
}

bool AlertBook::restore(const nlohmann::json& saved) {
  if (!saved.is_object()) return false;
  OpenAlerts all;
  for (const auto& item : saved.items()) {
    const nlohmann::json& one = item.value();
    const auto has = [&](const char* key, bool (nlohmann::json::*is)() const noexcept) {
      return one.is_object() && one.contains(key) && (one[key].*is)();
    };
    Open open;
    if (!has("severity", &nlohmann::json::is_number_unsigned) ||
        !has("action", &nlohmann::json::is_number_unsigned) || !has("target", &nlohmann::json::is_string) ||
        !has("told_us", &nlohmann::json::is_number_integer) || !has("failing", &nlohmann::json::is_boolean) ||
        !from_record(one["severity"].get<uint64_t>(), open.severity) ||
        !from_record(one["action"].get<uint64_t>(), open.action))
      return false;
    open.target = one["target"].get<std::string>();
    open.told_us = one["told_us"].get<int64_t>();
    open.failing = one["failing"].get<bool>();
    all[item.key()] = std::move(open);
  }
  open_ = std::move(all);
  return true;
}

}  // namespace shrike::engine
