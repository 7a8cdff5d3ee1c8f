#include "engine/replay/live_learner.h"

#include <algorithm>
#include <cmath>

namespace shrike::engine {

LiveLearner::LiveLearner(ConfigPtr config) : config_(std::move(config)) {
  const TrainingConfig& training = config_->training;
  // The configuration was validated by making this very learner.
  learner_ =
      learners::make_learner(training.family, training.options, config_->columns, training.seed).value();
  model_ = learners::make_prior_model(config_->columns, training.prior);
}

void LiveLearner::learn(const Example& example) {
  const float label = example.verdict == Verdict::kFraud ? 1.0f : 0.0f;
  const uint64_t key = example_key(example.transaction);
  const auto start = CallTimes::Clock::now();
  learner_->partial_fit({example.row, example.row.size()}, {&label, 1}, {&example.weight, 1}, {&key, 1});
  learning_.add(CallTimes::us_since(start));
  constexpr size_t kWaitEvery = 4;
  if (learning_.calls() % kWaitEvery != 0) return;
  const auto wait = CallTimes::Clock::now();
  while (CallTimes::us_since(wait) < learning_.mean()) {
  }
  waiting_.add(CallTimes::us_since(wait));
}

void LiveLearner::observe(const Key& transaction, std::span<const float> row) {
  if (!learner_->observes()) return;
  const uint64_t key = example_key(transaction);
  learner_->observe({row, row.size()}, {&key, 1});
}

float LiveLearner::score(std::span<const float> row) {
  const auto start = CallTimes::Clock::now();
  if (const auto margin = learner_->live_margin(row)) {
    predicting_.add(CallTimes::us_since(start));
    return static_cast<float>(1 / (1 + std::exp(-std::clamp(*margin, -30.0, 30.0))));
  }
  if (learner_->examples() >= renewed_at_ + kRenew) {
    renewed_at_ = learner_->examples();
    model_ = learner_->snapshot();
  }
  const auto scoring = CallTimes::Clock::now();
  float score = 0;
  model_->score({row, row.size()}, {&score, 1});
  predicting_.add(CallTimes::us_since(scoring));
  return score;
}

}  // namespace shrike::engine
