#include "learners/trees/masks.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace shrike::learners {

namespace {

// The thresholds that numeric nodes test, rising, without repetition, by column.
std::vector<std::vector<float>> thresholds_by_column(std::span<const Tree> trees, size_t columns) {
  std::vector<std::vector<float>> by_column(columns);
  for (const Tree& tree : trees) {
    for (const TreeNode& node : tree.nodes) {
      if (!node.is_leaf() && !node.is_categorical())
        by_column[static_cast<size_t>(node.column)].push_back(node.value);
    }
  }
  for (std::vector<float>& thresholds : by_column) {
    std::sort(thresholds.begin(), thresholds.end());
    thresholds.erase(std::unique(thresholds.begin(), thresholds.end()), thresholds.end());
  }
  return by_column;
}

// With infinity to a whole block of 16.
void pad(std::vector<float>& to) {
  while (to.size() % 16 != 0) to.push_back(std::numeric_limits<float>::infinity());
}

}  // namespace

bool TreeMasks::compile(std::span<const Tree> trees, size_t columns, const CategoryIndex& categories) {
  for (const Tree& tree : trees) depth_ = std::max(depth_, tree.depth());
  if (trees.empty() || depth_ == 0 || depth_ > kDepthMax) return false;
  trees_ = trees.size();
  slots_ = std::max(size_t{32}, size_t{1} << depth_);
  if (trees_ * slots_ > kTestsMax) return false;
  const std::vector<std::vector<float>> thresholds = thresholds_by_column(trees, columns);
  if (!rank_columns(thresholds) || !make_set_rows(categories)) return false;
  const size_t leaf_count = size_t{1} << depth_;
  test_virtual_.assign(trees_ * slots_, 0);
  test_rank_.assign(trees_ * slots_, 65535);  // never right
  leaves_.assign(trees_ * leaf_count, 0);
  if (std::any_of(trees.begin(), trees.end(), [](const Tree& tree) { return !tree.exact.empty(); }))
    exact_.assign(trees_ * leaf_count, 0);
  for (size_t t = 0; t < trees_; ++t) {
    if (!lay_out(trees[t], t, thresholds)) return false;
  }
  if (fits_row()) {
    for (const uint16_t column : test_virtual_) test_row_virtual_.push_back(static_cast<uint8_t>(column));
  }
  return true;
}

bool TreeMasks::rank_columns(std::span<const std::vector<float>> thresholds) {
  for (uint32_t c = 0; c < thresholds.size(); ++c) {
    const std::vector<float>& rising = thresholds[c];
    if (rising.empty()) continue;
    if (rising.size() > kThresholdsMax) return false;
    Ranked ranked{.column = c,
                  .thresholds = static_cast<uint32_t>(thresholds_.size()),
                  .pivots = static_cast<uint32_t>(pivots_.size())};
    thresholds_.insert(thresholds_.end(), rising.begin(), rising.end());
    pad(thresholds_);
    for (size_t last = ranked.thresholds + 15; last < thresholds_.size(); last += 16)
      pivots_.push_back(thresholds_[last]);
    pad(pivots_);
    ranked.pivot_vectors = static_cast<uint32_t>(pivots_.size() - ranked.pivots) / 16;
    ranked_.push_back(ranked);
    if (ranked_.size() > kVirtualMax) return false;  // each becomes one virtual column at least
    // A value of infinity counts every pivot: the block after the last is read.
    thresholds_.resize(thresholds_.size() + 16 * 16, std::numeric_limits<float>::infinity());
  }
  return true;
}

bool TreeMasks::make_set_rows(const CategoryIndex& categories) {
  categories_ = categories;
  size_t rows = 0;
  for (size_t view = 0; view < categories_.views(); ++view) {
    set_rows_.push_back(rows);
    rows += categories_.numbers(view) + 1;
  }
  if (rows * trees_ > kSetBitsMax) return false;
  set_bits_.assign(rows * trees_, 0);
  return true;
}

