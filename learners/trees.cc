#include "learners/trees.h"

#include <cmath>

#include "learners/records.h"
#include "learners/trees.pb.h"

namespace shrike::learners {

uint32_t Tree::depth() const {
  std::vector<uint32_t> depths(nodes.size(), 0);
  uint32_t deepest = 0;
  for (size_t i = 0; i < nodes.size(); ++i) {
    deepest = std::max(deepest, depths[i]);
    if (!nodes[i].is_leaf()) depths[nodes[i].left] = depths[nodes[i].left + 1] = depths[i] + 1;
  }
  return deepest;
}

float sum_of_leaves(float base, std::span<const Tree> trees, const float* row) {
  float sum = base;
  for (const Tree& tree : trees) sum += tree.leaf(row).value;
  return sum;
}

void write_trees(std::span<const Tree> trees, proto::TreesRecord& out) {
  std::vector<float> values, covers;
  std::vector<int32_t> columns;
  std::vector<uint8_t> missing_left;
  for (const Tree& tree : trees) {
    out.add_sizes(static_cast<uint32_t>(tree.nodes.size()));
    for (const TreeNode& node : tree.nodes) {
      values.push_back(node.value);
      covers.push_back(node.cover);
      columns.push_back(node.column);
      missing_left.push_back(node.missing_left);
    }
  }
  out.set_values(to_bytes(values));
  out.set_covers(to_bytes(covers));
  out.set_columns(to_bytes(columns));
  out.set_missing_left(to_bytes(missing_left));
}

Result<std::vector<Tree>> read_trees(const proto::TreesRecord& record, size_t column_count) {
  std::vector<float> values, covers;
  std::vector<int32_t> columns;
  std::vector<uint8_t> missing_left;
  if (!from_bytes(record.values(), values) || !from_bytes(record.covers(), covers) ||
      !from_bytes(record.columns(), columns) || !from_bytes(record.missing_left(), missing_left) ||
      covers.size() != values.size() || columns.size() != values.size() ||
      missing_left.size() != values.size()) {
    return damaged("the parts of the trees disagree");
  }
  std::vector<Tree> trees;
  size_t at = 0;
  for (const uint32_t size : record.sizes()) {
    if (size == 0 || size > values.size() - at) return damaged("a tree has no end");
    Tree tree;
    tree.nodes.resize(size);
    uint32_t next = 1;
    for (uint32_t i = 0; i < size; ++i, ++at) {
      TreeNode& node = tree.nodes[i];
      node = {values[at], covers[at], columns[at], 0, missing_left[at] != 0};
      if (!std::isfinite(node.value) || !(node.cover >= 0) || !std::isfinite(node.cover))
        return damaged("a node is not finite");
      if (node.column < -1 || node.column >= static_cast<int32_t>(column_count))
        return damaged("a node's column is unknown");
      if (node.is_leaf()) continue;
      node.left = next;
      if (node.left <= i || node.left + 1 >= size) return damaged("a node has no children");
      next += 2;
    }
    if (next != size) return damaged("a node has no parent");
    if (tree.depth() > Tree::kDepthMax) return damaged("a tree is too deep");
    trees.push_back(std::move(tree));
  }
  if (at != values.size()) return damaged("nodes are left over");
  return trees;
}

}  // namespace shrike::learners
