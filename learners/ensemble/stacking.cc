#include "learners/ensemble/stacking.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "learners/calibration/logistic_fit.h"
#include "learners/numeric/numeric.h"

namespace shrike::learners {
namespace {

Stack fit(const PredictionWindow& window, size_t members, const std::vector<size_t>& used) {
  constexpr double kPull = 10;
  const size_t n = used.size() + 1;
  const double equal = 1.0 / static_cast<double>(used.size());
  std::vector<LogisticParameter> parameters(n, {.start = equal, .believed = equal, .pull = kPull});
  parameters.back() = {.pull = kPull};
  const auto fill = [&](size_t first, size_t count, const LogisticBlock& block) {
    for (size_t r = 0; r < count; ++r) {
      for (size_t i = 0; i + 1 < n; ++i)
        block.x[r * n + i] = static_cast<double>(window.rows[(first + r) * members + used[i]]);
      block.x[r * n + n - 1] = 1;
      block.label[r] = static_cast<double>(window.labels[first + r]);
      block.weight[r] = static_cast<double>(window.weights[first + r]);
    }
  };
  const auto predict = [&](size_t first, size_t count, const double* w, float* p) {
    for (size_t r = 0; r < count; ++r) {
      double margin = w[n - 1];
      for (size_t i = 0; i + 1 < n; ++i)
        margin += w[i] * static_cast<double>(window.rows[(first + r) * members + used[i]]);
      p[r] = static_cast<float>(margin);
    }
    logistic_in_place({p, count}, 1, 0);
  };
  const std::vector<double> w = fit_logistic({.parameters = std::move(parameters),
                                              .rows = window.size(),
                                              .fill = fill,
                                              .predict = predict,
                                              .rounds_max = 15,
                                              .tolerance = 1e-8});
  Stack stack;
  stack.weights.assign(members, 0.0);
  for (size_t i = 0; i < used.size(); ++i) stack.weights[used[i]] = w[i];
  stack.bias = w.back();
  return stack;
}

}  // namespace

void Switcher::update(double margin, std::span<const float> logits, float label, float weight) {
  constexpr double kShare = 1e-4;  // of each row, what all get alike: about one change in 10,000 rows
  const size_t n = logits.size();
  const double sign = label > 0.5f ? -1 : 1;
  double total = 0;
  for (size_t k = 0; k <= n; ++k) {
    const double one = k < n ? static_cast<double>(logits[k]) : margin;
    // exp(-log loss) is the probability given to what happened.
    const double p = logistic(std::clamp(-sign * one, -15.0, 15.0));
    shares[k] *= weight == 1 ? p : exact_exp(static_cast<double>(weight) * exact_log(p));
    total += shares[k];
  }
  const double equal = kShare / static_cast<double>(n + 1);
  for (double& one : shares)
    one = total > 0 ? one / total * (1 - kShare) + equal : 1 / static_cast<double>(n + 1);
}

Stack mixed(Stack stack, const Switcher& switcher) {
  const size_t n = stack.weights.size();
  for (double& one : stack.weights) one *= switcher.shares[n];
  for (size_t k = 0; k < n; ++k) stack.weights[k] += switcher.shares[k];
  stack.bias *= switcher.shares[n];
  return stack;
}

Stack fit_stack(const PredictionWindow& window, size_t members) {
  std::vector<size_t> used;
  for (size_t k = 0; k < members; ++k) used.push_back(k);
  while (true) {
    Stack stack = fit(window, members, used);
    const auto least = std::min_element(
        used.begin(), used.end(), [&](size_t a, size_t b) { return stack.weights[a] < stack.weights[b]; });
    if (stack.weights[*least] >= 0 || used.size() == 1) {
      for (double& one : stack.weights) one = std::max(one, 0.0);
      return stack;
    }
    used.erase(least);
  }
}

}  // namespace shrike::learners