// A leaf above the lowest level fills all that lies below it.
bool TreeMasks::lay_out(const Tree& tree, size_t t, std::span<const std::vector<float>> thresholds) {
  const size_t leaf_count = size_t{1} << depth_;
  std::vector<uint32_t> at(2 * leaf_count, 0);  // heap position -> node
  for (size_t heap = 1; heap < leaf_count; ++heap) {
    const TreeNode& node = tree.nodes[at[heap]];
    if (node.is_leaf()) {
      at[2 * heap] = at[2 * heap + 1] = at[heap];
      continue;
    }
    at[2 * heap] = node.left;
    at[2 * heap + 1] = node.left + 1;
    if (node.is_categorical())
      add_set(tree, node, t, heap);
    else
      add_threshold(node, t, heap, thresholds[static_cast<size_t>(node.column)]);
    if (virtuals_ > kVirtualMax) return false;
  }
  for (size_t i = 0; i < leaf_count; ++i) {
    const uint32_t leaf = at[leaf_count + i];
    const float value = tree.nodes[leaf].value;
    leaves_[t * leaf_count + i] = value;
    if (!exact_.empty())
      exact_[t * leaf_count + i] = tree.exact.empty() ? static_cast<double>(value) : tree.exact[leaf];
  }
  return true;
}

void TreeMasks::add_threshold(const TreeNode& node, size_t t, size_t heap, const std::vector<float>& rising) {
  const auto ranked =
      std::lower_bound(ranked_.begin(), ranked_.end(), static_cast<uint32_t>(node.column),
                       [](const Ranked& candidate, uint32_t column) { return candidate.column < column; });
  int16_t& seen_as = virtual_of(*ranked, node);
  if (seen_as < 0) seen_as = static_cast<int16_t>(virtuals_++);
  const auto rank = std::lower_bound(rising.begin(), rising.end(), node.value) - rising.begin();
  test_virtual_[t * slots_ + heap] = static_cast<uint16_t>(seen_as);
  test_rank_[t * slots_ + heap] = static_cast<uint16_t>(rank);
}

int16_t& TreeMasks::virtual_of(Ranked& ranked, const TreeNode& node) const {
  if (node.test == SplitTest::kBelowZeroMissing)
    return node.missing_left ? ranked.zero_left : ranked.zero_right;
  return node.missing_left ? ranked.left : ranked.right;
}

void TreeMasks::add_set(const Tree& tree, const TreeNode& node, size_t t, size_t heap) {
  const size_t view = categories_.view_of(node);
  const auto word = [&](size_t row) -> uint64_t& { return set_bits_[(set_rows_[view] + row) * trees_ + t]; };
  const uint64_t bit = uint64_t{1} << heap;
  if (!node.missing_left) word(0) |= bit;
  for (size_t number = 0; number < categories_.numbers(view); ++number) word(1 + number) |= bit;
  categories_.for_each_number(tree, node, [&](uint32_t number) { word(1 + number) &= ~bit; });
}

size_t TreeMasks::find_set_bits(const float* row, const uint64_t** bits) const {
  for (size_t view = 0; view < set_rows_.size(); ++view) {
    const float v = row[categories_.column(view)];
    const size_t at = set_rows_[view] + (v != v ? 0 : 1 + categories_.number(view, v));
    bits[view] = &set_bits_[at * trees_];
  }
  return set_rows_.size();
}

template <>
const float* TreeMasks::leaves<float>() const {
  return leaves_.data();
}
template <>
const double* TreeMasks::leaves<double>() const {
  return exact_.data();
}

#if defined(__x86_64__)

#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 sees it in its own header
#endif

#define SHRIKE_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,popcnt")))
#define SHRIKE_AVX2 __attribute__((target("avx2,popcnt")))

