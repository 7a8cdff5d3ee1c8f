// Pairs of columns that the linear family chooses while it learns.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "learners/learner.h"
#include "learners/linear/model.h"
#include "learners/metrics.h"

namespace shrike::learners {
namespace {

// Fraud is where exactly one of `m` and `d` is high (after `switch_at`: of `k` and `b`): neither tells alone.
struct Stream {
  std::vector<float> rows, labels, weights;
  std::vector<uint64_t> keys;
};
const std::vector<Column> kColumns = {{"m", ColumnKind::kNumeric},
                                      {"k", ColumnKind::kCategorical},
                                      {"d", ColumnKind::kNumeric},
                                      {"b", ColumnKind::kNumeric}};

Stream make_stream(size_t n, size_t switch_at, uint32_t seed) {
  std::mt19937 random(seed);
  const auto uniform = [&] { return static_cast<float>(random() % 10000) / 10000.0f; };
  Stream stream;
  for (size_t i = 0; i < n; ++i) {
    const float m = uniform(), d = random() % 9 == 0 ? std::nanf("") : uniform(), b = uniform();
    const auto k = static_cast<float>(random() % 2);
    const bool odd = i < switch_at ? (m > 0.5f) != (d > 0.5f) : (k > 0.5f) != (b > 0.5f);
    stream.rows.insert(stream.rows.end(), {m, k, d, b});
    stream.labels.push_back(uniform() < (odd ? 0.2f : 0.01f) ? 1.0f : 0.0f);
    stream.weights.push_back(1);
    stream.keys.push_back(i);
  }
  return stream;
}

Options options(int64_t pairs) {
  return {{"pairs", pairs},
          {"bin_sample", int64_t{500}},
          {"hash_bits", int64_t{6}},
          {"calibration_window", int64_t{2000}}};
}

std::unique_ptr<Learner> make(int64_t pairs, std::vector<Column> columns = kColumns) {
  return make_learner("linear", options(pairs), std::move(columns), 3).value();
}

void fit(Learner& learner, const Stream& stream, size_t from, size_t to, size_t batch = SIZE_MAX) {
  const size_t k = kColumns.size();
  for (size_t i = from; i < to;) {
    const size_t n = std::min(batch, to - i);
    learner.partial_fit({std::span(stream.rows).subspan(i * k, n * k), k},
                        std::span(stream.labels).subspan(i, n), std::span(stream.weights).subspan(i, n),
                        std::span(stream.keys).subspan(i, n));
    i += n;
  }
}

const LinearModel& as_linear(const ModelPtr& model) { return dynamic_cast<const LinearModel&>(*model); }

double precision(const Learner& learner, const Stream& stream) {
  std::vector<float> scores(stream.labels.size());
  learner.snapshot()->score({stream.rows, kColumns.size()}, scores);
  return average_precision(scores, std::vector<uint8_t>(stream.labels.begin(), stream.labels.end()));
}

TEST(LinearPairs, WhatOnlyTwoColumnsTogetherTellIsLearned) {
  const Stream train = make_stream(20000, 20000, 1), test = make_stream(20000, 20000, 2);
  auto with = make(8), without = make(0);
  fit(*with, train, 0, 20000);
  fit(*without, train, 0, 20000);
  EXPECT_LT(precision(*without, test), 0.14);
  EXPECT_GT(precision(*with, test), 0.17);
  EXPECT_TRUE(as_linear(without->snapshot()).layout_.pairs.empty());
  const auto chosen = as_linear(with->snapshot()).layout_.pairs;
  EXPECT_EQ(chosen, (std::vector<LinearPair>{{2, 0}})) << "d and m, in the order of names";
}

TEST(LinearPairs, APairThatHelpsNoMoreGivesWay) {
  const Stream stream = make_stream(60000, 20000, 3);
  auto learner = make(1);
  fit(*learner, stream, 0, 20000);
  EXPECT_EQ(as_linear(learner->snapshot()).layout_.pairs, (std::vector<LinearPair>{{2, 0}}));
  fit(*learner, stream, 20000, 60000);
  EXPECT_EQ(as_linear(learner->snapshot()).layout_.pairs, (std::vector<LinearPair>{{3, 1}}));
}

TEST(LinearPairs, NoiseIsNotMadeWorse) {
  Stream train = make_stream(40000, 40000, 4), test = make_stream(20000, 20000, 5);
  std::mt19937 random(5);
  for (float& label : train.labels) label = random() % 20 == 0 ? 1.0f : 0.0f;
  for (float& label : test.labels) label = random() % 20 == 0 ? 1.0f : 0.0f;
  const auto loss = [&](int64_t pairs) {
    auto learner = make(pairs);
    fit(*learner, train, 0, 40000);
    std::vector<float> scores(20000);
    learner->snapshot()->score({test.rows, kColumns.size()}, scores);
    return log_loss(scores, std::vector<uint8_t>(test.labels.begin(), test.labels.end()));
  };
  EXPECT_LT(loss(8), loss(0) * 1.005);
}

TEST(LinearPairs, BatchesAndSavingLeaveNoTrace) {
  const Stream stream = make_stream(30000, 12000, 6);
  auto whole = make(2), single = make(2);
  fit(*whole, stream, 0, 30000);
  fit(*single, stream, 0, 30000, 1);
  EXPECT_EQ(whole->save(), single->save());
  EXPECT_FALSE(as_linear(whole->snapshot()).layout_.pairs.empty());
  for (const size_t cut : {size_t{400}, size_t{500}, size_t{3001}, size_t{9999}, size_t{25000}}) {
    auto before = make(2);
    fit(*before, stream, 0, cut);
    const std::string saved = before->save();
    auto after = load_learner(saved, options(2), kColumns, 3);
    ASSERT_TRUE(after) << after.error().reason;
    EXPECT_EQ((*after)->save(), saved);
    fit(**after, stream, cut, 30000);
    EXPECT_EQ((*after)->save(), whole->save()) << "cut at " << cut;
  }
}

TEST(LinearPairs, TheOrderOfFeaturesDoesNotMatter) {
  const Stream stream = make_stream(20000, 20000, 7);
  Stream permuted = stream;
  const std::vector<size_t> order = {3, 2, 0, 1};
  std::vector<Column> columns;
  for (const size_t c : order) columns.push_back(kColumns[c]);
  for (size_t i = 0; i < stream.labels.size(); ++i) {
    for (size_t c = 0; c < 4; ++c) permuted.rows[i * 4 + c] = stream.rows[i * 4 + order[c]];
  }
  auto first = make(8), second = make(8, columns);
  fit(*first, stream, 0, 20000);
  fit(*second, permuted, 0, 20000);
  const ModelPtr a = first->snapshot(), b = second->snapshot();
  const auto pairs_a = as_linear(a).layout_.pairs, pairs_b = as_linear(b).layout_.pairs;
  ASSERT_EQ(pairs_a.size(), pairs_b.size());
  ASSERT_FALSE(pairs_a.empty());
  for (size_t i = 0; i < pairs_a.size(); ++i) {
    EXPECT_EQ(pairs_a[i].a, order[pairs_b[i].a]);
    EXPECT_EQ(pairs_a[i].b, order[pairs_b[i].b]);
  }
  for (size_t i = 0; i < 1000; ++i) {
    EXPECT_NEAR(a->margin(std::span(stream.rows).subspan(i * 4, 4)),
                b->margin(std::span(permuted.rows).subspan(i * 4, 4)), 1e-4);
  }
}

TEST(LinearPairs, HalfOfAPairsShareGoesToEachOfItsColumns) {
  const Stream stream = make_stream(20000, 20000, 8);
  auto learner = make(8);
  fit(*learner, stream, 0, 20000);
  const ModelPtr model = learner->snapshot();
  const LinearModel& linear = as_linear(model);
  ASSERT_EQ(linear.layout_.pairs.size(), 1u);
  std::vector<double> contributions(4);
  for (size_t i = 0; i < 500; ++i) {
    const auto row = std::span(stream.rows).subspan(i * 4, 4);
    const double base = model->explain(row, contributions);
    EXPECT_NEAR(base + std::accumulate(contributions.begin(), contributions.end(), 0.0), model->margin(row),
                1e-9);
    const LinearLayout& layout = linear.layout_;
    const auto coarse = [&](size_t c) { return layout.coarse(c, layout.find(c, row[c])); };
    const uint32_t at = layout.find_pair(0, coarse(2), coarse(0));
    const double half = (static_cast<double>(linear.weights_[at]) - linear.means_[4]) / 2;
    for (const size_t c : {size_t{0}, size_t{2}}) {
      const double own =
          static_cast<double>(linear.weights_[linear.layout_.find(c, row[c])]) - linear.means_[c];
      EXPECT_NEAR(contributions[c], own + half, 1e-9);
    }
  }
}

TEST(LinearPairs, AnyEditOfTheSavedFormLoadsSoundOrIsRefused) {
  const Stream stream = make_stream(20000, 20000, 9);
  auto learner = make(8);
  fit(*learner, stream, 0, 20000);
  const ModelPtr model = learner->snapshot();
  const std::string payload = model->payload();
  EXPECT_EQ(load_linear_model(1, payload).value()->payload(), payload);
  std::mt19937 random(1);
  int sound = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string edited = payload;
    // The pairs are the last field.
    const size_t last = round % 2 == 0 ? 8 : edited.size();
    edited[edited.size() - 1 - random() % last] = static_cast<char>(random());
    const auto loaded = load_linear_model(1, edited);
    sound += loaded.has_value();
    if (!loaded || (*loaded)->columns().size() != 4) continue;
    std::vector<float> scores(100);
    (*loaded)->score({std::span(stream.rows).first(400), 4}, scores);
    for (const float p : scores) EXPECT_TRUE(p > 0 && p < 1);
  }
  EXPECT_GT(sound, 100);
}

// More pairs than can be candidates at once take turns: the last two of 60 columns are found as well.
TEST(LinearPairs, AllPairsOfManyColumnsHaveTheirTurn) {
  constexpr size_t kWide = 60;
  std::vector<Column> columns;
  for (size_t c = 0; c < kWide; ++c) columns.push_back({"c" + std::to_string(10 + c), ColumnKind::kNumeric});
  Options few = options(4);
  few["bin_sample"] = int64_t{250};
  auto learner = make_learner("linear", few, columns, 3).value();
  std::mt19937 random(10);
  std::vector<float> row(kWide);
  for (uint64_t i = 0; i < 40000; ++i) {
    for (float& value : row) value = static_cast<float>(random() % 1000);
    const bool odd = (row[kWide - 1] > 500) != (row[kWide - 2] > 500);
    const float label = random() % 100 < (odd ? 30 : 1) ? 1.0f : 0.0f, weight = 1;
    learner->partial_fit({row, kWide}, {&label, 1}, {&weight, 1}, {&i, 1});
  }
  const auto chosen = as_linear(learner->snapshot()).layout_.pairs;
  EXPECT_NE(std::find(chosen.begin(), chosen.end(), LinearPair{kWide - 2, kWide - 1}), chosen.end());
}

}  // namespace
}  // namespace shrike::learners
