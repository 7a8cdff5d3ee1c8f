#include "learners/tree_model.h"

#include <algorithm>
#include <cmath>

#include "learners/numeric.h"
#include "learners/records.h"
#include "learners/tree_shap.h"
#include "learners/trees.pb.h"

namespace shrike::learners {

TreeModel::TreeModel(std::string family, std::vector<Column> columns, float base, std::vector<Tree> trees,
                     Platt platt)
    : family_(std::move(family)),
      columns_(std::move(columns)),
      scorer_(base, std::move(trees), columns_.size()),
      platt_(platt),
      expected_(base) {
  for (const Tree& tree : scorer_.trees()) expected_ += expected_value(tree);
}

void TreeModel::score(MatrixView rows, std::span<float> out) const {
  scorer_.sum(rows, out.data());
  squash(out.first(rows.rows()), platt_.slope, platt_.shift);
}

double TreeModel::explain(std::span<const float> row, std::span<double> out) const {
  std::fill(out.begin(), out.end(), 0.0);
  for (const Tree& tree : scorer_.trees()) add_contributions(tree, row.data(), out);
  return expected_;
}

std::string TreeModel::payload() const {
  proto::TreeModelRecord record;
  for (const Column& column : columns_) write_column(column, *record.add_columns());
  write_trees(scorer_.trees(), *record.mutable_trees());
  record.set_base(scorer_.base());
  record.set_slope(platt_.slope);
  record.set_shift(platt_.shift);
  return record.SerializeAsString();
}

Result<ModelPtr> load_tree_model(std::string family, std::string_view payload) {
  proto::TreeModelRecord record;
  if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return damaged("the tree model cannot be read");
  std::vector<Column> columns = read_columns(record.columns());
  if (columns.empty()) return damaged("there are no columns");
  auto trees = read_trees(record.trees(), columns.size());
  if (!trees) return tl::make_unexpected(trees.error());
  double most = std::fabs(record.base());
  for (const Tree& tree : *trees) {
    double leaf = 0;
    for (const TreeNode& node : tree.nodes) {
      if (node.is_leaf()) leaf = std::max(leaf, std::fabs(static_cast<double>(node.value)));
    }
    most += leaf;
  }
  const Platt platt{record.slope(), record.shift()};
  if (!(most < 1e6) || !(std::fabs(platt.slope) < 1e6f) || !(std::fabs(platt.shift) < 1e6f))
    return damaged("a leaf is not a finite number of sensible size");
  return std::make_shared<TreeModel>(std::move(family), std::move(columns), record.base(), std::move(*trees),
                                     platt);
}

}  // namespace shrike::learners