namespace {

// Writes a column's rank to its virtual columns, of which it has up to four.
template <typename Ranked>
inline void place(const Ranked& ranked, float value, uint32_t rank, uint16_t flip, uint16_t* ranks,
                  size_t step) {
  const bool missing = value != value;
  const auto put = [&](int16_t seen_as, bool is_missing, uint32_t as) {
    if (seen_as >= 0)
      ranks[static_cast<size_t>(seen_as) * step] = static_cast<uint16_t>((is_missing ? as : rank) ^ flip);
  };
  put(ranked.left, missing, 0);
  put(ranked.right, missing, 65535);
  if (ranked.zero_left < 0 && ranked.zero_right < 0) return;
  const bool none = missing || (value >= -Tree::kZero && value <= Tree::kZero);
  put(ranked.zero_left, none, 0);
  put(ranked.zero_right, none, 65535);
}

// Level d: 2^d masks over rows shrink to one, chosen by the bits of the levels above, the deepest first.
inline void merge_levels(uint64_t* masks, uint64_t* bits, uint32_t depth) {
  for (uint32_t d = 0; d < depth; ++d) {
    uint64_t* level = masks + (size_t{1} << d);
    for (uint32_t above = d; above-- > 0;) {
      for (size_t k = 0; k < size_t{1} << above; ++k)
        level[k] = (bits[above] & level[2 * k + 1]) | (~bits[above] & level[2 * k]);
    }
    bits[d] = level[0];
  }
}

// Of 64 words: bit k of word i and bit i of word k change places.
inline void transpose(uint64_t* words) {
  uint64_t low = 0xFFFFFFFF;
  for (size_t half = 32; half > 0; half /= 2, low ^= low << half) {
    for (size_t from = 0; from < 64; from += 2 * half) {
      for (size_t k = from; k < from + half; ++k) {
        const uint64_t swapped = ((words[k] >> half) ^ words[k + half]) & low;
        words[k] ^= swapped << half;
        words[k + half] ^= swapped;
      }
    }
  }
}

// The tests of tree t that ask for sets, as masks over rows: bit b is that of the row whose words `rows` has
// at b, for each of the views.
inline void add_sets(const uint64_t* const* rows, size_t views, size_t t, size_t tests, uint64_t* masks) {
  uint64_t words[64];
  uint64_t any = 0;
  for (size_t b = 0; b < 64; ++b) {
    words[b] = 0;
    for (size_t view = 0; view < views; ++view) words[b] |= rows[b * views + view][t];
    any |= words[b];
  }
  if (any == 0) return;
  transpose(words);
  for (size_t k = 1; k < tests; ++k) masks[k] |= words[k];
}

}  // namespace

// The rank of a value: how many of its column's thresholds are <= it, so that `value < threshold j` is `rank
// <= j`. Full blocks of 16 are counted by their last thresholds, then one block is looked into.
SHRIKE_AVX512 void TreeMasks::rank_row_avx512(const float* row, uint16_t* ranks, size_t step) const {
  const auto count = [](const float* from, __m512 value) SHRIKE_AVX512 {
    return static_cast<uint32_t>(
        std::popcount(static_cast<uint32_t>(_mm512_cmp_ps_mask(_mm512_loadu_ps(from), value, _CMP_LE_OQ))));
  };
  for (const Ranked& ranked : ranked_) {
    const float scalar = row[ranked.column];
    const __m512 value = _mm512_set1_ps(scalar);
    uint32_t block = 0;
    for (uint32_t v = 0; v < ranked.pivot_vectors; ++v)
      block += count(&pivots_[ranked.pivots + 16 * v], value);
    const uint32_t rank = 16 * block + count(&thresholds_[ranked.thresholds + 16 * block], value);
    place(ranked, scalar, rank, 0, ranks, step);
  }
}

// Ranks with their top bit flipped: AVX2 compares 16-bit integers as signed ones only.
SHRIKE_AVX2 void TreeMasks::rank_row_avx2(const float* row, uint16_t* ranks, size_t step) const {
  const auto count = [](const float* from, __m256 value) SHRIKE_AVX2 {
    const int low = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(from), value, _CMP_LE_OQ));
    const int high = _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(from + 8), value, _CMP_LE_OQ));
    return static_cast<uint32_t>(std::popcount(static_cast<uint32_t>(low | high << 8)));
  };
  for (const Ranked& ranked : ranked_) {
    const float scalar = row[ranked.column];
    const __m256 value = _mm256_set1_ps(scalar);
    uint32_t block = 0;
    for (uint32_t v = 0; v < ranked.pivot_vectors; ++v)
      block += count(&pivots_[ranked.pivots + 16 * v], value);
    const uint32_t rank = 16 * block + count(&thresholds_[ranked.thresholds + 16 * block], value);
    place(ranked, scalar, rank, 0x8000, ranks, step);
  }
}

