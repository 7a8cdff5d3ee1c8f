#include "learners/linear/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "learners/linear/linear.pb.h"
#include "learners/numeric/kernel.h"
#include "learners/numeric/numeric.h"
#include "learners/saved/records.h"

namespace shrike::learners {

LinearLayout::LinearLayout(const std::vector<Column>& columns,
                           const std::vector<std::vector<float>>& column_cuts, uint32_t bits,
                           std::vector<LinearPair> with)
    : hash_bits(bits), pairs(std::move(with)) {
  constexpr uint32_t kValues = LinearPair::kCoarse - 1, kShift = 16;
  for (size_t c = 0; c < columns.size(); ++c) {
    LinearTable table;
    table.categorical = columns[c].kind == ColumnKind::kCategorical;
    table.weights = column_weights;
    if (table.categorical) {
      table.missing = 1u << hash_bits;
      table.scale = kValues;
      table.shift = hash_bits;
    } else {
      const auto n = static_cast<uint32_t>(column_cuts[c].size());
      table.steps = static_cast<uint32_t>(std::bit_width(n));
      table.cuts = static_cast<uint32_t>(cuts.size());
      table.missing = n + 1;
      table.scale = (std::min(kValues, n + 1) << kShift) / (n + 1);  // few bins keep their numbers
      table.shift = kShift;
      cuts.insert(cuts.end(), column_cuts[c].begin(), column_cuts[c].end());
      cuts.resize(table.cuts + (size_t{1} << table.steps) - 1, std::numeric_limits<float>::infinity());
    }
    column_weights += table.missing + 1;
    tables.push_back(table);
  }
  for (const LinearPair& pair : pairs) in_pairs.insert(in_pairs.end(), {pair.a, pair.b});
  std::sort(in_pairs.begin(), in_pairs.end());
  in_pairs.erase(std::unique(in_pairs.begin(), in_pairs.end()), in_pairs.end());
  const auto slot = [&](uint32_t column) {
    return static_cast<uint32_t>(std::lower_bound(in_pairs.begin(), in_pairs.end(), column) -
                                 in_pairs.begin());
  };
  for (const LinearPair& pair : pairs) slots.push_back({slot(pair.a), slot(pair.b)});
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

namespace {

// Calls of_column(column, position of its weight) in order, then of_pair(pair, position) likewise.
template <typename OfColumn, typename OfPair>
void visit(const LinearLayout& layout, const float* row, OfColumn&& of_column, OfPair&& of_pair) {
  std::array<uint32_t, 2 * LinearPair::kPairsMax> coarse;  // of the columns in pairs
  size_t kept = 0;
  for (uint32_t c = 0; c < layout.tables.size(); ++c) {
    const uint32_t at = layout.find(c, row[c]);
    of_column(c, at);
    if (kept < layout.in_pairs.size() && layout.in_pairs[kept] == c) coarse[kept++] = layout.coarse(c, at);
  }
  for (size_t i = 0; i < layout.slots.size(); ++i)
    of_pair(i, layout.find_pair(i, coarse[layout.slots[i].a], coarse[layout.slots[i].b]));
}

}  // namespace

float LinearModel::score_row(const float* row) const {
  float sum = bias_;
  const auto add = [&](size_t, uint32_t at) { sum += weights_[at]; };
  visit(layout_, row, add, add);
  return logistic_float(sum * slope_ + shift_);
}

void LinearModel::score(MatrixView rows, std::span<float> out) const {
  size_t i = vectors_enabled() ? score_vectors(*this, rows, out.data()) : 0;
  for (; i < rows.rows(); ++i) out[i] = score_row(rows.row(i).data());
}

double LinearModel::explain(std::span<const float> row, std::span<double> out) const {
  double base = bias_;
  const auto of_column = [&](size_t c, uint32_t at) {
    out[c] = static_cast<double>(weights_[at]) - means_[c];
    base += means_[c];
  };
  const auto of_pair = [&](size_t i, uint32_t at) {  // half to each of the two
    const double mean = means_[columns_.size() + i];
    const double half = (static_cast<double>(weights_[at]) - mean) / 2;
    out[layout_.pairs[i].a] += half;
    out[layout_.pairs[i].b] += half;
    base += mean;
  };
  visit(layout_, row.data(), of_column, of_pair);
  return base;
}

double LinearModel::margin(std::span<const float> row) const {
  double sum = bias_;
  const auto add = [&](size_t, uint32_t at) { sum += static_cast<double>(weights_[at]); };
  visit(layout_, row.data(), add, add);
  return sum;
}

std::string LinearModel::payload() const {
  proto::LinearModelRecord record;
  for (size_t c = 0; c < columns_.size(); ++c) {
    write_column(columns_[c], *record.add_columns());
    proto::LinearColumn& bins = *record.add_bins();
    for (const float cut : column_cuts_[c]) bins.add_cuts(cut);
  }
  write_pairs(layout_.pairs, record);
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
  for (const proto::LinearColumn& bins : record.bins()) {
    std::vector<float> cuts(bins.cuts().begin(), bins.cuts().end());
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
  std::vector<LinearPair> pairs;
  if (!read_pairs(record, model->columns_.size(), pairs))
    return damaged("the pairs of columns are not sound");
  expected += pairs.size() * LinearPair::kCells;
  if (expected * sizeof(float) != record.weights().size()) return damaged("the number of weights is wrong");
  model->layout_ = LinearLayout(model->columns_, model->column_cuts_, record.hash_bits(), std::move(pairs));
  if (!from_bytes(record.weights(), model->weights_) || !from_bytes(record.means(), model->means_) ||
      model->means_.size() != model->columns_.size() + model->layout_.pairs.size()) {
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
