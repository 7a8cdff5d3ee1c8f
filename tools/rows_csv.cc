#include "tools/rows_csv.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
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

}  // namespace

tl::expected<Rows, std::string> read_rows(const std::string& path) {
  const auto text = read_file(path);
  if (!text) return tl::make_unexpected(text.error());
  Rows rows;
  std::string_view rest = *text;
  for (size_t line_number = 1; !rest.empty(); ++line_number) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const bool header = line_number == 1;
    if (line.empty() && rows.columns.size() != 1) continue;
    size_t cells = 0;
    for (bool more = true; more; ++cells) {
      const size_t comma = line.find(',');
      std::string_view cell = line.substr(0, comma);
      more = comma != std::string_view::npos;
      if (more) line.remove_prefix(comma + 1);
      if (cell.size() > 1 && cell.front() == '"' && cell.back() == '"')
        cell = cell.substr(1, cell.size() - 2);
      if (header) {
        rows.columns.push_back({std::string(cell), learners::ColumnKind::kNumeric});
        continue;
      }
      float value = std::numeric_limits<float>::quiet_NaN();
      const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
      if (!cell.empty() && cell != "NA" && (error != std::errc() || end != cell.data() + cell.size()))
        return tl::make_unexpected(
            fmt::format("{}: line {}: \"{}\" is not a number", path, line_number, cell));
      rows.values.push_back(value);
    }
    if (cells != rows.columns.size())
      return tl::make_unexpected(fmt::format("{}: line {}: found {} cells, the header has {}", path,
                                             line_number, cells, rows.columns.size()));
  }
  if (rows.columns.empty()) return tl::make_unexpected(fmt::format("{}: it has no header", path));
  return rows;
}

}  // namespace shrike::tools
