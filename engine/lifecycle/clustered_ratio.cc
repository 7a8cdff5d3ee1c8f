#include "engine/lifecycle/clustered_ratio.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "learners/numeric/numeric.h"

namespace shrike::engine {

// By another hash than the one that arms go by.
void ClusteredRatio::add(uint64_t entity, double numerator, double denominator) {
  constexpr uint64_t kDraw = 0x6275'636B'6574'7321;
  const size_t bucket = learners::mix(entity ^ kDraw) % kBuckets;
  numerators_[bucket] += numerator;
  denominators_[bucket] += denominator;
}

void ClusteredRatio::add(const ClusteredRatio& other) {
  for (size_t b = 0; b < kBuckets; ++b) {
    numerators_[b] += other.numerators_[b];
    denominators_[b] += other.denominators_[b];
  }
}

double ClusteredRatio::numerator() const {
  return std::accumulate(numerators_.begin(), numerators_.end(), 0.0);
}

double ClusteredRatio::denominator() const {
  return std::accumulate(denominators_.begin(), denominators_.end(), 0.0);
}

double ClusteredRatio::value() const {
  const double all = denominator();
  return all > 0 ? numerator() / all : std::numeric_limits<double>::quiet_NaN();
}

double ClusteredRatio::variance() const {
  const double all = denominator(), ratio = value();
  if (!(all > 0)) return std::numeric_limits<double>::quiet_NaN();
  double squares = 0;
  for (size_t b = 0; b < kBuckets; ++b) {
    const double off = numerators_[b] - ratio * denominators_[b];
    squares += off * off;
  }
  const auto used = static_cast<double>(buckets_used());
  return used > 1 ? squares * used / (used - 1) / (all * all) : std::numeric_limits<double>::infinity();
}

size_t ClusteredRatio::buckets_used() const {
  return static_cast<size_t>(
      std::count_if(denominators_.begin(), denominators_.end(), [](double one) { return one > 0; }));
}

std::array<double, ClusteredRatio::kNumbers> ClusteredRatio::save() const {
  std::array<double, kNumbers> numbers{};
  std::copy(denominators_.begin(), denominators_.end(),
            std::copy(numerators_.begin(), numerators_.end(), numbers.begin()));
  return numbers;
}

void ClusteredRatio::restore(std::span<const double, kNumbers> numbers) {
  std::copy_n(numbers.begin(), kBuckets, numerators_.begin());
  std::copy_n(numbers.begin() + kBuckets, kBuckets, denominators_.begin());
}

}  // namespace shrike::engine
