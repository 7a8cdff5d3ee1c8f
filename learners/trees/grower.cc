#include "learners/trees/grower.h"

#include <algorithm>
#include <cmath>
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

// Columns `from` .. `to` of the open node's histogram.
void TreeGrower::fill(const BinnedRows& data, std::span<const GradientPair> gradients, size_t from, size_t to,
                      Open& open) const {
  GradientPair* const histogram = open.histogram.data();
  const size_t end = to == columns_.size() ? histogram_size_ : offsets_[to];
  std::fill(histogram + offsets_[from], histogram + end, GradientPair{});
  const uint32_t* const columns = columns_.data();
  const uint32_t* const offsets = offsets_.data();
  for (uint32_t i = open.begin; i < open.end; ++i) {
    if (i + kAhead < open.end) {
      const uint32_t soon = order_[i + kAhead];
      __builtin_prefetch(data.row(soon));
      __builtin_prefetch(&gradients[soon]);
    }
    const uint32_t row = order_[i];
    const uint16_t* const bins = data.row(row);
    const Pair one = reinterpret_cast<const Pair&>(gradients[row]);
    for (size_t c = from; c < to; ++c)
      reinterpret_cast<Pair&>(histogram[offsets[c] + bins[columns[c]]]) += one;
  }
}

TreeGrower::Split TreeGrower::find(const BinnedRows& data, size_t from, size_t to, const Open& open,
                                   const GrowOptions& options) const {
  Split best;
  best.gain = options.gain_min;
  const double parent = score(real(open.total.gradient), real(open.total.hessian), options.l2);
  for (size_t c = from; c < to; ++c) {
    if (data.of()[columns_[c]].categorical) {
      find_set(data, c, open, options, best);
      continue;
    }
    const GradientPair* const cells = &open.histogram[offsets_[c]];
    const auto cuts = static_cast<uint32_t>(data.of()[columns_[c]].cuts.size());
    const GradientPair missing = cells[0];
    GradientPair left;  // of the bins so far, without the missing ones
    for (uint32_t bin = 1; bin <= cuts; ++bin) {
      if (cells[bin].hessian == 0 && cells[bin].gradient == 0) continue;  // the same as the split before
      left.gradient += cells[bin].gradient;
      left.hessian += cells[bin].hessian;
      for (const bool missing_left : {false, true}) {
        if (missing_left && missing.hessian == 0) break;
        GradientPair all = left;
        if (missing_left) all = {all.gradient + missing.gradient, all.hessian + missing.hessian};
        const double gl = real(all.gradient), hl = real(all.hessian);
        const double gr = real(open.total.gradient) - gl, hr = real(open.total.hessian) - hl;
        if (hl < options.hessian_min || hr < options.hessian_min) continue;
        const double gain = score(gl, hl, options.l2) + score(gr, hr, options.l2) - parent;
        if (gain > best.gain) best = {gain, columns_[c], bin, missing_left, all};
      }
    }
  }
  return best;
}

void TreeGrower::find_set(const BinnedRows& data, size_t c, const Open& open, const GrowOptions& options,
                          Split& best) const {
  const GradientPair* const cells = &open.histogram[offsets_[c]];
  const ColumnBins& bins = data.of()[columns_[c]];
  struct Ordered {
    double ratio;
    uint16_t bin;
    bool operator<(const Ordered& other) const {
      return ratio != other.ratio ? ratio < other.ratio : bin < other.bin;
    }
  };
  std::vector<Ordered> order;
  for (size_t bin = 1; bin <= bins.cuts.size(); ++bin) {
    if (real(cells[bin].hessian) < kCategoryMin) continue;
    order.push_back({real(cells[bin].gradient) / (real(cells[bin].hessian) + kCategorySmoothing),
                     static_cast<uint16_t>(bin)});
  }
  std::sort(order.begin(), order.end());
  const double parent = score(real(open.total.gradient), real(open.total.hessian), options.l2);
  const double l2 = options.l2 + kCategoryL2;
  const size_t most = std::min(order.size(), kSetMax);
  const auto nth = [&](bool from_above, size_t i) {
    return order[from_above ? order.size() - 1 - i : i].bin;
  };
  size_t size = 0;  // of the best set
  bool above = false;
  for (const bool from_above : {false, true}) {
    GradientPair set;
    for (size_t i = 0; i < most; ++i) {
      set = set + cells[nth(from_above, i)];
      for (const bool missing_left : {false, true}) {
        if (missing_left && cells[0].hessian == 0) break;
        const GradientPair all = missing_left ? set + cells[0] : set;
        const double gl = real(all.gradient), hl = real(all.hessian);
        const double gr = real(open.total.gradient) - gl, hr = real(open.total.hessian) - hl;
        if (hl < options.hessian_min || hr < options.hessian_min) continue;
        const double gain = score(gl, hl, l2) + score(gr, hr, l2) - parent;
        if (gain <= best.gain) continue;
        best = {gain, columns_[c], 0, missing_left, all};
        size = i + 1;
        above = from_above;
      }
    }
  }
  if (size == 0) return;
  best.set.assign(bins.count(), 0);
  for (size_t i = 0; i < size; ++i) best.set[nth(above, i)] = 1;
}

