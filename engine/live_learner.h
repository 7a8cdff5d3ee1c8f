// A learner that answers as it stands: every example is learned the moment it comes, every row is scored by
// what is learned so far. No candidate, gate or champion: the test-then-train protocol of the literature, for
// comparing learners. Times each call. Owned by a replay; one thread.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/fold.h"
#include "learners/learner.h"

namespace shrike::engine {

// What calls took, a row at a time.
class CallTimes {
 public:
  void add(double us) { us_.push_back(static_cast<float>(us)); }
  size_t calls() const { return us_.size(); }
  double mean() const;
  // In microseconds; 0 without calls.
  double quantile(double q) const;

 private:
  std::vector<float> us_;
};

class LiveLearner : public ExampleSink {
 public:
  explicit LiveLearner(ConfigPtr config);

  void learn(const Key& transaction, Verdict verdict, std::span<const float> row) override;
  void observe(const Key& transaction, std::span<const float> row) override;
  // By the learner itself where it has such a form, else by a snapshot that is renewed every
  // kRenew examples.
  float score(std::span<const float> row);

  size_t state_bytes() const { return learner_->state_bytes(); }
  const CallTimes& predicting() const { return predicting_; }
  const CallTimes& learning() const { return learning_; }

 private:
  static constexpr uint64_t kRenew = 1000;

  ConfigPtr config_;
  std::unique_ptr<learners::Learner> learner_;
  learners::ModelPtr model_;
  uint64_t renewed_at_ = 0;
  CallTimes predicting_, learning_;
};

}  // namespace shrike::engine
