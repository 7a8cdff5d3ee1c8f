#include "engine/fold/policy.h"

#include <algorithm>
#include <cmath>

namespace shrike::engine {

bool is_probability(float score) { return score >= 0 && score <= 1; }

void decide(const PolicyConfig& policy, const Thresholds& thresholds, double amount, Answer& answer) {
  answer.risk = std::isfinite(amount) ? static_cast<double>(answer.score) * amount : 0;
  const auto reaches = [&](double score, double loss) {
    return static_cast<double>(answer.score) >= score || (loss > 0 && answer.risk >= loss);
  };
  answer.decision = reaches(thresholds.decline, policy.decline_loss) ? Decision::kDecline
                    : reaches(thresholds.review, policy.review_loss) ? Decision::kReview
                                                                     : Decision::kApprove;
}

bool hides(const PolicyConfig& policy, Decision decision) {
  return decision == Decision::kDecline  ? policy.decline_hides
         : decision == Decision::kReview ? policy.review_hides
                                         : false;
}

bool went_through(const Answer& answer, Outcome outcome) {
  if (outcome != Outcome::kUnreported)
    return outcome == Outcome::kApproved || outcome == Outcome::kChallengePassed;
  return answer.control || answer.propensity >= 1;
}

double draw(const Key& transaction, uint64_t seed) {
  const uint64_t bits = features::scramble(features::mix(transaction) ^ features::scramble(seed));
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

void let_through(const Config& config, const Key& transaction, double amount, Answer& answer) {
  const ControlConfig& control = config.control;
  answer.control = false;
  answer.wanted = answer.decision;
  answer.propensity = hides(config.policy, answer.decision) ? 0 : 1;
  const bool eligible =
      answer.decision == Decision::kDecline || (control.reviews && answer.decision == Decision::kReview);
  if (!eligible || answer.propensity > 0 || control.share == 0 || answer.step == Step::kStatic) return;
  if (control.amount_max > 0 && amount > control.amount_max) return;
  answer.propensity = static_cast<float>(control.share);
  answer.control = draw(transaction, control.seed) < control.share;
  if (answer.control) answer.decision = Decision::kApprove;
}

void give_reasons(const PolicyConfig& policy, const learners::Model& model, std::span<const float> row,
                  Answer& answer, std::vector<double>& scratch) {
  scratch.resize(row.size());
  model.explain(row, scratch);
  answer.reason_count = 0;
  for (size_t n = 0; n < policy.reasons_max; ++n) {
    size_t best = row.size();
    for (size_t c = 0; c < row.size(); ++c) {
      if (scratch[c] > 0 && (best == row.size() || scratch[c] > scratch[best])) best = c;
    }
    if (best == row.size()) break;
    answer.reasons[answer.reason_count++] = static_cast<uint16_t>(best);
    scratch[best] = 0;
  }
}

void answer_statically(const Config& config, double amount, Answer& answer) {
  answer.score = static_cast<float>(config.training.prior);
  answer.step = Step::kStatic;
  answer.reason_count = 0;
  answer.model = {};
  decide(config.policy, amount, answer);
  answer.decision = config.policy.static_decision == "approve"   ? Decision::kApprove
                    : config.policy.static_decision == "decline" ? Decision::kDecline
                                                                 : Decision::kReview;
}

bool score_by_fallback(std::span<const NamedModel> models, std::span<const float> row, size_t columns,
                       Answer& answer) {
  for (const NamedModel& one : models) {
    float score = NAN;
    one.model->score(learners::MatrixView(row, columns), {&score, 1});
    if (!is_probability(score)) continue;
    answer.score = score;
    answer.step = Step::kFallback;
    answer.model = one.id;
    return true;
  }
  return false;
}

}  // namespace shrike::engine
