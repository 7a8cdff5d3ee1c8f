// How much each member of an ensemble counts: logistic regression on the members' calibrated log-odds, fitted
// to predictions that were made before their labels were known (stacking by progressive validation). Plain
// functions; internal to learners/.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "learners/calibration/prediction_window.h"

namespace shrike::learners {

// log-odds = bias + sum of weights[k] * logits[k].
struct Stack {
  std::vector<double> weights;  // never negative
  double bias = 0;

  double margin(std::span<const float> logits) const {
    double sum = bias;
    for (size_t k = 0; k < logits.size(); ++k) sum += weights[k] * static_cast<double>(logits[k]);
    return sum;
  }
};

// Newton's method with a pull towards equal weights that add up to 1. A member whose weight would be negative
// is left out. A row of the window has the log-odds of `members`.
Stack fit_stack(const PredictionWindow& window, size_t members);

// How far to trust the fit, and how far each member alone: shares that follow the log losses of the newest
// predictions (fixed share: Herbster and Warmuth, "Tracking the Best Expert", Machine Learning 32, 1998).
// While the stream is steady the fit has nearly all; after a change the best member takes over within a few
// frauds.
struct Switcher {
  std::vector<double> shares;  // of each member, then of the fit; they add up to 1

  // `margin`: the fit's, made before this row's label was known.
  void update(double margin, std::span<const float> logits, float label, float weight);
};

Stack mixed(Stack stack, const Switcher& switcher);

}  // namespace shrike::learners
