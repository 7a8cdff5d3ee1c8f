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

namespace {

// Reads a record tree by tree. Its arrays hold the nodes of all trees, one tree after the other.
class TreesReader {
 public:
  TreesReader(const proto::TreesRecord& record, size_t columns) : record_(record), column_count_(columns) {}

  Result<std::vector<Tree>> read() {
    if (!read_arrays()) return damaged("the parts of the trees disagree");
    std::vector<Tree> trees;
    for (const uint32_t size : record_.sizes()) {
      if (size == 0 || size > values_.size() - at_) return damaged("a tree has no end");
      auto tree = read_tree(size);
      if (!tree) return tl::make_unexpected(tree.error());
      trees.push_back(std::move(*tree));
    }
    if (sets_at_ != sets_.size() || next_set_ != record_.set_sizes_size())
      return damaged("sets of categories are left over");
    if (at_ != values_.size()) return damaged("nodes are left over");
    return trees;
  }

 private:
  bool read_arrays() {
    return from_bytes(record_.values(), values_) && from_bytes(record_.covers(), covers_) &&
           from_bytes(record_.columns(), columns_) && from_bytes(record_.missing_left(), missing_left_) &&
           covers_.size() == values_.size() && columns_.size() == values_.size() &&
           missing_left_.size() == values_.size() && from_bytes(record_.tests(), tests_) &&
           (tests_.empty() || tests_.size() == values_.size()) && from_bytes(record_.sets(), sets_) &&
           from_bytes(record_.exact(), exact_) && (exact_.empty() || exact_.size() == values_.size());
  }

  Result<Tree> read_tree(uint32_t size) {
    Tree tree;
    tree.nodes.resize(size);
    uint32_t next = 1;  // the left child of the next split
    for (uint32_t i = 0; i < size; ++i, ++at_) {
      TreeNode& node = tree.nodes[i];
      if (auto read = read_node(node); !read) return tl::make_unexpected(read.error());
      if (!exact_.empty()) {
        if (!std::isfinite(exact_[at_]) && node.is_leaf()) return damaged("a leaf is not finite");
        tree.exact.push_back(exact_[at_]);
      }
      if (node.is_leaf()) {
        if (node.test != SplitTest::kBelow) return damaged("a leaf has a test");
        continue;
      }
      if (node.is_categorical()) {
        if (auto read = read_set(node, tree.sets); !read) return tl::make_unexpected(read.error());
      }
      node.left = next;
      if (node.left <= i || node.left + 1 >= size) return damaged("a node has no children");
      next += 2;
    }
    if (next != size) return damaged("a node has no parent");
    if (tree.depth() > Tree::kDepthMax) return damaged("a tree is too deep");
    return tree;
  }

  // All but its children.
  Result<void> read_node(TreeNode& node) const {
    if (!tests_.empty() && tests_[at_] > static_cast<uint8_t>(SplitTest::kListed))
      return damaged("a node's test is unknown");
    const auto test = tests_.empty() ? SplitTest::kBelow : static_cast<SplitTest>(tests_[at_]);
    node = {values_[at_], covers_[at_], columns_[at_], 0, missing_left_[at_] != 0, test};
    const bool unbounded = !node.is_leaf() && node.value == std::numeric_limits<float>::infinity();
    if ((!std::isfinite(node.value) && !unbounded) || !(node.cover >= 0) || !std::isfinite(node.cover))
      return damaged("a node is not finite");
    if (node.column < -1 || node.column >= static_cast<int32_t>(column_count_))
      return damaged("a node's column is unknown");
    return {};
  }

  // The next set is this node's.
  Result<void> read_set(const TreeNode& node, std::vector<std::vector<uint32_t>>& sets) {
    if (node.value != static_cast<float>(sets.size()) || next_set_ >= record_.set_sizes_size())
      return damaged("a categorical node has no set");
    const bool listed = node.test == SplitTest::kListed;
    const uint32_t words = record_.set_sizes(next_set_++);
    if ((!listed && words > kCategoriesMax / 32) || words > sets_.size() - sets_at_)
      return damaged("a set of categories has no end");
    const auto from = sets_.begin() + static_cast<std::ptrdiff_t>(sets_at_);
    std::vector<uint32_t> set(from, from + words);
    if (listed && !is_category_list(set)) return damaged("a list of categories does not rise");
    sets.push_back(std::move(set));
    sets_at_ += words;
    return {};
  }

  const proto::TreesRecord& record_;
  size_t column_count_;  // columns of the rows
  std::vector<float> values_, covers_;
  std::vector<int32_t> columns_;
  std::vector<uint8_t> missing_left_, tests_;
  std::vector<uint32_t> sets_;
  std::vector<double> exact_;
  size_t at_ = 0;       // the node in hand
  size_t sets_at_ = 0;  // where the next set begins in sets_
  int next_set_ = 0;
};

}  // namespace

Result<std::vector<Tree>> read_trees(const proto::TreesRecord& record, size_t columns) {
  return TreesReader(record, columns).read();
}

}  // namespace shrike::learners
