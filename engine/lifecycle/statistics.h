// How two distributions differ, from counts in the same bins: distances, tests and their tails. Plain
// functions. Exact in their bits on every machine (their own exp and log), so that a replay judges as it was
// judged. engine/replay/comparison.h has PSI and KS of whole samples, for reports.
#pragma once

#include <span>
#include <vector>

namespace shrike::engine {

// Both sides of a comparison are counts by bin; a side may be a mixture, so counts need not be whole.
using BinCounts = std::span<const double>;

// Population stability index: the sum of (q - p) ln(q / p), p and q the bin's share of first and second. A
// bin that one side leaves empty counts there as half a row; one that both do is left out. NaN without a row.
double stability_index(BinCounts first, BinCounts second);

// Jensen-Shannon distance: the square root of the divergence in bits, in [0, 1] (J. Lin, 1991). NaN without a
// row.
double jensen_shannon(BinCounts first, BinCounts second);

// What the two are expected to be (to first order) for two samples of one population that have these rows.
double stability_index_by_chance(BinCounts first, BinCounts second);
double jensen_shannon_by_chance(BinCounts first, BinCounts second);

// Wasserstein-1 distance between what lies at rising `positions`. NaN without a row.
double wasserstein(std::span<const double> positions, BinCounts first, BinCounts second);

struct Tested {
  double statistic = 0;
  double p = 1;
};
// Kolmogorov-Smirnov on ordered bins: cautious, for the largest difference may lie within a bin. `p` by the
// asymptotic distribution with Stephens's correction (1970).
Tested kolmogorov_smirnov_binned(BinCounts first, BinCounts second);
// Chi-square of homogeneity, with as many degrees of freedom as bins that are not empty, less one.
Tested chi_square(BinCounts first, BinCounts second);

// P(X >= x): of chi-square with `degrees` of freedom; of Kolmogorov's distribution; of |Z|, Z standard
// normal.
double chi_square_tail(double x, double degrees);
double kolmogorov_tail(double x);
double normal_tails(double z);

// Which of the hypotheses are refused when the expected share of false ones among them is to be at most
// `alpha` (Benjamini and Hochberg, 1995).
std::vector<bool> benjamini_hochberg(std::span<const double> p, double alpha);

}  // namespace shrike::engine
