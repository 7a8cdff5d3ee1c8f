#include "learners/cuts.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace shrike::learners {

void BinSample::add(const float* row, size_t columns, bool fraud) {
  std::vector<float>& rows = fraud ? fraud_rows : negative_rows;
  const size_t capacity = fraud ? kFraudsMax : kNegativesMax;
  const size_t at = static_cast<size_t>((fraud ? frauds_next++ : negatives_next++) % capacity) * columns;
  if (rows.size() < at + columns) rows.resize(at + columns);
  std::copy_n(row, columns, rows.begin() + static_cast<std::ptrdiff_t>(at));
}

std::vector<float> fit_cuts(const BinSample& sample, size_t columns, size_t column, size_t bins) {
  std::vector<std::pair<float, double>> values;
  const auto gather = [&](const std::vector<float>& rows) {
    const size_t n = rows.size() / columns;
    for (size_t i = 0; i < n; ++i) {
      const float value = rows[i * columns + column];
      if (std::isfinite(value)) values.emplace_back(value, 1.0 / static_cast<double>(n));
    }
  };
  gather(sample.fraud_rows);
  gather(sample.negative_rows);
  std::sort(values.begin(), values.end());
  double total = 0;
  for (const auto& one : values) total += one.second;
  std::vector<float> cuts;
  double before = 0;  // weight of the values below this one
  double next = total / static_cast<double>(bins);
  for (size_t i = 0; i < values.size() && cuts.size() + 1 < bins;) {
    const float value = values[i].first;
    if (i > 0 && before >= next) {
      cuts.push_back(value);
      while (next <= before) next += total / static_cast<double>(bins);
    }
    for (; i < values.size() && values[i].first == value; ++i) before += values[i].second;
  }
  return cuts;
}

}  // namespace shrike::learners