template <typename Sum>
SHRIKE_AVX512 Sum TreeMasks::sum_row_avx512(Sum base, const float* row) const {
  alignas(64) uint16_t ranks[kRowVirtualMax] = {};
  rank_row_avx512(row, ranks, 1);
  const __m512i r0 = _mm512_load_si512(ranks), r1 = _mm512_load_si512(ranks + 32);
  const __m512i r2 = _mm512_load_si512(ranks + 64), r3 = _mm512_load_si512(ranks + 96);
  const bool wide = virtuals_ > 64;
  const uint8_t* columns = test_row_virtual_.data();
  const uint16_t* tests = test_rank_.data();
  const Sum* leaf = leaves<Sum>();
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
  const uint64_t* sets[CategoryIndex::kViewsMax];
  const size_t views = find_set_bits(row, sets);
  const auto add_up = [&](auto has_sets) SHRIKE_AVX512 {
    Sum sum = base;
    for (size_t t = 0; t < trees_; ++t) {
      uint64_t right = bits_of(columns, tests);
      if (slots_ == 64) right |= static_cast<uint64_t>(bits_of(columns + 32, tests + 32)) << 32;
      if constexpr (has_sets) {
        for (size_t view = 0; view < views; ++view) right |= sets[view][t];
      }
      uint64_t node = 1;
      for (uint32_t d = 0; d < depth_; ++d) node = 2 * node + ((right >> node) & 1);
      sum += leaf[node - leaf_count];
      columns += slots_;
      tests += slots_;
      leaf += leaf_count;
    }
    return sum;
  };
  return views > 0 ? add_up(std::true_type{}) : add_up(std::false_type{});
}

template <typename Sum>
SHRIKE_AVX512 void TreeMasks::sum_block_avx512(Sum base, const float* rows, size_t stride, size_t n,
                                               Sum* out) const {
  alignas(64) uint16_t ranks[kVirtualMax * kBlock];
  const uint64_t* sets[kBlock * CategoryIndex::kViewsMax];
  const size_t views = set_rows_.size();
  for (size_t i = 0; i < n; ++i) {
    rank_row_avx512(rows + i * stride, ranks + i, kBlock);
    find_set_bits(rows + i * stride, sets + i * views);
  }
  for (size_t i = n; i < kBlock && views > 0; ++i) std::copy_n(sets, views, sets + i * views);
  constexpr size_t kLanes = 64 / sizeof(Sum), kGroups = kBlock / kLanes;
  alignas(64) Sum sums[kBlock];
  std::fill_n(sums, kBlock, base);
  const size_t leaf_count = size_t{1} << depth_;
  uint64_t masks[64];
  uint64_t bits[kDepthMax];
  for (size_t t = 0; t < trees_; ++t) {
    const uint16_t* columns = &test_virtual_[t * slots_];
    const uint16_t* tests = &test_rank_[t * slots_];
    for (size_t k = 1; k < leaf_count; ++k) {
      const __m512i test = _mm512_set1_epi16(static_cast<int16_t>(tests[k]));
      const uint16_t* of = ranks + columns[k] * kBlock;
      const __mmask32 low = _mm512_cmpgt_epu16_mask(_mm512_load_si512(of), test);
      const __mmask32 high = _mm512_cmpgt_epu16_mask(_mm512_load_si512(of + 32), test);
      masks[k] = _mm512_kunpackd(high, low);
    }
    if (views > 0) add_sets(sets, views, t, leaf_count, masks);
    merge_levels(masks, bits, depth_);
    const Sum* leaf = leaves<Sum>() + t * leaf_count;
    for (size_t group = 0; group < kGroups; ++group) {
      if constexpr (sizeof(Sum) == 4) {
        __m512i index = _mm512_setzero_si512();
        for (uint32_t d = 0; d < depth_; ++d) {
          const auto here = static_cast<__mmask16>(bits[d] >> (kLanes * group));
          index = _mm512_mask_or_epi32(index, here, index, _mm512_set1_epi32(1 << (depth_ - 1 - d)));
        }
        float* const to = sums + kLanes * group;
        _mm512_store_ps(to, _mm512_add_ps(_mm512_load_ps(to), _mm512_i32gather_ps(index, leaf, 4)));
      } else {
        __m512i index = _mm512_setzero_si512();
        for (uint32_t d = 0; d < depth_; ++d) {
          const auto here = static_cast<__mmask8>(bits[d] >> (kLanes * group));
          index = _mm512_mask_or_epi64(index, here, index, _mm512_set1_epi64(1 << (depth_ - 1 - d)));
        }
        double* const to = sums + kLanes * group;
        _mm512_store_pd(to, _mm512_add_pd(_mm512_load_pd(to), _mm512_i64gather_pd(index, leaf, 8)));
      }
    }
  }
  std::copy_n(sums, n, out);
}

