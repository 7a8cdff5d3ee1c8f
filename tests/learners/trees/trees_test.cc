// Tree ensembles: every kernel equals the reference to the bit, TreeSHAP equals Shapley's definition, growing
// finds what exhaustive search finds.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <set>

#include "learners/trees/grower.h"
#include "learners/trees/model.h"
#include "learners/trees/shap.h"
#include "learners/trees/trees.pb.h"

namespace shrike::learners {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr uint32_t kHashed[] = {100,     5000,    65535,    65536,    1234567,  9999999,
                                8388608, 8388609, 16777214, 16777215, 12345678, 777777};

// Few categories, some of them large: often the same ones, and those that random_rows() has.
std::vector<uint32_t> random_list(std::mt19937& random) {
  std::set<uint32_t> codes{static_cast<uint32_t>(random() % 3)};
  for (size_t i = random() % 40; i > 0; --i)
    codes.insert(static_cast<uint32_t>(random() % 2 == 0 ? random() % 100 : kHashed[random() % 12]));
  if (random() % 10 == 0) codes.insert({0, kCategoriesMax - 1});
  return {codes.begin(), codes.end()};
}

// A random tree in breadth-first order: at most `depth` deep, sometimes shallower, covers that add up.
// `rich`: with nodes of every test, and infinity among the thresholds.
Tree random_tree(std::mt19937& random, size_t columns, uint32_t depth, bool rich = false) {
  Tree tree;
  std::vector<uint32_t> depths{0};
  tree.nodes[0].cover = 1000;
  for (size_t i = 0; i < tree.nodes.size(); ++i) {
    const bool splits = depths[i] < depth && tree.nodes.size() < 4000 && (depths[i] < 2 || random() % 5 != 0);
    tree.nodes[i].value = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 256;
    if (!splits) continue;
    const auto left = static_cast<uint32_t>(tree.nodes.size());
    tree.nodes.resize(left + 2);
    depths.resize(left + 2, depths[i] + 1);
    TreeNode& node = tree.nodes[i];
    node.column = static_cast<int32_t>(random() % columns);
    node.left = left;
    node.missing_left = random() % 2 == 0;
    if (rich && random() % 20 == 0) node.value = kInfinity;
    if (rich && random() % 3 == 0) node.test = static_cast<SplitTest>(1 + random() % 4);
    if (node.is_categorical()) {
      node.value = static_cast<float>(tree.sets.size());
      tree.sets.emplace_back(random() % 4);  // sometimes none
      for (uint32_t& word : tree.sets.back()) word = static_cast<uint32_t>(random() | random());
      if (random() % 2 == 0) tree.sets.back() = {5};  // often the same
      if (node.test == SplitTest::kListed) tree.sets.back() = random_list(random);
    }
    const float share = static_cast<float>(1 + random() % 9) / 10;
    tree.nodes[left].cover = node.cover * share;
    tree.nodes[left + 1].cover = node.cover - tree.nodes[left].cover;
  }
  return tree;
}

std::vector<float> random_rows(std::mt19937& random, size_t rows, size_t columns) {
  std::vector<float> values(rows * columns);
  for (float& v : values) {
    const uint32_t dice = random() % 40;
    v = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 256;  // often a threshold itself
    if (dice == 0) v = kNaN;
    if (dice == 1) v = kInfinity;
    if (dice == 2) v = -kInfinity;
    if (dice == 3) v = -0.0f;
    if (dice > 30) v = static_cast<float>(random() % 100);  // a category
    if (dice > 35) v = static_cast<float>(kHashed[random() % 12] - random() % 2);
    if (dice == 4) v = static_cast<float>(random() % 2 == 0 ? 1e-35 : -1e-35);
    if (dice == 5) v = static_cast<float>(static_cast<int>(random() % 4000) - 2000) * 1e-38f;
    if (dice == 6) v = random() % 2 == 0 ? 16777216.0f : 3e9f;
  }
  return values;
}

void add_exact_leaves(std::mt19937& random, Tree& tree) {
  for (TreeNode& node : tree.nodes) {
    tree.exact.push_back(node.is_leaf() ? static_cast<double>(random()) / 1e9 - 2 : 0);
    if (node.is_leaf()) node.value = static_cast<float>(tree.exact.back());
  }
}

constexpr Kernel kKernels[] = {Kernel::kScalar, Kernel::kAvx2, Kernel::kAvx512, Kernel::kAuto};

TEST(TreeScorer, EveryKernelEqualsTheReferenceToTheBit) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    const bool rich = round % 4 >= 2, exact = round % 5 == 0;
    const size_t columns = 1 + random() % (round % 3 == 0 ? 150 : 40);
    const auto depth = static_cast<uint32_t>(random() % 17 * (round % 2) + random() % 7 * (1 - round % 2));
    std::vector<Tree> trees;
    for (size_t t = 0, n = random() % (rich ? 100 : 40); t < n; ++t) {
      trees.push_back(random_tree(random, columns, depth, rich));
      if (exact && t % 3 != 0) add_exact_leaves(random, trees.back());
    }
    const TreeScorer scorer(0.125f, trees, columns);
    const size_t n = 1 + random() % 200;
    const std::vector<float> values = random_rows(random, n, columns);
    const MatrixView rows(values, columns);
    std::vector<float> sums(n);
    std::vector<double> margins(n);
    for (const Kernel kernel : kKernels) {
      if (!use_kernel(kernel)) continue;
      SCOPED_TRACE(static_cast<int>(kernel));
      scorer.sum(rows, sums.data());
      scorer.margins(rows, margins.data());
      for (size_t i = 0; i < n; ++i) {
        const float* row = rows.row(i).data();
        const double reference = scorer.exact() ? exact_sum_of_leaves(0.125, trees, row)
                                                : static_cast<double>(sum_of_leaves(0.125f, trees, row));
        const auto bits = std::bit_cast<uint64_t>(reference);
        ASSERT_EQ(bits, std::bit_cast<uint64_t>(margins[i])) << "row " << i << " depth " << depth;
        ASSERT_EQ(bits, std::bit_cast<uint64_t>(scorer.margin(row))) << "row " << i << " depth " << depth;
        ASSERT_EQ(std::bit_cast<uint32_t>(static_cast<float>(reference)), std::bit_cast<uint32_t>(sums[i]));
      }
    }
  }
  use_kernel(Kernel::kAuto);
}

