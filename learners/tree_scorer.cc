#include "learners/tree_scorer.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "learners/linear_model.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace shrike::learners {
namespace {

bool has_avx512() {
#if defined(__x86_64__)
  static const bool kHas = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return kHas;
#else
  return false;
#endif
}

}  // namespace

TreeScorer::TreeScorer(float base, std::vector<Tree> trees, size_t columns)
    : base_(base), trees_(std::move(trees)), columns_(columns) {
  bool plain = true;
  for (const Tree& tree : trees_) {
    exact_ |= !tree.exact.empty();
    for (const TreeNode& node : tree.nodes) plain &= node.test == SplitTest::kBelow;
  }
  compiled_ = plain && !exact_ && compile();
}

// False when the ensemble does not fit the kernels: too deep, too many columns or thresholds.
bool TreeScorer::compile() {
  for (const Tree& tree : trees_) depth_ = std::max(depth_, tree.depth());
  if (trees_.empty() || depth_ == 0 || depth_ > kDepthMax) return false;
  slots_ = std::max(size_t{32}, size_t{1} << depth_);
  std::vector<std::vector<float>> by_column(columns_);
  for (const Tree& tree : trees_) {
    for (const TreeNode& node : tree.nodes) {
      if (!node.is_leaf()) by_column[static_cast<size_t>(node.column)].push_back(node.value);
    }
  }
  std::vector<size_t> ranked_of(columns_, 0);
  const auto pad = [](std::vector<float>& to) {
    while (to.size() % 16 != 0) to.push_back(std::numeric_limits<float>::infinity());
  };
  for (uint32_t c = 0; c < columns_; ++c) {
    auto& one = by_column[c];
    if (one.empty()) continue;
    std::sort(one.begin(), one.end());
    one.erase(std::unique(one.begin(), one.end()), one.end());
    if (one.size() > kThresholdsMax) return false;
    ranked_of[c] = ranked_.size();
    Ranked ranked{.column = c,
                  .thresholds = static_cast<uint32_t>(thresholds_.size()),
                  .pivots = static_cast<uint32_t>(pivots_.size())};
    thresholds_.insert(thresholds_.end(), one.begin(), one.end());
    pad(thresholds_);
    for (size_t last = ranked.thresholds + 15; last < thresholds_.size(); last += 16)
      pivots_.push_back(thresholds_[last]);
    pad(pivots_);
    ranked.pivot_vectors = static_cast<uint32_t>(pivots_.size() - ranked.pivots) / 16;
    ranked_.push_back(ranked);
    // A value of infinity counts every pivot: the block after the last is read.
    thresholds_.resize(thresholds_.size() + 16 * 16, std::numeric_limits<float>::infinity());
  }
  const size_t leaf_count = size_t{1} << depth_;
  test_virtual_.assign(trees_.size() * slots_, 0);
  test_rank_.assign(trees_.size() * slots_, 65535);  // never right
  leaves_.assign(trees_.size() * leaf_count, 0);
  for (size_t t = 0; t < trees_.size(); ++t) {
    const std::vector<TreeNode>& nodes = trees_[t].nodes;
    std::vector<uint32_t> at(2 * leaf_count, 0);  // heap position -> node
    for (size_t heap = 1; heap < 2 * leaf_count; ++heap) {
      const TreeNode& node = nodes[at[heap]];
      if (heap >= leaf_count) {
        leaves_[t * leaf_count + heap - leaf_count] = node.value;
        continue;
      }
      if (node.is_leaf()) {
        at[2 * heap] = at[2 * heap + 1] = at[heap];
        continue;
      }
      at[2 * heap] = node.left;
      at[2 * heap + 1] = node.left + 1;
      Ranked& ranked = ranked_[ranked_of[static_cast<size_t>(node.column)]];
      int16_t& seen_as = node.missing_left ? ranked.left : ranked.right;
      if (seen_as < 0) seen_as = static_cast<int16_t>(virtuals_++);
      if (virtuals_ > kVirtualMax) return false;
      const auto& thresholds = by_column[static_cast<size_t>(node.column)];
      const auto index =
          std::lower_bound(thresholds.begin(), thresholds.end(), node.value) - thresholds.begin();
      test_virtual_[t * slots_ + heap] = static_cast<uint8_t>(seen_as);
      test_rank_[t * slots_ + heap] = static_cast<uint16_t>(index);
    }
  }
  return true;
}

void TreeScorer::margins(MatrixView rows, double* out) const {
  for (size_t i = 0; i < rows.rows(); ++i) out[i] = margin(rows.row(i).data());
}

double TreeScorer::margin(const float* row) const {
  if (compiled_ && has_avx512() && vectors_enabled()) return sum_row_avx512(row);
  if (exact_) return exact_sum_of_leaves(base_, trees_, row);
  return sum_of_leaves(base_, trees_, row);
}

void TreeScorer::sum(MatrixView rows, float* out) const {
  size_t i = 0;
  if (compiled_ && has_avx512() && vectors_enabled()) {
    for (; i + kBlock <= rows.rows(); i += kBlock)
      sum_block_avx512(rows.row(i).data(), rows.columns(), out + i);
  }
  for (; i < rows.rows(); ++i) out[i] = sum_row(rows.row(i).data());
}

#if defined(__x86_64__)

#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 sees it in its own header
#endif

#define SHRIKE_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

