// Where a numeric column's bins begin: quantiles of a sample in which frauds and legitimate examples weigh
// the same, so that the sharp thresholds of the fraud tail get bins of their own. Plain functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace shrike::learners {

// The newest rows of each class, in two rings: what cut points are fitted on.
struct BinSample {
  static constexpr size_t kFraudsMax = 4096, kNegativesMax = 12288;
  std::vector<float> fraud_rows, negative_rows;
  uint64_t frauds_next = 0, negatives_next = 0;  // rows ever added

  void add(const float* row, size_t columns, bool fraud);
};

// At most bins - 1 rising cut points; a value v lies in the bin of the largest cut <= v. NaN is left out,
// infinities too.
std::vector<float> fit_cuts(const BinSample& sample, size_t columns, size_t column, size_t bins);

// The bin of a value: 0 when it is missing (NaN), else 1 + how many cuts are <= it.
inline uint16_t bin_of(const std::vector<float>& cuts, float value) {
  if (value != value) return 0;
  return static_cast<uint16_t>(1 + (std::upper_bound(cuts.begin(), cuts.end(), value) - cuts.begin()));
}

}  // namespace shrike::learners
