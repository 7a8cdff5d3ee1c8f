// The walk with Highway. Every lane decides as Tree::goes_left does and sums in the same order, so the bits
// are those of the scalar reference on every instruction set.
// Compiled only for the instruction sets that have gathers: without them walking the nodes is faster.
// Not for SVE, whose vectors have no size at compile time: Arm has NEON here.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "learners/tree_walk.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "learners/tree_walk.h"

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

// Which lanes go left, nodes of categories and of zero as missing among them.
HWY_ATTR HWY_NOINLINE M LeftRare(const TreeWalk& walk, F v, F value, U packed, M missing, M missing_left) {
  const U test = hn::And(packed, hn::Set(kUnsigned, 3));
  const auto is = [&](SplitTest which) HWY_ATTR {
    return hn::RebindMask(kFloats, hn::Eq(test, hn::Set(kUnsigned, static_cast<uint32_t>(which))));
  };
  const M zero = hn::Le(hn::Abs(v), hn::Set(kFloats, Tree::kZero));
  missing = hn::Or(missing, hn::And(zero, is(SplitTest::kBelowZeroMissing)));
  const M below = hn::AndNot(missing, hn::Lt(v, value));
  const M member = is(SplitTest::kMember), toward = is(SplitTest::kMemberTowardZero);
  const M categorical = hn::Or(member, toward);
  const M top = hn::Lt(v, hn::Set(kFloats, static_cast<float>(Tree::kCategoriesMax)));
  const M from = hn::Or(hn::Ge(v, hn::Zero(kFloats)), hn::And(toward, hn::Gt(v, hn::Set(kFloats, -1.0f))));
  const M valid = hn::And(categorical, hn::And(top, from));
  const I category = hn::ConvertTo(kInts, hn::IfThenElseZero(valid, v));
  const I set = hn::IfThenElseZero(hn::RebindMask(kInts, categorical), hn::BitCast(kInts, value));
  const I word = hn::ShiftRight<5>(category);
  const I size = hn::GatherIndex(kInts, walk.sets.data(), set);
  const auto inside = hn::And(hn::RebindMask(kInts, valid), hn::Lt(word, size));
  const I at = hn::IfThenElseZero(inside, hn::Add(hn::Add(set, word), hn::Set(kInts, 1)));
  const U bits = hn::BitCast(kUnsigned, hn::GatherIndex(kInts, walk.sets.data(), at));
  const U shift = hn::BitCast(kUnsigned, hn::And(category, hn::Set(kInts, 31)));
  const U one = hn::Set(kUnsigned, 1);
  const auto has =
      hn::And(hn::RebindMask(kUnsigned, inside), hn::Eq(hn::And(hn::Shr(bits, shift), one), one));
  const M present =
      hn::Or(hn::AndNot(categorical, below), hn::And(categorical, hn::RebindMask(kFloats, has)));
  return hn::Or(present, hn::And(missing, missing_left));
}

// One level down, in every lane; false when all stand on leaves. `first` and `stride`: where the lanes' rows
// lie.
template <bool plain>
HWY_ATTR HWY_INLINE bool Step(const TreeWalk& walk, const float* rows, I first, I& at) {
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
      left = LeftRare(walk, v, value, packed, missing, missing_left);
  }
  const I right = hn::IfThenElseZero(hn::Not(hn::Or(hn::RebindMask(kInts, left), leaf)), hn::Set(kInts, 1));
  at = hn::Add(at, hn::Add(offset, right));
  return true;
}

// Walks kVectors vectors of lanes to their leaves.
template <bool plain, size_t vectors>
HWY_ATTR HWY_INLINE void Walk(const TreeWalk& walk, const float* rows, const I (&first)[vectors],
                              I (&at)[vectors]) {
  for (bool more = true; more;) {
    more = false;
#pragma GCC unroll 4
    for (size_t k = 0; k < vectors; ++k) more |= Step<plain>(walk, rows, first[k], at[k]);
  }
}

template <bool plain, typename Sum>
HWY_ATTR Sum RowSum(const TreeWalk& walk, Sum base, const float* row) {
  const size_t lanes = hn::Lanes(kInts);
  const I first[kVectors] = {hn::Zero(kInts), hn::Zero(kInts), hn::Zero(kInts), hn::Zero(kInts)};
  int32_t found[kVectors * kLanesMax];
  Sum sum = base;
  for (size_t t = 0; t < walk.trees; t += kVectors * lanes) {
    I at[kVectors];
    for (size_t k = 0; k < kVectors; ++k) at[k] = hn::LoadU(kInts, &walk.roots[t + k * lanes]);
    Walk<plain>(walk, row, first, at);
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
  I first[kVectors];
  for (size_t k = 0; k < kVectors; ++k) {
    const I lane = hn::Iota(kInts, static_cast<int32_t>(k * lanes));
    first[k] = hn::Mul(lane, hn::Set(kInts, static_cast<int32_t>(stride)));
  }
  int32_t found[kVectors * kLanesMax];
  size_t i = 0;
  for (; i + block <= n; i += block) {
    std::fill_n(out + i, block, base);
    for (size_t t = 0; t < walk.trees; ++t) {
      I at[kVectors];
      for (size_t k = 0; k < kVectors; ++k) at[k] = hn::Set(kInts, walk.roots[t]);
      Walk<plain>(walk, rows + i * stride, first, at);
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

bool TreeWalk::compile(std::span<const Tree> all, size_t columns) {
  size_t nodes = 1;
  for (const Tree& tree : all) nodes += tree.nodes.size();
  if (columns > kColumnsMax || nodes > size_t{1} << 30) return false;
  trees = all.size();
  values.assign(1, 0);  // the leaf at which groups are filled up
  packed.assign(1, 0);
  sets.assign(1, 0);
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
        const std::vector<uint32_t>& set = tree.sets[static_cast<size_t>(node.value)];
        values.push_back(std::bit_cast<float>(static_cast<uint32_t>(sets.size())));
        sets.push_back(static_cast<int32_t>(set.size()));
        sets.insert(sets.end(), set.begin(), set.end());
      } else {
        values.push_back(node.value);
      }
      packed.push_back(static_cast<uint32_t>(node.test) | (node.missing_left ? 4u : 0u) |
                       static_cast<uint32_t>(node.column) << 3 | static_cast<uint32_t>(offset) << 14);
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
