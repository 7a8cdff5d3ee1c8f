#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "learners/import.h"
#include "learners/tree_model.h"

namespace shrike::learners {
namespace {

namespace dom = simdjson::dom;

tl::unexpected<Error> refuse(std::string field, std::string reason) {
  return tl::make_unexpected(Error{ErrorCode::kDamaged, std::move(field), std::move(reason)});
}

// Numbers of a model's parameters are written as texts.
bool number(dom::element element, double& out) {
  std::string_view text;
  if (element.get(out) == simdjson::SUCCESS) return true;
  if (element.get(text) != simdjson::SUCCESS) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

template <typename T>
bool numbers(dom::element tree, const char* name, std::vector<T>& out) {
  dom::array array;
  if (tree[name].get(array) != simdjson::SUCCESS) return false;
  out.clear();
  for (const dom::element one : array) {
    double value = 0;
    bool flag = false;
    if (one.get(flag) == simdjson::SUCCESS)
      value = flag ? 1 : 0;
    else if (!number(one, value))
      return false;
    out.push_back(static_cast<T>(value));
  }
  return true;
}

// Breadth-first, which is how ours lie.
Result<Tree> read_tree(dom::element from, size_t index, const std::vector<int32_t>& column_of) {
  const std::string where = fmt::format("trees[{}]", index);
  std::vector<int64_t> left, right, column, default_left, type;
  std::vector<float> condition, cover;
  if (!numbers(from, "left_children", left) || !numbers(from, "right_children", right) ||
      !numbers(from, "split_indices", column) || !numbers(from, "default_left", default_left) ||
      !numbers(from, "split_conditions", condition) || !numbers(from, "sum_hessian", cover)) {
    return refuse(where, "an array of its nodes is missing or is not of numbers");
  }
  if (numbers(from, "split_type", type) &&
      std::any_of(type.begin(), type.end(), [](int64_t t) { return t != 0; })) {
    return refuse(where, "categorical splits are not supported; train with numeric or one-hot columns");
  }
  const size_t n = left.size();
  if (n == 0 || right.size() != n || column.size() != n || default_left.size() != n ||
      condition.size() != n || cover.size() != n) {
    return refuse(where, "the arrays of its nodes differ in length");
  }
  Tree tree;
  tree.nodes.clear();
  std::vector<size_t> order{0};  // ours -> theirs
  for (size_t i = 0; i < order.size(); ++i) {
    const size_t theirs = order[i];
    TreeNode node{condition[theirs], cover[theirs], -1, 0, default_left[theirs] != 0};
    if (!std::isfinite(node.value) || !(node.cover >= 0))
      return refuse(where, fmt::format("node {} is not finite", theirs));
    if (left[theirs] >= 0) {
      const auto l = static_cast<size_t>(left[theirs]), r = static_cast<size_t>(right[theirs]);
      if (right[theirs] < 0 || l >= n || r >= n || order.size() + 2 > n)
        return refuse(where, fmt::format("the children of node {} do not exist", theirs));
      if (column[theirs] < 0 || static_cast<size_t>(column[theirs]) >= column_of.size())
        return refuse(where, fmt::format("node {} splits on a feature that the model does not have", theirs));
      node.column = column_of[static_cast<size_t>(column[theirs])];
      node.left = static_cast<uint32_t>(order.size());
      order.push_back(l);
      order.push_back(r);
    }
    tree.nodes.push_back(node);
  }
  if (tree.depth() > Tree::kDepthMax)
    return refuse(where, fmt::format("it is deeper than {}", Tree::kDepthMax));
  return tree;
}

// Which of our columns each of the model's features is.
Result<std::vector<int32_t>> match_columns(dom::element learner, size_t features,
                                           const std::vector<Column>& columns) {
  std::vector<int32_t> column_of;
  dom::array names;
  if (learner["feature_names"].get(names) == simdjson::SUCCESS && names.size() > 0) {
    for (const dom::element one : names) {
      std::string_view name;
      if (one.get(name) != simdjson::SUCCESS) return refuse("feature_names", "a name is not a text");
      const auto found =
          std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.name == name; });
      if (found == columns.end())
        return refuse("feature_names", fmt::format("the model's feature \"{}\" is not one of ours", name));
      column_of.push_back(static_cast<int32_t>(found - columns.begin()));
    }
  } else {
    if (features > columns.size()) {
      return refuse("num_feature", fmt::format("the model has {} features without names, we have {} columns",
                                               features, columns.size()));
    }
    for (size_t c = 0; c < features; ++c) column_of.push_back(static_cast<int32_t>(c));
  }
  return column_of;
}

}  // namespace

