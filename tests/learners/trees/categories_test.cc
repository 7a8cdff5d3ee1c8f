// Categorical columns: sets that no order of the codes has, categories never seen, damaged and older forms.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

#include "learners/formats/export.h"
#include "learners/formats/import.h"
#include "learners/learner.h"
#include "learners/metrics.h"
#include "learners/saved/sealed.h"
#include "learners/trees/grower.h"
#include "learners/trees/model.h"
#include "learners/trees/trees.pb.h"
#include "tests/learners/support.h"

namespace shrike::learners {
namespace {

std::vector<Column> columns(ColumnKind kind) {
  return {{"amount", ColumnKind::kNumeric}, {"merchant", kind}, {"trade", kind}};
}

struct Data {
  std::vector<float> rows, labels, weights;
  std::vector<uint64_t> keys;
  MatrixView matrix() const { return {rows, 3}; }
};

// 300 merchants and 60 trades, named by hashes. A random half of each is risky; fraud is most of what a risky
// merchant sells in a risky trade.
Data make(size_t n, uint32_t seed, bool strangers = false) {
  std::mt19937 names(99), random(seed);
  std::vector<float> merchant, trade;
  std::vector<bool> risky_merchant, risky_trade;
  for (int i = 0; i < 300; ++i)
    merchant.push_back(static_cast<float>(names() % (1 << 24))), risky_merchant.push_back(names() % 2 == 0);
  for (int i = 0; i < 60; ++i)
    trade.push_back(static_cast<float>(names() % (1 << 24))), risky_trade.push_back(names() % 4 == 0);
  Data data;
  for (size_t i = 0; i < n; ++i) {
    const size_t m = random() % merchant.size(), t = random() % trade.size();
    const float amount = static_cast<float>(random() % 1000);
    const bool fraud = risky_merchant[m] && risky_trade[t] ? random() % 10 < 6 : random() % 100 == 0;
    data.rows.insert(data.rows.end(), {amount, merchant[m] + (strangers ? 1.0f : 0.0f), trade[t]});
    if (random() % 50 == 0) data.rows.back() = NAN;
    data.labels.push_back(fraud ? 1.0f : 0.0f);
    data.weights.push_back(1);
    data.keys.push_back(seed * 1'000'000ull + i);
  }
  return data;
}

class Categories : public ::testing::TestWithParam<std::string> {
 protected:
  static Options options() {
    if (GetParam() == "boosting") return {{"trees", int64_t{60}}, {"bin_sample", int64_t{3000}}};
    return {{"trees", int64_t{10}}, {"bin_sample", int64_t{3000}}};
  }
  static std::unique_ptr<Learner> learned(ColumnKind kind, const Data& data) {
    auto learner = make_learner(GetParam(), options(), columns(kind), 3).value();
    learner->partial_fit(data.matrix(), data.labels, data.weights, data.keys);
    return learner;
  }
};
INSTANTIATE_TEST_SUITE_P(Families, Categories, ::testing::Values("boosting", "forest"));

double ap(const Model& model, const Data& data) {
  std::vector<float> scores(data.labels.size());
  model.score(data.matrix(), scores);
  return average_precision(scores, std::vector<uint8_t>(data.labels.begin(), data.labels.end()));
}

TEST_P(Categories, SetsThatNoOrderOfTheHashesHasAreFound) {
  const Data train = make(40000, 1), test = make(10000, 2);
  const double best = 0.55;  // of a model that knows both halves: 0.57 of these are frauds
  const double sets = ap(*learned(ColumnKind::kCategorical, train)->snapshot(), test);
  const double numbers = ap(*learned(ColumnKind::kNumeric, train)->snapshot(), test);
  EXPECT_GT(sets, 0.85 * best);
  EXPECT_GT(sets, numbers + 0.08);
}

TEST_P(Categories, UnseenCategoriesAndMissingOnesHaveADirection) {
  const Data train = make(20000, 1), strange = make(2000, 3, true);
  const ModelPtr model = learned(ColumnKind::kCategorical, train)->snapshot();
  Data odd = strange;
  for (size_t i = 0; i < odd.labels.size(); ++i) {
    constexpr float kOdd[] = {NAN, INFINITY, -INFINITY, -1, -0.5f, 16777216, 3e9f, -1e-38f};
    odd.rows[3 * i + 1] = kOdd[i % 8];
  }
  for (const Data* data : {&strange, static_cast<const Data*>(&odd)}) {
    std::vector<float> scores(data->labels.size());
    model->score(data->matrix(), scores);
    for (const float p : scores) ASSERT_TRUE(p > 0 && p < 1);
  }
  // All that is in no set goes one way, whatever it is.
  std::vector<float> a(odd.rows.begin(), odd.rows.begin() + 3), b = a;
  a[1] = 16777216, b[1] = -1;
  EXPECT_EQ(model->margin(a), model->margin(b));
  b[1] = strange.rows[1];
  EXPECT_EQ(model->margin(a), model->margin(b));
}

TEST_P(Categories, EveryKernelAndTheExplanationAgree) {
  const Data train = make(20000, 1), test = make(777, 4);
  const ModelPtr model = learned(ColumnKind::kCategorical, train)->snapshot();
  const auto& scorer = dynamic_cast<const TreeModel&>(*model).scorer();
  size_t listed = 0;
  for (const Tree& tree : scorer.trees())
    for (const TreeNode& node : tree.nodes) listed += node.test == SplitTest::kListed;
  EXPECT_GT(listed, 20u);
  std::vector<float> sums(test.labels.size());
  for (const Kernel kernel : {Kernel::kScalar, Kernel::kAvx2, Kernel::kAvx512}) {
    if (!use_kernel(kernel)) continue;
    scorer.sum(test.matrix(), sums.data());
    for (size_t i = 0; i < sums.size(); ++i) {
      const float* row = test.matrix().row(i).data();
      const float reference = sum_of_leaves(scorer.base(), scorer.trees(), row);
      ASSERT_EQ(std::bit_cast<uint32_t>(reference), std::bit_cast<uint32_t>(sums[i]));
      ASSERT_EQ(std::bit_cast<uint32_t>(reference), std::bit_cast<uint32_t>(scorer.sum_row(row)));
    }
  }
  use_kernel(Kernel::kAuto);
  std::vector<double> parts(3);
  for (size_t i = 0; i < 100; ++i) {
    const auto row = test.matrix().row(i);
    double sum = model->explain(row, parts);
    for (const double part : parts) sum += part;
    EXPECT_NEAR(sum, model->margin(row), 1e-9);
  }
}

TEST_P(Categories, OlderVersionsRefuseWhatTheyCannotRead) {
  const Data train = make(12000, 1);
  const auto learner = learned(ColumnKind::kCategorical, train);
  const std::string model = serialize(*learner->snapshot());
  const auto as_old = unseal(SealedKind::kModel, 3, model);
  ASSERT_FALSE(as_old);
  EXPECT_EQ(as_old.error().code, ErrorCode::kNewerVersion);
  EXPECT_EQ((*load_model(model))->version(), 4u);
  EXPECT_EQ(unseal(SealedKind::kLearner, 9, learner->save())->version, 4u);
  const auto numeric = learned(ColumnKind::kNumeric, train);
  EXPECT_LT(numeric->snapshot()->version(), 4u);
  EXPECT_EQ(unseal(SealedKind::kLearner, 9, numeric->save())->version, 1u);
}

TEST_P(Categories, DamagedLearnersAreRefusedOrLoadWhole) {
  const Data train = make(6000, 1);
  const std::string saved = learned(ColumnKind::kCategorical, train)->save();
  std::mt19937 random(6);
  for (int i = 0; i < 300; ++i) {
    std::string changed = saved;
    // The sets and the bins stand near the beginning and, of boosting, behind the buffer.
    for (int k = 0; k < 3; ++k)
      changed[30 + random() % (changed.size() - 30)] = static_cast<char>(random() % 256);
    repair_checksum(changed);
    const auto loaded = load_learner(changed, options(), columns(ColumnKind::kCategorical), 3);
    if (loaded) (void)(*loaded)->snapshot();
  }
}

TEST_P(Categories, ThreadsAndTheOrderOfColumnsLeaveNoTrace) {
  const Data train = make(12000, 1);
  auto one = learned(ColumnKind::kCategorical, train);
  Backwards threads;
  auto many = make_learner(GetParam(), options(), columns(ColumnKind::kCategorical), 3).value();
  many->use(&threads);
  many->partial_fit(train.matrix(), train.labels, train.weights, train.keys);
  EXPECT_EQ(one->save(), many->save());
  auto names = columns(ColumnKind::kCategorical);
  std::swap(names[0], names[2]);
  Data swapped = train;
  for (size_t i = 0; i < train.labels.size(); ++i) std::swap(swapped.rows[3 * i], swapped.rows[3 * i + 2]);
  auto other = make_learner(GetParam(), options(), names, 3).value();
  other->partial_fit(swapped.matrix(), swapped.labels, swapped.weights, swapped.keys);
  const ModelPtr a = one->snapshot(), b = other->snapshot();
  for (size_t i = 0; i < 1000; ++i)
    ASSERT_EQ(a->margin(train.matrix().row(i)), b->margin(swapped.matrix().row(i)));
}

TEST(Bins, TheFrequentCategoriesOfEachClassHaveTheirOwn) {
  BinSample sample;
  for (int i = 0; i < 1000; ++i) {
    const float common = static_cast<float>(100000 + i % 10), rare = static_cast<float>(5000000 + i);
    sample.add(i % 2 == 0 ? &common : &rare, 1, false);
  }
  const float of_frauds = 77;
  for (int i = 0; i < 30; ++i) sample.add(&of_frauds, 1, true);
  const ColumnBins bins = fit_bins(sample, 1, 0, ColumnKind::kCategorical, 256);
  EXPECT_EQ(bins.cuts, (std::vector<float>{77, 100000, 100002, 100004, 100006, 100008}));
  EXPECT_EQ(bins.of(NAN), 0);
  EXPECT_EQ(bins.of(77), 1);
  EXPECT_EQ(bins.of(77.5f), 1) << "as trees take it";
  EXPECT_EQ(bins.of(100008), 6);
  for (const float other : {0.0f, -1.0f, 78.0f, 5000001.0f, 16777216.0f, INFINITY, -INFINITY})
    EXPECT_EQ(bins.of(other), 7);
  EXPECT_EQ(fit_bins(sample, 1, 0, ColumnKind::kCategorical, 4).cuts.size(), 3u);
  EXPECT_TRUE(bins.sound(ColumnKind::kCategorical));
  EXPECT_FALSE(bins.sound(ColumnKind::kNumeric));
  for (const std::vector<float>& cuts :
       {std::vector<float>{2, 1}, {1, 1}, {0.5f}, {-1}, {16777216}, {NAN}, {INFINITY}})
    EXPECT_FALSE((ColumnBins{cuts, true}.sound(ColumnKind::kCategorical)));
}

// The best first split by trying every set of every size up to kSetMax, of six categories.
TEST(TreeGrower, TheFirstSetIsTheBestThereIs) {
  std::mt19937 random(12);
  for (int round = 0; round < 30; ++round) {
    constexpr size_t kRows = 3000;
    const std::vector<float> codes = {3, 900, 70000, 70001, 9999999, 16777215};
    BinnedRows data({ColumnBins{codes, true}});
    std::vector<GradientPair> gradients(kRows);
    std::vector<uint32_t> rows, bins;
    for (uint32_t i = 0; i < kRows; ++i) {
      const size_t which = random() % 6;
      const float v = random() % 9 == 0 ? NAN : codes[which] + (random() % 9 == 0 ? -1.0f : 0.0f);
      data.set(i, &v);
      bins.push_back(*data.row(i));
      const double g = (static_cast<double>(random() % 200) - 100) / 100 +
                       (round % 3 == 0 ? 0.2 : 0.5) * static_cast<double>(which % 2);
      gradients[i] = {static_cast<int64_t>(g * GradientPair::kOne),
                      static_cast<int64_t>(0.25 * GradientPair::kOne)};
      rows.push_back(i);
    }
    const GrowOptions options{.depth = 1, .rate = 1, .l2 = 1, .hessian_min = 1};
    const auto gain = [&](uint32_t set, bool missing_left) {
      double g[2] = {0, 0}, h[2] = {0, 0};
      for (uint32_t i = 0; i < kRows; ++i) {
        const bool left = bins[i] == 0 ? missing_left : bins[i] <= 6 && (set >> (bins[i] - 1) & 1) != 0;
        g[left] += static_cast<double>(gradients[i].gradient) / GradientPair::kOne;
        h[left] += static_cast<double>(gradients[i].hessian) / GradientPair::kOne;
      }
      const double l2 = 1 + TreeGrower::kCategoryL2;
      return g[0] * g[0] / (h[0] + l2) + g[1] * g[1] / (h[1] + l2);
    };
    double best = 0;
    for (uint32_t set = 1; set < 64; ++set) best = std::max({best, gain(set, false), gain(set, true)});
    const Tree tree = TreeGrower().grow(data, rows, gradients, std::vector<uint32_t>{0}, options);
    ASSERT_EQ(tree.nodes.size(), 3u);
    ASSERT_EQ(tree.nodes[0].test, SplitTest::kListed);
    ASSERT_TRUE(is_category_list(tree.sets[0]));
    uint32_t found = 0;
    for (uint32_t k = 0; k < 6; ++k) found |= tree.goes_left(tree.nodes[0], codes[k]) ? 1u << k : 0;
    // Smoothing moves the order a little where categories differ in size.
    EXPECT_GE(gain(found, tree.nodes[0].missing_left), 0.97 * best);
  }
}

TEST(Trees, DamagedListsAreRefused) {
  Tree tree;
  tree.nodes.resize(3);
  tree.nodes[0] = {0, 2, 1, 1, false, SplitTest::kListed};
  tree.nodes[1] = {1, 1};
  tree.nodes[2] = {2, 1};
  tree.sets = {{7, 65536, 16777215}};
  const auto reason = [&](std::vector<uint32_t> set, size_t announced) {
    proto::TreesRecord record;
    Tree other = tree;
    other.sets[0] = std::move(set);
    write_trees({&other, 1}, record);
    record.set_set_sizes(0, static_cast<uint32_t>(announced));
    const auto read = read_trees(record, 2);
    return read ? "it was read" : read.error().reason;
  };
  EXPECT_EQ(reason({7, 65536, 16777215}, 3), "it was read");
  EXPECT_EQ(reason({7, 65536, 16777216}, 3), "a list of categories does not rise");
  EXPECT_EQ(reason({7, 7}, 2), "a list of categories does not rise");
  EXPECT_EQ(reason({9, 7}, 2), "a list of categories does not rise");
  EXPECT_EQ(reason({}, 0), "a list of categories does not rise");
  EXPECT_EQ(reason({7, 9}, 3), "a set of categories has no end");
  EXPECT_EQ(reason({7, 9}, 0xFFFFFFFF), "a set of categories has no end");
  EXPECT_EQ(reason({7, 9}, 1), "sets of categories are left over");
}

TEST(Export, SetsOfCodesGoToXgboostAndBack) {
  Tree tree;
  tree.nodes = {{0, 10, 1, 1, true, SplitTest::kListed}, {-3, 8}, {1, 2}};
  tree.sets = {{7, 65536, 9000000}};
  const TreeModel model("boosting", columns(ColumnKind::kCategorical), -0.5f, {tree}, {});
  const auto text = export_xgboost(model);
  ASSERT_TRUE(text) << text.error().reason;
  const auto back = read_model(*text, columns(ColumnKind::kCategorical));
  ASSERT_TRUE(back) << back.error().reason;
  for (const float code : {7.0f, 65536.0f, 9e6f, 8.0f, NAN, 0.0f}) {
    const std::vector<float> row = {1, code, 2};
    EXPECT_EQ((*back)->margin(row), model.margin(row)) << code;
  }
  // A bit for each code up to the largest, in every node, is too much.
  const TreeModel many("boosting", columns(ColumnKind::kCategorical), 0, std::vector<Tree>(600, tree), {});
  const auto refused = export_xgboost(many);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().reason.find("hashed"), std::string::npos);
}

TEST(TreeScorer, SetsTooLargeForTablesAreStillRight) {
  Tree tree;
  tree.nodes = {{0, 10, 0, 1, true, SplitTest::kMember}, {-3, 8}, {1, 2}};
  tree.sets = {std::vector<uint32_t>(kCategoriesMax / 32, 0xAAAAAAAA)};
  const TreeScorer scorer(0, {tree}, 1);
  std::vector<float> rows, sums(200);
  for (size_t i = 0; i < 200; ++i) rows.push_back(static_cast<float>(i * 83333));
  scorer.sum({rows, 1}, sums.data());
  for (size_t i = 0; i < 200; ++i) EXPECT_EQ(sums[i], i % 2 == 1 && i * 83333 < 16777216 ? -3 : 1);
}

}  // namespace
}  // namespace shrike::learners
