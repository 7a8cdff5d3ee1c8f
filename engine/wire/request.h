// One request on its way: made by the socket thread, passed from thread to thread by ownership, so nothing in
// it is ever shared. Its buffers are used again for the next request of its kind.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "engine/fold/error.h"
#include "engine/fold/event.h"
#include "engine/fold/fold.h"

namespace shrike::engine {

enum class Format : uint8_t { kJson, kProtobuf };

// What may be asked for on the feedback socket besides labels.
enum class Command : uint8_t { kStatus, kActivate, kJudge, kChallenge, kTest };
std::string_view name(Command command);
// The error says what is allowed.
Result<Command> parse_command(std::string_view text);

// Where a reply goes: the address frames, and whether they are delimited as REQ sockets do.
struct Peer {
  std::string address;
  bool delimited = false;
  bool feedback_socket = false;
};

// The kinds of request, each with what comes of it.
namespace asked {

struct Score {
  TransactionEvent event;   // transaction in, row and answer out
  int64_t deadline_us = 0;  // steady clock
  LabelState labels;        // out: of labels that came before it
};

struct Label {
  Transaction named;  // its id and time as the schema has them: replies carry the id
  LabelRequest request;
  LabelResult result;
};

struct Outcome {
  Transaction named;
  OutcomeRequest request;
  OutcomeResult result;
};

struct Kpi {
  Transaction named;
  KpiRequest request;
  KpiResult result;
};

struct Control {
  Transaction named;  // commands have none, but a refusal carries the id of whatever came
  Command command = Command::kStatus;
  std::string argument;      // kActivate, kChallenge: a model; kJudge, kTest: JSON
  bool anyway = false;       // kActivate: also what was rolled back from
  std::string hash;          // of the model that the argument names, if it names one: loaded,
  learners::ModelPtr model;  // as this, by the socket thread
  std::string text;          // out: the reply
};

// The engine's own: no peer, no reply.
struct Internal {
  std::variant<ModelEvent, ConfigEvent, JudgementEvent, MachineEvent, StartEvent> event;
};

}  // namespace asked

struct Envelope;
using EnvelopePtr = std::unique_ptr<Envelope>;

struct Envelope {
  Peer peer;
  Format format = Format::kJson;
  // Steady clock: came over the socket, was taken by the engine, handed on by it, written to the log.
  int64_t received_us = 0, taken_us = 0, handed_us = 0, written_us = 0;
  std::variant<asked::Score, asked::Label, asked::Outcome, asked::Kpi, asked::Control, asked::Internal>
      request;

  bool duplicate = false;
  uint64_t sequence = 0;  // 0: nothing to log
  std::optional<Error> error;
  std::string record;  // its bytes in the log
  bool replied = false;
  EnvelopePtr next;  // behind it in its client's queue (serve/intake.h)

  // The request, if it is of that kind.
  template <typename Kind>
  Kind* as() {
    return std::get_if<Kind>(&request);
  }
  template <typename Kind>
  const Kind* as() const {
    return std::get_if<Kind>(&request);
  }
  // It is of that kind from now on; what it held as one stays, with its memory.
  template <typename Kind>
  Kind& become() {
    Kind* held = as<Kind>();
    return held != nullptr ? *held : request.emplace<Kind>();
  }

  // What the request names, as far as it could be read; null for the engine's own.
  const Transaction* transaction() const;
  // Ready for the next request, keeping its memory.
  void reset();
};

}  // namespace shrike::engine
