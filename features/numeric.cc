#include "features/numeric.h"

#include <bit>
#include <cmath>
#include <initializer_list>
#include <limits>

namespace shrike::features {
namespace {

constexpr double kLn2High = 6.93147180369123816490e-01;  // ln 2 in two parts, the first with trailing zeros
constexpr double kLn2Low = 1.90821492927058770002e-10;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kRadian = 1.74532925199432954744e-02;  // of a degree
constexpr double kEarthRadiusKm = 6371.0088;

// The kernels are polynomials of FDLIBM (Sun Microsystems, 1993). |x| <= pi / 4.
double sin_near_zero(double x) {
  const double z = x * x;
  const double r = 8.33333333332248946124e-03 +
                   z * (-1.98412698298579493134e-04 +
                        z * (2.75573137070700676789e-06 +
                             z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)));
  return x + z * x * (-1.66666666666666324348e-01 + z * r);
}

double cos_near_zero(double x) {
  const double z = x * x;
  const double r = z * (4.16666666666666019037e-02 +
                        z * (-1.38888888888741095749e-03 +
                             z * (2.48015872894767294178e-05 +
                                  z * (-2.75573143513906633035e-07 +
                                       z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11)))));
  return 1 - (0.5 * z - z * r);
}

// |degrees| <= 90, by half the angle: where the kernels hold without a branch on it.
double sin_of(double degrees) {
  const double half = degrees / 2 * kRadian;
  return 2 * sin_near_zero(half) * cos_near_zero(half);
}
double cos_of(double degrees) {
  const double sine = sin_near_zero(degrees / 2 * kRadian);
  return 1 - 2 * sine * sine;
}

// asin(x) / x - 1 of x^2 <= 1/4.
double asin_kernel(double z) {
  const double p = z * (1.66666666666666657415e-01 +
                        z * (-3.25565818622400915405e-01 +
                             z * (2.01212532134862925881e-01 +
                                  z * (-4.00555345006794114027e-02 +
                                       z * (7.91534994289814532176e-04 + z * 3.47933107596021167570e-05)))));
  const double q = 1 + z * (-2.40339491173441421878e+00 +
                            z * (2.02094576023350569471e+00 +
                                 z * (-6.88283971605453293030e-01 + z * 7.70381505559019352791e-02)));
  return p / q;
}

}  // namespace

double exact_exp(double x) {
  if (x < -708) return 0;
  if (x > 709) return std::numeric_limits<double>::infinity();
  if (std::isnan(x)) return x;
  const double k = std::floor(x * 1.4426950408889634 + 0.5);
  const double r = (x - k * kLn2High) - k * kLn2Low;
  // Taylor series to r^13 / 13!, |r| <= ln 2 / 2.
  double sum = 1;
  for (int n = 13; n >= 1; --n) sum = 1 + sum * r / n;
  return sum * std::bit_cast<double>(static_cast<uint64_t>(1023 + static_cast<int64_t>(k)) << 52);
}

double exact_log(double x) {
  int exponent = 0;
  double mantissa = std::frexp(x, &exponent);
  if (mantissa < 0.70710678118654752) {
    mantissa *= 2;
    --exponent;
  }
  // log m = 2 artanh((m - 1) / (m + 1)), |s| <= 0.172.
  const double s = (mantissa - 1) / (mantissa + 1);
  const double s2 = s * s;
  double sum = 0;
  for (const double inverse :
       {1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3})
    sum = (sum + inverse) * s2;
  return exponent * kLn2High + (2 * s * (1 + sum) + exponent * kLn2Low);
}

double signed_log1p(double x) {
  if (std::isnan(x)) return x;
  const double magnitude = std::fabs(x);
  if (std::isinf(magnitude)) return x;
  const double value = magnitude < 1e-5 ? magnitude - magnitude * magnitude / 2 : exact_log(1 + magnitude);
  return std::copysign(value, x);
}

double exact_pow(double x, double y) {
  if (std::isnan(x) || std::isnan(y)) return kNaN;
  constexpr double kMultiplied = 64;
  if (y == std::floor(y) && std::fabs(y) <= kMultiplied) {
    double power = 1, square = x;
    for (auto n = static_cast<uint64_t>(std::fabs(y)); n != 0; n >>= 1, square *= square)
      if ((n & 1) != 0) power *= square;
    return y >= 0 ? power : power == 0 ? kNaN : 1 / power;
  }
  if (x == 0) return y > 0 ? 0 : kNaN;
  const bool whole = y == std::floor(y) && std::fabs(y) < 9e15;
  if (x < 0 && !whole) return kNaN;
  const double magnitude = exact_exp(y * exact_log(std::fabs(x)));
  return x < 0 && std::fmod(y, 2) != 0 ? -magnitude : magnitude;
}

double exact_asin(double x) {
  const double magnitude = std::fabs(x);
  if (magnitude <= 0.5) return x + x * asin_kernel(x * x);
  const double z = (1 - magnitude) / 2;
  const double s = std::sqrt(z);
  return std::copysign(1.57079632679489655800 - 2 * (s + s * asin_kernel(z)), x);
}

double distance_km(double latitude, double longitude, double to_latitude, double to_longitude) {
  const bool on_earth = std::fabs(latitude) <= 90 && std::fabs(to_latitude) <= 90 &&
                        std::fabs(longitude) <= 360 && std::fabs(to_longitude) <= 360;
  if (!on_earth) return kNaN;  // NaN among them too
  double turn = to_longitude - longitude;
  turn -= 360 * std::floor(turn / 360 + 0.5);
  const double north = sin_of((to_latitude - latitude) / 2), east = sin_of(turn / 2);
  const double h = north * north + cos_of(latitude) * cos_of(to_latitude) * (east * east);
  return 2 * kEarthRadiusKm * exact_asin(std::sqrt(h > 1 ? 1 : h));
}

}  // namespace shrike::features
