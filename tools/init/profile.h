// What stands in a CSV file's columns, as far as a draft of a configuration must know: kinds of values,
// range, missing, distinct, order. Reads the whole file once; memory is bounded by kDistinctMax a column.
// Knows nothing of roles (roles.h). One thread.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include <tl/expected.hpp>

namespace shrike::tools::init {

struct Column {
  static constexpr size_t kDistinctMax = 1 << 20;  // of more only the first are counted
  static constexpr size_t kWordsMax = 64;
  static constexpr size_t kExamples = 3;

  std::string name;
  uint64_t rows = 0, missing = 0;
  // Of the present cells: how many are whole 64-bit numbers, finite numbers (whole ones too), true or false,
  // dates as expressions read them, words for "missing" (NA), and texts that no field may hold.
  uint64_t whole = 0, numbers = 0, booleans = 0, dates = 0, missing_words = 0, unfit = 0;
  uint64_t leading_zeros = 0;  // 01234: a number that is a text
  uint64_t days = 0;           // dates without a time of day
  int decimals = 0;            // most digits after the point
  double minimum = std::numeric_limits<double>::infinity();
  double maximum = -std::numeric_limits<double>::infinity();
  uint64_t falls = 0;                                  // numbers or dates smaller than the one before
  int64_t first_us = INT64_MAX, last_us = INT64_MIN;   // of dates
  std::unordered_set<uint64_t> distinct;               // hashes
  std::map<std::string, uint64_t, std::less<>> words;  // while there are at most kWordsMax
  std::vector<std::string> examples;

  uint64_t present() const { return rows - missing; }
  bool unique() const { return missing == 0 && distinct.size() == rows; }
  bool all(uint64_t kind) const { return present() > 0 && kind == present(); }
  // A share of the rows that stand before an earlier one, 0 for a file in order.
  double disorder() const {
    return present() > 0 ? static_cast<double>(falls) / static_cast<double>(present()) : 0;
  }
  void see(std::string_view cell);

 private:
  void see_number(std::string_view cell);
  void in_order(double value);
  double before_ = -std::numeric_limits<double>::infinity();
};

struct Profile {
  std::string path;
  std::string separators;  // "commas"
  uint64_t rows = 0;
  std::vector<Column> columns;
};

// Errors name the file, the line and the remedy.
tl::expected<Profile, std::string> read_profile(const std::string& path);

// Of each column in `of`, by its position there: which columns are the same in all its rows (a card's city),
// by column. Reads the file again; memory is a word for each distinct value and column.
tl::expected<std::vector<std::vector<bool>>, std::string> find_attributes(const Profile& profile,
                                                                          const std::vector<size_t>& of);

// Small letters and digits alone: IsFraud and is_fraud are isfraud.
std::string bare(std::string_view name);

}  // namespace shrike::tools::init
