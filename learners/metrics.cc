#include "learners/metrics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_map>
#include <vector>

#include "learners/numeric/numeric.h"

namespace shrike::learners {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Positions by falling score; equal scores by position.
std::vector<uint32_t> by_falling_score(std::span<const float> scores) {
  std::vector<uint32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  return order;
}

// How many transactions each stands for: `weights` (1 when empty) times `draws` of a resample (1 when empty).
struct Weights {
  std::span<const float> weights;
  std::span<const uint8_t> draws = {};
  double operator[](size_t i) const {
    return (weights.empty() ? 1 : static_cast<double>(weights[i])) * (draws.empty() ? 1 : draws[i]);
  }
};

// Calls step(frauds, legitimate) for each group of equal scores, from the highest.
template <typename Step>
void each_step(std::span<const float> scores, std::span<const uint8_t> labels,
               std::span<const uint32_t> order, const Weights& weights, Step&& step) {
  for (size_t i = 0; i < order.size();) {
    double frauds = 0, legitimate = 0;
    const float score = scores[order[i]];
    for (; i < order.size() && scores[order[i]] == score; ++i)
      (labels[order[i]] != 0 ? frauds : legitimate) += weights[order[i]];
    step(frauds, legitimate);
  }
}

double average_precision(std::span<const float> scores, std::span<const uint8_t> labels,
                         std::span<const uint32_t> order, const Weights& weights) {
  double caught = 0, alarms = 0, sum = 0;
  each_step(scores, labels, order, weights, [&](double frauds, double legitimate) {
    caught += frauds;
    alarms += frauds + legitimate;
    if (frauds > 0) sum += frauds * (caught / alarms);
  });
  return caught == 0 ? kNaN : sum / caught;
}

// A Poisson(1) draw from 32 random bits, by inversion.
uint8_t poisson_one(uint32_t bits) {
  static const auto kTable = [] {
    std::vector<uint32_t> edges;
    double term = exact_exp(-1), cumulative = term;
    for (int k = 1; k < 12; ++k) {
      edges.push_back(static_cast<uint32_t>(std::min(cumulative * 4294967296.0, 4294967295.0)));
      term /= k;
      cumulative += term;
    }
    return edges;
  }();
  uint8_t k = 0;
  while (k < kTable.size() && bits >= kTable[k]) ++k;
  return k;
}

}  // namespace

double average_precision(std::span<const float> scores, std::span<const uint8_t> labels,
                         std::span<const float> weights) {
  return average_precision(scores, labels, by_falling_score(scores), Weights{weights});
}

double auc(std::span<const float> scores, std::span<const uint8_t> labels, std::span<const float> weights) {
  double caught = 0, alarmed = 0, area = 0;
  each_step(scores, labels, by_falling_score(scores), {weights}, [&](double frauds, double legitimate) {
    area += legitimate * (caught + frauds / 2);
    caught += frauds;
    alarmed += legitimate;
  });
  return caught == 0 || alarmed == 0 ? kNaN : area / (caught * alarmed);
}

double log_loss(std::span<const float> scores, std::span<const uint8_t> labels,
                std::span<const float> weights) {
  if (scores.empty()) return kNaN;
  const Weights each{weights};
  double sum = 0, total = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const double p = std::clamp(static_cast<double>(scores[i]), 1e-15, 1 - 1e-15);
    sum -= each[i] * exact_log(labels[i] != 0 ? p : 1 - p);
    total += each[i];
  }
  return sum / total;
}

double brier(std::span<const float> scores, std::span<const uint8_t> labels, std::span<const float> weights) {
  if (scores.empty()) return kNaN;
  const Weights each{weights};
  double sum = 0, total = 0;
  for (size_t i = 0; i < scores.size(); ++i) {
    const double off = static_cast<double>(scores[i]) - (labels[i] != 0 ? 1 : 0);
    sum += each[i] * (off * off);
    total += each[i];
  }
  return sum / total;
}

double recall_at_fpr(std::span<const float> scores, std::span<const uint8_t> labels, double fpr,
                     std::span<const float> weights) {
  const Weights each{weights};
  double frauds_all = 0, legitimate_all = 0;
  for (size_t i = 0; i < labels.size(); ++i) (labels[i] != 0 ? frauds_all : legitimate_all) += each[i];
  if (frauds_all == 0) return kNaN;
  double caught = 0, alarmed = 0, best = 0;
  each_step(scores, labels, by_falling_score(scores), each, [&](double frauds, double legitimate) {
    caught += frauds;
    alarmed += legitimate;
    if (alarmed <= fpr * legitimate_all) best = caught;
  });
  return best / frauds_all;
}

