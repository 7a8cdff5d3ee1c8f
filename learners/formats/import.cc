#include "learners/formats/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "learners/formats/document.h"
#include "learners/formats/import_parts.h"
#include "learners/formats/recognise.h"
#include "learners/saved/sealed.h"

namespace shrike::learners {

Result<ModelPtr> read_model(std::string_view bytes, const std::vector<Column>& columns, Notes* notes) {
  if (looks_sealed(bytes)) return load_model(bytes);
  if (looks_like_lightgbm(bytes)) return import_lightgbm(bytes, columns, notes);
  if (looks_like_document(bytes)) return import_xgboost(bytes, columns, notes);
  if (const std::string what = name_foreign(bytes); !what.empty()) return refuse("", what);
  return refuse(
      "",
      "it is of no form that is known: a model of ours (`shrike models export`), XGBoost's JSON or UBJSON "
      "(booster.save_model(\"model.json\")), LightGBM's text (booster.save_model(\"model.txt\"))");
}

std::vector<std::string> note_codes(const std::vector<Tree>& trees, const std::vector<Column>& columns,
                                    const char* maker) {
  std::vector<bool> split(columns.size());
  for (const Tree& tree : trees) {
    for (const TreeNode& node : tree.nodes) {
      if (!node.is_leaf() && node.is_categorical()) split[static_cast<size_t>(node.column)] = true;
    }
  }
  std::string coded, hashed;
  for (size_t c = 0; c < columns.size(); ++c) {
    std::string& names = columns[c].kind == ColumnKind::kCategorical ? hashed : coded;
    if (split[c]) names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", columns[c].name);
  }
  std::vector<std::string> notes;
  if (!coded.empty())
    notes.push_back(fmt::format(
        "rows must hold in {} the codes (0, 1, …) that {} gave the categories in training", coded, maker));
  if (!hashed.empty())
    notes.push_back(
        fmt::format("the model splits {} by the codes that {} gave the categories, and rows hold hashes of "
                    "them there: hardly any will be in its sets",
                    hashed, maker));
  return notes;
}

Result<std::vector<int32_t>> match_columns(const std::vector<std::string>& names, size_t features,
                                           const std::vector<Column>& columns, const char* names_field,
                                           const char* count_field) {
  std::vector<int32_t> column_of;
  for (const std::string& name : names) {
    const auto found =
        std::find_if(columns.begin(), columns.end(), [&](const Column& c) { return c.name == name; });
    if (found == columns.end())
      return refuse(names_field, fmt::format("the model's feature \"{}\" is not one of ours", name));
    column_of.push_back(static_cast<int32_t>(found - columns.begin()));
  }
  if (!names.empty()) return column_of;
  if (features > columns.size()) {
    return refuse(count_field, fmt::format("the model has {} features without names, we have {} columns",
                                           features, columns.size()));
  }
  for (size_t c = 0; c < features; ++c) column_of.push_back(static_cast<int32_t>(c));
  return column_of;
}

Result<Tree> order_tree(std::vector<ForeignNode> nodes, int64_t root, bool exact, const std::string& where) {
  Tree tree;
  tree.nodes.clear();
  const auto n = static_cast<int64_t>(nodes.size());
  if (root < 0 || root >= n) return refuse(where, "it has no root");
  std::vector<int64_t> order{root};  // ours -> theirs
  for (size_t i = 0; i < order.size(); ++i) {
    ForeignNode& theirs = nodes[static_cast<size_t>(order[i])];
    TreeNode& node = theirs.node;
    const bool unbounded = !node.is_leaf() && node.value == std::numeric_limits<float>::infinity();
    if ((!std::isfinite(node.value) && !unbounded) || !(node.cover >= 0) || !std::isfinite(node.cover) ||
        !std::isfinite(theirs.exact))
      return refuse(where, fmt::format("node {} is not finite", order[i]));
    if (!node.is_leaf()) {
      if (theirs.left < 0 || theirs.right < 0 || theirs.left >= n || theirs.right >= n ||
          order.size() + 2 > nodes.size())
        return refuse(where, fmt::format("the children of node {} do not exist", order[i]));
      if (node.is_categorical()) {
        node.value = static_cast<float>(tree.sets.size());
        tree.sets.push_back(std::move(theirs.set));
      }
      node.left = static_cast<uint32_t>(order.size());
      order.push_back(theirs.left);
      order.push_back(theirs.right);
    }
    tree.nodes.push_back(node);
    if (exact) tree.exact.push_back(node.is_leaf() ? theirs.exact : 0);
  }
  if (tree.depth() > Tree::kDepthMax)
    return refuse(where, fmt::format("it is deeper than {}", Tree::kDepthMax));
  return tree;
}

}  // namespace shrike::learners
