// What every learner must do, put to each registered family.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "learners/learner.h"
#include "learners/metrics.h"
#include "learners/saved/sealed.h"

namespace shrike::learners {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Data {
  size_t columns = 0;
  std::vector<float> rows, labels, weights;
  std::vector<uint64_t> keys;

  size_t size() const { return labels.size(); }
  MatrixView matrix(size_t from, size_t to) const {
    return {std::span(rows).subspan(from * columns, (to - from) * columns), columns};
  }
};

std::vector<Column> columns() {
  return {{"a", ColumnKind::kNumeric},
          {"b", ColumnKind::kNumeric},
          {"c", ColumnKind::kCategorical},
          {"d", ColumnKind::kNumeric}};
}

// Frauds have a high `a`, or a category of 3; `b` is noise; `d` is often missing.
Data make_data(size_t n, uint32_t seed) {
  std::mt19937 random(seed);
  Data data{4, {}, {}, {}, {}};
  const auto uniform = [&] { return static_cast<float>(random() % 10000) / 10000.0f; };
  for (size_t i = 0; i < n; ++i) {
    const float a = uniform() * 100, b = uniform(), d = random() % 3 == 0 ? kNaN : uniform();
    const auto c = static_cast<float>(random() % 20);
    const bool fraud = (a > 90 && uniform() < 0.6f) || (c == 3 && uniform() < 0.4f) || uniform() < 0.01f;
    data.rows.insert(data.rows.end(), {a, b, c, d});
    data.labels.push_back(fraud ? 1.0f : 0.0f);
    data.weights.push_back(1.0f);
    data.keys.push_back(i * 7919 + seed);
  }
  return data;
}

class Conformance : public ::testing::TestWithParam<std::string> {
 protected:
  // Options that make a family quick to begin; only those it knows.
  static Options options(const std::string& family) {
    Options chosen;
    for (const FamilyInfo& info : families()) {
      if (info.name != family) continue;
      for (const OptionInfo& option : info.options) {
        if (option.name.ends_with("bin_sample")) chosen[option.name] = int64_t{500};
        if (option.name.ends_with("hash_bits")) chosen[option.name] = int64_t{10};
        if (option.name.ends_with("calibration_window")) chosen[option.name] = int64_t{2000};
        if (option.name == "window") chosen[option.name] = int64_t{500};
        if (option.name == "refresh") chosen[option.name] = int64_t{300};
      }
    }
    return chosen;
  }
  std::unique_ptr<Learner> make(std::vector<Column> with = columns(), uint64_t seed = 5) const {
    auto learner = make_learner(GetParam(), options(GetParam()), std::move(with), seed);
    EXPECT_TRUE(learner) << learner.error().reason;
    return std::move(*learner);
  }
  // As an engine does it: each row is observed when it is scored, and learned when its label comes.
  static void fit(Learner& learner, const Data& data, size_t from, size_t to) {
    if (learner.observes())
      learner.observe(data.matrix(from, to), std::span(data.keys).subspan(from, to - from));
    learn(learner, data, from, to);
  }
  static void learn(Learner& learner, const Data& data, size_t from, size_t to) {
    learner.partial_fit(data.matrix(from, to), std::span(data.labels).subspan(from, to - from),
                        std::span(data.weights).subspan(from, to - from),
                        std::span(data.keys).subspan(from, to - from));
  }
  static bool needs_labels() {
    for (const FamilyInfo& info : families()) {
      if (info.name == GetParam()) return info.needs_labels;
    }
    return true;
  }
  static std::vector<float> scores(const Model& model, const Data& data) {
    std::vector<float> out(data.size());
    model.score(data.matrix(0, data.size()), out);
    return out;
  }
};

TEST_P(Conformance, TheSameExamplesGiveTheSameBytes) {
  const Data data = make_data(3000, 1);
  auto first = make(), second = make();
  fit(*first, data, 0, data.size());
  fit(*second, data, 0, data.size());
  EXPECT_EQ(first->save(), second->save());
  EXPECT_EQ(serialize(*first->snapshot()), serialize(*second->snapshot()));
}

TEST_P(Conformance, ABatchEqualsItsRowsOneByOne) {
  const Data data = make_data(2500, 2);
  auto whole = make(), single = make(), sevens = make();
  fit(*whole, data, 0, data.size());
  for (size_t i = 0; i < data.size(); ++i) fit(*single, data, i, i + 1);
  for (size_t i = 0; i < data.size(); i += 7) fit(*sevens, data, i, std::min(i + 7, data.size()));
  EXPECT_EQ(whole->save(), single->save());
  EXPECT_EQ(whole->save(), sevens->save());
}

TEST_P(Conformance, ItSaysWhatItWaitsForUntilItIsReady) {
  const Data data = make_data(3000, 9);
  auto learner = make();
  EXPECT_FALSE(learner->ready());
  for (size_t i = 0; i < data.size(); i += 100) {
    EXPECT_EQ(learner->waits_for().empty(), learner->ready()) << i << ": " << learner->waits_for();
    fit(*learner, data, i, i + 100);
  }
  EXPECT_TRUE(learner->ready());
}

TEST_P(Conformance, ALoadedLearnerContinuesToIdenticalState) {
  const Data data = make_data(4000, 3);
  for (const size_t cut : {size_t{0}, size_t{100}, size_t{499}, size_t{500}, size_t{1700}, size_t{3999}}) {
    auto whole = make(), before = make();
    fit(*whole, data, 0, data.size());
    fit(*before, data, 0, cut);
    const std::string saved = before->save();
    auto after = load_learner(saved, options(GetParam()), columns(), 5);
    ASSERT_TRUE(after) << after.error().reason;
    EXPECT_EQ((*after)->save(), saved);
    EXPECT_EQ((*after)->examples(), cut);
    fit(**after, data, cut, data.size());
    EXPECT_EQ((*after)->save(), whole->save()) << "cut at " << cut;
  }
}

TEST_P(Conformance, ASavedModelScoresTheSame) {
  const Data data = make_data(3000, 4);
  auto learner = make();
  fit(*learner, data, 0, data.size());
  const ModelPtr model = learner->snapshot();
  const std::string bytes = serialize(*model);
  const auto loaded = load_model(bytes);
  ASSERT_TRUE(loaded) << loaded.error().reason;
  EXPECT_EQ(scores(*model, data), scores(**loaded, data));
  EXPECT_EQ(serialize(**loaded), bytes);
  EXPECT_EQ(content_hash(bytes).size(), 32u);
}

TEST_P(Conformance, ASnapshotDoesNotLearn) {
  const Data data = make_data(3000, 5);
  auto learner = make();
  fit(*learner, data, 0, 2000);
  const ModelPtr model = learner->snapshot();
  const std::vector<float> before = scores(*model, data);
  fit(*learner, data, 2000, 3000);
  EXPECT_EQ(scores(*model, data), before);
}

TEST_P(Conformance, ItLearnsAndIsCalibrated) {
  const Data train = make_data(20000, 6), test = make_data(10000, 7);
  auto learner = make();
  fit(*learner, train, 0, train.size());
  const std::vector<float> predicted = scores(*learner->snapshot(), test);
  std::vector<uint8_t> labels(test.labels.begin(), test.labels.end());
  const double base = std::accumulate(labels.begin(), labels.end(), 0.0) / static_cast<double>(labels.size());
  // What is unusual here is not what is fraud: without labels nothing tells.
  if (needs_labels()) {
    EXPECT_GT(average_precision(predicted, labels), 4 * base);
  }
  EXPECT_LT(calibration_error(predicted, labels, 10), 0.03);
}

TEST_P(Conformance, TheOrderOfFeaturesDoesNotMatter) {
  const Data train = make_data(6000, 8);
  Data permuted = train;
  const std::vector<size_t> order = {3, 1, 0, 2};
  const std::vector<Column> names = columns();
  std::vector<Column> permuted_names;
  for (const size_t c : order) permuted_names.push_back(names[c]);
  for (size_t i = 0; i < train.size(); ++i) {
    for (size_t c = 0; c < 4; ++c) permuted.rows[i * 4 + c] = train.rows[i * 4 + order[c]];
  }
  auto first = make(), second = make(permuted_names);
  fit(*first, train, 0, train.size());
  fit(*second, permuted, 0, permuted.size());
  const auto a = scores(*first->snapshot(), train), b = scores(*second->snapshot(), permuted);
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 2e-3f);
}

