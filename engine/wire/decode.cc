#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>

#include "engine/wire/wire.h"
#include "engine/wire/wire.pb.h"
#include "features/nearest.h"

namespace shrike::engine {
namespace {

using features::Schema;

std::vector<std::string> known_names(const Schema& schema) {
  std::vector<std::string> names;
  for (const features::Field& field : schema.fields) names.push_back(field.name);
  return names;
}

Error unknown_field(std::string_view key, std::vector<std::string> known) {
  const std::string near = features::nearest(key, known);
  std::string shown(key.substr(0, 64));
  return {ErrorCode::kUnknownField, std::move(shown),
          near.empty() ? std::string("the schema has no such field")
                       : fmt::format("the schema has no such field; did you mean \"{}\"?", near)};
}

Error to_error(const features::Error& error) {
  const bool missing = error.reason.rfind("the field is missing", 0) == 0;
  return {missing ? ErrorCode::kMissing : ErrorCode::kInvalid, error.field, error.reason};
}

Result<void> set_json(const Schema& schema, size_t field, const simdjson::dom::element& value,
                      Transaction& transaction) {
  using simdjson::dom::element_type;
  features::Result<void> done;
  switch (value.type()) {
    case element_type::INT64:
      done = features::set_integer(schema, field, value.get_int64().value_unsafe(), transaction);
      break;
    case element_type::UINT64:
      done = features::set_from_text(schema, field, fmt::format("{}", value.get_uint64().value_unsafe()),
                                     transaction);
      break;
    case element_type::DOUBLE:
      done = features::set_number(schema, field, value.get_double().value_unsafe(), transaction);
      break;
    case element_type::STRING:
      done = features::set_text(schema, field, value.get_string().value_unsafe(), transaction);
      break;
    case element_type::BOOL:
      done = features::set_boolean(schema, field, value.get_bool().value_unsafe(), transaction);
      break;
    case element_type::NULL_VALUE:
      return {};  // as if absent
    default:
      done = tl::make_unexpected(
          features::Error{schema.fields[field].name, "found a list or an object, expected a plain value"});
  }
  if (!done) return tl::make_unexpected(to_error(done.error()));
  return {};
}

// Text has no control bytes but white space; our Protobuf messages always have some: each value begins with a
// tag, 0x12 in a transaction and 0x08, 0x11, 0x1a or 0x20 within, and a label's id with 0x0a and one of
// these.
bool is_text(std::string_view message) {
  return std::none_of(message.begin(), message.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r';
  });
}

Format form_of(std::string_view message) {
  // No message of ours begins with a tag of these: '{' would be a field 15, '[' and '"' have wire types
  // unused.
  if (message.empty() || message[0] == '{' || message[0] == '[' || message[0] == '"') return Format::kJson;
  return is_text(message) ? Format::kJson : Format::kProtobuf;
}

bool is_utf16(std::string_view message) {
  return message.size() >= 2 && (message.substr(0, 2) == "\xff\xfe" || message.substr(0, 2) == "\xfe\xff" ||
                                 message.substr(0, 2) == std::string_view("{\0", 2) ||
                                 message.substr(0, 2) == std::string_view("\0{", 2));
}

Result<void> set_wire(const Schema& schema, size_t field, const wire::Value& value,
                      Transaction& transaction) {
  features::Result<void> done;
  switch (value.kind_case()) {
    case wire::Value::kInteger:
      done = features::set_integer(schema, field, value.integer(), transaction);
      break;
    case wire::Value::kNumber:
      done = features::set_number(schema, field, value.number(), transaction);
      break;
    case wire::Value::kText:
      done = features::set_text(schema, field, value.text(), transaction);
      break;
    case wire::Value::kBoolean:
      done = features::set_boolean(schema, field, value.boolean(), transaction);
      break;
    default:
      return {};
  }
  if (!done) return tl::make_unexpected(to_error(done.error()));
  return {};
}

}  // namespace

struct Decoder::Json {
  simdjson::dom::parser parser;
  Result<simdjson::dom::object> object(std::string_view message) {
    buffer.assign(message);
    buffer.reserve(message.size() + simdjson::SIMDJSON_PADDING);
    simdjson::dom::element root;
    if (const auto error = parser.parse(buffer.data(), message.size(), false).get(root)) {
      if (error == simdjson::NUMBER_ERROR)
        return refuse(
            ErrorCode::kMalformed, "",
            "not valid JSON: a number is badly written, or an integer has more than 64 bits (declare "
            "its field as text and send it as one)");
      return refuse(ErrorCode::kMalformed, "",
                    fmt::format("not valid JSON: {}", simdjson::error_message(error)));
    }
    simdjson::dom::object object;
    if (root.get(object)) return refuse(ErrorCode::kMalformed, "", "the message must be one JSON object");
    return object;
  }
  std::string buffer;
};

