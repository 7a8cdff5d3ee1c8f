// The one language of derived values and conditions: text to a checked tree. Typed; every name and argument
// is looked at here, so that what is accepted can be compiled (see program.h) and cannot fail for any
// transaction. docs/expressions.md has the grammar. Plain functions.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "features/error.h"

namespace shrike::features {

// kNothing is the type of the literal `missing`, which is of any.
enum class ValueType : uint8_t { kNothing, kNumber, kText, kBoolean, kTime };
std::string_view name(ValueType type);

// What a tree's inner nodes and a program's steps do. Booleans are the numbers 0 and 1 in both, times are
// microseconds; what is missing is NaN or an empty text.
enum class Operation : uint8_t {
  // Operators.
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kModulo,
  kNegate,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kEqual,
  kNotEqual,
  kAnd,
  kOr,
  kNot,
  kIn,
  // Functions.
  kIf,
  kMin,
  kMax,
  kAbs,
  kLog,
  kExp,
  kSqrt,
  kPow,
  kFloor,
  kCeil,
  kRound,
  kIsMissing,
  kCoalesce,
  kStartsWith,
  kEndsWith,
  kContains,
  kLength,
  kLower,
  kUpper,
  kEmailDomain,
  kDistanceKm,
  kHour,
  kWeekday,
  kDayOfMonth,
  kMonth,
  kYearsBetween,
  kDate,
  kUnixTime,
  // Of texts and times, where the operators above were written.
  kTextEqual,
  kTextNotEqual,
  kTextIn,
  kTextIf,
  kTextIsMissing,
  kTextCoalesce,
  kTimeDifference,  // seconds
  kTimeAdd,         // a time and seconds
  kTimeSubtract,
};

struct OperationInfo {
  Operation operation;
  std::string_view name;       // a function's; empty for the others
  std::string_view arguments;  // a letter each: n number, b boolean, t text, m time, T any but all the same,
                               // a any, z the name of a time zone, which may be left out; the last may be
                               // repeated when a + follows
  ValueType result;            // kNothing: that of T
  std::string_view help;       // with its arguments
};
// In the order of the enumeration.
std::span<const OperationInfo> operations();

struct Expression {
  enum class Kind : uint8_t { kNumber, kText, kNothing, kName, kCall };
  Kind kind = Kind::kNothing;
  ValueType type = ValueType::kNothing;  // kNumber of type kBoolean: true or false
  Operation operation = Operation::kAdd;
  double number = 0;
  std::string text;  // of kText and kName; of a call, its time zone
  std::vector<Expression> arguments;
  size_t begin = 0, end = 0;  // where it stands, in bytes
};

// What the names of an expression may be.
struct Names {
  std::function<std::optional<ValueType>(std::string_view)> type_of;
  std::function<std::vector<std::string>()> all;  // for suggestions
};

inline constexpr size_t kExpressionBytesMax = 4096;
inline constexpr size_t kExpressionDepthMax = 64;

// Parses and checks. The error's reason has the column and, on lines of its own, the place with a caret; its
// field is empty.
Result<Expression> parse_expression(std::string_view text, const Names& names);
// The same, and what it gives must be a condition.
Result<Expression> parse_condition(std::string_view text, const Names& names);

// "column 5: WHAT" and the line of `text` with carets under begin..end.
std::string point_at(std::string_view text, size_t begin, size_t end, std::string_view what);

}  // namespace shrike::features
