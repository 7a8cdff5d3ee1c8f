#include "features/schema.h"

#include <fmt/format.h>
#include <simdjson.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "features/calendar.h"

namespace shrike::features {
namespace {

tl::unexpected<Error> fail(const Field& field, std::string reason) {
  return tl::make_unexpected(Error{field.name, std::move(reason)});
}

const char* describe(FieldType type) {
  switch (type) {
    case FieldType::kInteger:
      return "an integer";
    case FieldType::kNumber:
      return "a number";
    case FieldType::kText:
      return "a text";
    case FieldType::kBoolean:
      return "a boolean";
    case FieldType::kTime:
      return "a time";
  }
  return "";
}

constexpr const char* kTimes = "a number, or a date such as 2018-04-01 or 2018-04-01T06:30:15+02:00";

// Of an integer that is no int64_t; a number may be one, as a double.
tl::unexpected<Error> beyond_integers(const Field& field, std::string_view text) {
  return fail(field, fmt::format("found {}, an integer is from -9223372036854775808 to 9223372036854775807; "
                                 "declare the field as text (type = \"text\") and send it as one",
                                 text.substr(0, 40)));
}

void store(Transaction& transaction, size_t field, int64_t fixed) {
  Value& value = transaction.values[field];
  value.present = true;
  value.fixed = fixed;
}

}  // namespace

std::optional<size_t> Schema::find(std::string_view name) const {
  for (size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].name == name) return i;
  }
  return std::nullopt;
}

std::optional<size_t> Schema::find_entity(std::string_view name) const {
  for (size_t i = 0; i < entities.size(); ++i) {
    if (entities[i].name == name) return i;
  }
  return std::nullopt;
}

uint64_t Schema::fingerprint() const {
  std::string all = fmt::format("{} {} {} {};", id, time, time_unit_us, time_origin_us);
  for (const Field& field : fields) {
    all +=
        fmt::format("{}:{}:{}:{};", field.name, static_cast<int>(field.type), field.decimals, field.optional);
  }
  return XXH3_64bits(all.data(), all.size());
}

void Transaction::reset(const Schema& schema) {
  values.resize(schema.fields.size());
  for (Value& value : values) {
    value.present = false;
    value.fixed = 0;
    value.text.clear();
  }
}

