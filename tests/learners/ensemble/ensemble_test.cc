// What an ensemble adds to its members: doubt while it is young.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "learners/learner.h"

namespace shrike::learners {
namespace {

const std::vector<Column> kColumns = {{"a", ColumnKind::kNumeric}, {"b", ColumnKind::kNumeric}};

// The highest score after `examples` of which a tenth are frauds, plain to see in column a.
float highest_score(uint64_t examples, double doubt) {
  const Options options = {{"members", std::string("linear, boosting")},
                           {"cold", std::string()},
                           {"refresh", int64_t{500}},
                           {"doubt", doubt},
                           {"linear_bin_sample", int64_t{300}},
                           {"boosting_bin_sample", int64_t{300}},
                           {"boosting_grow_every", int64_t{1000}},
                           {"boosting_trees", int64_t{20}}};
  auto learner = make_learner("ensemble", options, kColumns, 3).value();
  std::mt19937 random(11);
  for (uint64_t i = 0; i < examples; ++i) {
    const float label = random() % 10 == 0 ? 1.0f : 0.0f, weight = 1;
    const float row[2] = {10 * label + static_cast<float>(random() % 5), static_cast<float>(random() % 100)};
    learner->partial_fit({row, 2}, {&label, 1}, {&weight, 1}, {&i, 1});
  }
  std::vector<float> rows, scores(15);
  for (int a = 0; a < 15; ++a) rows.insert(rows.end(), {static_cast<float>(a), 50.0f});
  learner->snapshot()->score({rows, 2}, scores);
  EXPECT_LT(*std::max_element(scores.begin(), scores.begin() + 5), 0.05f);
  return *std::max_element(scores.begin(), scores.end());
}

TEST(Ensemble, AYoungOneIsLessCertain) {
  const float without = highest_score(20'000, 0);
  EXPECT_GT(without, 0.99f);
  const float young = highest_score(3'000, 50), old = highest_score(20'000, 50);
  // At most 1 - doubt / (frauds judged + 10 doubt), of some 300 and 2000 frauds.
  EXPECT_LT(young, 1 - 50.0f / 810);
  EXPECT_GT(young, 0.85f);
  EXPECT_LT(old, 1 - 50.0f / 2510);
  EXPECT_GT(old, young);
  EXPECT_GT(old, 0.96f);
}

TEST(Ensemble, TheCeilingIsPartOfTheModel) {
  auto learner = make_learner("ensemble", {{"doubt", 5.0}}, kColumns, 3).value();
  const ModelPtr model = learner->snapshot();
  EXPECT_EQ(model->version(), 3u);
  const std::string bytes = serialize(*model);
  const auto again = load_model(bytes);
  ASSERT_TRUE(again);
  EXPECT_EQ(serialize(**again), bytes);
  const float row[2] = {1, 2};
  float first = 0, second = 0;
  model->score({row, 2}, {&first, 1});
  (*again)->score({row, 2}, {&second, 1});
  EXPECT_EQ(first, second);
  EXPECT_EQ(make_learner("ensemble", {{"doubt", 0.0}}, kColumns, 3).value()->snapshot()->version(), 1u);
  EXPECT_FALSE(make_learner("ensemble", {{"doubt", -1.0}}, kColumns, 3));
}

}  // namespace
}  // namespace shrike::learners
