// exp, log and the like whose bits do not depend on the machine: glibc picks variants with fused multiply-add
// by CPU, which round differently. Plain double operations in one fixed order; relative error below 1e-15.
#pragma once

#include <cstdint>

namespace shrike::features {

// e^x, 0 below -708 and infinity above 709.
double exact_exp(double x);
// Natural logarithm of a positive, finite x.
double exact_log(double x);
// sign(x) * log(1 + |x|): the `log` transform of features; NaN stays NaN.
double signed_log1p(double x);
// x^y: by repeated multiplication for whole y up to 64, else e^(y log x), whose relative error grows to 1e-13
// with the result. NaN for a negative x and a y that is no whole number, and for 0^y with y < 0.
double exact_pow(double x, double y);
// -1 <= x <= 1; in radians.
double exact_asin(double x);
// Along a great circle of a sphere of 6371.0088 km (IUGG's mean radius), by the haversine formula. NaN for a
// latitude beyond 90 or a longitude beyond 360 degrees.
double distance_km(double latitude, double longitude, double to_latitude, double to_longitude);

}  // namespace shrike::features
