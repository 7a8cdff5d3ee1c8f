#include "tools/rows_csv.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <memory>
#include <string_view>

namespace shrike::tools {
namespace {

tl::expected<std::string, std::string> read_file(const std::string& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  std::string text;
  char buffer[1 << 16];
  int got = -1;
  while (file && (got = gzread(file.get(), buffer, sizeof buffer)) > 0)
    text.append(buffer, static_cast<size_t>(got));
  if (got < 0) return tl::make_unexpected(fmt::format("{}: the file cannot be read", path));
  return text;
}

// Cuts the next cell off a line; whether there are more.
bool take_cell(std::string_view& line, std::string_view& cell) {
  const size_t comma = line.find(',');
  cell = line.substr(0, comma);
  const bool more = comma != std::string_view::npos;
  if (more) line.remove_prefix(comma + 1);
  if (cell.size() > 1 && cell.front() == '"' && cell.back() == '"') cell = cell.substr(1, cell.size() - 2);
  return more;
}

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

tl::expected<Rows, std::string> read_rows(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return tl::make_unexpected(text.error());
  Rows rows;
  PrecisionNote precision;
  std::string_view rest = *text;
  for (size_t line_number = 1; !rest.empty(); ++line_number) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const bool header = line_number == 1;
    if (line.empty() && rows.columns.size() != 1) continue;
    if (header && line.find('|') != std::string_view::npos && line.find(',') == std::string_view::npos)
      return tl::make_unexpected(fmt::format(
          "{}: it is no CSV but looks like Vowpal Wabbit's text; rows need a header of column names "
          "and commas between cells",
          path));
    size_t cells = 0;
    for (bool more = true; more; ++cells) {
      std::string_view cell;
      more = take_cell(line, cell);
      if (header) {
        rows.columns.push_back({std::string(cell), learners::ColumnKind::kNumeric});
        continue;
      }
      float value = 0;
      if (const std::string wrong = parse_cell(cell, value); !wrong.empty())
        return tl::make_unexpected(fmt::format(
            "{}: line {}: {}{}", path, line_number,
            cells < rows.columns.size() ? fmt::format("\"{}\": ", rows.columns[cells].name) : "", wrong));
      rows.values.push_back(value);
      precision.see(cells, line_number, cell, value);
    }
    if (cells != rows.columns.size())
      return tl::make_unexpected(fmt::format("{}: line {}: found {} cells, the header has {}", path,
                                             line_number, cells, rows.columns.size()));
  }
  if (rows.columns.empty()) return tl::make_unexpected(fmt::format("{}: it has no header", path));
  rows.note = precision.text(path, rows.columns);
  return rows;
}

}  // namespace shrike::tools
