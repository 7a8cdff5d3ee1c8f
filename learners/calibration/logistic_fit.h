// One logistic regression of a few parameters, fitted by Newton's method: what stacking, Platt's calibration
// and the corrections of isotonic bands share. Penalised: each parameter is pulled towards a value it is
// believed to have, so that one class alone, or few rows, give a finite answer. The same bits on every
// machine. Plain functions.
#pragma once

#include <cstddef>
#include <functional>
#include <limits>
#include <vector>

namespace shrike::learners {

struct LogisticParameter {
  double start = 0;
  double believed = 0;
  double believed_per_first = 0;  // what it is believed to be follows the first parameter
  double pull = 1;                // towards it: so many rows' worth of information
  double step_max = 1;            // of one round
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
};

// Rows as a fit asks for them, in blocks.
struct LogisticBlock {
  static constexpr size_t kRowsMax = 256;
  double* x;  // by how much each parameter moves the log-odds: rows by parameters, one row after the other
  double *label, *weight;
};

struct LogisticProblem {
  static constexpr size_t kParametersMax = 32;
  std::vector<LogisticParameter> parameters;  // 1 to kParametersMax
  size_t rows = 0;
  std::function<void(size_t first, size_t count, const LogisticBlock& block)> fill;
  // The rows' probabilities at these parameters, computed as whoever serves them will.
  std::function<void(size_t first, size_t count, const double* parameters, float* probabilities)> predict;
  int rounds_max = 20;
  double tolerance = 1e-7;  // stops when all steps together are smaller
};

// O(rows * parameters^2) a round.
std::vector<double> fit_logistic(const LogisticProblem& problem);

}  // namespace shrike::learners
