// Against scipy 1.17 (stats.chi2_contingency, kstwobign, chi2, wasserstein_distance, false_discovery_control;
// spatial.distance.jensenshannon in bits), and the index by its formula in numpy.
#include "engine/lifecycle/statistics.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

namespace shrike::engine {
namespace {

const std::vector<double> kFirst = {120, 300, 250, 90, 0, 40}, kSecond = {80, 210, 300, 160, 12, 38};

TEST(Statistics, DistancesAreTheKnownOnes) {
  EXPECT_NEAR(stability_index(kFirst, kSecond), 0.16795140362442004, 1e-14);
  EXPECT_NEAR(jensen_shannon(kFirst, kSecond), 0.17134828708400304, 1e-14);
  const std::vector<double> positions = {0, 1, 2.5, 4, 7, 11};
  EXPECT_NEAR(wasserstein(positions, kFirst, kSecond), 0.49124999999999990, 1e-14);
}

TEST(Statistics, TestsAreTheKnownOnes) {
  const Tested chi2 = chi_square(kFirst, kSecond);
  EXPECT_NEAR(chi2.statistic, 60.07908953791307, 1e-11);
  EXPECT_NEAR(chi2.p / 1.1705650832050377e-11, 1, 1e-9);
  const Tested ks = kolmogorov_smirnov_binned(kFirst, kSecond);
  EXPECT_NEAR(ks.statistic, 0.1625, 1e-14);
  EXPECT_NEAR(ks.p / 1.0257893947755701e-09, 1, 1e-9);
}

TEST(Statistics, TailsAreTheKnownOnes) {
  EXPECT_NEAR(kolmogorov_tail(0.3), 0.9999906941986655, 1e-12);
  EXPECT_NEAR(kolmogorov_tail(0.8276), 0.49995841656354456, 1e-12);
  EXPECT_NEAR(kolmogorov_tail(1.3581), 0.0499996304316674, 1e-12);
  EXPECT_NEAR(kolmogorov_tail(3) / 3.045995948942526e-08, 1, 1e-9);
  EXPECT_NEAR(chi_square_tail(3.841458820694124, 1), 0.05, 1e-12);
  EXPECT_NEAR(chi_square_tail(0.5, 3), 0.9188914116546758, 1e-12);
  EXPECT_NEAR(chi_square_tail(40, 16) / 0.000778590082507362, 1, 1e-9);
  EXPECT_NEAR(chi_square_tail(500, 30) / 1.2079559936814051e-86, 1, 1e-8);
  EXPECT_NEAR(chi_square_tail(12.3, 7.5), 0.11324170969488803, 1e-12);
  EXPECT_NEAR(normal_tails(0.1), 0.920344325445942, 1e-12);
  EXPECT_NEAR(normal_tails(-1.959963984540054), 0.05, 1e-12);
  EXPECT_NEAR(normal_tails(6) / 1.973175290075389e-09, 1, 1e-8);
}

TEST(Statistics, FalseDiscoveriesAreBounded) {
  const std::vector<double> p = {0.216, 0.008, 0.039, 0.041, 0.042, 0.06, 0.074, 0.205, 0.212, 0.001};
  std::vector<bool> expected(10, false);
  expected[1] = expected[9] = true;
  EXPECT_EQ(benjamini_hochberg(p, 0.05), expected);
  EXPECT_EQ(benjamini_hochberg({}, 0.05), std::vector<bool>());
}

TEST(Statistics, NothingIsNoDifference) {
  const std::vector<double> none(6, 0);
  EXPECT_TRUE(std::isnan(stability_index(kFirst, none)));
  EXPECT_TRUE(std::isnan(jensen_shannon(none, none)));
  EXPECT_EQ(chi_square(kFirst, none).p, 1);
  EXPECT_EQ(kolmogorov_smirnov_binned(none, kSecond).p, 1);
  EXPECT_EQ(stability_index(kFirst, kFirst), 0);
  EXPECT_EQ(jensen_shannon(kFirst, kFirst), 0);
  EXPECT_EQ(chi_square(kFirst, kFirst).p, 1);
}

}  // namespace
}  // namespace shrike::engine
