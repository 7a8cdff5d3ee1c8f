#include "learners/trees/tree.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "learners/saved/records.h"
#include "learners/trees/trees.pb.h"

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

bool Tree::goes_left_rare(const TreeNode& node, float v) const {
  if (v != v) return node.missing_left;
  if (!node.is_categorical()) return v >= -kZero && v <= kZero ? node.missing_left : v < node.value;
  if (!(v > -1 && v < static_cast<float>(kCategoriesMax))) return false;
  if (v < 0 && node.test != SplitTest::kMemberTowardZero) return false;
  const std::vector<uint32_t>& set = sets[static_cast<size_t>(node.value)];
  const auto category = static_cast<uint32_t>(v < 0 ? 0 : v);
  if (node.test == SplitTest::kListed) return std::binary_search(set.begin(), set.end(), category);
  return category / 32 < set.size() && (set[category / 32] >> (category % 32) & 1) != 0;
}

bool is_category_list(std::span<const uint32_t> codes) {
  return !codes.empty() && codes.back() < kCategoriesMax &&
         std::adjacent_find(codes.begin(), codes.end(), std::greater_equal<>()) == codes.end();
}

float sum_of_leaves(float base, std::span<const Tree> trees, const float* row) {
  float sum = base;
  for (const Tree& tree : trees) sum += tree.leaf(row).value;
  return sum;
}

double exact_sum_of_leaves(double base, std::span<const Tree> trees, const float* row) {
  double sum = base;
  for (const Tree& tree : trees) sum += tree.exact_leaf(row);
  return sum;
}

void write_trees(std::span<const Tree> trees, proto::TreesRecord& out) {
  std::vector<float> values, covers;
  std::vector<int32_t> columns;
  std::vector<uint8_t> missing_left, tests;
  std::vector<uint32_t> sets;
  std::vector<double> exact;
  bool plain = true, rounded = true;
  for (const Tree& tree : trees) {
    out.add_sizes(static_cast<uint32_t>(tree.nodes.size()));
    for (const TreeNode& node : tree.nodes) {
      values.push_back(node.value);
      covers.push_back(node.cover);
      columns.push_back(node.column);
      missing_left.push_back(node.missing_left);
      tests.push_back(static_cast<uint8_t>(node.test));
      plain &= node.test == SplitTest::kBelow;
      exact.push_back(tree.exact.empty() ? static_cast<double>(node.value)
                                         : tree.exact[static_cast<size_t>(&node - tree.nodes.data())]);
    }
    rounded &= tree.exact.empty();
    for (const auto& set : tree.sets) {
      out.add_set_sizes(static_cast<uint32_t>(set.size()));
      sets.insert(sets.end(), set.begin(), set.end());
    }
  }
  out.set_values(to_bytes(values));
  out.set_covers(to_bytes(covers));
  out.set_columns(to_bytes(columns));
  out.set_missing_left(to_bytes(missing_left));
  if (!plain) out.set_tests(to_bytes(tests));
  out.set_sets(to_bytes(sets));
  if (!rounded) out.set_exact(to_bytes(exact));
}

uint32_t version_of(std::span<const Tree> trees) {
  uint32_t version = 1;
  for (const Tree& tree : trees) {
    if (!tree.exact.empty()) version = std::max(version, 2u);
    for (const TreeNode& node : tree.nodes) {
      if (node.test != SplitTest::kBelow) version = std::max(version, 2u);
      if (node.test == SplitTest::kListed) return 4;
    }
  }
  return version;
}

Result<std::vector<Tree>> read_trees(const proto::TreesRecord& record, size_t column_count) {
  std::vector<float> values, covers;
  std::vector<int32_t> columns;
  std::vector<uint8_t> missing_left, tests;
  std::vector<uint32_t> sets;
  std::vector<double> exact;
  if (!from_bytes(record.values(), values) || !from_bytes(record.covers(), covers) ||
      !from_bytes(record.columns(), columns) || !from_bytes(record.missing_left(), missing_left) ||
      covers.size() != values.size() || columns.size() != values.size() ||
      missing_left.size() != values.size() || !from_bytes(record.tests(), tests) ||
      (!tests.empty() && tests.size() != values.size()) || !from_bytes(record.sets(), sets) ||
      !from_bytes(record.exact(), exact) || (!exact.empty() && exact.size() != values.size())) {
    return damaged("the parts of the trees disagree");
  }
  size_t set_at = 0;
  int next_set = 0;
  std::vector<Tree> trees;
  size_t at = 0;
  for (const uint32_t size : record.sizes()) {
    if (size == 0 || size > values.size() - at) return damaged("a tree has no end");
    Tree tree;
    tree.nodes.resize(size);
    uint32_t next = 1;
    for (uint32_t i = 0; i < size; ++i, ++at) {
      TreeNode& node = tree.nodes[i];
      if (!tests.empty() && tests[at] > static_cast<uint8_t>(SplitTest::kListed))
        return damaged("a node's test is unknown");
      const auto test = tests.empty() ? SplitTest::kBelow : static_cast<SplitTest>(tests[at]);
      node = {values[at], covers[at], columns[at], 0, missing_left[at] != 0, test};
      const bool unbounded = !node.is_leaf() && node.value == std::numeric_limits<float>::infinity();
      if ((!std::isfinite(node.value) && !unbounded) || !(node.cover >= 0) || !std::isfinite(node.cover))
        return damaged("a node is not finite");
      if (node.column < -1 || node.column >= static_cast<int32_t>(column_count))
        return damaged("a node's column is unknown");
      if (!exact.empty()) {
        if (!std::isfinite(exact[at]) && node.is_leaf()) return damaged("a leaf is not finite");
        tree.exact.push_back(exact[at]);
      }
      if (node.is_leaf()) {
        if (test != SplitTest::kBelow) return damaged("a leaf has a test");
        continue;
      }
      if (node.is_categorical()) {
        if (node.value != static_cast<float>(tree.sets.size()) || next_set >= record.set_sizes_size())
          return damaged("a categorical node has no set");
        const bool listed = test == SplitTest::kListed;
        const uint32_t words = record.set_sizes(next_set++);
        if ((!listed && words > kCategoriesMax / 32) || words > sets.size() - set_at)
          return damaged("a set of categories has no end");
        const auto from = sets.begin() + static_cast<std::ptrdiff_t>(set_at);
        std::vector<uint32_t> set(from, from + words);
        if (listed && !is_category_list(set)) return damaged("a list of categories does not rise");
        tree.sets.push_back(std::move(set));
        set_at += words;
      }
      node.left = next;
      if (node.left <= i || node.left + 1 >= size) return damaged("a node has no children");
      next += 2;
    }
    if (next != size) return damaged("a node has no parent");
    if (tree.depth() > Tree::kDepthMax) return damaged("a tree is too deep");
    trees.push_back(std::move(tree));
  }
  if (set_at != sets.size() || next_set != record.set_sizes_size())
    return damaged("sets of categories are left over");
  if (at != values.size()) return damaged("nodes are left over");
  return trees;
}

}  // namespace shrike::learners
