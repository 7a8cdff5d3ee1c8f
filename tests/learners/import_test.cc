// Imported models: a small XGBoost file worked out by hand, and what cannot be imported. (bench/xgboost_bench
// compares with libxgboost itself on 100,000 rows.)
#include "learners/import.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

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

std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ImportXgboost, AModelWorkedOutByHand) {
  const auto imported = import_xgboost(model(), kColumns);
  ASSERT_TRUE(imported) << imported.error().field << imported.error().reason;
  const float base = -std::log(1.0f / 0.25f - 1.0f), nan = std::numeric_limits<float>::quiet_NaN();
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
}

TEST(ImportXgboost, WhatCannotBeImportedIsNamed) {
  const auto error = [](const std::string& text) {
    const auto imported = import_xgboost(text, kColumns);
    return imported ? std::string("imported") : imported.error().field + ": " + imported.error().reason;
  };
  EXPECT_NE(error("{").find("not JSON"), std::string::npos);
  EXPECT_NE(error("{}").find("not a model saved by XGBoost"), std::string::npos);
  EXPECT_NE(error(with(model(), "gbtree\"},\n", "dart\"},\n")).find("only gbtree"), std::string::npos);
  EXPECT_NE(error(with(model(), "binary:logistic", "multi:softprob")).find("multi:softprob"),
            std::string::npos);
  EXPECT_NE(error(with(model(), "\"night\",\"amount\"", "\"nacht\",\"amount\""))
                .find("\"nacht\" is not one of ours"),
            std::string::npos);
  EXPECT_NE(
      error(with(model(), "\"split_type\":[0,0,0,0,0]", "\"split_type\":[1,0,0,0,0]")).find("categorical"),
      std::string::npos);
  EXPECT_NE(error(with(model(), "\"left_children\":[2,", "\"left_children\":[0,")).find("trees[0]"),
            std::string::npos);
  EXPECT_NE(error(with(model(), "\"left_children\":[2,", "\"left_children\":[9,")).find("do not exist"),
            std::string::npos);
  EXPECT_NE(
      error(with(model(), "\"split_indices\":[1,", "\"split_indices\":[2,")).find("splits on a feature"),
      std::string::npos);
  EXPECT_NE(error(with(model(), "[10,4,6,2,4]", "[10,4,6,2]")).find("differ in length"), std::string::npos);
}

}  // namespace
}  // namespace shrike::learners
