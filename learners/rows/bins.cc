#include "learners/rows/bins.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <utility>

namespace shrike::learners {

void BinSample::add(const float* row, size_t columns, bool fraud) {
  (fraud ? frauds : negatives).add(fraud ? kFraudsMax : kNegativesMax, {row, columns});
}

namespace {

// A category has a bin of its own when it came this often in the sample: legitimate, or as fraud, then being
// a share of all frauds too. Rare ones would have it because of the very frauds that their bin is then fitted
// to, and look worse than they are: with identities as a column that costs more than it gives (measured on
// the handbook's terminals).
constexpr size_t kLegitimateMin = 6, kFraudsMin = 24, kFraudShareMin = 64;  // one 64th

bool is_category(float value) { return value >= 0 && value < static_cast<float>(kCategoriesMax); }
float category_of(float value) { return std::trunc(value) + 0.0f; }  // no -0

}  // namespace

std::vector<float> fit_cuts(const BinSample& sample, size_t columns, size_t column, size_t bins) {
  std::vector<std::pair<float, double>> values;
  const auto gather = [&](const std::vector<float>& rows) {
    const size_t n = rows.size() / columns;
    for (size_t i = 0; i < n; ++i) {
      const float value = rows[i * columns + column];
      if (std::isfinite(value)) values.emplace_back(value, 1.0 / static_cast<double>(n));
    }
  };
  gather(sample.frauds.rows);
  gather(sample.negatives.rows);
  std::sort(values.begin(), values.end());
  double total = 0;
  for (const auto& [value, weight] : values) total += weight;
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

ColumnBins fit_bins(const BinSample& sample, size_t columns, size_t column, ColumnKind kind, size_t bins) {
  if (kind == ColumnKind::kNumeric) return {fit_cuts(sample, columns, column, bins), false};
  struct Category {
    float code;
    size_t times[2] = {0, 0};  // of each class
    double weight = 0;
  };
  const std::vector<float>* const rows[2] = {&sample.negatives.rows, &sample.frauds.rows};
  std::map<float, Category> found;
  for (const bool fraud : {false, true}) {
    for (size_t at = column; at < rows[fraud]->size(); at += columns) {
      const float value = (*rows[fraud])[at];
      if (!is_category(value)) continue;
      Category& category = found[category_of(value)];
      category.code = category_of(value);
      ++category.times[fraud];
    }
  }
  std::vector<Category> categories;
  for (auto& [code, category] : found) {
    const size_t frauds = sample.frauds.rows.size() / columns;
    if (category.times[0] < kLegitimateMin &&
        category.times[1] < std::max(kFraudsMin, frauds / kFraudShareMin))
      continue;
    for (const bool fraud : {false, true}) {
      if (category.times[fraud] > 0)
        category.weight +=
            static_cast<double>(category.times[fraud]) / static_cast<double>(rows[fraud]->size());
    }
    categories.push_back(category);
  }
  std::stable_sort(categories.begin(), categories.end(),
                   [](const Category& a, const Category& b) { return a.weight > b.weight; });
  if (categories.size() > bins - 1) categories.resize(bins - 1);
  ColumnBins of{{}, true};
  for (const Category& category : categories) of.cuts.push_back(category.code);
  std::sort(of.cuts.begin(), of.cuts.end());
  return of;
}

uint16_t ColumnBins::of_category(float value) const {
  const auto at =
      is_category(value) ? std::lower_bound(cuts.begin(), cuts.end(), std::trunc(value)) : cuts.end();
  const bool own = at != cuts.end() && *at == std::trunc(value);
  return static_cast<uint16_t>(1 + (own ? static_cast<size_t>(at - cuts.begin()) : cuts.size()));
}

bool ColumnBins::sound(ColumnKind kind) const {
  if (cuts.size() >= 65535 || (categorical && kind != ColumnKind::kCategorical)) return false;
  if (std::adjacent_find(cuts.begin(), cuts.end(), std::greater_equal<>()) != cuts.end()) return false;
  return !categorical || std::all_of(cuts.begin(), cuts.end(), [](float code) {
    return is_category(code) && std::trunc(code) == code;
  });
}

}  // namespace shrike::learners
