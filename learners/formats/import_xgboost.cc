#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "learners/formats/document.h"
#include "learners/formats/import.h"
#include "learners/formats/import_parts.h"
#include "learners/formats/recognise.h"
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
Result<void> read_sets(const Document& from, const std::string& where, SetBudget& budget,
                       std::vector<ForeignNode>& nodes) {
  const auto* of = from["categories_nodes"].get<Document::Numbers>();
  const size_t sets = of == nullptr ? 0 : of->size();
  const auto* begins = numbers(from, "categories_segments", sets);
  const auto* sizes = numbers(from, "categories_sizes", sets);
  const auto* all = from["categories"].get<Document::Numbers>();
  if (of == nullptr || begins == nullptr || sizes == nullptr || all == nullptr)
    return refuse(where, "the arrays of its categories are missing or differ in length");
  size_t used = 0;
  for (size_t s = 0; s < sets; ++s) {
    const int64_t node = index((*of)[s], static_cast<double>(nodes.size()));
    const auto count = static_cast<double>(all->size());
    const int64_t begin = index((*begins)[s], count + 1), size = index((*sizes)[s], count + 1);
    if (node < 0 || begin < 0 || size < 0 || begin + size > static_cast<int64_t>(all->size()) ||
        (used += static_cast<size_t>(size)) > all->size())  // shared codes could be read without end
      return refuse(where, fmt::format("its set of categories {} is out of range", s));
    std::vector<uint32_t>& set = nodes[static_cast<size_t>(node)].set;
    const auto first = all->begin() + begin, last = first + size;
    const auto odd = std::find_if(first, last, [](double code) { return index(code, kCategoriesMax) < 0; });
    if (odd != last) return refuse(where, fmt::format("category {} is not in [0, 2^24)", *odd));
    const size_t words = size == 0 ? 0 : static_cast<size_t>(*std::max_element(first, last)) / 32 + 1;
    if (words > set.size()) {  // once for the set: growing as codes come would take more than was asked for
      if (!budget.take(words - set.size())) return SetBudget::refusal(where);
      set.resize(words);
    }
    for (auto code = first; code != last; ++code) {
      const auto category = static_cast<uint32_t>(*code);
      set[category / 32] |= 1u << (category % 32);
    }
  }
  return {};
}

// Its leaves times `weight`, in float, as XGBoost adds them.
Result<Tree> read_tree(const Document& from, size_t at, const std::vector<int32_t>& column_of, float weight,
                       SetBudget& budget) {
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
    if ((*left)[i] < 0) {
      node.value *= weight;
      continue;
    }
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
    if (auto read = read_sets(from, where, budget, nodes); !read) return tl::make_unexpected(read.error());
  }
  return order_tree(std::move(nodes), n == 0 ? -1 : 0, false, where);
}

struct Parameters {
  std::string objective;
  double base_score = 0, features = 0;
};

Result<Parameters> read_parameters(const Document& learner) {
  Parameters out;
  const std::string* named = learner["objective"]["name"].get<std::string>();
  out.objective = named == nullptr ? "" : *named;
  if (out.objective != "binary:logistic" && out.objective != "binary:logitraw" &&
      out.objective != "reg:logistic") {
    return refuse("objective",
                  fmt::format("found \"{}\", allowed are binary:logistic, binary:logitraw, reg:logistic",
                              out.objective));
  }
  const Document& parameters = learner["learner_model_param"];
  double classes = 0, targets = 1;
  if (number(parameters["num_class"], classes) && classes > 1)
    return refuse("num_class", fmt::format("found {}, only two classes can be imported", classes));
  // Before base_score, of which there are as many.
  if (number(parameters["num_target"], targets) && targets > 1)
    return refuse("num_target",
                  fmt::format("found {}, only one target can be imported: train a model for each", targets));
  if (!number(parameters["base_score"], out.base_score) || !number(parameters["num_feature"], out.features))
    return refuse("learner_model_param", "base_score or num_feature is missing");
  if (!(out.base_score > 0 && out.base_score < 1) && out.objective != "binary:logitraw")
    return refuse("base_score", fmt::format("found {}, expected a probability", out.base_score));
  if (!std::isfinite(out.base_score)) return refuse("base_score", "it is not finite");
  if (!(out.features >= 0 && out.features < 1e6)) return refuse("num_feature", "it is out of range");
  return out;
}

Result<std::vector<int32_t>> read_features(const Document& learner, size_t features,
                                           const std::vector<Column>& columns) {
  std::vector<std::string> names;
  if (const auto* found = learner["feature_names"].get<Document::Array>()) {
    for (const Document& entry : *found) {
      const std::string* name = entry.get<std::string>();
      if (name == nullptr) return refuse("feature_names", "a name is not a text");
      names.push_back(*name);
    }
  }
  return match_columns(names, features, columns, "feature_names", "num_feature");
}

// How many iterations there are, and the tree with which the one after `last` begins.
struct Iterations {
  size_t count = 0, end = 0;
};

