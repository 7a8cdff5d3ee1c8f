// Binary decision trees over a row of floats: what boosting and forests grow, importers read and kernels
// compile. Plain data and plain functions; immutable once built.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "learners/error.h"

namespace shrike::learners {

namespace proto {
class TreesRecord;
}

// A split sends a value v left when v < threshold, right when v >= threshold, and a missing one (NaN) where
// it says.
struct TreeNode {
  float value = 0;      // of a leaf: what it adds to the margin; of a split: its threshold
  float cover = 0;      // weight of the training rows that reached it: explanations average by it
  int32_t column = -1;  // -1: a leaf
  uint32_t left = 0;    // its children are nodes left and left + 1
  bool missing_left = false;

  bool is_leaf() const { return column < 0; }
};

// Nodes in breadth-first order: the k-th split's children are nodes 2k + 1 and 2k + 2. nodes[0] is the root.
struct Tree {
  static constexpr uint32_t kDepthMax = 64;
  std::vector<TreeNode> nodes{TreeNode{}};

  const TreeNode& leaf(const float* row) const {
    const TreeNode* node = nodes.data();
    while (!node->is_leaf()) {
      const float v = row[node->column];
      const bool left = v != v ? node->missing_left : v < node->value;
      node = &nodes[node->left + (left ? 0 : 1)];
    }
    return *node;
  }
  // Of a lone leaf: 0.
  uint32_t depth() const;
};

// The sum of base and every tree's leaf, in float, in the order of the trees: the reference that every kernel
// equals to the bit.
float sum_of_leaves(float base, std::span<const Tree> trees, const float* row);

void write_trees(std::span<const Tree> trees, proto::TreesRecord& out);
// Refuses what is not a forest of finite binary trees over `columns` columns.
Result<std::vector<Tree>> read_trees(const proto::TreesRecord& record, size_t columns);

}  // namespace shrike::learners
