#include "learners/calibration/isotonic.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>

#include "learners/calibration/logistic_fit.h"
#include "learners/numeric/numeric.h"

namespace shrike::learners {
namespace {

constexpr double kBandsMax = 40;
constexpr double kInformationMin = 6;  // of a band: about as many frauds, or legitimate ones, as it expects
constexpr double kPull = 3;            // information's worth of belief in no correction
constexpr double kSlopeMin = 0.05;     // scores keep their order

struct Band {
  double from, to, information;
};

// Pool adjacent violators, then strictly rising again.
Isotonic pool(const std::vector<Band>& bands) {
  // Each pool holds the bands [begin, ...) and their mean.
  struct Pool {
    size_t begin;
    double mean, information;
  };
  std::vector<Pool> pools;
  for (size_t b = 0; b < bands.size(); ++b) {
    pools.push_back({b, bands[b].to, bands[b].information});
    while (pools.size() > 1 && pools[pools.size() - 2].mean >= pools.back().mean) {
      const Pool last = pools.back();
      pools.pop_back();
      Pool& into = pools.back();
      const double both = into.information + last.information;
      into.mean = (into.mean * into.information + last.mean * last.information) / both;
      into.information = both;
    }
  }
  Isotonic fitted;
  for (size_t q = 0; q < pools.size(); ++q) {
    const size_t end = q + 1 < pools.size() ? pools[q + 1].begin : bands.size();
    for (size_t b = pools[q].begin; b < end; ++b) {
      double to = pools[q].mean;
      if (!fitted.to.empty())
        to = std::max(to, fitted.to.back() + kSlopeMin * (bands[b].from - fitted.from.back()));
      fitted.from.push_back(bands[b].from);
      fitted.to.push_back(to);
    }
  }
  return fitted;
}

}  // namespace

double Isotonic::operator()(double x) const {
  if (from.empty()) return x;
  const auto at = static_cast<size_t>(std::upper_bound(from.begin(), from.end(), x) - from.begin());
  if (at == 0) return to[0] + (x - from[0]) * std::min(1.0, (to[1] - to[0]) / (from[1] - from[0]));
  if (at == from.size()) return x + (to.back() - from.back());
  const double share = (x - from[at - 1]) / (from[at] - from[at - 1]);
  return to[at - 1] + share * (to[at] - to[at - 1]);
}

Isotonic fit_isotonic(std::span<const double> log_odds, std::span<const float> labels,
                      std::span<const float> weights) {
  std::vector<uint32_t> order(log_odds.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return log_odds[a] < log_odds[b]; });
  // In that order: log-odds and probabilities.
  std::vector<float> sorted(log_odds.size());
  for (size_t k = 0; k < sorted.size(); ++k) sorted[k] = static_cast<float>(log_odds[order[k]]);
  std::vector<float> p = sorted;
  logistic_in_place(p, 1, 0);
  double total = 0;
  for (size_t k = 0; k < p.size(); ++k) total += static_cast<double>(weights[order[k]] * p[k] * (1 - p[k]));
  // Little information makes few bands, of more than the least each.
  const double enough = std::max(kInformationMin, total / std::min(kBandsMax, std::sqrt(total)));
  std::vector<Band> bands;
  // By how much the band's log-odds are off: Newton's method on its log loss.
  const auto correction = [&](size_t first, size_t last) {
    const auto fill = [&, first](size_t from, size_t count, const LogisticBlock& block) {
      for (size_t r = 0; r < count; ++r) {
        const size_t k = first + from + r;
        block.x[r] = 1;
        block.label[r] = static_cast<double>(labels[order[k]]);
        block.weight[r] = static_cast<double>(weights[order[k]]);
      }
    };
    const auto predict = [&, first](size_t from, size_t count, const double* by, float* at) {
      std::copy_n(sorted.begin() + static_cast<std::ptrdiff_t>(first + from), count, at);
      logistic_in_place({at, count}, 1, static_cast<float>(*by));
    };
    return fit_logistic({.parameters = {{.pull = kPull}},
                         .rows = last + 1 - first,
                         .fill = fill,
                         .predict = predict,
                         .rounds_max = 5,
                         .tolerance = 1e-3})
        .front();
  };
  size_t first = 0;  // of the band
  double information = 0, moment = 0;
  for (size_t k = 0; k < order.size(); ++k) {
    const uint32_t i = order[k];
    const double weight = static_cast<double>(weights[i]), q = static_cast<double>(p[k]),
                 h = weight * q * (1 - q);
    information += h;
    moment += h * log_odds[i];
    const bool same_next = k + 1 < order.size() && log_odds[order[k + 1]] == log_odds[i];
    if (information < enough || same_next) continue;
    const double middle = moment / information;
    if (bands.empty() || middle > bands.back().from + 1e-6)
      bands.push_back({middle, middle + correction(first, k), information});
    first = k + 1;
    information = moment = 0;
  }
  if (bands.size() < 3) return {};
  return pool(bands);
}

}  // namespace shrike::learners
