#include <fmt/format.h>

#include "engine/wire/wire.h"
#include "engine/wire/wire.pb.h"

namespace shrike::engine {
namespace {

using features::FieldType;
using features::Schema;

void append_json_value(const Schema& schema, const Transaction& transaction, size_t field, std::string& out) {
  if (schema.fields[field].type == FieldType::kText) {
    out += fmt::format("\"{}\"", json_escape(transaction.values[field].text));
  } else if (schema.fields[field].type == FieldType::kBoolean) {
    out += transaction.values[field].fixed != 0 ? "true" : "false";
  } else {
    out += features::text(schema, transaction, field);
  }
}

// "NAME":VALUE of the id, under the schema's name for it.
void append_json_id(const Schema& schema, const Transaction& transaction, std::string& out) {
  out += '"';
  out += json_escape(schema.fields[schema.id].name);
  out += "\":";
  append_json_value(schema, transaction, schema.id, out);
}

void set_wire_value(const Schema& schema, const Transaction& transaction, size_t field, wire::Value& out) {
  const features::Value& value = transaction.values[field];
  if (!value.present) return;
  switch (schema.fields[field].type) {
    case FieldType::kText:
      out.set_text(value.text);
      break;
    case FieldType::kBoolean:
      out.set_boolean(value.fixed != 0);
      break;
    case FieldType::kNumber:
      out.set_number(features::number(schema, transaction, field));
      break;
    case FieldType::kInteger:
      out.set_integer(value.fixed);
      break;
    case FieldType::kTime: {
      const int64_t since_us = value.fixed - schema.time_origin_us;
      if (since_us % schema.time_unit_us == 0) {
        out.set_integer(since_us / schema.time_unit_us);
      } else {
        out.set_number(static_cast<double>(since_us) / static_cast<double>(schema.time_unit_us));
      }
      break;
    }
  }
}

// Told as a label's is.
std::string_view status_of(bool duplicate) { return name(duplicate ? Effect::kDuplicate : Effect::kStored); }

void encode_protobuf(const Config& config, const Envelope& envelope, std::string& out) {
  wire::Reply reply;
  if (const auto* asked = envelope.as<asked::Score>()) {
    const Answer& answer = asked->event.answer;
    wire::ScoreReply& score = *reply.mutable_score();
    set_wire_value(config.schema(), asked->event.transaction, config.schema().id,
                   *score.mutable_transaction_id());
    score.set_score(answer.score);
    score.set_risk(answer.risk);
    score.set_decision(std::string(name(answer.decision)));
    for (size_t i = 0; i < answer.reason_count; ++i)
      score.add_reasons(std::string(reason_code(config, answer.reasons[i])));
    score.set_model(to_hex(answer.model));
    score.set_seq(envelope.sequence);
    score.set_step(std::string(name(answer.step)));
    score.set_duplicate(envelope.duplicate);
    if (answer.clock != Clock::kOnTime) score.set_clock(std::string(name(answer.clock)));
    score.set_control(answer.control);
    if (answer.arm != Arm::kChampion) score.set_arm(std::string(name(answer.arm)));
  } else if (const auto* said = envelope.as<asked::Label>()) {
    wire::LabelReply& label = *reply.mutable_label();
    label.set_status(std::string(name(said->result.event.outcome)));
    label.set_seq(said->result.sequence);
    set_wire_value(config.schema(), said->named, config.schema().id, *label.mutable_transaction_id());
  } else if (const auto* reported = envelope.as<asked::Outcome>()) {
    wire::LabelReply& label = *reply.mutable_label();
    label.set_status(std::string(status_of(reported->result.duplicate)));
    label.set_seq(reported->result.sequence);
    set_wire_value(config.schema(), reported->named, config.schema().id, *label.mutable_transaction_id());
  } else if (const auto* kpi = envelope.as<asked::Kpi>()) {
    wire::LabelReply& label = *reply.mutable_label();
    label.set_status(std::string(status_of(kpi->result.duplicate)));
    label.set_seq(kpi->result.sequence);
    set_wire_value(config.schema(), kpi->named, config.schema().id, *label.mutable_transaction_id());
  }
  reply.SerializeToString(&out);
}

}  // namespace

std::string json_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  return out;
}

std::string_view reason_code(const Config& config, size_t column) {
  const std::string& name = config.columns[column].name;
  const std::pair<std::string, std::string>* best = nullptr;
  for (const auto& entry : config.policy.reason_codes) {
    if (name.rfind(entry.first, 0) != 0) continue;
    if (best == nullptr || entry.first.size() > best->first.size()) best = &entry;
  }
  return best == nullptr ? std::string_view(name) : std::string_view(best->second);
}

