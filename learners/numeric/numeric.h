// exp, log and the logistic function whose bits do not depend on the machine: glibc picks variants with fused
// multiply-add by CPU, which round differently. Plain operations in one fixed order. features/ has its own
// exp and log: the two folders must not know each other.
#pragma once

#include <cstdint>
#include <span>

namespace shrike::learners {

// e^x in double, relative error below 1e-15; 0 below -708, infinity above 709.
double exact_exp(double x);
// Natural logarithm of a positive, finite x.
double exact_log(double x);
// 1 / (1 + e^-x), in (0, 1) for |x| < 30.
double logistic(double x);

// The same logistic in float, as scoring computes it: the kernels repeat these very operations, lane by lane.
// The margin is clipped to [-15, 15], so the result lies strictly between 0 and 1.
float logistic_float(float margin);
// Replaces each margin by logistic_float(margin * slope + shift), with the widest instruction set there is.
void logistic_in_place(std::span<float> margins, float slope, float shift);

// The finaliser of splitmix64 (Steele et al., 2014): a hash for seeded decisions, a function of its input
// alone.
uint64_t mix(uint64_t x);
// Such a hash as a number in [0, 1).
inline double unit(uint64_t dice) { return static_cast<double>(dice >> 11) * 0x1.0p-53; }

namespace logistic_constants {
inline constexpr float kClip = 15.0f;
inline constexpr float kLog2E = 1.44269504f;
inline constexpr float kLn2High = 0.693145752f;  // ln 2 in two parts, the first with trailing zeros
inline constexpr float kLn2Low = 1.42860677e-6f;
// e^r = 1 + r + r^2 (c0 + r (c1 + ...)), |r| <= ln 2 / 2: the Taylor series.
inline constexpr float kTerms[] = {1.0f / 2, 1.0f / 6, 1.0f / 24, 1.0f / 120, 1.0f / 720};
}  // namespace logistic_constants

}  // namespace shrike::learners
