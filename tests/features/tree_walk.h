// The plain meaning of an expression: walks the checked tree and computes every node from its arguments, with
// optional values instead of NaN and empty texts, and dates counted day by day. What the compiled form is
// judged against.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "features/expression.h"
#include "features/numeric.h"
#include "features/program.h"

namespace shrike::features::walk {

struct Value {
  std::optional<double> number;
  std::optional<std::string> text;
};

inline Value of(double x) { return std::isfinite(x) ? Value{x, {}} : Value{}; }
inline Value of(std::string text) { return text.empty() ? Value{} : Value{{}, std::move(text)}; }

// Counts from 1970 on: year, month and day of a day number.
struct Counted {
  int64_t year = 1970;
  int month = 1, day = 1;
};
inline bool leap(int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }
inline int length_of(int64_t year, int month) {
  return month == 2                                              ? (leap(year) ? 29 : 28)
         : month == 4 || month == 6 || month == 9 || month == 11 ? 30
                                                                 : 31;
}
inline Counted count_to(int64_t days) {
  Counted at;
  for (; days < 0; ++days) {
    if (--at.day > 0) continue;
    if (--at.month == 0) at = {at.year - 1, 12, 1};
    at.day = length_of(at.year, at.month);
  }
  while (days >= (leap(at.year) ? 366 : 365)) days -= leap(at.year++) ? 366 : 365;
  for (; days > 0; --days) {
    if (++at.day <= length_of(at.year, at.month)) continue;
    at.day = 1;
    if (++at.month > 12) at = {at.year + 1, 1, 1};
  }
  return at;
}

class Walker {
 public:
  Walker(const Schema& schema, const Transaction& transaction, std::function<TimeZone(std::string)> zone)
      : schema_(schema), transaction_(transaction), zone_(std::move(zone)) {}

  Value value(const Expression& e) const {
    switch (e.kind) {
      case Expression::Kind::kNumber:
        return of(e.number);
      case Expression::Kind::kText:
        return of(e.text);
      case Expression::Kind::kNothing:
        return {};
      case Expression::Kind::kName:
        return named(*schema_.find(e.text));
      case Expression::Kind::kCall:
        return call(e);
    }
    return {};
  }

 private:
  Value named(size_t field) const {
    const features::Value& value = transaction_.values[field];
    if (!value.present) return {};
    if (schema_.fields[field].type == FieldType::kText) return of(value.text);
    if (schema_.fields[field].type == FieldType::kTime) return of(static_cast<double>(value.fixed));
    return of(features::number(schema_, transaction_, field));
  }

  Value call(const Expression& e) const {
    using enum Operation;
    std::vector<Value> v;
    for (const Expression& argument : e.arguments) v.push_back(value(argument));
    switch (e.operation) {
      case kAnd:
        if (v[0].number == 0 || v[1].number == 0) return of(0.0);
        return v[0].number && v[1].number ? of(1.0) : Value{};
      case kOr:
        if (v[0].number == 1 || v[1].number == 1) return of(1.0);
        return v[0].number && v[1].number ? of(0.0) : Value{};
      case kIf:
      case kTextIf:
        return !v[0].number ? Value{} : *v[0].number == 1 ? v[1] : v[2];
      case kIsMissing:
      case kTextIsMissing:
        return of(!v[0].number && !v[0].text ? 1.0 : 0.0);
      case kCoalesce:
      case kTextCoalesce:
        for (const Value& one : v)
          if (one.number || one.text) return one;
        return {};
      default:
        break;
    }
    // All else is missing where anything of it is.
    for (const Value& one : v)
      if (!one.number && !one.text) return {};
    return e.arguments[0].type == ValueType::kText ? of_texts(e, v) : of_numbers(e, v);
  }

  static Value of_texts(const Expression& e, const std::vector<Value>& v) {
    using enum Operation;
    const std::string& a = *v[0].text;
    const std::string b = v.size() > 1 && v[1].text ? *v[1].text : "";
    const auto cased = [](std::string text, char from, char to) {
      for (char& c : text)
        if (c >= from && c <= to) c = static_cast<char>(c ^ 0x20);
      return text;
    };
    switch (e.operation) {
      case kTextEqual:
        return of(a == b ? 1.0 : 0.0);
      case kTextNotEqual:
        return of(a == b ? 0.0 : 1.0);
      case kTextIn:
        return of(std::any_of(v.begin() + 1, v.end(), [&](const Value& one) { return *one.text == a; })
                      ? 1.0
                      : 0.0);
      case kStartsWith:
        return of(a.compare(0, b.size(), b) == 0 ? 1.0 : 0.0);
      case kEndsWith:
        return of(a.size() >= b.size() && a.compare(a.size() - b.size(), b.size(), b) == 0 ? 1.0 : 0.0);
      case kContains:
        return of(a.find(b) != std::string::npos ? 1.0 : 0.0);
      case kLength: {
        double count = 0;
        for (const char c : a) count += (static_cast<unsigned char>(c) >> 6) != 2;
        return of(count);
      }
      case kLower:
        return of(cased(a, 'A', 'Z'));
      case kUpper:
        return of(cased(a, 'a', 'z'));
      case kEmailDomain: {
        const size_t at = a.find_last_of('@');
        return at == std::string::npos || at == 0 ? Value{} : of(cased(a.substr(at + 1), 'A', 'Z'));
      }
      case kDate: {
        const auto parsed = parse_date(a);
        return parsed ? of(static_cast<double>(*parsed)) : Value{};
      }
      default:
        ADD_FAILURE() << "no meaning of operation " << static_cast<int>(e.operation);
        return {};
    }
  }

