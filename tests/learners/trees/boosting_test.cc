// What boosting does with its trees over time: going on from a model made elsewhere, threads, refreshing.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "learners/learner.h"
#include "learners/metrics.h"
#include "learners/trees/model.h"
#include "tests/learners/support.h"

namespace shrike::learners {
namespace {

const std::vector<Column> kColumns = {
    {"a", ColumnKind::kNumeric}, {"b", ColumnKind::kNumeric}, {"c", ColumnKind::kNumeric}};

struct Data {
  std::vector<float> rows, labels, weights;
  std::vector<uint64_t> keys;
  MatrixView matrix() const { return {rows, 3}; }
};

// Frauds have a high `a` while `b` is low.
Data make(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  Data data;
  const auto uniform = [&] { return static_cast<float>(random() % 1000) / 1000; };
  for (size_t i = 0; i < n; ++i) {
    const float a = uniform(), b = uniform(), c = random() % 5 == 0 ? NAN : uniform();
    data.rows.insert(data.rows.end(), {a, b, c});
    data.labels.push_back(a > 0.8f && b < 0.4f && uniform() < 0.8f ? 1.0f : 0.0f);
    data.weights.push_back(1);
    data.keys.push_back(seed * 1'000'000 + i);
  }
  return data;
}

std::unique_ptr<Learner> boosting(Options more = {}, const char* family = "boosting") {
  Options options = {{"trees", int64_t{20}},
                     {"bin_sample", int64_t{500}},
                     {"grow_every", int64_t{500}},
                     {"grow_trees", int64_t{10}}};
  more.merge(options);
  auto made = make_learner(family, more, kColumns, 3);
  EXPECT_TRUE(made) << made.error().field << made.error().reason;
  return std::move(*made);
}

void fit(Learner& learner, const Data& data) {
  learner.partial_fit(data.matrix(), data.labels, data.weights, data.keys);
}

double ap(const Model& model, const Data& data) {
  std::vector<float> scores(data.labels.size());
  model.score(data.matrix(), scores);
  return average_precision(scores, std::vector<uint8_t>(data.labels.begin(), data.labels.end()));
}

// One tree: high `a` is fraud, wherever `b` is.
ModelPtr elsewhere(float slope) {
  Tree tree;
  tree.nodes = {{0.8f, 10, 0, 1, true}, {-3, 8, -1, 0, false}, {1, 2, -1, 0, false}};
  return std::make_shared<TreeModel>("boosting", kColumns, -0.5f, std::vector<Tree>{tree},
                                     Platt{slope, 0.25f}, "xgboost");
}

TEST(Boosting, GoesOnFromAModelMadeElsewhere) {
  const Data train = make(6000, 1), test = make(4000, 2);
  for (const bool early : {true, false}) {
    auto learner = boosting();
    if (!early) fit(*learner, make(1200, 3));
    const ModelPtr model = elsewhere(1.5f);
    const auto adopted = learner->adopt(*model);
    ASSERT_TRUE(adopted) << adopted.error().reason;
    EXPECT_TRUE(learner->ready());
    // At first it says what the model says, calibration included.
    std::vector<float> theirs(test.labels.size()), ours(test.labels.size());
    model->score(test.matrix(), theirs);
    learner->snapshot()->score(test.matrix(), ours);
    for (size_t i = 0; i < ours.size(); ++i) ASSERT_NEAR(ours[i], theirs[i], 1e-5f);
    const double before = ap(*model, test);
    fit(*learner, train);
    EXPECT_GT(ap(*learner->snapshot(), test), before + 0.1);
  }
}

TEST(Boosting, WhatItCannotGoOnFromIsRefused) {
  auto small = boosting({{"trees", int64_t{20}}});
  std::vector<Tree> many(21);
  const TreeModel large("boosting", kColumns, 0, many, Platt{}, "lightgbm");
  auto adopted = small->adopt(large);
  ASSERT_FALSE(adopted);
  EXPECT_NE(adopted.error().reason.find("21 trees"), std::string::npos);
  const TreeModel other("boosting", {{"z", ColumnKind::kNumeric}}, 0, {Tree{}}, Platt{}, "xgboost");
  EXPECT_FALSE(small->adopt(other));
  EXPECT_FALSE(boosting({}, "boosting")->adopt(*make_prior_model(kColumns, 0.1)));
  EXPECT_FALSE(make_learner("linear", {}, kColumns, 1).value()->adopt(*elsewhere(1)));
}

TEST(Boosting, RefreshedLeavesFollowAChangeAndThreadsLeaveNoTrace) {
  Data after = make(8000, 5);
  for (size_t i = 0; i < after.labels.size(); ++i)  // frauds move to a low `a`
    after.labels[i] = after.rows[3 * i] < 0.2f && after.rows[3 * i + 1] < 0.4f ? 1.0f : 0.0f;
  auto plain =
      boosting({{"grow_trees", int64_t{1}}, {"frauds_max", int64_t{300}}, {"negatives_max", int64_t{4000}}});
  auto refreshed = boosting({{"grow_trees", int64_t{1}},
                             {"frauds_max", int64_t{300}},
                             {"negatives_max", int64_t{4000}},
                             {"refresh_trees", int64_t{10}}});
  for (Learner* one : {plain.get(), refreshed.get()}) fit(*one, make(6000, 4)), fit(*one, after);
  EXPECT_GT(ap(*refreshed->snapshot(), after), ap(*plain->snapshot(), after) - 0.01);
  EXPECT_NE(plain->save(), refreshed->save());
}

TEST(Boosting, AFullRenewalForgetsTheTreesItHad) {
  auto never = boosting(), renewed = boosting({{"renew_every", int64_t{3000}}});
  const Data first = make(2900, 6), rest = make(200, 7);
  for (Learner* one : {never.get(), renewed.get()}) fit(*one, first);
  const auto trees = [](const Learner& learner) {
    const ModelPtr model = learner.snapshot();
    return dynamic_cast<const TreeModel&>(*model).scorer().trees();
  };
  const auto before = trees(*renewed);
  ASSERT_EQ(before.size(), 20u);
  for (Learner* one : {never.get(), renewed.get()}) fit(*one, rest);
  const auto same = [&](const std::vector<Tree>& now) {
    size_t n = 0;
    for (const Tree& one : now) {
      for (const Tree& other : before) {
        n += one.nodes.size() == other.nodes.size() && one.nodes[0].value == other.nodes[0].value &&
             one.nodes.back().value == other.nodes.back().value;
      }
    }
    return n;
  };
  EXPECT_GE(same(trees(*never)), 5u);
  EXPECT_EQ(same(trees(*renewed)), 0u);
  EXPECT_EQ(trees(*renewed).size(), 20u);
}

class OnThreads : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Families, OnThreads, ::testing::Values("boosting", "forest", "ensemble"));

TEST_P(OnThreads, TheResultIsThatOfOneThread) {
  Options options;
  if (GetParam() == "ensemble")
    options = {{"refresh", int64_t{500}},
               {"boosting_refresh_trees", int64_t{5}},
               {"boosting_bin_sample", int64_t{500}},
               {"forest_bin_sample", int64_t{300}},
               {"linear_bin_sample", int64_t{300}}};
  if (GetParam() == "forest") options = {{"bin_sample", int64_t{300}}};
  if (GetParam() == "boosting") options = {{"bin_sample", int64_t{500}}, {"refresh_trees", int64_t{5}}};
  auto one = make_learner(GetParam(), options, kColumns, 3).value();
  auto many = make_learner(GetParam(), options, kColumns, 3).value();
  Backwards threads;
  many->use(&threads);
  for (uint32_t part = 0; part < 6; ++part) {
    const Data data = make(2000, 10 + part);
    fit(*one, data);
    fit(*many, data);
  }
  EXPECT_GT(threads.runs, 10u);
  EXPECT_EQ(one->save(), many->save());
  EXPECT_EQ(serialize(*one->snapshot()), serialize(*many->snapshot()));
}

}  // namespace
}  // namespace shrike::learners
