#include "tools/init/profile.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <unordered_map>

#include "engine/replay/csv_records.h"
#include "features/calendar.h"
#include "features/schema.h"

namespace shrike::tools::init {
namespace {

bool is_missing_word(std::string_view cell) {
  for (const std::string_view word : {"NA", "N/A", "n/a", "nan", "NaN", "null", "NULL", "None", "?", "-"}) {
    if (cell == word) return true;
  }
  return false;
}

bool is_boolean(std::string_view cell) {
  for (const std::string_view word : {"true", "True", "TRUE", "false", "False", "FALSE"}) {
    if (cell == word) return true;
  }
  return false;
}

// "01234" and "-05", not "0", "0.5".
bool has_leading_zero(std::string_view cell) {
  if (cell.starts_with('-')) cell.remove_prefix(1);
  return cell.size() > 1 && cell[0] == '0' && std::isdigit(static_cast<unsigned char>(cell[1]));
}

int decimals_of(std::string_view cell) {
  const size_t point = cell.find('.');
  if (cell.find_first_of("eE") != cell.npos) return 6;
  if (point == cell.npos) return 0;
  std::string_view digits = cell.substr(point + 1);
  while (digits.ends_with('0')) digits.remove_suffix(1);
  return static_cast<int>(std::min<size_t>(digits.size(), 20));
}

}  // namespace

void Column::in_order(double value) {
  falls += value < before_;
  before_ = value;
}

void Column::see_number(std::string_view cell) {
  const char* end = cell.data() + cell.size();
  int64_t integer = 0;
  if (const auto [at, error] = std::from_chars(cell.data(), end, integer); error == std::errc() && at == end)
    ++whole;
  double value = 0;
  if (const auto [at, error] = std::from_chars(cell.data(), end, value);
      error == std::errc() && at == end && std::isfinite(value)) {
    ++numbers;
    leading_zeros += has_leading_zero(cell);
    decimals = std::max(decimals, decimals_of(cell));
    minimum = std::min(minimum, value);
    maximum = std::max(maximum, value);
    in_order(value);
  } else if (const auto time_us = features::parse_date(cell)) {
    ++dates;
    days += cell.size() <= 10;
    first_us = std::min(first_us, *time_us);
    last_us = std::max(last_us, *time_us);
    in_order(static_cast<double>(*time_us));
  }
}

void Column::see(std::string_view cell) {
  ++rows;
  if (cell.empty()) {
    ++missing;
    return;
  }
  see_number(cell);
  booleans += is_boolean(cell);
  missing_words += is_missing_word(cell);
  unfit += cell.size() > features::Schema::kTextBytesMax || !features::valid_utf8(cell);
  const bool is_new =
      distinct.size() < kDistinctMax && distinct.insert(XXH3_64bits(cell.data(), cell.size())).second;
  if (is_new && examples.size() < kExamples) examples.emplace_back(cell.substr(0, 40));
  if (distinct.size() > kWordsMax) {
    words.clear();
  } else if (const auto word = words.find(cell); word != words.end()) {
    ++word->second;
  } else {
    words.emplace(cell, 1);
  }
}

tl::expected<Profile, std::string> read_profile(const std::string& path) {
  using Read = engine::CsvRecords::Read;
  auto records = engine::CsvRecords::open(path);
  if (!records) return tl::make_unexpected(records.error());
  Profile profile;
  profile.path = path;
  profile.separators = (*records)->separators();
  for (const std::string& name : (*records)->header()) {
    profile.columns.emplace_back();
    profile.columns.back().name = name;
  }
  for (Read read; (read = (*records)->next()) != Read::kEnd;) {
    if (read != Read::kRecord) return tl::make_unexpected((*records)->error());
    ++profile.rows;
    for (size_t c = 0; c < profile.columns.size(); ++c) profile.columns[c].see((*records)->cells()[c]);
  }
  if (profile.rows == 0)
    return tl::make_unexpected(
        fmt::format("{}: a header without a row; a draft needs rows to look at", path));
  return profile;
}

tl::expected<std::vector<std::vector<bool>>, std::string> find_attributes(const Profile& profile,
                                                                          const std::vector<size_t>& of) {
  using Read = engine::CsvRecords::Read;
  auto records = engine::CsvRecords::open(profile.path);
  if (!records) return tl::make_unexpected(records.error());
  const size_t columns = profile.columns.size();
  std::vector<std::vector<bool>> same(of.size(), std::vector<bool>(columns, true));
  std::vector<std::unordered_map<uint64_t, std::vector<uint64_t>>> first(of.size());
  std::vector<uint64_t> row(columns);
  for (Read read; (read = (*records)->next()) != Read::kEnd;) {
    if (read != Read::kRecord) return tl::make_unexpected((*records)->error());
    const auto& cells = (*records)->cells();
    for (size_t c = 0; c < columns; ++c) row[c] = XXH3_64bits(cells[c].data(), cells[c].size());
    for (size_t i = 0; i < of.size(); ++i) {
      const auto [at, is_first] = first[i].try_emplace(row[of[i]], row);
      for (size_t c = 0; !is_first && c < columns; ++c) {
        if (row[c] != at->second[c]) same[i][c] = false;
      }
    }
  }
  return same;
}

std::string bare(std::string_view name) {
  std::string letters;
  for (const unsigned char c : name) {
    if (std::isalnum(c)) letters += static_cast<char>(std::tolower(c));
  }
  return letters;
}

}  // namespace shrike::tools::init
