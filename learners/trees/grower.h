// Grows one regression tree on binned rows from gradients and hessians (Chen and Guestrin, "XGBoost", KDD
// 2016; histograms with subtraction as Ke et al., "LightGBM", NeurIPS 2017). Gradients are fixed-point
// integers, so every sum is exact: a tree depends neither on the order in which rows are added nor on how
// many threads add them.
//
// Splits of a categorical column are sets of categories: a node's are ordered by gradient / hessian,
// smoothed, and the best set is a prefix or a suffix of that order (Fisher, "On grouping for maximum
// homogeneity", JASA 1958; many against many as LightGBM). Limits: at most kSetMax categories are in a set,
// and the others, all without a bin of their own among them, go right; the order is fitted to the very
// gradients that it splits, so the constants below hold small categories back (chosen on streams of our own:
// without them a column of some hundred categories is worse than hashes taken for numbers).
//
// Internal to learners/.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learners/rows/bins.h"
#include "learners/trees/tree.h"
#include "learners/workers.h"

namespace shrike::learners {

// Rows as bins.
class BinnedRows {
 public:
  BinnedRows() = default;
  explicit BinnedRows(std::vector<ColumnBins> of) : of_(std::move(of)) {}
  // The rows of both, which have the same bins, one after the other; `first_rows` of the first.
  BinnedRows(const BinnedRows& first, const BinnedRows& second, size_t first_rows);

  size_t columns() const { return of_.size(); }
  size_t rows() const { return of_.empty() ? 0 : bins_.size() / of_.size(); }
  const std::vector<ColumnBins>& of() const { return of_; }  // by column
  const uint16_t* row(size_t i) const { return &bins_[i * of_.size()]; }
  // Replaces row i, or makes it.
  void set(size_t i, const float* row);
  void reserve(size_t rows) {
    if (bins_.size() < rows * of_.size()) bins_.resize(rows * of_.size());
  }

 private:
  std::vector<ColumnBins> of_;
  std::vector<uint16_t> bins_;
};

// Fixed point: kOne is 1.
struct alignas(16) GradientPair {
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
// A leaf from the sums of its rows.
float leaf_value(const GradientPair& total, const GrowOptions& options);

class TreeGrower {
 public:
  static constexpr size_t kSetMax = 32;
  // Least hessian of a category to be in a set; added to it where categories are ordered; added to l2 where a
  // set is weighed against no split.
  static constexpr double kCategoryMin = 1, kCategorySmoothing = 20, kCategoryL2 = 50;

  // `rows` of `data` and the columns that may split. Reuses its buffers from tree to tree.
  Tree grow(const BinnedRows& data, std::span<const uint32_t> rows, std::span<const GradientPair> gradients,
            std::span<const uint32_t> columns, const GrowOptions& options, Workers* workers = nullptr);

  // Of the tree grown last: which of its rows ended in which leaf ...
  struct LeafRows {
    uint32_t node;
    std::span<const uint32_t> rows;
  };
  const std::vector<LeafRows>& leaf_rows() const { return leaf_rows_; }
  // ... and where any other row of the same data does.
  uint32_t find_leaf(const Tree& tree, const uint16_t* bins) const {
    uint32_t at = 0;
    while (!tree.nodes[at].is_leaf()) {
      const TreeNode& node = tree.nodes[at];
      const uint16_t bin = bins[node.column];
      const bool left = bin == 0                ? node.missing_left
                        : node.is_categorical() ? split_sets_[split_bins_[at]][bin] != 0
                                                : bin <= split_bins_[at];
      at = node.left + (left ? 0 : 1);
    }
    return at;
  }

 private:
  struct Split {
    double gain = 0;
    uint32_t column = 0, bin = 0;  // bins 1 .. bin go left ...
    bool missing_left = false;
    GradientPair left;
    std::vector<uint8_t> set = {};  // ... or, of a categorical column, the bins that are marked here
  };
  struct OpenNode {
    uint32_t node, begin, end;  // rows order_[begin, end)
    GradientPair total;
    Split split;
    std::vector<GradientPair> histogram;
    uint32_t rows() const { return end - begin; }
  };
  struct Children {
    OpenNode *small, *large;
  };
  // What a tree is grown from.
  struct Growth {
    const BinnedRows& data;
    std::span<const GradientPair> gradients;
    const GrowOptions& options;
    Workers* workers;
    size_t groups;  // of columns: tasks of their own
  };
  // columns_[from, to).
  struct Columns {
    size_t from, to;
  };

  // The steps of grow().
  void begin(const BinnedRows& data, std::span<const uint32_t> rows, std::span<const uint32_t> columns);
  OpenNode open_root(const Growth& growth, Tree& tree);
  std::vector<OpenNode*> close_leaves(std::vector<OpenNode>& level, const GrowOptions& options);
  std::vector<OpenNode> divide_rows(const Growth& growth, std::span<OpenNode* const> splitting);
  void make_split(const Growth& growth, OpenNode& open, OpenNode* children, Tree& tree);
  void pass_on_histograms(std::span<OpenNode* const> splitting, std::span<OpenNode> children);
  void find_splits(const Growth& growth, std::span<OpenNode> children) const;

  static void set_leaf(const OpenNode& open, const GrowOptions& options, Tree& tree);
  static Split best_of(std::span<const Split> found, const GrowOptions& options);
  // Of a left and a right child. Counting the rows of the small one is cheaper.
  static Children by_size(OpenNode* left) {
    return left[0].rows() <= left[1].rows() ? Children{left, left + 1} : Children{left + 1, left};
  }
  // The part of a node's histogram that belongs to these columns.
  void fill_histogram(const Growth& growth, Columns columns, OpenNode& open) const;
  Split find_split(const Growth& growth, Columns columns, const OpenNode& open) const;
  void improve_by_threshold(const Growth& growth, size_t c, const OpenNode& open, Split& best) const;
  void improve_by_set(const Growth& growth, size_t c, const OpenNode& open, Split& best) const;
  uint32_t partition(const BinnedRows& data, const OpenNode& open);
  template <typename GoesLeft>
  uint32_t partition(const BinnedRows& data, const OpenNode& open, GoesLeft left_is);
  std::vector<GradientPair> take_histogram();

  Columns columns_of(size_t group, size_t groups) const {
    return {group * columns_.size() / groups, (group + 1) * columns_.size() / groups};
  }
  // Where the bins of columns_[c] begin in a histogram; of its end the end.
  size_t first_cell(size_t c) const { return c == columns_.size() ? histogram_size_ : offsets_[c]; }

  std::vector<uint32_t> order_, scratch_, columns_, offsets_;
  std::vector<uint16_t> split_bins_;  // by node: the last bin that goes left, or which of the sets
  std::vector<std::vector<uint8_t>> split_sets_;
  std::vector<LeafRows> leaf_rows_;
  size_t histogram_size_ = 0;
  std::vector<std::vector<GradientPair>> spare_;
};

}  // namespace shrike::learners
