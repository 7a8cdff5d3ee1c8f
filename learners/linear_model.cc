#include "learners/linear_model.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <limits>

#include "learners/numeric.h"
#include "learners/records.h"

namespace shrike::learners {

LinearLayout::LinearLayout(const std::vector<Column>& columns,
                           const std::vector<std::vector<float>>& column_cuts, uint32_t bits)
    : hash_bits(bits) {
  for (size_t c = 0; c < columns.size(); ++c) {
    LinearTable table;
    table.categorical = columns[c].kind == ColumnKind::kCategorical;
    table.weights = weights;
    if (table.categorical) {
      table.missing = 1u << hash_bits;
    } else {
      const auto n = static_cast<uint32_t>(column_cuts[c].size());
      table.steps = static_cast<uint32_t>(std::bit_width(n));
      table.cuts = static_cast<uint32_t>(cuts.size());
      table.missing = n + 1;
      cuts.insert(cuts.end(), column_cuts[c].begin(), column_cuts[c].end());
      cuts.resize(table.cuts + (size_t{1} << table.steps) - 1, std::numeric_limits<float>::infinity());
    }
    weights += table.missing + 1;
    tables.push_back(table);
  }
}

uint32_t LinearLayout::find(size_t column, float value) const {
  const LinearTable& table = tables[column];
  if (table.categorical) {
    if (!(value >= 0.0f && value < 16777216.0f)) return table.weights + table.missing;
    const uint32_t hash = static_cast<uint32_t>(value) * LinearModel::kHashMultiplier;
    return table.weights + (hash >> (32 - hash_bits));
  }
  if (value != value) return table.weights + table.missing;
  uint32_t bin = 0;
  for (uint32_t step = (1u << table.steps) >> 1; step > 0; step >>= 1) {
    if (value >= cuts[table.cuts + bin + step - 1]) bin += step;
  }
  return table.weights + std::min(bin, table.missing - 1);  // infinity reaches the padding
}

float LinearModel::score_row(const float* row) const {
  float sum = bias_;
  for (size_t c = 0; c < columns_.size(); ++c) sum += weights_[layout_.find(c, row[c])];
  return logistic_float(sum * slope_ + shift_);
}

void LinearModel::score(MatrixView rows, std::span<float> out) const {
  size_t i = vectors_enabled() ? score_vectors(*this, rows, out.data()) : 0;
  for (; i < rows.rows(); ++i) out[i] = score_row(rows.row(i).data());
}

double LinearModel::explain(std::span<const float> row, std::span<double> out) const {
  double base = bias_;
  for (size_t c = 0; c < columns_.size(); ++c) {
    out[c] = static_cast<double>(weights_[layout_.find(c, row[c])]) - means_[c];
    base += means_[c];
  }
  return base;
}

double LinearModel::margin(std::span<const float> row) const {
  double sum = bias_;
  for (size_t c = 0; c < columns_.size(); ++c) sum += static_cast<double>(weights_[layout_.find(c, row[c])]);
  return sum;
}

std::string LinearModel::payload() const {
  proto::LinearModelRecord record;
  for (size_t c = 0; c < columns_.size(); ++c) {
    write_column(columns_[c], *record.add_columns());
    proto::LinearColumn& bins = *record.add_bins();
    for (const float cut : column_cuts_[c]) bins.add_cuts(cut);
  }
  record.set_hash_bits(layout_.hash_bits);
  record.set_weights(to_bytes(weights_));
  record.set_bias(bias_);
  record.set_means(to_bytes(means_));
  record.set_slope(slope_);
  record.set_shift(shift_);
  return record.SerializeAsString();
}

Result<ModelPtr> load_linear_model(uint32_t, std::string_view payload) {
  proto::LinearModelRecord record;
  if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return damaged("the linear model cannot be read");
  auto model = std::make_shared<LinearModel>();
  model->columns_ = read_columns(record.columns());
  if (model->columns_.empty() || record.bins_size() != record.columns_size())
    return damaged("the columns disagree");
  if (record.hash_bits() < 1 || record.hash_bits() > 24) return damaged("hash_bits is out of range");
  for (const proto::LinearColumn& one : record.bins()) {
    std::vector<float> cuts(one.cuts().begin(), one.cuts().end());
    for (size_t i = 0; i < cuts.size(); ++i) {
      if (!std::isfinite(cuts[i]) || (i > 0 && cuts[i] <= cuts[i - 1]))
        return damaged("cut points do not rise");
    }
    model->column_cuts_.push_back(std::move(cuts));
  }
  uint64_t expected = 0;  // before the layout is built: a forged hash_bits must not allocate
  for (size_t c = 0; c < model->columns_.size(); ++c) {
    const bool categorical = model->columns_[c].kind == ColumnKind::kCategorical;
    expected += categorical ? (uint64_t{1} << record.hash_bits()) + 1 : model->column_cuts_[c].size() + 2;
  }
  if (expected * sizeof(float) != record.weights().size()) return damaged("the number of weights is wrong");
  model->layout_ = LinearLayout(model->columns_, model->column_cuts_, record.hash_bits());
  if (!from_bytes(record.weights(), model->weights_) || !from_bytes(record.means(), model->means_) ||
      model->means_.size() != model->columns_.size()) {
    return damaged("the weights have the wrong size");
  }
  model->bias_ = record.bias();
  model->slope_ = record.slope();
  model->shift_ = record.shift();
  bool finite = std::isfinite(model->bias_) && std::isfinite(model->slope_) && std::isfinite(model->shift_);
  for (const float w : model->weights_) finite &= std::isfinite(w) && std::fabs(w) < 1e6f;
  for (const double m : model->means_) finite &= std::isfinite(m);
  if (!finite || std::fabs(model->bias_) > 1e6f || std::fabs(model->slope_) > 1e6f ||
      std::fabs(model->shift_) > 1e6f) {
    return damaged("a weight is not a finite number of sensible size");
  }
  return ModelPtr(std::move(model));
}

}  // namespace shrike::learners
