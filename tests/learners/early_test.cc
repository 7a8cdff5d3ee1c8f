// What learners make of the first hundreds of examples.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "learners/learner.h"
#include "learners/metrics.h"
#include "learners/widening.h"

namespace shrike::learners {
namespace {

const std::vector<Column> kColumns = {
    {"a", ColumnKind::kNumeric}, {"b", ColumnKind::kNumeric}, {"c", ColumnKind::kCategorical}};

struct Stream {
  std::vector<float> rows;
  std::vector<float> labels, weights;
  std::vector<uint64_t> keys;
  MatrixView matrix(size_t from, size_t to) const {
    return {std::span(rows).subspan(from * 3, (to - from) * 3), 3};
  }
};

// Three in ten are frauds; columns a and c tell, when there is something to tell.
Stream make_stream(size_t n, uint32_t seed, bool tells) {
  std::mt19937 random(seed);
  const auto uniform = [&] { return static_cast<float>(random() % 10000) / 10000.0f; };
  Stream s;
  for (uint64_t i = 0; i < n; ++i) {
    const float a = uniform(), b = uniform(), c = static_cast<float>(random() % 4);
    const float p = tells ? 0.05f + (a > 0.6f ? 0.45f : 0.0f) + (c == 2 ? 0.4f : 0.0f) : 0.3f;
    s.rows.insert(s.rows.end(), {a, b, c});
    s.labels.push_back(uniform() < p ? 1.0f : 0.0f);
    s.weights.push_back(1);
    s.keys.push_back(i + 1);
  }
  return s;
}

void learn(Learner& learner, const Stream& s, size_t from, size_t to) {
  learner.partial_fit(s.matrix(from, to), std::span(s.labels).subspan(from, to - from),
                      std::span(s.weights).subspan(from, to - from),
                      std::span(s.keys).subspan(from, to - from));
}

TEST(Widening, LooksAreEarlyThenRarerAndAtMultiplesInTheEnd) {
  for (const uint64_t widest : {1, 7, 50, 500, 2000, 10'000}) {
    uint64_t before = 0;
    for (uint64_t at = next_look(0, widest); at < 12 * widest; at = next_look(at, widest)) {
      EXPECT_GT(at, before);
      EXPECT_LE(at - before, widest);
      EXPECT_TRUE(is_look(at, widest));
      if (at > 5 * widest) {
        EXPECT_EQ(at % widest, 0u) << widest;
      }
      // The rhythm is that of whoever looks from anywhere between.
      EXPECT_EQ(next_look(before + (at - before) / 2, widest), at);
      before = at;
    }
    EXPECT_LE(next_look(0, widest), kFirstLook);
  }
}

class Early : public ::testing::TestWithParam<std::string> {};

TEST_P(Early, ThreeHundredExamplesTellFraudFromLegitimate) {
  const Stream s = make_stream(1500, 3, true);
  auto learner = make_learner(GetParam(), {}, kColumns, 1).value();
  learn(*learner, s, 0, 300);
  ASSERT_TRUE(learner->ready()) << learner->waits_for();
  EXPECT_EQ(learner->waits_for(), "");
  std::vector<float> scores(1200);
  learner->snapshot()->score(s.matrix(300, 1500), scores);
  const std::vector<uint8_t> labels(s.labels.begin() + 300, s.labels.end());
  EXPECT_GT(auc(scores, labels), 0.7);
}

TEST_P(Early, ARestoredOneGrowsWhereTheOtherDoes) {
  const Stream s = make_stream(1000, 4, true);
  for (const size_t middle : {60, 100, 437}) {
    auto whole = make_learner(GetParam(), {}, kColumns, 1).value();
    learn(*whole, s, 0, middle);
    auto restored = load_learner(whole->save(), {}, kColumns, 1).value();
    learn(*whole, s, middle, 1000);
    learn(*restored, s, middle, 1000);
    EXPECT_EQ(whole->save(), restored->save());
    EXPECT_EQ(serialize(*whole->snapshot()), serialize(*restored->snapshot()));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Early, ::testing::Values("linear", "boosting", "ensemble"),
                         [](const auto& one) { return one.param; });

TEST(EarlyBoosting, WithOneClassAloneItSaysWhatItWaitsFor) {
  Stream s = make_stream(400, 5, false);
  std::fill(s.labels.begin(), s.labels.end(), 0.0f);
  auto learner = make_learner("boosting", {}, kColumns, 1).value();
  learn(*learner, s, 0, 400);
  EXPECT_FALSE(learner->ready());
  EXPECT_EQ(learner->waits_for(), "no fraud came yet");
}

}  // namespace
}  // namespace shrike::learners
