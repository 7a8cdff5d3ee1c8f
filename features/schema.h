// The schema of a transaction, and a transaction decoded by it. Nothing about cards is built in: which
// field is the id, the event time, the amount, and which make up entities, is said by the configuration.
// Values are plain data; a Schema is immutable once built and may be shared between threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "features/error.h"
#include "features/key.h"

namespace shrike::features {

// A day and an hour of event time, in microseconds.
inline constexpr int64_t kDayUs = 86'400'000'000;
inline constexpr int64_t kHourUs = kDayUs / 24;

enum class FieldType {
  kInteger,  // 64-bit; an identity, exact
  kNumber,   // fixed point with `decimals` digits; money and other measures
  kText,     // UTF-8, at most Schema::kTextBytesMax bytes
  kBoolean,
  kTime,  // event time, in `time_unit_us` since `time_origin_us`
};

struct Field {
  std::string name;
  FieldType type = FieldType::kNumber;
  int decimals = 4;    // kNumber: digits after the point that are kept, 0..6
  double minimum = 0;  // kNumber, kInteger: smaller or larger values are refused
  double maximum = 0;
  bool optional = false;  // may be absent; its value is then missing (NaN)
  bool operator==(const Field&) const = default;
};

// What shares windows: one field (customer) or several (customer x terminal).
struct EntityKind {
  std::string name;
  std::vector<size_t> fields;
  size_t entities_max = 10'000'000;  // at the bound the entity idle for longest is forgotten
  bool operator==(const EntityKind&) const = default;
};

struct Schema {
  static constexpr size_t kTextBytesMax = 256;
  // |fixed-point value| stays below this, so that sums of squares of 2^20 events fit 128 bits.
  static constexpr int64_t kFixedMax = int64_t{1} << 42;

  std::vector<Field> fields;
  std::vector<EntityKind> entities;
  size_t id = 0;  // positions in `fields`
  size_t time = 0;
  std::optional<size_t> amount;
  std::string label = "is_fraud";  // the label's name in feedback messages and CSV columns
  int64_t time_unit_us = 1'000'000;
  int64_t time_origin_us = 0;  // of time value 0, in microseconds since 1970-01-01 UTC

  std::optional<size_t> find(std::string_view name) const;
  std::optional<size_t> find_entity(std::string_view name) const;
  // Changes whenever a field's position, name, type or scale does; clients of the binary form send it.
  uint64_t fingerprint() const;
};

// One field's value. Every transport (CSV, JSON, Protobuf, the log) sets it through the functions below, so
// the same transaction gives the same bits whichever way it came.
struct Value {
  bool present = false;
  int64_t fixed = 0;  // kNumber: value x 10^decimals; kInteger, kBoolean: value; kTime: unix microseconds
  std::string text;   // kText
};

struct Transaction {
  Key id;
  int64_t time_us = 0;        // event time, unix
  std::vector<Value> values;  // by position in the schema

  // Empties it for reuse, keeping its memory.
  void reset(const Schema& schema);
};

// Set one value, checking type and range. Errors name the field.
Result<void> set_integer(const Schema& schema, size_t field, int64_t value, Transaction& transaction);
Result<void> set_number(const Schema& schema, size_t field, double value, Transaction& transaction);
Result<void> set_text(const Schema& schema, size_t field, std::string_view value, Transaction& transaction);
Result<void> set_boolean(const Schema& schema, size_t field, bool value, Transaction& transaction);
// From text as CSV has it; an empty text is missing.
Result<void> set_from_text(const Schema& schema, size_t field, std::string_view text,
                           Transaction& transaction);
// After all values are set: refuses missing fields, fills id and time_us.
Result<void> finish(const Schema& schema, Transaction& transaction);

// The value as a number (fixed / 10^decimals; NaN when missing or text).
double number(const Schema& schema, const Transaction& transaction, size_t field);
// The value as an identity.
Key key(const Schema& schema, const Transaction& transaction, size_t field);
// The value as people write it; empty when missing.
std::string text(const Schema& schema, const Transaction& transaction, size_t field);
// 10^decimals, 0 <= decimals <= 6.
int64_t scale_of(int decimals);
bool valid_utf8(std::string_view text);

}  // namespace shrike::features
