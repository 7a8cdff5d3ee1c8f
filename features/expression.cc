#include "features/expression.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "features/nearest.h"
#include "features/schema.h"

namespace shrike::features {
namespace {

constexpr double kWholeMax = 9007199254740992;  // below it doubles tell whole numbers apart

enum class TokenKind : uint8_t { kEnd, kNumber, kText, kName, kSign };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string_view spelling;  // as it stands; of a name in backticks without them
  double number = 0;
  std::string text;
  bool quoted = false;  // a name in backticks: never a word of the language
  size_t begin = 0, end = 0;
};

// What stops the reading: caught by parse_expression() alone.
struct Fault {
  size_t begin, end;
  std::string what;
};

[[noreturn]] void fail(size_t begin, size_t end, std::string what) {
  throw Fault{begin, end, std::move(what)};
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool begins_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool in_name(char c) { return begins_name(c) || is_digit(c) || c == '.'; }

// How other languages write what here is a word or another sign.
std::string_view ours(std::string_view theirs) {
  struct Pair {
    std::string_view theirs, ours;
  };
  static constexpr Pair kPairs[] = {
      {"=", "=="},         {"&&", "and"},       {"&", "and"},         {"||", "or"},
      {"|", "or"},         {"!", "not"},        {"<>", "!="},         {"===", "=="},
      {"AND", "and"},      {"OR", "or"},        {"NOT", "not"},       {"IN", "in"},
      {"True", "true"},    {"TRUE", "true"},    {"False", "false"},   {"FALSE", "false"},
      {"null", "missing"}, {"NULL", "missing"}, {"None", "missing"},  {"^", "pow(x, y)"},
      {"**", "pow(x, y)"}, {"is", "=="},        {"?", "if(c, a, b)"}, {"like", "contains(text, part)"}};
  for (const Pair& pair : kPairs)
    if (pair.theirs == theirs) return pair.ours;
  return {};
}

class Tokens {
 public:
  explicit Tokens(std::string_view text) : text_(text) { next(); }

  const Token& now() const { return now_; }
  Token take() {
    Token taken = std::move(now_);
    next();
    return taken;
  }
  bool is(std::string_view spelling) const {
    return (now_.kind == TokenKind::kSign || (now_.kind == TokenKind::kName && !now_.quoted)) &&
           now_.spelling == spelling;
  }
  bool skip(std::string_view spelling) {
    if (!is(spelling)) return false;
    next();
    return true;
  }
  void want(std::string_view spelling, std::string_view after) {
    if (!skip(spelling))
      fail(now_.begin, now_.end, fmt::format("found {}, expected \"{}\" {}", found(), spelling, after));
  }
  std::string found() const {
    return now_.kind == TokenKind::kEnd
               ? "the end"
               : fmt::format("\"{}\"", text_.substr(now_.begin, now_.end - now_.begin));
  }

 private:
  void next() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
    now_ = Token{.begin = at_, .end = at_};
    if (at_ == text_.size()) return;
    const char c = text_[at_];
    if (is_digit(c) || (c == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1]))) {
      number();
    } else if (c == '\'' || c == '"') {
      quoted_text(c);
    } else if (c == '`') {
      quoted_name();
    } else if (begins_name(c)) {
      now_.kind = TokenKind::kName;
      while (at_ < text_.size() && in_name(text_[at_])) ++at_;
      finish();
    } else {
      sign();
    }
  }
  void finish() {
    now_.end = at_;
    now_.spelling = text_.substr(now_.begin, at_ - now_.begin);
  }

  void number() {
    now_.kind = TokenKind::kNumber;
    const char* end = text_.data() + text_.size();
    const auto [to, wrong] = std::from_chars(text_.data() + at_, end, now_.number);
    at_ = static_cast<size_t>(to - text_.data());
    while (at_ < text_.size() && in_name(text_[at_])) ++at_;  // "7d" is no number
    finish();
    if (wrong != std::errc() || text_.data() + at_ != to)
      fail(now_.begin, at_, fmt::format("\"{}\" is not a number", now_.spelling));
    if (now_.number == std::floor(now_.number) && now_.number >= kWholeMax)
      fail(now_.begin, at_,
           "whole numbers are exact below 9007199254740992 only; declare larger identities as text");
  }

  // A quote within is written twice.
  void quoted_text(char quote) {
    now_.kind = TokenKind::kText;
    for (++at_;; ++at_) {
      if (at_ == text_.size()) fail(now_.begin, at_, fmt::format("the text has no closing {}", quote));
      if (text_[at_] == quote && (at_ + 1 == text_.size() || text_[at_ + 1] != quote)) break;
      if (text_[at_] == quote) ++at_;
      now_.text += text_[at_];
    }
    ++at_;
    finish();
    if (now_.text.empty())
      fail(now_.begin, at_, "no text is empty: what is not there is missing; ask is_missing(x)");
    if (now_.text.size() > Schema::kTextBytesMax)
      fail(now_.begin, at_, fmt::format("a text has at most {} bytes", Schema::kTextBytesMax));
  }

  void quoted_name() {
    const size_t close = text_.find('`', at_ + 1);
    if (close == text_.npos) fail(at_, text_.size(), "the name has no closing `");
    now_.kind = TokenKind::kName;
    now_.quoted = true;
    at_ = close + 1;
    finish();
    now_.spelling = text_.substr(now_.begin + 1, close - now_.begin - 1);
  }

  void sign() {
    now_.kind = TokenKind::kSign;
    // Longer ones first; also those of other languages, to say what they are here.
    for (const std::string_view sign : {"===", "<=", ">=", "==", "!=", "<>", "&&", "||", "**"}) {
      if (text_.substr(at_).starts_with(sign)) {
        at_ += sign.size();
        return finish();
      }
    }
    ++at_;
    finish();
  }

  std::string_view text_;
  size_t at_ = 0;
  Token now_;
};

