// The linear model's batch kernel with Highway: rows in lanes, one column after the other, binary search and
// weights by gathers, then one pair after the other from the coarse bins kept on the way. Every lane does
// what LinearModel::score_row does, operation by operation (no fused multiply-add), so the bits are those of
// the scalar reference on every instruction set. Columns must be few enough for 32-bit offsets.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "learners/linear/kernel.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "learners/linear/model.h"
#include "learners/numeric/logistic-inl.h"

HWY_BEFORE_NAMESPACE();
namespace shrike::learners {
namespace HWY_NAMESPACE {
HWY_ATTR size_t ScoreVectors(const LinearModel& model, MatrixView rows, float* out) {
#if HWY_TARGET == HWY_SCALAR
  (void)model, (void)rows, (void)out;
  return 0;
#else
  const hn::ScalableTag<float> f32;
  const hn::RebindToSigned<decltype(f32)> i32;
  const hn::RebindToUnsigned<decltype(f32)> u32;
  using F = hn::Vec<decltype(f32)>;
  using I = hn::Vec<decltype(i32)>;
  const size_t lanes = hn::Lanes(f32);
  const auto columns = static_cast<int32_t>(rows.columns());
  const I stride = hn::Mul(hn::Iota(i32, 0), hn::Set(i32, columns));
  const float* cuts = model.layout_.cuts.data();
  const float* weights = model.weights_.data();
  const std::vector<LinearPair>& pairs = model.layout_.pairs;
  // The coarse bins of the columns in pairs: of the columns layout_.in_pairs, in this order.
  HWY_ALIGN int32_t coarse[2 * LinearPair::kPairsMax * hn::MaxLanes(i32)];
  size_t i = 0;
  for (; i + lanes <= rows.rows(); i += lanes) {
    const float* first = rows.data() + i * rows.columns();
    F sum = hn::Set(f32, model.bias_);
    size_t kept = 0;
    for (size_t c = 0; c < rows.columns(); ++c) {
      const LinearTable& table = model.layout_.tables[c];
      const F value = hn::GatherIndex(f32, first + c, stride);
      const I missing = hn::Set(i32, static_cast<int32_t>(table.missing));
      I bin;
      if (table.categorical) {
        const auto valid = hn::And(hn::Ge(value, hn::Zero(f32)), hn::Lt(value, hn::Set(f32, 16777216.0f)));
        const I whole = hn::ConvertTo(i32, hn::IfThenElseZero(valid, value));
        const auto hash = hn::Mul(hn::BitCast(u32, whole), hn::Set(u32, LinearModel::kHashMultiplier));
        const auto shifted = hn::ShiftRightSame(hash, static_cast<int>(32 - model.layout_.hash_bits));
        bin = hn::IfThenElse(hn::RebindMask(i32, valid), hn::BitCast(i32, shifted), missing);
      } else {
        bin = hn::Zero(i32);
        for (uint32_t step = (1u << table.steps) >> 1; step > 0; step >>= 1) {
          const I probe = hn::Add(bin, hn::Set(i32, static_cast<int32_t>(table.cuts + step - 1)));
          const auto above = hn::Ge(value, hn::GatherIndex(f32, cuts, probe));
          bin = hn::IfThenElse(hn::RebindMask(i32, above),
                               hn::Add(bin, hn::Set(i32, static_cast<int32_t>(step))), bin);
        }
        bin = hn::Min(bin, hn::Set(i32, static_cast<int32_t>(table.missing) - 1));
        bin = hn::IfThenElse(hn::RebindMask(i32, hn::IsNaN(value)), missing, bin);
      }
      const I at = hn::Add(bin, hn::Set(i32, static_cast<int32_t>(table.weights)));
      sum = hn::Add(sum, hn::GatherIndex(f32, weights, at));
      if (kept == model.layout_.in_pairs.size() || model.layout_.in_pairs[kept] != c) continue;
      const I scaled = hn::Mul(bin, hn::Set(i32, static_cast<int32_t>(table.scale)));
      const I code = hn::ShiftRightSame(scaled, static_cast<int>(table.shift));
      const I last = hn::Set(i32, static_cast<int32_t>(LinearPair::kCoarse) - 1);
      hn::Store(hn::IfThenElse(hn::Eq(bin, missing), last, code), i32, coarse + lanes * kept++);
    }
    for (size_t k = 0; k < pairs.size(); ++k) {
      const I a = hn::Load(i32, coarse + lanes * model.layout_.slots[k].a);
      const I b = hn::Load(i32, coarse + lanes * model.layout_.slots[k].b);
      const I row = hn::Mul(a, hn::Set(i32, static_cast<int32_t>(LinearPair::kCoarse)));
      const I table = hn::Set(i32, static_cast<int32_t>(model.layout_.find_pair(k, 0, 0)));
      sum = hn::Add(sum, hn::GatherIndex(f32, weights, hn::Add(table, hn::Add(row, b))));
    }
    StoreLogistic(f32, sum, model.slope_, model.shift_, out + i);
  }
  return i;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace shrike::learners
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shrike::learners {

HWY_EXPORT(ScoreVectors);

size_t score_vectors(const LinearModel& model, MatrixView rows, float* out) {
  return HWY_DYNAMIC_DISPATCH(ScoreVectors)(model, rows, out);
}

}  // namespace shrike::learners
#endif
