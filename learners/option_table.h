// A family's options as one table of rows: name, member, range, help. Reading, describing and the canonical
// text that saved state is compared by all come from it. Internal to learners/.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "learners/learner.h"

namespace shrike::learners {

// One option of the struct T: exactly one of the members is set.
template <typename T>
struct OptionRow {
  const char* name;
  double T::*real;
  int64_t T::*whole;
  double minimum, maximum;
  const char* help;

  const char* kind() const { return real != nullptr ? "a number" : "an integer"; }
};

// The options given, over T's defaults; errors name the option, what was found and what is allowed.
template <typename T>
Result<T> read_options(std::string_view family, std::span<const OptionRow<T>> rows, const Options& given) {
  T options;
  for (const auto& option : given) {
    const std::string& name = option.first;
    const OptionValue& value = option.second;
    const auto row =
        std::find_if(rows.begin(), rows.end(), [&](const OptionRow<T>& r) { return name == r.name; });
    if (row == rows.end()) {
      return tl::make_unexpected(
          Error{ErrorCode::kInvalidOption, name, fmt::format("the {} family has no such option", family)});
    }
    const auto* whole = std::get_if<int64_t>(&value);
    const auto* real = std::get_if<double>(&value);
    const bool typed = whole != nullptr || (real != nullptr && row->real != nullptr);
    const double number = whole != nullptr ? static_cast<double>(*whole) : real != nullptr ? *real : NAN;
    if (!typed || !(number >= row->minimum && number <= row->maximum)) {
      const auto* text = std::get_if<std::string>(&value);
      const std::string found = text != nullptr ? fmt::format("\"{}\"", *text) : fmt::format("{}", number);
      return tl::make_unexpected(Error{ErrorCode::kInvalidOption, name,
                                       fmt::format("found {}, allowed is {} from {} to {}", found,
                                                   row->kind(), row->minimum, row->maximum)});
    }
    if (row->real != nullptr) {
      options.*row->real = number;
    } else {
      options.*row->whole = *whole;
    }
  }
  return options;
}

// Takes the next item, without the spaces around it, off a list with commas.
inline std::string_view take_item(std::string_view& list) {
  std::string_view item = list.substr(0, list.find(','));
  list.remove_prefix(std::min(list.size(), item.size() + 1));
  while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
  while (!item.empty() && item.back() == ' ') item.remove_suffix(1);
  return item;
}

// Two learners with the same text learn alike.
template <typename T>
std::string canonical_options(std::span<const OptionRow<T>> rows, const T& options, uint64_t seed) {
  std::string text = fmt::format("seed={}", seed);
  for (const OptionRow<T>& row : rows) {
    text += row.real != nullptr ? fmt::format(" {}={}", row.name, options.*row.real)
                                : fmt::format(" {}={}", row.name, options.*row.whole);
  }
  return text;
}

template <typename T>
std::vector<OptionInfo> describe_options(std::span<const OptionRow<T>> rows) {
  const T defaults;
  std::vector<OptionInfo> all;
  for (const OptionRow<T>& row : rows) {
    all.push_back({row.name,
                   row.real != nullptr ? OptionValue(defaults.*row.real) : OptionValue(defaults.*row.whole),
                   fmt::format("{} from {} to {}", row.kind(), row.minimum, row.maximum), row.help});
  }
  return all;
}

}  // namespace shrike::learners
