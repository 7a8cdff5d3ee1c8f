#include "learners/formats/export.h"

#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "learners/linear/model.h"
#include "learners/trees/model.h"

namespace shrike::learners {
namespace {

tl::unexpected<Error> refuse(std::string reason) {
  return tl::make_unexpected(Error{ErrorCode::kMismatch, "", std::move(reason)});
}

// The shortest text that reads back as the same float; never that of an integer, which readers tell apart.
std::string text(float value) {
  std::string shortest = fmt::format("{}", value);
  if (shortest.find_first_of(".e") == std::string::npos) shortest += "E0";
  return shortest;
}
std::string text(int64_t value) { return fmt::format("{}", value); }

std::string quoted(std::string_view from) {
  std::string out = "\"";
  for (const char c : from) {
    if (c == '"' || c == '\\')
      out += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    else
      out += c;
  }
  return out + '"';
}

template <typename Items, typename Write>
std::string list(const Items& items, Write write) {
  std::string out = "[";
  for (const auto& item : items) out += (out.size() > 1 ? "," : "") + write(item);
  return out + "]";
}
template <typename T>
std::string list(const std::vector<T>& items) {
  return list(items, [](T item) { return text(item); });
}

// Members go left here and right there, and XGBoost takes a node's right child to follow its left one: so the
// children of a categorical node change places.
std::string tree_json(const Tree& tree, size_t index, size_t features) {
  const size_t n = tree.nodes.size();
  constexpr int64_t kNone = 2147483647;
  std::vector<int64_t> left(n, -1), right(n, -1), parent(n, kNone), column(n, 0), default_left(n, 0),
      type(n, 0);
  std::vector<int64_t> categories, set_nodes, set_begins, set_sizes;
  std::vector<float> condition(n), cover(n), zeros(n, 0.0f);
  std::vector<uint32_t> order{0};  // theirs -> ours
  for (size_t i = 0; i < n; ++i) {
    const TreeNode& node = tree.nodes[order[i]];
    condition[i] = node.is_categorical() ? 0 : node.value;
    cover[i] = node.cover;
    if (node.is_leaf()) continue;
    const uint32_t swap = node.is_categorical() ? 1 : 0;
    left[i] = static_cast<int64_t>(order.size());
    right[i] = left[i] + 1;
    parent[order.size()] = parent[order.size() + 1] = static_cast<int64_t>(i);
    order.push_back(node.left + swap);
    order.push_back(node.left + 1 - swap);
    column[i] = node.column;
    default_left[i] = node.missing_left != (swap == 1);
    if (swap == 0) continue;
    type[i] = 1;
    set_nodes.push_back(static_cast<int64_t>(i));
    set_begins.push_back(static_cast<int64_t>(categories.size()));
    tree.for_each_member(node, [&](uint32_t category) { categories.push_back(category); });
    set_sizes.push_back(static_cast<int64_t>(categories.size()) - set_begins.back());
  }
  return fmt::format(
      R"({{"base_weights":{},"categories":{},"categories_nodes":{},"categories_segments":{},)"
      R"("categories_sizes":{},"default_left":{},"id":{},"left_children":{},"loss_changes":{},"parents":{},)"
      R"("right_children":{},"split_conditions":{},"split_indices":{},"split_type":{},"sum_hessian":{},)"
      R"("tree_param":{{"num_deleted":"0","num_feature":"{}","num_nodes":"{}","size_leaf_vector":"0"}}}})",
      list(zeros), list(categories), list(set_nodes), list(set_begins), list(set_sizes), list(default_left),
      index, list(left), list(zeros), list(parent), list(right), list(condition), list(column), list(type),
      list(cover), features, n);
}

}  // namespace

Result<std::string> export_xgboost(const Model& model) {
  const auto* of = dynamic_cast<const TreeModel*>(&model);
  if (of == nullptr)
    return refuse(
        fmt::format("a {} model is no single tree ensemble; only boosting, forest and half_space "
                    "models can be exported as XGBoost's",
                    model.family()));
  const TreeScorer& scorer = of->scorer();
  if (scorer.exact())
    return refuse(
        "its leaves are summed in double, as LightGBM does, and XGBoost sums in float; export it as "
        "shrike");
  std::vector<bool> categorical(model.columns().size());
  size_t set_bytes = 0;
  for (const Tree& tree : scorer.trees()) {
    for (const TreeNode& node : tree.nodes) {
      if (node.test == SplitTest::kBelowZeroMissing || node.test == SplitTest::kMemberTowardZero ||
          !std::isfinite(node.value))
        return refuse("it has splits that XGBoost does not know; export it as shrike");
      if (!node.is_categorical()) continue;
      categorical[static_cast<size_t>(node.column)] = true;
      uint32_t largest = 0;
      tree.for_each_member(node, [&](uint32_t category) { largest = category; });
      set_bytes += (largest / 32 + 1) * sizeof(uint32_t);
    }
  }
  if (set_bytes > kSetBytesMax)
    return refuse(
        fmt::format("XGBoost keeps a bit for every code up to the largest of a set, which would take {} MiB "
                    "for its sets of hashed categories, and at most {} are exported; export it as shrike",
                    set_bytes >> 20, kSetBytesMax >> 20));
  const size_t features = model.columns().size();
  Tree base;
  base.nodes[0].value = scorer.base();
  std::string trees = tree_json(base, 0, features), zeros = "0", iterations = "0,1";
  for (const Tree& tree : scorer.trees()) {
    const size_t index = static_cast<size_t>(&tree - scorer.trees().data()) + 1;
    trees += "," + tree_json(tree, index, features);
    zeros += ",0";
    iterations += fmt::format(",{}", index + 1);
  }
  const auto name = [](const Column& column) { return quoted(column.name); };
  const auto type = [](bool is_categorical) -> std::string { return is_categorical ? "\"c\"" : "\"float\""; };
  const Model::Calibration calibration = model.calibration();
  // XGBoost has no objective whose leaves are shares of a probability: there its prediction is the sum,
  // before calibration.
  const bool probability = of->leaf_sum() == LeafSum::kProbability;
  return fmt::format(
      R"({{"learner":{{"attributes":{{"shrike_family":{},"shrike_shift":"{:.9g}","shrike_slope":"{:.9g}"}},)"
      R"("feature_names":{},"feature_types":{},"gradient_booster":{{"model":{{"gbtree_model_param":)"
      R"({{"num_parallel_tree":"1","num_trees":"{}","size_leaf_vector":"0"}},"iteration_indptr":[{}],)"
      R"("tree_info":[{}],"trees":[{}]}},"name":"gbtree"}},"learner_model_param":{{"base_score":"{}",)"
      R"("boost_from_average":"1","num_class":"0","num_feature":"{}","num_target":"1"}},)"
      R"("objective":{{"name":"{}","reg_loss_param":{{"scale_pos_weight":"1"}}}}}},)"
      R"("version":[1,7,4]}})"
      "\n",
      quoted(model.family()), calibration.shift, calibration.slope, list(model.columns(), name),
      list(categorical, type), scorer.trees().size() + 1, iterations, zeros, trees,
      probability ? "0E0" : "5E-1", features, probability ? "reg:squarederror" : "binary:logistic");
}

std::string note_xgboost_export(const Model& model) {
  const auto [slope, shift] = model.calibration();
  const auto* of = dynamic_cast<const TreeModel*>(&model);
  if (of != nullptr && of->leaf_sum() == LeafSum::kProbability)
    return fmt::format(
        "XGBoost predicts the sum p of its leaves (reg:squarederror) without our calibration; our score is "
        "1 / (1 + e^-({:.9g} * log(p / (1 - p)) + {:.9g})), the two numbers are the attributes shrike_slope "
        "and shrike_shift",
        slope, shift);
  if (slope == 1 && shift == 0) return "";
  return fmt::format(
      "XGBoost's probability lacks our calibration; our score is 1 / (1 + e^-({:.9g} * margin + {:.9g})), "
      "where margin is predict(output_margin=True); the two numbers are the attributes shrike_slope and "
      "shrike_shift",
      slope, shift);
}

Result<std::string> export_json(const Model& model) {
  const auto* of = dynamic_cast<const LinearModel*>(&model);
  if (of == nullptr)
    return refuse(
        fmt::format("only linear models have a JSON form; this one is of the family {}: export it as "
                    "xgboost or shrike",
                    model.family()));
  std::string columns;
  for (size_t c = 0; c < of->columns_.size(); ++c) {
    const LinearTable& table = of->layout_.tables[c];
    const auto first = of->weights_.begin() + table.weights;
    const std::vector<float> weights(first, first + table.missing);
    columns += fmt::format(R"({}{{"name":{},"kind":"{}",)", c == 0 ? "" : ",", quoted(of->columns_[c].name),
                           table.categorical ? "categorical" : "numeric");
    if (!table.categorical) columns += fmt::format(R"("cuts":{},)", list(of->column_cuts_[c]));
    columns += fmt::format(R"("weights":{},"missing":{}}})", list(weights), text(first[table.missing]));
  }
  std::string pairs;
  for (size_t i = 0; i < of->layout_.pairs.size(); ++i) {
    const auto first = of->weights_.begin() + of->layout_.find_pair(i, 0, 0);
    const std::vector<float> weights(first, first + LinearPair::kCells);
    pairs += fmt::format(R"({}{{"columns":[{},{}],"weights":{}}})", i == 0 ? "" : ",", of->layout_.pairs[i].a,
                         of->layout_.pairs[i].b, list(weights));
  }
  if (!pairs.empty()) pairs = fmt::format(R"(,"pairs":[{}])", pairs);
  return fmt::format(
      R"({{"format":"shrike-linear","version":{},"bias":{},"slope":{},"shift":{},"hash_bits":{},)"
      R"("hash_multiplier":{},"columns":[{}]{}}})"
      "\n",
      pairs.empty() ? 1 : 2, text(of->bias_), text(of->slope_), text(of->shift_), of->layout_.hash_bits,
      LinearModel::kHashMultiplier, columns, pairs);
}

}  // namespace shrike::learners
