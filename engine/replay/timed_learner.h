// The clock that the fold must not have: times what a trainer learns, one entry per batch, its mean per
// example. Owned by a replay; called on the training thread, read once that is awaited.
#pragma once

#include "engine/fold/trainer.h"
#include "engine/replay/call_times.h"

namespace shrike::engine {

class TimedLearner : public LearningWatch {
 public:
  void begin() override { start_ = CallTimes::Clock::now(); }
  void end(size_t examples) override {
    times_.add(CallTimes::us_since(start_) / static_cast<double>(examples));
  }
  const CallTimes& times() const { return times_; }

 private:
  CallTimes::Clock::time_point start_;
  CallTimes times_;
};

}  // namespace shrike::engine
