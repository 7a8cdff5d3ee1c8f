// Rows of features from a CSV file (engine/replay/csv_records.h) whose header names the columns.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "learners/matrix.h"

namespace shrike::tools {

struct Rows {
  std::vector<learners::Column> columns;  // all numeric
  std::vector<float> values;              // count() x columns, row after row

  size_t count() const { return columns.empty() ? 0 : values.size() / columns.size(); }
  // `rows` rows from the first-th on, of each the columns of `wanted` in that order: rows x wanted, row after
  // row.
  std::vector<float> part(size_t first, size_t rows, const std::vector<size_t>& wanted) const;

  // For the user: which columns have values of more digits than a float32 keeps, with one of them. Empty when
  // none has.
  std::string note;
};

// An empty cell, `nan` and `NA` are missing. Errors name line and column. The whole file is held in memory.
tl::expected<Rows, std::string> read_rows(const std::string& path);

}  // namespace shrike::tools
