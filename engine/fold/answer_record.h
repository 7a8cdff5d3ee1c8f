// An answer as it lies in records, those of the log and those of checkpoints: the fields have the same names
// in both. Internal to engine/.
#pragma once

#include <algorithm>
#include <cstring>

#include "engine/fold/event.h"

namespace shrike::engine {

template <typename Record>
void write_answer(const Answer& answer, Record& record) {
  record.set_score(answer.score);
  record.set_risk(answer.risk);
  record.set_decision(static_cast<uint32_t>(answer.decision));
  record.set_step(static_cast<uint32_t>(answer.step));
  record.set_clock(static_cast<uint32_t>(answer.clock));
  record.set_reasons(answer.reasons.data(), answer.reason_count * size_t{2});
  record.set_model(answer.model.data(), answer.model.size());
}

// False when decision, step or clock are of a newer version. A model's name of another length is left out.
template <typename Record>
[[nodiscard]] bool read_answer(const Record& record, Answer& answer) {
  answer.score = record.score();
  answer.risk = record.risk();
  if (!from_record(record.decision(), answer.decision) || !from_record(record.step(), answer.step) ||
      !from_record(record.clock(), answer.clock)) {
    return false;
  }
  answer.reason_count = static_cast<uint8_t>(std::min(record.reasons().size() / 2, kReasonsMax));
  std::memcpy(answer.reasons.data(), record.reasons().data(), answer.reason_count * size_t{2});
  if (record.model().size() == answer.model.size()) {
    std::memcpy(answer.model.data(), record.model().data(), answer.model.size());
  }
  return true;
}

}  // namespace shrike::engine