// Recursive descent, lowest precedence first; each function checks the types of what it has read.
class Parser {
 public:
  Parser(std::string_view text, const Names& names) : text_(text), names_(names), tokens_(text) {}

  Expression all() {
    Expression whole = either();
    if (tokens_.now().kind != TokenKind::kEnd) unexpected();
    return whole;
  }

 private:
  // A bound on the recursion, whatever the text.
  struct Deeper {
    explicit Deeper(Parser& of) : parser(of) {
      if (++parser.depth_ > kExpressionDepthMax)
        fail(parser.tokens_.now().begin, parser.tokens_.now().end,
             fmt::format("nested more than {} deep; declare a part of it as a feature", kExpressionDepthMax));
    }
    ~Deeper() { --parser.depth_; }
    Parser& parser;
  };

  [[noreturn]] void unexpected() {
    const Token& now = tokens_.now();
    if (const std::string_view word = now.quoted ? std::string_view() : ours(now.spelling); !word.empty())
      fail(now.begin, now.end, fmt::format("found \"{}\"; here it is written {}", now.spelling, word));
    fail(now.begin, now.end, fmt::format("found {}, expected an operator or the end", tokens_.found()));
  }

  static Expression call(Operation operation, ValueType type, size_t begin, size_t end,
                         std::vector<Expression> arguments) {
    return {.kind = Expression::Kind::kCall,
            .type = type,
            .operation = operation,
            .arguments = std::move(arguments),
            .begin = begin,
            .end = end};
  }
  static Expression binary(Operation operation, ValueType type, Expression left, Expression right) {
    const size_t begin = left.begin, end = right.end;
    std::vector<Expression> both;
    both.push_back(std::move(left));
    both.push_back(std::move(right));
    return call(operation, type, begin, end, std::move(both));
  }

