// Tree ensembles compiled for scoring. Three ways to the same bits: walking the nodes (the reference, any
// tree), and two AVX-512 kernels for trees up to depth 6. Both kernels first replace each value by its rank
// among the thresholds of its column, so that a node's test compares two 16-bit integers:
//
// - one row: the ranks lie in registers; all tests of a tree are one permute and one compare per 32 nodes,
// and the path is
//   walked in the resulting bits. (After Lucchese et al., "QuickScorer", SIGIR 2015, who also turn tests into
//   bits.)
// - 64 rows: each node's test is a mask over rows; masks are merged level by level into the bits of the
// leaf's index.
//
// Raw intrinsics rather than Highway: Debian 12's Highway has no two-table 16-bit permute and no portable way
// to keep the compare masks in registers, which is what these kernels are made of. Machines without AVX-512BW
// walk the nodes.
//
// Immutable; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learners/matrix.h"
#include "learners/trees.h"

namespace shrike::learners {

class TreeScorer {
 public:
  TreeScorer(float base, std::vector<Tree> trees, size_t columns);

  const std::vector<Tree>& trees() const { return trees_; }
  float base() const { return base_; }

  // Whether leaves are summed in double: so they are when any tree has leaves that a float does not hold.
  bool exact() const { return exact_; }

  // base + the leaves, in the order of the trees; one sum per row. In float, or in double and rounded once.
  void sum(MatrixView rows, float* out) const;
  float sum_row(const float* row) const { return static_cast<float>(margin(row)); }
  // The same sums before that rounding.
  void margins(MatrixView rows, double* out) const;
  double margin(const float* row) const;

 private:
  static constexpr uint32_t kDepthMax = 6;
  static constexpr size_t kVirtualMax = 128;              // what two permutes reach
  static constexpr size_t kBlock = 64;                    // rows
  static constexpr size_t kThresholdsMax = 16 * 16 * 16;  // of a column

  // A column whose thresholds nodes test. Nodes see it as up to two virtual columns, which differ in the rank
  // of a missing value: 0 goes left everywhere, 65535 right.
  struct Ranked {
    uint32_t column;
    uint32_t thresholds =
        0;                // where its thresholds begin: rising, padded with infinity to whole blocks of 16
    uint32_t pivots = 0;  // where the last thresholds of its blocks begin, padded alike
    uint32_t pivot_vectors = 0;
    int16_t left = -1, right = -1;  // its virtual columns
  };

  bool compile();
  void rank_row_avx512(const float* row, uint16_t* ranks, size_t step) const;
  float sum_row_avx512(const float* row) const;
  void sum_block_avx512(const float* rows, size_t stride, float* out) const;

  float base_;
  std::vector<Tree> trees_;
  size_t columns_;
  bool exact_ = false;
  bool compiled_ = false;
  uint32_t depth_ = 0;  // of the heap that every tree is laid out in
  size_t slots_ = 0;    // 2^depth, at least 32: nodes 1 .. 2^depth - 1 are tests
  std::vector<Ranked> ranked_;
  std::vector<float> thresholds_, pivots_;
  size_t virtuals_ = 0;
  std::vector<uint8_t> test_virtual_;  // slots_ a tree
  std::vector<uint16_t> test_rank_;    // goes right when the value's rank is greater
  std::vector<float> leaves_;          // 2^depth a tree
};

}  // namespace shrike::learners
