// A ratio of two sums, such as clicks by impressions, with the error that it has: what one entity does is no
// independent observation of what it did before, so sums are kept by bucket of entities and the error is that
// among buckets (the delta method for ratios: Deng, Knoblich & Lu, "Applying the delta method in metric
// analytics", KDD 2018; the buckets of Chamandy, Muralidharan & Wager, "Teaching statistics at Google scale",
// 2015). Constant memory, whatever the number of entities. Plain data.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace shrike::engine {

class ClusteredRatio {
 public:
  static constexpr size_t kBuckets = 128;  // its variance is known within an eighth

  // `entity`: its hash. What is taken back has the other sign.
  void add(uint64_t entity, double numerator, double denominator);
  void add(const ClusteredRatio& other);

  double numerator() const;
  double denominator() const;
  // NaN without a denominator.
  double value() const;
  // Of value(), by the differences among buckets; NaN without a denominator.
  double variance() const;
  // The same of one observation (of 1 in the denominator): what more observations divide.
  double variance_of_one() const { return variance() * denominator(); }
  size_t buckets_used() const;

  // Numerators, then denominators; restore() takes as many.
  static constexpr size_t kNumbers = 2 * kBuckets;
  std::array<double, kNumbers> save() const;
  void restore(std::span<const double, kNumbers> numbers);

 private:
  std::array<double, kBuckets> numerators_{}, denominators_{};
};

}  // namespace shrike::engine
