#include "tools/rows_csv.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <string_view>

#include "engine/replay/csv_records.h"

namespace shrike::tools {
namespace {

bool read_value(std::string_view cell, float& value) {
  value = std::numeric_limits<float>::quiet_NaN();
  if (cell.empty() || cell == "NA") return true;
  const char* end = cell.data() + cell.size();
  const auto [at, error] = std::from_chars(cell.data(), end, value);
  return error == std::errc() && at == end;
}

}  // namespace

tl::expected<Rows, std::string> read_rows(const std::string& path) {
  using Read = engine::CsvRecords::Read;
  auto opened = engine::CsvRecords::open(path);
  if (!opened) return tl::make_unexpected(opened.error());
  engine::CsvRecords& records = **opened;
  Rows rows;
  for (const std::string& name : records.header())
    rows.columns.push_back({name, learners::ColumnKind::kNumeric});
  for (Read read; (read = records.next()) != Read::kEnd;) {
    if (read != Read::kRecord) return tl::make_unexpected(records.error());
    for (size_t c = 0; c < records.cells().size(); ++c) {
      const std::string_view cell = records.cells()[c];
      float value = 0;
      if (!read_value(cell, value))
        return tl::make_unexpected(fmt::format("{}:{}: {}: \"{}\" is not a number", records.name(),
                                               records.line(), records.header()[c], cell.substr(0, 40)));
      rows.values.push_back(value);
    }
  }
  return rows;
}

}  // namespace shrike::tools