  // Booleans count as 0 and 1.
  static bool numeric(ValueType type) {
    return type == ValueType::kNumber || type == ValueType::kBoolean || type == ValueType::kNothing;
  }
  static void want_number(const Expression& one) {
    if (!numeric(one.type))
      fail(one.begin, one.end, fmt::format("this is {}; a number is needed", name(one.type)));
  }
  static void want_condition(const Expression& one) {
    if (one.type == ValueType::kBoolean || one.type == ValueType::kNothing) return;
    fail(one.begin, one.end,
         fmt::format("this is {}; a condition is needed{}", name(one.type),
                     one.type == ValueType::kNumber ? ", such as a comparison: x != 0" : ""));
  }
  // The type of which both are; that of a missing one is the other's.
  static ValueType common(const Expression& left, const Expression& right) {
    if (left.type == right.type || right.type == ValueType::kNothing) return left.type;
    if (left.type == ValueType::kNothing) return right.type;
    if (numeric(left.type) && numeric(right.type)) return ValueType::kNumber;
    fail(left.begin, right.end,
         fmt::format("one is {}, the other {}; both must be the same", name(left.type), name(right.type)));
  }

  Expression either() {
    const Deeper deeper(*this);
    Expression left = both();
    while (tokens_.skip("or")) {
      Expression right = both();
      want_condition(left);
      want_condition(right);
      left = binary(Operation::kOr, ValueType::kBoolean, std::move(left), std::move(right));
    }
    return left;
  }

  Expression both() {
    Expression left = negation();
    while (tokens_.skip("and")) {
      Expression right = negation();
      want_condition(left);
      want_condition(right);
      left = binary(Operation::kAnd, ValueType::kBoolean, std::move(left), std::move(right));
    }
    return left;
  }

  Expression negation() {
    const size_t begin = tokens_.now().begin;
    if (!tokens_.skip("not")) return comparison();
    const Deeper deeper(*this);
    Expression one = negation();
    want_condition(one);
    const size_t end = one.end;
    std::vector<Expression> arguments;
    arguments.push_back(std::move(one));
    return call(Operation::kNot, ValueType::kBoolean, begin, end, std::move(arguments));
  }

  Expression comparison() {
    using enum Operation;
    struct Sign {
      std::string_view text;
      Operation operation;
    };
    static constexpr Sign kSigns[] = {{"<=", kLessEqual}, {">=", kGreaterEqual}, {"==", kEqual},
                                      {"!=", kNotEqual},  {"<", kLess},          {">", kGreater}};
    Expression left = sum();
    for (const Sign& sign : kSigns) {
      if (!tokens_.skip(sign.text)) continue;
      Expression compared = compare(sign.operation, std::move(left), sum());
      for (const Sign& another : kSigns) {
        if (tokens_.is(another.text))
          fail(tokens_.now().begin, tokens_.now().end, "comparisons are joined by \"and\": a < b and b < c");
      }
      return compared;
    }
    if (tokens_.skip("in")) return in_list(std::move(left), false);
    if (tokens_.skip("not")) {
      tokens_.want("in", "after \"not\" (or \"and\" before it)");
      return in_list(std::move(left), true);
    }
    return left;
  }

  static Expression compare(Operation operation, Expression left, Expression right) {
    using enum Operation;
    for (const Expression* one : {&left, &right}) {
      if (one->type == ValueType::kNothing)
        fail(one->begin, one->end, "nothing equals what is missing; ask is_missing(x)");
    }
    if (common(left, right) == ValueType::kText) {
      if (operation != kEqual && operation != kNotEqual)
        fail(left.begin, right.end, "texts are compared by == and != alone");
      operation = operation == kEqual ? kTextEqual : kTextNotEqual;
    }
    return binary(operation, ValueType::kBoolean, std::move(left), std::move(right));
  }

  // After "in": constants of the value's type.
  Expression in_list(Expression value, bool negated) {
    const size_t begin = value.begin;
    const bool text = value.type == ValueType::kText;
    if (!text && !numeric(value.type))
      fail(value.begin, value.end,
           fmt::format("this is {}; \"in\" is for texts and numbers", name(value.type)));
    tokens_.want("[", "after \"in\", and a list of constants");
    std::vector<Expression> arguments;
    arguments.push_back(std::move(value));
    do {
      Expression one = unary();
      if (one.kind != Expression::Kind::kText && one.kind != Expression::Kind::kNumber)
        fail(one.begin, one.end, "a list has constants alone: numbers, or texts in quotes");
      if ((one.kind == Expression::Kind::kText) != text)
        fail(one.begin, one.end,
             fmt::format("this is {}, what is looked for is {}", name(one.type),
                         text ? "a text" : "a number"));
      arguments.push_back(std::move(one));
    } while (tokens_.skip(","));
    const size_t end = tokens_.now().end;
    tokens_.want("]", "at the end of the list");
    Expression found = call(text ? Operation::kTextIn : Operation::kIn, ValueType::kBoolean, begin, end,
                            std::move(arguments));
    if (!negated) return found;
    std::vector<Expression> inner;
    inner.push_back(std::move(found));
    return call(Operation::kNot, ValueType::kBoolean, begin, end, std::move(inner));
  }

