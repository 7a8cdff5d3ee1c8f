// What was predicted before the label was known, and the label: what calibration is fitted to. Plain data;
// internal to learners/.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "learners/numeric/ring_window.h"

namespace shrike::learners {

// The newest predictions. A row is a learner's margin, or the log-odds of each member of an ensemble.
struct PredictionWindow : RingWindow {
  std::vector<float> labels, weights;  // 1 fraud, 0 legitimate

  size_t size() const { return labels.size(); }
  void add(size_t capacity, std::span<const float> row, float label, double weight) {
    const size_t at = RingWindow::add(capacity, row);
    put(labels, at, label);
    put(weights, at, static_cast<float>(weight));
  }
  void add(size_t capacity, double margin, float label, double weight) {
    const auto row = static_cast<float>(margin);
    add(capacity, {&row, 1}, label, weight);
  }
};

// With what chance such a window keeps a prediction, given the probability it gave: every fraud, and of
// legitimate ones, which tell little unless they look like fraud, a sample (which then weighs more).
inline double chance_to_keep(bool fraud, double probability) {
  return fraud ? 1 : std::min(1.0, 0.1 + 20 * probability);
}

}  // namespace shrike::learners