// The rank of a value: how many of its column's thresholds are <= it, so that `value < threshold j` is `rank
// <= j`. Full blocks of 16 are counted by their last thresholds, then one block is looked into.
SHRIKE_AVX512 void TreeScorer::rank_row_avx512(const float* row, uint16_t* ranks, size_t step) const {
  for (const Ranked& one : ranked_) {
    const float scalar = row[one.column];
    const __m512 value = _mm512_set1_ps(scalar);
    const float* const pivots = &pivots_[one.pivots];
    uint32_t block = 0;
    for (uint32_t v = 0; v < one.pivot_vectors; ++v) {
      block += static_cast<uint32_t>(std::popcount(
          static_cast<uint32_t>(_mm512_cmp_ps_mask(_mm512_loadu_ps(pivots + 16 * v), value, _CMP_LE_OQ))));
    }
    const __m512 inside = _mm512_loadu_ps(&thresholds_[one.thresholds + 16 * block]);
    const uint32_t rank =
        16 * block + static_cast<uint32_t>(
                         std::popcount(static_cast<uint32_t>(_mm512_cmp_ps_mask(inside, value, _CMP_LE_OQ))));
    const bool missing = scalar != scalar;
    if (one.left >= 0)
      ranks[static_cast<size_t>(one.left) * step] = static_cast<uint16_t>(missing ? 0 : rank);
    if (one.right >= 0)
      ranks[static_cast<size_t>(one.right) * step] = static_cast<uint16_t>(missing ? 65535 : rank);
  }
}

SHRIKE_AVX512 float TreeScorer::sum_row_avx512(const float* row) const {
  alignas(64) uint16_t ranks[kVirtualMax] = {};
  rank_row_avx512(row, ranks, 1);
  const __m512i r0 = _mm512_load_si512(ranks), r1 = _mm512_load_si512(ranks + 32);
  const __m512i r2 = _mm512_load_si512(ranks + 64), r3 = _mm512_load_si512(ranks + 96);
  const bool wide = virtuals_ > 64;
  const uint8_t* columns = test_virtual_.data();
  const uint16_t* tests = test_rank_.data();
  const float* leaves = leaves_.data();
  const size_t leaf_count = size_t{1} << depth_;
  const auto bits_of = [&](const uint8_t* at, const uint16_t* test) SHRIKE_AVX512 {
    const __m512i column = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
    __m512i value = _mm512_permutex2var_epi16(r0, column, r1);
    if (wide) {
      const __mmask32 upper = _mm512_test_epi16_mask(column, _mm512_set1_epi16(64));
      value = _mm512_mask_mov_epi16(value, upper, _mm512_permutex2var_epi16(r2, column, r3));
    }
    return _mm512_cmpgt_epu16_mask(value, _mm512_loadu_si512(test));
  };
  float sum = base_;
  for (size_t t = 0; t < trees_.size(); ++t) {
    uint64_t right = bits_of(columns, tests);
    if (slots_ == 64) right |= static_cast<uint64_t>(bits_of(columns + 32, tests + 32)) << 32;
    uint64_t node = 1;
    for (uint32_t d = 0; d < depth_; ++d) node = 2 * node + ((right >> node) & 1);
    sum += leaves[node - leaf_count];
    columns += slots_;
    tests += slots_;
    leaves += leaf_count;
  }
  return sum;
}

SHRIKE_AVX512 void TreeScorer::sum_block_avx512(const float* rows, size_t stride, float* out) const {
  alignas(64) uint16_t ranks[kVirtualMax * kBlock];
  for (size_t i = 0; i < kBlock; ++i) rank_row_avx512(rows + i * stride, ranks + i, kBlock);
  __m512 sums[4];
  for (__m512& one : sums) one = _mm512_set1_ps(base_);
  const size_t leaf_count = size_t{1} << depth_;
  uint64_t masks[64];
  uint64_t bits[kDepthMax];
  for (size_t t = 0; t < trees_.size(); ++t) {
    const uint8_t* columns = &test_virtual_[t * slots_];
    const uint16_t* tests = &test_rank_[t * slots_];
    for (size_t n = 1; n < leaf_count; ++n) {
      const __m512i test = _mm512_set1_epi16(static_cast<int16_t>(tests[n]));
      const uint16_t* of = ranks + columns[n] * kBlock;
      const __mmask32 low = _mm512_cmpgt_epu16_mask(_mm512_load_si512(of), test);
      const __mmask32 high = _mm512_cmpgt_epu16_mask(_mm512_load_si512(of + 32), test);
      masks[n] = _mm512_kunpackd(high, low);
    }
    // Level d: 2^d masks shrink to one, chosen by the bits of the levels above, the deepest first.
    for (uint32_t d = 0; d < depth_; ++d) {
      uint64_t* level = masks + (size_t{1} << d);
      for (uint32_t above = d; above-- > 0;) {
        for (size_t k = 0; k < size_t{1} << above; ++k)
          level[k] = (bits[above] & level[2 * k + 1]) | (~bits[above] & level[2 * k]);
      }
      bits[d] = level[0];
    }
    for (size_t quarter = 0; quarter < 4; ++quarter) {
      __m512i index = _mm512_setzero_si512();
      for (uint32_t d = 0; d < depth_; ++d) {
        const auto here = static_cast<__mmask16>(bits[d] >> (16 * quarter));
        index = _mm512_mask_or_epi32(index, here, index, _mm512_set1_epi32(1 << (depth_ - 1 - d)));
      }
      sums[quarter] = _mm512_add_ps(sums[quarter], _mm512_i32gather_ps(index, &leaves_[t * leaf_count], 4));
    }
  }
  for (size_t quarter = 0; quarter < 4; ++quarter) _mm512_storeu_ps(out + 16 * quarter, sums[quarter]);
}

#else

float TreeScorer::sum_row_avx512(const float* row) const { return sum_of_leaves(base_, trees_, row); }
void TreeScorer::sum_block_avx512(const float* rows, size_t stride, float* out) const {
  for (size_t i = 0; i < kBlock; ++i) out[i] = sum_of_leaves(base_, trees_, rows + i * stride);
}

#endif

}  // namespace shrike::learners