Decoder::Decoder(ConfigPtr config)
    : config_(std::move(config)),
      fingerprint_(config_->schema().fingerprint()),
      json_(std::make_unique<Json>()) {}
Decoder::~Decoder() = default;

Result<void> Decoder::check(std::string_view& message, Envelope& envelope) const {
  if (message.substr(0, 3) == "\xef\xbb\xbf") message.remove_prefix(3);
  envelope.format = form_of(message);
  if (message.size() > config_->sockets.message_bytes_max) {
    return refuse(ErrorCode::kTooLarge, "",
                  fmt::format("the message has {} bytes, at most {} are allowed", message.size(),
                              config_->sockets.message_bytes_max));
  }
  if (message.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    envelope.format = Format::kJson;
    return refuse(ErrorCode::kMalformed, "", "the message is empty");
  }
  if (is_utf16(message)) {
    envelope.format = Format::kJson;
    return refuse(ErrorCode::kMalformed, "", "the message is UTF-16; send UTF-8");
  }
  return {};
}

Result<void> Decoder::score_request(std::string_view message, Envelope& envelope, uint32_t& deadline_ms) {
  deadline_ms = 0;
  Transaction& transaction = envelope.become<asked::Score>().event.transaction;
  transaction.reset(config_->schema());
  if (auto ok = check(message, envelope); !ok) return ok;
  misspelt_.clear();
  auto read = envelope.format == Format::kJson ? score_json(message, transaction, deadline_ms)
                                               : score_protobuf(message, transaction, deadline_ms);
  if (!read) return read;
  auto done = features::finish(config_->schema(), transaction);
  if (done) return {};
  // Is it missing because its name is misspelt?
  const Schema& schema = config_->schema();
  const auto meant =
      misspelt_.empty() ? std::nullopt : schema.find(features::nearest(misspelt_, known_names(schema)));
  if (meant && !transaction.values[*meant].present)
    return tl::make_unexpected(unknown_field(misspelt_, known_names(schema)));
  return tl::make_unexpected(to_error(done.error()));
}

void Decoder::note_unknown(std::string_view name) {
  if (misspelt_.empty()) misspelt_ = name.substr(0, 64);
  if (!on_unknown_) return;
  const bool first =
      unknown_names_.size() < kUnknownNamesMax &&
      std::find(unknown_names_.begin(), unknown_names_.end(), name.substr(0, 64)) == unknown_names_.end();
  if (first) unknown_names_.emplace_back(name.substr(0, 64));
  on_unknown_(name.substr(0, 64), first);
}

Result<void> Decoder::score_json(std::string_view message, Transaction& transaction, uint32_t& deadline_ms) {
  const Schema& schema = config_->schema();
  auto object = json_->object(message);
  if (!object) return tl::make_unexpected(object.error());
  // The id first: a refusal carries it, whatever stands before it.
  if (simdjson::dom::element id; !object->at_key(schema.fields[schema.id].name).get(id)) {
    if (auto done = set_json(schema, schema.id, id, transaction); !done) return done;
  }
  uint64_t seen = 0;
  for (const auto& [key, value] : *object) {
    const auto field = schema.find(key);
    if (!field && key == "deadline_ms") {
      uint64_t given = 0;
      if (value.get(given) || given == 0 || given > 3'600'000) {
        return refuse(ErrorCode::kInvalid, "deadline_ms", "expected an integer from 1 to 3600000");
      }
      deadline_ms = static_cast<uint32_t>(given);
      continue;
    }
    if (!field) {
      if (config_->sockets.refuse_unknown_fields)
        return tl::make_unexpected(unknown_field(key, known_names(schema)));
      note_unknown(key);
      continue;
    }
    if (seen >> *field & 1) return refuse(ErrorCode::kInvalid, std::string(key), "the field is given twice");
    seen |= uint64_t{1} << *field;
    if (*field == schema.id) continue;
    if (auto done = set_json(schema, *field, value, transaction); !done) return done;
  }
  return {};
}

Result<void> Decoder::score_protobuf(std::string_view message, Transaction& transaction,
                                     uint32_t& deadline_ms) {
  const Schema& schema = config_->schema();
  static thread_local wire::ScoreRequest request;  // its storage is used again
  if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return refuse(ErrorCode::kMalformed, "",
                  "neither JSON nor the Protobuf message shrike.wire.ScoreRequest");
  }
  if (request.schema() != fingerprint_) {
    return refuse(ErrorCode::kMalformed, "schema",
                  fmt::format("the request is for schema {:016x}, this server has {:016x}", request.schema(),
                              fingerprint_));
  }
  if (request.values_size() != static_cast<int>(schema.fields.size())) {
    return refuse(ErrorCode::kMalformed, "values",
                  fmt::format("found {} values, the schema has {} fields", request.values_size(),
                              schema.fields.size()));
  }
  if (auto done = set_wire(schema, schema.id, request.values(static_cast<int>(schema.id)), transaction);
      !done)
    return done;
  for (size_t i = 0; i < schema.fields.size(); ++i) {
    if (auto done = set_wire(schema, i, request.values(static_cast<int>(i)), transaction); !done) return done;
  }
  deadline_ms = std::min<uint32_t>(request.deadline_ms(), 3'600'000);
  return {};
}

