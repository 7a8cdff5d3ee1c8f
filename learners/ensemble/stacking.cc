#include "learners/ensemble/stacking.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "learners/numeric/numeric.h"

namespace shrike::learners {
namespace {

// Solves a x = b in place by Gaussian elimination with pivoting; a is n x n, positive definite.
void solve(std::vector<double>& a, std::vector<double>& b) {
  const size_t n = b.size();
  for (size_t i = 0; i < n; ++i) {
    size_t pivot = i;
    for (size_t r = i + 1; r < n; ++r) {
      if (std::fabs(a[r * n + i]) > std::fabs(a[pivot * n + i])) pivot = r;
    }
    for (size_t c = 0; c < n; ++c) std::swap(a[i * n + c], a[pivot * n + c]);
    std::swap(b[i], b[pivot]);
    for (size_t r = i + 1; r < n; ++r) {
      const double factor = a[r * n + i] / a[i * n + i];
      for (size_t c = i; c < n; ++c) a[r * n + c] -= factor * a[i * n + c];
      b[r] -= factor * b[i];
    }
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t c = i + 1; c < n; ++c) b[i] -= a[i * n + c] * b[c];
    b[i] /= a[i * n + i];
  }
}

Stack fit(const StackWindow& window, size_t members, const std::vector<size_t>& used) {
  constexpr double kPull = 10;
  constexpr size_t kBlock = 256;
  float probabilities[kBlock];
  const size_t n = used.size() + 1;
  const double equal = 1.0 / static_cast<double>(used.size());
  std::vector<double> w(n, equal), x(n), gradient(n), hessian(n * n);
  w.back() = 0;
  x.back() = 1;
  for (int round = 0; round < 15; ++round) {
    std::fill(hessian.begin(), hessian.end(), 0.0);
    for (size_t i = 0; i < n; ++i) {
      gradient[i] = kPull * (w[i] - (i + 1 < n ? equal : 0));
      hessian[i * n + i] = kPull;
    }
    for (size_t from = 0; from < window.size(); from += kBlock) {
      const size_t rows = std::min(kBlock, window.size() - from);
      for (size_t r = 0; r < rows; ++r) {
        double margin = w.back();
        for (size_t i = 0; i + 1 < n; ++i)
          margin += w[i] * static_cast<double>(window.logits[(from + r) * members + used[i]]);
        probabilities[r] = static_cast<float>(margin);
      }
      logistic_in_place({probabilities, rows}, 1, 0);
      for (size_t r = 0; r < rows; ++r) {
        for (size_t i = 0; i + 1 < n; ++i)
          x[i] = static_cast<double>(window.logits[(from + r) * members + used[i]]);
        const double p = static_cast<double>(probabilities[r]), weight = window.weights[from + r];
        const double g = weight * (p - static_cast<double>(window.labels[from + r])),
                     h = weight * p * (1 - p);
        for (size_t i = 0; i < n; ++i) {
          gradient[i] += g * x[i];
          for (size_t k = 0; k < n; ++k) hessian[i * n + k] += h * x[i] * x[k];
        }
      }
    }
    std::vector<double> step = gradient, a = hessian;
    solve(a, step);
    double moved = 0;
    for (size_t i = 0; i < n; ++i) {
      const double by = std::clamp(step[i], -1.0, 1.0);
      w[i] -= by;
      moved += std::fabs(by);
    }
    if (moved < 1e-8) break;
  }
  Stack stack;
  stack.weights.assign(members, 0.0);
  for (size_t i = 0; i < used.size(); ++i) stack.weights[used[i]] = w[i];
  stack.bias = w.back();
  return stack;
}

}  // namespace

void StackWindow::add(size_t capacity, std::span<const float> row, float label, float weight) {
  const auto at = static_cast<size_t>(next++ % capacity);
  if (labels.size() <= at) {
    logits.resize((at + 1) * row.size());
    labels.resize(at + 1);
    weights.resize(at + 1);
  }
  std::copy(row.begin(), row.end(), logits.begin() + static_cast<std::ptrdiff_t>(at * row.size()));
  labels[at] = label;
  weights[at] = weight;
}

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

Stack fit_stack(const StackWindow& window, size_t members) {
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
