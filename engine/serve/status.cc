#include "engine/serve/status.h"

#include <nlohmann/json.hpp>

namespace shrike::engine {
namespace {

using Json = nlohmann::ordered_json;

// A counter for each value of an enum, by its name.
template <typename Enum, typename Counters>
Json by_name(const Counters& counters, size_t count) {
  Json json = Json::object();
  for (size_t i = 0; i < count; ++i) json[std::string(name(static_cast<Enum>(i)))] = counters[i].load();
  return json;
}

Json quantiles(const Histogram& histogram) {
  const Histogram::Counts counts = histogram.counts();
  return {{"p50", Histogram::quantile(counts, 0.5)},
          {"p99", Histogram::quantile(counts, 0.99)},
          {"p999", Histogram::quantile(counts, 0.999)},
          {"max", histogram.most()}};
}

void add_models(Json& json, const Config& config, const Fold& fold, const Probe& probe) {
  const Counters& c = fold.counters();
  json["champion"] = fold.champion_hash();
  json["challenger"] = fold.challenger().hash;
  json["challenger_share"] = fold.challenger().share;
  json["challenger_tested"] = fold.challenger().tested;
  json["examples"] = fold.examples();
  json["fraud_examples"] = c.frauds;
  json["examples_waiting"] = probe.examples_waiting.load();
  json["sampled_share"] = fold.sampled_share();
  json["examples_spared"] = c.spared;
  json["models_accepted"] = c.accepted;
  json["models_rejected"] = c.rejected;
  json["models_activated"] = c.activated;
  json["models_retrained"] = c.retrained;
  json["dropped"] = fold.dropped().names();
  json["retraining"] = fold.retraining().has_value();
  json["trial"] = {{"examples", probe.trial_examples.load()},
                   {"examples_min", config.gate.examples_min},
                   {"frauds", probe.trial_frauds.load()},
                   {"frauds_min", config.gate.frauds_min}};
}

void add_events(Json& json, const Fold& fold, const Probe& probe) {
  const Counters& c = fold.counters();
  json["transactions"] = c.transactions;
  json["duplicates"] = probe.duplicates.load();
  json["clock_ahead"] = c.ahead;
  json["clock_late"] = c.late;
  json["labels"] = c.labels;
  json["duplicate_labels"] = probe.duplicate_labels.load();
  json["corrections"] = c.corrections;
  json["labels_pending"] = c.orphans - c.orphans_joined - c.orphans_expired;
  json["labels_expired"] = c.orphans_expired;
  json["matured"] = c.matured;
  json["unknown_outcomes"] = c.unknown;
  json["controls"] = c.controls;
  json["outcomes"] = c.outcomes;
  json["kpis"] = c.kpis;
  json["judgements"] = c.judgements;
  json["pending_transactions"] = fold.pending_size();
  json["pending_bytes"] = fold.pending_bytes();
  json["row_divergences"] = probe.divergences.load();
}

void add_requests(Json& json, const Probe& probe) {
  json["unknown_fields"] = probe.unknown_fields.load();
  json["unknown_field_names"] = probe.unknown_names.all();
  json["dropped_replies"] = probe.dropped_replies.load();
  json["requests"] = probe.requests.load();
  json["late_replies"] = probe.late_replies.load();
  json["latency_us"] = quantiles(probe.latency);
  json["latency_parts"] = {{"waiting_us", quantiles(probe.waiting)},
                           {"deciding_us", quantiles(probe.deciding)},
                           {"writing_us", quantiles(probe.writing)},
                           {"replying_us", quantiles(probe.replying)}};
  json["steps"] = by_name<Step>(probe.steps, probe.steps.size());
  json["errors"] = by_name<ErrorCode>(probe.errors, kErrorCodes);
  Json& alerts = json["alerts"] = Json::object();
  for (size_t i = 0; i < kAlertSinkKinds; ++i) {
    const AlertCounts& counts = probe.alerts[i];
    alerts[std::string(name(static_cast<AlertSinkKind>(i)))] = {{"delivered", counts.delivered.load()},
                                                                {"failed", counts.failed.load()},
                                                                {"dropped", counts.dropped.load()}};
  }
}

}  // namespace

std::string status_text(const Config& config, const Fold& fold, const Journal& journal, const Probe& probe) {
  Json json = {{"next_seq", fold.next_sequence()},
               {"committed_seq", journal.committed()},
               {"storage", journal.failed() ? "failing" : "ok"},
               {"checkpoints", probe.checkpoints.load()}};
  add_models(json, config, fold, probe);
  add_events(json, fold, probe);
  add_requests(json, probe);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace shrike::engine
