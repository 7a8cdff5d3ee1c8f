#include "engine/wire/event_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

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

Json machine_json(const MachineEvent& event) {
  return {{"server_time_us", event.time_us},
          {"period_us", event.period_us},
          {"answers", event.answers},
          {"latency_us", {{"p50", event.p50_us}, {"p99", event.p99_us}, {"p999", event.p999_us}}},
          {"late", event.late},
          {"refusals", event.refusals},
          {"fallbacks", event.fallbacks},
          {"statics", event.statics},
          {"resident_bytes", event.resident_bytes},
          {"examples_waiting", event.examples_waiting}};
}

Json start_json(const StartEvent& event) {
  return {{"server_time_us", event.time_us},
          {"version", event.version},
          {"config", fmt::format("{:016x}", event.config)},
          {"folded", event.folded}};
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

Result<JudgementEvent> judgement_by_hand(const Config& config, std::string_view text) {
  const auto invalid = [](std::string field, std::string reason) {
    return refuse(ErrorCode::kInvalid, std::move(field), std::move(reason));
  };
  const Json said = Json::parse(text, nullptr, false);
  if (!said.is_object()) return invalid("argument", "expected a JSON object with action, target and why");
  const auto word = [&](const char* key) {
    const auto found = said.find(key);
    return found != said.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  JudgementEvent event;
  event.monitor = kOperator;
  event.severity = Severity::kWarning;
  event.target = word("target");
  event.text = word("why");
  const std::string action = word("action");
  constexpr Action kByHand[] = {Action::kThresholds, Action::kHoldTraining, Action::kGoOnTraining,
                                Action::kQuarantine, Action::kRelease,      Action::kRollBack,
                                Action::kShadow,     Action::kCanary,       Action::kPromote,
                                Action::kAbort,      Action::kHoldRollout,  Action::kGoOnRollout,
                                Action::kRetrain,    Action::kDropFeature,  Action::kRestoreFeature};
  const auto found =
      std::find_if(std::begin(kByHand), std::end(kByHand), [&](Action one) { return name(one) == action; });
  if (found == std::end(kByHand)) {
    return invalid("action",
                   "allowed are thresholds, hold_training, go_on_training, quarantine, release, roll_back, "
                   "shadow, canary, promote, abort, hold_rollout, go_on_rollout, retrain, drop_feature, "
                   "restore_feature");
  }
  event.action = *found;
  if (event.text.empty()) return invalid("why", "say why: the log keeps it");
  if (event.action == Action::kQuarantine || event.action == Action::kRelease) {
    if (const auto source = config.sources.find(event.target); !source)
      return invalid("target", source.error());
  }
  if (event.action == Action::kRetrain) {
    if (const auto strategy = parse_retrain_strategy(event.target); !strategy)
      return invalid("target", strategy.error());
  }
  if (event.action == Action::kRollBack && event.target.empty())
    return invalid("target",
                   "give how the hash of an earlier champion begins; `status` and `models` name them");
  const bool of_feature = event.action == Action::kDropFeature || event.action == Action::kRestoreFeature;
  if (of_feature && event.target.empty())
    return invalid("target", "name a column, or a field with all that comes of it: field:NAME");
  std::vector<double> values;
  if (const auto given = said.find("values"); given != said.end() && given->is_array()) {
    for (const Json& value : *given) values.push_back(value.is_number() ? value.get<double>() : -1);
  }
  if (event.action == Action::kThresholds) {
    if (values.size() != 2 || !(values[0] >= 0 && values[0] <= values[1] && values[1] <= 1))
      return invalid("values",
                     "expected two probabilities, review and decline score, the first not above the other");
    event.values = {values[0], values[1]};
  }
  if (event.action == Action::kCanary) {
    if (values.size() != 1 || !(values[0] > 0 && values[0] <= 1))
      return invalid("values", "expected the share of entities, above 0 and at most 1");
    event.values[0] = values[0];
  }
  event.subject = event.target;
  return event;
}

}  // namespace shrike::engine
