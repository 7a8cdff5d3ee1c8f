// Columns that are dropped from scoring: models get them as missing (NaN), whoever answers, and so does
// whoever learns, until they are restored. For a feature whose feed is broken: a model that has learned to do
// without a value does better than one that believes a wrong one. Rows are logged as the models saw them.
// Monitors of what comes in see the values as they were computed, so that they tell when the feed is mended.
// Part of the fold; changed by judgements of the log alone.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config/config.h"
#include "engine/fold/error.h"

namespace shrike::engine {

// How a field of the schema is named where a column may be too: "field:amount" is all columns that are
// computed from the amount.
inline constexpr std::string_view kFieldPrefix = "field:";

class DroppedColumns {
 public:
  explicit DroppedColumns(ConfigPtr config) : config_(std::move(config)) {}

  // The columns that a target names: one, or all of a field. kNotFound names the nearest.
  Result<std::vector<size_t>> columns_of(std::string_view target) const;
  // Why a person may not drop or restore it: not known, nothing to change, or no column would be left.
  Result<void> check(std::string_view target, bool drop) const;

  // What is not known (any more) changes nothing.
  void drop(std::string_view target);
  void restore(std::string_view target);

  bool any() const { return !dropped_.empty(); }
  bool has(size_t column) const;
  std::vector<std::string> names() const;  // in the order of columns
  // Makes them missing in a row.
  void hide(std::span<float> row) const;

 private:
  ConfigPtr config_;
  std::vector<size_t> dropped_;  // rising
};

}  // namespace shrike::engine
