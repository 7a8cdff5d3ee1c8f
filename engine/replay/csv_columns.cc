#include "engine/replay/csv_columns.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>

#include "features/nearest.h"

namespace shrike::engine {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool is_one_of(const std::string& name, const std::vector<std::string>& names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_alike(const std::string& name, const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& one) { return lower(one) == lower(name); });
}

std::string shown(const Wanted& wanted) {
  return wanted.what.empty() ? fmt::format("\"{}\"", wanted.names[0]) : wanted.what;
}

// The columns that are the same to `same`; two of them are an error.
template <typename Same>
tl::expected<int, std::string> only_column(const std::vector<std::string>& header, const Wanted& wanted,
                                           const Columns& so_far, Same same) {
  int found = -1;
  for (size_t c = 0; c < header.size(); ++c) {
    if (so_far.wanted[c] >= 0 || !same(header[c], wanted.names)) continue;
    if (found >= 0)
      return tl::make_unexpected(
          fmt::format("column {} \"{}\" and column {} \"{}\" are both {}; leave one of them, or rename one",
                      found + 1, header[static_cast<size_t>(found)], c + 1, header[c], shown(wanted)));
    found = static_cast<int>(c);
  }
  return found;
}

// Without case and what joins words: IsFraud is is_fraud.
std::string bare(const std::string& name) {
  std::string letters;
  for (const unsigned char c : name) {
    if (std::isalnum(c) || c >= 0x80) letters += static_cast<char>(std::tolower(c));
  }
  return letters;
}

// The column left over that was probably meant; "" when none is near.
std::string meant(const std::string& name, const std::vector<std::string>& left_out) {
  std::vector<std::string> bare_ones;
  for (const std::string& one : left_out) bare_ones.push_back(bare(one));
  const std::string near = features::nearest(bare(name), bare_ones);
  const auto at = std::find(bare_ones.begin(), bare_ones.end(), near);
  return near.empty() ? "" : left_out[static_cast<size_t>(at - bare_ones.begin())];
}

std::string describe_missing(const std::vector<Wanted>& wanted, const Columns& columns) {
  std::vector<std::string> names;
  for (size_t w = 0; w < wanted.size(); ++w) {
    if (!wanted[w].needed || columns.column[w] >= 0) continue;
    const std::string& name = wanted[w].names[0];
    const std::string near = meant(name, columns.left_out);
    names.push_back(near.empty() ? name : fmt::format("{} (is it \"{}\"?)", name, near));
  }
  return names.empty() ? ""
                       : fmt::format("the header lacks the column{} {}", names.size() > 1 ? "s" : "",
                                     fmt::join(names, ", "));
}

}  // namespace

tl::expected<Columns, std::string> match_columns(const std::vector<std::string>& header,
                                                 const std::vector<Wanted>& wanted) {
  Columns columns;
  columns.wanted.assign(header.size(), -1);
  columns.column.assign(wanted.size(), -1);
  const auto assign = [&](size_t w, int column) {
    columns.column[w] = column;
    if (column >= 0) columns.wanted[static_cast<size_t>(column)] = static_cast<int>(w);
  };
  for (size_t w = 0; w < wanted.size(); ++w) {
    const auto found = only_column(header, wanted[w], columns, is_one_of);
    if (!found) return tl::make_unexpected(found.error());
    assign(w, *found);
  }
  for (size_t w = 0; w < wanted.size(); ++w) {
    if (columns.column[w] >= 0) continue;
    // Names of the schema that differ in case alone mean what they say.
    const bool ambiguous = std::any_of(wanted.begin(), wanted.end(), [&](const Wanted& other) {
      return &other != &wanted[w] &&
             std::any_of(other.names.begin(), other.names.end(),
                         [&](const auto& name) { return is_alike(name, wanted[w].names); });
    });
    if (ambiguous) continue;
    const auto found = only_column(header, wanted[w], columns, is_alike);
    if (!found) return tl::make_unexpected(found.error());
    assign(w, *found);
    if (*found >= 0)
      columns.notes.push_back(fmt::format("column \"{}\" is taken for {}",
                                          header[static_cast<size_t>(*found)], wanted[w].names[0]));
  }
  for (size_t c = 0; c < header.size(); ++c) {
    if (columns.wanted[c] < 0) columns.left_out.push_back(header[c]);
  }
  columns.missing = describe_missing(wanted, columns);
  return columns;
}

}  // namespace shrike::engine
