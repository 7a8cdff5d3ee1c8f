// logistic_float() in the lanes of a Highway vector, operation by operation, for kernels that are compiled
// once per instruction set (hence the guard). Internal to learners/.
#if defined(SHRIKE_LEARNERS_LOGISTIC_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef SHRIKE_LEARNERS_LOGISTIC_INL_H
#undef SHRIKE_LEARNERS_LOGISTIC_INL_H
#else
#define SHRIKE_LEARNERS_LOGISTIC_INL_H
#endif

#include <hwy/highway.h>

#include "learners/numeric/numeric.h"

HWY_BEFORE_NAMESPACE();
namespace shrike::learners {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <typename D, typename F = hn::Vec<D>>
HWY_ATTR F Logistic(D f32, F margin) {
  using namespace logistic_constants;
  const hn::RebindToSigned<D> i32;
  const F clip = hn::Set(f32, kClip);
  const F x = hn::Neg(hn::Min(hn::Max(margin, hn::Neg(clip)), clip));
  const F k = hn::Floor(hn::Add(hn::Mul(x, hn::Set(f32, kLog2E)), hn::Set(f32, 0.5f)));
  const F r = hn::Sub(hn::Sub(x, hn::Mul(k, hn::Set(f32, kLn2High))), hn::Mul(k, hn::Set(f32, kLn2Low)));
  F e = hn::Set(f32, kTerms[4]);
  for (int n = 3; n >= 0; --n) e = hn::Add(hn::Mul(e, r), hn::Set(f32, kTerms[n]));
  const F one = hn::Set(f32, 1.0f);
  e = hn::Add(hn::Add(hn::Mul(hn::Mul(e, r), r), r), one);
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(i32, k), hn::Set(i32, 127)));
  e = hn::Mul(e, hn::BitCast(f32, exponent));
  return hn::Div(one, hn::Add(one, e));
}

// The same of margin * slope + shift, to out[0] and on.
template <typename D, typename F = hn::Vec<D>>
HWY_ATTR HWY_INLINE void StoreLogistic(D f32, F margin, float slope, float shift, float* out) {
  const F scaled = hn::Add(hn::Mul(margin, hn::Set(f32, slope)), hn::Set(f32, shift));
  hn::StoreU(Logistic(f32, scaled), f32, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace shrike::learners
HWY_AFTER_NAMESPACE();

#endif
