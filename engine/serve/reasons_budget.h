// How much of the engine thread's time reasons may take. Those of an ensemble cost as much as a hundred
// scores, so while requests wait they get a share of the time, and what is declined beyond it is answered
// without (step no_reasons, in the log and counted). While nobody waits they cost nobody anything.
#pragma once

#include <algorithm>
#include <cstdint>

namespace shrike::engine {

class ReasonsBudget {
 public:
  static constexpr double kShare = 0.1;      // of the time, while requests wait
  static constexpr double kSavedUs = 1'000;  // at most, for the first of a burst

  void begin(int64_t now_us) {
    saved_us_ = std::min(saved_us_ + kShare * static_cast<double>(now_us - since_us_), kSavedUs);
    since_us_ = asked_us_ = now_us;
  }
  // Just before an answer is made.
  bool may(int64_t now_us, bool others_wait) {
    begin(now_us);
    others_wait_ = others_wait;
    return !others_wait || saved_us_ > 0;
  }
  // It was made, with reasons.
  void given(int64_t now_us) {
    if (others_wait_) saved_us_ -= static_cast<double>(now_us - asked_us_);
  }

 private:
  double saved_us_ = kSavedUs;
  int64_t since_us_ = 0, asked_us_ = 0;
  bool others_wait_ = false;
};

}  // namespace shrike::engine
