// The last step of calibration: how far log-odds are off in each band of scores, learned from predictions
// made before their labels were known. Isotonic regression (pool adjacent violators) on bands that hold equal
// Fisher information, in log-odds, shrunk towards no correction; between the bands' middles it is a line,
// below the first that line goes on, above the last the correction stays. It never inverts or ties two
// scores. Plain functions; internal to learners/.
#pragma once

#include <span>
#include <vector>

namespace shrike::learners {

struct Isotonic {
  std::vector<double> from, to;  // log-odds before and after, both strictly rising; empty: no correction

  double operator()(double log_odds) const;
};

// One entry per prediction: log-odds, label (1 fraud, 0 legitimate), weight.
Isotonic fit_isotonic(std::span<const double> log_odds, std::span<const float> labels,
                      std::span<const float> weights);

}  // namespace shrike::learners
