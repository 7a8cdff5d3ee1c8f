// Imported models: small files worked out by hand, and what cannot be imported. (bench/import_check.py
// compares with the makers themselves on 100,000 rows.)
#include "learners/formats/import.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "learners/formats/document.h"
#include "learners/formats/export.h"
#include "learners/linear/model.h"
#include "learners/trees/model.h"

namespace shrike::learners {
namespace {

const std::vector<Column> kColumns = {
    {"amount", ColumnKind::kNumeric}, {"night", ColumnKind::kNumeric}, {"spare", ColumnKind::kNumeric}};

// Two trees over night (feature 0) and amount (feature 1); nodes in an order that is not breadth-first.
std::string model() {
  return R"({"learner":{"attributes":{},"feature_names":["night","amount"],"feature_types":["float","float"],
    "gradient_booster":{"model":{"gbtree_model_param":{"num_trees":"2","size_leaf_vector":"0"},"tree_info":[0,0],"trees":[
      {"categories":[],"categories_nodes":[],"default_left":[1,0,0,0,0],"left_children":[2,-1,3,-1,-1],
       "right_children":[1,-1,4,-1,-1],"split_conditions":[100.5,0.75,5E-1,-0.25,1E-1],"split_indices":[1,0,0,0,0],
       "split_type":[0,0,0,0,0],"sum_hessian":[10,4,6,2,4]},
      {"categories":[],"categories_nodes":[],"default_left":[0],"left_children":[-1],"right_children":[-1],
       "split_conditions":[0.0625],"split_indices":[0],"split_type":[0],"sum_hessian":[10]}]},"name":"gbtree"},
    "learner_model_param":{"base_score":"2.5E-1","num_class":"0","num_feature":"2","num_target":"1"},
    "objective":{"name":"binary:logistic","reg_loss_param":{"scale_pos_weight":"1"}}},"version":[1,7,4]})";
}

std::string lightgbm_model();

std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

// The same document as XGBoost's writer puts it: big-endian, arrays of numbers typed and counted.
void put_number(uint64_t value, int bytes, std::string& out) {
  while (bytes-- > 0) out += static_cast<char>(value >> (8 * bytes));
}
void put_text(const std::string& text, std::string& out) {
  out += 'L';
  put_number(text.size(), 8, out);
  out += text;
}
void put(const Document& from, std::string& out) {
  if (const auto* object = from.get<Document::Object>()) {
    out += '{';
    for (const auto& [key, value] : *object) {
      put_text(key, out);
      put(value, out);
    }
    out += '}';
  } else if (const auto* numbers = from.get<Document::Numbers>()) {
    out += "[$d#L";
    put_number(numbers->size(), 8, out);
    for (const double one : *numbers) put_number(std::bit_cast<uint32_t>(static_cast<float>(one)), 4, out);
  } else if (const auto* array = from.get<Document::Array>()) {
    out += "[#L";
    put_number(array->size(), 8, out);
    for (const Document& one : *array) put(one, out);
  } else if (const auto* text = from.get<std::string>()) {
    out += 'S';
    put_text(*text, out);
  } else {
    out += 'l';
    put_number(static_cast<uint32_t>(*from.get<double>()), 4, out);
  }
}

std::string as_ubjson(const std::string& json) {
  std::string out;
  put(parse_document(json).value(), out);
  return out;
}

TEST(ImportXgboost, AModelWorkedOutByHand) {
  const auto imported = import_xgboost(model(), kColumns);
  ASSERT_TRUE(imported) << imported.error().field << imported.error().reason;
  EXPECT_EQ((*imported)->origin(), "xgboost");
  const float base = -std::log(1.0f / 0.25f - 1.0f);
  const auto margin = [&](float amount, float night) {
    return static_cast<float>((*imported)->margin(std::vector<float>{amount, night, 7}));
  };
  EXPECT_EQ(margin(100.5f, 0), base + 0.75f + 0.0625f);
  EXPECT_EQ(margin(100, 0), base + -0.25f + 0.0625f);
  EXPECT_EQ(margin(100, 0.5f), base + 0.1f + 0.0625f);
  EXPECT_EQ(margin(nan, 0), base + -0.25f + 0.0625f) << "a missing amount goes left";
  EXPECT_EQ(margin(nan, nan), base + 0.1f + 0.0625f) << "a missing night goes right";
  const auto again = load_model(serialize(**imported));
  ASSERT_TRUE(again) << again.error().reason;
  EXPECT_EQ(serialize(**again), serialize(**imported));
  EXPECT_EQ((*again)->origin(), "xgboost");
}

// The same trees as dart keeps them.
std::string dart_model() {
  const std::string text = with(model(), "\"gradient_booster\":{", "\"gradient_booster\":{\"gbtree\":{");
  return with(text, "},\"name\":\"gbtree\"}",
              "},\"name\":\"gbtree\"},\"name\":\"dart\",\"weight_drop\":[0.3,0.7]}");
}

