#include "engine/lifecycle/statistics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

#include "learners/numeric/numeric.h"

namespace shrike::engine {
namespace {

using learners::exact_exp;
using learners::exact_log;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kLn2 = 0.69314718055994530942, kPi = 3.14159265358979323846;

double total(BinCounts counts) { return std::accumulate(counts.begin(), counts.end(), 0.0); }

size_t used_bins(BinCounts first, BinCounts second) {
  size_t used = 0;
  for (size_t i = 0; i < first.size(); ++i) used += first[i] + second[i] > 0;
  return used;
}

// How precisely two samples of n and m rows tell a difference: as one of nm / (n + m).
double joint_rows(double n, double m) { return n > 0 && m > 0 ? n * m / (n + m) : 0; }

double log_gamma(double x) {  // x > 0: Stirling's series, where it is exact enough
  double shift = 0;
  for (; x < 12; ++x) shift += exact_log(x);
  const double y = 1 / (x * x);
  const double series = (1.0 / 12 - y * (1.0 / 360 - y * (1.0 / 1260 - y / 1680))) / x;
  return (x - 0.5) * exact_log(x) - x + 0.5 * exact_log(2 * kPi) + series - shift;
}

// The upper part of the regularised incomplete gamma function: by its series, or by Lentz's continued
// fraction.
double gamma_upper(double a, double x) {
  constexpr int kTermsMax = 10'000;
  constexpr double kPrecision = 1e-15, kTiny = 1e-300;
  if (!(x > 0)) return 1;
  const double scale = exact_exp(a * exact_log(x) - x - log_gamma(a));
  if (x < a + 1) {
    double term = 1 / a, sum = term;
    for (int n = 1; n < kTermsMax && term > sum * kPrecision; ++n) sum += term *= x / (a + n);
    return std::clamp(1 - sum * scale, 0.0, 1.0);
  }
  double b = x + 1 - a, c = 1 / kTiny, d = 1 / b, fraction = d;
  for (int n = 1; n < kTermsMax; ++n) {
    const double step = -n * (n - a);
    b += 2;
    d = 1 / (std::fabs(step * d + b) < kTiny ? kTiny : step * d + b);
    c = std::fabs(b + step / c) < kTiny ? kTiny : b + step / c;
    fraction *= d * c;
    if (std::fabs(d * c - 1) < kPrecision) break;
  }
  return std::clamp(scale * fraction, 0.0, 1.0);
}

}  // namespace

double stability_index(BinCounts first, BinCounts second) {
  assert(first.size() == second.size());
  const double n = total(first), m = total(second);
  if (!(n > 0 && m > 0)) return kNaN;
  double index = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    if (!(first[i] + second[i] > 0)) continue;
    const double p = (first[i] > 0 ? first[i] : 0.5) / n, q = (second[i] > 0 ? second[i] : 0.5) / m;
    index += (q - p) * exact_log(q / p);
  }
  return index;
}

double jensen_shannon(BinCounts first, BinCounts second) {
  assert(first.size() == second.size());
  const double n = total(first), m = total(second);
  if (!(n > 0 && m > 0)) return kNaN;
  double divergence = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    const double p = first[i] / n, q = second[i] / m, middle = (p + q) / 2;
    if (p > 0) divergence += p * exact_log(p / middle) / 2;
    if (q > 0) divergence += q * exact_log(q / middle) / 2;
  }
  return std::sqrt(std::clamp(divergence / kLn2, 0.0, 1.0));
}

double stability_index_by_chance(BinCounts first, BinCounts second) {
  const double rows = joint_rows(total(first), total(second));
  const size_t bins = used_bins(first, second);
  return rows > 0 && bins > 1 ? static_cast<double>(bins - 1) / rows : 0;
}

double jensen_shannon_by_chance(BinCounts first, BinCounts second) {
  return std::sqrt(stability_index_by_chance(first, second) / (8 * kLn2));
}

double wasserstein(std::span<const double> positions, BinCounts first, BinCounts second) {
  assert(first.size() == second.size() && positions.size() == first.size());
  const double n = total(first), m = total(second);
  if (!(n > 0 && m > 0)) return kNaN;
  double distance = 0, below = 0;
  for (size_t i = 0; i + 1 < first.size(); ++i) {
    below += first[i] / n - second[i] / m;
    distance += std::fabs(below) * (positions[i + 1] - positions[i]);
  }
  return distance;
}

Tested kolmogorov_smirnov_binned(BinCounts first, BinCounts second) {
  const double n = total(first), m = total(second);
  if (!(n > 0 && m > 0)) return {kNaN, 1};
  double largest = 0, below = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    below += first[i] / n - second[i] / m;
    largest = std::max(largest, std::fabs(below));
  }
  const double root = std::sqrt(joint_rows(n, m));
  return {largest, kolmogorov_tail((root + 0.12 + 0.11 / root) * largest)};
}

Tested chi_square(BinCounts first, BinCounts second) {
  assert(first.size() == second.size());
  const double n = total(first), m = total(second);
  if (!(n > 0 && m > 0)) return {kNaN, 1};
  double statistic = 0;
  for (size_t i = 0; i < first.size(); ++i) {
    const double both = first[i] + second[i];
    if (!(both > 0)) continue;
    const double off = first[i] - both * n / (n + m);
    statistic += off * off * (n + m) * (n + m) / (both * n * m);
  }
  const size_t bins = used_bins(first, second);
  return {statistic, bins > 1 ? chi_square_tail(statistic, static_cast<double>(bins - 1)) : 1};
}

double chi_square_tail(double x, double degrees) { return gamma_upper(degrees / 2, x / 2); }

double kolmogorov_tail(double x) {
  if (!(x > 0.2)) return 1;
  double tail = 0, sign = 2;
  for (int k = 1; k <= 100; ++k, sign = -sign) {
    const double term = exact_exp(-2.0 * k * k * x * x);
    tail += sign * term;
    if (term < 1e-18) break;
  }
  return std::clamp(tail, 0.0, 1.0);
}

double normal_tails(double z) { return chi_square_tail(z * z, 1); }

std::vector<bool> benjamini_hochberg(std::span<const double> p, double alpha) {
  std::vector<double> rising(p.begin(), p.end());
  std::sort(rising.begin(), rising.end());
  double highest = -1;
  for (size_t i = 0; i < rising.size(); ++i) {
    if (rising[i] <= alpha * static_cast<double>(i + 1) / static_cast<double>(rising.size()))
      highest = rising[i];
  }
  std::vector<bool> refused;
  for (const double one : p) refused.push_back(one <= highest);
  return refused;
}

}  // namespace shrike::engine