bool looks_like_xgboost(std::string_view bytes) {
  const size_t start = bytes.find_first_not_of(" \t\r\n");
  return start != std::string_view::npos && bytes[start] == '{' &&
         bytes.find("\"learner\"") != std::string_view::npos;
}

Result<ModelPtr> read_model(std::string_view bytes, const std::vector<Column>& columns) {
  return looks_like_xgboost(bytes) ? import_xgboost(bytes, columns) : load_model(bytes);
}

Result<ModelPtr> import_xgboost(std::string_view json, std::vector<Column> columns) {
  dom::parser parser;
  dom::element document, learner, booster;
  if (const auto error = parser.parse(json.data(), json.size()).get(document))
    return refuse("", fmt::format("it is not JSON: {}", simdjson::error_message(error)));
  if (document["learner"].get(learner) != simdjson::SUCCESS ||
      learner["gradient_booster"].get(booster) != simdjson::SUCCESS) {
    return refuse("learner", "it is not a model saved by XGBoost as JSON");
  }
  std::string_view kind, objective;
  if (booster["name"].get(kind) != simdjson::SUCCESS || kind != "gbtree")
    return refuse("gradient_booster", fmt::format("found \"{}\", only gbtree can be imported", kind));
  if (learner["objective"]["name"].get(objective) != simdjson::SUCCESS ||
      (objective != "binary:logistic" && objective != "binary:logitraw" && objective != "reg:logistic")) {
    return refuse(
        "objective",
        fmt::format("found \"{}\", allowed are binary:logistic, binary:logitraw, reg:logistic", objective));
  }
  double base_score = 0, features = 0, classes = 0;
  dom::element base, feature_count, class_count;
  if (learner["learner_model_param"]["base_score"].get(base) != simdjson::SUCCESS ||
      !number(base, base_score) ||
      learner["learner_model_param"]["num_feature"].get(feature_count) != simdjson::SUCCESS ||
      !number(feature_count, features)) {
    return refuse("learner_model_param", "base_score or num_feature is missing");
  }
  if (learner["learner_model_param"]["num_class"].get(class_count) == simdjson::SUCCESS &&
      number(class_count, classes) && classes > 1)
    return refuse("num_class", fmt::format("found {}, only two classes can be imported", classes));
  if (!(base_score > 0 && base_score < 1) && objective != "binary:logitraw")
    return refuse("base_score", fmt::format("found {}, expected a probability", base_score));
  if (!(features >= 0 && features < 1e6)) return refuse("num_feature", "it is out of range");
  const auto column_of = match_columns(learner, static_cast<size_t>(features), columns);
  if (!column_of) return tl::make_unexpected(column_of.error());
  dom::array from;
  if (booster["model"]["trees"].get(from) != simdjson::SUCCESS) return refuse("trees", "they are missing");
  std::vector<Tree> trees;
  for (const dom::element one : from) {
    auto tree = read_tree(one, trees.size(), *column_of);
    if (!tree) return tl::make_unexpected(tree.error());
    trees.push_back(std::move(*tree));
  }
  // As XGBoost does it, in float.
  const auto score = static_cast<float>(base_score);
  const float margin = objective == "binary:logitraw" ? score : -std::log(1.0f / score - 1.0f);
  return std::make_shared<TreeModel>("boosting", std::move(columns), margin, std::move(trees), Platt{});
}

}  // namespace shrike::learners
