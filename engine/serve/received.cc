#include "engine/serve/received.h"

#include "engine/serve/clocks.h"

namespace shrike::engine {

void begin(Envelope& envelope, const Config& config, bool feedback) {
  envelope.reset();
  Transaction& named =
      feedback ? envelope.become<asked::Label>().named : envelope.become<asked::Score>().event.transaction;
  named.reset(config.schema());
  envelope.format = Format::kJson;
  envelope.peer.feedback_socket = feedback;
  envelope.received_us = now_us();
}

int64_t set_deadline(Envelope& envelope, const Config& config, uint32_t deadline_ms) {
  auto* score = envelope.as<asked::Score>();
  if (score == nullptr) return 0;
  score->deadline_us =
      envelope.received_us + (deadline_ms > 0 ? int64_t{deadline_ms} * 1000 : config.deadline.default_us);
  return score->deadline_us;
}

}  // namespace shrike::engine
