#include "engine/replay/csv.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

namespace shrike::engine {

tl::expected<std::unique_ptr<CsvReader>, std::string> CsvReader::open(const std::string& path,
                                                                      const features::Schema& schema,
                                                                      bool with_label) {
  auto records = CsvRecords::open(path);
  if (!records) return tl::make_unexpected(records.error());
  return open(std::move(*records), schema, with_label);
}

tl::expected<std::unique_ptr<CsvReader>, std::string> CsvReader::open(std::unique_ptr<CsvRecords> records,
                                                                      const features::Schema& schema,
                                                                      bool with_label) {
  std::vector<Wanted> wanted;
  for (const features::Field& field : schema.fields)
    wanted.push_back({"", {field.name}, !field.optional && field.name != kRowNumber});
  wanted.push_back({fmt::format("the label (\"{}\")", schema.label), {schema.label}, with_label});
  auto columns = match_columns(records->header(), wanted);
  const auto wrong = [&](const std::string& reason) {
    return tl::make_unexpected(fmt::format("{}:1: {}", records->name(), reason));
  };
  if (!columns) return wrong(columns.error());
  if (!columns->missing.empty()) {
    return wrong(
        fmt::format("{}; found, separated by {}: {}. For a field that may be absent set optional = true in "
                    "the configuration",
                    columns->missing, records->separators(), fmt::join(records->header(), ", ")));
  }
  std::unique_ptr<CsvReader> reader(new CsvReader(schema, std::move(records)));
  const auto numbered = schema.find(kRowNumber);
  if (numbered && columns->column[*numbered] < 0) reader->row_number_ = numbered;
  reader->columns_ = std::move(*columns);
  return reader;
}

std::vector<std::string> CsvReader::notes() const {
  std::vector<std::string> notes = columns_.notes;
  if (!columns_.left_out.empty())
    notes.push_back(fmt::format("columns that the schema does not name are left out: {}",
                                fmt::join(columns_.left_out, ", ")));
  return notes;
}

std::string CsvReader::place() const { return fmt::format("{}:{}", records_->name(), records_->line()); }

CsvReader::Line CsvReader::next(features::Transaction& transaction, int& label) {
  switch (records_->next()) {
    case CsvRecords::Read::kEnd:
      return Line::kEnd;
    case CsvRecords::Read::kBad:
      error_ = records_->error();
      return Line::kBad;
    case CsvRecords::Read::kBroken:
      error_ = records_->error();
      return Line::kBroken;
    case CsvRecords::Read::kRecord:
      break;
  }
  const auto read = read_row(transaction, label);
  if (read) return Line::kRow;
  error_ = fmt::format("{}: {}", place(), read.error());
  return Line::kBad;
}

tl::expected<void, std::string> CsvReader::read_row(features::Transaction& transaction, int& label) {
  const auto& cells = records_->cells();
  transaction.reset(schema_);
  label = -1;
  ++row_;
  if (row_number_) {
    if (auto set = features::set_from_text(schema_, *row_number_, std::to_string(row_), transaction); !set)
      return tl::make_unexpected(fmt::format("{}: {}", set.error().field, set.error().reason));
  }
  for (size_t c = 0; c < cells.size(); ++c) {
    if (columns_.wanted[c] < 0) continue;
    const auto field = static_cast<size_t>(columns_.wanted[c]);
    if (field == schema_.fields.size()) {
      const auto read = read_label(schema_, cells[c]);
      if (!read) return tl::make_unexpected(read.error());
      label = *read;
      continue;
    }
    auto set = features::set_from_text(schema_, field, cells[c], transaction);
    if (set) continue;
    const bool decimal_comma = schema_.fields[field].type == features::FieldType::kNumber &&
                               !records_->comma() && cells[c].find(',') != std::string_view::npos;
    return tl::make_unexpected(
        fmt::format("{}: {}{}", set.error().field, set.error().reason,
                    decimal_comma ? "; write decimals with a point, not a comma" : ""));
  }
  if (auto done = features::finish(schema_, transaction); !done)
    return tl::make_unexpected(fmt::format("{}: {}", done.error().field, done.error().reason));
  return {};
}

tl::expected<int, std::string> read_label(const features::Schema& schema, std::string_view cell) {
  if (cell.empty()) return -1;
  std::string word(cell.substr(0, 40));
  std::transform(word.begin(), word.end(), word.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (const std::string_view no : {"0", "0.0", "false", "f", "no", "n", "legitimate", "normal", "genuine"}) {
    if (word == no) return 0;
  }
  for (const std::string_view yes : {"1", "1.0", "true", "t", "yes", "y", "fraud", "fraudulent"}) {
    if (word == yes) return 1;
  }
  return tl::make_unexpected(
      fmt::format("{}: found \"{}\", allowed are 0, 1, true, false, yes, no, fraud, legitimate", schema.label,
                  cell.substr(0, 40)));
}

}  // namespace shrike::engine