TEST_P(Conformance, OneClassOnlyGivesFiniteProbabilities) {
  for (const float only : {0.0f, 1.0f}) {
    Data data = make_data(2000, 9);
    std::fill(data.labels.begin(), data.labels.end(), only);
    auto learner = make();
    fit(*learner, data, 0, data.size());
    for (const float p : scores(*learner->snapshot(), data)) {
      ASSERT_GT(p, 0);
      ASSERT_LT(p, 1);
      ASSERT_NEAR(p, only, 0.2f);
    }
  }
}

TEST_P(Conformance, AWeightWorksLikeRepetition) {
  const Data data = make_data(6000, 10);
  Data weighted = data, repeated{4, {}, {}, {}, {}};
  for (size_t i = 0; i < data.size(); ++i) {
    const int times = data.labels[i] > 0.5f ? 3 : 1;
    weighted.weights[i] = static_cast<float>(times);
    for (int k = 0; k < times; ++k) {
      repeated.rows.insert(repeated.rows.end(), data.rows.begin() + static_cast<std::ptrdiff_t>(i * 4),
                           data.rows.begin() + static_cast<std::ptrdiff_t>(i * 4 + 4));
      repeated.labels.push_back(data.labels[i]);
      repeated.weights.push_back(1);
      repeated.keys.push_back(data.keys[i]);
    }
  }
  auto by_weight = make(), by_repetition = make(), plain = make();
  fit(*by_weight, weighted, 0, weighted.size());
  fit(*by_repetition, repeated, 0, repeated.size());
  fit(*plain, data, 0, data.size());
  const auto mean = [&](Learner& learner) {
    const auto s = scores(*learner.snapshot(), data);
    return std::accumulate(s.begin(), s.end(), 0.0) / static_cast<double>(s.size());
  };
  const double weighted_mean = mean(*by_weight), repeated_mean = mean(*by_repetition),
               plain_mean = mean(*plain);
  EXPECT_NEAR(weighted_mean, repeated_mean,
              0.25 * repeated_mean);  // one large step against several small ones
  // By the probabilities that make_data() draws with, three times the weight gives 1.58 times the mean.
  EXPECT_GT(weighted_mean, 1.4 * plain_mean);
  // What needs no labels gives every row about the share of fraud, which becomes 2.5 times what it was.
  EXPECT_LT(weighted_mean, (needs_labels() ? 1.8 : 2.8) * plain_mean);
}