  Expression sum() {
    Expression left = product();
    for (;;) {
      if (tokens_.skip("+")) {
        left = add(std::move(left), product());
      } else if (tokens_.skip("-")) {
        left = subtract(std::move(left), product());
      } else {
        return left;
      }
    }
  }

  static Expression add(Expression left, Expression right) {
    if (right.type == ValueType::kTime && numeric(left.type)) std::swap(left, right);
    if (left.type == ValueType::kTime && numeric(right.type)) {
      Expression moved = binary(Operation::kTimeAdd, ValueType::kTime, std::move(left), std::move(right));
      if (moved.begin > moved.end) std::swap(moved.begin, moved.end);
      return moved;
    }
    want_number(left);
    want_number(right);
    return binary(Operation::kAdd, ValueType::kNumber, std::move(left), std::move(right));
  }

  static Expression subtract(Expression left, Expression right) {
    const bool time = left.type == ValueType::kTime;
    if (time && right.type == ValueType::kTime)
      return binary(Operation::kTimeDifference, ValueType::kNumber, std::move(left), std::move(right));
    if (!time) want_number(left);
    want_number(right);
    return binary(time ? Operation::kTimeSubtract : Operation::kSubtract,
                  time ? ValueType::kTime : ValueType::kNumber, std::move(left), std::move(right));
  }

  Expression product() {
    Expression left = unary();
    for (;;) {
      Operation operation;
      if (tokens_.skip("*")) {
        operation = Operation::kMultiply;
      } else if (tokens_.skip("/")) {
        operation = Operation::kDivide;
      } else if (tokens_.skip("%")) {
        operation = Operation::kModulo;
      } else {
        return left;
      }
      Expression right = unary();
      want_number(left);
      want_number(right);
      left = binary(operation, ValueType::kNumber, std::move(left), std::move(right));
    }
  }

  Expression unary() {
    const size_t begin = tokens_.now().begin;
    if (!tokens_.skip("-")) return primary();
    const Deeper deeper(*this);
    Expression one = unary();
    want_number(one);
    if (one.kind == Expression::Kind::kNumber) {
      one.number = 0 - one.number;
      one.type = ValueType::kNumber;
      one.begin = begin;
      return one;
    }
    const size_t end = one.end;
    std::vector<Expression> arguments;
    arguments.push_back(std::move(one));
    return call(Operation::kNegate, ValueType::kNumber, begin, end, std::move(arguments));
  }

  Expression primary() {
    using Kind = Expression::Kind;
    const Token& now = tokens_.now();
    Expression leaf{.begin = now.begin, .end = now.end};
    if (now.kind == TokenKind::kNumber) {
      leaf.kind = Kind::kNumber;
      leaf.type = ValueType::kNumber;
      leaf.number = tokens_.take().number;
      return leaf;
    }
    if (now.kind == TokenKind::kText) {
      leaf.kind = Kind::kText;
      leaf.type = ValueType::kText;
      leaf.text = tokens_.take().text;
      return leaf;
    }
    if (tokens_.is("true") || tokens_.is("false")) {
      leaf.kind = Kind::kNumber;
      leaf.type = ValueType::kBoolean;
      leaf.number = tokens_.take().spelling == "true";
      return leaf;
    }
    if (tokens_.skip("missing")) return leaf;
    if (tokens_.skip("(")) {
      Expression inner = either();
      tokens_.want(")", "to close the one opened before");
      return inner;
    }
    const bool word = tokens_.is("and") || tokens_.is("or") || tokens_.is("in");
    if (now.kind != TokenKind::kName || word) {
      if (const std::string_view here = ours(now.spelling); !here.empty()) unexpected();
      fail(now.begin, now.end,
           fmt::format("found {}, expected a value: a name, a number, a text in quotes", tokens_.found()));
    }
    Token token = tokens_.take();
    if (!token.quoted && tokens_.skip("(")) return function(token);
    return named(token);
  }

