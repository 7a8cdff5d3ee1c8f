#include "learners/calibration/platt.h"

#include <algorithm>
#include <vector>

#include "learners/calibration/logistic_fit.h"
#include "learners/numeric/numeric.h"

namespace shrike::learners {

Platt fit_platt(const PredictionWindow& window) {
  // Margins are centred while fitting: far from 0, slope and shift pull at each other.
  double middle = 0, total = 0;
  for (size_t i = 0; i < window.size(); ++i) {
    middle += static_cast<double>(window.weights[i]) * window.rows[i];
    total += window.weights[i];
  }
  if (total > 0) middle /= total;
  const auto fill = [&](size_t first, size_t count, const LogisticBlock& block) {
    for (size_t r = 0; r < count; ++r) {
      block.x[2 * r] = window.rows[first + r] - middle;
      block.x[2 * r + 1] = 1;
      block.label[r] = window.labels[first + r];
      block.weight[r] = window.weights[first + r];
    }
  };
  const auto predict = [&](size_t first, size_t count, const double* w, float* p) {
    std::copy_n(window.rows.begin() + static_cast<std::ptrdiff_t>(first), count, p);
    logistic_in_place({p, count}, static_cast<float>(w[0]), static_cast<float>(w[1] - w[0] * middle));
  };
  // Towards slope 1 and, before centring, shift 0.
  const std::vector<double> fitted = fit_logistic(
      {.parameters =
           {{.start = 1, .believed = 1, .step_max = 0.5, .least = 0.05, .most = 5},
            {.start = middle, .believed_per_first = middle, .step_max = 2, .least = -30, .most = 30}},
       .rows = window.size(),
       .fill = fill,
       .predict = predict});
  return {static_cast<float>(fitted[0]), static_cast<float>(fitted[1] - fitted[0] * middle)};
}

}  // namespace shrike::learners
