// A tree ensemble as a Model: TreeScorer sums the leaves of a row; the sum as log-odds is calibrated, and the
// logistic function makes the score of it. Immutable; any thread. Internal to learners/.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "learners/calibration/platt.h"
#include "learners/model.h"
#include "learners/trees/scorer.h"
#include "learners/trees/shap.h"

namespace shrike::learners {

// What the leaves of a row add up to: the margin, or a probability whose log-odds are the margin.
enum class LeafSum { kLogOdds, kProbability };

class TreeModel : public Model {
 public:
  TreeModel(std::string family, std::vector<Column> columns, float base, std::vector<Tree> trees, Platt platt,
            std::string origin = "", LeafSum leaf_sum = LeafSum::kLogOdds);

  std::string_view family() const override { return family_; }
  const std::vector<Column>& columns() const override { return columns_; }
  void score(MatrixView rows, std::span<float> out) const override;
  // Of leaves that add up to a probability, contributions are those to the probability, all times the one
  // factor with which they add up to the margin.
  double explain(std::span<const float> row, std::span<double> out) const override;
  double margin(std::span<const float> row) const override { return to_margin(scorer_.margin(row.data())); }
  Calibration calibration() const override { return {platt_.slope, platt_.shift}; }
  std::string_view origin() const override { return origin_; }
  uint32_t version() const override;
  std::string payload() const override;

  const TreeScorer& scorer() const { return scorer_; }
  LeafSum leaf_sum() const { return leaf_sum_; }

 private:
  double to_margin(double sum) const;

  std::string family_, origin_;
  std::vector<Column> columns_;
  TreeScorer scorer_;
  Platt platt_;
  LeafSum leaf_sum_;
  double expected_;
  TreeExplainers explainers_;
};

// Refuses margins that could leave +-1e6, and a calibration that is no number of sensible size.
Result<ModelPtr> make_tree_model(std::string family, std::vector<Column> columns, float base,
                                 std::vector<Tree> trees, Platt platt, std::string origin,
                                 LeafSum leaf_sum = LeafSum::kLogOdds);

// For families whose models are tree ensembles.
Result<ModelPtr> load_tree_model(std::string family, std::string_view payload);

}  // namespace shrike::learners
