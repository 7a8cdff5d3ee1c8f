#include "engine/wire/model_json.h"

#include <nlohmann/json.hpp>

namespace shrike::engine {

using Json = nlohmann::ordered_json;

Json model_event_json(const ModelEvent& event) {
  Json report = event.report.empty() ? Json() : Json::parse(event.report, nullptr, false);
  if (report.is_discarded()) report = event.report;  // a text, then
  return {{"action", name(event.action)},
          {"model", event.model},
          {"candidate", event.candidate},
          {"report", std::move(report)}};
}

Json model_event_json(uint64_t sequence, const ModelEvent& event) {
  Json json = {{"seq", sequence}};
  json.update(model_event_json(event));
  return json;
}

std::string model_event_text(uint64_t sequence, const ModelEvent& event) {
  return model_event_json(sequence, event).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace shrike::engine