Result<Iterations> read_iterations(const Document& model, size_t trees, size_t last) {
  if (const auto* begins = model["iteration_indptr"].get<Document::Numbers>()) {  // since version 2.0
    const auto limit = static_cast<double>(trees) + 1;
    const bool sound =
        !begins->empty() && begins->front() == 0 && index(begins->back(), limit) >= 0 &&
        begins->back() == static_cast<double>(trees) && std::is_sorted(begins->begin(), begins->end()) &&
        std::all_of(begins->begin(), begins->end(), [&](double begin) { return index(begin, limit) >= 0; });
    if (!sound) return refuse("iteration_indptr", "it does not divide the trees into iterations");
    const size_t count = begins->size() - 1;
    return Iterations{count, last < count ? static_cast<size_t>((*begins)[last + 1]) : trees};
  }
  double parallel = 1;
  (void)number(model["gbtree_model_param"]["num_parallel_tree"], parallel);
  const auto each = static_cast<size_t>(std::max<int64_t>(index(parallel, 1e9), 1));
  const size_t count = (trees + each - 1) / each;
  return Iterations{count, last < count ? std::min(trees, (last + 1) * each) : trees};
}

// The trees that `predict_proba` would use: of a model that was stopped early not those of the iterations in
// which it grew worse.
Result<size_t> read_tree_limit(const Document& learner, const Document& model, size_t trees, Notes& notes) {
  const Document& given = learner["attributes"]["best_iteration"];
  if (std::holds_alternative<std::monostate>(given.value)) return trees;
  double best = 0;
  if (!number(given, best) || index(best, 1e9) < 0)
    return refuse("best_iteration",
                  "it is not a whole number; booster.set_attr(best_iteration=None) takes it away");
  const auto last = static_cast<size_t>(best);
  const auto iterations = read_iterations(model, trees, last);
  if (!iterations) return tl::make_unexpected(iterations.error());
  if (last >= iterations->count)
    notes.push_back(
        fmt::format("best_iteration is {}, and the file has {} iterations: all its trees are used", last,
                    iterations->count));
  else if (iterations->end < trees)
    notes.push_back(fmt::format(
        "best_iteration is {}: the {} trees after that iteration are left out, of {}, as predict_proba "
        "does; booster.set_attr(best_iteration=None) before saving keeps them",
        last, trees - iterations->end, trees));
  return iterations->end;
}

// The weights by which dart's trees are multiplied; of gbtree 1.
Result<std::vector<float>> read_weights(const Document& booster, bool dart, size_t trees) {
  if (!dart) return std::vector<float>(trees, 1.0f);
  const auto* found = numbers(booster, "weight_drop", trees);
  if (found == nullptr)
    return refuse("weight_drop", fmt::format("expected a number for each of the {} trees", trees));
  return std::vector<float>(found->begin(), found->end());
}

}  // namespace

Result<ModelPtr> import_xgboost(std::string_view bytes, std::vector<Column> columns, Notes* notes) {
  const auto document = parse_document(bytes);
  if (!document) return tl::make_unexpected(document.error());
  const Document& learner = (*document)["learner"];
  const Document& booster = learner["gradient_booster"];
  if (const std::string what = name_foreign(*document); !what.empty()) return refuse("", what);
  if (booster.get<Document::Object>() == nullptr)
    return refuse("learner", "it is not a model saved by XGBoost as JSON or UBJSON");
  const std::string* kind = booster["name"].get<std::string>();
  const bool dart = kind != nullptr && *kind == "dart";
  if (kind == nullptr || (!dart && *kind != "gbtree"))
    return refuse("gradient_booster", fmt::format("found \"{}\", only gbtree and dart can be imported",
                                                  kind == nullptr ? "" : *kind));
  const auto parameters = read_parameters(learner);
  if (!parameters) return tl::make_unexpected(parameters.error());
  const auto column_of = read_features(learner, static_cast<size_t>(parameters->features), columns);
  if (!column_of) return tl::make_unexpected(column_of.error());
  const Document& model = dart ? booster["gbtree"]["model"] : booster["model"];
  const Document& from = model["trees"];
  const auto* list = from.get<Document::Array>();
  const auto* none = from.get<Document::Numbers>();
  if (list == nullptr && (none == nullptr || !none->empty())) return refuse("trees", "they are missing");
  const size_t all = list == nullptr ? 0 : list->size();
  Notes unheard, &said = notes == nullptr ? unheard : *notes;
  const auto limit = read_tree_limit(learner, model, all, said);
  if (!limit) return tl::make_unexpected(limit.error());
  const auto weights = read_weights(booster, dart, all);
  if (!weights) return tl::make_unexpected(weights.error());
  SetBudget budget;
  std::vector<Tree> trees;
  for (size_t t = 0; t < *limit; ++t) {
    auto tree = read_tree((*list)[t], t, *column_of, (*weights)[t], budget);
    if (!tree) return tl::make_unexpected(tree.error());
    trees.push_back(std::move(*tree));
  }
  if (learner["attributes"]["shrike_family"].get<std::string>() == nullptr) {  // ours have our codes
    for (std::string& note : note_codes(trees, columns, "XGBoost")) said.push_back(std::move(note));
  }
  // As XGBoost does it, in float.
  const auto score = static_cast<float>(parameters->base_score);
  const float margin = parameters->objective == "binary:logitraw" ? score : -std::log(1.0f / score - 1.0f);
  return make_tree_model("boosting", std::move(columns), margin, std::move(trees), Platt{}, "xgboost");
}

}  // namespace shrike::learners