TEST_P(Conformance, AWeightOfZeroTeachesNothing) {
  Data data = make_data(3000, 11);
  auto learner = make();
  fit(*learner, data, 0, 2000);
  const std::vector<float> before = scores(*learner->snapshot(), data);
  std::fill(data.weights.begin() + 2000, data.weights.end(), 0.0f);
  std::fill(data.labels.begin() + 2000, data.labels.end(), 1.0f);
  learn(*learner, data, 2000, 2400);
  EXPECT_EQ(scores(*learner->snapshot(), data), before);
}

TEST_P(Conformance, NaNAndInfinityAreScoredAndLearned) {
  Data data = make_data(3000, 12);
  std::mt19937 random(1);
  for (float& value : data.rows) {
    const uint32_t dice = random() % 12;
    if (dice == 0) value = kNaN;
    if (dice == 1) value = kInfinity;
    if (dice == 2) value = -kInfinity;
    if (dice == 3) value = std::numeric_limits<float>::max();
  }
  auto learner = make();
  fit(*learner, data, 0, data.size());
  for (const float p : scores(*learner->snapshot(), data)) ASSERT_TRUE(p > 0 && p < 1) << p;
}

TEST_P(Conformance, ContributionsSumToTheMargin) {
  const Data data = make_data(3000, 13);
  auto learner = make();
  fit(*learner, data, 0, data.size());
  const ModelPtr model = learner->snapshot();
  std::vector<double> contributions(4);
  for (size_t i = 0; i < 500; ++i) {
    const auto row = data.matrix(i, i + 1).row(0);
    const double base = model->explain(row, contributions);
    EXPECT_NEAR(base + std::accumulate(contributions.begin(), contributions.end(), 0.0), model->margin(row),
                1e-9);
  }
}

