// The ensemble's scoring form: members, their weights, the calibration by bands and a ceiling. Immutable; any
// thread. Internal to learners/.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "learners/calibration/isotonic.h"
#include "learners/ensemble/stacking.h"
#include "learners/model.h"

namespace shrike::learners {

class EnsembleModel : public Model {
 public:
  // `ceiling` in (0, 1]: calibrated probabilities are multiplied by it.
  EnsembleModel(std::vector<Column> columns, std::vector<ModelPtr> members, Stack stack, Isotonic isotonic,
                float ceiling)
      : columns_(std::move(columns)),
        members_(std::move(members)),
        stack_(std::move(stack)),
        isotonic_(std::move(isotonic)),
        ceiling_(ceiling) {}

  std::string_view family() const override { return "ensemble"; }
  const std::vector<Column>& columns() const override { return columns_; }
  void score(MatrixView rows, std::span<float> out) const override;
  double explain(std::span<const float> row, std::span<double> out) const override;
  double margin(std::span<const float> row) const override;
  uint32_t version() const override { return ceiling_ < 1 ? 3 : isotonic_.from.empty() ? 1 : 2; }
  std::string payload() const override;

 private:
  std::vector<Column> columns_;
  std::vector<ModelPtr> members_;
  Stack stack_;
  Isotonic isotonic_;
  float ceiling_;
};

Result<ModelPtr> load_ensemble_model(uint32_t version, std::string_view payload);

}  // namespace shrike::learners
