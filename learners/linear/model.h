// The linear family's scoring form: per column a table of weights by bin, and per chosen pair of columns one
// by the coarse bins of both. The weights of a row are summed in column order, then pair by pair; the sum is
// calibrated, and the logistic function makes the score of it. Immutable. Internal to learners/; kernel.cc
// holds its vector kernel.
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
  uint32_t scale = 0;    // a bin's coarse bin is bin * scale >> shift
  uint32_t shift = 0;
};

// Two columns with a table of weights of their own: one for each two coarse bins, of which every column has
// seven, equally many bins in each, and one for missing.
struct LinearPair {
  static constexpr uint32_t kCoarse = 8, kCells = kCoarse * kCoarse;
  static constexpr size_t kPairsMax = 64;  // of a model

  uint32_t a = 0, b = 0;
  bool operator==(const LinearPair&) const = default;
  static uint32_t cell(uint32_t of_a, uint32_t of_b) { return of_a * kCoarse + of_b; }
};

struct LinearLayout {
  std::vector<LinearTable> tables;
  std::vector<float> cuts;
  uint32_t hash_bits = 0;
  uint32_t column_weights = 0;  // in all the columns' tables; the pairs' follow
  std::vector<LinearPair> pairs;
  std::vector<uint32_t> in_pairs;  // the columns in pairs, rising
  std::vector<LinearPair> slots;   // the pairs, by places in in_pairs

  LinearLayout() = default;
  // `cuts` per column, rising; empty for categorical ones.
  LinearLayout(const std::vector<Column>& columns, const std::vector<std::vector<float>>& column_cuts,
               uint32_t hash_bits, std::vector<LinearPair> pairs = {});
  size_t weights() const { return column_weights + pairs.size() * LinearPair::kCells; }
  // The position of the weight for this value. Values above the last cut, and infinity, fall in the last bin;
  // a category that is not a whole number in [0, 2^24) counts as missing.
  uint32_t find(size_t column, float value) const;
  // The coarse bin, given find()'s answer.
  uint32_t coarse(size_t column, uint32_t position) const {
    const LinearTable& table = tables[column];
    const uint32_t bin = position - table.weights;
    return bin == table.missing ? LinearPair::kCoarse - 1 : bin * table.scale >> table.shift;
  }
  // The position of a pair's weight, given the coarse bins of its columns.
  uint32_t find_pair(size_t pair, uint32_t of_a, uint32_t of_b) const {
    return column_weights + static_cast<uint32_t>(pair) * LinearPair::kCells + LinearPair::cell(of_a, of_b);
  }
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
  uint32_t version() const override { return layout_.pairs.empty() ? 1 : 2; }
  std::string payload() const override;

  // The scalar reference: what every kernel equals to the bit.
  float score_row(const float* row) const;

  std::vector<Column> columns_;
  std::vector<std::vector<float>> column_cuts_;
  LinearLayout layout_;
  std::vector<float> weights_;
  std::vector<double> means_;  // of the columns, then of the pairs
  float bias_ = 0, slope_ = 1, shift_ = 0;
};

// Scores as many whole vectors of rows as there are, with the widest instruction set of the machine; returns
// how many rows it did.
size_t score_vectors(const LinearModel& model, MatrixView rows, float* out);

// Pairs as records hold them. Reading says whether they are sound.
template <typename Record>
void write_pairs(const std::vector<LinearPair>& pairs, Record& record) {
  for (const LinearPair& pair : pairs) {
    record.add_pairs(pair.a);
    record.add_pairs(pair.b);
  }
}

template <typename Record>
bool read_pairs(const Record& record, size_t columns, std::vector<LinearPair>& pairs) {
  const auto all = static_cast<size_t>(record.pairs_size());
  if (all % 2 != 0 || all > 2 * LinearPair::kPairsMax) return false;
  for (int i = 0; i < record.pairs_size(); i += 2) {
    const LinearPair pair = {record.pairs(i), record.pairs(i + 1)};
    if (pair.a >= columns || pair.b >= columns || pair.a == pair.b) return false;
    pairs.push_back(pair);
  }
  return true;
}

Result<ModelPtr> load_linear_model(uint32_t version, std::string_view payload);

}  // namespace shrike::learners