void encode_answer_json(const Config& config, const TransactionEvent& event, uint64_t sequence,
                        bool duplicate, std::string& out) {
  const Answer& answer = event.answer;
  out = "{";
  append_json_id(config.schema(), event.transaction, out);
  fmt::format_to(std::back_inserter(out), R"(,"score":{:.9g},"risk":{:.9g},"decision":"{}","reasons":[)",
                 static_cast<double>(answer.score), answer.risk, name(answer.decision));
  for (size_t i = 0; i < answer.reason_count; ++i) {
    fmt::format_to(std::back_inserter(out), "{}\"{}\"", i == 0 ? "" : ",",
                   json_escape(reason_code(config, answer.reasons[i])));
  }
  fmt::format_to(std::back_inserter(out), R"(],"model":"{}","seq":{},"step":"{}")", to_hex(answer.model),
                 sequence, name(answer.step));
  if (answer.clock != Clock::kOnTime)
    fmt::format_to(std::back_inserter(out), R"(,"clock":"{}")", name(answer.clock));
  if (answer.control) out += R"(,"control":true)";
  if (answer.arm != Arm::kChampion)
    fmt::format_to(std::back_inserter(out), R"(,"arm":"{}")", name(answer.arm));
  out += duplicate ? R"(,"duplicate":true})" : "}";
}

void encode_reply(const Config& config, const Envelope& envelope, std::string& out) {
  if (envelope.error) {
    encode_error(config, envelope, out);
  } else if (const auto* control = envelope.as<asked::Control>()) {
    out = control->text;
  } else if (envelope.format == Format::kProtobuf) {
    encode_protobuf(config, envelope, out);
  } else if (const auto* score = envelope.as<asked::Score>()) {
    encode_answer_json(config, score->event, envelope.sequence, envelope.duplicate, out);
  } else if (const auto* label = envelope.as<asked::Label>()) {
    out = "{";
    append_json_id(config.schema(), label->named, out);
    fmt::format_to(std::back_inserter(out), R"(,"status":"{}","seq":{}}})", name(label->result.event.outcome),
                   label->result.sequence);
  } else if (const auto* outcome = envelope.as<asked::Outcome>()) {
    out = "{";
    append_json_id(config.schema(), outcome->named, out);
    fmt::format_to(std::back_inserter(out), R"(,"status":"{}","seq":{}}})",
                   status_of(outcome->result.duplicate), outcome->result.sequence);
  } else if (const auto* kpi = envelope.as<asked::Kpi>()) {
    out = "{";
    append_json_id(config.schema(), kpi->named, out);
    fmt::format_to(std::back_inserter(out), R"(,"status":"{}","seq":{}}})", status_of(kpi->result.duplicate),
                   kpi->result.sequence);
  }
}

void encode_error(const Config& config, const Envelope& envelope, std::string& out) {
  const Error& error = *envelope.error;
  const Transaction* named = envelope.transaction();
  const size_t id = config.schema().id;
  const bool has_id = named != nullptr && id < named->values.size() && named->values[id].present;
  if (envelope.format == Format::kProtobuf) {
    wire::Reply reply;
    wire::ErrorReply& refusal = *reply.mutable_error();
    refusal.set_code(std::string(name(error.code)));
    // A field's name may echo bytes of the request; proto3 strings are UTF-8.
    if (features::valid_utf8(error.field)) refusal.set_field(error.field);
    if (features::valid_utf8(error.reason)) refusal.set_reason(error.reason);
    if (has_id) set_wire_value(config.schema(), *named, id, *refusal.mutable_transaction_id());
    refusal.set_retry_after_ms(static_cast<uint32_t>(error.retry_after_ms));
    reply.SerializeToString(&out);
    return;
  }
  out = fmt::format(R"({{"error":{{"code":"{}","field":"{}","reason":"{}")", name(error.code),
                    json_escape(error.field), json_escape(error.reason));
  if (error.retry_after_ms > 0) out += fmt::format(R"(,"retry_after_ms":{})", error.retry_after_ms);
  out += '}';
  if (has_id) {
    out += ',';
    append_json_id(config.schema(), *named, out);
  }
  out += '}';
}

std::string score_request_json(const Schema& schema, const Transaction& transaction) {
  std::string out = "{";
  for (size_t i = 0; i < schema.fields.size(); ++i) {
    if (!transaction.values[i].present) continue;
    out += fmt::format("{}\"{}\":", out.size() == 1 ? "" : ",", json_escape(schema.fields[i].name));
    append_json_value(schema, transaction, i, out);
  }
  return out + "}";
}

std::string score_request_protobuf(const Schema& schema, const Transaction& transaction) {
  wire::ScoreRequest request;
  request.set_schema(schema.fingerprint());
  for (size_t i = 0; i < schema.fields.size(); ++i)
    set_wire_value(schema, transaction, i, *request.add_values());
  return request.SerializeAsString();
}

}  // namespace shrike::engine
