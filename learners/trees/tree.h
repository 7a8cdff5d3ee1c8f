// Binary decision trees over a row of floats: what boosting and forests grow, importers read and kernels
// compile. Plain data and plain functions; immutable once built.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "learners/error.h"
#include "learners/matrix.h"

namespace shrike::learners {

namespace proto {
class TreesRecord;
}

// What sends a value left. A missing one (NaN) goes where the node says.
enum class SplitTest : uint8_t {
  kBelow,             // v < threshold
  kBelowZeroMissing,  // the same, but a value within +-1e-35 counts as missing (LightGBM's zero_as_missing)
  // The node's set of category codes has v's whole part. What is not in [0, 2^24) is in no set.
  kMember,
  kMemberTowardZero,  // the same, but a value in (-1, 0) counts as category 0 (as LightGBM's cast has it)
  kListed,  // as kMember, of a set that is a list: of hashed codes a set has few, and they are large
};

struct TreeNode {
  // Of a leaf: what it adds to the margin; of a split: its threshold (which may be +infinity), or which of
  // the tree's sets it tests.
  float value = 0;
  float cover = 0;      // weight of the training rows that reached it: explanations average by it
  int32_t column = -1;  // -1: a leaf
  uint32_t left = 0;    // its children are nodes left and left + 1
  bool missing_left = false;
  SplitTest test = SplitTest::kBelow;

  bool is_leaf() const { return column < 0; }
  bool is_categorical() const { return test >= SplitTest::kMember; }
};

// Nodes in breadth-first order: the k-th split's children are nodes 2k + 1 and 2k + 2. nodes[0] is the root.
struct Tree {
  static constexpr uint32_t kDepthMax = 64;
  static constexpr float kZero = 1e-35f;  // of kBelowZeroMissing

  std::vector<TreeNode> nodes{TreeNode{}};
  // Bit c % 32 of word c / 32 is category c; of a kListed node: its categories themselves, rising. The k-th
  // categorical node tests the k-th set.
  std::vector<std::vector<uint32_t>> sets = {};
  // Of each node, when leaves are to be summed in double: the leaf before it was rounded to node.value. Empty
  // otherwise.
  std::vector<double> exact = {};

  bool goes_left(const TreeNode& node, float v) const {
    if (node.test == SplitTest::kBelow) [[likely]]
      return v != v ? node.missing_left : v < node.value;
    return goes_left_rare(node, v);
  }
  const TreeNode& leaf(const float* row) const {
    const TreeNode* node = nodes.data();
    while (!node->is_leaf()) node = &nodes[node->left + (goes_left(*node, row[node->column]) ? 0 : 1)];
    return *node;
  }
  double exact_leaf(const float* row) const {
    const TreeNode& at = leaf(row);
    return exact.empty() ? static_cast<double>(at.value) : exact[static_cast<size_t>(&at - nodes.data())];
  }
  // Of a lone leaf: 0.
  uint32_t depth() const;
  // Calls with(category) for each of a categorical node's set, rising.
  template <typename With>
  void for_each_member(const TreeNode& node, With with) const {
    const std::vector<uint32_t>& set = sets[static_cast<size_t>(node.value)];
    if (node.test == SplitTest::kListed) {
      for (const uint32_t category : set) with(category);
      return;
    }
    for (uint32_t word = 0; word < set.size(); ++word) {
      for (uint32_t bits = set[word]; bits != 0; bits &= bits - 1)
        with(32 * word + static_cast<uint32_t>(std::countr_zero(bits)));
    }
  }

 private:
  bool goes_left_rare(const TreeNode& node, float v) const;
};

// Of the sets of a whole model in the form of bits: what importers take and exporters write at most.
inline constexpr size_t kSetBytesMax = size_t{256} << 20;

// Whether they are the set of a kListed node: at least one, rising, below kCategoriesMax.
bool is_category_list(std::span<const uint32_t> codes);

// The sum of base and every tree's leaf, in float, in the order of the trees: the reference that every kernel
// equals to the bit.
float sum_of_leaves(float base, std::span<const Tree> trees, const float* row);
// The same in double, of leaves before rounding where a tree has them.
double exact_sum_of_leaves(double base, std::span<const Tree> trees, const float* row);

// Of the saved form: 2 with tests other than kBelow or leaves before rounding, 4 with kListed.
uint32_t version_of(std::span<const Tree> trees);
void write_trees(std::span<const Tree> trees, proto::TreesRecord& out);
// Refuses what is not a forest of finite binary trees over `columns` columns, with a sound set for each
// categorical node.
Result<std::vector<Tree>> read_trees(const proto::TreesRecord& record, size_t columns);

}  // namespace shrike::learners