Result<void> Decoder::feedback_request(std::string_view message, Envelope& envelope) {
  auto& label = envelope.become<asked::Label>();
  label.named.reset(config_->schema());
  if (auto ok = check(message, envelope); !ok) return ok;
  return envelope.format == Format::kJson ? feedback_json(message, envelope)
                                          : feedback_protobuf(message, envelope);
}

// The id and the time of a label are read as the schema's id and time fields are.
Result<void> Decoder::finish_label(bool has_time, asked::Label& label) const {
  const Schema& schema = config_->schema();
  const Transaction& holder = label.named;
  if (!holder.values[schema.id].present)
    return refuse(ErrorCode::kMissing, schema.fields[schema.id].name, "the field is missing");
  label.request.transaction = features::key(schema, holder, schema.id);
  if (has_time) {
    const int64_t time_us = holder.values[schema.time].fixed;
    if (time_us < 0 || time_us < schema.time_origin_us) {
      return refuse(ErrorCode::kInvalid, "time", "the time is before the epoch of the schema");
    }
    label.request.time_us = time_us;
  }
  return {};
}

namespace {

// What named a transaction and a time as labels do is an outcome.
void as_outcome(Outcome outcome, asked::Label& label, Envelope& envelope) {
  asked::Outcome reported{.named = std::move(label.named),
                          .request = {label.request.transaction, outcome, label.request.time_us}};
  envelope.request = std::move(reported);
}

// What named a transaction, a KPI and a value.
Result<void> as_kpi(std::string_view name, double value, asked::Label& label, Envelope& envelope) {
  if (!std::isfinite(value)) return refuse(ErrorCode::kInvalid, "value", "expected a number");
  asked::Kpi reported{
      .named = std::move(label.named),
      .request = {label.request.transaction, std::string(name), value, label.request.time_us}};
  envelope.request = std::move(reported);
  return {};
}

}  // namespace

