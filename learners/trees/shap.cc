#include "learners/trees/shap.h"

#include <array>

namespace shrike::learners {
namespace {

// One column on the path from the root: the share of the paths that go on when it is unknown (zero) and known
// (one), and the weight of the subsets of each size.
struct PathElement {
  int32_t column;
  double zero, one, weight;
};

using Path = std::array<PathElement, Tree::kDepthMax + 2>;

// 1 / n: divisions would take most of the time.
constexpr auto kInverse = [] {
  std::array<double, Tree::kDepthMax + 4> all{};
  for (size_t n = 1; n < all.size(); ++n) all[n] = 1.0 / static_cast<double>(n);
  return all;
}();

void extend(PathElement* path, size_t length, double zero, double one, int32_t column) {
  path[length] = {column, zero, one, length == 0 ? 1.0 : 0.0};
  for (size_t i = length; i-- > 0;) {
    path[i + 1].weight += one * path[i].weight * static_cast<double>(i + 1) * kInverse[length + 1];
    path[i].weight = zero * path[i].weight * static_cast<double>(length - i) * kInverse[length + 1];
  }
}

// `last` is the index of the path's last element.
void unwind(PathElement* path, size_t last, size_t at) {
  const double one = path[at].one, zero = path[at].zero;
  const auto size = static_cast<double>(last + 1);
  double next = path[last].weight;
  for (size_t i = last; i-- > 0;) {
    if (one != 0) {
      const double was = path[i].weight;
      path[i].weight = next * size / (static_cast<double>(i + 1) * one);
      next = was - path[i].weight * zero * static_cast<double>(last - i) / size;
    } else {
      path[i].weight = path[i].weight * size / (zero * static_cast<double>(last - i));
    }
  }
  for (size_t i = at; i < last; ++i) {
    path[i].column = path[i + 1].column;
    path[i].zero = path[i + 1].zero;
    path[i].one = path[i + 1].one;
  }
}

// The weights of the subsets without a column whose test the row passed (one is 1).
double sum_without_hot(const PathElement* path, size_t last, size_t at) {
  const double zero = path[at].zero;
  const auto size = static_cast<double>(last + 1);
  double next = path[last].weight, total = 0;
  for (size_t i = last; i-- > 0;) {
    const double part = next * (size * kInverse[i + 1]);
    total += part;
    next = path[i].weight - part * (zero * static_cast<double>(last - i) * kInverse[last + 1]);
  }
  return total;
}

// The same without a column whose test it failed (one is 0), times that column's zero: alike for all of them
// (after Yang, "Fast TreeSHAP", 2021).
double sum_without_cold(const PathElement* path, size_t last) {
  const auto size = static_cast<double>(last + 1);
  double total = 0;
  for (size_t i = last; i-- > 0;) total += path[i].weight * size * kInverse[last - i];
  return total;
}

double leaf_value(const Tree& tree, uint32_t at) {
  return tree.exact.empty() ? static_cast<double>(tree.nodes[at].value) : tree.exact[at];
}

struct Walk {
  const Tree& tree;
  const float* row;
  std::span<double> out;

  void visit(uint32_t at, const Path& above, size_t length, double zero, double one, int32_t column) {
    Path path;
    std::copy_n(above.begin(), length, path.begin());
    extend(path.data(), length, zero, one, column);
    const TreeNode& node = tree.nodes[at];
    if (node.is_leaf()) {
      const double cold = sum_without_cold(path.data(), length);
      for (size_t i = 1; i <= length; ++i) {
        const bool hot = path[i].one != 0;
        if (!hot && path[i].zero == 0) continue;
        const double part = hot ? sum_without_hot(path.data(), length, i) * (1 - path[i].zero) : -cold;
        out[static_cast<size_t>(path[i].column)] += part * leaf_value(tree, at);
      }
      return;
    }
    const bool left = tree.goes_left(node, row[node.column]);
    const uint32_t hot = node.left + (left ? 0 : 1), cold = node.left + (left ? 1 : 0);
    double zero_before = 1, one_before = 1;
    size_t next = length + 1;
    for (size_t i = 1; i <= length; ++i) {
      if (path[i].column != node.column) continue;
      zero_before = path[i].zero;
      one_before = path[i].one;
      unwind(path.data(), length, i);
      --next;
      break;
    }
    const double cover = node.cover;
    const auto share = [&](uint32_t child) {
      return cover > 0 ? static_cast<double>(tree.nodes[child].cover) / cover : 0.5;
    };
    visit(hot, path, next, share(hot) * zero_before, one_before, node.column);
    visit(cold, path, next, share(cold) * zero_before, 0, node.column);
  }
};

double mean_below(const Tree& tree, uint32_t at) {
  const TreeNode& node = tree.nodes[at];
  if (node.is_leaf()) return leaf_value(tree, at);
  const double left = node.cover > 0 ? static_cast<double>(tree.nodes[node.left].cover) / node.cover : 0.5;
  const double right =
      node.cover > 0 ? static_cast<double>(tree.nodes[node.left + 1].cover) / node.cover : 0.5;
  return left * mean_below(tree, node.left) + right * mean_below(tree, node.left + 1);
}

}  // namespace

void add_contributions(const Tree& tree, const float* row, std::span<double> out) {
  if (tree.nodes[0].is_leaf()) return;
  const Path empty{};
  Walk{tree, row, out}.visit(0, empty, 0, 1, 1, -1);
}

double expected_value(const Tree& tree) { return mean_below(tree, 0); }

}  // namespace shrike::learners
