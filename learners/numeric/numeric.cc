#include "learners/numeric/numeric.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace shrike::learners {
namespace {

// 1 / n!: the Taylor series of e^r.
constexpr double kExpTerms[] = {
    1,          1,           1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
    1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};
// Of the series of 2 artanh(s) = log((1 + s) / (1 - s)), beyond 2 s: in powers of s^2, highest first.
constexpr double kLogTerms[] = {1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13,
                                1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3};

}  // namespace

double exact_exp(double x) {
  constexpr double kHigh = 6.93147180369123816490e-01, kLow = 1.90821492927058770002e-10;
  if (std::isnan(x)) return x;
  if (x < -708) return 0;
  if (x > 709) return std::numeric_limits<double>::infinity();
  const double k = std::floor(x * 1.4426950408889634 + 0.5);
  const double r = (x - k * kHigh) - k * kLow;
  double sum = kExpTerms[13];
  for (int n = 12; n >= 0; --n) sum = sum * r + kExpTerms[n];
  return sum * std::bit_cast<double>(static_cast<uint64_t>(1023 + static_cast<int64_t>(k)) << 52);
}

double exact_log(double x) {
  constexpr double kHigh = 6.93147180369123816490e-01, kLow = 1.90821492927058770002e-10;
  constexpr double kSmallestNormal = 0x1p-1022;
  int exponent = 0;
  if (x < kSmallestNormal) {
    x *= 0x1p54;
    exponent = -54;
  }
  const auto bits = std::bit_cast<uint64_t>(x);
  exponent += static_cast<int>(bits >> 52) - 1022;
  double mantissa = std::bit_cast<double>((bits & 0x000FFFFFFFFFFFFFull) | 0x3FE0000000000000ull);
  if (mantissa < 0.70710678118654752) {
    mantissa *= 2;
    --exponent;
  }
  const double s = (mantissa - 1) / (mantissa + 1);
  const double s2 = s * s;
  double sum = 0;
  for (const double term : kLogTerms) sum = (sum + term) * s2;
  return exponent * kHigh + (2 * s * (1 + sum) + exponent * kLow);
}

double logistic(double x) { return 1 / (1 + exact_exp(-x)); }

uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

float logistic_float(float margin) {
  using namespace logistic_constants;
  const float x = -std::fmin(std::fmax(margin, -kClip), kClip);
  const float k = std::floor(x * kLog2E + 0.5f);
  const float r = (x - k * kLn2High) - k * kLn2Low;
  float sum = kTerms[4];
  for (int n = 3; n >= 0; --n) sum = sum * r + kTerms[n];
  sum = (sum * r) * r + r + 1.0f;
  const float e = sum * std::bit_cast<float>(static_cast<uint32_t>(127 + static_cast<int32_t>(k)) << 23);
  return 1.0f / (1.0f + e);
}

}  // namespace shrike::learners
