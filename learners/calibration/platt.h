// Calibration on progressive margins (what a learner predicted for each example before it learned it): Platt,
// "Probabilistic outputs for support vector machines", 1999. Plain functions; internal to learners/.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace shrike::learners {

// The newest margins, in a ring.
struct MarginWindow {
  std::vector<float> margins, labels, weights;
  uint64_t next = 0;  // ever added

  void add(size_t capacity, double margin, float label, double weight);
};

// With what chance such a window keeps a prediction, given the probability it gave: every fraud, and of
// legitimate ones, which tell little unless they look like fraud, a sample (which then weighs more).
inline double chance_to_keep(bool fraud, double probability) {
  return fraud ? 1 : std::min(1.0, 0.1 + 20 * probability);
}

// Calibrated log-odds = slope * margin + shift.
struct Platt {
  float slope = 1, shift = 0;
};

// Newton's method on the window's weighted log loss, with a weak pull towards slope 1 and shift 0, so that
// one class alone, or few examples, give a finite answer.
Platt fit_platt(const MarginWindow& window);

}  // namespace shrike::learners
