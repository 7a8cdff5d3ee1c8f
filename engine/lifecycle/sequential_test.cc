#include "engine/lifecycle/sequential_test.h"

#include <algorithm>
#include <cmath>

#include "learners/numeric/numeric.h"

namespace shrike::engine {
namespace {

constexpr double kLeast = -1.1;
constexpr double kLargestBet = 0.9;  // 1 + kLargestBet * kLeast is above 0

// Halves: the best fixed bet is never far from one of them.
constexpr std::array<double, MeanBets::kSizes> kBets = [] {
  std::array<double, MeanBets::kSizes> bets{};
  double bet = kLargestBet;
  for (double& one : bets) {
    one = bet;
    bet /= 2;
  }
  return bets;
}();

}  // namespace

void MeanBets::add(double y) {
  if (y == 0) return;
  const double bounded = std::max(y, kLeast);
  for (size_t i = 0; i < kSizes; ++i) log_wealth_[i] += learners::exact_log(1 + kBets[i] * bounded);
}

double MeanBets::evidence() const {
  const double most = *std::max_element(log_wealth_.begin(), log_wealth_.end());
  double sum = 0;
  for (const double wealth : log_wealth_) sum += learners::exact_exp(wealth - most);
  return most + learners::exact_log(sum / kSizes);
}

bool MeanBets::proves(double alpha) const { return evidence() >= -learners::exact_log(alpha); }

void PairedTest::add(double difference, double weight, double most, double margin) {
  const double stake = weight / most;
  better_.add(stake * difference);
  worse_.add(-stake * (difference + margin / 2));
  good_enough_.add(stake * (difference + margin));
  ++count_;
  sum_ += weight * difference;
  sum_weight_ += weight;
  squares_ += weight * difference * difference;
  weight_squares_ += weight * weight;
}

double PairedTest::half_width(double alpha) const {
  if (count_ < 2) return 2;
  const double n = sum_weight_ * sum_weight_ / weight_squares_;  // as many of equal weight
  const double variance = std::max(squares_ / sum_weight_ - mean() * mean(), 0.0);
  const double log_alpha = std::log(alpha);
  constexpr double kTightest = 500;
  const double rho2 = (-2 * log_alpha + std::log(-2 * log_alpha) + 1) / kTightest;
  const double scaled = n * variance * rho2 + 1;
  return std::min(2.0, std::sqrt(2 * scaled / (n * n * rho2) * std::log(std::sqrt(scaled) / alpha)));
}

std::array<double, PairedTest::kNumbers> PairedTest::save() const {
  std::array<double, kNumbers> numbers{};
  auto at = numbers.begin();
  for (const MeanBets* bets : {&better_, &worse_, &good_enough_})
    at = std::copy(bets->log_wealth().begin(), bets->log_wealth().end(), at);
  for (const double number : {static_cast<double>(count_), sum_, sum_weight_, squares_, weight_squares_})
    *at++ = number;
  return numbers;
}

void PairedTest::restore(const std::array<double, kNumbers>& numbers) {
  auto at = numbers.begin();
  for (MeanBets* bets : {&better_, &worse_, &good_enough_}) {
    std::copy(at, at + MeanBets::kSizes, bets->log_wealth().begin());
    at += MeanBets::kSizes;
  }
  count_ = static_cast<uint64_t>(*at++);
  sum_ = *at++;
  sum_weight_ = *at++;
  squares_ = *at++;
  weight_squares_ = *at++;
}

}  // namespace shrike::engine
