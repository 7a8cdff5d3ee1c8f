// One face for all that judges over the log. A monitor sees what the fold sees, in the order of the log, and
// says what it found when a period closes; it knows no thread, clock or socket, so the same log gives the
// same judgements. A further monitor is one file, and one line in monitors.cc.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <tl/expected.hpp>

#include "engine/config/config.h"
#include "engine/fold/watch.h"

namespace shrike::engine {

// A period that closes: at every kCloseEvery transactions and at each hour of event time.
struct Period {
  Moment moment;
  bool new_hour = false, new_day = false;  // by event time, UTC; one that was passed over counts as one
};

class Monitor {
 public:
  virtual ~Monitor() = default;
  // As judgements carry it: "drift".
  virtual std::string_view name() const = 0;

  // See watch.h for what these are and in which order they come. The first four are called for every
  // transaction or label: they are to cost tens of nanoseconds, not microseconds.
  virtual void arrived(const Arrived&) {}
  virtual void scored(const Scored&) {}
  virtual void settled(const Settled&) {}
  virtual void labelled(const Labelled&) {}
  virtual void kpi(const KpiEvent&) {}
  virtual void model(const ModelEvent&, const Fold&) {}
  // Once a minute; what is found here needs no period's end.
  virtual void machine(const MachineEvent&, std::vector<JudgementEvent>&) {}

  // What was found. The state may change here; the judgements get the monitor's name and the time.
  virtual void close(const Period& period, std::vector<JudgementEvent>& found) = 0;
  // A judgement of any monitor, or one by hand, is in the log: it has its effect from now on.
  virtual void judged(const JudgementEvent&) {}

  // For `shrike health` and status: where it stands, as a JSON object.
  virtual nlohmann::json report() const = 0;

  // The state as bytes; restore() takes them into a monitor of the same configuration and goes on to the same
  // judgements. Damaged bytes are errors, never crashes.
  virtual std::string save() const = 0;
  virtual tl::expected<void, std::string> restore(std::string_view bytes) = 0;
};

// All of them, in the order in which they judge. The list is monitors.cc.
std::vector<std::unique_ptr<Monitor>> make_monitors(const ConfigPtr& config);

}  // namespace shrike::engine
