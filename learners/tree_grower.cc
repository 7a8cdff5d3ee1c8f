#include "learners/tree_grower.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "learners/cuts.h"

namespace shrike::learners {
namespace {

double score(double gradient, double hessian, double l2) { return gradient * gradient / (hessian + l2); }

}  // namespace

BinnedRows::BinnedRows(std::vector<std::vector<float>> cuts) : cuts_(std::move(cuts)) {}

void BinnedRows::set(size_t i, const float* row) {
  const size_t k = cuts_.size();
  if (bins_.size() < (i + 1) * k) bins_.resize((i + 1) * k);
  for (size_t c = 0; c < k; ++c) bins_[i * k + c] = bin_of(cuts_[c], row[c]);
}

std::vector<GradientPair> TreeGrower::take_histogram() {
  std::vector<GradientPair> histogram;
  if (!spare_.empty()) {
    histogram = std::move(spare_.back());
    spare_.pop_back();
  }
  histogram.assign(histogram_size_, GradientPair{});
  return histogram;
}

void TreeGrower::fill(const BinnedRows& data, std::span<const GradientPair> gradients, Open& open) {
  open.histogram = take_histogram();
  GradientPair* const histogram = open.histogram.data();
  const size_t k = columns_.size();
  const uint32_t* const columns = columns_.data();
  const uint32_t* const offsets = offsets_.data();
  for (uint32_t i = open.begin; i < open.end; ++i) {
    const uint32_t row = order_[i];
    const uint16_t* const bins = data.row(row);
    const GradientPair one = gradients[row];
    for (size_t c = 0; c < k; ++c) {
      GradientPair& cell = histogram[offsets[c] + bins[columns[c]]];
      cell.gradient += one.gradient;
      cell.hessian += one.hessian;
    }
  }
}

TreeGrower::Split TreeGrower::find(const BinnedRows& data, const Open& open,
                                   const GrowOptions& options) const {
  Split best;
  best.gain = options.gain_min;
  const auto real = [](int64_t fixed) { return static_cast<double>(fixed) / GradientPair::kOne; };
  const double parent = score(real(open.total.gradient), real(open.total.hessian), options.l2);
  for (size_t c = 0; c < columns_.size(); ++c) {
    const GradientPair* const cells = &open.histogram[offsets_[c]];
    const auto cuts = static_cast<uint32_t>(data.cuts()[columns_[c]].size());
    const GradientPair missing = cells[0];
    GradientPair left;  // of the bins so far, without the missing ones
    for (uint32_t bin = 1; bin <= cuts; ++bin) {
      if (cells[bin].hessian == 0 && cells[bin].gradient == 0) continue;  // the same as the split before
      left.gradient += cells[bin].gradient;
      left.hessian += cells[bin].hessian;
      for (const bool missing_left : {false, true}) {
        if (missing_left && missing.hessian == 0) break;
        const double gl = real(left.gradient + (missing_left ? missing.gradient : 0));
        const double hl = real(left.hessian + (missing_left ? missing.hessian : 0));
        const double gr = real(open.total.gradient) - gl, hr = real(open.total.hessian) - hl;
        if (hl < options.hessian_min || hr < options.hessian_min) continue;
        const double gain = score(gl, hl, options.l2) + score(gr, hr, options.l2) - parent;
        if (gain > best.gain) best = {gain, columns_[c], bin, missing_left};
      }
    }
  }
  return best;
}

Tree TreeGrower::grow(const BinnedRows& data, std::span<const uint32_t> rows,
                      std::span<const GradientPair> gradients, std::span<const uint32_t> columns,
                      const GrowOptions& options) {
  order_.assign(rows.begin(), rows.end());
  scratch_.resize(order_.size());
  columns_.assign(columns.begin(), columns.end());
  offsets_.clear();
  histogram_size_ = 0;
  for (const uint32_t c : columns_) {
    offsets_.push_back(static_cast<uint32_t>(histogram_size_));
    histogram_size_ += data.cuts()[c].size() + 2;
  }
  spare_.clear();
  Tree tree;
  std::vector<Open> level(1);
  level[0] = {0, 0, static_cast<uint32_t>(order_.size()), {}, {}};
  for (const uint32_t row : order_) {
    level[0].total.gradient += gradients[row].gradient;
    level[0].total.hessian += gradients[row].hessian;
  }
  fill(data, gradients, level[0]);
  const auto finish = [&](const Open& open) {
    const double g = static_cast<double>(open.total.gradient) / GradientPair::kOne;
    const double h = static_cast<double>(open.total.hessian) / GradientPair::kOne;
    const double value = std::clamp(-options.rate * g / (h + options.l2), -kLeafMax, kLeafMax);
    tree.nodes[open.node].value = static_cast<float>(std::nearbyint(value * kLeafOne) / kLeafOne);
    tree.nodes[open.node].cover = static_cast<float>(h);
  };
  for (uint32_t depth = 0; !level.empty(); ++depth) {
    std::vector<Open> next;
    for (Open& open : level) {
      finish(open);
      const Split split = depth < options.depth ? find(data, open, options) : Split{};
      if (split.gain <= options.gain_min) {
        if (!open.histogram.empty()) spare_.push_back(std::move(open.histogram));
        continue;
      }
      const auto left_node = static_cast<uint32_t>(tree.nodes.size());
      TreeNode& node = tree.nodes[open.node];
      node.column = static_cast<int32_t>(split.column);
      node.value = data.cuts()[split.column][split.bin - 1];
      node.missing_left = split.missing_left;
      node.left = left_node;
      tree.nodes.resize(tree.nodes.size() + 2);
      // Rows keep their order on both sides.
      uint32_t to = open.begin, aside = 0;
      Open left{left_node, open.begin, 0, {}, {}}, right{left_node + 1, 0, open.end, {}, {}};
      for (uint32_t i = open.begin; i < open.end; ++i) {
        const uint32_t row = order_[i];
        const uint16_t bin = data.row(row)[split.column];
        const bool goes_left = bin == 0 ? split.missing_left : bin <= split.bin;
        if (goes_left) {
          left.total.gradient += gradients[row].gradient;
          left.total.hessian += gradients[row].hessian;
          order_[to++] = row;
        } else {
          scratch_[aside++] = row;
        }
      }
      std::copy_n(scratch_.begin(), aside, order_.begin() + to);
      left.end = right.begin = to;
      right.total = {open.total.gradient - left.total.gradient, open.total.hessian - left.total.hessian};
      if (depth + 1 < options.depth) {
        const bool left_smaller = left.end - left.begin <= right.end - right.begin;
        Open& small = left_smaller ? left : right;
        Open& large = left_smaller ? right : left;
        fill(data, gradients, small);
        large.histogram = std::move(open.histogram);
        for (size_t i = 0; i < histogram_size_; ++i) {
          large.histogram[i].gradient -= small.histogram[i].gradient;
          large.histogram[i].hessian -= small.histogram[i].hessian;
        }
      } else {
        spare_.push_back(std::move(open.histogram));
      }
      next.push_back(std::move(left));
      next.push_back(std::move(right));
    }
    level = std::move(next);
  }
  return tree;
}

}  // namespace shrike::learners
