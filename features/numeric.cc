#include "features/numeric.h"

#include <bit>
#include <cmath>
#include <limits>

namespace shrike::features {
namespace {

constexpr double kLn2High = 6.93147180369123816490e-01;  // ln 2 in two parts, the first with trailing zeros
constexpr double kLn2Low = 1.90821492927058770002e-10;

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
  for (int n = 21; n >= 3; n -= 2) sum = (sum + 1.0 / n) * s2;
  return exponent * kLn2High + (2 * s * (1 + sum) + exponent * kLn2Low);
}

double signed_log1p(double x) {
  if (std::isnan(x)) return x;
  const double magnitude = std::fabs(x);
  if (std::isinf(magnitude)) return x;
  const double value = magnitude < 1e-5 ? magnitude - magnitude * magnitude / 2 : exact_log(1 + magnitude);
  return std::copysign(value, x);
}

}  // namespace shrike::features