template <typename Sum>
SHRIKE_AVX2 void TreeMasks::sum_block_avx2(Sum base, const float* rows, size_t stride, size_t n,
                                           Sum* out) const {
  alignas(64) uint16_t ranks[kVirtualMax * kBlock];
  // Packing, below, interleaves: these rows begin the bytes of a mask.
  constexpr size_t kRowsOf[8] = {0, 16, 8, 24, 32, 48, 40, 56};
  const uint64_t* sets[kBlock * CategoryIndex::kViewsMax];
  const size_t views = set_rows_.size();
  for (size_t i = 0; i < n; ++i) rank_row_avx2(rows + i * stride, ranks + i, kBlock);
  for (size_t b = 0; b < kBlock && views > 0; ++b) {
    const size_t i = kRowsOf[b / 8] + b % 8;
    find_set_bits(rows + (i < n ? i : 0) * stride, sets + b * views);
  }
  alignas(64) Sum sums[kBlock];
  std::fill_n(sums, kBlock, base);
  const size_t leaf_count = size_t{1} << depth_;
  uint64_t masks[64];
  uint64_t bits[kDepthMax];
  const __m256i lane_bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  for (size_t t = 0; t < trees_; ++t) {
    const uint16_t* columns = &test_virtual_[t * slots_];
    const uint16_t* tests = &test_rank_[t * slots_];
    for (size_t k = 1; k < leaf_count; ++k) {
      const __m256i test = _mm256_set1_epi16(static_cast<int16_t>(tests[k] ^ 0x8000));
      const auto* of = reinterpret_cast<const __m256i*>(ranks + columns[k] * kBlock);
      const auto half = [&](const __m256i* from) SHRIKE_AVX2 {
        const __m256i low = _mm256_cmpgt_epi16(_mm256_load_si256(from), test);
        const __m256i high = _mm256_cmpgt_epi16(_mm256_load_si256(from + 1), test);
        return static_cast<uint64_t>(
            static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_packs_epi16(low, high))));
      };
      masks[k] = half(of) | half(of + 2) << 32;
    }
    if (views > 0) add_sets(sets, views, t, leaf_count, masks);
    merge_levels(masks, bits, depth_);
    const Sum* leaf = leaves<Sum>() + t * leaf_count;
    for (size_t group = 0; group < 8; ++group) {
      __m256i index = _mm256_setzero_si256();
      for (uint32_t d = 0; d < depth_; ++d) {
        const __m256i here = _mm256_and_si256(
            _mm256_set1_epi32(static_cast<int32_t>(bits[d] >> (8 * group) & 255)), lane_bits);
        const __m256i right = _mm256_cmpeq_epi32(here, lane_bits);
        index = _mm256_sub_epi32(_mm256_add_epi32(index, index), right);
      }
      Sum* const to = sums + kRowsOf[group];
      if constexpr (sizeof(Sum) == 4) {
        _mm256_store_ps(to, _mm256_add_ps(_mm256_load_ps(to), _mm256_i32gather_ps(leaf, index, 4)));
      } else {
        const __m128i low = _mm256_castsi256_si128(index), high = _mm256_extracti128_si256(index, 1);
        _mm256_store_pd(to, _mm256_add_pd(_mm256_load_pd(to), _mm256_i32gather_pd(leaf, low, 8)));
        _mm256_store_pd(to + 4, _mm256_add_pd(_mm256_load_pd(to + 4), _mm256_i32gather_pd(leaf, high, 8)));
      }
    }
  }
  std::copy_n(sums, n, out);
}

#else

// Never called: no kernel is chosen there.
template <typename Sum>
Sum TreeMasks::sum_row_avx512(Sum base, const float*) const {
  return base;
}
template <typename Sum>
void TreeMasks::sum_block_avx512(Sum, const float*, size_t, size_t, Sum*) const {}
template <typename Sum>
void TreeMasks::sum_block_avx2(Sum, const float*, size_t, size_t, Sum*) const {}

#endif

template float TreeMasks::sum_row_avx512(float, const float*) const;
template double TreeMasks::sum_row_avx512(double, const float*) const;
template void TreeMasks::sum_block_avx512(float, const float*, size_t, size_t, float*) const;
template void TreeMasks::sum_block_avx512(double, const float*, size_t, size_t, double*) const;
template void TreeMasks::sum_block_avx2(float, const float*, size_t, size_t, float*) const;
template void TreeMasks::sum_block_avx2(double, const float*, size_t, size_t, double*) const;

}  // namespace shrike::learners