TEST(ImportXgboost, DartsLeavesAreWeighed) {
  const auto imported = read_model(dart_model(), kColumns);
  ASSERT_TRUE(imported) << imported.error().field << imported.error().reason;
  const float base = -std::log(1.0f / 0.25f - 1.0f);
  const auto margin = [&](float amount, float night) {
    return static_cast<float>((*imported)->margin(std::vector<float>{amount, night, 7}));
  };
  EXPECT_EQ(margin(100.5f, 0), base + 0.75f * 0.3f + 0.0625f * 0.7f);
  EXPECT_EQ(margin(100, 0), base + -0.25f * 0.3f + 0.0625f * 0.7f) << "thresholds are not weighed";
  EXPECT_EQ(serialize(*read_model(as_ubjson(dart_model()), kColumns).value()), serialize(**imported));
  const auto short_by_one = import_xgboost(with(dart_model(), "[0.3,0.7]", "[0.3]"), kColumns);
  ASSERT_FALSE(short_by_one);
  EXPECT_EQ(short_by_one.error().field, "weight_drop");
  EXPECT_FALSE(import_xgboost(with(dart_model(), "0.3,0.7", "0.3,NaN"), kColumns));
}

TEST(ImportXgboost, TreesAfterTheBestIterationAreLeftOutAndThatIsSaid) {
  const float base = -std::log(1.0f / 0.25f - 1.0f), first = 0.75f, second = 0.0625f;
  Notes notes;
  const auto margin = [&](const std::string& attributes, const std::string& more) {
    notes.clear();
    const std::string text = with(with(model(), "\"attributes\":{}", "\"attributes\":{" + attributes + "}"),
                                  "\"num_trees\":\"2\",\"size_leaf_vector\":\"0\"}", more);
    const auto imported = read_model(text, kColumns, &notes);
    EXPECT_TRUE(imported) << imported.error().field << imported.error().reason;
    return static_cast<float>((*imported)->margin(std::vector<float>{100.5f, 0, 7}));
  };
  EXPECT_EQ(margin("", "\"num_trees\":\"2\"}"), base + first + second);
  EXPECT_TRUE(notes.empty());
  EXPECT_EQ(margin("\"best_iteration\":\"0\"", "\"num_trees\":\"2\"}"), base + first);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("best_iteration is 0: the 1 trees after that iteration are left out, of 2"),
            std::string::npos)
      << notes[0];
  EXPECT_EQ(margin("\"best_iteration\":\"1\"", "\"num_trees\":\"2\"}"), base + first + second);
  EXPECT_TRUE(notes.empty()) << "it was the last";
  EXPECT_EQ(margin("\"best_iteration\":\"0\"", "\"num_parallel_tree\":\"2\"}"), base + first + second)
      << "both trees are of one iteration";
  EXPECT_EQ(margin("\"best_iteration\":\"0\"", "\"num_parallel_tree\":\"1\"},\"iteration_indptr\":[0,2]"),
            base + first + second);
  EXPECT_EQ(margin("\"best_iteration\":\"0\"", "\"num_parallel_tree\":\"2\"},\"iteration_indptr\":[0,1,2]"),
            base + first);
  EXPECT_EQ(margin("\"best_iteration\":\"7\"", "\"num_trees\":\"2\"}"), base + first + second);
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("the file has 2 iterations"), std::string::npos) << notes[0];
  const auto field = [&](const std::string& best, const std::string& begins) {
    std::string text =
        with(model(), "\"attributes\":{}", "\"attributes\":{\"best_iteration\":\"" + best + "\"}");
    text = with(text, "\"tree_info\"", "\"iteration_indptr\":" + begins + ",\"tree_info\"");
    const auto imported = import_xgboost(text, kColumns);
    return imported ? std::string("imported") : imported.error().field;
  };
  EXPECT_EQ(field("0", "[0,1,2]"), "imported");
  for (const char* best : {"", "-1", "0.5", "best"})
    EXPECT_EQ(field(best, "[0,1,2]"), "best_iteration") << best;
  for (const char* begins : {"[]", "[0]", "[0,1]", "[1,2]", "[0,3,2]", "[0,1,3]", "[0,0.5,2]"})
    EXPECT_EQ(field("0", begins), "iteration_indptr") << begins;
}

TEST(ImportXgboost, BothFormsAndTheNewerBaseScoreGiveOneModel) {
  const std::string expected = serialize(*import_xgboost(model(), kColumns).value());
  EXPECT_EQ(serialize(*read_model(model(), kColumns).value()), expected);
  EXPECT_EQ(serialize(*read_model(as_ubjson(model()), kColumns).value()), expected);
  EXPECT_EQ(serialize(*read_model(with(model(), "2.5E-1", "[2.5E-1]"), kColumns).value()), expected);
}

