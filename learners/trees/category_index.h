// The categories that an ensemble's sets name, numbered column by column. Kernels turn a row's category into
// its number once, by binary search, and look the number up in small tables of bits: hashed codes would make
// large ones. Immutable; any thread. Internal to learners/.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "learners/trees/tree.h"

namespace shrike::learners {

class CategoryIndex {
 public:
  // Ensembles with more are left to the walk of nodes: hostile ones could else make tables of any size.
  static constexpr size_t kViewsMax = 64, kCategoriesMax = 1 << 20;

  // False when there are too many. Then nothing else may be called.
  bool compile(std::span<const Tree> trees);

  // A view: a column as the nodes with one way to take values in (-1, 0) see it.
  size_t views() const { return views_.size(); }
  uint32_t column(size_t view) const { return views_[view].column; }
  // Numbers of a view are 0 for what is in no set (a missing value among it), and 1 .. numbers() - 1 for
  // categories, rising.
  size_t numbers(size_t view) const { return views_[view].size + 1; }
  uint32_t number(size_t view, float v) const {
    const View& one = views_[view];
    if (!(v > one.above && v < static_cast<float>(learners::kCategoriesMax))) return 0;
    const auto category = static_cast<uint32_t>(static_cast<int32_t>(v));
    const uint32_t* at = categories_.data() + one.first;
    for (uint32_t left = one.size; left > 1;) {  // without a branch that would be guessed wrong half the time
      const uint32_t half = left / 2;
      at += at[half] <= category ? half : 0;
      left -= half;
    }
    return *at == category ? static_cast<uint32_t>(at - categories_.data()) - one.first + 1 : 0;
  }

  // Of a categorical node.
  size_t view_of(const TreeNode& node) const;
  // Calls with(number) for each category of a categorical node's set, rising.
  template <typename With>
  void for_each_number(const Tree& tree, const TreeNode& node, With with) const {
    const View& one = views_[view_of(node)];
    const auto begin = categories_.begin() + one.first, end = begin + one.size;
    auto at = begin;
    tree.for_each_member(node, [&](uint32_t category) {
      at = std::lower_bound(at, end, category);
      with(static_cast<uint32_t>(at - begin) + 1);
    });
  }

 private:
  struct View {
    uint32_t column;
    float above;                   // values up to it are in no set
    uint32_t first = 0, size = 0;  // in categories_; size is at least 1
  };
  static float above(const TreeNode& node);

  std::vector<View> views_;
  std::vector<uint32_t> categories_;
};

}  // namespace shrike::learners
