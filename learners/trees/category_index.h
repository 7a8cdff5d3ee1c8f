// Numbers for the categories that the sets of an ensemble name. Categories are hashed codes, up to 2^24:
// tables by code would be large. So a kernel turns each category of a row into its number once, by binary
// search, and looks up this number, which is small, in tables of bits.
//
// Each column has numbers of its own, or two kinds of them when its nodes disagree about values in (-1, 0),
// which are category 0 for some (SplitTest::kMemberTowardZero) and in no set for others: such a kind is a
// view of the column. Immutable once compiled; any thread. Internal to learners/.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "learners/trees/tree.h"

namespace shrike::learners {

class CategoryIndex {
 public:
  // Ensembles with more are scored by walking their nodes: else a hostile file could make the tables of the
  // kernels as large as it likes.
  static constexpr size_t kViewsMax = 64, kCategoriesMax = 1 << 20;

  // False when there are too many views or categories. Then nothing else may be called.
  bool compile(std::span<const Tree> trees);

  size_t views() const { return views_.size(); }
  uint32_t column(size_t view) const { return views_[view].column; }
  // A view's numbers are 0 .. numbers() - 1: 0 for a value that is in none of its sets (a missing one too),
  // the others for the categories that its sets name, in rising order.
  size_t numbers(size_t view) const { return views_[view].size + 1; }
  // The number of a value of the view's column.
  uint32_t number(size_t view, float v) const {
    const View& seen = views_[view];
    if (!(v > seen.above && v < static_cast<float>(learners::kCategoriesMax))) return 0;
    const auto category = static_cast<uint32_t>(static_cast<int32_t>(v));
    // A binary search without branches, which the processor would guess wrong half the time.
    const uint32_t* at = categories_.data() + seen.first;
    for (uint32_t left = seen.size; left > 1;) {
      const uint32_t half = left / 2;
      at += at[half] <= category ? half : 0;
      left -= half;
    }
    return *at == category ? static_cast<uint32_t>(at - categories_.data()) - seen.first + 1 : 0;
  }

  // The view that a categorical node tests.
  size_t view_of(const TreeNode& node) const;
  // Calls with(number) for each category of a categorical node's set, in rising order.
  template <typename With>
  void for_each_number(const Tree& tree, const TreeNode& node, With with) const {
    const View& view = views_[view_of(node)];
    const auto begin = categories_.begin() + view.first, end = begin + view.size;
    auto at = begin;
    tree.for_each_member(node, [&](uint32_t category) {
      at = std::lower_bound(at, end, category);
      with(static_cast<uint32_t>(at - begin) + 1);
    });
  }

 private:
  struct View {
    uint32_t column;
    float above;                   // values up to this are in no set
    uint32_t first = 0, size = 0;  // its part of categories_; never empty
  };
  // What View::above is for a node.
  static float above(const TreeNode& node);

  std::vector<View> views_;
  std::vector<uint32_t> categories_;  // view by view, each rising
};

}  // namespace shrike::learners
