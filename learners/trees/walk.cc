// The walk with Highway. Every lane decides as Tree::goes_left does and sums in the same order, so the bits
// are those of the scalar reference on every instruction set.
// Compiled only for the instruction sets that have gathers: without them walking the nodes is faster.
// Not for SVE, whose vectors have no size at compile time: Arm has NEON here.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "learners/trees/walk.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "learners/trees/walk.h"

HWY_BEFORE_NAMESPACE();
namespace shrike::learners {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <typename Sum>
HWY_INLINE Sum Leaf(const TreeWalk& walk, int32_t at) {
  if constexpr (sizeof(Sum) == sizeof(double))
    return walk.exact[static_cast<size_t>(at)];
  else
    return walk.values[static_cast<size_t>(at)];
}

constexpr size_t kLanesMax = 16;
const hn::CappedTag<float, kLanesMax> kFloats;
const hn::RebindToSigned<decltype(kFloats)> kInts;
const hn::RebindToUnsigned<decltype(kFloats)> kUnsigned;
using F = hn::Vec<decltype(kFloats)>;
using I = hn::Vec<decltype(kInts)>;
using U = hn::Vec<decltype(kUnsigned)>;
using M = hn::Mask<decltype(kFloats)>;
constexpr size_t kVectors = 4;  // walked side by side: the gathers of one hide behind those of others

// The numbers of a row's categories, view by view.
HWY_INLINE void Numbers(const TreeWalk& walk, const float* row, int32_t* numbers) {
  for (size_t v = 0; v < walk.categories.views(); ++v)
    numbers[v] = static_cast<int32_t>(walk.categories.number(v, row[walk.categories.column(v)]));
}

// Which lanes go left, nodes of categories and of zero as missing among them. `first`: where the numbers of
// the lanes' rows begin.
HWY_ATTR HWY_NOINLINE M LeftRare(const TreeWalk& walk, F v, F value, U packed, M missing, M missing_left,
                                 const int32_t* numbers, I first) {
  const U test = hn::And(packed, hn::Set(kUnsigned, 3));
  const auto is = [&](TreeWalk::Test which) HWY_ATTR {
    return hn::RebindMask(kFloats, hn::Eq(test, hn::Set(kUnsigned, static_cast<uint32_t>(which))));
  };
  const M zero = hn::Le(hn::Abs(v), hn::Set(kFloats, Tree::kZero));
  missing = hn::Or(missing, hn::And(zero, is(TreeWalk::kBelowZeroMissing)));
  M left = hn::AndNot(missing, hn::Lt(v, value));
  const M member = is(TreeWalk::kMember);
  if (!hn::AllFalse(kFloats, member)) {
    // Lanes of other tests look into what stands at 0: the first view, and no set.
    const I set = hn::IfThenElseZero(hn::RebindMask(kInts, member), hn::BitCast(kInts, value));
    const I view = hn::GatherIndex(kInts, walk.sets.data(), set);
    const I number = hn::GatherIndex(kInts, numbers, hn::Add(first, view));
    const I word = hn::IfThenElseZero(hn::RebindMask(kInts, member), hn::ShiftRight<5>(number));
    const I at = hn::Add(hn::Add(set, word), hn::Set(kInts, 1));
    const U bits = hn::BitCast(kUnsigned, hn::GatherIndex(kInts, walk.sets.data(), at));
    const U shift = hn::BitCast(kUnsigned, hn::And(number, hn::Set(kInts, 31)));
    const U one = hn::Set(kUnsigned, 1);
    const auto has = hn::RebindMask(kFloats, hn::Eq(hn::And(hn::Shr(bits, shift), one), one));
    left = hn::Or(hn::AndNot(member, left), hn::And(member, has));
  }
  return hn::Or(left, hn::And(missing, missing_left));
}

// One level down, in every lane; false when all stand on leaves. `first`: where the lanes' rows lie, and the
// numbers of their categories.
template <bool plain>
HWY_ATTR HWY_INLINE bool Step(const TreeWalk& walk, const float* rows, I first, const int32_t* numbers,
                              I first_number, I& at) {
  const auto* packed_at = reinterpret_cast<const int32_t*>(walk.packed.data());
  const U packed = hn::BitCast(kUnsigned, hn::GatherIndex(kInts, packed_at, at));
  const I offset = hn::BitCast(kInts, hn::ShiftRight<14>(packed));
  const auto leaf = hn::Eq(offset, hn::Zero(kInts));
  if (hn::AllTrue(kInts, leaf)) return false;
  const F value = hn::GatherIndex(kFloats, walk.values.data(), at);
  const I column = hn::BitCast(kInts, hn::And(hn::ShiftRight<3>(packed), hn::Set(kUnsigned, 2047)));
  const F v = hn::GatherIndex(kFloats, rows, hn::Add(first, column));
  const M missing = hn::IsNaN(v);
  const M missing_left = hn::RebindMask(kFloats, hn::TestBit(packed, hn::Set(kUnsigned, 4)));
  M left = hn::Or(hn::Lt(v, value), hn::And(missing, missing_left));
  if constexpr (!plain) {
    if (!hn::AllFalse(kUnsigned, hn::TestBit(packed, hn::Set(kUnsigned, 1))) ||
        !hn::AllFalse(kUnsigned, hn::TestBit(packed, hn::Set(kUnsigned, 2))))
      left = LeftRare(walk, v, value, packed, missing, missing_left, numbers, first_number);
  }
  const I right = hn::IfThenElseZero(hn::Not(hn::Or(hn::RebindMask(kInts, left), leaf)), hn::Set(kInts, 1));
  at = hn::Add(at, hn::Add(offset, right));
  return true;
}

// Walks kVectors vectors of lanes to their leaves.
template <bool plain, size_t vectors>
HWY_ATTR HWY_INLINE void Walk(const TreeWalk& walk, const float* rows, const I (&first)[vectors],
                              const int32_t* numbers, const I (&first_number)[vectors], I (&at)[vectors]) {
  for (bool more = true; more;) {
    more = false;
#pragma GCC unroll 4
    for (size_t k = 0; k < vectors; ++k)
      more |= Step<plain>(walk, rows, first[k], numbers, first_number[k], at[k]);
  }
}

template <bool plain, typename Sum>
HWY_ATTR Sum RowSum(const TreeWalk& walk, Sum base, const float* row) {
  const size_t lanes = hn::Lanes(kInts);
  const I first[kVectors] = {hn::Zero(kInts), hn::Zero(kInts), hn::Zero(kInts), hn::Zero(kInts)};
  int32_t found[kVectors * kLanesMax], numbers[CategoryIndex::kViewsMax];
  if constexpr (!plain) Numbers(walk, row, numbers);
  Sum sum = base;
  for (size_t t = 0; t < walk.trees; t += kVectors * lanes) {
    I at[kVectors];
    for (size_t k = 0; k < kVectors; ++k) at[k] = hn::LoadU(kInts, &walk.roots[t + k * lanes]);
    Walk<plain>(walk, row, first, numbers, first, at);
    for (size_t k = 0; k < kVectors; ++k) hn::StoreU(at[k], kInts, found + k * lanes);
    const size_t count = std::min(kVectors * lanes, walk.trees - t);
    for (size_t i = 0; i < count; ++i) sum += Leaf<Sum>(walk, found[i]);
  }
  return sum;
}

// Rows in lanes pay off only when all vectors are full (measured): the rest is summed row by row.
template <bool plain, typename Sum>
HWY_ATTR void RowsSum(const TreeWalk& walk, Sum base, const float* rows, size_t stride, size_t n, Sum* out) {
  const size_t lanes = hn::Lanes(kInts), block = kVectors * lanes;
  const size_t views = walk.categories.views();
  I first[kVectors], first_number[kVectors];
  for (size_t k = 0; k < kVectors; ++k) {
    const I lane = hn::Iota(kInts, static_cast<int32_t>(k * lanes));
    first[k] = hn::Mul(lane, hn::Set(kInts, static_cast<int32_t>(stride)));
    first_number[k] = hn::Mul(lane, hn::Set(kInts, static_cast<int32_t>(views)));
  }
  int32_t found[kVectors * kLanesMax];
  int32_t numbers[plain ? 1 : kVectors * kLanesMax * CategoryIndex::kViewsMax];
  size_t i = 0;
  for (; i + block <= n; i += block) {
    std::fill_n(out + i, block, base);
    if constexpr (!plain) {
      for (size_t j = 0; j < block; ++j) Numbers(walk, rows + (i + j) * stride, numbers + j * views);
    }
    for (size_t t = 0; t < walk.trees; ++t) {
      I at[kVectors];
      for (size_t k = 0; k < kVectors; ++k) at[k] = hn::Set(kInts, walk.roots[t]);
      Walk<plain>(walk, rows + i * stride, first, numbers, first_number, at);
      for (size_t k = 0; k < kVectors; ++k) hn::StoreU(at[k], kInts, found + k * lanes);
      for (size_t j = 0; j < block; ++j) out[i + j] += Leaf<Sum>(walk, found[j]);
    }
  }
  for (; i < n; ++i) out[i] = RowSum<plain>(walk, base, rows + i * stride);
}

HWY_ATTR float RowFloat(const TreeWalk& walk, float base, const float* row) {
  return walk.plain ? RowSum<true>(walk, base, row) : RowSum<false>(walk, base, row);
}
HWY_ATTR double RowDouble(const TreeWalk& walk, double base, const float* row) {
  return walk.plain ? RowSum<true>(walk, base, row) : RowSum<false>(walk, base, row);
}
HWY_ATTR void RowsFloat(const TreeWalk& walk, float base, const float* rows, size_t stride, size_t n,
                        float* out) {
  walk.plain ? RowsSum<true>(walk, base, rows, stride, n, out)
             : RowsSum<false>(walk, base, rows, stride, n, out);
}
HWY_ATTR void RowsDouble(const TreeWalk& walk, double base, const float* rows, size_t stride, size_t n,
                         double* out) {
  walk.plain ? RowsSum<true>(walk, base, rows, stride, n, out)
             : RowsSum<false>(walk, base, rows, stride, n, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace shrike::learners
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <bit>

namespace shrike::learners {

HWY_EXPORT(RowFloat);
HWY_EXPORT(RowDouble);
HWY_EXPORT(RowsFloat);
HWY_EXPORT(RowsDouble);

bool TreeWalk::compile(std::span<const Tree> all, size_t columns, const CategoryIndex& index) {
  size_t nodes = 1;
  for (const Tree& tree : all) nodes += tree.nodes.size();
  if (columns > kColumnsMax || nodes > size_t{1} << 30) return false;
  trees = all.size();
  values.assign(1, 0);  // the leaf at which groups are filled up
  packed.assign(1, 0);
  sets.assign(2, 0);
  categories = index;
  const bool doubles =
      std::any_of(all.begin(), all.end(), [](const Tree& tree) { return !tree.exact.empty(); });
  if (doubles) exact.assign(1, 0);
  for (const Tree& tree : all) {
    roots.push_back(static_cast<int32_t>(values.size()));
    for (size_t i = 0; i < tree.nodes.size(); ++i) {
      const TreeNode& node = tree.nodes[i];
      if (doubles) exact.push_back(tree.exact.empty() ? static_cast<double>(node.value) : tree.exact[i]);
      if (node.is_leaf()) {
        values.push_back(node.value);
        packed.push_back(0);
        continue;
      }
      const size_t offset = node.left - i;
      if (offset >= kOffsetMax) return false;
      plain &= node.test == SplitTest::kBelow;
      if (node.is_categorical()) {
        const size_t view = categories.view_of(node), begin = sets.size() + 1;
        values.push_back(std::bit_cast<float>(static_cast<uint32_t>(sets.size())));
        sets.push_back(static_cast<int32_t>(view));
        sets.resize(begin + categories.numbers(view) / 32 + 1, 0);
        if (sets.size() > kSetWordsMax) return false;
        categories.for_each_number(tree, node, [&](uint32_t number) {
          sets[begin + number / 32] |= static_cast<int32_t>(1u << (number % 32));
        });
      } else {
        values.push_back(node.value);
      }
      const Test test = node.is_categorical()                       ? kMember
                        : node.test == SplitTest::kBelowZeroMissing ? kBelowZeroMissing
                                                                    : kBelow;
      packed.push_back(test | (node.missing_left ? 4u : 0u) | static_cast<uint32_t>(node.column) << 3 |
                       static_cast<uint32_t>(offset) << 14);
    }
  }
  roots.resize((trees + kGroup - 1) / kGroup * kGroup, 0);
  return true;
}

float TreeWalk::sum_row(float base, const float* row) const {
  return HWY_DYNAMIC_DISPATCH(RowFloat)(*this, base, row);
}
double TreeWalk::sum_row(double base, const float* row) const {
  return HWY_DYNAMIC_DISPATCH(RowDouble)(*this, base, row);
}
void TreeWalk::sum_rows(float base, MatrixView rows, float* out) const {
  HWY_DYNAMIC_DISPATCH(RowsFloat)(*this, base, rows.data(), rows.columns(), rows.rows(), out);
}
void TreeWalk::sum_rows(double base, MatrixView rows, double* out) const {
  HWY_DYNAMIC_DISPATCH(RowsDouble)(*this, base, rows.data(), rows.columns(), rows.rows(), out);
}

}  // namespace shrike::learners
#endif
