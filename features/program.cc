#include "features/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>

#include "features/numeric.h"

namespace shrike::features {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();  // the one missing number, to the bit

// There are no infinities in the language, and one NaN.
double finite(double x) { return x - x == 0 ? x : kNaN; }

template <typename Compare>
double compared(double a, double b, Compare compare) {
  return std::isunordered(a, b) ? kNaN : compare(a, b) ? 1 : 0;
}

double modulo(double a, double b) {
  const double rest = std::fmod(a, b);  // exact
  return finite(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
}

// A time that an int64_t holds; false for what is missing or beyond.
bool moment(double us, int64_t& out) {
  if (!(std::fabs(us) < 9e18)) return false;
  out = static_cast<int64_t>(us);
  return true;
}

double characters(std::string_view text) {
  if (text.empty()) return kNaN;
  return static_cast<double>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

// What follows the last @; nothing without something before and after it.
std::string_view domain_of(std::string_view email) {
  const size_t at = email.rfind('@');
  return at == email.npos || at == 0 ? std::string_view() : email.substr(at + 1);
}

// The functions of numbers alone; false when it is none.
bool number_step(const Step& s, double* r) {
  using enum Operation;
  const double a = r[s.a], b = r[s.b];
  switch (s.operation) {
    case kAbs:
      r[s.to] = finite(std::fabs(a));
      break;
    case kLog:
      r[s.to] = a > 0 ? exact_log(a) : kNaN;
      break;
    case kExp:
      r[s.to] = finite(exact_exp(a));
      break;
    case kSqrt:
      r[s.to] = finite(std::sqrt(a));
      break;
    case kPow:
      r[s.to] = finite(exact_pow(a, b));
      break;
    case kFloor:
      r[s.to] = finite(std::floor(a));
      break;
    case kCeil:
      r[s.to] = finite(std::ceil(a));
      break;
    case kRound:
      r[s.to] = finite(std::floor(a + 0.5));
      break;
    case kDistanceKm:
      r[s.to] = finite(distance_km(a, b, r[s.c], r[s.d]));
      break;
    case kTimeDifference:
      r[s.to] = finite((a - b) / 1e6);
      break;
    case kTimeAdd:
      r[s.to] = finite(std::floor(a + b * 1e6 + 0.5));
      break;
    case kTimeSubtract:
      r[s.to] = finite(std::floor(a - b * 1e6 + 0.5));
      break;
    case kUnixTime:
      r[s.to] = finite(std::floor(a * 1e6 + 0.5));
      break;
    default:
      return false;
  }
  return true;
}

}  // namespace

ValueType type_of(FieldType type) {
  switch (type) {
    case FieldType::kText:
      return ValueType::kText;
    case FieldType::kBoolean:
      return ValueType::kBoolean;
    case FieldType::kTime:
      return ValueType::kTime;
    case FieldType::kInteger:
    case FieldType::kNumber:
      return ValueType::kNumber;
  }
  return ValueType::kNumber;
}

OperandKinds operands_of(Operation operation) {
  using enum Operation;
  switch (operation) {
    case kNegate:
    case kNot:
    case kAbs:
    case kLog:
    case kExp:
    case kSqrt:
    case kFloor:
    case kCeil:
    case kRound:
    case kIsMissing:
    case kUnixTime:
      return {"n", false};
    case kIn:
    case kHour:
    case kWeekday:
    case kDayOfMonth:
    case kMonth:
      return {"n-", false};
    case kIf:
      return {"nnn", false};
    case kDistanceKm:
      return {"nnnn", false};
    case kTextIf:
      return {"ntt", true};
    case kTextCoalesce:
      return {"tt", true};
    case kLower:
    case kUpper:
    case kEmailDomain:
      return {"t", true};
    case kLength:
    case kDate:
    case kTextIsMissing:
      return {"t", false};
    case kTextIn:
      return {"t-", false};
    case kTextEqual:
    case kTextNotEqual:
    case kStartsWith:
    case kEndsWith:
    case kContains:
      return {"tt", false};
    default:
      return {"nn", false};
  }
}

Register ProgramBuilder::reserve(ValueType type) {
  size_t& next = type == ValueType::kText ? program_.texts : program_.numbers;
  return {type, static_cast<uint16_t>(next++)};
}

bool ProgramBuilder::fits() const {
  return program_.numbers <= Program::kRegistersMax && program_.texts <= Program::kRegistersMax &&
         program_.steps.size() <= Program::kRegistersMax;
}

Register ProgramBuilder::field(size_t index) {
  if (const auto known = fields_.find(index); known != fields_.end()) return known->second;
  const Field& field = schema_.fields[index];
  const Register made = reserve(type_of(field.type));
  const double scale = field.type == FieldType::kNumber ? static_cast<double>(scale_of(field.decimals)) : 1;
  program_.loads.push_back({static_cast<uint16_t>(index), made, scale});
  fields_.emplace(index, made);
  return made;
}

Register ProgramBuilder::constant(double value) {
  const auto [at, fresh] = numbers_.try_emplace(std::bit_cast<uint64_t>(value));
  if (!fresh) return at->second;
  at->second = reserve(ValueType::kNumber);
  program_.number_constants.emplace_back(at->second.at, value);
  return at->second;
}

Register ProgramBuilder::constant(const std::string& text) {
  const auto [at, fresh] = texts_.try_emplace(text);
  if (!fresh) return at->second;
  at->second = reserve(ValueType::kText);
  if (!text.empty()) program_.text_constants.emplace_back(at->second.at, text);
  return at->second;
}

Register ProgramBuilder::step(ValueType type, Step step, bool makes_text) {
  if (const auto known = known_.find(step); known != known_.end()) return known->second;
  const Register to = reserve(type);
  known_.emplace(step, to);
  step.to = to.at;
  if (makes_text) step.scratch = static_cast<uint16_t>(program_.scratches++);
  program_.steps.push_back(step);
  return to;
}

Register ProgramBuilder::divide(Register a, Register b) {
  return step(ValueType::kNumber, {Operation::kDivide, 0, a.at, b.at});
}

Result<Register> ProgramBuilder::add(const Expression& expression, std::string_view text,
                                     const std::function<Register(std::string_view)>& find) {
  find_ = &find;
  text_ = text;
  problem_.clear();
  const Register made = emit(expression, expression.type);
  if (!fits()) problem_ = "there are too many expressions";
  if (!problem_.empty()) return tl::make_unexpected(Error{"", problem_});
  return made;
}

Register ProgramBuilder::emit(const Expression& expression, ValueType wanted) {
  switch (expression.kind) {
    case Expression::Kind::kNumber:
      return constant(expression.number);
    case Expression::Kind::kText:
      return constant(expression.text);
    case Expression::Kind::kNothing:
      return wanted == ValueType::kText ? constant(std::string()) : constant(kNaN);
    case Expression::Kind::kName:
      return (*find_)(expression.text);
    case Expression::Kind::kCall:
      return emit_call(expression);
  }
  return {};
}

Register ProgramBuilder::emit_call(const Expression& call) {
  using enum Operation;
  const OperationInfo& info = operations()[static_cast<size_t>(call.operation)];
  if (call.operation == kIn || call.operation == kTextIn) {
    const Register value = emit(call.arguments[0], call.arguments[0].type);
    return step(ValueType::kBoolean, {call.operation, 0, value.at, list(call)});
  }
  std::vector<uint16_t> at;
  for (size_t i = 0; i < call.arguments.size(); ++i) {
    const char want = info.arguments[std::min(i, info.arguments.size() - 1)];
    const bool text = want == 't' || (want == '+' && call.type == ValueType::kText);
    at.push_back(emit(call.arguments[i], text ? ValueType::kText : ValueType::kNumber).at);
  }
  const auto plain = [&](uint16_t a, uint16_t b) {
    Step made{call.operation, 0, a, b};
    if (at.size() > 2) made.c = at[2];
    if (at.size() > 3) made.d = at[3];
    return made;
  };
  switch (call.operation) {
    case kMin:
    case kMax:
    case kCoalesce:
    case kTextCoalesce: {
      Register left = step(call.type, {call.operation, 0, at[0], at[1]});
      for (size_t i = 2; i < at.size(); ++i) left = step(call.type, {call.operation, 0, left.at, at[i]});
      return left;
    }
    case kHour:
    case kWeekday:
    case kDayOfMonth:
    case kMonth:
      return step(call.type, {call.operation, 0, at[0], zone(call)});
    case kLower:
    case kUpper:
    case kEmailDomain:
      return step(call.type, plain(at[0], 0), true);
    default:
      return step(call.type, plain(at[0], at.size() > 1 ? at[1] : uint16_t{0}));
  }
}

uint16_t ProgramBuilder::list(const Expression& call) {
  if (call.operation == Operation::kIn) {
    std::vector<double> all;
    for (size_t i = 1; i < call.arguments.size(); ++i) all.push_back(call.arguments[i].number);
    std::sort(all.begin(), all.end());
    const auto known = std::find(program_.number_lists.begin(), program_.number_lists.end(), all);
    if (known != program_.number_lists.end())
      return static_cast<uint16_t>(known - program_.number_lists.begin());
    program_.number_lists.push_back(std::move(all));
    return static_cast<uint16_t>(program_.number_lists.size() - 1);
  }
  std::vector<std::string> all;
  for (size_t i = 1; i < call.arguments.size(); ++i) all.push_back(call.arguments[i].text);
  std::sort(all.begin(), all.end());
  const auto known = std::find(program_.text_lists.begin(), program_.text_lists.end(), all);
  if (known != program_.text_lists.end()) return static_cast<uint16_t>(known - program_.text_lists.begin());
  program_.text_lists.push_back(std::move(all));
  return static_cast<uint16_t>(program_.text_lists.size() - 1);
}

uint16_t ProgramBuilder::zone(const Expression& call) {
  const std::string name = call.text.empty() ? "UTC" : call.text;
  for (size_t i = 0; i < program_.zones.size(); ++i) {
    if (program_.zones[i].name == name) return static_cast<uint16_t>(i);
  }
  Result<TimeZone> found = name == "UTC" ? Result<TimeZone>(TimeZone{name, {{0, 0}}}) : zones_(name);
  if (!found) {
    if (problem_.empty()) problem_ = point_at(text_, call.begin, call.end, found.error().reason);
    return 0;
  }
  assert(!found->offsets.empty());
  program_.zones.push_back(std::move(*found));
  return static_cast<uint16_t>(program_.zones.size() - 1);
}

Machine::Machine(const Program& program)
    : program_(program),
      // run() reads a step's first two operands as numbers before it knows what they are.
      numbers_(std::max({program.numbers, program.texts, program.number_lists.size(),
                         program.text_lists.size(), program.zones.size(), size_t{1}}),
               kNaN),
      texts_(program.texts),
      scratch_(program.scratches * Schema::kTextBytesMax),
      hints_(program.zones.size()) {
  for (const auto& [at, value] : program.number_constants) numbers_[at] = value;
  for (const auto& [at, text] : program.text_constants) texts_[at] = text;
}

void Machine::load(const Transaction& transaction, size_t time_field, int64_t time_us) {
  for (const Program::Load& load : program_.loads) {
    const Value& value = transaction.values[load.field];
    if (load.to.is_text()) {
      texts_[load.to.at] = value.present ? std::string_view(value.text) : std::string_view();
    } else if (load.field == time_field) {
      numbers_[load.to.at] = static_cast<double>(time_us);
    } else {
      numbers_[load.to.at] = value.present ? static_cast<double>(value.fixed) / load.scale : kNaN;
    }
  }
}

void Machine::run(Range range) {
  using enum Operation;
  double* const r = numbers_.data();
  const Step* const steps = program_.steps.data();
  for (size_t i = range.begin; i < range.end; ++i) {
    const Step& s = steps[i];
    const double a = r[s.a], b = r[s.b];
    switch (s.operation) {
      case kAdd:
        r[s.to] = finite(a + b);
        break;
      case kSubtract:
        r[s.to] = finite(a - b);
        break;
      case kMultiply:
        r[s.to] = finite(a * b);
        break;
      case kDivide:
        r[s.to] = finite(a / b);
        break;
      case kModulo:
        r[s.to] = modulo(a, b);
        break;
      case kNegate:
        r[s.to] = finite(0 - a);
        break;
      case kLess:
        r[s.to] = compared(a, b, std::less<>());
        break;
      case kLessEqual:
        r[s.to] = compared(a, b, std::less_equal<>());
        break;
      case kGreater:
        r[s.to] = compared(a, b, std::greater<>());
        break;
      case kGreaterEqual:
        r[s.to] = compared(a, b, std::greater_equal<>());
        break;
      case kEqual:
        r[s.to] = compared(a, b, std::equal_to<>());
        break;
      case kNotEqual:
        r[s.to] = compared(a, b, std::not_equal_to<>());
        break;
      case kAnd:
        r[s.to] = a == 0 || b == 0 ? 0 : finite(a * b);
        break;
      case kOr:
        r[s.to] = a == 1 || b == 1 ? 1 : finite(a + b);
        break;
      case kNot:
        r[s.to] = finite(1 - a);
        break;
      case kIn: {
        const std::vector<double>& list = program_.number_lists[s.b];
        r[s.to] = std::isnan(a) ? kNaN : std::binary_search(list.begin(), list.end(), a);
        break;
      }
      case kIf:
        r[s.to] = a == 1 ? b : a == 0 ? r[s.c] : kNaN;
        break;
      case kMin:
        r[s.to] = std::isunordered(a, b) ? kNaN : b < a ? b : a;
        break;
      case kMax:
        r[s.to] = std::isunordered(a, b) ? kNaN : b > a ? b : a;
        break;
      case kIsMissing:
        r[s.to] = std::isnan(a);
        break;
      case kCoalesce:
        r[s.to] = std::isnan(a) ? b : a;
        break;
      case kHour:
      case kWeekday:
      case kDayOfMonth:
      case kMonth:
      case kYearsBetween:
        time_step(s);
        break;
      default:
        if (!number_step(s, r)) text_step(s);
        break;
    }
  }
}

void Machine::time_step(const Step& s) {
  using enum Operation;
  double& to = numbers_[s.to];
  int64_t t_us = 0;
  to = kNaN;
  if (!moment(numbers_[s.a], t_us)) return;
  if (s.operation == kYearsBetween) {
    int64_t until_us = 0;
    if (moment(numbers_[s.b], until_us)) to = static_cast<double>(years_between(t_us, until_us));
    return;
  }
  const TimeZone& zone = program_.zones[s.b];
  const int64_t t_s = floor_div(t_us, 1'000'000);
  hints_[s.b] = offset_at(zone, t_s, hints_[s.b]);
  const int64_t local_s = t_s + zone.offsets[hints_[s.b]].seconds;
  const int64_t days = floor_div(local_s, 86'400);
  switch (s.operation) {
    case kHour:
      to = static_cast<double>((local_s - days * 86'400) / 3'600);
      break;
    case kWeekday:
      to = weekday_of(days);
      break;
    case kDayOfMonth:
      to = civil_of(days).day;
      break;
    default:
      to = civil_of(days).month;
      break;
  }
}

// ASCII letters alone: what other letters' other case is depends on the language.
std::string_view Machine::changed(const Step& s, std::string_view from, bool upper) {
  char* const to = scratch_.data() + s.scratch * Schema::kTextBytesMax;
  const size_t size = std::min(from.size(), Schema::kTextBytesMax);
  for (size_t i = 0; i < size; ++i) {
    const char c = from[i];
    const bool turns = upper ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z';
    to[i] = static_cast<char>(turns ? c ^ 0x20 : c);
  }
  return {to, size};
}

void Machine::text_step(const Step& s) {
  using enum Operation;
  double* const r = numbers_.data();
  std::string_view* const t = texts_.data();
  const auto both = [&](auto&& holds) {
    const std::string_view a = t[s.a], b = t[s.b];
    r[s.to] = a.empty() || b.empty() ? kNaN : holds(a, b) ? 1 : 0;
  };
  switch (s.operation) {
    case kTextEqual:
      return both([](auto a, auto b) { return a == b; });
    case kTextNotEqual:
      return both([](auto a, auto b) { return a != b; });
    case kStartsWith:
      return both([](auto a, auto b) { return a.starts_with(b); });
    case kEndsWith:
      return both([](auto a, auto b) { return a.ends_with(b); });
    case kContains:
      return both([](auto a, auto b) { return a.find(b) != a.npos; });
    case kTextIn: {
      const std::vector<std::string>& list = program_.text_lists[s.b];
      const std::string_view a = t[s.a];
      r[s.to] = a.empty() ? kNaN : std::binary_search(list.begin(), list.end(), a, std::less<>());
      break;
    }
    case kTextIf: {
      const double condition = r[s.a];
      t[s.to] = condition == 1 ? t[s.b] : condition == 0 ? t[s.c] : std::string_view();
      break;
    }
    case kTextIsMissing:
      r[s.to] = t[s.a].empty();
      break;
    case kTextCoalesce:
      t[s.to] = t[s.a].empty() ? t[s.b] : t[s.a];
      break;
    case kLength:
      r[s.to] = characters(t[s.a]);
      break;
    case kLower:
      t[s.to] = changed(s, t[s.a], false);
      break;
    case kUpper:
      t[s.to] = changed(s, t[s.a], true);
      break;
    case kEmailDomain:
      t[s.to] = changed(s, domain_of(t[s.a]), false);
      break;
    case kDate: {
      const auto parsed = parse_date(t[s.a]);
      r[s.to] = parsed ? static_cast<double>(*parsed) : kNaN;
      break;
    }
    default:
      assert(false);
  }
}

}  // namespace shrike::features
