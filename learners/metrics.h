// Metrics of scored, labelled transactions. Plain functions of their inputs; deterministic (sums in one fixed
// order). Scores and labels are parallel; label 1 is fraud. Ties in score are handled as one step, so the
// order of the input does not matter. `weights` say how many transactions each stands for (inverse
// propensities); every figure is self-normalised, and empty ones are all 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace shrike::learners {

// Area under the precision-recall steps (scikit-learn's average_precision_score). NaN without a fraud.
double average_precision(std::span<const float> scores, std::span<const uint8_t> labels,
                         std::span<const float> weights = {});
// Area under the ROC curve, ties counted half. NaN unless both classes are present.
double auc(std::span<const float> scores, std::span<const uint8_t> labels,
           std::span<const float> weights = {});
// Mean negative log-likelihood; probabilities clipped to [1e-15, 1 - 1e-15].
double log_loss(std::span<const float> scores, std::span<const uint8_t> labels,
                std::span<const float> weights = {});
double brier(std::span<const float> scores, std::span<const uint8_t> labels,
             std::span<const float> weights = {});
// The largest share of frauds caught by any threshold whose share of alarmed legitimate ones is at most
// `fpr`.
double recall_at_fpr(std::span<const float> scores, std::span<const uint8_t> labels, double fpr,
                     std::span<const float> weights = {});
// Expected calibration error over `bins` bins of equal count (not weight).
double calibration_error(std::span<const float> scores, std::span<const uint8_t> labels, size_t bins,
                         std::span<const float> weights = {});
// Card precision at k of one day: of the k cards with the highest maximal score, the share with any fraud.
// `cards` names each transaction's card. With fewer than k cards the divisor stays k.
double card_precision(std::span<const float> scores, std::span<const uint8_t> labels,
                      std::span<const uint64_t> cards, size_t k);

// Paired bootstrap of average precision on the same transactions under two models: each round resamples the
// transactions once (Poisson weights, seeded by `seed`) and compares both models on that sample.
struct BootstrapResult {
  double mean_difference;  // of AP: candidate minus champion
  double win_probability;  // share of rounds in which the candidate is better (ties count half)
};
BootstrapResult paired_bootstrap_ap(std::span<const float> champion, std::span<const float> candidate,
                                    std::span<const uint8_t> labels, size_t rounds, uint64_t seed,
                                    std::span<const float> weights = {});

// Average precision with its bootstrap interval: the 2.5th and 97.5th percentile over Poisson resamples.
struct Interval {
  double value, low, high;
};
Interval average_precision_interval(std::span<const float> scores, std::span<const uint8_t> labels,
                                    std::span<const float> weights, size_t rounds, uint64_t seed);

}  // namespace shrike::learners
