// Grows one regression tree on binned rows from gradients and hessians (Chen and Guestrin, "XGBoost", KDD
// 2016; histograms with subtraction as Ke et al., "LightGBM", NeurIPS 2017). Gradients are fixed-point
// integers, so every sum is exact and a tree does not depend on the order in which rows are added. Internal
// to learners/.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learners/trees.h"

namespace shrike::learners {

// Rows as bins: 0 for a missing value (NaN), else 1 + how many of the column's cuts are <= value.
class BinnedRows {
 public:
  explicit BinnedRows(std::vector<std::vector<float>> cuts);

  size_t columns() const { return cuts_.size(); }
  size_t rows() const { return cuts_.empty() ? 0 : bins_.size() / cuts_.size(); }
  const std::vector<std::vector<float>>& cuts() const { return cuts_; }
  const uint16_t* row(size_t i) const { return &bins_[i * cuts_.size()]; }
  // Replaces row i, which may be the next new one.
  void set(size_t i, const float* row);

 private:
  std::vector<std::vector<float>> cuts_;
  std::vector<uint16_t> bins_;
};

// Fixed point: kOne is 1.
struct GradientPair {
  static constexpr double kOne = 1 << 24;
  int64_t gradient = 0, hessian = 0;
};

struct GrowOptions {
  uint32_t depth = 5;
  double rate = 0.1;       // shrinks every leaf
  double l2 = 1;           // added to a leaf's hessian
  double hessian_min = 1;  // of a child
  double gain_min = 0;     // of a split
};

// Leaves are multiples of 1 / kLeafOne within +-kLeafMax, so that sums of them are exact in integers.
inline constexpr double kLeafOne = 1 << 20, kLeafMax = 8;

class TreeGrower {
 public:
  // `rows` of `data` and the columns that may split. Reuses its buffers from tree to tree.
  Tree grow(const BinnedRows& data, std::span<const uint32_t> rows, std::span<const GradientPair> gradients,
            std::span<const uint32_t> columns, const GrowOptions& options);

 private:
  struct Split {
    double gain = 0;
    uint32_t column = 0, bin = 0;  // bins 1 .. bin go left
    bool missing_left = false;
  };
  struct Open {
    uint32_t node, begin, end;  // rows order_[begin, end)
    GradientPair total;
    std::vector<GradientPair> histogram;
  };

  void fill(const BinnedRows& data, std::span<const GradientPair> gradients, Open& open);
  Split find(const BinnedRows& data, const Open& open, const GrowOptions& options) const;
  std::vector<GradientPair> take_histogram();

  std::vector<uint32_t> order_, scratch_, columns_, offsets_;
  size_t histogram_size_ = 0;
  std::vector<std::vector<GradientPair>> spare_;
};

}  // namespace shrike::learners
