#include "engine/diagnosis/evidence.h"

#include <fmt/format.h>

#include <sstream>

#include <date/date.h>

namespace shrike::engine {

std::string day_name(int64_t day) {
  if (day == kNoDay) return "-";
  return date::format("%F", date::sys_days(date::days(day)));
}

tl::expected<int64_t, std::string> parse_day(const std::string& text) {
  std::istringstream in(text);
  date::sys_days day;
  in >> date::parse("%F", day);
  if (in.fail() || in.peek() != std::istringstream::traits_type::eof())
    return tl::make_unexpected(fmt::format("\"{}\" is no day; expected one as in 2018-06-30", text));
  return day.time_since_epoch().count();
}

}  // namespace shrike::engine
