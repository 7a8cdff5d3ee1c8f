// What bins a column's values fall into, chosen by a sample in which frauds and legitimate examples weigh the
// same: so the sharp thresholds of the fraud tail, and the categories that frauds have, get bins of their
// own. Plain functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "learners/matrix.h"
#include "learners/numeric/ring_window.h"

namespace shrike::learners {

// The newest rows of each class, in two rings: what cut points are fitted on.
struct BinSample {
  static constexpr size_t kFraudsMax = 4096, kNegativesMax = 12288;
  RingWindow frauds, negatives;

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

// A column's bins: 0 of the missing, then those of a numeric column's cut points, or one for each of a
// categorical column's `cuts`, which are categories, and the last for all others, those never seen included.
struct ColumnBins {
  std::vector<float> cuts;  // rising
  bool categorical = false;

  size_t count() const { return cuts.size() + 2; }
  uint16_t of(float value) const {
    return categorical && value == value ? of_category(value) : bin_of(cuts, value);
  }
  // Whether they could have been fitted to a column of this kind, in at most 65535 bins. (Shrike once took
  // categories for numbers, so a categorical column may have cut points.)
  bool sound(ColumnKind kind) const;

 private:
  uint16_t of_category(float value) const;
};

// fit_cuts() of a numeric column. Of a categorical one: the at most bins - 1 categories that weigh most,
// without the rare ones.
ColumnBins fit_bins(const BinSample& sample, size_t columns, size_t column, ColumnKind kind, size_t bins);

}  // namespace shrike::learners
