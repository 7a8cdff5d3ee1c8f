// A tree ensemble as a Model: margins by TreeScorer, calibrated, squashed. Immutable; any thread. Internal to
// learners/.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "learners/model.h"
#include "learners/platt.h"
#include "learners/tree_scorer.h"

namespace shrike::learners {

class TreeModel : public Model {
 public:
  TreeModel(std::string family, std::vector<Column> columns, float base, std::vector<Tree> trees, Platt platt,
            std::string origin = "");

  std::string_view family() const override { return family_; }
  const std::vector<Column>& columns() const override { return columns_; }
  void score(MatrixView rows, std::span<float> out) const override;
  double explain(std::span<const float> row, std::span<double> out) const override;
  double margin(std::span<const float> row) const override { return scorer_.margin(row.data()); }
  Calibration calibration() const override { return {platt_.slope, platt_.shift}; }
  std::string_view origin() const override { return origin_; }
  uint32_t version() const override;
  std::string payload() const override;

  const TreeScorer& scorer() const { return scorer_; }

 private:
  std::string family_, origin_;
  std::vector<Column> columns_;
  TreeScorer scorer_;
  Platt platt_;
  double expected_;
};

// Refuses margins that could leave +-1e6, and a calibration that is no number of sensible size.
Result<ModelPtr> make_tree_model(std::string family, std::vector<Column> columns, float base,
                                 std::vector<Tree> trees, Platt platt, std::string origin);

// For families whose models are tree ensembles.
Result<ModelPtr> load_tree_model(std::string family, std::string_view payload);

}  // namespace shrike::learners