int64_t scale_of(int decimals) {
  constexpr int64_t kScales[] = {1, 10, 100, 1'000, 10'000, 100'000, 1'000'000};
  return kScales[decimals];
}

Result<void> set_integer(const Schema& schema, size_t index, int64_t value, Transaction& transaction) {
  const Field& field = schema.fields[index];
  switch (field.type) {
    case FieldType::kInteger:
      if (static_cast<double>(value) < field.minimum || static_cast<double>(value) > field.maximum) {
        return fail(field,
                    fmt::format("found {}, allowed are {} to {}", value, field.minimum, field.maximum));
      }
      store(transaction, index, value);
      return {};
    case FieldType::kTime: {
      int64_t time_us = 0;
      if (__builtin_mul_overflow(value, schema.time_unit_us, &time_us) ||
          __builtin_add_overflow(time_us, schema.time_origin_us, &time_us)) {
        return fail(field, fmt::format("{} is too far from the origin of time", value));
      }
      store(transaction, index, time_us);
      return {};
    }
    case FieldType::kNumber:
      return set_number(schema, index, static_cast<double>(value), transaction);
    case FieldType::kBoolean:
      if (value != 0 && value != 1)
        return fail(field, fmt::format("found {}, allowed are 0, 1, true, false", value));
      store(transaction, index, value);
      return {};
    case FieldType::kText:
      return fail(field, fmt::format("found the number {}, expected a text", value));
  }
  return {};
}

Result<void> set_number(const Schema& schema, size_t index, double value, Transaction& transaction) {
  const Field& field = schema.fields[index];
  if (!std::isfinite(value))
    return fail(field, fmt::format("found {}, only finite numbers are allowed", value));
  if (field.type == FieldType::kTime) {
    const double time_us = value * static_cast<double>(schema.time_unit_us);
    if (std::fabs(time_us) > 9e18)
      return fail(field, fmt::format("{} is too far from the origin of time", value));
    const auto whole = static_cast<int64_t>(std::floor(time_us + 0.5));
    int64_t shifted = 0;
    if (__builtin_add_overflow(whole, schema.time_origin_us, &shifted)) {
      return fail(field, fmt::format("{} is too far from the origin of time", value));
    }
    store(transaction, index, shifted);
    return {};
  }
  if (field.type == FieldType::kNumber) {
    if (value < field.minimum || value > field.maximum) {
      return fail(field, fmt::format("found {}, allowed are {} to {}", value, field.minimum, field.maximum));
    }
    const double scaled = value * static_cast<double>(scale_of(field.decimals));
    store(transaction, index, static_cast<int64_t>(std::floor(scaled + 0.5)));
    return {};
  }
  if (value == std::floor(value) && std::fabs(value) < 9e15 && field.type != FieldType::kText) {
    return set_integer(schema, index, static_cast<int64_t>(value), transaction);
  }
  return fail(field, fmt::format("found {}, expected {}", value, describe(field.type)));
}

Result<void> set_text(const Schema& schema, size_t index, std::string_view value, Transaction& transaction) {
  const Field& field = schema.fields[index];
  if (field.type == FieldType::kTime) {
    const auto time_us = parse_date(value);
    if (!time_us) return fail(field, fmt::format("found \"{}\", expected {}", value.substr(0, 40), kTimes));
    store(transaction, index, *time_us);
    return {};
  }
  if (field.type != FieldType::kText) {
    return fail(field, fmt::format("found a text, expected {}", describe(field.type)));
  }
  if (value.empty()) return fail(field, "an empty text is not allowed");
  if (value.size() > Schema::kTextBytesMax) {
    return fail(field,
                fmt::format("found {} bytes, at most {} are allowed", value.size(), Schema::kTextBytesMax));
  }
  if (!valid_utf8(value)) return fail(field, "the text is not valid UTF-8");
  transaction.values[index].present = true;
  transaction.values[index].text.assign(value);
  return {};
}

Result<void> set_boolean(const Schema& schema, size_t index, bool value, Transaction& transaction) {
  const Field& field = schema.fields[index];
  if (field.type != FieldType::kBoolean) {
    return fail(field, fmt::format("found a boolean, expected {}", describe(field.type)));
  }
  store(transaction, index, value ? 1 : 0);
  return {};
}

Result<void> set_from_text(const Schema& schema, size_t index, std::string_view input,
                           Transaction& transaction) {
  const Field& field = schema.fields[index];
  if (input.empty()) return {};
  if (field.type == FieldType::kText) return set_text(schema, index, input, transaction);
  if (field.type == FieldType::kBoolean) {
    const bool yes = input == "true" || input == "True" || input == "TRUE";
    if (yes || input == "false" || input == "False" || input == "FALSE")
      return set_boolean(schema, index, yes, transaction);
  }
  int64_t whole = 0;
  const char* end = input.data() + input.size();
  if (auto [at, ec] = std::from_chars(input.data(), end, whole); at == end) {
    if (ec == std::errc()) return set_integer(schema, index, whole, transaction);
    if (field.type == FieldType::kInteger) return beyond_integers(field, input);
  }
  double value = 0;
  if (auto [at, ec] = std::from_chars(input.data(), end, value); ec == std::errc() && at == end) {
    return set_number(schema, index, value, transaction);
  }
  if (field.type == FieldType::kTime) return set_text(schema, index, input, transaction);
  return fail(field, fmt::format("found \"{}\", expected {}", input.substr(0, 40), describe(field.type)));
}

Result<void> finish(const Schema& schema, Transaction& transaction) {
  for (size_t i = 0; i < schema.fields.size(); ++i) {
    if (!transaction.values[i].present && !schema.fields[i].optional) {
      const bool may_be = i != schema.id && i != schema.time;
      return fail(
          schema.fields[i],
          fmt::format(
              "the field is missing{}",
              may_be ? "; if it may be absent, set optional = true for it in the configuration" : ""));
    }
  }
  transaction.id = key(schema, transaction, schema.id);
  transaction.time_us = transaction.values[schema.time].fixed;
  if (transaction.time_us < 0 || transaction.time_us < schema.time_origin_us) {
    return fail(schema.fields[schema.time], "the time is before the epoch of the schema");
  }
  return {};
}

double number(const Schema& schema, const Transaction& transaction, size_t index) {
  const Field& field = schema.fields[index];
  const Value& value = transaction.values[index];
  if (!value.present || field.type == FieldType::kText) return std::numeric_limits<double>::quiet_NaN();
  if (field.type == FieldType::kNumber) {
    return static_cast<double>(value.fixed) / static_cast<double>(scale_of(field.decimals));
  }
  return static_cast<double>(value.fixed);
}

Key key(const Schema& schema, const Transaction& transaction, size_t index) {
  const Value& value = transaction.values[index];
  if (!value.present) return key_of(std::string_view("\0missing", 8));
  return schema.fields[index].type == FieldType::kText ? key_of(std::string_view(value.text))
                                                       : key_of(value.fixed);
}

std::string text(const Schema& schema, const Transaction& transaction, size_t index) {
  const Field& field = schema.fields[index];
  const Value& value = transaction.values[index];
  if (!value.present) return "";
  switch (field.type) {
    case FieldType::kText:
      return value.text;
    case FieldType::kNumber:
      return fmt::format("{}", number(schema, transaction, index));
    case FieldType::kTime: {
      const int64_t since = value.fixed - schema.time_origin_us;
      if (since % schema.time_unit_us == 0) return fmt::format("{}", since / schema.time_unit_us);
      return fmt::format("{}", static_cast<double>(since) / static_cast<double>(schema.time_unit_us));
    }
    default:
      return fmt::format("{}", value.fixed);
  }
}

bool valid_utf8(std::string_view text) {
  // Short ASCII, which most texts are, costs less than simdjson's dispatch.
  constexpr size_t kShort = 32;
  const auto ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  if (text.size() < kShort && std::all_of(text.begin(), text.end(), ascii)) return true;
  return simdjson::validate_utf8(text.data(), text.size());
}

}  // namespace shrike::features
