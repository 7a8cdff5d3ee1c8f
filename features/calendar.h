// Civil dates of event time, in UTC and in named time zones. A zone is plain data, a table of offsets:
// whoever loads the configuration takes it from the machine's tzdata once and writes it down, so that a
// replay years later, on a machine that knows other rules, sees the same hours. Plain functions; immutable
// tables.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "features/error.h"

namespace shrike::features {

struct TimeZone {
  struct Offset {
    int64_t from_s = 0;   // unix seconds from which it holds, until the next one's
    int32_t seconds = 0;  // local time - UTC
    bool operator==(const Offset&) const = default;
  };
  std::string name;             // "Europe/Paris"
  std::vector<Offset> offsets;  // ascending; the first holds before its own time too
  bool operator==(const TimeZone&) const = default;
};

// "3600 1521939600:7200 1540688400:3600": the first offset, then moments and offsets from there on.
std::string format_offsets(const TimeZone& zone);
Result<TimeZone> parse_offsets(std::string_view name, std::string_view text);

// Where the offset at `t_s` stands in the table; `hint` is tried first. O(log n).
size_t offset_at(const TimeZone& zone, int64_t t_s, size_t hint);

struct CivilDate {
  int64_t year;
  int month, day;  // from 1
};
// Days are since 1970-01-01, of the proleptic Gregorian calendar.
CivilDate civil_of(int64_t days);
int64_t days_of(const CivilDate& date);
int weekday_of(int64_t days);  // 0 Monday .. 6 Sunday

// Whole years from one moment to another (unix microseconds, UTC): how often its anniversary has come, at the
// time of day too. One born on 29 February is a year older on 1 March of other years. Negative when `to` is
// before `from`.
int64_t years_between(int64_t from_us, int64_t to_us);

// Unix microseconds of "2018-04-01", with a time of day "2018-04-01T06:30" or "2018-04-01 06:30:15.25", with
// an offset "Z" or "+02:00" (UTC when it has none). Nothing for any other text.
std::optional<int64_t> parse_date(std::string_view text);

// Division that rounds down, and what is left.
constexpr int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
constexpr int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }

}  // namespace shrike::features
