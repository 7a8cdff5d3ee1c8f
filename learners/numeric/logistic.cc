// logistic_in_place() with Highway: whole vectors in lanes, the rest as the scalar reference does it.
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

HWY_ATTR size_t LogisticVectors(float* values, size_t n, float slope, float shift) {
#if HWY_TARGET == HWY_SCALAR
  (void)values, (void)n, (void)slope, (void)shift;
  return 0;
#else
  const hn::ScalableTag<float> f32;
  const size_t lanes = hn::Lanes(f32);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    StoreLogistic(f32, hn::LoadU(f32, values + i), slope, shift, values + i);
  }
  return i;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace shrike::learners
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace shrike::learners {

HWY_EXPORT(LogisticVectors);

void logistic_in_place(std::span<float> margins, float slope, float shift) {
  size_t i = 0;
  if (vectors_enabled())
    i = HWY_DYNAMIC_DISPATCH(LogisticVectors)(margins.data(), margins.size(), slope, shift);
  for (; i < margins.size(); ++i) margins[i] = logistic_float(margins[i] * slope + shift);
}

}  // namespace shrike::learners
#endif