double calibration_error(std::span<const float> scores, std::span<const uint8_t> labels, size_t bins,
                         std::span<const float> weights) {
  if (scores.empty()) return kNaN;
  const std::vector<uint32_t> order = by_falling_score(scores);
  const Weights each{weights};
  double error = 0, total = 0;
  for (size_t b = 0; b < bins; ++b) {
    const size_t from = order.size() * b / bins, to = order.size() * (b + 1) / bins;
    double predicted = 0, actual = 0;
    for (size_t i = from; i < to; ++i) {
      predicted += each[order[i]] * static_cast<double>(scores[order[i]]);
      actual += labels[order[i]] != 0 ? each[order[i]] : 0;
      total += each[order[i]];
    }
    error += std::fabs(predicted - actual);
  }
  return error / total;
}

double card_precision(std::span<const float> scores, std::span<const uint8_t> labels,
                      std::span<const uint64_t> cards, size_t k) {
  struct Card {
    float best;
    uint64_t card;
    bool fraud;
  };
  std::unordered_map<uint64_t, size_t> index;
  std::vector<Card> all;
  for (size_t i = 0; i < scores.size(); ++i) {
    const auto [it, fresh] = index.try_emplace(cards[i], all.size());
    if (fresh) all.push_back({scores[i], cards[i], false});
    Card& card = all[it->second];
    card.best = std::max(card.best, scores[i]);
    card.fraud |= labels[i] != 0;
  }
  std::sort(all.begin(), all.end(), [](const Card& a, const Card& b) {
    return a.best != b.best ? a.best > b.best : a.card < b.card;
  });
  size_t frauds = 0;
  for (size_t i = 0; i < std::min(k, all.size()); ++i) frauds += all[i].fraud;
  return k == 0 ? kNaN : static_cast<double>(frauds) / static_cast<double>(k);
}

namespace {

// A resample: how often each transaction is drawn.
void draw(uint64_t seed, size_t round, std::vector<uint8_t>& draws) {
  const uint64_t base = mix(seed ^ mix(round));
  for (size_t i = 0; i < draws.size(); ++i)
    draws[i] = poisson_one(static_cast<uint32_t>(mix(base + i) >> 32));
}

}  // namespace

BootstrapResult paired_bootstrap_ap(std::span<const float> champion, std::span<const float> candidate,
                                    std::span<const uint8_t> labels, size_t rounds, uint64_t seed,
                                    std::span<const float> weights) {
  assert(champion.size() == labels.size() && candidate.size() == labels.size());
  const std::vector<uint32_t> champion_order = by_falling_score(champion);
  const std::vector<uint32_t> candidate_order = by_falling_score(candidate);
  std::vector<uint8_t> draws(labels.size());
  double sum = 0, wins = 0;
  size_t counted = 0;
  for (size_t round = 0; round < rounds; ++round) {
    draw(seed, round, draws);
    const Weights each{weights, draws};
    const double difference = average_precision(candidate, labels, candidate_order, each) -
                              average_precision(champion, labels, champion_order, each);
    if (std::isnan(difference)) continue;  // a sample without frauds
    ++counted;
    sum += difference;
    wins += difference > 0 ? 1 : difference == 0 ? 0.5 : 0;
  }
  if (counted == 0) return {0, 0.5};
  return {sum / static_cast<double>(counted), wins / static_cast<double>(counted)};
}

Interval average_precision_interval(std::span<const float> scores, std::span<const uint8_t> labels,
                                    std::span<const float> weights, size_t rounds, uint64_t seed) {
  const std::vector<uint32_t> order = by_falling_score(scores);
  std::vector<uint8_t> draws(labels.size());
  std::vector<double> values;
  for (size_t round = 0; round < rounds; ++round) {
    draw(seed, round, draws);
    const double value = average_precision(scores, labels, order, Weights{weights, draws});
    if (!std::isnan(value)) values.push_back(value);
  }
  std::sort(values.begin(), values.end());
  const auto quantile = [&](double q) {
    return values.empty() ? kNaN
                          : values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
  };
  return {average_precision(scores, labels, order, Weights{weights}), quantile(0.025), quantile(0.975)};
}

}  // namespace shrike::learners
