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
