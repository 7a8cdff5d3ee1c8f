// Tree ensembles compiled for scoring. Several ways to the same bits, chosen when a row comes by the shape of
// the trees, the number of rows and use_kernel(): walking the nodes (the reference, any tree), masks for
// trees up to depth 6 (masks.h), and gathers for deeper ones (walk.h). Machines without AVX2 walk
// the nodes.
//
// Immutable; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learners/matrix.h"
#include "learners/trees/masks.h"
#include "learners/trees/tree.h"
#include "learners/trees/walk.h"

namespace shrike::learners {

class TreeScorer {
 public:
  TreeScorer(float base, std::vector<Tree> trees, size_t columns);

  const std::vector<Tree>& trees() const { return trees_; }
  float base() const { return base_; }
  // Whether leaves are summed in double: so they are when any tree has leaves that a float does not hold.
  bool exact() const { return exact_; }

  // base + the leaves, in the order of the trees; one sum per row. In float, or in double and rounded once.
  void sum(MatrixView rows, float* out) const;
  float sum_row(const float* row) const { return static_cast<float>(margin(row)); }
  // The same sums before that rounding.
  void margins(MatrixView rows, double* out) const;
  double margin(const float* row) const;

 private:
  template <typename Sum>
  Sum row_sum(const float* row) const;
  template <typename Sum>
  void row_sums(MatrixView rows, Sum* out) const;

  float base_;
  std::vector<Tree> trees_;
  bool exact_ = false;
  TreeMasks masks_;
  TreeWalk walk_;
  bool has_masks_, has_walk_;
};

}  // namespace shrike::learners
