#include "learners/trees/category_index.h"

#include <algorithm>
#include <limits>

namespace shrike::learners {

float CategoryIndex::above(const TreeNode& node) {
  return node.test == SplitTest::kMemberTowardZero ? -1.0f : -std::numeric_limits<float>::denorm_min();
}

size_t CategoryIndex::view_of(const TreeNode& node) const {
  size_t view = 0;
  while (view < views_.size() &&
         (views_[view].column != static_cast<uint32_t>(node.column) || views_[view].above != above(node)))
    ++view;
  return view;
}

bool CategoryIndex::compile(std::span<const Tree> trees) {
  std::vector<std::vector<uint32_t>> by_view;
  size_t total = 0;
  const auto tidy = [](std::vector<uint32_t>& categories) {
    std::sort(categories.begin(), categories.end());
    categories.erase(std::unique(categories.begin(), categories.end()), categories.end());
  };
  for (const Tree& tree : trees) {
    for (const TreeNode& node : tree.nodes) {
      if (node.is_leaf() || !node.is_categorical()) continue;
      size_t members = 0;
      tree.for_each_member(node, [&](uint32_t) { ++members; });
      if (members > kCategoriesMax) return false;
      const size_t view = view_of(node);
      if (view == views_.size()) {
        if (view == kViewsMax) return false;
        views_.push_back({static_cast<uint32_t>(node.column), above(node)});
        by_view.emplace_back();
      }
      tree.for_each_member(node, [&](uint32_t category) { by_view[view].push_back(category); });
      total += members;
      if (total <= 2 * kCategoriesMax) continue;
      total = 0;  // sets repeat each other
      for (std::vector<uint32_t>& categories : by_view) {
        tidy(categories);
        total += categories.size();
      }
      if (total > kCategoriesMax) return false;
    }
  }
  for (size_t view = 0; view < by_view.size(); ++view) {
    tidy(by_view[view]);
    if (by_view[view].empty()) by_view[view].push_back(0);  // number() looks at one category at least
    views_[view].first = static_cast<uint32_t>(categories_.size());
    views_[view].size = static_cast<uint32_t>(by_view[view].size());
    categories_.insert(categories_.end(), by_view[view].begin(), by_view[view].end());
  }
  return categories_.size() <= kCategoriesMax + kViewsMax;
}

}  // namespace shrike::learners