TEST(TreeScorer, ManyLoneLeavesAreNotLaidOutToTheDepthOfOneTree) {
  Tree deep;
  deep.nodes.resize(13);
  for (uint32_t i = 0; i < 6; ++i) deep.nodes[2 * i] = {static_cast<float>(i), 1, 0, 2 * i + 1};
  ASSERT_EQ(deep.depth(), 6u);
  std::vector<Tree> trees(70'000);
  trees[0] = deep;
  trees[1].nodes[0].value = 0.25f;
  CategoryIndex none;
  ASSERT_TRUE(none.compile(trees));
  TreeMasks few, many;
  EXPECT_TRUE(few.compile({trees.data(), 1000}, 1, none));
  EXPECT_FALSE(many.compile(trees, 1, none)) << "a kilobyte for each of fourteen bytes";
  const TreeScorer scorer(0, trees, 1);
  std::vector<float> rows(100), sums(100);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i) / 10;
  scorer.sum({rows, 1}, sums.data());
  for (size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(sums[i], sum_of_leaves(0, trees, &rows[i]));
}

TEST(Kernel, WhatTheMachineLacksIsRefused) {
  if (use_kernel(Kernel::kAvx512)) {
    EXPECT_TRUE(use_kernel(Kernel::kAvx2));
    EXPECT_EQ(kernel_name(), "AVX2");
  }
  EXPECT_TRUE(use_kernel(Kernel::kScalar));
  EXPECT_EQ(kernel_name(), "scalar");
  EXPECT_TRUE(use_kernel(Kernel::kAuto));
  EXPECT_NE(kernel_name(), "scalar");
}

// What the tree gives on average when only the columns of `known` are known (by covers, along the paths).
double expectation(const Tree& tree, uint32_t at, const float* row, uint32_t known) {
  const TreeNode& node = tree.nodes[at];
  if (node.is_leaf()) return node.value;
  if ((known >> node.column & 1) != 0) {
    const bool left = tree.goes_left(node, row[node.column]);
    return expectation(tree, node.left + (left ? 0 : 1), row, known);
  }
  const double left = tree.nodes[node.left].cover, right = tree.nodes[node.left + 1].cover;
  return (left * expectation(tree, node.left, row, known) +
          right * expectation(tree, node.left + 1, row, known)) /
         (left + right);
}

TEST(TreeShap, EqualsShapleysDefinition) {
  std::mt19937 random(3);
  constexpr size_t kColumns = 5;
  std::vector<double> factorial{1};
  for (int i = 1; i <= 5; ++i) factorial.push_back(factorial.back() * i);
  for (int round = 0; round < 60; ++round) {
    const Tree tree = random_tree(random, kColumns, 1 + random() % 6, round % 2 == 0);
    const std::vector<float> row = random_rows(random, 1, kColumns);
    std::vector<double> found(kColumns, 0.0);
    TreeExplainer(tree).add(tree, row.data(), found);
    for (size_t c = 0; c < kColumns; ++c) {
      double expected = 0;
      for (uint32_t subset = 0; subset < 1u << kColumns; ++subset) {
        if ((subset >> c & 1) != 0) continue;
        const auto size = static_cast<size_t>(std::popcount(subset));
        expected +=
            factorial[size] * factorial[kColumns - size - 1] / factorial[kColumns] *
            (expectation(tree, 0, row.data(), subset | 1u << c) - expectation(tree, 0, row.data(), subset));
      }
      ASSERT_NEAR(found[c], expected, 1e-6) << "column " << c << " round " << round;
    }
    EXPECT_NEAR(expected_value(tree), expectation(tree, 0, row.data(), 0), 1e-6);
  }
}

TEST(TreeShap, ContributionsAddUpToTheMargin) {
  std::mt19937 random(5);
  std::vector<Column> columns;
  for (int c = 0; c < 20; ++c) columns.push_back({"c" + std::to_string(c), ColumnKind::kNumeric});
  std::vector<Tree> trees;
  for (int t = 0; t < 30; ++t) trees.push_back(random_tree(random, columns.size(), 8));
  const TreeModel model("boosting", columns, -2, trees, {});
  const std::vector<float> values = random_rows(random, 50, columns.size());
  std::vector<double> parts(columns.size());
  for (size_t i = 0; i < 50; ++i) {
    const auto row = MatrixView(values, columns.size()).row(i);
    double sum = model.explain(row, parts);
    for (const double part : parts) sum += part;
    EXPECT_NEAR(sum, model.margin(row), 1e-4);
  }
}

TEST(TreeModel, LoadsWhatItSavedAndScoresAlike) {
  std::mt19937 random(9);
  const std::vector<Column> columns = {
      {"a", ColumnKind::kNumeric}, {"b", ColumnKind::kNumeric}, {"c", ColumnKind::kNumeric}};
  std::vector<Tree> trees;
  for (int t = 0; t < 12; ++t) trees.push_back(random_tree(random, 3, 10, t % 2 == 0));
  const TreeModel model("boosting", columns, 0.5f, trees, {0.9f, -0.1f});
  const auto loaded = load_model(serialize(model));
  ASSERT_TRUE(loaded) << loaded.error().reason;
  EXPECT_EQ(serialize(**loaded), serialize(model));
  const std::vector<float> values = random_rows(random, 300, 3);
  std::vector<float> first(300), second(300);
  model.score({values, 3}, first);
  (*loaded)->score({values, 3}, second);
  EXPECT_EQ(first, second);
}

TEST(TreeModel, LeavesMayAddUpToAProbability) {
  std::mt19937 random(10);
  const std::vector<Column> columns = {
      {"a", ColumnKind::kNumeric}, {"b", ColumnKind::kNumeric}, {"c", ColumnKind::kNumeric}};
  std::vector<Tree> trees;
  for (int t = 0; t < 10; ++t) {
    trees.push_back(random_tree(random, 3, 5));
    for (TreeNode& node : trees.back().nodes) {
      if (node.is_leaf()) node.value = static_cast<float>(random() % 1000) / 10'000;  // 0 .. a tenth
    }
  }
  const Platt platt{0.9f, -0.2f};
  const TreeModel model("forest", columns, 0, trees, platt, "", LeafSum::kProbability);
  EXPECT_EQ(model.version(), 3u);  // which earlier versions refuse
  const auto loaded = load_model(serialize(model)).value();
  EXPECT_EQ(serialize(*loaded), serialize(model));
  const std::vector<float> values = random_rows(random, 200, 3);
  std::vector<float> scores(200);
  loaded->score({values, 3}, scores);
  std::vector<double> parts(3);
  for (size_t i = 0; i < 200; ++i) {
    const auto row = MatrixView(values, 3).row(i);
    const double p = static_cast<double>(sum_of_leaves(0, trees, row.data()));
    const double margin = std::log(p / (1 - p));
    EXPECT_NEAR(loaded->margin(row), margin, 1e-5);
    EXPECT_NEAR(scores[i], 1 / (1 + std::exp(-(0.9 * margin - 0.2))), 1e-6);
    double sum = loaded->explain(row, parts);
    for (const double part : parts) sum += part;
    EXPECT_NEAR(sum, margin, 1e-5);
  }
}

TEST(Trees, UnsoundRecordsAreRefused) {
  Tree tree;
  tree.nodes.resize(3);
  tree.nodes[0] = {0, 2, 1, 1, false, SplitTest::kMember};
  tree.nodes[1] = {1, 1};
  tree.nodes[2] = {2, 1};
  tree.sets = {{1, 2, 4}};
  tree.exact = {0, 1.25, 2.5};
  proto::TreesRecord sound;
  write_trees({&tree, 1}, sound);
  const auto loaded = read_trees(sound, 2);
  ASSERT_TRUE(loaded) << loaded.error().reason;
  EXPECT_EQ((*loaded)[0].sets, tree.sets);
  EXPECT_EQ((*loaded)[0].exact, tree.exact);
  const auto reason = [&](auto edit) {
    proto::TreesRecord record = sound;
    edit(record);
    const auto read = read_trees(record, 2);
    return read ? "it was read" : read.error().reason;
  };
  using Record = proto::TreesRecord;
  EXPECT_EQ(reason([](Record& r) { r.mutable_tests()->at(0) = 9; }), "a node's test is unknown");
  EXPECT_EQ(reason([](Record& r) { r.mutable_tests()->at(1) = 2; }), "a leaf has a test");
  EXPECT_EQ(reason([](Record& r) { r.clear_tests(); }), "sets of categories are left over");
  EXPECT_EQ(reason([](Record& r) { r.mutable_tests()->pop_back(); }), "the parts of the trees disagree");
  EXPECT_EQ(reason([](Record& r) { r.clear_set_sizes(); }), "a categorical node has no set");
  EXPECT_EQ(reason([](Record& r) { r.set_set_sizes(0, 2); }), "sets of categories are left over");
  EXPECT_EQ(reason([](Record& r) { r.set_set_sizes(0, 4); }), "a set of categories has no end");
  EXPECT_EQ(reason([](Record& r) { r.set_set_sizes(0, 0xFFFFFFFF); }), "a set of categories has no end");
  EXPECT_EQ(reason([](Record& r) { r.mutable_sets()->pop_back(); }), "the parts of the trees disagree");
  EXPECT_EQ(reason([](Record& r) { r.mutable_exact()->resize(16); }), "the parts of the trees disagree");
  EXPECT_EQ(reason([](Record& r) { r.mutable_exact()->replace(14, 2, "\xff\x7f"); }), "a leaf is not finite");
  EXPECT_EQ(reason([](Record& r) { r.mutable_values()->replace(2, 2, "\x80\x3f"); }),
            "a categorical node has no set");
}

// The best first split by trying every cut of every column, both ways for missing values.
TEST(TreeGrower, TheFirstSplitIsTheBestThereIs) {
  std::mt19937 random(11);
  for (int round = 0; round < 30; ++round) {
    constexpr size_t kRows = 300, kColumns = 4;
    std::vector<float> values = random_rows(random, kRows, kColumns);
    std::vector<ColumnBins> bins(kColumns);
    for (auto& one : bins) {
      for (float cut = -3.5f; cut < 3.6f; cut += 0.5f) one.cuts.push_back(cut);
    }
    BinnedRows data(bins);
    std::vector<GradientPair> gradients(kRows);
    std::vector<uint32_t> rows;
    for (uint32_t i = 0; i < kRows; ++i) {
      data.set(i, &values[i * kColumns]);
      gradients[i] = {
          static_cast<int64_t>((static_cast<double>(random() % 200) - 100) / 100 * GradientPair::kOne),
          static_cast<int64_t>(0.25 * GradientPair::kOne)};
      rows.push_back(i);
    }
    const GrowOptions options{.depth = 1, .rate = 1, .l2 = 1, .hessian_min = 1};
    const auto gain = [&](size_t column, float cut, bool missing_left) {
      double g[2] = {0, 0}, h[2] = {0, 0};
      for (uint32_t i = 0; i < kRows; ++i) {
        const float v = values[i * kColumns + column];
        const int side = (v != v ? missing_left : v < cut) ? 0 : 1;
        g[side] += static_cast<double>(gradients[i].gradient) / GradientPair::kOne;
        h[side] += static_cast<double>(gradients[i].hessian) / GradientPair::kOne;
      }
      if (h[0] < 1 || h[1] < 1) return -1.0;
      return g[0] * g[0] / (h[0] + 1) + g[1] * g[1] / (h[1] + 1);
    };
    double best = 0;
    for (size_t c = 0; c < kColumns; ++c) {
      for (const float cut : bins[c].cuts) best = std::max({best, gain(c, cut, false), gain(c, cut, true)});
    }
    const std::vector<uint32_t> columns = {0, 1, 2, 3};
    const Tree tree = TreeGrower().grow(data, rows, gradients, columns, options);
    ASSERT_EQ(tree.nodes.size(), 3u);
    EXPECT_NEAR(
        gain(static_cast<size_t>(tree.nodes[0].column), tree.nodes[0].value, tree.nodes[0].missing_left),
        best, 1e-9);
    // A tree does not depend on the order of its rows.
    std::vector<uint32_t> shuffled = rows;
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    const Tree again = TreeGrower().grow(data, shuffled, gradients, columns, options);
    EXPECT_EQ(again.nodes[1].value, tree.nodes[1].value);
    EXPECT_EQ(again.nodes[0].value, tree.nodes[0].value);
  }
}

}  // namespace
}  // namespace shrike::learners
