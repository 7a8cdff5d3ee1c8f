#include "engine/live_learner.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace shrike::engine {
namespace {

using Clock = std::chrono::steady_clock;

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

}  // namespace

double CallTimes::mean() const {
  double sum = 0;
  for (const float one : us_) sum += static_cast<double>(one);
  return us_.empty() ? 0 : sum / static_cast<double>(us_.size());
}

double CallTimes::quantile(double q) const {
  if (us_.empty()) return 0;
  std::vector<float> sorted = us_;
  const auto at = static_cast<size_t>(q * static_cast<double>(sorted.size() - 1));
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(at), sorted.end());
  return static_cast<double>(sorted[at]);
}

LiveLearner::LiveLearner(ConfigPtr config) : config_(std::move(config)) {
  const TrainingConfig& training = config_->training;
  // The configuration was validated by making this very learner.
  learner_ =
      learners::make_learner(training.family, training.options, config_->columns, training.seed).value();
  model_ = learners::make_prior_model(config_->columns, training.prior);
}

void LiveLearner::learn(const Key& transaction, Verdict verdict, std::span<const float> row) {
  const float label = verdict == Verdict::kFraud ? 1.0f : 0.0f, weight = 1;
  const uint64_t key = example_key(transaction);
  const auto start = Clock::now();
  learner_->partial_fit({row, row.size()}, {&label, 1}, {&weight, 1}, {&key, 1});
  learning_.add(us_since(start));
}

void LiveLearner::observe(const Key& transaction, std::span<const float> row) {
  if (!learner_->observes()) return;
  const uint64_t key = example_key(transaction);
  learner_->observe({row, row.size()}, {&key, 1});
}

float LiveLearner::score(std::span<const float> row) {
  const auto start = Clock::now();
  if (const auto margin = learner_->live_margin(row)) {
    predicting_.add(us_since(start));
    return static_cast<float>(1 / (1 + std::exp(-std::clamp(*margin, -30.0, 30.0))));
  }
  if (learner_->examples() >= renewed_at_ + kRenew) {
    renewed_at_ = learner_->examples();
    model_ = learner_->snapshot();
  }
  const auto scoring = Clock::now();
  float score = 0;
  model_->score({row, row.size()}, {&score, 1});
  predicting_.add(us_since(scoring));
  return score;
}

}  // namespace shrike::engine
