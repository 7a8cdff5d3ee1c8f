// Expressions compiled: one flat list of steps over numbered registers, each written by one step alone, so
// that equal parts of different expressions are computed once. No jumps (both sides of an `if` are values),
// no allocation, and only operations whose bits are the same on every machine. A Program is immutable once
// built and shared by every thread; a Machine is one thread's registers.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "features/calendar.h"
#include "features/expression.h"
#include "features/schema.h"

namespace shrike::features {

// Where a value is: among the numbers (conditions are 0 and 1, times microseconds), or among the texts.
struct Register {
  ValueType type = ValueType::kNumber;
  uint16_t at = 0;
  bool is_text() const { return type == ValueType::kText; }
  bool operator==(const Register&) const = default;
};

struct Step {
  Operation operation{};
  uint16_t to = 0;
  uint16_t a = 0, b = 0, c = 0, d = 0;  // registers; of a list, `b` is its place; of a zone too
  uint16_t scratch = 0;                 // of a text that is made: the place of its bytes
  auto operator<=>(const Step&) const = default;
};

// The registers that a step reads, in order: n a number, t a text, - something else (a list, a zone).
struct OperandKinds {
  std::string_view operands;
  bool makes_text;
};
OperandKinds operands_of(Operation operation);

ValueType type_of(FieldType type);

struct Program {
  static constexpr size_t kRegistersMax = 60'000;  // their numbers have 16 bits

  struct Load {
    uint16_t field = 0;
    Register to;
    double scale = 1;
  };
  std::vector<Load> loads;  // of the fields that something looks at
  std::vector<Step> steps;
  std::vector<std::pair<uint16_t, double>> number_constants;
  std::vector<std::pair<uint16_t, std::string>> text_constants;
  std::vector<std::vector<double>> number_lists;  // ascending
  std::vector<std::vector<std::string>> text_lists;
  std::vector<TimeZone> zones;
  size_t numbers = 0, texts = 0, scratches = 0;
};

// Steps of a program, one after the other.
struct Range {
  uint16_t begin = 0, end = 0;
};

// Finds a named time zone's table; UTC needs none.
using ZoneSource = std::function<Result<TimeZone>(std::string_view name)>;

class ProgramBuilder {
 public:
  ProgramBuilder(const Schema& schema, ZoneSource zones) : schema_(schema), zones_(std::move(zones)) {}

  // The register of a field's value, which is loaded from then on.
  Register field(size_t index);
  // A register that somebody else writes.
  Register reserve(ValueType type);
  // Adds the steps of a checked expression; what its names stand for is asked of `find`. `text` is what it
  // was parsed from. Errors are as those of parse_expression().
  Result<Register> add(const Expression& expression, std::string_view text,
                       const std::function<Register(std::string_view)>& find);
  // a / b.
  Register divide(Register a, Register b);
  uint16_t steps() const { return static_cast<uint16_t>(program_.steps.size()); }
  // False when there are more registers than can be numbered: the program is of no use then.
  bool fits() const;
  Program finish() { return std::move(program_); }

 private:
  Register emit(const Expression& expression, ValueType wanted);
  Register emit_call(const Expression& call);
  Register step(ValueType type, Step step, bool makes_text = false);
  Register constant(double value);
  Register constant(const std::string& text);
  uint16_t list(const Expression& call);
  uint16_t zone(const Expression& call);

  const Schema& schema_;
  ZoneSource zones_;
  Program program_;
  const std::function<Register(std::string_view)>* find_ = nullptr;
  std::string_view text_;
  std::string problem_;  // the first one of this expression
  std::map<Step, Register> known_;
  std::map<size_t, Register> fields_;
  std::map<std::string, Register> texts_;
  std::map<uint64_t, Register> numbers_;  // by their bits
};

// The registers of one thread. Owned by a FeatureStore.
class Machine {
 public:
  // `program` must outlive it.
  explicit Machine(const Program& program);

  // Sets the fields' registers; the event time is `time_us`. Texts stay the transaction's, which must not
  // change until the last step has run.
  void load(const Transaction& transaction, size_t time_field, int64_t time_us);
  void run(Range range);

  double number(uint16_t at) const { return numbers_[at]; }
  std::string_view text(uint16_t at) const { return texts_[at]; }  // empty: missing
  void set(uint16_t at, double value) { numbers_[at] = value; }

 private:
  void text_step(const Step& step);
  void time_step(const Step& step);
  std::string_view changed(const Step& step, std::string_view from, bool upper);

  const Program& program_;
  std::vector<double> numbers_;
  std::vector<std::string_view> texts_;
  std::vector<char> scratch_;
  std::vector<size_t> hints_;  // by zone: where its offset was found last
};

}  // namespace shrike::features
