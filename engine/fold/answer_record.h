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
  record.set_wanted(answer.control ? static_cast<uint32_t>(answer.wanted) + 1 : 0);
  // Earlier versions wrote none: to them all silence told.
  if (answer.propensity != 1) record.set_propensity(answer.propensity);
  record.set_arm(static_cast<uint32_t>(answer.arm));
  if (answer.other != kNoOther) record.set_other(answer.other);
  record.set_reasons(answer.reasons.data(), answer.reason_count * size_t{2});
  record.set_model(answer.model.data(), answer.model.size());
}

// False when decision, step, clock or arm are of a newer version. A model's name of another length is left
// out.
template <typename Record>
[[nodiscard]] bool read_answer(const Record& record, Answer& answer) {
  answer.score = record.score();
  answer.risk = record.risk();
  if (!from_record(record.decision(), answer.decision) || !from_record(record.step(), answer.step) ||
      !from_record(record.clock(), answer.clock) || !from_record(record.arm(), answer.arm)) {
    return false;
  }
  answer.other = record.has_other() ? record.other() : kNoOther;
  answer.control = record.wanted() > 0;
  answer.wanted = answer.decision;
  if (answer.control && !from_record(record.wanted() - 1, answer.wanted)) return false;
  answer.propensity = record.has_propensity() ? record.propensity() : 1;
  answer.reason_count = static_cast<uint8_t>(std::min(record.reasons().size() / 2, kReasonsMax));
  std::memcpy(answer.reasons.data(), record.reasons().data(), answer.reason_count * size_t{2});
  if (record.model().size() == answer.model.size()) {
    std::memcpy(answer.model.data(), record.model().data(), answer.model.size());
  }
  return true;
}

}  // namespace shrike::engine
