#include "learners/calibration/platt.h"

#include <algorithm>
#include <cmath>

#include "learners/numeric/numeric.h"

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
  // Margins are centred while fitting: far from 0, slope and shift pull at each other.
  double middle = 0, total = 0;
  for (size_t i = 0; i < window.margins.size(); ++i) {
    middle += static_cast<double>(window.weights[i]) * window.margins[i];
    total += window.weights[i];
  }
  if (total > 0) middle /= total;
  double a = 1, b = middle;
  constexpr double kPull = 1;
  constexpr size_t kBlock = 256;
  float p[kBlock];
  for (int round = 0; round < 20; ++round) {
    double ga = kPull * (a - 1), gb = kPull * (b - a * middle), haa = kPull, hab = 0, hbb = kPull;
    for (size_t from = 0; from < window.margins.size(); from += kBlock) {
      const size_t n = std::min(kBlock, window.margins.size() - from);
      std::copy_n(window.margins.begin() + static_cast<std::ptrdiff_t>(from), n, p);
      logistic_in_place({p, n}, static_cast<float>(a), static_cast<float>(b - a * middle));
      for (size_t i = 0; i < n; ++i) {
        const double m = window.margins[from + i] - middle, w = window.weights[from + i], q = p[i];
        const double g = w * (q - window.labels[from + i]), h = w * q * (1 - q);
        ga += g * m;
        gb += g;
        haa += h * m * m;
        hab += h * m;
        hbb += h;
      }
    }
    const double determinant = haa * hbb - hab * hab;
    if (!(determinant > 1e-12)) break;
    const double da = std::clamp((hbb * ga - hab * gb) / determinant, -0.5, 0.5);
    const double db = std::clamp((haa * gb - hab * ga) / determinant, -2.0, 2.0);
    a = std::clamp(a - da, 0.05, 5.0);
    b = std::clamp(b - db, -30.0, 30.0);
    if (std::fabs(da) + std::fabs(db) < 1e-7) break;
  }
  return {static_cast<float>(a), static_cast<float>(b - a * middle)};
}

}  // namespace shrike::learners