TEST_P(Conformance, DamagedBytesAreRefused) {
  const Data data = make_data(1500, 14);
  auto learner = make();
  fit(*learner, data, 0, data.size());
  const std::string model = serialize(*learner->snapshot()), state = learner->save();
  std::mt19937 random(2);
  for (int i = 0; i < 200; ++i) {
    std::string changed = model;
    changed[random() % changed.size()] ^= static_cast<char>(1 + random() % 255);
    EXPECT_FALSE(load_model(changed));
    changed = state;
    changed[random() % changed.size()] ^= static_cast<char>(1 + random() % 255);
    EXPECT_FALSE(load_learner(changed, options(GetParam()), columns(), 5));
  }
  for (size_t length = 0; length < model.size(); length += 1 + model.size() / 97)
    EXPECT_FALSE(load_model(std::string_view(model).substr(0, length)));
  EXPECT_FALSE(
      load_learner(std::string_view(state).substr(0, state.size() - 1), options(GetParam()), columns(), 5));
  EXPECT_FALSE(load_model(state));
  EXPECT_FALSE(load_learner(model, options(GetParam()), columns(), 5));
}

TEST_P(Conformance, ItDoesNotMatterHowObservingAndLearningInterleave) {
  const Data data = make_data(3000, 15);
  auto together = make(), apart = make();
  for (size_t i = 0; i < data.size(); i += 100) fit(*together, data, i, i + 100);
  fit(*apart, data, 0, 700);
  if (apart->observes()) apart->observe(data.matrix(700, 3000), std::span(data.keys).subspan(700));
  learn(*apart, data, 700, 3000);
  EXPECT_EQ(together->save(), apart->save());
}

TEST_P(Conformance, AColdModelComesFromObservingAlone) {
  const Data data = make_data(3000, 16);
  auto learner = make();
  if (!learner->observes()) {
    EXPECT_EQ(learner->cold_snapshot(), nullptr);
    return;
  }
  EXPECT_EQ(learner->cold_snapshot(), nullptr) << "nothing was observed yet";
  learner->observe(data.matrix(0, 3000), data.keys);
  const ModelPtr cold = learner->cold_snapshot();
  ASSERT_NE(cold, nullptr);
  const std::string bytes = serialize(*cold);
  for (const float p : scores(*cold, data)) ASSERT_TRUE(p > 0 && p < 1);
  fit(*learner, data, 0, 0);
  EXPECT_EQ(serialize(*learner->cold_snapshot()), bytes);
}

TEST_P(Conformance, ANewerVersionIsRefusedAsSuch) {
  const std::string bytes = seal(SealedKind::kModel, GetParam(), 99, "payload");
  const auto loaded = load_model(bytes);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kNewerVersion);
}

TEST_P(Conformance, OtherColumnsOptionsOrSeedAreRefused) {
  auto learner = make();
  const std::string state = learner->save();
  std::vector<Column> other = columns();
  other[0].name = "z";
  EXPECT_EQ(load_learner(state, options(GetParam()), other, 5).error().code, ErrorCode::kMismatch);
  other.pop_back();
  EXPECT_EQ(load_learner(state, options(GetParam()), other, 5).error().code, ErrorCode::kMismatch);
  EXPECT_EQ(load_learner(state, options(GetParam()), columns(), 6).error().code, ErrorCode::kMismatch);
}

TEST_P(Conformance, UnknownOptionsAndValuesOutOfRangeNameTheOption) {
  for (const FamilyInfo& family : families()) {
    if (family.name != GetParam()) continue;
    auto made = make_learner(GetParam(), {{"no_such_option", 1.0}}, columns(), 1);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().field, "no_such_option");
    for (const OptionInfo& option : family.options) {
      made = make_learner(GetParam(), {{option.name, -1e9}}, columns(), 1);
      ASSERT_FALSE(made) << option.name;
      EXPECT_EQ(made.error().field, option.name);
    }
  }
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const FamilyInfo& family : families()) names.push_back(family.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Families, Conformance, ::testing::ValuesIn(family_names()),
                         [](const auto& about) { return about.param; });

}  // namespace
}  // namespace shrike::learners
