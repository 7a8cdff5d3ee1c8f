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

  // base + the leaves, in float, in the order of the trees; one sum per row.
  void sum(MatrixView rows, float* out) const;
  float sum_row(const float* row) const;

 private:
  static constexpr uint32_t kDepthMax = 6;
  static constexpr size_t kVirtualMax = 128;  // what two permutes reach
  static constexpr size_t kBlock = 64;        // rows

  // A column as nodes see it: its thresholds, and where a missing value goes.
  struct Virtual {
    uint32_t column;
    uint16_t missing;  // rank of NaN: 0 goes left everywhere, 65535 right
  };

  bool compile();
  uint16_t rank(uint32_t column, float value) const;
  void rank_row(const float* row, uint16_t* ranks) const;
  float sum_row_avx512(const float* row) const;
  void sum_block_avx512(const float* rows, size_t stride, float* out) const;

  float base_;
  std::vector<Tree> trees_;
  size_t columns_;
  bool compiled_ = false;
  uint32_t depth_ = 0;                  // of the heap that every tree is laid out in
  size_t slots_ = 0;                    // 2^depth, at least 32: nodes 1 .. 2^depth - 1 are tests
  std::vector<float> thresholds_;       // rising, column after column
  std::vector<uint32_t> threshold_at_;  // where a column's begin
  std::vector<Virtual> virtuals_;
  std::vector<uint8_t> test_virtual_;  // slots_ a tree
  std::vector<uint16_t> test_rank_;    // goes right when the value's rank is greater
  std::vector<float> leaves_;          // 2^depth a tree
};

}  // namespace shrike::learners
