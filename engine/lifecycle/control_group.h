// What the control group costs and what it shows. It lets a share of the would-be declines (and reviews)
// through so that their labels tell what became of them: the frauds among them are its price, known first as
// what the scores expect and later as what labels say. In return they show what decisions hide: how many of
// those that are stopped are frauds (the precision without intervention), and the loss that stopping them
// saves. By event day of the transactions; a report, which judges nothing.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "engine/lifecycle/monitor.h"

namespace shrike::engine {

class ControlGroup : public Monitor {
 public:
  static constexpr int64_t kDaysKept = 120;  // a label later than that changes nothing here
  static constexpr int64_t kShown = 30;

  explicit ControlGroup(ConfigPtr config) : config_(std::move(config)) {}

  std::string_view name() const override { return "control"; }
  void scored(const Scored& scored) override;
  void settled(const Settled& settled) override;
  void close(const Period& period, std::vector<JudgementEvent>& found) override;
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

 private:
  // Of one day. What labels say counts once for each transaction, and by inverse propensity where it stands
  // for all that something else than approval was wanted for.
  struct Day {
    double stopped = 0, let_through = 0;           // transactions
    double stopped_amount = 0, expected_loss = 0;  // of what was stopped; of what was let through
    double settled = 0, frauds = 0, realised_loss = 0;
    double weight = 0, fraud_weight = 0, weight_squares = 0, loss_weight = 0;

    Day& operator+=(const Day& other);
  };
  Day pool(int64_t first_day) const;
  nlohmann::json json_of(const Day& day) const;

  ConfigPtr config_;
  std::map<int64_t, Day> days_;  // since 1970
};

}  // namespace shrike::engine
