// Labels from a CSV, as requests of the feedback socket. Its header has the id (under the schema's name, `id`
// or `transaction_id`), the label, and perhaps `source` and a time. In a file of labels the time is the
// label's; a file of whole transactions has theirs, and its labels go without one. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "engine/config/config.h"
#include "engine/replay/csv_columns.h"
#include "engine/replay/csv_records.h"
#include "features/schema.h"

namespace shrike::tools {

class LabelsCsv {
 public:
  // `source`: of labels whose line names none. Errors name the file and the remedy.
  static tl::expected<std::unique_ptr<LabelsCsv>, std::string> open(
      std::unique_ptr<engine::CsvRecords> records, const engine::Config& config, std::string source);

  using Read = engine::CsvRecords::Read;
  // The next labelled line. kRecord: `request` is its request in JSON. Else as CsvRecords has it.
  Read next(std::string& request);
  const std::string& error() const { return error_; }
  // Lines whose label is empty: passed over.
  uint64_t unlabelled() const { return unlabelled_; }
  // What a user may want to know of how the header was read.
  const std::vector<std::string>& notes() const { return columns_.notes; }

 private:
  LabelsCsv(std::unique_ptr<engine::CsvRecords> records, const engine::Config& config, std::string source)
      : records_(std::move(records)), config_(config), schema_(config.schema()), source_(std::move(source)) {}
  tl::expected<bool, std::string> read_line(std::string& request);

  std::unique_ptr<engine::CsvRecords> records_;
  const engine::Config& config_;
  const features::Schema& schema_;
  std::string source_;
  engine::Columns columns_;
  bool times_are_labels_ = true;
  features::Transaction holder_;  // of the id and the time
  std::string error_;
  uint64_t unlabelled_ = 0;
};

// A label as a JSON request: of the transaction with this id, at this time where one is present. The verdict
// is as a request has it: 0, 1, "unsure".
std::string label_request(const features::Schema& schema, const features::Transaction& labelled,
                          std::string_view verdict, std::string_view source);

}  // namespace shrike::tools
