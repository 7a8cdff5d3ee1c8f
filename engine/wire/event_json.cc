#include "engine/wire/event_json.h"

#include <nlohmann/json.hpp>

namespace shrike::engine {

using Json = nlohmann::ordered_json;

namespace {

// JSON inside of JSON; a text where it is none.
Json parsed(const std::string& text) {
  Json json = text.empty() ? Json() : Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json(text) : json;
}

std::string on_one_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Json model_event_json(const ModelEvent& event) {
  return {{"action", name(event.action)},
          {"model", event.model},
          {"candidate", event.candidate},
          {"report", parsed(event.report)}};
}

Json judgement_json(const JudgementEvent& event) {
  Json json = {{"monitor", event.monitor},
               {"subject", event.subject},
               {"finding", name(event.finding)},
               {"severity", name(event.severity)},
               {"action", name(event.action)},
               {"time_us", event.time_us},
               {"text", event.text},
               {"evidence", parsed(event.evidence)}};
  if (!event.target.empty()) json["target"] = event.target;
  if (event.values != decltype(event.values){}) json["values"] = event.values;
  return json;
}

std::string judgement_text(uint64_t sequence, const JudgementEvent& event) {
  Json json = {{"seq", sequence}};
  json.update(judgement_json(event));
  return on_one_line(json);
}

Json model_event_json(uint64_t sequence, const ModelEvent& event) {
  Json json = {{"seq", sequence}};
  json.update(model_event_json(event));
  return json;
}

std::string model_event_text(uint64_t sequence, const ModelEvent& event) {
  return on_one_line(model_event_json(sequence, event));
}

}  // namespace shrike::engine
