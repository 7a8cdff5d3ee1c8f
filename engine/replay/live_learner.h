// A learner that answers as it stands: every example is learned the moment it comes, every row is scored by
// what is learned so far. No candidate, gate or champion: the test-then-train protocol of the literature, for
// comparing learners. Times each call. Owned by a replay; one thread.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "engine/fold/fold.h"
#include "engine/replay/call_times.h"
#include "learners/learner.h"

namespace shrike::engine {

class LiveLearner : public ExampleSink {
 public:
  explicit LiveLearner(ConfigPtr config);

  void learn(const Example& example) override;
  void observe(const Key& transaction, std::span<const float> row) override;
  // By the learner itself where it has such a form, else by a snapshot that is renewed every
  // kRenew examples.
  float score(std::span<const float> row);

  size_t state_bytes() const { return learner_->state_bytes(); }
  std::string waits_for() const { return learner_->waits_for(); }
  const CallTimes& predicting() const { return predicting_; }
  const CallTimes& learning() const { return learning_; }
  // Busy waits as long as the mean call of learning(), between such calls: what the machine adds by itself.
  const CallTimes& waiting() const { return waiting_; }

 private:
  static constexpr uint64_t kRenew = 1000;

  ConfigPtr config_;
  std::unique_ptr<learners::Learner> learner_;
  learners::ModelPtr model_;
  uint64_t renewed_at_ = 0;
  CallTimes predicting_, learning_, waiting_;
};

}  // namespace shrike::engine
