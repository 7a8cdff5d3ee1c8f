// The linear family's scoring form: per column a table of weights by bin, summed in column order, calibrated,
// squashed. Immutable. Internal to learners/; linear_kernel.cc holds its vector kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "learners/model.h"

namespace shrike::learners {

// Where a column's weights lie and how a value finds its bin.
struct LinearTable {
  bool categorical = false;
  uint32_t weights = 0;  // offset of its first weight
  uint32_t missing = 0;  // bin of NaN
  uint32_t cuts = 0;     // offset of its cut points, padded with infinity to 2^steps - 1
  uint32_t steps = 0;    // of the binary search
};

struct LinearLayout {
  std::vector<LinearTable> tables;
  std::vector<float> cuts;
  uint32_t hash_bits = 0;
  uint32_t weights = 0;  // in all

  LinearLayout() = default;
  // `cuts` per column, rising; empty for categorical ones.
  LinearLayout(const std::vector<Column>& columns, const std::vector<std::vector<float>>& column_cuts,
               uint32_t hash_bits);
  // The position of the weight for this value. Values above the last cut, and infinity, fall in the last bin;
  // a category that is not a whole number in [0, 2^24) counts as missing.
  uint32_t find(size_t column, float value) const;
};

class LinearModel : public Model {
 public:
  static constexpr uint32_t kHashMultiplier = 2654435761u;

  std::string_view family() const override { return "linear"; }
  const std::vector<Column>& columns() const override { return columns_; }
  void score(MatrixView rows, std::span<float> out) const override;
  double explain(std::span<const float> row, std::span<double> out) const override;
  double margin(std::span<const float> row) const override;
  Calibration calibration() const override { return {slope_, shift_}; }
  std::string payload() const override;

  // The scalar reference: what every kernel equals to the bit.
  float score_row(const float* row) const;

  std::vector<Column> columns_;
  std::vector<std::vector<float>> column_cuts_;
  LinearLayout layout_;
  std::vector<float> weights_;
  std::vector<double> means_;
  float bias_ = 0, slope_ = 1, shift_ = 0;
};

// Scores as many whole vectors of rows as there are, with the widest instruction set of the machine; returns
// how many rows it did.
size_t score_vectors(const LinearModel& model, MatrixView rows, float* out);
// Whether models use it (see use_kernel()).
bool vectors_enabled();

Result<ModelPtr> load_linear_model(uint32_t version, std::string_view payload);

}  // namespace shrike::learners
