// A test that may be looked at after every observation: is the mean of a bounded quantity above a value?
// Testing by betting (Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS
// B 2024): who bets against "the mean is at most that" cannot grow rich if it is true. The wealth is a
// nonnegative martingale, so the chance that it ever reaches 1 / alpha is at most alpha (Ville), however
// often it is looked at and whenever one stops. Ten sizes of bet share the first stake, which needs no
// tuning; the mixture of martingales is one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace shrike::engine {

class MeanBets {
 public:
  static constexpr size_t kSizes = 10;

  // An observation of y, at least -1.1: the claim that is bet against is "its mean, given the past, is at
  // most 0". Below -1.1 it counts as -1.1.
  void add(double y);
  // Natural logarithm of the wealth.
  double evidence() const;
  bool proves(double alpha) const;

  std::array<double, kSizes>& log_wealth() { return log_wealth_; }
  const std::array<double, kSizes>& log_wealth() const { return log_wealth_; }

 private:
  std::array<double, kSizes> log_wealth_{};
};

// Two models on the same transactions: by how much is one better than the other? Takes differences d in
// [-1, 1], each standing for `weight` transactions, at most `most`.
class PairedTest {
 public:
  // `margin`: how much worse is still good enough. It and `most` may follow from what came before.
  void add(double difference, double weight, double most, double margin);

  bool better(double alpha) const { return better_.proves(alpha); }
  // By more than half of the margin: there is no way between good enough and this in which a test would not
  // end.
  bool worse(double alpha) const { return worse_.proves(alpha); }
  // Not worse than by the margin.
  bool good_enough(double alpha) const { return good_enough_.proves(alpha); }
  // Natural logarithms of what the bets won.
  double evidence_better() const { return better_.evidence(); }
  double evidence_worse() const { return worse_.evidence(); }

  uint64_t count() const { return count_; }
  double mean() const { return sum_weight_ > 0 ? sum_ / sum_weight_ : 0; }
  // Half of the width of a confidence sequence for the mean, for people to read: asymptotic (Waudby-Smith,
  // Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and asymptotic confidence sequences",
  // 2024), tightest at some 500 observations. Decisions are by the bets.
  double half_width(double alpha) const;

  // Everything it knows, as numbers; restore() takes as many.
  static constexpr size_t kNumbers = 3 * MeanBets::kSizes + 5;
  std::array<double, kNumbers> save() const;
  void restore(const std::array<double, kNumbers>& numbers);

 private:
  MeanBets better_, worse_, good_enough_;
  uint64_t count_ = 0;
  double sum_ = 0, sum_weight_ = 0, squares_ = 0, weight_squares_ = 0;
};

}  // namespace shrike::engine