Result<void> Decoder::feedback_json(std::string_view message, Envelope& envelope) {
  const Schema& schema = config_->schema();
  auto object = json_->object(message);
  if (!object) return tl::make_unexpected(object.error());
  auto& label = envelope.become<asked::Label>();
  Transaction& holder = label.named;
  std::string_view command, argument, kpi;
  double value_of_kpi = NAN;
  const std::string& id_name = schema.fields[schema.id].name;
  const std::string& time_name = schema.fields[schema.time].name;
  bool has_time = false;
  Outcome outcome = Outcome::kUnreported;
  // `transaction_id` and the schema's own name say the same, as `time` and its do: once each.
  enum Part : unsigned {
    kNothing = 0,
    kId = 1,
    kVerdict = 2,
    kSource = 4,
    kTime = 8,
    kCommand = 16,
    kArgument = 32,
    kOutcome = 64,
    kKpi = 128,
    kValue = 256
  };
  unsigned seen = 0;
  for (const auto& [key, value] : *object) {
    const unsigned part = key == id_name || key == "transaction_id" ? kId
                          : key == schema.label                     ? kVerdict
                          : key == "source"                         ? kSource
                          : key == "time" || key == time_name       ? kTime
                          : key == "command"                        ? kCommand
                          : key == "outcome"                        ? kOutcome
                          : key == "kpi"                            ? kKpi
                          : key == "value"                          ? kValue
                          : key == "argument"                       ? kArgument
                                                                    : kNothing;
    if ((seen & part) != 0) return refuse(ErrorCode::kInvalid, std::string(key), "the field is given twice");
    seen |= part;
    if (key == "command" || key == "argument") {
      std::string_view text;
      if (value.get(text)) return refuse(ErrorCode::kInvalid, std::string(key), "expected a text");
      (key == "command" ? command : argument) = text;
    } else if (part == kKpi) {
      if (value.get(kpi) || kpi.empty()) return refuse(ErrorCode::kInvalid, "kpi", "expected a text");
    } else if (part == kValue) {
      if (value.get(value_of_kpi)) return refuse(ErrorCode::kInvalid, "value", "expected a number");
    } else if (key == id_name || key == "transaction_id") {
      if (auto done = set_json(schema, schema.id, value, holder); !done) return done;
    } else if (key == schema.label) {
      bool flag = false;
      int64_t number = 0;
      std::string_view text;
      if (!value.get(flag)) {
        number = flag ? 1 : 0;
      } else if (!value.get(text) && text == "unsure") {
        number = 2;
      } else if (value.get(number) || (number != 0 && number != 1)) {
        return refuse(ErrorCode::kInvalid, schema.label, "expected 0, 1, true, false or \"unsure\"");
      }
      label.request.verdict = number == 2   ? Verdict::kUnsure
                              : number == 1 ? Verdict::kFraud
                                            : Verdict::kLegitimate;
    } else if (key == "outcome") {
      std::string_view text;
      if (value.get(text)) return refuse(ErrorCode::kInvalid, "outcome", "expected a text");
      const auto known = parse_outcome(text);
      if (!known) return refuse(ErrorCode::kInvalid, "outcome", known.error());
      outcome = *known;
    } else if (key == "source") {
      std::string_view text;
      if (value.get(text)) return refuse(ErrorCode::kInvalid, "source", "expected a text");
      const auto source = config_->sources.find(text);
      if (!source) return refuse(ErrorCode::kInvalid, "source", source.error());
      label.request.source = *source;
    } else if (key == "time" || key == time_name) {
      if (auto done = set_json(schema, schema.time, value, holder); !done) return done;
      has_time = holder.values[schema.time].present;
    } else {
      return tl::make_unexpected(unknown_field(key, {id_name, schema.label, "source", "time"}));
    }
  }
  if ((seen & (kCommand | kArgument)) != 0) {
    const auto known = parse_command(command);
    if (!known) return tl::make_unexpected(known.error());
    envelope.request =
        asked::Control{.named = std::move(holder), .command = *known, .argument = std::string(argument)};
    return {};
  }
  if (outcome != Outcome::kUnreported) {
    if ((seen & (kVerdict | kSource | kKpi | kValue)) != 0)
      return refuse(ErrorCode::kInvalid, "outcome",
                    "an outcome, a label and a KPI are messages of their own");
    if (auto done = finish_label(has_time, label); !done) return done;
    as_outcome(outcome, label, envelope);
    return {};
  }
  if ((seen & kKpi) != 0) {
    if ((seen & (kVerdict | kSource)) != 0)
      return refuse(ErrorCode::kInvalid, "kpi", "a KPI and a label are two messages");
    if ((seen & kValue) == 0) return refuse(ErrorCode::kMissing, "value", "the field is missing");
    if (auto done = finish_label(has_time, label); !done) return done;
    return as_kpi(kpi, value_of_kpi, label, envelope);
  }
  if ((seen & kValue) != 0) return refuse(ErrorCode::kMissing, "kpi", "a value is one of a KPI: name it");
  if (label.request.verdict == Verdict::kUnknown)
    return refuse(ErrorCode::kMissing, schema.label,
                  "the field is missing (a label), and so are `outcome` and `kpi`");
  return finish_label(has_time, label);
}

Result<void> Decoder::feedback_protobuf(std::string_view message, Envelope& envelope) {
  auto& label = envelope.become<asked::Label>();
  Outcome outcome = Outcome::kUnreported;
  const Schema& schema = config_->schema();
  wire::LabelRequest request;
  if (!request.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return refuse(ErrorCode::kMalformed, "",
                  "neither JSON nor the Protobuf message shrike.wire.LabelRequest");
  }
  Transaction& holder = label.named;
  if (auto done = set_wire(schema, schema.id, request.transaction_id(), holder); !done) return done;
  if (!request.outcome().empty()) {
    const auto known = parse_outcome(request.outcome());
    if (!known) return refuse(ErrorCode::kInvalid, "outcome", known.error());
    outcome = *known;
  }
  label.request.verdict = request.unsure()     ? Verdict::kUnsure
                          : request.is_fraud() ? Verdict::kFraud
                                               : Verdict::kLegitimate;
  if (!request.source().empty()) {
    const auto source = config_->sources.find(request.source());
    if (!source) return refuse(ErrorCode::kInvalid, "source", source.error());
    label.request.source = *source;
  }
  const bool has_time = request.has_time() && request.time().kind_case() != wire::Value::KIND_NOT_SET;
  if (has_time) {
    if (auto done = set_wire(schema, schema.time, request.time(), holder); !done) return done;
  }
  if (auto done = finish_label(has_time, label); !done) return done;
  if (outcome != Outcome::kUnreported && !request.kpi().empty())
    return refuse(ErrorCode::kInvalid, "kpi", "a KPI and an outcome are two messages");
  if (!request.kpi().empty()) return as_kpi(request.kpi(), request.value(), label, envelope);
  if (outcome != Outcome::kUnreported) as_outcome(outcome, label, envelope);
  return {};
}

}  // namespace shrike::engine
