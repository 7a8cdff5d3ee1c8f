// One request on its way: made by the socket thread, passed from thread to thread by ownership, so nothing in
// it is ever shared. Its buffers are used again for the next request.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/fold/error.h"
#include "engine/fold/event.h"
#include "engine/fold/fold.h"

namespace shrike::engine {

enum class Format : uint8_t { kJson, kProtobuf };

struct Envelope {
  enum class Kind : uint8_t { kTransaction, kLabel, kControl, kInternal };

  // Where the reply goes: the peer's address frames, and whether it delimits as REQ sockets do.
  std::string address;
  bool delimited = false;
  bool feedback_socket = false;
  Format format = Format::kJson;

  Kind kind = Kind::kTransaction;
  int64_t received_us = 0;  // steady clock
  int64_t deadline_us = 0;  // steady clock

  TransactionEvent event;  // transaction in, row and answer out
  LabelRequest label;
  LabelResult labelled;
  bool duplicate = false;
  uint64_t sequence = 0;  // 0: nothing to log
  std::optional<Error> error;

  std::string command;  // kControl
  std::string argument;
  learners::ModelPtr model;
  std::string text;  // kControl: the reply

  ModelEvent model_event;  // kInternal, and `activate`
  bool is_config = false;
  ConfigEvent config;

  std::string record;  // its bytes in the log
  bool replied = false;

  // Ready for the next request, keeping its memory.
  void reset() {
    address.clear();
    delimited = feedback_socket = duplicate = replied = is_config = false;
    sequence = 0;
    error.reset();
    command.clear();
    argument.clear();
    model.reset();
    text.clear();
    record.clear();
    label = {};
    labelled = {};
  }
};

using EnvelopePtr = std::unique_ptr<Envelope>;

}  // namespace shrike::engine
