// How the machine does: the latency of answers, requests that got none in time, memory. It sees what the
// server measured of itself as events of the log (MachineEvent), so a replay judges the same and needs no
// clock.
//
// Each subject has a limit (`[machine]`). Beyond it for `periods` events in a row it is a warning, beyond
// twice the limit critical; within half of it for as many it is over.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/lifecycle/monitor.h"

namespace shrike::engine {

class Machine : public Monitor {
 public:
  // A period with fewer requests tells nothing of latency and errors.
  static constexpr uint64_t kRequestsMin = 100;

  explicit Machine(ConfigPtr config) : config_(std::move(config)) {}

  std::string_view name() const override { return "machine"; }
  void machine(const MachineEvent& event, std::vector<JudgementEvent>& found) override;
  void close(const Period&, std::vector<JudgementEvent>&) override {}
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

 private:
  enum class Subject : uint8_t { kLatency, kErrors, kMemory };
  static constexpr size_t kSubjects = 3;
  static std::string_view name(Subject subject);

  // How long a subject has been where it is, and what was told of it.
  struct Standing {
    uint64_t beyond = 0, far_beyond = 0, within = 0;  // events in a row
    bool on = false, critical = false;
    double value = 0;  // newest
  };

  void judge(Subject subject, double value, double limit, std::string text, const MachineEvent& event,
             std::vector<JudgementEvent>& found);
  uint64_t grown(const MachineEvent& event);

  ConfigPtr config_;
  std::array<Standing, kSubjects> standings_;
  std::map<int64_t, uint64_t> least_;  // resident bytes by hour of the server's clock, over a day
};

}  // namespace shrike::engine
