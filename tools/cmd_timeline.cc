// shrike timeline: what happened to models, judgements and configurations, as the log has it.
#include <fmt/format.h>

#include <chrono>
#include <memory>

#include <date/date.h>
#include <nlohmann/json.hpp>

#include "engine/fold/event.h"
#include "engine/wire/event_json.h"
#include "tools/commands.h"
#include "tools/data_dir.h"
#include "tools/json.h"

namespace shrike::tools {
namespace {

struct Options {
  std::string data = "./shrike-data", monitor;
  uint64_t from = 1;
  bool json = false, warnings = false, all = false;
};

// An event of the story, and when it happened by event time.
struct Told {
  uint64_t sequence;
  int64_t time_us;  // INT64_MIN before the first transaction
  engine::Event event;
};

std::string when(int64_t time_us) {
  if (time_us == INT64_MIN) return "before the first";
  return date::format("%F %R", date::floor<std::chrono::minutes>(date::sys_time<std::chrono::microseconds>(
                                   std::chrono::microseconds(time_us))));
}

bool is_wanted(const Options& options, const engine::Event& event) {
  const auto* judgement = std::get_if<engine::JudgementEvent>(&event);
  if (judgement != nullptr && options.warnings && judgement->severity == engine::Severity::kInfo)
    return false;
  if (!options.monitor.empty()) return judgement != nullptr && judgement->monitor == options.monitor;
  if (std::holds_alternative<engine::MachineEvent>(event)) return options.all;
  return judgement != nullptr || std::holds_alternative<engine::ModelEvent>(event) ||
         std::holds_alternative<engine::ConfigEvent>(event) ||
         std::holds_alternative<engine::RepairEvent>(event) ||
         std::holds_alternative<engine::StartEvent>(event);
}

void print(const Told& told) {
  std::string kind, text;
  if (const auto* judgement = std::get_if<engine::JudgementEvent>(&told.event)) {
    kind = judgement->monitor;
    text = fmt::format("{} {}{}", name(judgement->severity), name(judgement->finding),
                       judgement->subject.empty() ? "" : " " + judgement->subject);
    if (judgement->action != engine::Action::kNone) text += fmt::format(" -> {}", name(judgement->action));
    text += ": " + judgement->text;
  } else if (const auto* model = std::get_if<engine::ModelEvent>(&told.event)) {
    kind = "model";
    text = fmt::format("{} {} after {} examples", name(model->action), model->model.substr(0, 12),
                       model->candidate);
    const auto report = nlohmann::json::parse(model->report, nullptr, false);
    if (report.is_object() && report.contains("reason")) text += ": " + report["reason"].get<std::string>();
  } else if (const auto* machine = std::get_if<engine::MachineEvent>(&told.event)) {
    kind = "machine";
    text = fmt::format("{} answers, 99 % within {:.3g} ms; {} late, {} refused; {} MiB", machine->answers,
                       static_cast<double>(machine->p99_us) / 1000, machine->late, machine->refusals,
                       machine->resident_bytes >> 20);
  } else if (std::holds_alternative<engine::ConfigEvent>(told.event)) {
    kind = "config";
    text = "a configuration takes effect";
  } else if (const auto* start = std::get_if<engine::StartEvent>(&told.event)) {
    kind = "start";
    text = fmt::format("a server of version {} began", start->version);
    if (start->folded > 0) text += fmt::format("; {} events were in no checkpoint", start->folded);
  } else {
    kind = "repair";
    text = "event time was set back";
  }
  fmt::print("{:>10}  {:<16}  {:<10}  {}\n", told.sequence, when(told.time_us), kind, text);
}

Json to_json(const Told& told) {
  Json json = {{"seq", told.sequence}};
  if (told.time_us != INT64_MIN) json["time_us"] = told.time_us;
  if (const auto* judgement = std::get_if<engine::JudgementEvent>(&told.event)) {
    json["kind"] = "judgement";
    json.update(engine::judgement_json(*judgement));
  } else if (const auto* model = std::get_if<engine::ModelEvent>(&told.event)) {
    json["kind"] = "model";
    json.update(engine::model_event_json(*model));
  } else if (const auto* machine = std::get_if<engine::MachineEvent>(&told.event)) {
    json["kind"] = "machine";
    json.update(engine::machine_json(*machine));
  } else if (const auto* start = std::get_if<engine::StartEvent>(&told.event)) {
    json["kind"] = "start";
    json.update(engine::start_json(*start));
  } else {
    json["kind"] = std::holds_alternative<engine::ConfigEvent>(told.event) ? "config" : "repair";
  }
  return json;
}

int run(const Options& options) {
  const auto data = open_data_dir(options.data);
  if (!data) return complain(data.error(), kBadInput);
  const uint64_t first = data->store->first_sequence();
  if (options.from < first && first > 1)
    remark(fmt::format("the log begins at event {}: retention has taken what was before", first));
  Json all = Json::array();
  size_t count = 0;
  int64_t time_us = INT64_MIN;
  auto cursor = data->store->read(std::max(options.from, first));
  while (true) {
    auto next = cursor.next();
    if (!next) return complain(next.error().reason, kFailed);
    if (!*next) break;
    auto event = engine::decode_event(data->config->schema(), (*next)->value);
    if (!event) return complain(fmt::format("event {}: {}", (*next)->sequence, event.error()), kFailed);
    const auto* transaction = std::get_if<engine::TransactionEvent>(&*event);
    if (transaction != nullptr && transaction->answer.clock == engine::Clock::kOnTime)
      time_us = std::max(time_us, transaction->transaction.time_us);
    if (!is_wanted(options, *event)) continue;
    const Told told{(*next)->sequence, time_us, std::move(*event)};
    ++count;
    options.json ? all.push_back(to_json(told)) : print(told);
  }
  if (options.json) {
    fmt::print("{}\n", to_text({{"events", std::move(all)}}));
  } else if (count == 0) {
    fmt::print("nothing happened yet but transactions and labels\n");
  }
  return 0;
}

}  // namespace

void add_timeline(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "timeline", "tell the story of a data directory: models, judgements, configurations");
  auto options = std::make_shared<Options>();
  command->add_option("data", options->data, "the data directory")->capture_default_str();
  command->add_option("--from", options->from, "from this event on")->capture_default_str();
  command->add_option("--monitor", options->monitor, "only what this monitor judged: drift, quality, …");
  command->add_flag("--warnings", options->warnings, "leave out judgements that are only told");
  command->add_flag("--all", options->all, "also what the server measured of itself, once a minute");
  command->add_flag("--json", options->json, "as JSON, with the evidence of each judgement");
  command->footer(
      "examples:\n  shrike timeline ./shrike-data\n  shrike timeline ./shrike-data --monitor drift --json");
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace shrike::tools
