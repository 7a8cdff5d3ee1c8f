// Drift detectors against the answers known for two seeded streams.
#include "learners/drift.h"

#include <gtest/gtest.h>

#include <random>

namespace shrike::learners {
namespace {

// 1000 draws from {0, 1}, then 1000 from {0 .. 7}, as NumPy's legacy generator makes them after seed 12345.
std::vector<double> integers() {
  std::mt19937 random(12345);
  std::vector<double> stream;
  for (int i = 0; i < 1000; ++i) stream.push_back(static_cast<double>(random() & 1));
  for (int i = 0; i < 1000; ++i) stream.push_back(static_cast<double>(random() & 7));
  return stream;
}

// 1000 Bernoulli(0.2), then 1000 Bernoulli(0.8), from the same generator's doubles.
std::vector<double> errors() {
  std::mt19937 random(12345);
  const auto uniform = [&] {
    const double a = random() >> 5, b = random() >> 6;
    return (a * 67108864.0 + b) / 9007199254740992.0;
  };
  std::vector<double> stream;
  for (int i = 0; i < 2000; ++i) {
    // A binomial of one trial by inversion: above one half the complement is drawn.
    stream.push_back(i < 1000 ? (uniform() > 0.8 ? 1 : 0) : (uniform() > 0.8 ? 0 : 1));
  }
  return stream;
}

template <typename Detector>
std::vector<int> fires(Detector detector, const std::vector<double>& stream) {
  std::vector<int> at;
  for (size_t i = 0; i < stream.size(); ++i) {
    if (detector.update(stream[i])) at.push_back(static_cast<int>(i));
  }
  return at;
}

using Fires = std::vector<int>;

TEST(Drift, AdwinOnIntegers) { EXPECT_EQ(fires(Adwin(), integers()), (Fires{1055, 1087, 1215})); }
TEST(Drift, PageHinkleyOnIntegers) { EXPECT_EQ(fires(PageHinkley(), integers()), (Fires{1020, 1991})); }
TEST(Drift, DdmOnErrors) { EXPECT_EQ(fires(Ddm(), errors()), (Fires{1049})); }
TEST(Drift, EddmOnErrors) { EXPECT_EQ(fires(Eddm(), errors()), (Fires{681, 848, 983, 1042, 1089})); }
TEST(Drift, HddmAOnErrors) { EXPECT_EQ(fires(HddmA(), errors()), (Fires{1047})); }
TEST(Drift, HddmWOnErrors) { EXPECT_EQ(fires(HddmW(), errors()), (Fires{1018})); }

// As many older values as are drawn: whatever the seed, all of them.
TEST(Drift, KswinOnIntegers) {
  for (uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_EQ(fires(Kswin(1e-4, 200, 100, seed), integers()), (Fires{1043, 1143})) << seed;
}

TEST(Drift, KswinFindsTheChangeUnderAnySeedAndAlikeUnderOne) {
  bool differ = false;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Fires at = fires(Kswin(1e-4, 200, 30, seed), integers());
    EXPECT_EQ(at, fires(Kswin(1e-4, 200, 30, seed), integers()));
    ASSERT_FALSE(at.empty());
    EXPECT_GT(at[0], 1000);
    EXPECT_LT(at[0], 1040);
    differ |= at != fires(Kswin(1e-4, 200, 30, seed + 1), integers());
  }
  EXPECT_TRUE(differ);
}

TEST(Drift, KswinIsSilentWhereNothingChanges) {
  std::mt19937 random(3);
  int alarms = 0;
  Kswin detector(1e-4, 300, 50, 1);
  for (int i = 0; i < 20000; ++i) alarms += detector.update(static_cast<double>(random() % 1000));
  EXPECT_LE(alarms, 12);
}

// From SciPy's ks_2samp with method "exact".
TEST(Drift, TheTailOfKolmogorovAndSmirnovIsExact) {
  EXPECT_NEAR(ks_tail(10, 6) / 0.05244755244755244, 1, 1e-10);
  EXPECT_NEAR(ks_tail(30, 15) / 0.0008995776840176799, 1, 1e-10);
  EXPECT_NEAR(ks_tail(100, 28) / 0.0007377026282063397, 1, 1e-10);
  EXPECT_NEAR(ks_tail(100, 32) / 6.281176788972264e-05, 1, 1e-10);
  EXPECT_NEAR(ks_tail(100, 99) / 4.417521386399011e-57, 1, 1e-10);
  EXPECT_NEAR(ks_tail(5, 1) / 1.0, 1, 1e-10);
  EXPECT_EQ(ks_tail(10, 0), 1);
}

TEST(Drift, ASavedAdwinGoesOnAlike) {
  const std::vector<double> stream = integers();
  Adwin whole, before;
  for (size_t i = 0; i < 777; ++i) whole.update(stream[i]), before.update(stream[i]);
  Adwin after;
  ASSERT_TRUE(after.restore(before.save()));
  for (size_t i = 777; i < stream.size(); ++i)
    EXPECT_EQ(whole.update(stream[i]), after.update(stream[i])) << i;
  EXPECT_FALSE(after.restore({1, 2, 3}));
}

}  // namespace
}  // namespace shrike::learners
