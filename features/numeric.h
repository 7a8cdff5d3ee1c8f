// exp and log whose bits do not depend on the machine: glibc picks variants with fused multiply-add by CPU,
// which round differently. Plain double operations in one fixed order; relative error below 1e-15.
#pragma once

#include <cstdint>

namespace shrike::features {

// e^x, 0 below -708 and infinity above 709.
double exact_exp(double x);
// Natural logarithm of a positive, finite x.
double exact_log(double x);
// sign(x) * log(1 + |x|): the `log` transform of features; NaN stays NaN.
double signed_log1p(double x);

}  // namespace shrike::features