TEST(Ubjson, ListsTakeNoMoreThanTheirBytesAllow) {
  constexpr size_t kItems = 4'000'000;
  const auto of = [](std::string head, char item) {
    std::string bytes = "{U\x01x" + std::move(head);
    put_number(kItems, 8, bytes);
    return bytes + std::string(kItems, item) + "}";
  };
  const auto lists = parse_document(of("[$[#L", ']'));
  ASSERT_FALSE(lists) << "a byte each, and a value of forty";
  EXPECT_NE(lists.error().reason.find("far more lists"), std::string::npos) << lists.error().reason;
  const auto nulls = parse_document(of("[#L", 'Z'));
  ASSERT_TRUE(nulls) << nulls.error().reason;
  EXPECT_EQ((*nulls)["x"].get<Document::Numbers>()->size(), kItems);
}

TEST(Ubjson, EveryTypeIsReadAndEveryTruncationRefused) {
  std::string bytes = "{";
  const auto key = [&](const char* name) { bytes += std::string("U") + '\x01' + name; };
  key("a"), bytes += std::string("[$L#i\x02") + std::string(7, '\0') + '\x05' + std::string(8, '\xff');
  key("b"), bytes += std::string("[$U#U\x02\xff\x01", 8);
  key("c"), bytes += "[#i\x03TFZ";
  key("d"), bytes += std::string("D\x3f\xf8", 3) + std::string(6, '\0');
  key("e"), bytes += "[Si\x02hi{}]";
  key("f"), bytes += "{$i#i\x01U\x01x\xfe";
  bytes += "}";
  const auto document = parse_document(bytes);
  ASSERT_TRUE(document) << document.error().reason;
  EXPECT_EQ(*(*document)["a"].get<Document::Numbers>(), (Document::Numbers{5, -1}));
  EXPECT_EQ(*(*document)["b"].get<Document::Numbers>(), (Document::Numbers{255, 1}));
  EXPECT_EQ((*document)["c"].get<Document::Numbers>()->size(), 3u);
  EXPECT_EQ(*(*document)["d"].get<double>(), 1.5);
  EXPECT_EQ(*(*(*document)["e"].get<Document::Array>())[0].get<std::string>(), "hi");
  EXPECT_EQ(*(*document)["f"]["x"].get<double>(), -2);
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(parse_document(bytes.substr(0, n))) << n;
  EXPECT_FALSE(parse_document(std::string("{U\x01x[$L#L\x7f\xff\xff\xff\xff\xff\xff\xff", 17)));
  EXPECT_FALSE(parse_document("{U\x01x" + std::string(100'000, '['))) << "too deep";
}

// night in {1, 33} goes right (as XGBoost's sets do), everything else left, missing right.
std::string categorical_model() {
  std::string text = with(model(), "\"split_type\":[0,0,0,0,0]", "\"split_type\":[0,0,1,0,0]");
  text = with(text, "[100.5,0.75,5E-1", "[100.5,0.75,NaN");
  return with(text, "\"categories\":[],\"categories_nodes\":[],",
              "\"categories\":[1,33],\"categories_nodes\":[2],\"categories_segments\":[0],"
              "\"categories_sizes\":[2],");
}

// Trees whose one split has a set of one category.
std::string models_of_sets(size_t trees, uint32_t category) {
  std::string all;
  for (size_t t = 0; t < trees; ++t) {
    all += fmt::format(
        R"({}{{"categories":[{}],"categories_nodes":[0],"categories_segments":[0],"categories_sizes":[1],)"
        R"("default_left":[0,0,0],"left_children":[1,-1,-1],"right_children":[2,-1,-1],)"
        R"("split_conditions":[0,1,2],"split_indices":[0,0,0],"split_type":[1,0,0],"sum_hessian":[2,1,1]}})",
        t == 0 ? "" : ",", category);
  }
  return fmt::format(R"({{"learner":{{"gradient_booster":{{"model":{{"trees":[{}]}},"name":"gbtree"}},)"
                     R"("learner_model_param":{{"base_score":"5E-1","num_feature":"1"}},)"
                     R"("objective":{{"name":"binary:logistic"}}}}}})",
                     all);
}

TEST(ImportXgboost, SetsOfAllTreesTakeNoMoreThanTheyMay) {
  EXPECT_TRUE(import_xgboost(models_of_sets(200, 4095), kColumns));
  const auto large = import_xgboost(models_of_sets(200, kCategoriesMax - 1), kColumns);
  ASSERT_FALSE(large) << "400 MiB of sets from 50 KB";
  EXPECT_EQ(large.error().field, "trees[128]");
  EXPECT_NE(large.error().reason.find("more than 256 MiB"), std::string::npos) << large.error().reason;
  std::string text = with(categorical_model(), "\"categories_nodes\":[2]", "\"categories_nodes\":[2,2]");
  text = with(text, "\"categories_segments\":[0]", "\"categories_segments\":[0,0]");
  text = with(text, "\"categories_sizes\":[2]", "\"categories_sizes\":[2,2]");
  EXPECT_FALSE(import_xgboost(text, kColumns)) << "codes that sets share are read again and again";
}

TEST(Import, WhoseCodesColumnsMustHoldIsSaid) {
  const auto said = [](const std::string& text, ColumnKind kind) {
    std::vector<Column> columns = kColumns;
    for (Column& column : columns) column.kind = kind;
    Notes notes;
    EXPECT_TRUE(read_model(text, columns, &notes));
    return notes.empty() ? std::string() : notes[0];
  };
  EXPECT_EQ(said(model(), ColumnKind::kCategorical), "");
  EXPECT_NE(said(categorical_model(), ColumnKind::kNumeric).find("hold in \"night\" the codes"),
            std::string::npos);
  EXPECT_NE(said(categorical_model(), ColumnKind::kCategorical).find("hashes"), std::string::npos);
  EXPECT_NE(said(lightgbm_model(), ColumnKind::kNumeric).find("LightGBM gave"), std::string::npos);
  const std::string ours =
      with(categorical_model(), "\"attributes\":{}", "\"attributes\":{\"shrike_family\":\"x\"}");
  EXPECT_EQ(said(ours, ColumnKind::kCategorical), "") << "what was exported has our codes";
}

TEST(ImportXgboost, CategoriesInTheSetGoRightAndOddOnesLeft) {
  const auto imported = import_xgboost(categorical_model(), kColumns);
  ASSERT_TRUE(imported) << imported.error().field << imported.error().reason;
  const auto& trees = static_cast<const TreeModel&>(**imported).scorer().trees();
  const auto leaf = [&](float night) { return trees[0].leaf(std::vector<float>{0, night, 7}.data()).value; };
  for (const float right : {1.0f, 33.0f, 1.9f, nan}) EXPECT_EQ(leaf(right), 0.1f) << right;
  for (const float left : {0.0f, 2.0f, 34.0f, 65.0f, -1.0f, -0.5f, 1e9f, 3e38f, -3e38f})
    EXPECT_EQ(leaf(left), -0.25f) << left;
  const std::string bytes = serialize(**imported);
  EXPECT_EQ(serialize(*load_model(bytes).value()), bytes);
  EXPECT_EQ(serialize(*import_xgboost(as_ubjson(categorical_model()), kColumns).value()), bytes);
  std::vector<double> parts(3);
  const std::vector<float> row = {0, 33, 7};
  double sum = (*imported)->explain(row, parts);
  for (const double part : parts) sum += part;
  EXPECT_NEAR(sum, (*imported)->margin(row), 1e-6);
  EXPECT_NE(parts[1], 0);
}

TEST(ImportXgboost, WhatCannotBeImportedIsNamed) {
  const auto error = [](const std::string& text) {
    const auto imported = import_xgboost(text, kColumns);
    return imported ? std::string("imported") : imported.error().field + ": " + imported.error().reason;
  };
  EXPECT_NE(error("{").find("not JSON"), std::string::npos);
  EXPECT_NE(error(model().substr(0, 700)).find("it was cut off"), std::string::npos);
  EXPECT_NE(error(as_ubjson(model()).substr(0, 700)).find("was cut off"), std::string::npos);
  EXPECT_NE(error(with(model(), "0.75", "-nan")).find("\"nan\", "), std::string::npos);
  EXPECT_NE(error(with(model(), "0.75", "None")).find("\"None\", "), std::string::npos);
  EXPECT_EQ(error(with(model(), "0.75", "7.5e-1,]")).find("\"e"), std::string::npos);
  EXPECT_NE(error(with(model(), "0.75", "NaN")).find("node 1 is not finite"), std::string::npos);
  EXPECT_NE(
      error(with(with(model(), "\"num_target\":\"1\"", "\"num_target\":\"2\""), "2.5E-1", "[2.5E-1,5E-1]"))
          .find("only one target"),
      std::string::npos);
  EXPECT_NE(error("{}").find("not a model saved by XGBoost"), std::string::npos);
  EXPECT_NE(error(with(model(), "gbtree\"},\n", "gblinear\"},\n")).find("only gbtree and dart"),
            std::string::npos);
  EXPECT_NE(error(with(model(), "gbtree\"},\n", "dart\"},\n")).find("trees: they are missing"),
            std::string::npos);
  EXPECT_NE(error(with(model(), "binary:logistic", "multi:softprob")).find("multi:softprob"),
            std::string::npos);
  EXPECT_NE(error(with(model(), "\"night\",\"amount\"", "\"nacht\",\"amount\""))
                .find("\"nacht\" is not one of ours"),
            std::string::npos);
  EXPECT_NE(error(with(categorical_model(), "\"categories_sizes\":[2]", "\"categories_sizes\":[3]"))
                .find("set of categories 0 is out of range"),
            std::string::npos);
  EXPECT_NE(error(with(categorical_model(), "[1,33]", "[1,16777216]")).find("not in [0, 2^24)"),
            std::string::npos);
  EXPECT_NE(error(with(categorical_model(), "\"categories_nodes\":[2]", "\"categories_nodes\":[5]"))
                .find("out of range"),
            std::string::npos);
  EXPECT_NE(error(with(model(), "0.0625", "1e30")).find("sensible size"), std::string::npos);
  EXPECT_NE(error(with(model(), "\"left_children\":[2,", "\"left_children\":[0,")).find("trees[0]"),
            std::string::npos);
  EXPECT_NE(error(with(model(), "\"left_children\":[2,", "\"left_children\":[9,")).find("do not exist"),
            std::string::npos);
  EXPECT_NE(
      error(with(model(), "\"split_indices\":[1,", "\"split_indices\":[2,")).find("splits on a feature"),
      std::string::npos);
  EXPECT_NE(error(with(model(), "[10,4,6,2,4]", "[10,4,6,2]")).find("differ in length"), std::string::npos);
}

// night <= 0.1 (NaN goes right), then kind in {0, 34}; a second tree with zero as missing; a lone leaf.
std::string lightgbm_model() {
  return R"(tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=1
objective=binary sigmoid:0.5
feature_names=night amount
feature_infos=[0:1] 0:1:2
tree_sizes=1 2 3

Tree=0
num_leaves=3
num_cat=1
split_feature=0 1
split_gain=1 1
threshold=0.10000000000000001 0
decision_type=8 1
left_child=-1 -2
right_child=1 -3
leaf_value=0.10000000000000001 0.20000000000000001 -0.30000000000000004
leaf_weight=1 1 1
leaf_count=10 20 30
internal_value=0 0
internal_weight=0 0
internal_count=60 50
cat_boundaries=0 2
cat_threshold=1 4
is_linear=0
shrinkage=1


Tree=1
num_leaves=2
num_cat=0
split_feature=1
split_gain=1
threshold=-1.5
decision_type=6
left_child=-1
right_child=-2
leaf_value=1 2
leaf_weight=1 1
leaf_count=10 20
internal_value=0
internal_weight=0
internal_count=30
is_linear=0
shrinkage=0.1


Tree=2
num_leaves=1
num_cat=0
split_feature=
split_gain=
threshold=
decision_type=
left_child=
right_child=
leaf_value=0.0625
leaf_weight=
leaf_count=
internal_value=
internal_weight=
internal_count=
is_linear=0
shrinkage=1


end of trees

feature_importances:
night=1

parameters:
[boosting: gbdt]
end of parameters
)";
}

TEST(ImportLightgbm, AModelWorkedOutByHand) {
  const auto imported = read_model(lightgbm_model(), kColumns);
  ASSERT_TRUE(imported) << imported.error().field << imported.error().reason;
  EXPECT_EQ((*imported)->origin(), "lightgbm");
  EXPECT_EQ((*imported)->calibration().slope, 0.5);
  const auto margin = [&](float amount, float night) {
    return (*imported)->margin(std::vector<float>{amount, night, 7});
  };
  const double tail = 0.0625, third = -0.30000000000000004;
  EXPECT_EQ(margin(5, 0.1f), 0.0 + third + 2 + tail) << "0.1f is above 0.1";
  EXPECT_EQ(margin(5, std::nextafter(0.1f, 0.0f)), 0.0 + 0.1 + 2 + tail);
  EXPECT_EQ(margin(34, nan), 0.0 + 0.2 + 2 + tail) << "the second word's third bit";
  EXPECT_EQ(margin(0, 1), 0.0 + 0.2 + 1 + tail) << "zero is missing in the second tree, and goes left";
  EXPECT_EQ(margin(-0.5f, 1), 0.0 + 0.2 + 2 + tail) << "category 0";
  EXPECT_EQ(margin(-2, 1), 0.0 + third + 1 + tail);
  EXPECT_EQ(margin(nan, 1), 0.0 + third + 1 + tail);
  EXPECT_EQ(margin(1e20f, 1), 0.0 + third + 2 + tail);
  const std::string bytes = serialize(**imported);
  const auto again = load_model(bytes);
  ASSERT_TRUE(again) << again.error().reason;
  EXPECT_EQ(serialize(**again), bytes);
  EXPECT_EQ((*again)->margin(std::vector<float>{5, 1, 7}), margin(5, 1));
}

TEST(ImportLightgbm, ThresholdsBecomeTheVeryTestsOnFloats) {
  const auto split = [&](const std::string& threshold, const std::string& decision) {
    std::string text = with(lightgbm_model(), "threshold=-1.5", "threshold=" + threshold);
    text = with(text, "decision_type=6", "decision_type=" + decision);
    return static_cast<const TreeModel&>(*read_model(text, kColumns).value()).scorer().trees()[1].nodes[0];
  };
  constexpr float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(split("1e300", "8").value, infinity);
  EXPECT_EQ(split("-1e300", "8").value, -std::numeric_limits<float>::max());
  EXPECT_EQ(split("1.5", "8").value, std::nextafter(1.5f, infinity));
  EXPECT_EQ(split("1.50000000001", "8").value, std::nextafter(1.5f, infinity));
  EXPECT_EQ(split("1.49999999999", "8").value, 1.5f);
  EXPECT_EQ(split("1e-40", "8").value, std::nextafter(1e-35f, infinity)) << "1e-35 counts as 0";
  EXPECT_EQ(split("-1e-40", "8").value, -1e-35f);
  EXPECT_TRUE(split("0", "0").missing_left) << "NaN counts as 0 when none was known";
  EXPECT_FALSE(split("-1", "2").missing_left);
  EXPECT_TRUE(split("-1", "10").missing_left);
}

TEST(ImportLightgbm, WhatCannotBeImportedIsNamed) {
  const auto error = [](const std::string& from, const std::string& to) {
    const auto imported = import_lightgbm(with(lightgbm_model(), from, to), kColumns);
    return imported ? std::string("imported") : imported.error().field + ": " + imported.error().reason;
  };
  const auto has = [&](const std::string& from, const std::string& to, const std::string& wanted) {
    EXPECT_NE(error(from, to).find(wanted), std::string::npos) << error(from, to);
  };
  has("version=v4", "version=v5", "found \"v5\"");
  has("binary sigmoid:0.5", "regression", "found \"regression\"");
  has("sigmoid:0.5", "sigmoid:-1", "sigmoid");
  has("num_tree_per_iteration=1", "num_tree_per_iteration=3", "only 1");
  has("night amount", "nacht amount", "\"nacht\" is not one of ours");
  has("night amount", "night amount more", "found 3 of them, expected 2");
  has("is_linear=0", "is_linear=1", "linear_tree=false");
  has("split_feature=0 1", "split_feature=0 2", "Tree=0: split 1 is on a feature");
  has("left_child=-1 -2", "left_child=0 -2", "Tree=0");
  has("left_child=-1 -2", "left_child=-1 -9", "do not exist");
  has("right_child=1 -3", "right_child=1", "of another length");
  has("cat_boundaries=0 2", "cat_boundaries=0 3", "out of range");
  has("cat_boundaries=0 2\n", "", "cat_boundaries");
  has("threshold=-1.5", "threshold=nan", "not finite");
  has("decision_type=6", "decision_type=14", "unknown decision_type 14");
  has("leaf_value=1 2", "leaf_value=1 x", "not of numbers");
  has("end of trees", "end of", "and 3 trees before \"end of trees\": it was cut off");
  has("\n\nend of trees", "\n\nsomething\n\nend of trees", "a tree was expected");
  EXPECT_EQ(error("sigmoid:0.5", "sigmoid:1"), "imported");
  const std::string text = lightgbm_model();
  for (size_t n = 0; n < text.find("end of trees"); ++n)
    EXPECT_FALSE(import_lightgbm(text.substr(0, n), kColumns)) << n;
}

TEST(ImportLightgbm, ASetThatSplitsShareCountsForEach) {
  constexpr size_t kSplits = 200;
  std::string zeros, ones, left, right, bits;
  for (size_t i = 0; i <= kSplits; ++i) {
    const char* space = i == 0 ? "" : " ";
    ones += fmt::format("{}1", space);
    if (i == kSplits) break;
    zeros += fmt::format("{}0", space);
    left += fmt::format("{}{}", space, ~static_cast<int>(i));
    right +=
        fmt::format("{}{}", space, i + 1 < kSplits ? static_cast<int>(i + 1) : ~static_cast<int>(kSplits));
  }
  for (size_t i = 0; i < kCategoriesMax / 32; ++i) bits += i == 0 ? "1" : " 1";
  const std::string text = fmt::format(
      "tree\nversion=v4\nmax_feature_idx=0\nobjective=binary sigmoid:1\nfeature_names=night\n\nTree=0\n"
      "num_leaves={}\nnum_cat=1\nsplit_feature={}\nthreshold={}\ndecision_type={}\nleft_child={}\nright_"
      "child={}\n"
      "leaf_value={}\nleaf_count={}\ninternal_count={}\ncat_boundaries=0 {}\ncat_threshold={}\n\n\nend of "
      "trees\n",
      kSplits + 1, zeros, zeros, ones.substr(2), left, right, ones, ones, zeros, kCategoriesMax / 32, bits);
  const auto imported = import_lightgbm(text, kColumns);
  ASSERT_FALSE(imported);
  EXPECT_NE(imported.error().reason.find("more than 256 MiB"), std::string::npos) << imported.error().reason;
}

TEST(ImportLightgbm, RandomForestsAreAveraged) {
  const std::string text = with(lightgbm_model(), "feature_names", "average_output\nfeature_names");
  EXPECT_EQ((*import_lightgbm(text, kColumns))->calibration().slope, static_cast<double>(0.5f / 3));
}

TEST(Import, WhatNoImporterReadsIsNamedWithItsRemedy) {
  using namespace std::string_literals;
  const auto reason = [](const std::string& bytes) {
    const auto read = read_model(bytes, kColumns);
    return read ? std::string("read") : read.error().reason;
  };
  std::string old(136, '\0');
  for (const std::string name : {"binary:logistic", "gbtree"}) {
    old += static_cast<char>(name.size());
    old += std::string(7, '\0') + name;
  }
  const struct {
    std::string bytes;
    const char *what, *remedy;
  } cases[] = {
      {"", "empty", ""},
      {" \n", "empty", ""},
      {"binf" + old, "XGBoost's old binary form", "booster.save_model(\"model.json\")"},
      {old, "XGBoost's old binary form", "booster.save_model(\"model.json\")"},
      {"bs64\tYmluZg==", "XGBoost's old text", "booster.save_model(\"model.json\")"},
      {"\x80\x05\x95 xgboost.sklearn", "pickle", "booster.save_model(\"model.json\")"},
      {"\x80\x04\x95 lightgbm.basic [xgboost_dart_mode: 0]", "pickle", "booster.save_model(\"model.txt\")"},
      {"\x80\x04\x95 sklearn", "pickle", "booster.save_model(\"model.txt\")"},
      {"ccopy_reg\n_reconstructor\n(cxgboost.core\n", "pickle", "booster.save_model(\"model.json\")"},
      {"\x5d\0\0\x80\0"s, "lzma", "unlzma"},
      {"\x78\x9c\x01\x02", "joblib", "booster.save_model(\"model.json\")"},
      {"\x1f\x8b\x08", "gzip", "gunzip"},
      {"PK\x03\x04", "zip archive", "booster.save_model"},
      {"CBM1\x10", "CatBoost", "train with"},
      {"{\"features_info\":{},\"model_info\":{},\"oblivious_trees\":[]}", "CatBoost", "train with"},
      {"\x08\x07\x12\x07skl2onnx"s, "ONNX", "booster.save_model"},
      {"<?xml version=\"1.0\"?>\n<PMML version=\"4.4\">", "PMML", "booster.save_model"},
      {"<html>", "HTML", "download"},
      {"\x06\0\0\0009.8.0\0m"s, "Vowpal Wabbit", "`linear`"},
      {"Version 9.8.0\nId \nMin label:0\n", "Vowpal Wabbit", "`linear`"},
      {R"({"name":"tree","version":"v4","feature_names":["a"],"tree_info":[{}]})", "LightGBM's dump_model",
       "booster.save_model(\"model.txt\")"},
      {"tree\nver", "LightGBM", "cut off"},
      {lightgbm_model().substr(0, 500), "1 trees before \"end of trees\"", "cut off"},
      {R"([{ "nodeid": 0, "leaf": 1 }])", "dump of XGBoost's", "booster.save_model(\"model.json\")"},
      {"booster[0]:\n0:leaf=1", "dump of XGBoost's", "booster.save_model(\"model.json\")"},
      {R"({"learner":{"generic_param":{},"gradient_booster":{"name":"gbtree"}}})", "save_config",
       "booster.save_model(\"model.json\")"},
      {R"({"Config":{},"Model":{}})", "snapshot", "booster.save_model(\"model.json\")"},
      {R"({"format":"shrike-linear","version":1})", "our JSON of a linear model", "without --format"},
      {"{L" + std::string(7, '\0') + "\x01xC!", "unknown type 0x43", "booster.save_model(\"model.json\")"},
      {"{'learner': {}}", "Python's text", "booster.save_model(\"model.json\")"},
      {"no model at all", "of no form that is known", "shrike models export"},
  };
  for (const auto& [bytes, what, remedy] : cases) {
    EXPECT_NE(reason(bytes).find(what), std::string::npos) << what << ": " << reason(bytes);
    EXPECT_NE(reason(bytes).find(remedy), std::string::npos) << remedy << ": " << reason(bytes);
  }
  const std::string ours = serialize(*import_xgboost(model(), kColumns).value());
  EXPECT_EQ(reason(ours), "read");
  EXPECT_NE(reason(ours.substr(0, ours.size() - 1)).find("truncated"), std::string::npos);
}

TEST(ExportXgboost, WhatItsProbabilityLacksIsSaid) {
  Tree tree;
  tree.nodes[0].value = 0.25f;
  const auto note = [&](Platt platt, LeafSum sum) {
    return note_xgboost_export(TreeModel("boosting", kColumns, 0, {tree}, platt, "", sum));
  };
  EXPECT_EQ(note(Platt{1, 0}, LeafSum::kLogOdds), "") << "there is nothing to lack";
  EXPECT_NE(note(Platt{0.5f, -2}, LeafSum::kLogOdds).find("e^-(0.5 * margin + -2)"), std::string::npos);
  EXPECT_NE(note(Platt{1, 0}, LeafSum::kProbability).find("predicts the sum"), std::string::npos);
}

TEST(ExportXgboost, WhatWasExportedScoresAlike) {
  for (const std::string& text : {model(), categorical_model()}) {
    const ModelPtr ours = import_xgboost(text, kColumns).value();
    const std::string exported = export_xgboost(*ours).value();
    EXPECT_NE(exported.find(R"("shrike_slope":"1")"), std::string::npos);
    const ModelPtr again = import_xgboost(exported, kColumns).value();
    std::mt19937 random(2);
    for (int i = 0; i < 1000; ++i) {
      const std::vector<float> row = {static_cast<float>(random() % 200),
                                      random() % 4 == 0 ? nan : static_cast<float>(random() % 70) / 2, 7};
      EXPECT_EQ(ours->margin(row), again->margin(row));
    }
  }
}

TEST(ExportXgboost, AForestsMeanIsARegression) {
  Tree tree;
  tree.nodes[0].value = 0.25f;
  const TreeModel ours("forest", kColumns, 0, {tree}, Platt{}, "", LeafSum::kProbability);
  const std::string exported = export_xgboost(ours).value();
  EXPECT_NE(exported.find(R"("name":"reg:squarederror")"), std::string::npos);
  EXPECT_NE(exported.find(R"("base_score":"0E0")"), std::string::npos);
  const auto again = import_xgboost(exported, kColumns);
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().reason.find("reg:squarederror"), std::string::npos) << again.error().reason;
}

TEST(ExportXgboost, WhatXgboostCannotHoldIsRefused) {
  const auto reason = [](const ModelPtr& given) { return export_xgboost(*given).error().reason; };
  EXPECT_NE(reason(import_lightgbm(lightgbm_model(), kColumns).value()).find("summed in double"),
            std::string::npos);
  EXPECT_NE(reason(make_prior_model(kColumns, 0.1)).find("prior model"), std::string::npos);
}

TEST(ExportJson, ALinearModelCanBeScoredFromItsJson) {
  LinearModel ours;
  ours.columns_ = {{"amount \"net\"", ColumnKind::kNumeric}, {"kind", ColumnKind::kCategorical}};
  ours.column_cuts_ = {{1, 2.5f}, {}};
  ours.layout_ = LinearLayout(ours.columns_, ours.column_cuts_, 2);
  ours.weights_ = {0.1f, 0.2f, 0.3f, 0.4f, -1, -2, -3, -4, -5};
  ours.bias_ = 1;
  EXPECT_EQ(export_json(ours).value(),
            R"({"format":"shrike-linear","version":1,"bias":1E0,"slope":1E0,"shift":0E0,"hash_bits":2,)"
            R"("hash_multiplier":2654435761,"columns":[{"name":"amount \"net\"","kind":"numeric",)"
            R"("cuts":[1E0,2.5],"weights":[0.1,0.2,0.3],"missing":0.4},{"name":"kind","kind":"categorical",)"
            R"("weights":[-1E0,-2E0,-3E0,-4E0],"missing":-5E0}]})"
            "\n");
  ours.layout_ = LinearLayout(ours.columns_, ours.column_cuts_, 2, {{1, 0}});
  ours.weights_.resize(ours.layout_.weights(), 0.5f);
  const std::string with_pairs = export_json(ours).value();
  EXPECT_NE(with_pairs.find(R"("version":2,)"), std::string::npos);
  EXPECT_NE(with_pairs.find(R"("missing":-5E0}],"pairs":[{"columns":[1,0],"weights":[0.5,)"),
            std::string::npos);
  EXPECT_NE(export_json(*import_xgboost(model(), kColumns).value()).error().reason.find("only linear"),
            std::string::npos);
}

TEST(ImportedModels, AnyEditOfTheSavedFormLoadsSoundOrIsRefused) {
  for (const std::string& text : {categorical_model(), lightgbm_model()}) {
    const std::string payload = read_model(text, kColumns).value()->payload();
    std::mt19937 random(1);
    int sound = 0;
    for (int round = 0; round < 20'000; ++round) {
      std::string edited = payload;
      for (uint32_t edits = 1 + random() % 3; edits > 0; --edits)
        edited[40 + random() % (edited.size() - 60)] = static_cast<char>(random());  // not the names
      const auto loaded = load_tree_model("boosting", edited);
      sound += loaded.has_value();
      if (!loaded) continue;
      std::vector<float> row((*loaded)->columns().size());
      for (float& v : row) v = random() % 4 == 0 ? nan : static_cast<float>(random() % 70);
      float score = 0;
      (*loaded)->score({row, row.size()}, {&score, 1});
      EXPECT_TRUE(score > 0 && score < 1);
    }
    EXPECT_GT(sound, 1000);
  }
}

}  // namespace
}  // namespace shrike::learners
