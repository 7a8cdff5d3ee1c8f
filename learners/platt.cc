#include "learners/platt.h"

#include <algorithm>
#include <cmath>

#include "learners/numeric.h"

namespace shrike::learners {

void MarginWindow::add(size_t capacity, double margin, float label, double weight) {
  const auto at = static_cast<size_t>(next++ % capacity);
  if (margins.size() <= at) {
    margins.resize(at + 1);
    labels.resize(at + 1);
    weights.resize(at + 1);
  }
  margins[at] = static_cast<float>(margin);
  labels[at] = label;
  weights[at] = static_cast<float>(weight);
}

Platt fit_platt(const MarginWindow& window) {
  double a = 1, b = 0;
  constexpr double kPull = 1;
  for (int round = 0; round < 20; ++round) {
    double ga = kPull * (a - 1), gb = kPull * b, haa = kPull, hab = 0, hbb = kPull;
    for (size_t i = 0; i < window.margins.size(); ++i) {
      const double m = window.margins[i], w = window.weights[i];
      const double p = logistic(a * m + b);
      const double g = w * (p - window.labels[i]), h = w * p * (1 - p);
      ga += g * m;
      gb += g;
      haa += h * m * m;
      hab += h * m;
      hbb += h;
    }
    const double determinant = haa * hbb - hab * hab;
    if (!(determinant > 1e-12)) break;
    const double da = std::clamp((hbb * ga - hab * gb) / determinant, -0.5, 0.5);
    const double db = std::clamp((haa * gb - hab * ga) / determinant, -2.0, 2.0);
    a = std::clamp(a - da, 0.05, 5.0);
    b = std::clamp(b - db, -20.0, 20.0);
    if (std::fabs(da) + std::fabs(db) < 1e-7) break;
  }
  return {static_cast<float>(a), static_cast<float>(b)};
}

}  // namespace shrike::learners
