// Reads transactions from a CSV file, plain or gz, or from standard input ("-"). Columns are found by the
// header's names; those that the schema does not name are left out and listed once. Quoted fields follow RFC
// 4180. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "features/schema.h"

namespace shrike::engine {

class CsvReader {
 public:
  // Opens and reads the header. `with_label`: the label's column must be there. Errors name the file and the
  // remedy.
  static tl::expected<std::unique_ptr<CsvReader>, std::string> open(const std::string& path,
                                                                    const features::Schema& schema,
                                                                    bool with_label);
  ~CsvReader();

  enum class Line { kRow, kBad, kEnd, kBroken };
  // The next line. kRow fills `transaction` and `label` (-1: no such column, or empty). kBad: error() says
  // which line and why; reading may go on. kBroken: the file itself is damaged or truncated, error() says
  // where; nothing follows.
  Line next(features::Transaction& transaction, int& label);
  const std::string& error() const { return error_; }
  uint64_t line_number() const { return line_number_; }
  const std::vector<std::string>& ignored_columns() const { return ignored_; }
  // Share of the file that has been read, 0..1; 0 when it cannot be known.
  double progress() const;

 private:
  CsvReader(const features::Schema& schema, std::string path);
  struct Input;
  tl::expected<void, std::string> read_header(bool with_label);
  bool read_line(std::string_view& line);
  bool split(std::string_view line);

  const features::Schema& schema_;
  std::string path_;
  std::unique_ptr<Input> input_;
  std::vector<int> column_field_;  // per CSV column: field position, -1 ignored, -2 label
  std::vector<std::string_view> cells_;
  std::vector<std::string> unquoted_;
  std::vector<std::string> ignored_;
  std::string error_;
  uint64_t line_number_ = 0;
};

}  // namespace shrike::engine
