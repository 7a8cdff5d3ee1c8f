// Scalar arithmetic in a fixed order, so that bits do not depend on the machine.
#define EIGEN_DONT_VECTORIZE
#define EIGEN_DONT_PARALLELIZE
#include "learners/calibration/logistic_fit.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cassert>
#include <cmath>

namespace shrike::learners {
namespace {

constexpr int kMax = static_cast<int>(LogisticProblem::kParametersMax);
// Their sizes are bounded, so that none of them allocates.
using Vector = Eigen::Matrix<double, Eigen::Dynamic, 1, 0, kMax, 1>;
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, 0, kMax, kMax>;

struct Buffers {
  explicit Buffers(size_t parameters) : x(parameters * LogisticBlock::kRowsMax) {}
  std::vector<double> x;
  double label[LogisticBlock::kRowsMax], weight[LogisticBlock::kRowsMax];
  float probability[LogisticBlock::kRowsMax];
};

// Adds a block's rows to gradient and Hessian of the weighted log loss at `w`.
void add_rows(const LogisticProblem& problem, size_t first, size_t count, const Vector& w, Buffers& buffers,
              Vector& gradient, Matrix& hessian) {
  problem.fill(first, count, {buffers.x.data(), buffers.label, buffers.weight});
  problem.predict(first, count, w.data(), buffers.probability);
  const auto row = [&](size_t r) {
    return Eigen::Map<const Eigen::VectorXd>(&buffers.x[r * static_cast<size_t>(w.size())], w.size());
  };
  for (size_t r = 0; r < count; ++r) {
    const double p = static_cast<double>(buffers.probability[r]), weight = buffers.weight[r];
    gradient += weight * (p - buffers.label[r]) * row(r);
    hessian.noalias() += (weight * p * (1 - p) * row(r)).lazyProduct(row(r).transpose());
  }
}

}  // namespace

std::vector<double> fit_logistic(const LogisticProblem& problem) {
  const size_t n = problem.parameters.size();
  assert(n > 0 && n <= LogisticProblem::kParametersMax);
  const auto size = static_cast<Eigen::Index>(n);
  Vector w(size), believed(size), per_first(size), pull(size), gradient(size);
  for (Eigen::Index i = 0; i < size; ++i) {
    const LogisticParameter& parameter = problem.parameters[static_cast<size_t>(i)];
    w[i] = parameter.start;
    believed[i] = parameter.believed;
    per_first[i] = parameter.believed_per_first;
    pull[i] = parameter.pull;
  }
  Matrix hessian(size, size);
  Buffers buffers(n);
  for (int round = 0; round < problem.rounds_max; ++round) {
    gradient = pull.cwiseProduct(w - believed - w[0] * per_first);
    hessian = pull.asDiagonal();
    for (size_t first = 0; first < problem.rows; first += LogisticBlock::kRowsMax) {
      add_rows(problem, first, std::min(LogisticBlock::kRowsMax, problem.rows - first), w, buffers, gradient,
               hessian);
    }
    const Vector step = hessian.ldlt().solve(gradient);
    double moved = 0;
    for (Eigen::Index i = 0; i < size; ++i) {
      const LogisticParameter& parameter = problem.parameters[static_cast<size_t>(i)];
      const double by = std::clamp(step[i], -parameter.step_max, parameter.step_max);
      if (std::isnan(by)) return {w.data(), w.data() + size};
      w[i] = std::clamp(w[i] - by, parameter.least, parameter.most);
      moved += std::fabs(by);
    }
    if (moved < problem.tolerance) break;
  }
  return {w.data(), w.data() + size};
}

}  // namespace shrike::learners