  Expression named(const Token& token) {
    const std::optional<ValueType> type = names_.type_of(token.spelling);
    if (!type) {
      if (const std::string_view here = token.quoted ? std::string_view() : ours(token.spelling);
          !here.empty())
        fail(token.begin, token.end,
             fmt::format("found \"{}\"; here it is written {}", token.spelling, here));
      const std::string near = nearest(token.spelling, names_.all());
      const bool looks_like_text = near.empty();
      fail(token.begin, token.end,
           fmt::format("\"{}\" is neither a field nor a feature declared before{}", token.spelling,
                       looks_like_text ? "; texts stand in quotes: 'so'"
                                       : fmt::format("; did you mean \"{}\"?", near)));
    }
    return {.kind = Expression::Kind::kName,
            .type = *type,
            .text = std::string(token.spelling),
            .begin = token.begin,
            .end = token.end};
  }

  Expression function(const Token& token) {
    const auto known = operations();
    const auto info = std::find_if(known.begin(), known.end(), [&](const OperationInfo& one) {
      return !one.name.empty() && one.name == token.spelling;
    });
    if (info == known.end()) {
      std::vector<std::string> all;
      for (const OperationInfo& one : known)
        if (!one.name.empty()) all.emplace_back(one.name);
      const std::string near = nearest(token.spelling, all);
      fail(token.begin, token.end,
           fmt::format("there is no function \"{}\"{}", token.spelling,
                       near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
    }
    std::vector<Expression> arguments;
    if (!tokens_.is(")")) {
      do arguments.push_back(either());
      while (tokens_.skip(","));
    }
    const size_t end = tokens_.now().end;
    tokens_.want(")", fmt::format("to close {}(", info->name));
    return checked(*info, call(info->operation, info->result, token.begin, end, std::move(arguments)));
  }

  // The arguments' number and types, and what the call gives.
  static Expression checked(const OperationInfo& info, Expression one) {
    std::string_view wanted = info.arguments;
    const bool repeats = wanted.ends_with('+');
    if (repeats) wanted.remove_suffix(1);
    const bool zone = wanted.ends_with('z');
    const size_t least = wanted.size() - (zone ? 1 : 0);
    const size_t given = one.arguments.size();
    if (given < least || (given > wanted.size() && !repeats))
      fail(one.begin, one.end, fmt::format("{} arguments; it is {}", given, info.help));
    const Expression* first = nullptr;
    ValueType shared = ValueType::kNothing;
    for (size_t i = 0; i < given; ++i) {
      const Expression& argument = one.arguments[i];
      const char want = wanted[std::min(i, wanted.size() - 1)];
      check_argument(info, argument, want);
      if (want != 'T') continue;
      if (first == nullptr || first->type == ValueType::kNothing) first = &argument;
      shared = common(*first, argument);
      if (shared == ValueType::kNumber && first->type == ValueType::kBoolean) first = &argument;
    }
    if (info.result == ValueType::kNothing) one.type = shared;
    if (zone && given == wanted.size()) {
      one.text = one.arguments.back().text;
      one.arguments.pop_back();
    }
    const bool of_texts = one.type == ValueType::kText;
    if (one.operation == Operation::kIf && of_texts) one.operation = Operation::kTextIf;
    if (one.operation == Operation::kCoalesce && of_texts) one.operation = Operation::kTextCoalesce;
    if (one.operation == Operation::kIsMissing && one.arguments[0].type == ValueType::kText)
      one.operation = Operation::kTextIsMissing;
    return one;
  }

  static void check_argument(const OperationInfo& info, const Expression& argument, char want) {
    const auto refuse = [&](std::string_view needed) {
      fail(argument.begin, argument.end,
           fmt::format("this is {}, {} is needed: {}", name(argument.type), needed, info.help));
    };
    const bool missing = argument.type == ValueType::kNothing;
    if (want == 'n' && !numeric(argument.type)) refuse("a number");
    if (want == 't' && !missing && argument.type != ValueType::kText) refuse("a text");
    if (want == 'm' && !missing && argument.type != ValueType::kTime) refuse("a time");
    if (want == 'b') want_condition(argument);
    if (want == 'z' && argument.kind != Expression::Kind::kText)
      refuse("the name of a time zone in quotes, such as 'Europe/Paris',");
  }

  std::string_view text_;
  const Names& names_;
  Tokens tokens_;
  size_t depth_ = 0;
};

constexpr ValueType kN = ValueType::kNumber, kT = ValueType::kText, kB = ValueType::kBoolean,
                    kM = ValueType::kTime, kAny = ValueType::kNothing;

using enum Operation;
constexpr OperationInfo kOperations[] = {
    {kAdd, "", "nn", kN, "a + b"},
    {kSubtract, "", "nn", kN, "a - b"},
    {kMultiply, "", "nn", kN, "a * b"},
    {kDivide, "", "nn", kN, "a / b"},
    {kModulo, "", "nn", kN, "a % b"},
    {kNegate, "", "n", kN, "-a"},
    {kLess, "", "nn", kB, "a < b"},
    {kLessEqual, "", "nn", kB, "a <= b"},
    {kGreater, "", "nn", kB, "a > b"},
    {kGreaterEqual, "", "nn", kB, "a >= b"},
    {kEqual, "", "nn", kB, "a == b"},
    {kNotEqual, "", "nn", kB, "a != b"},
    {kAnd, "", "bb", kB, "a and b"},
    {kOr, "", "bb", kB, "a or b"},
    {kNot, "", "b", kB, "not a"},
    {kIn, "", "nn+", kB, "a in [1, 2]"},
    {kIf, "if", "bTT", kAny, "if(condition, then, otherwise)"},
    {kMin, "min", "nn+", kN, "min(a, b, ...)"},
    {kMax, "max", "nn+", kN, "max(a, b, ...)"},
    {kAbs, "abs", "n", kN, "abs(x)"},
    {kLog, "log", "n", kN, "log(x), the natural logarithm"},
    {kExp, "exp", "n", kN, "exp(x)"},
    {kSqrt, "sqrt", "n", kN, "sqrt(x)"},
    {kPow, "pow", "nn", kN, "pow(x, y)"},
    {kFloor, "floor", "n", kN, "floor(x)"},
    {kCeil, "ceil", "n", kN, "ceil(x)"},
    {kRound, "round", "n", kN, "round(x), halves upwards"},
    {kIsMissing, "is_missing", "a", kB, "is_missing(x)"},
    {kCoalesce, "coalesce", "TT+", kAny, "coalesce(a, b, ...), the first that is there"},
    {kStartsWith, "starts_with", "tt", kB, "starts_with(text, part)"},
    {kEndsWith, "ends_with", "tt", kB, "ends_with(text, part)"},
    {kContains, "contains", "tt", kB, "contains(text, part)"},
    {kLength, "length", "t", kN, "length(text), in characters"},
    {kLower, "lower", "t", kT, "lower(text)"},
    {kUpper, "upper", "t", kT, "upper(text)"},
    {kEmailDomain, "email_domain", "t", kT, "email_domain(text), in small letters"},
    {kDistanceKm, "distance_km", "nnnn", kN, "distance_km(latitude, longitude, latitude, longitude)"},
    {kHour, "hour", "mz", kN, "hour(time, 'Area/City'), 0 to 23"},
    {kWeekday, "weekday", "mz", kN, "weekday(time, 'Area/City'), 0 Monday to 6 Sunday"},
    {kDayOfMonth, "day_of_month", "mz", kN, "day_of_month(time, 'Area/City'), from 1"},
    {kMonth, "month", "mz", kN, "month(time, 'Area/City'), 1 to 12"},
    {kYearsBetween, "years_between", "mm", kN, "years_between(from, to), whole years"},
    {kDate, "date", "t", kM, "date(text), of 'YYYY-MM-DD' or with a time of day"},
    {kUnixTime, "unix_time", "n", kM, "unix_time(seconds)"},
    {kTextEqual, "", "tt", kB, "a == b"},
    {kTextNotEqual, "", "tt", kB, "a != b"},
    {kTextIn, "", "tt+", kB, "a in ['x', 'y']"},
    {kTextIf, "", "btt", kT, "if(condition, then, otherwise)"},
    {kTextIsMissing, "", "t", kB, "is_missing(x)"},
    {kTextCoalesce, "", "tt+", kT, "coalesce(a, b, ...)"},
    {kTimeDifference, "", "mm", kN, "a - b"},
    {kTimeAdd, "", "mn", kM, "a + b"},
    {kTimeSubtract, "", "mn", kM, "a - b"},
};

constexpr bool in_order() {
  for (size_t i = 0; i < std::size(kOperations); ++i) {
    if (static_cast<size_t>(kOperations[i].operation) != i) return false;
  }
  return std::size(kOperations) == static_cast<size_t>(kTimeSubtract) + 1;
}
static_assert(in_order());

Result<Expression> parse(std::string_view text, const Names& names, bool condition) {
  if (text.size() > kExpressionBytesMax)
    return tl::make_unexpected(
        Error{"", fmt::format("it has {} bytes; at most {} are allowed", text.size(), kExpressionBytesMax)});
  if (!valid_utf8(text)) return tl::make_unexpected(Error{"", "it is not valid UTF-8"});
  try {
    Expression whole = Parser(text, names).all();
    if (condition && whole.type != ValueType::kBoolean)
      fail(whole.begin, whole.end,
           fmt::format("this is {}; a condition is needed, such as a comparison", name(whole.type)));
    if (whole.type == ValueType::kNothing) fail(whole.begin, whole.end, "this is always missing");
    return whole;
  } catch (const Fault& fault) {
    return tl::make_unexpected(Error{"", point_at(text, fault.begin, fault.end, fault.what)});
  }
}

}  // namespace

std::string_view name(ValueType type) {
  switch (type) {
    case ValueType::kNothing:
      return "missing";
    case ValueType::kNumber:
      return "a number";
    case ValueType::kText:
      return "a text";
    case ValueType::kBoolean:
      return "a condition";
    case ValueType::kTime:
      return "a time";
  }
  return "";
}

std::span<const OperationInfo> operations() { return kOperations; }

std::string point_at(std::string_view text, size_t begin, size_t end, std::string_view what) {
  begin = std::min(begin, text.size());
  end = std::clamp(end, begin, text.size());
  // Of several lines the one where it begins.
  const size_t before = begin == 0 ? text.npos : text.rfind('\n', begin - 1);
  const size_t from = before == text.npos ? 0 : before + 1;
  const size_t to = std::min(text.find('\n', begin), text.size());
  const auto characters = [&](size_t first, size_t last) {
    return static_cast<size_t>(std::count_if(
        text.begin() + static_cast<std::ptrdiff_t>(first), text.begin() + static_cast<std::ptrdiff_t>(last),
        [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
  };
  const size_t column = characters(from, begin), width = characters(begin, std::min(end, to));
  const size_t line =
      static_cast<size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(from), '\n'));
  const std::string where = line == 0 ? fmt::format("column {}", column + 1)
                                      : fmt::format("line {}, column {}", line + 1, column + 1);
  return fmt::format("{}: {}\n    {}\n    {:{}}^{:~<{}}", where, what, text.substr(from, to - from), "",
                     column, "", width > 0 ? width - 1 : 0);
}

Result<Expression> parse_expression(std::string_view text, const Names& names) {
  return parse(text, names, false);
}

Result<Expression> parse_condition(std::string_view text, const Names& names) {
  return parse(text, names, true);
}

}  // namespace shrike::features
