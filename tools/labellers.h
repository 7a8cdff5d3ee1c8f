// Who labels a simulated stream, as it is in life: analysts look at so many reviewed transactions a day, and
// err; what went through and was fraud is charged back by its card holder, days later; what was declined is
// never heard of again. Seeded; one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/measure.h"
#include "tools/simulator.h"

namespace shrike::tools {

struct LabellingOptions {
  bool hide_declined = false;  // else a declined fraud is charged back all the same
  // Of chargebacks. Without one a third of the frauds is found by analysts within two days and the others are
  // charged back after three to six.
  bool delayed = false;
  LabelDelay delay;
  // Analysts: how many of a day's reviewed transactions they look at (half as many on two days a week). 0:
  // they look at none.
  int reviews_per_day = 0;
  double error = 0.02;   // of their verdicts
  double unsure = 0.05;  // of what they look at
};

// A label that comes `delay_s` after its transaction. The verdict is what a request has: 0, 1, "unsure".
struct ComingLabel {
  int64_t delay_s = 0;
  const char* source = "";
  const char* verdict = "";
};

class Labellers {
 public:
  Labellers(const LabellingOptions& options, uint64_t seed);

  // The labels that a transaction which was decided so will get.
  std::vector<ComingLabel> look_at(const SimulatedTransaction& transaction, std::string_view decision);

 private:
  bool somebody_looks(int64_t day);
  ComingLabel verdict(const SimulatedTransaction& transaction);
  ComingLabel chargeback();

  LabellingOptions options_;
  Random random_;
  int64_t day_ = -1;
  int looked_ = 0;  // at, on that day
};

}  // namespace shrike::tools
