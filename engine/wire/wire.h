// Requests and replies as bytes, JSON or Protobuf. Decoding never throws and never harms the next message:
// whatever arrives becomes a request or a typed error. A Decoder belongs to one thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config/config.h"
#include "engine/fold/error.h"
#include "engine/wire/request.h"

namespace shrike::engine {

class Decoder {
 public:
  explicit Decoder(ConfigPtr config);
  ~Decoder();

  // Told of each field of a transaction that the schema does not name and that sockets.unknown_fields lets
  // pass; `first` when its name was not met before (of kUnknownNamesMax names).
  using OnUnknown = std::function<void(std::string_view name, bool first)>;
  void on_unknown_field(OnUnknown told) { on_unknown_ = std::move(told); }
  static constexpr size_t kUnknownNamesMax = 64;

  // Makes it an asked::Score: fills envelope.format and the transaction; sets deadline_ms when the request
  // carries one (else 0).
  Result<void> score_request(std::string_view message, Envelope& envelope, uint32_t& deadline_ms);
  // Makes it an asked::Label, an asked::Outcome, an asked::Kpi or an asked::Control.
  Result<void> feedback_request(std::string_view message, Envelope& envelope);

 private:
  struct Json;
  // Decides the form and cuts off a byte-order mark.
  Result<void> check(std::string_view& message, Envelope& envelope) const;
  Result<void> score_json(std::string_view message, Transaction& transaction, uint32_t& deadline_ms);
  Result<void> score_protobuf(std::string_view message, Transaction& transaction, uint32_t& deadline_ms);
  Result<void> feedback_json(std::string_view message, Envelope& envelope);
  Result<void> feedback_protobuf(std::string_view message, Envelope& envelope);
  void note_unknown(std::string_view name);
  Result<void> finish_label(bool has_time, asked::Label& label) const;

  ConfigPtr config_;
  uint64_t fingerprint_;  // of the schema
  std::unique_ptr<Json> json_;
  OnUnknown on_unknown_;
  std::vector<std::string> unknown_names_;
  std::string misspelt_;  // of the request in hand: an unknown field, in case a known one turns out missing
};

// The reply to a request, in its format: an answer, a label's outcome, a control text, or its error.
void encode_reply(const Config& config, const Envelope& envelope, std::string& out);
// `envelope.error` in the request's form, with the transaction's id where the request could be read that far.
void encode_error(const Config& config, const Envelope& envelope, std::string& out);
// An answered transaction as JSON: the reply, and what the events socket announces.
void encode_answer_json(const Config& config, const TransactionEvent& event, uint64_t sequence,
                        bool duplicate, std::string& out);

// A reason's code as the configuration names it.
std::string_view reason_code(const Config& config, size_t column);
std::string json_escape(std::string_view text);
// A transaction as a JSON request, and as a Protobuf one: for clients in this project.
std::string score_request_json(const features::Schema& schema, const Transaction& transaction);
std::string score_request_protobuf(const features::Schema& schema, const Transaction& transaction);

}  // namespace shrike::engine
