#include "tools/rows_csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

#include <xtensor/xadapt.hpp>
#include <xtensor/xtensor.hpp>
#include <xtensor/xview.hpp>

#include "engine/replay/csv_records.h"

namespace shrike::tools {
namespace {

// What is wrong with a cell; empty when it is a number or missing.
std::string parse_cell(std::string_view cell, float& value) {
  value = std::numeric_limits<float>::quiet_NaN();
  if (cell.empty() || cell == "NA") return "";
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error == std::errc() && end == cell.data() + cell.size()) return "";
  if (error == std::errc::result_out_of_range)
    return fmt::format("\"{}\" is beyond what a float32 holds", cell);
  return fmt::format("\"{}\" is not a number; a missing value is an empty cell, NA or nan", cell);
}

// Whether a cell has more digits than its float: neither the float's shortest text nor its text in as many
// digits is the cell's number. What was printed from a float32, however long, loses none.
bool loses_digits(std::string_view cell, float value) {
  const std::string_view mantissa = cell.substr(0, cell.find_first_of("eE"));
  const size_t first = std::min(mantissa.size(), mantissa.find_first_of("123456789"));
  const auto digits = std::count_if(mantissa.begin() + static_cast<std::ptrdiff_t>(first), mantissa.end(),
                                    [](char c) { return c != '.'; });
  if (digits <= std::numeric_limits<float>::digits10 || !std::isfinite(value)) return false;
  const auto number = [](std::string_view text) {
    double out = 0;
    std::from_chars(text.data(), text.data() + text.size(), out);
    return out;
  };
  const double given = number(cell);
  return given != number(fmt::format("{}", value)) &&
         given != number(fmt::format("{:.{}g}", static_cast<double>(value), digits));
}

// Finds columns that lose digits, and makes the note of them.
class PrecisionNote {
 public:
  void see(size_t column, size_t line, std::string_view cell, float value) {
    if (lossy_.size() <= column) lossy_.resize(column + 1);
    if (lossy_[column] || !loses_digits(cell, value)) return;
    lossy_[column] = true;
    if (example_.empty()) example_ = fmt::format("line {}: {} is read as {}", line, cell, value);
  }
  std::string text(const std::string& path, const std::vector<learners::Column>& columns) const {
    std::string names;
    for (size_t c = 0; c < lossy_.size() && c < columns.size(); ++c) {
      if (lossy_[c]) names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", columns[c].name);
    }
    if (names.empty()) return "";
    return fmt::format(
        "{}: values of {} have more digits than a float32 keeps ({}); XGBoost reads them alike, LightGBM "
        "reads "
        "doubles and may decide otherwise at a threshold",
        path, names, example_);
  }

 private:
  std::vector<bool> lossy_;
  std::string example_;
};

}  // namespace

std::vector<float> Rows::part(size_t first, size_t rows, const std::vector<size_t>& wanted) const {
  const auto all = xt::adapt(values, std::array<size_t, 2>{count(), columns.size()});
  std::vector<float> out(rows * wanted.size());
  if (out.empty()) return out;
  xt::adapt(out, std::array<size_t, 2>{rows, wanted.size()}) =
      xt::view(all, xt::range(first, first + rows), xt::keep(wanted));
  return out;
}

tl::expected<Rows, std::string> read_rows(const std::string& path) {
  using Read = engine::CsvRecords::Read;
  auto opened = engine::CsvRecords::open(path);
  if (!opened) return tl::make_unexpected(opened.error());
  engine::CsvRecords& records = **opened;
  Rows rows;
  for (const std::string& name : records.header())
    rows.columns.push_back({name, learners::ColumnKind::kNumeric});
  const auto has_colon = [](const std::string& name) { return name.find(':') != std::string::npos; };
  if (records.separators() == "bars" &&
      std::any_of(records.header().begin(), records.header().end(), has_colon)) {
    return tl::make_unexpected(fmt::format(
        "{}: it is no CSV but looks like Vowpal Wabbit's text; rows need a header of column names and commas "
        "between cells",
        path));
  }
  PrecisionNote precision;
  for (Read read; (read = records.next()) != Read::kEnd;) {
    if (read != Read::kRecord) return tl::make_unexpected(records.error());
    for (size_t c = 0; c < records.cells().size(); ++c) {
      const std::string_view cell = records.cells()[c];
      float value = 0;
      if (const std::string wrong = parse_cell(cell, value); !wrong.empty()) {
        return tl::make_unexpected(
            fmt::format("{}: line {}: \"{}\": {}", path, records.line(), records.header()[c], wrong));
      }
      rows.values.push_back(value);
      precision.see(c, records.line(), cell, value);
    }
  }
  rows.note = precision.text(path, rows.columns);
  return rows;
}

}  // namespace shrike::tools
