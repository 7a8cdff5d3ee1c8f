// The JSON form of model events and judgements, the same on the events socket, in commands and in reports of
// replays.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "engine/config/config.h"
#include "engine/fold/error.h"
#include "engine/fold/event.h"

namespace shrike::engine {

// {"action","model","candidate","report"}: `report` is what the gate found, as an object; null without one.
nlohmann::ordered_json model_event_json(const ModelEvent& event);
// The same after its sequence number: {"seq",…}.
nlohmann::ordered_json model_event_json(uint64_t sequence, const ModelEvent& event);
// On one line, as it is announced. Bytes that are no UTF-8 become U+FFFD.
std::string model_event_text(uint64_t sequence, const ModelEvent& event);

// {"monitor","subject","finding","severity","action","time_us","text","evidence"}, and "target" and "values"
// where the action has some.
nlohmann::ordered_json judgement_json(const JudgementEvent& event);
std::string judgement_text(uint64_t sequence, const JudgementEvent& event);

nlohmann::ordered_json machine_json(const MachineEvent& event);
nlohmann::ordered_json start_json(const StartEvent& event);

// A judgement by an operator's hand: {"action","target","values","why"}. Allowed are thresholds (values:
// review and decline score), hold_training, go_on_training, quarantine and release (target: a source) and
// roll_back (target: how an earlier champion's hash begins).
Result<JudgementEvent> judgement_by_hand(const Config& config, std::string_view text);

}  // namespace shrike::engine
