// What servers say of themselves: how fast they answered, when they began, and which configuration they had.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/config/config.h"
#include "engine/diagnosis/evidence.h"

namespace shrike::engine {

// Every key that one of two texts of a configuration has otherwise than the other: "policy.decline_score: 0.5
// -> 0.3", "features.3.name: - -> amount". An error where one is no TOML.
tl::expected<std::vector<std::string>, std::string> changed_keys(std::string_view before,
                                                                 std::string_view after);

class InfrastructureReader {
 public:
  InfrastructureReader(ConfigPtr config, Days reference, Days period);

  // In the order of the log; `day` is that of the newest event time.
  void see(const MachineEvent& event, int64_t day);
  void see(const StartEvent& event, int64_t day);
  void see(const ConfigEvent& event, int64_t day);

  tl::expected<InfrastructureEvidence, std::string> evidence() const;

 private:
  ConfigPtr config_;
  Days reference_, period_;
  InfrastructureEvidence found_;
  std::array<std::vector<double>, 2> p99_ms_;
  std::string text_;     // of the newest configuration; "" when none was read
  std::string problem_;  // why configurations cannot be compared
};

}  // namespace shrike::engine
