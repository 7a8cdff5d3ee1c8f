// Exact, path-dependent TreeSHAP (Lundberg, Erion, Lee, "Consistent Individualized Feature Attribution for
// Tree Ensembles", 2018): what each column added to a row's margin, averaged over the orders in which columns
// become known, by the covers of the nodes.
//
// A leaf's part of a column's Shapley value is an integral over t in [0, 1] of a product with one factor,
// linear in t, for each column on the leaf's path (Owen's multilinear extension, 1972). The product is a
// polynomial, so Gauss-Legendre quadrature with half as many points as columns on the longest path is exact.
// Products go down the tree and sums come up, one of each an edge, so a tree costs O(nodes x columns on a
// path), with no division: what depends on covers alone is compiled. (Linear TreeSHAP, Yu et al., 2022, has
// the same order by polynomial arithmetic.)
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "learners/trees/tree.h"

namespace shrike::learners {

// One tree, compiled.
class TreeExplainer {
 public:
  explicit TreeExplainer(const Tree& tree);

  // Adds the contributions of this tree, the one it was made of, for this row to `out` (one entry per
  // column).
  void add(const Tree& tree, const float* row, std::span<double> out) const;
  size_t bytes() const;

 private:
  // The split above a node, as that node's side of it.
  struct Edge {
    int32_t previous = -1;  // the node whose edge has the same column, the nearest above; -1: none
    double cold_ratio = 0;  // of both edges' shares when unknown: the factor where that one failed already
  };
  template <size_t kPoints>
  void add_with(const Tree& tree, const float* row, std::span<double> out) const;

  size_t points_ = 0;
  std::vector<Edge> edges_;  // by node; that of the root means nothing
  // By node, points_ each: the factors of its path's product if the row takes this side and if not, and what
  // the sum below it is worth to the column if it does.
  std::vector<double> factors_;
};

// Those of an ensemble: compiled when the first row is explained, as far as memory allows. Any thread.
class TreeExplainers {
 public:
  TreeExplainers() = default;
  ~TreeExplainers();
  TreeExplainers(const TreeExplainers&) = delete;
  TreeExplainers& operator=(const TreeExplainers&) = delete;

  void add(const std::vector<Tree>& trees, const float* row, std::span<double> out) const;

 private:
  mutable std::atomic<const std::vector<TreeExplainer>*> compiled_{nullptr};
};

// The mean of the tree's leaves by cover: what it gives when nothing is known.
double expected_value(const Tree& tree);

}  // namespace shrike::learners
