// Which judgements are alerts, and which of these are told: those severe enough, not the same one again and
// again, and each with its end. A function of the judgements in the order of the log; no thread, no clock.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "engine/fold/event.h"

namespace shrike::engine {

struct Alert {
  uint64_t id = 0;          // the sequence number of its event
  std::string fingerprint;  // MONITOR/SUBJECT: the same from its beginning to its end
  bool resolved = false;
  Severity severity = Severity::kWarning;  // resolved: the one it was told with
  JudgementEvent judgement;
};

class AlertBook {
 public:
  static constexpr size_t kOpenMax = 4096;  // beyond it the one told longest ago is forgotten

  // Judgements below `least` are no alerts. One of the same fingerprint is told again after `repeat_us` of
  // event time, and before only when it is more severe or does something else.
  AlertBook(Severity least, int64_t repeat_us) : least_(least), repeat_us_(repeat_us) {}

  // What is to be told of a judgement; nothing when it is below the severity, or known.
  std::optional<Alert> judged(uint64_t sequence, const JudgementEvent& event);
  // What another book of the same log has told: this one goes on from there.
  void told(const Alert& alert);

  size_t open() const { return open_.size(); }
  // The alerts that are open, as a JSON object by fingerprint.
  nlohmann::json save() const;
  // False, and the book as it was, when the object is none of save()'s.
  [[nodiscard]] bool restore(const nlohmann::json& saved);

 private:
  // An alert that was told and not resolved.
  struct Open {
    Severity severity = Severity::kWarning;
    Action action = Action::kNone;
    std::string target;
    int64_t told_us = 0;   // event time
    bool failing = false;  // a success ends it
  };
  using OpenAlerts = std::map<std::string, Open>;

  OpenAlerts::const_iterator ended_by(const JudgementEvent& event, const std::string& fingerprint) const;
  bool is_known(const JudgementEvent& event, const std::string& fingerprint) const;

  Severity least_;
  int64_t repeat_us_;
  OpenAlerts open_;  // by fingerprint
};

}  // namespace shrike::engine
