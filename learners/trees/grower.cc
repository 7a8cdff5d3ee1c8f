#include "learners/trees/grower.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "learners/rows/bins.h"

namespace shrike::learners {
namespace {

// Both sums of a pair at once.
typedef int64_t Pair __attribute__((vector_size(16), may_alias));

double score(double gradient, double hessian, double l2) { return gradient * gradient / (hessian + l2); }
double real(int64_t fixed) { return static_cast<double>(fixed) / GradientPair::kOne; }

GradientPair operator+(const GradientPair& a, const GradientPair& b) {
  return {a.gradient + b.gradient, a.hessian + b.hessian};
}
GradientPair operator-(const GradientPair& a, const GradientPair& b) {
  return {a.gradient - b.gradient, a.hessian - b.hessian};
}

// What dividing a node's rows gains over leaving them together.
class Gain {
 public:
  // `more_l2` is added to the l2 of both sides.
  Gain(const GradientPair& total, const GrowOptions& options, double more_l2 = 0)
      : gradient_(real(total.gradient)),
        hessian_(real(total.hessian)),
        undivided_(score(gradient_, hessian_, options.l2)),
        l2_(options.l2 + more_l2),
        hessian_min_(options.hessian_min) {}

  // Of sending `left` left and all else right; minus infinity when a side is too light.
  double of(const GradientPair& left) const {
    const double left_gradient = real(left.gradient), left_hessian = real(left.hessian);
    const double right_gradient = gradient_ - left_gradient, right_hessian = hessian_ - left_hessian;
    if (left_hessian < hessian_min_ || right_hessian < hessian_min_)
      return -std::numeric_limits<double>::infinity();
    return score(left_gradient, left_hessian, l2_) + score(right_gradient, right_hessian, l2_) - undivided_;
  }

