// How much each member of an ensemble counts: logistic regression on the members' calibrated log-odds, fitted
// to predictions that were made before their labels were known (stacking by progressive validation). Plain
// functions; internal to learners/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace shrike::learners {

// The newest predictions, in a ring: `members` log-odds a row.
struct StackWindow {
  std::vector<float> logits, labels, weights;
  uint64_t next = 0;  // rows ever added

  size_t size() const { return labels.size(); }
  void add(size_t capacity, std::span<const float> row, float label, float weight);
};

// log-odds = bias + sum of weights[k] * logits[k].
struct Stack {
  std::vector<double> weights;  // never negative
  double bias = 0;
};

// Newton's method with a pull towards equal weights that add up to 1. A member whose weight would be negative
// is left out.
Stack fit_stack(const StackWindow& window, size_t members);

}  // namespace shrike::learners