  Value of_numbers(const Expression& e, const std::vector<Value>& v) const {
    using enum Operation;
    const double a = *v[0].number;
    const double b = v.size() > 1 && v[1].number ? *v[1].number : 0;
    const auto yes = [](bool is) { return of(is ? 1.0 : 0.0); };
    switch (e.operation) {
      case kAdd:
        return of(a + b);
      case kSubtract:
        return of(a - b);
      case kMultiply:
        return of(a * b);
      case kDivide:
        return b == 0 ? Value{} : of(a / b);
      case kModulo: {
        if (b == 0) return {};
        const double rest = std::fmod(a, b);
        return of(rest != 0 && std::signbit(rest) != std::signbit(b) ? rest + b : rest);
      }
      case kNegate:
        return of(a == 0 ? 0 : -a);
      case kLess:
        return yes(a < b);
      case kLessEqual:
        return yes(a <= b);
      case kGreater:
        return yes(a > b);
      case kGreaterEqual:
        return yes(a >= b);
      case kEqual:
        return yes(a == b);
      case kNotEqual:
        return yes(a != b);
      case kNot:
        return of(1 - a);
      case kIn:
        return yes(std::any_of(v.begin() + 1, v.end(), [&](const Value& one) { return *one.number == a; }));
      case kMin:
        return std::accumulate(v.begin() + 1, v.end(), v[0], [](const Value& least, const Value& one) {
          return *one.number < *least.number ? one : least;
        });
      case kMax:
        return std::accumulate(v.begin() + 1, v.end(), v[0], [](const Value& most, const Value& one) {
          return *one.number > *most.number ? one : most;
        });
      case kAbs:
        return of(std::fabs(a));
      case kLog:
        return a > 0 ? of(exact_log(a)) : Value{};
      case kExp:
        return of(exact_exp(a));
      case kSqrt:
        return a >= 0 ? of(std::sqrt(a)) : Value{};
      case kPow:
        return of(exact_pow(a, b));
      case kFloor:
        return of(std::floor(a));
      case kCeil:
        return of(std::ceil(a));
      case kRound:
        return of(std::floor(a + 0.5));
      case kDistanceKm:
        return of(distance_km(a, b, *v[2].number, *v[3].number));
      case kTimeDifference:
        return of((a - b) / 1e6);
      case kTimeAdd:
        return of(std::floor(a + b * 1e6 + 0.5));
      case kTimeSubtract:
        return of(std::floor(a - b * 1e6 + 0.5));
      case kUnixTime:
        return of(std::floor(a * 1e6 + 0.5));
      default:
        return of_times(e, a, b);
    }
  }

  Value of_times(const Expression& e, double a, double b) const {
    if (std::fabs(a) >= 9e18 || std::fabs(b) >= 9e18) return {};
    if (e.operation == Operation::kYearsBetween) {
      if (b < a) {
        const Value other = of_times(e, b, a);
        return of(0 - *other.number);
      }
      // Anniversaries that have come.
      const auto from = static_cast<int64_t>(a), to = static_cast<int64_t>(b);
      const Counted first = count_to(day(from)), last = count_to(day(to));
      const auto in_year = [](const Counted& at, int64_t in_day) {
        return std::tuple(at.month, at.day, in_day);
      };
      const bool come = in_year(last, to - day(to) * kDayUs) >= in_year(first, from - day(from) * kDayUs);
      return of(static_cast<double>(last.year - first.year - (come ? 0 : 1)));
    }
    auto local_s = static_cast<int64_t>(std::floor(a / 1e6));
    if (!e.text.empty()) {
      const TimeZone zone = zone_(e.text);
      int32_t offset = zone.offsets[0].seconds;
      for (size_t i = 1; i < zone.offsets.size(); ++i)
        if (zone.offsets[i].from_s <= local_s) offset = zone.offsets[i].seconds;
      local_s += offset;
    }
    const int64_t days = day(local_s * 1'000'000);
    const Counted at = count_to(days);
    switch (e.operation) {
      case Operation::kHour:
        return of(static_cast<double>((local_s - days * 86'400) / 3'600));
      case Operation::kWeekday: {
        int64_t weekday = (days + 3) % 7;
        return of(static_cast<double>(weekday < 0 ? weekday + 7 : weekday));
      }
      case Operation::kDayOfMonth:
        return of(at.day);
      case Operation::kMonth:
        return of(at.month);
      default:
        ADD_FAILURE() << "no meaning of operation " << static_cast<int>(e.operation);
        return {};
    }
  }
  static int64_t day(int64_t us) { return us >= 0 ? us / kDayUs : -((-us + kDayUs - 1) / kDayUs); }

  const Schema& schema_;
  const Transaction& transaction_;
  std::function<TimeZone(std::string)> zone_;
};

}  // namespace shrike::features::walk
