// Trees of any depth as arrays for gathers: each lane walks one tree (one row) or one row (a batch),
// branch-free, a level of the trees a step. Immutable; any thread. Internal to learners/.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learners/matrix.h"
#include "learners/trees/category_index.h"
#include "learners/trees/tree.h"

namespace shrike::learners {

class TreeWalk {
 public:
  static constexpr size_t kColumnsMax = 1 << 11;
  static constexpr size_t kOffsetMax = 1 << 18;  // from a node to its children

  // False when the trees do not fit: too many columns, nodes or words of sets. Then nothing else may be
  // called.
  bool compile(std::span<const Tree> trees, size_t columns, const CategoryIndex& categories);

  // base + the leaves in the order of the trees, in the type of the sum, with the widest instruction set that
  // is in use. Double sums take leaves before rounding.
  float sum_row(float base, const float* row) const;
  double sum_row(double base, const float* row) const;
  void sum_rows(float base, MatrixView rows, float* out) const;
  void sum_rows(double base, MatrixView rows, double* out) const;

  // Below: for the kernels.
  static constexpr size_t kGroup = 64;  // trees walked at once, at most: roots are padded to whole groups
  size_t trees = 0;
  bool plain = true;  // thresholds alone
  std::vector<int32_t> roots;
  static constexpr size_t kSetWordsMax = 1 << 22;
  enum Test : uint32_t { kBelow, kBelowZeroMissing, kMember };
  // Of each node: threshold, leaf, or (bits of an integer) where its set begins in `sets`; and packed: 2 bits
  // of Test, 1 of missing_left, 11 of column, 18 of the distance to the left child, 0 for a leaf.
  std::vector<float> values;
  std::vector<uint32_t> packed;
  std::vector<double> exact;
  CategoryIndex categories;
  std::vector<int32_t> sets;  // of each set its view, then a bit for each of the view's numbers
};

}  // namespace shrike::learners
