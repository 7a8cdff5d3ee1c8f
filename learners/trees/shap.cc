#include "learners/trees/shap.h"

#include <array>

namespace shrike::learners {
namespace {

// One column on the path from the root: the share of the rows that take this path when the column is unknown
// and when it is known (the zero and one fractions of the paper), and the weight of the subsets of each size.
struct PathElement {
  int32_t column;
  double unknown, known, weight;
};

using Path = std::array<PathElement, Tree::kDepthMax + 2>;

// 1 / n: divisions would take most of the time.
constexpr auto kInverse = [] {
  std::array<double, Tree::kDepthMax + 4> all{};
  for (size_t n = 1; n < all.size(); ++n) all[n] = 1.0 / static_cast<double>(n);
  return all;
}();

void extend(PathElement* path, size_t length, double unknown, double known, int32_t column) {
  path[length] = {column, unknown, known, length == 0 ? 1.0 : 0.0};
  for (size_t i = length; i-- > 0;) {
    path[i + 1].weight += known * path[i].weight * static_cast<double>(i + 1) * kInverse[length + 1];
    path[i].weight = unknown * path[i].weight * static_cast<double>(length - i) * kInverse[length + 1];
  }
}

// `last` is the index of the path's last element.
void unwind(PathElement* path, size_t last, size_t at) {
  const double known = path[at].known, unknown = path[at].unknown;
  const auto size = static_cast<double>(last + 1);
  double next = path[last].weight;
  for (size_t i = last; i-- > 0;) {
    if (known != 0) {
      const double was = path[i].weight;
      path[i].weight = next * size / (static_cast<double>(i + 1) * known);
      next = was - path[i].weight * unknown * static_cast<double>(last - i) / size;
    } else {
      path[i].weight = path[i].weight * size / (unknown * static_cast<double>(last - i));
    }
  }
  for (size_t i = at; i < last; ++i) {
    path[i].column = path[i + 1].column;
    path[i].unknown = path[i + 1].unknown;
    path[i].known = path[i + 1].known;
  }
}

// The weights of the subsets without a column whose test the row passed (known is 1).
double sum_without_hot(const PathElement* path, size_t last, size_t at) {
  const double unknown = path[at].unknown;
  const auto size = static_cast<double>(last + 1);
  double next = path[last].weight, total = 0;
  for (size_t i = last; i-- > 0;) {
    const double part = next * (size * kInverse[i + 1]);
    total += part;
    next = path[i].weight - part * (unknown * static_cast<double>(last - i) * kInverse[last + 1]);
  }
  return total;
}

// The same without a column whose test it failed (known is 0), times that column's unknown: alike for all of
// them (after Yang, "Fast TreeSHAP", 2021).
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

  void visit(uint32_t at, const Path& above, size_t length, double unknown, double known, int32_t column) {
    Path path;
    std::copy_n(above.begin(), length, path.begin());
    extend(path.data(), length, unknown, known, column);
    const TreeNode& node = tree.nodes[at];
    if (node.is_leaf()) {
      const double cold = sum_without_cold(path.data(), length);
      for (size_t i = 1; i <= length; ++i) {
        const bool hot = path[i].known != 0;
        if (!hot && path[i].unknown == 0) continue;
        const double part = hot ? sum_without_hot(path.data(), length, i) * (1 - path[i].unknown) : -cold;
        out[static_cast<size_t>(path[i].column)] += part * leaf_value(tree, at);
      }
      return;
    }
    const bool left = tree.goes_left(node, row[node.column]);
    const uint32_t hot = node.left + (left ? 0 : 1), cold = node.left + (left ? 1 : 0);
    double unknown_before = 1, known_before = 1;
    size_t next = length + 1;
    for (size_t i = 1; i <= length; ++i) {
      if (path[i].column != node.column) continue;
      unknown_before = path[i].unknown;
      known_before = path[i].known;
      unwind(path.data(), length, i);
      --next;
      break;
    }
    const double cover = node.cover;
    const auto share = [&](uint32_t child) {
      return cover > 0 ? static_cast<double>(tree.nodes[child].cover) / cover : 0.5;
    };
    visit(hot, path, next, share(hot) * unknown_before, known_before, node.column);
    visit(cold, path, next, share(cold) * unknown_before, 0, node.column);
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
