#include "features/spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "features/schema.h"

namespace shrike::features {
namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

// A word of another language of conditions, which would be taken for part of a name.
std::string_view other_word(std::string_view text) {
  for (const std::string_view word : {"or", "||", "&&", "AND", "OR", "not", "in", "between", "like", "is"}) {
    for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
      const size_t end = at + word.size();
      const bool alone = std::ispunct(static_cast<unsigned char>(word[0])) ||
                         ((at == 0 || text[at - 1] == ' ') && (end == text.size() || text[end] == ' '));
      if (alone) return word;
    }
  }
  return {};
}

Result<Condition> parse_condition(std::string_view text) {
  struct Sign {
    std::string_view text;
    Comparison comparison;
  };
  // Longer signs first: "<=" must not be read as "<".
  static constexpr Sign kSigns[] = {
      {"<=", Comparison::kLessEqual}, {">=", Comparison::kGreaterEqual}, {"==", Comparison::kEqual},
      {"!=", Comparison::kNotEqual},  {"<", Comparison::kLess},          {">", Comparison::kGreater},
  };
  for (const Sign& sign : kSigns) {
    const size_t at = text.find(sign.text);
    if (at == std::string_view::npos) continue;
    Condition condition{std::string(trim(text.substr(0, at))), sign.comparison, 0};
    const std::string_view right = trim(text.substr(at + sign.text.size()));
    auto [end, ec] = std::from_chars(right.data(), right.data() + right.size(), condition.value);
    const bool one_sign = condition.operand.find_first_of("<>=!") == std::string::npos;
    if (condition.operand.empty() || !one_sign || ec != std::errc() || end != right.data() + right.size())
      break;
    return condition;
  }
  if (const std::string_view word = other_word(text); !word.empty()) {
    return tl::make_unexpected(
        Error{"where", fmt::format("found \"{}\" in \"{}\"; conditions are NAME (< <= > >= == !=) NUMBER, "
                                   "joined by \"and\" alone: for either of two, declare two features",
                                   word, text)});
  }
  return tl::make_unexpected(
      Error{"where", fmt::format("found \"{}\", expected NAME (< <= > >= == !=) NUMBER", text)});
}

}  // namespace

Result<std::vector<Condition>> parse_where(std::string_view where) {
  std::vector<Condition> conditions;
  std::string_view rest = trim(where);
  while (!rest.empty()) {
    const size_t at = rest.find(" and ");
    auto condition = parse_condition(trim(rest.substr(0, at)));
    if (!condition) return tl::make_unexpected(condition.error());
    conditions.push_back(std::move(*condition));
    rest = at == std::string_view::npos ? std::string_view() : trim(rest.substr(at + 5));
  }
  return conditions;
}

Result<int64_t> parse_duration(std::string_view text) {
  const auto bad = [&] {
    return tl::make_unexpected(Error{
        "",
        fmt::format("found \"{}\", expected a duration such as \"90s\", \"30m\", \"12h\", \"7d\"", text)});
  };
  if (text == "all") return kForever;
  double amount = 0;
  const char* end = text.data() + text.size();
  auto [at, ec] = std::from_chars(text.data(), end, amount);
  if (ec != std::errc() || !(amount >= 0)) return bad();
  const std::string_view unit(at, static_cast<size_t>(end - at));
  double unit_us = 0;
  if (unit == "us") unit_us = 1;
  if (unit == "ms") unit_us = 1e3;
  if (unit == "s") unit_us = 1e6;
  if (unit == "m") unit_us = 60e6;
  if (unit == "h") unit_us = 3600e6;
  if (unit == "d") unit_us = 86400e6;
  if (unit_us == 0 || amount * unit_us > 86400e6 * 36525) return bad();
  return static_cast<int64_t>(std::floor(amount * unit_us + 0.5));
}

std::string format_duration(int64_t us) {
  if (us == kForever) return "all";
  if (us == 0) return "0s";
  if (us % kDayUs == 0) return fmt::format("{}d", us / kDayUs);
  if (us % kHourUs == 0) return fmt::format("{}h", us / kHourUs);
  if (us % 60'000'000 == 0) return fmt::format("{}m", us / 60'000'000);
  if (us % 1'000'000 == 0) return fmt::format("{}s", us / 1'000'000);
  if (us % 1'000 == 0) return fmt::format("{}ms", us / 1'000);
  return fmt::format("{}us", us);
}

}  // namespace shrike::features
