#include "learners/trees/shap.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numbers>

namespace shrike::learners {
namespace {

constexpr size_t kPointsMax = Tree::kDepthMax / 2;
constexpr size_t kCompiledBytesMax = size_t{64}
                                     << 20;  // of one ensemble; trees beyond it are compiled each time

// Gauss-Legendre quadrature on [0, 1]: exact for polynomials of a degree below twice the number of points.
struct Rule {
  std::array<double, kPointsMax> at{}, weight{};
  std::array<double, kPointsMax> cold{};  // -weight / (1 - at): what a sum below is worth where a test failed
};

Rule make_rule(size_t n) {
  Rule rule;
  for (size_t i = 0; i < n; ++i) {
    double x = std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (static_cast<double>(n) + 0.5));
    double slope = 0;
    for (int round = 0; round < 100; ++round) {  // Newton's, on the Legendre polynomial by its recurrence
      double value = 1, before = 0;
      for (size_t k = 1; k <= n; ++k) {
        const auto order = static_cast<double>(k);
        const double next = ((2 * order - 1) * x * value - (order - 1) * before) / order;
        before = value;
        value = next;
      }
      slope = static_cast<double>(n) * (x * value - before) / (x * x - 1);
      const double step = value / slope;
      x -= step;
      if (std::fabs(step) < 1e-15) break;
    }
    rule.at[i] = (1 - x) / 2;
    rule.weight[i] = 1 / ((1 - x * x) * slope * slope);
    rule.cold[i] = -rule.weight[i] / (1 - rule.at[i]);
  }
  return rule;
}

const Rule& rule_of(size_t points) {
  static const std::vector<Rule> rules = [] {
    std::vector<Rule> all(kPointsMax + 1);
    for (size_t n = 1; n <= kPointsMax; ++n) all[n] = make_rule(n);
    return all;
  }();
  return rules[points];
}

double leaf_value(const Tree& tree, uint32_t at) {
  return tree.exact.empty() ? static_cast<double>(tree.nodes[at].value) : tree.exact[at];
}

// Of the rows at a node, those that go to its child.
double share_of(const Tree& tree, uint32_t at, uint32_t child) {
  const double cover = tree.nodes[at].cover;
  return cover > 0 ? static_cast<double>(tree.nodes[child].cover) / cover : 0.5;
}

// Edges are needed by their columns and shares before they are compiled.
struct Above {
  std::vector<uint32_t> parent;
  std::vector<int32_t> previous;
  std::vector<double> share;  // of the column's tests on the path down to here, together
  size_t columns_max = 0;     // different ones on a path
};

Above look_above(const Tree& tree) {
  const size_t n = tree.nodes.size();
  Above above{std::vector<uint32_t>(n), std::vector<int32_t>(n, -1), std::vector<double>(n, 1.0), 0};
  std::vector<uint16_t> columns(n);
  for (uint32_t at = 0; at < n; ++at) {
    const TreeNode& node = tree.nodes[at];
    if (node.is_leaf()) continue;
    int32_t previous = -1;
    for (uint32_t up = at; up != 0 && previous < 0; up = above.parent[up]) {
      if (tree.nodes[above.parent[up]].column == node.column) previous = static_cast<int32_t>(up);
    }
    for (const uint32_t child : {node.left, node.left + 1}) {
      above.parent[child] = at;
      above.previous[child] = previous;
      above.share[child] =
          share_of(tree, at, child) * (previous < 0 ? 1 : above.share[static_cast<size_t>(previous)]);
      columns[child] = static_cast<uint16_t>(columns[at] + (previous < 0));
      above.columns_max = std::max<size_t>(above.columns_max, columns[child]);
    }
  }
  return above;
}

double mean_below(const Tree& tree, uint32_t at) {
  const TreeNode& node = tree.nodes[at];
  if (node.is_leaf()) return leaf_value(tree, at);
  return share_of(tree, at, node.left) * mean_below(tree, node.left) +
         share_of(tree, at, node.left + 1) * mean_below(tree, node.left + 1);
}

// Of the thread that explains; a tree's worth.
thread_local std::vector<double> products;
thread_local std::vector<uint8_t> passed;

}  // namespace

TreeExplainer::TreeExplainer(const Tree& tree) {
  if (tree.nodes[0].is_leaf()) return;
  const Above above = look_above(tree);
  points_ = (above.columns_max + 1) / 2;
  const Rule& rule = rule_of(points_);
  edges_.resize(tree.nodes.size());
  factors_.resize(3 * points_ * tree.nodes.size());
  for (size_t node = 1; node < tree.nodes.size(); ++node) {
    Edge& edge = edges_[node];
    edge.previous = above.previous[node];
    const double share = above.share[node];
    const double before = edge.previous < 0 ? 1 : above.share[static_cast<size_t>(edge.previous)];
    edge.cold_ratio = before > 0 ? share / before : 0;
    double* const hot = &factors_[3 * points_ * node];
    double *const cold = hot + points_, *const worth = cold + points_;
    for (size_t k = 0; k < points_; ++k) {
      const double t = rule.at[k];
      // The factor of an earlier test of this column is in the product already.
      const double there = edge.previous < 0 ? 1 : t + (1 - t) * before;
      hot[k] = (t + (1 - t) * share) / there;
      cold[k] = (1 - t) * share / there;
      worth[k] = rule.weight[k] * (1 - share) / (t + (1 - t) * share);
    }
  }
}

