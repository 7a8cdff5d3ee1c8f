#include "engine/lifecycle/planned_test.h"

#include <algorithm>
#include <cmath>

#include "engine/lifecycle/statistics.h"
#include "learners/numeric/numeric.h"

namespace shrike::engine {
namespace {

// Where a function that rises reaches `value`, between the two.
template <typename F>
double where(F&& rising, double value, double low, double high) {
  constexpr int kHalvings = 100;
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = (low + high) / 2;
    (rising(middle) < value ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace

double normal_below(double z) {
  const double tail = normal_tails(std::fabs(z)) / 2;
  return z < 0 ? tail : 1 - tail;
}

double normal_quantile(double p) { return where(normal_below, p, -9, 9); }

double planned_critical(double significance) { return -normal_quantile(significance / 4); }

// The chance that a Brownian motion with this drift has been above c by the time 1 (Siegmund, "Sequential
// Analysis", 1985, chapter 3); looks with pauses see it there as if c were higher (his correction for
// overshoot, chapter 10). One look at the end sees it there with less, and never with more.
double planned_drift(double critical, double power, double looks) {
  constexpr double kOvershoot = 0.5826;
  const double seen = critical + kOvershoot / std::sqrt(std::max(looks, 1.0));
  const auto reaches = [&](double drift) {
    return normal_below(drift - seen) + learners::exact_exp(2 * seen * drift) * normal_below(-seen - drift);
  };
  return std::min(where(reaches, power, 0, 12), critical + normal_quantile(power));
}

double fixed_drift(double significance, double power) {
  return normal_quantile(power) - normal_quantile(significance / 2);
}

double PlannedTest::half_width(double variance) const { return critical_ * std::sqrt(planned_) * variance; }

// At the end what went beyond the plan is no longer the plan's: the bound is the end's.
bool PlannedTest::proves(double difference, double variance) const {
  if (!(variance > 0)) return false;
  const double bound = is_over(variance) ? critical_ * std::sqrt(variance) : half_width(variance);
  return std::fabs(difference) >= bound;
}

double mixture_bound(double variance, double expected, double alpha) {
  const double mixed = expected * expected, both = variance + mixed;
  return std::sqrt(variance * both / mixed * learners::exact_log(both / (4 * variance * alpha * alpha)));
}

}  // namespace shrike::engine
