// Calibration on progressive margins (what a learner predicted for each example before it learned it): Platt,
// "Probabilistic outputs for support vector machines", 1999. Plain functions; internal to learners/.
#pragma once

#include "learners/calibration/prediction_window.h"

namespace shrike::learners {

// Calibrated log-odds = slope * margin + shift.
struct Platt {
  float slope = 1, shift = 0;
};

// Newton's method on the window's weighted log loss, with a weak pull towards slope 1 and shift 0, so that
// one class alone, or few examples, give a finite answer.
Platt fit_platt(const PredictionWindow& window);

}  // namespace shrike::learners