size_t TreeExplainer::bytes() const {
  return edges_.size() * sizeof(Edge) + factors_.size() * sizeof(double);
}

// kPoints is points_, or 0 for any.
template <size_t kPoints>
void TreeExplainer::add_with(const Tree& tree, const float* row, std::span<double> out) const {
  const size_t n = kPoints != 0 ? kPoints : points_;
  const size_t nodes = tree.nodes.size();
  if (products.size() < n * nodes) products.resize(n * nodes);
  if (passed.size() < nodes) passed.resize(nodes);
  double* const all = products.data();
  uint8_t* const hot = passed.data();
  std::fill_n(all, n, 1.0);
  hot[0] = 1;
  for (uint32_t at = 0; at < nodes; ++at) {  // parents before children
    const TreeNode& node = tree.nodes[at];
    const double* const above = all + n * at;
    if (node.is_leaf()) {
      const double value = leaf_value(tree, at);
      for (size_t k = 0; k < n; ++k) all[n * at + k] *= value;
      continue;
    }
    const bool left = tree.goes_left(node, row[node.column]);
    for (const bool side : {true, false}) {
      const uint32_t child = node.left + (side ? 0 : 1);
      const Edge& edge = edges_[child];
      const bool before = edge.previous < 0 || hot[edge.previous] != 0;
      hot[child] = before && side == left;
      double* const below = all + n * child;
      const double* const factor = &factors_[3 * n * child] + (hot[child] != 0 ? 0 : n);
      if (before) {
        for (size_t k = 0; k < n; ++k) below[k] = above[k] * factor[k];
      } else {
        for (size_t k = 0; k < n; ++k) below[k] = above[k] * edge.cold_ratio;
      }
    }
  }
  const double* const cold = rule_of(n).cold.data();
  for (uint32_t at = static_cast<uint32_t>(nodes); at-- > 0;) {  // children before parents
    const TreeNode& node = tree.nodes[at];
    if (node.is_leaf()) continue;
    double part = 0;
    for (const uint32_t child : {node.left, node.left + 1}) {
      const double* const sums = all + n * child;
      const double* const worth = hot[child] != 0 ? &factors_[3 * n * child] + 2 * n : cold;
      for (size_t k = 0; k < n; ++k) part += sums[k] * worth[k];
      // Which the edge above counts as its own.
      const int32_t previous = edges_[child].previous;
      if (previous < 0) continue;
      const auto up = static_cast<size_t>(previous);
      const double* const counted = hot[up] != 0 ? &factors_[3 * n * up] + 2 * n : cold;
      for (size_t k = 0; k < n; ++k) part -= sums[k] * counted[k];
    }
    out[static_cast<size_t>(node.column)] += part;
    const double *const left = all + n * node.left, *const right = left + n;
    for (size_t k = 0; k < n; ++k) all[n * at + k] = left[k] + right[k];
  }
}

void TreeExplainer::add(const Tree& tree, const float* row, std::span<double> out) const {
  switch (points_) {
    case 0:
      return;  // a lone leaf
    case 1:
      return add_with<1>(tree, row, out);
    case 2:
      return add_with<2>(tree, row, out);
    case 3:
      return add_with<3>(tree, row, out);
    case 4:
      return add_with<4>(tree, row, out);
    default:
      return add_with<0>(tree, row, out);
  }
}

TreeExplainers::~TreeExplainers() { delete compiled_.load(); }

void TreeExplainers::add(const std::vector<Tree>& trees, const float* row, std::span<double> out) const {
  const std::vector<TreeExplainer>* compiled = compiled_.load(std::memory_order_acquire);
  if (compiled == nullptr) {
    auto made = std::make_unique<std::vector<TreeExplainer>>();
    size_t bytes = 0;
    for (const Tree& tree : trees) {
      made->emplace_back(tree);
      bytes += made->back().bytes();
      if (bytes > kCompiledBytesMax) {
        made->pop_back();
        break;
      }
    }
    if (compiled_.compare_exchange_strong(compiled, made.get(), std::memory_order_acq_rel))
      compiled = made.release();
  }
  for (size_t t = 0; t < trees.size(); ++t) {
    if (t < compiled->size()) {
      (*compiled)[t].add(trees[t], row, out);
    } else {
      TreeExplainer(trees[t]).add(trees[t], row, out);
    }
  }
}

double expected_value(const Tree& tree) { return mean_below(tree, 0); }

}  // namespace shrike::learners
