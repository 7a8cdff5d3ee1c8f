#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "learners/formats/document.h"
#include "learners/formats/import.h"
#include "learners/formats/import_parts.h"
#include "learners/trees/model.h"

namespace shrike::learners {
namespace {

// Numbers of a model's parameters are written as texts; since version 3.1 as a list of one: "[5E-1]".
bool number(const Document& from, double& out) {
  if (const double* found = from.get<double>()) return out = *found, true;
  const std::string* found = from.get<std::string>();
  if (found == nullptr) return false;
  std::string_view text = *found;
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') text = text.substr(1, text.size() - 2);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

const Document::Numbers* numbers(const Document& tree, const char* name, size_t size) {
  const auto* found = tree[name].get<Document::Numbers>();
  return found != nullptr && found->size() == size ? found : nullptr;
}

// A whole number in [0, limit), or -1.
int64_t index(double value, double limit) {
  return value >= 0 && value < limit && value == std::floor(value) ? static_cast<int64_t>(value) : -1;
}

// The sets of categorical nodes: those of XGBoost go right.
Result<void> read_sets(const Document& from, const std::string& where, std::vector<ForeignNode>& nodes) {
  const auto* of = from["categories_nodes"].get<Document::Numbers>();
  const size_t sets = of == nullptr ? 0 : of->size();
  const auto* begins = numbers(from, "categories_segments", sets);
  const auto* sizes = numbers(from, "categories_sizes", sets);
  const auto* all = from["categories"].get<Document::Numbers>();
  if (of == nullptr || begins == nullptr || sizes == nullptr || all == nullptr)
    return refuse(where, "the arrays of its categories are missing or differ in length");
  for (size_t s = 0; s < sets; ++s) {
    const int64_t node = index((*of)[s], static_cast<double>(nodes.size()));
    const auto count = static_cast<double>(all->size());
    const int64_t begin = index((*begins)[s], count + 1), size = index((*sizes)[s], count + 1);
    if (node < 0 || begin < 0 || size < 0 || begin + size > static_cast<int64_t>(all->size()))
      return refuse(where, fmt::format("its set of categories {} is out of range", s));
    std::vector<uint32_t>& set = nodes[static_cast<size_t>(node)].set;
    for (int64_t i = begin; i < begin + size; ++i) {
      const int64_t category = index((*all)[static_cast<size_t>(i)], kCategoriesMax);
      if (category < 0)
        return refuse(where, fmt::format("category {} is not in [0, 2^24)", (*all)[static_cast<size_t>(i)]));
      const auto word = static_cast<size_t>(category) / 32;
      if (word >= set.size()) set.resize(word + 1);
      set[word] |= 1u << (category % 32);
    }
  }
  return {};
}

Result<Tree> read_tree(const Document& from, size_t at, const std::vector<int32_t>& column_of) {
  const std::string where = fmt::format("trees[{}]", at);
  const auto* left = from["left_children"].get<Document::Numbers>();
  if (left == nullptr) return refuse(where, "an array of its nodes is missing or is not of numbers");
  const size_t n = left->size();
  const auto* right = numbers(from, "right_children", n);
  const auto* column = numbers(from, "split_indices", n);
  const auto* default_left = numbers(from, "default_left", n);
  const auto* condition = numbers(from, "split_conditions", n);
  const auto* cover = numbers(from, "sum_hessian", n);
  const auto* type = numbers(from, "split_type", n);  // since version 1.5
  if (right == nullptr || column == nullptr || default_left == nullptr || condition == nullptr ||
      cover == nullptr ||
      (type == nullptr && !std::holds_alternative<std::monostate>(from["split_type"].value)))
    return refuse(where, "the arrays of its nodes are missing or differ in length");
  std::vector<ForeignNode> nodes(n);
  bool categorical = false;
  for (size_t i = 0; i < n; ++i) {
    TreeNode& node = nodes[i].node;
    node.value = static_cast<float>((*condition)[i]);
    node.cover = static_cast<float>((*cover)[i]);
    if ((*left)[i] < 0) continue;
    const int64_t feature = index((*column)[i], static_cast<double>(column_of.size()));
    if (feature < 0)
      return refuse(where, fmt::format("node {} splits on a feature that the model does not have", i));
    node.column = column_of[static_cast<size_t>(feature)];
    node.missing_left = (*default_left)[i] != 0;
    nodes[i].left = index((*left)[i], static_cast<double>(n));
    nodes[i].right = index((*right)[i], static_cast<double>(n));
    if (type == nullptr || (*type)[i] == 0) continue;
    categorical = true;
    node.test = SplitTest::kMember;
    node.value = 0;
    node.missing_left = !node.missing_left;
    std::swap(nodes[i].left, nodes[i].right);
  }
  if (categorical) {
    if (auto read = read_sets(from, where, nodes); !read) return tl::make_unexpected(read.error());
  }
  return order_tree(std::move(nodes), n == 0 ? -1 : 0, false, where);
}

}  // namespace

bool looks_like_xgboost(std::string_view bytes) {
  return looks_like_document(bytes) && bytes.find("learner") != std::string_view::npos;
}

Result<ModelPtr> import_xgboost(std::string_view bytes, std::vector<Column> columns) {
  const auto document = parse_document(bytes);
  if (!document) return tl::make_unexpected(document.error());
  const Document& learner = (*document)["learner"];
  const Document& booster = learner["gradient_booster"];
  if (booster.get<Document::Object>() == nullptr)
    return refuse("learner", "it is not a model saved by XGBoost as JSON or UBJSON");
  const std::string* kind = booster["name"].get<std::string>();
  if (kind == nullptr || *kind != "gbtree")
    return refuse("gradient_booster",
                  fmt::format("found \"{}\", only gbtree can be imported", kind == nullptr ? "" : *kind));
  const std::string* named = learner["objective"]["name"].get<std::string>();
  const std::string objective = named == nullptr ? "" : *named;
  if (objective != "binary:logistic" && objective != "binary:logitraw" && objective != "reg:logistic") {
    return refuse(
        "objective",
        fmt::format("found \"{}\", allowed are binary:logistic, binary:logitraw, reg:logistic", objective));
  }
  const Document& parameters = learner["learner_model_param"];
  double base_score = 0, features = 0, classes = 0, targets = 1;
  if (!number(parameters["base_score"], base_score) || !number(parameters["num_feature"], features))
    return refuse("learner_model_param", "base_score or num_feature is missing");
  if (number(parameters["num_class"], classes) && classes > 1)
    return refuse("num_class", fmt::format("found {}, only two classes can be imported", classes));
  if (number(parameters["num_target"], targets) && targets > 1)
    return refuse("num_target", fmt::format("found {}, only one target can be imported", targets));
  if (!(base_score > 0 && base_score < 1) && objective != "binary:logitraw")
    return refuse("base_score", fmt::format("found {}, expected a probability", base_score));
  if (!std::isfinite(base_score)) return refuse("base_score", "it is not finite");
  if (!(features >= 0 && features < 1e6)) return refuse("num_feature", "it is out of range");
  std::vector<std::string> names;
  if (const auto* found = learner["feature_names"].get<Document::Array>()) {
    for (const Document& one : *found) {
      const std::string* name = one.get<std::string>();
      if (name == nullptr) return refuse("feature_names", "a name is not a text");
      names.push_back(*name);
    }
  }
  const auto column_of =
      match_columns(names, static_cast<size_t>(features), columns, "feature_names", "num_feature");
  if (!column_of) return tl::make_unexpected(column_of.error());
  const Document& from = booster["model"]["trees"];
  const auto* list = from.get<Document::Array>();
  const auto* none = from.get<Document::Numbers>();
  if (list == nullptr && (none == nullptr || !none->empty())) return refuse("trees", "they are missing");
  std::vector<Tree> trees;
  for (size_t t = 0; list != nullptr && t < list->size(); ++t) {
    auto tree = read_tree((*list)[t], t, *column_of);
    if (!tree) return tl::make_unexpected(tree.error());
    trees.push_back(std::move(*tree));
  }
  // As XGBoost does it, in float.
  const auto score = static_cast<float>(base_score);
  const float margin = objective == "binary:logitraw" ? score : -std::log(1.0f / score - 1.0f);
  return make_tree_model("boosting", std::move(columns), margin, std::move(trees), Platt{}, "xgboost");
}

}  // namespace shrike::learners
