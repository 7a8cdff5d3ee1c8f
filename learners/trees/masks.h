// Kernels for trees up to depth 6. A row's values are first replaced by their ranks among the thresholds of
// their column, so that a node's test compares two 16-bit integers. For each category that sets name there is
// a table row with a word per tree: the bits of the nodes whose test sends it right. Any number of different
// sets costs no more than that.
//
// - one row (AVX-512): the ranks lie in registers; all tests of a tree are one permute and one compare per 32
//   nodes, and the path is walked in the resulting bits. (After Lucchese et al., "QuickScorer", SIGIR 2015,
//   who also turn tests into bits.)
// - 64 rows (AVX-512, AVX2): each node's test is a mask over rows; masks are merged level by level into the
//   bits of the leaf's index.
//
// Raw intrinsics rather than Highway: Debian 12's Highway has no two-table 16-bit permute and no portable way
// to keep the compare masks in registers, which is what these kernels are made of.
//
// Immutable; any thread. Internal to learners/.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learners/trees/category_index.h"
#include "learners/trees/tree.h"

namespace shrike::learners {

class TreeMasks {
 public:
  static constexpr uint32_t kDepthMax = 6;
  static constexpr size_t kBlock = 64;  // rows

  // False when the ensemble does not fit: too deep, too many columns, thresholds or categories. Then nothing
  // else may be called.
  bool compile(std::span<const Tree> trees, size_t columns, const CategoryIndex& categories);
  // Whether there are few enough virtual columns for sum_row_avx512().
  bool fits_row() const { return virtuals_ <= kRowVirtualMax; }

  // base + the leaves in the order of the trees, in float or double. The machine must have the instruction
  // set.
  template <typename Sum>
  Sum sum_row_avx512(Sum base, const float* row) const;
  // Of `n` rows, at most kBlock.
  template <typename Sum>
  void sum_block_avx512(Sum base, const float* rows, size_t stride, size_t n, Sum* out) const;
  template <typename Sum>
  void sum_block_avx2(Sum base, const float* rows, size_t stride, size_t n, Sum* out) const;

 private:
  static constexpr size_t kRowVirtualMax = 128;  // what two permutes reach
  static constexpr size_t kVirtualMax = 512;
  static constexpr size_t kThresholdsMax = 16 * 16 * 16;  // of a column
  static constexpr size_t kSetBitsMax = 1 << 19;          // words
  // Every tree is laid out to the depth of the deepest: a file of lone leaves would else take a hundred times
  // its size.
  static constexpr size_t kTestsMax = 1 << 22;

  // A column whose thresholds nodes test. Nodes see it as virtual columns, which differ in the rank of a
  // missing value (0 goes left everywhere, 65535 right) and in whether zero is missing.
  struct Ranked {
    uint32_t column;
    uint32_t thresholds = 0;  // where they begin: rising, padded with infinity to whole blocks of 16
    uint32_t pivots = 0;      // where the last thresholds of its blocks begin, padded alike
    uint32_t pivot_vectors = 0;
    int16_t left = -1, right = -1, zero_left = -1, zero_right = -1;  // its virtual columns
  };

  // The steps of compile(); false when the ensemble does not fit. `thresholds`: by column.
  bool rank_columns(std::span<const std::vector<float>> thresholds);
  bool make_set_rows(const CategoryIndex& categories);
  bool lay_out(const Tree& tree, size_t t, std::span<const std::vector<float>> thresholds);

  // Which of the column's virtual columns the node tests; -1 while it has none.
  int16_t& virtual_of(Ranked& ranked, const TreeNode& node) const;
  // A numeric node of tree t, at a position of its heap; `rising` are its column's thresholds.
  void add_threshold(const TreeNode& node, size_t t, size_t heap, const std::vector<float>& rising);
  // The bits of a categorical node of tree t, at a position of its heap.
  void add_set(const Tree& tree, const TreeNode& node, size_t t, size_t heap);
  // The rows of set_bits_ that a row's categories have, view by view; how many.
  size_t find_set_bits(const float* row, const uint64_t** bits) const;
  // Ranks of one row, `step` apart.
  void rank_row_avx512(const float* row, uint16_t* ranks, size_t step) const;
  void rank_row_avx2(const float* row, uint16_t* ranks, size_t step) const;
  template <typename Sum>
  const Sum* leaves() const;

  size_t trees_ = 0;
  uint32_t depth_ = 0;  // of the heap that every tree is laid out in
  size_t slots_ = 0;    // 2^depth, at least 32: nodes 1 .. 2^depth - 1 are tests
  std::vector<Ranked> ranked_;
  std::vector<float> thresholds_, pivots_;
  CategoryIndex categories_;
  std::vector<size_t> set_rows_;    // of each view: its first row in set_bits_, that of missing values
  std::vector<uint64_t> set_bits_;  // trees_ a row; after the first the view's numbers
  size_t virtuals_ = 0;
  std::vector<uint16_t> test_virtual_;     // slots_ a tree
  std::vector<uint8_t> test_row_virtual_;  // the same when fits_row()
  std::vector<uint16_t> test_rank_;        // goes right when the value's rank is greater: never at 65535
  std::vector<float> leaves_;              // 2^depth a tree
  std::vector<double> exact_;              // the same, when leaves are summed in double
};

}  // namespace shrike::learners