// Rows that go left come first; they keep their order on both sides. Returns where the right ones begin.
uint32_t TreeGrower::partition(const BinnedRows& data, const Open& open) {
  const Split& split = open.split;
  if (!split.set.empty())
    return partition(data, open,
                     [&](uint16_t bin) { return bin == 0 ? split.missing_left : split.set[bin] != 0; });
  return partition(data, open,
                   [&](uint16_t bin) { return bin == 0 ? split.missing_left : bin <= split.bin; });
}

template <typename GoesLeft>
uint32_t TreeGrower::partition(const BinnedRows& data, const Open& open, GoesLeft left_is) {
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
  const size_t groups = workers == nullptr ? 1 : std::min(kGroups, columns_.size());
  const auto begin_of = [&](size_t group) { return group * columns_.size() / groups; };
  const auto best_of = [&](std::span<const Split> found) {
    Split best{.gain = options.gain_min, .left = {}};
    for (const Split& one : found) {
      if (one.gain > best.gain) best = one;
    }
    return best;
  };
  Tree tree;
  const auto finish = [&](const Open& open) {
    tree.nodes[open.node].value = leaf_value(open.total, options);
    tree.nodes[open.node].cover = static_cast<float>(real(open.total.hessian));
  };
  std::vector<Open> level(1);
  std::vector<Split> found(groups);
  level[0] = {0, 0, static_cast<uint32_t>(order_.size()), {}, {}, take_histogram()};
  for (const uint32_t row : order_) {
    level[0].total.gradient += gradients[row].gradient;
    level[0].total.hessian += gradients[row].hessian;
  }
  finish(level[0]);
  split_bins_.assign(1, 0);
  split_sets_.clear();
  leaf_rows_.clear();
  run_tasks(workers, groups, [&](size_t g) {
    fill(data, gradients, begin_of(g), begin_of(g + 1), level[0]);
    found[g] = find(data, begin_of(g), begin_of(g + 1), level[0], options);
  });
  level[0].split = best_of(found);
  std::vector<Open*> splitting;
  for (uint32_t depth = 0; !level.empty(); ++depth) {
    splitting.clear();
    for (Open& open : level) {
      if (open.split.gain > options.gain_min) {
        splitting.push_back(&open);
      } else {
        leaf_rows_.push_back({open.node, std::span(order_).subspan(open.begin, open.end - open.begin)});
        if (!open.histogram.empty()) spare_.push_back(std::move(open.histogram));
      }
    }
    // Two children each, left and right.
    std::vector<Open> next(2 * splitting.size());
    run_tasks(workers, splitting.size(), [&](size_t s) {
      const Open& open = *splitting[s];
      const uint32_t middle = partition(data, open);
      next[2 * s] = {0, open.begin, middle, open.split.left, {}, {}};
      next[2 * s + 1] = {0, middle, open.end, open.total - open.split.left, {}, {}};
    });
    const bool goes_on = depth + 1 < options.depth;
    for (size_t s = 0; s < splitting.size(); ++s) {
      Open& open = *splitting[s];
      const auto left_node = static_cast<uint32_t>(tree.nodes.size());
      TreeNode& node = tree.nodes[open.node];
      node.column = static_cast<int32_t>(open.split.column);
      node.missing_left = open.split.missing_left;
      node.left = left_node;
      const std::vector<float>& cuts = data.of()[open.split.column].cuts;
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
        next[2 * s + side].node = left_node + side;
        finish(next[2 * s + side]);
      }
    }
    if (goes_on) {
      for (size_t s = 0; s < splitting.size(); ++s) {
        const bool left_smaller =
            next[2 * s].end - next[2 * s].begin <= next[2 * s + 1].end - next[2 * s + 1].begin;
        next[2 * s + (left_smaller ? 0 : 1)].histogram = take_histogram();
        next[2 * s + (left_smaller ? 1 : 0)].histogram = std::move(splitting[s]->histogram);
      }
      found.assign(next.size() * groups, Split{});
      run_tasks(workers, groups, [&](size_t g) {
        const size_t from = begin_of(g), to = begin_of(g + 1);
        const size_t first = offsets_[from], last = to == columns_.size() ? histogram_size_ : offsets_[to];
        for (size_t s = 0; s < splitting.size(); ++s) {
          Open &left = next[2 * s], &right = next[2 * s + 1];
          const bool left_smaller = left.end - left.begin <= right.end - right.begin;
          Open &small = left_smaller ? left : right, &large = left_smaller ? right : left;
          fill(data, gradients, from, to, small);
          for (size_t i = first; i < last; ++i) large.histogram[i] = large.histogram[i] - small.histogram[i];
          for (size_t side = 0; side < 2; ++side)
            found[(2 * s + side) * groups + g] = find(data, from, to, next[2 * s + side], options);
        }
      });
      for (size_t i = 0; i < next.size(); ++i)
        next[i].split = best_of(std::span(found).subspan(i * groups, groups));
    } else {
      for (Open* open : splitting) spare_.push_back(std::move(open->histogram));
    }
    level = std::move(next);
  }
  return tree;
}

}  // namespace shrike::learners
