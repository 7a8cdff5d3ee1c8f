// logistic_floats() with Highway: whole vectors in lanes, the rest as the scalar reference does it.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "learners/numeric/logistic.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "learners/numeric/kernel.h"
#include "learners/numeric/logistic-inl.h"
#include "learners/numeric/numeric.h"

HWY_BEFORE_NAMESPACE();
namespace shrike::learners {
namespace HWY_NAMESPACE {

HWY_ATTR size_t SquashVectors(float* values, size_t n, float slope, float shift) {
#if HWY_TARGET == HWY_SCALAR
  (void)values, (void)n, (void)slope, (void)shift;
  return 0;
#else
  const hn::ScalableTag<float> f32;
  const size_t lanes = hn::Lanes(f32);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto margin =
        hn::Add(hn::Mul(hn::LoadU(f32, values + i), hn::Set(f32, slope)), hn::Set(f32, shift));
    hn::StoreU(Logistic(f32, margin), f32, values + i);
  }
  return i;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace shrike::learners
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shrike::learners {

HWY_EXPORT(SquashVectors);

void squash(std::span<float> margins, float slope, float shift) {
  size_t i = 0;
  if (vectors_enabled())
    i = HWY_DYNAMIC_DISPATCH(SquashVectors)(margins.data(), margins.size(), slope, shift);
  for (; i < margins.size(); ++i) margins[i] = logistic_float(margins[i] * slope + shift);
}

}  // namespace shrike::learners
#endif
