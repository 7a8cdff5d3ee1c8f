// Reads transactions, with their labels, from a CSV file (see csv_records.h for its form). Columns are found
// by the header's names; those that the schema does not name are left out and listed once. A field
// "row_number" without a column is the record's number, from 1, for files without an id or a time. One
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "engine/replay/csv_columns.h"
#include "engine/replay/csv_records.h"
#include "features/schema.h"

namespace shrike::engine {

inline constexpr const char* kRowNumber = "row_number";

class CsvReader {
 public:
  // Opens and reads the header. `with_label`: the label's column must be there. Errors name the file and the
  // remedy.
  static tl::expected<std::unique_ptr<CsvReader>, std::string> open(const std::string& path,
                                                                    const features::Schema& schema,
                                                                    bool with_label);
  static tl::expected<std::unique_ptr<CsvReader>, std::string> open(std::unique_ptr<CsvRecords> records,
                                                                    const features::Schema& schema,
                                                                    bool with_label);

  enum class Line { kRow, kBad, kEnd, kBroken };
  // The next record. kRow fills `transaction` and `label` (-1: no such column, or empty). kBad: error() says
  // which line and why; reading may go on. kBroken: the file itself is damaged or truncated, error() says
  // where; nothing follows.
  Line next(features::Transaction& transaction, int& label);
  const std::string& error() const { return error_; }
  // Where the record in hand begins: FILE:LINE.
  std::string place() const;
  // What a user may want to know of how the header was read, such as which columns are left out.
  std::vector<std::string> notes() const;
  // Share of the file that has been read, 0..1; 0 when it cannot be known.
  double progress() const { return records_->progress(); }

 private:
  CsvReader(const features::Schema& schema, std::unique_ptr<CsvRecords> records)
      : schema_(schema), records_(std::move(records)) {}
  tl::expected<void, std::string> read_row(features::Transaction& transaction, int& label);

  const features::Schema& schema_;
  std::unique_ptr<CsvRecords> records_;
  std::optional<size_t> row_number_;  // the field, where the file has no such column
  int64_t row_ = 0;
  Columns columns_;  // of the schema's fields, by position, and behind them the label
  std::string error_;
};

// A label's cell, as spreadsheets, data frames and people write it (1.0, True, Y, fraud; in any case): 1, 0,
// or -1 for an empty one.
tl::expected<int, std::string> read_label(const features::Schema& schema, std::string_view cell);

}  // namespace shrike::engine
