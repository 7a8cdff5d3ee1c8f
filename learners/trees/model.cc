#include "learners/trees/model.h"

#include <algorithm>
#include <cmath>

#include "learners/numeric/numeric.h"
#include "learners/saved/records.h"
#include "learners/trees/trees.pb.h"

namespace shrike::learners {
namespace {

constexpr double kProbabilityMin = 1e-6;  // what sums are clipped to, and as far below 1

}  // namespace

TreeModel::TreeModel(std::string family, std::vector<Column> columns, float base, std::vector<Tree> trees,
                     Platt platt, std::string origin, LeafSum leaf_sum)
    : family_(std::move(family)),
      origin_(std::move(origin)),
      columns_(std::move(columns)),
      scorer_(base, std::move(trees), columns_.size()),
      platt_(platt),
      leaf_sum_(leaf_sum),
      expected_(base) {
  for (const Tree& tree : scorer_.trees()) expected_ += expected_value(tree);
}

double TreeModel::to_margin(double sum) const {
  return leaf_sum_ == LeafSum::kLogOdds ? sum
                                        : exact_logit(std::clamp(sum, kProbabilityMin, 1 - kProbabilityMin));
}

void TreeModel::score(MatrixView rows, std::span<float> out) const {
  out = out.first(rows.rows());
  scorer_.sum(rows, out.data());
  if (leaf_sum_ == LeafSum::kProbability) {
    for (float& value : out) value = static_cast<float>(to_margin(static_cast<double>(value)));
  }
  logistic_in_place(out, platt_.slope, platt_.shift);
}

double TreeModel::explain(std::span<const float> row, std::span<double> out) const {
  std::fill(out.begin(), out.end(), 0.0);
  explainers_.add(scorer_.trees(), row.data(), out);
  if (leaf_sum_ == LeafSum::kLogOdds) return expected_;
  double sum = 0;
  for (const double contribution : out) sum += contribution;
  const double base = to_margin(expected_), margin = this->margin(row);
  if (std::fabs(sum) < 1e-12) return margin;  // contributions add up to nothing
  for (double& contribution : out) contribution *= (margin - base) / sum;
  return base;
}

uint32_t TreeModel::version() const {
  return std::max(version_of(scorer_.trees()), leaf_sum_ == LeafSum::kLogOdds ? 1u : 3u);
}

std::string TreeModel::payload() const {
  proto::TreeModelRecord record;
  for (const Column& column : columns_) write_column(column, *record.add_columns());
  write_trees(scorer_.trees(), *record.mutable_trees());
  record.set_base(scorer_.base());
  record.set_slope(platt_.slope);
  record.set_shift(platt_.shift);
  record.set_origin(origin_);
  record.set_probabilities(leaf_sum_ == LeafSum::kProbability);
  return record.SerializeAsString();
}

Result<ModelPtr> make_tree_model(std::string family, std::vector<Column> columns, float base,
                                 std::vector<Tree> trees, Platt platt, std::string origin, LeafSum leaf_sum) {
  double most = std::fabs(base);
  for (const Tree& tree : trees) {
    double leaf = 0;
    for (size_t i = 0; i < tree.nodes.size(); ++i) {
      if (!tree.nodes[i].is_leaf()) continue;
      leaf = std::max(leaf, std::fabs(static_cast<double>(tree.nodes[i].value)));
      if (!tree.exact.empty()) leaf = std::max(leaf, std::fabs(tree.exact[i]));
    }
    most += leaf;
  }
  if (!(most < 1e6) || !(std::fabs(platt.slope) < 1e6f) || !(std::fabs(platt.shift) < 1e6f))
    return damaged("a leaf is not a finite number of sensible size");
  return std::make_shared<TreeModel>(std::move(family), std::move(columns), base, std::move(trees), platt,
                                     std::move(origin), leaf_sum);
}

Result<ModelPtr> load_tree_model(std::string family, std::string_view payload) {
  proto::TreeModelRecord record;
  if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return damaged("the tree model cannot be read");
  std::vector<Column> columns = read_columns(record.columns());
  if (columns.empty()) return damaged("there are no columns");
  if (record.origin().size() > 32 || !std::all_of(record.origin().begin(), record.origin().end(),
                                                  [](char c) { return c >= 'a' && c <= 'z'; }))
    return damaged("the origin is not a name");
  auto trees = read_trees(record.trees(), columns.size());
  if (!trees) return tl::make_unexpected(trees.error());
  return make_tree_model(std::move(family), std::move(columns), record.base(), std::move(*trees),
                         {record.slope(), record.shift()}, record.origin(),
                         record.probabilities() ? LeafSum::kProbability : LeafSum::kLogOdds);
}

}  // namespace shrike::learners