 private:
  double gradient_, hessian_, undivided_, l2_, hessian_min_;
};

// The bins of a categorical column that may be in a set, by rising smoothed gradient / hessian.
std::vector<uint16_t> order_categories(const GradientPair* cells, size_t categories) {
  struct Ordered {
    double ratio;
    uint16_t bin;
    bool operator<(const Ordered& other) const {
      return ratio != other.ratio ? ratio < other.ratio : bin < other.bin;
    }
  };
  std::vector<Ordered> order;
  for (size_t bin = 1; bin <= categories; ++bin) {
    const double hessian = real(cells[bin].hessian);
    if (hessian < TreeGrower::kCategoryMin) continue;
    order.push_back(
        {real(cells[bin].gradient) / (hessian + TreeGrower::kCategorySmoothing), static_cast<uint16_t>(bin)});
  }
  std::sort(order.begin(), order.end());
  std::vector<uint16_t> bins;
  for (const Ordered& category : order) bins.push_back(category.bin);
  return bins;
}

// Into how many groups of columns work is cut: the result does not depend on it.
constexpr size_t kGroups = 4;
// How many rows ahead memory is asked for.
constexpr uint32_t kAhead = 8;

}  // namespace

float leaf_value(const GradientPair& total, const GrowOptions& options) {
  const double value = std::clamp(-options.rate * real(total.gradient) / (real(total.hessian) + options.l2),
                                  -kLeafMax, kLeafMax);
  return static_cast<float>(std::nearbyint(value * kLeafOne) / kLeafOne);
}

BinnedRows::BinnedRows(const BinnedRows& first, const BinnedRows& second, size_t first_rows)
    : of_(first.of_) {
  bins_.reserve(first_rows * columns() + second.bins_.size());
  bins_.assign(first.bins_.begin(),
               first.bins_.begin() + static_cast<std::ptrdiff_t>(first_rows * columns()));
  bins_.insert(bins_.end(), second.bins_.begin(), second.bins_.end());
}

void BinnedRows::set(size_t i, const float* row) {
  const size_t k = of_.size();
  reserve(i + 1);
  for (size_t c = 0; c < k; ++c) bins_[i * k + c] = of_[c].of(row[c]);
}

std::vector<GradientPair> TreeGrower::take_histogram() {
  std::vector<GradientPair> histogram;
  if (!spare_.empty()) {
    histogram = std::move(spare_.back());
    spare_.pop_back();
  }
  histogram.resize(histogram_size_);
  return histogram;
}

void TreeGrower::fill_histogram(const Growth& growth, Columns columns, OpenNode& open) const {
  GradientPair* const histogram = open.histogram.data();
  std::fill(histogram + first_cell(columns.from), histogram + first_cell(columns.to), GradientPair{});
  const uint32_t* const column_of = columns_.data();
  const uint32_t* const offsets = offsets_.data();
  const GradientPair* const gradients = growth.gradients.data();
  const BinnedRows& data = growth.data;
  for (uint32_t i = open.begin; i < open.end; ++i) {
    if (i + kAhead < open.end) {
      const uint32_t soon = order_[i + kAhead];
      __builtin_prefetch(data.row(soon));
      __builtin_prefetch(&gradients[soon]);
    }
    const uint32_t row = order_[i];
    const uint16_t* const bins = data.row(row);
    const Pair pair = reinterpret_cast<const Pair&>(gradients[row]);
    for (size_t c = columns.from; c < columns.to; ++c)
      reinterpret_cast<Pair&>(histogram[offsets[c] + bins[column_of[c]]]) += pair;
  }
}

TreeGrower::Split TreeGrower::find_split(const Growth& growth, Columns columns, const OpenNode& open) const {
  Split best;
  best.gain = growth.options.gain_min;
  for (size_t c = columns.from; c < columns.to; ++c) {
    if (growth.data.of()[columns_[c]].categorical)
      improve_by_set(growth, c, open, best);
    else
      improve_by_threshold(growth, c, open, best);
  }
  return best;
}

void TreeGrower::improve_by_threshold(const Growth& growth, size_t c, const OpenNode& open,
                                      Split& best) const {
  const GradientPair* const cells = &open.histogram[offsets_[c]];
  const auto cuts = static_cast<uint32_t>(growth.data.of()[columns_[c]].cuts.size());
  const Gain gains(open.total, growth.options);
  const GradientPair missing = cells[0];
  GradientPair below;  // of the bins so far, without the missing ones
  for (uint32_t bin = 1; bin <= cuts; ++bin) {
    if (cells[bin].hessian == 0 && cells[bin].gradient == 0) continue;  // the same as the split before
    below = below + cells[bin];
    for (const bool missing_left : {false, true}) {
      if (missing_left && missing.hessian == 0) break;
      const GradientPair left = missing_left ? below + missing : below;
      const double gain = gains.of(left);
      if (gain > best.gain) best = {gain, columns_[c], bin, missing_left, left};
    }
  }
}

void TreeGrower::improve_by_set(const Growth& growth, size_t c, const OpenNode& open, Split& best) const {
  const GradientPair* const cells = &open.histogram[offsets_[c]];
  const ColumnBins& bins = growth.data.of()[columns_[c]];
  const std::vector<uint16_t> order = order_categories(cells, bins.cuts.size());
  const Gain gains(open.total, growth.options, kCategoryL2);
  const size_t largest = std::min(order.size(), kSetMax);
  const auto nth = [&](bool from_above, size_t i) { return order[from_above ? order.size() - 1 - i : i]; };
  size_t best_size = 0;
  bool best_from_above = false;
  for (const bool from_above : {false, true}) {
    GradientPair set;
    for (size_t i = 0; i < largest; ++i) {
      set = set + cells[nth(from_above, i)];
      for (const bool missing_left : {false, true}) {
        if (missing_left && cells[0].hessian == 0) break;
        const GradientPair left = missing_left ? set + cells[0] : set;
        const double gain = gains.of(left);
        if (gain <= best.gain) continue;
        best = {gain, columns_[c], 0, missing_left, left};
        best_size = i + 1;
        best_from_above = from_above;
      }
    }
  }
  if (best_size == 0) return;
  best.set.assign(bins.count(), 0);
  for (size_t i = 0; i < best_size; ++i) best.set[nth(best_from_above, i)] = 1;
}

// Rows that go left come first; they keep their order on both sides. Returns where the right ones begin.
uint32_t TreeGrower::partition(const BinnedRows& data, const OpenNode& open) {
  const Split& split = open.split;
  if (!split.set.empty())
    return partition(data, open,
                     [&](uint16_t bin) { return bin == 0 ? split.missing_left : split.set[bin] != 0; });
  return partition(data, open,
                   [&](uint16_t bin) { return bin == 0 ? split.missing_left : bin <= split.bin; });
}

template <typename GoesLeft>
uint32_t TreeGrower::partition(const BinnedRows& data, const OpenNode& open, GoesLeft left_is) {
  uint32_t to = open.begin, aside = open.begin;
  for (uint32_t i = open.begin; i < open.end; ++i) {
    if (i + kAhead < open.end) __builtin_prefetch(data.row(order_[i + kAhead]) + open.split.column);
    const uint32_t row = order_[i];
    const uint16_t bin = data.row(row)[open.split.column];
    const bool goes_left = left_is(bin);
    order_[to] = scratch_[aside] = row;
    to += goes_left;
    aside += !goes_left;
  }
  std::copy(scratch_.begin() + open.begin, scratch_.begin() + aside, order_.begin() + to);
  return to;
}

Tree TreeGrower::grow(const BinnedRows& data, std::span<const uint32_t> rows,
                      std::span<const GradientPair> gradients, std::span<const uint32_t> columns,
                      const GrowOptions& options, Workers* workers) {
  begin(data, rows, columns);
  const size_t groups = workers == nullptr ? 1 : std::min(kGroups, columns_.size());
  const Growth growth{data, gradients, options, workers, groups};
  Tree tree;
  std::vector<OpenNode> level(1);
  level[0] = open_root(growth, tree);
  for (uint32_t depth = 0; !level.empty(); ++depth) {
    const std::vector<OpenNode*> splitting = close_leaves(level, options);
    std::vector<OpenNode> children = divide_rows(growth, splitting);
    for (size_t s = 0; s < splitting.size(); ++s) make_split(growth, *splitting[s], &children[2 * s], tree);
    if (depth + 1 < options.depth) {
      pass_on_histograms(splitting, children);
      find_splits(growth, children);
    } else {
      for (OpenNode* open : splitting) spare_.push_back(std::move(open->histogram));
    }
    level = std::move(children);
  }
  return tree;
}

void TreeGrower::begin(const BinnedRows& data, std::span<const uint32_t> rows,
                       std::span<const uint32_t> columns) {
  order_.assign(rows.begin(), rows.end());
  scratch_.resize(order_.size());
  columns_.assign(columns.begin(), columns.end());
  offsets_.clear();
  histogram_size_ = 0;
  for (const uint32_t c : columns_) {
    offsets_.push_back(static_cast<uint32_t>(histogram_size_));
    histogram_size_ += data.of()[c].count();
  }
  spare_.clear();
  split_bins_.assign(1, 0);
  split_sets_.clear();
  leaf_rows_.clear();
}

// All rows, and the split found for them.
TreeGrower::OpenNode TreeGrower::open_root(const Growth& growth, Tree& tree) {
  OpenNode root{0, 0, static_cast<uint32_t>(order_.size()), {}, {}, take_histogram()};
  for (const uint32_t row : order_) root.total = root.total + growth.gradients[row];
  set_leaf(root, growth.options, tree);
  std::vector<Split> found(growth.groups);
  run_tasks(growth.workers, growth.groups, [&](size_t group) {
    const Columns columns = columns_of(group, growth.groups);
    fill_histogram(growth, columns, root);
    found[group] = find_split(growth, columns, root);
  });
  root.split = best_of(found, growth.options);
  return root;
}

// What the node is while it has no children.
void TreeGrower::set_leaf(const OpenNode& open, const GrowOptions& options, Tree& tree) {
  tree.nodes[open.node].value = leaf_value(open.total, options);
  tree.nodes[open.node].cover = static_cast<float>(real(open.total.hessian));
}

TreeGrower::Split TreeGrower::best_of(std::span<const Split> found, const GrowOptions& options) {
  Split best{.gain = options.gain_min, .left = {}};
  for (const Split& split : found) {
    if (split.gain > best.gain) best = split;
  }
  return best;
}

// Nodes without a split that gains enough stay leaves; returns the others.
std::vector<TreeGrower::OpenNode*> TreeGrower::close_leaves(std::vector<OpenNode>& level,
                                                            const GrowOptions& options) {
  std::vector<OpenNode*> splitting;
  for (OpenNode& open : level) {
    if (open.split.gain > options.gain_min) {
      splitting.push_back(&open);
      continue;
    }
    leaf_rows_.push_back({open.node, std::span(order_).subspan(open.begin, open.rows())});
    if (!open.histogram.empty()) spare_.push_back(std::move(open.histogram));
  }
  return splitting;
}

// Two children for each node, left and right.
std::vector<TreeGrower::OpenNode> TreeGrower::divide_rows(const Growth& growth,
                                                          std::span<OpenNode* const> splitting) {
  std::vector<OpenNode> children(2 * splitting.size());
  run_tasks(growth.workers, splitting.size(), [&](size_t s) {
    const OpenNode& open = *splitting[s];
    const uint32_t middle = partition(growth.data, open);
    children[2 * s] = {0, open.begin, middle, open.split.left, {}, {}};
    children[2 * s + 1] = {0, middle, open.end, open.total - open.split.left, {}, {}};
  });
  return children;
}

// Makes the tree's node a split, and its two children leaves for now.
void TreeGrower::make_split(const Growth& growth, OpenNode& open, OpenNode* children, Tree& tree) {
  const auto left_node = static_cast<uint32_t>(tree.nodes.size());
  TreeNode& node = tree.nodes[open.node];
  node.column = static_cast<int32_t>(open.split.column);
  node.missing_left = open.split.missing_left;
  node.left = left_node;
  const std::vector<float>& cuts = growth.data.of()[open.split.column].cuts;
  if (open.split.set.empty()) {
    node.value = cuts[open.split.bin - 1];
    split_bins_[open.node] = static_cast<uint16_t>(open.split.bin);
  } else {
    node.test = SplitTest::kListed;
    node.value = static_cast<float>(tree.sets.size());
    std::vector<uint32_t>& set = tree.sets.emplace_back();
    for (size_t i = 0; i < cuts.size(); ++i) {
      if (open.split.set[1 + i] != 0) set.push_back(static_cast<uint32_t>(cuts[i]));
    }
    split_bins_[open.node] = static_cast<uint16_t>(split_sets_.size());
    split_sets_.push_back(std::move(open.split.set));
  }
  tree.nodes.resize(tree.nodes.size() + 2);
  split_bins_.resize(tree.nodes.size());
  for (uint32_t side = 0; side < 2; ++side) {
    children[side].node = left_node + side;
    set_leaf(children[side], growth.options, tree);
  }
}

// The larger child takes its parent's histogram, from which the smaller one's will be subtracted.
void TreeGrower::pass_on_histograms(std::span<OpenNode* const> splitting, std::span<OpenNode> children) {
  for (size_t s = 0; s < splitting.size(); ++s) {
    const auto [small, large] = by_size(&children[2 * s]);
    small->histogram = take_histogram();
    large->histogram = std::move(splitting[s]->histogram);
  }
}

void TreeGrower::find_splits(const Growth& growth, std::span<OpenNode> children) const {
  const size_t groups = growth.groups;
  std::vector<Split> found(children.size() * groups);
  run_tasks(growth.workers, groups, [&](size_t group) {
    const Columns columns = columns_of(group, groups);
    const size_t first = first_cell(columns.from), last = first_cell(columns.to);
    for (size_t left = 0; left < children.size(); left += 2) {
      const auto [small, large] = by_size(&children[left]);
      fill_histogram(growth, columns, *small);
      const GradientPair* const taken = small->histogram.data();
      GradientPair* const rest = large->histogram.data();
      for (size_t i = first; i < last; ++i) rest[i] = rest[i] - taken[i];
      for (const size_t child : {left, left + 1})
        found[child * groups + group] = find_split(growth, columns, children[child]);
    }
  });
  for (size_t child = 0; child < children.size(); ++child)
    children[child].split = best_of(std::span(found).subspan(child * groups, groups), growth.options);
}

}  // namespace shrike::learners
