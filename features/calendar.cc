#include "features/calendar.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "features/schema.h"

namespace shrike::features {
namespace {

constexpr int64_t kDayS = 86'400;

// Reads digits and signs off the front of a text.
class DateReader {
 public:
  explicit DateReader(std::string_view text) : rest_(text) {}

  bool digits(size_t count, int& out) {
    if (rest_.size() < count) return false;
    out = 0;
    for (const char c : rest_.substr(0, count)) {
      if (c < '0' || c > '9') return false;
      out = out * 10 + (c - '0');
    }
    rest_.remove_prefix(count);
    return true;
  }
  bool skip(std::string_view any) {
    if (rest_.empty() || any.find(rest_.front()) == any.npos) return false;
    last_ = rest_.front();
    rest_.remove_prefix(1);
    return true;
  }
  char last() const { return last_; }
  bool done() const { return rest_.empty(); }
  // Digits after the point, as microseconds.
  bool fraction(int64_t& us) {
    int64_t unit = 100'000;
    size_t count = 0;
    for (; !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9'; ++count) {
      us += (rest_.front() - '0') * unit;
      unit /= 10;
      rest_.remove_prefix(1);
    }
    return count > 0;
  }

 private:
  std::string_view rest_;
  char last_ = 0;
};

int days_in_month(int64_t year, int month) {
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return kDays[month - 1] + (month == 2 && leap);
}

}  // namespace

std::string format_offsets(const TimeZone& zone) {
  std::string text = fmt::format("{}", zone.offsets.front().seconds);
  for (size_t i = 1; i < zone.offsets.size(); ++i)
    text += fmt::format(" {}:{}", zone.offsets[i].from_s, zone.offsets[i].seconds);
  return text;
}

Result<TimeZone> parse_offsets(std::string_view name, std::string_view text) {
  TimeZone zone{std::string(name), {}};
  const char *at = text.data(), *end = text.data() + text.size();
  const auto bad = [&] {
    return tl::make_unexpected(
        Error{std::string(name),
              "expected an offset from UTC in seconds, then UNIX_SECONDS:OFFSET for each "
              "change, ascending, as check-config writes it"});
  };
  while (at != end) {
    TimeZone::Offset next{INT64_MIN, 0};
    if (!zone.offsets.empty()) {
      const auto [colon, wrong] = std::from_chars(at, end, next.from_s);
      if (wrong != std::errc() || colon == end || *colon != ':') return bad();
      at = colon + 1;
    }
    const auto [space, wrong] = std::from_chars(at, end, next.seconds);
    const bool ascends = zone.offsets.empty() || next.from_s > zone.offsets.back().from_s;
    if (wrong != std::errc() || std::abs(next.seconds) > 2 * kDayS || !ascends) return bad();
    zone.offsets.push_back(next);
    at = space;
    if (at == end) break;
    if (*at++ != ' ' || at == end) return bad();
  }
  if (zone.offsets.empty()) return bad();
  return zone;
}

size_t offset_at(const TimeZone& zone, int64_t t_s, size_t hint) {
  const auto& all = zone.offsets;
  const auto holds = [&](size_t i) {
    return (i == 0 || all[i].from_s <= t_s) && (i + 1 == all.size() || t_s < all[i + 1].from_s);
  };
  if (hint < all.size() && holds(hint)) return hint;
  const auto after = std::upper_bound(all.begin() + 1, all.end(), t_s,
                                      [](int64_t t, const TimeZone::Offset& one) { return t < one.from_s; });
  return static_cast<size_t>(after - all.begin()) - 1;
}

// Both by H. Hinnant, "chrono-Compatible Low-Level Date Algorithms": eras of 400 years that begin in March.
CivilDate civil_of(int64_t days) {
  days += 719'468;
  const int64_t era = floor_div(days, 146'097);
  const int64_t of_era = days - era * 146'097;
  const int64_t year = (of_era - of_era / 1'460 + of_era / 36'524 - of_era / 146'096) / 365;
  const int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
  const int64_t shifted = (5 * of_year + 2) / 153;
  const auto day = static_cast<int>(of_year - (153 * shifted + 2) / 5 + 1);
  const auto month = static_cast<int>(shifted < 10 ? shifted + 3 : shifted - 9);
  return {year + era * 400 + (month <= 2), month, day};
}

int64_t days_of(const CivilDate& date) {
  const int64_t year = date.year - (date.month <= 2);
  const int64_t era = floor_div(year, 400);
  const int64_t of_era = year - era * 400;
  const int64_t of_year = (153 * (date.month > 2 ? date.month - 3 : date.month + 9) + 2) / 5 + date.day - 1;
  return era * 146'097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719'468;
}

int weekday_of(int64_t days) {
  return static_cast<int>(floor_mod(days + 3, 7));  // 1970-01-01 was a Thursday
}

int64_t years_between(int64_t from_us, int64_t to_us) {
  if (to_us < from_us) return -years_between(to_us, from_us);
  const CivilDate from = civil_of(floor_div(from_us, kDayUs)), to = civil_of(floor_div(to_us, kDayUs));
  const int64_t in_day = floor_mod(from_us, kDayUs), to_in_day = floor_mod(to_us, kDayUs);
  const bool before = to.month != from.month ? to.month < from.month
                      : to.day != from.day   ? to.day < from.day
                                             : to_in_day < in_day;
  return to.year - from.year - before;
}

std::optional<int64_t> parse_date(std::string_view text) {
  DateReader in(text);
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, offset_minutes = 0;
  int64_t fraction_us = 0;
  const bool dated = in.digits(4, year) && in.skip("-") && in.digits(2, month) && in.skip("-") &&
                     in.digits(2, day) && month >= 1 && month <= 12 && day >= 1 &&
                     day <= days_in_month(year, month);
  if (!dated) return std::nullopt;
  if (in.skip("Tt ")) {
    if (!in.digits(2, hour) || !in.skip(":") || !in.digits(2, minute) || hour > 23 || minute > 59)
      return std::nullopt;
    if (in.skip(":") && (!in.digits(2, second) || second > 59)) return std::nullopt;
    if (in.skip(".") && !in.fraction(fraction_us)) return std::nullopt;
    if (!in.skip("Zz") && in.skip("+-")) {
      const int sign = in.last() == '-' ? -1 : 1;
      int hours = 0, minutes = 0;
      if (!in.digits(2, hours)) return std::nullopt;
      in.skip(":");
      if (!in.digits(2, minutes) || hours > 23 || minutes > 59) return std::nullopt;
      offset_minutes = sign * (hours * 60 + minutes);
    }
  }
  if (!in.done()) return std::nullopt;
  const int64_t seconds =
      days_of({year, month, day}) * kDayS + hour * 3'600 + (minute - offset_minutes) * 60 + second;
  return seconds * 1'000'000 + fraction_us;
}

}  // namespace shrike::features
