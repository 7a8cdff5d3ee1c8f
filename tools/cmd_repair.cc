// shrike verify and shrike repair: a data directory after damage, or after a clock that was wrong
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include <nlohmann/json.hpp>

#include "engine/fold/event_time.h"
#include "engine/lifecycle/lifecycle.h"
#include "engine/log/history.h"
#include "engine/log/recovery.h"
#include "learners/model.h"
#include "tools/commands.h"
#include "tools/data_dir.h"
#include "tools/json.h"

namespace shrike::tools {
namespace {

constexpr size_t kProblemsShown = 20;

int verify(const std::string& dir, bool json) {
  auto opened = open_data_dir(dir);
  if (!opened) return complain(opened.error(), kFailed);
  const engine::Config& config = *opened->config;
  const storage::Store::Inspect inspect{
      .event =
          [&](uint64_t, std::string_view bytes) {
            const auto event = engine::decode_event(config.schema(), bytes);
            return event ? std::string() : event.error();
          },
      .label =
          [](std::string_view bytes) {
            const bool known = engine::decode_label_state(bytes).sequence != 0;
            return known ? std::string() : std::string("it is not a label's state");
          },
      .model =
          [](const std::string& hash, std::string_view bytes) {
            const std::string owned(bytes);
            if (learners::content_hash(owned) != hash) return std::string("its content has another hash");
            const auto model = learners::load_model(owned);
            return model ? std::string() : model.error().reason;
          }};
  size_t problems = 0;
  const auto found = opened->store->verify(inspect, [&](std::string problem) {
    if (problems++ < kProblemsShown) complain(dir + ": " + problem, 0);
  });
  if (problems > kProblemsShown) complain(fmt::format("and {} more", problems - kProblemsShown), 0);
  if (json) {
    const Json all = {{"events", found.events},
                      {"first_seq", opened->store->first_sequence()},
                      {"last_seq", opened->store->last_sequence()},
                      {"transactions", found.transactions},
                      {"labels", found.labels},
                      {"models", found.models},
                      {"checkpoints", found.checkpoints},
                      {"bytes", found.bytes},
                      {"problems", problems}};
    fmt::print("{}\n", to_text(all));
  } else {
    fmt::print(
        "{}: {} events ({} to {}), {} transactions and {} labels in the indexes, {} models, {} checkpoints, "
        "{:.1f} MB: {}\n",
        dir, found.events, opened->store->first_sequence(), opened->store->last_sequence(),
        found.transactions, found.labels, found.models, found.checkpoints,
        static_cast<double>(found.bytes) / 1e6,
        problems == 0 ? "whole" : fmt::format("{} problem{}", problems, problems == 1 ? "" : "s"));
  }
  if (problems > 0) complain("restore the directory from a copy; `shrike replay` reads what is left", 0);
  return problems == 0 ? 0 : kNotAllWell;
}

struct RepairOptions {
  std::string dir;
  bool accept_loss = false, dry_run = false;
  std::optional<double> time;  // in the schema's unit
};

// The newest time on which transactions of several entities agree, among the newest that were on time.
std::optional<int64_t> agreed_time(const engine::ConfigPtr& config, const storage::Store& store) {
  constexpr uint64_t kLook = 20'000;  // events
  const uint64_t last = store.last_sequence();
  std::vector<engine::Transaction> newest;
  auto cursor =
      store.read(last > kLook ? std::max(last - kLook, store.first_sequence()) : store.first_sequence());
  for (;;) {
    auto next = cursor.next();
    if (!next || !*next) break;
    auto event = engine::decode_event(config->schema(), (*next)->value);
    if (event && std::holds_alternative<engine::TransactionEvent>(*event))
      newest.push_back(std::move(std::get<engine::TransactionEvent>(*event).transaction));
  }
  std::sort(newest.begin(), newest.end(), [](const auto& a, const auto& b) { return a.time_us > b.time_us; });
  for (size_t i = 0; i + 1 < newest.size(); ++i) {
    engine::EventTime others(config);
    for (size_t k = i + 1; k < newest.size() && k <= i + engine::EventTime::kStraysMax &&
                           newest[i].time_us - newest[k].time_us <= config->limits.lateness_us;
         ++k)
      others.note(newest[k]);
    if (others.agree_with(newest[i])) return newest[i].time_us;
  }
  return std::nullopt;
}

int repair(const RepairOptions& options) {
  auto recorded = open_data_dir(options.dir);
  if (!recorded) return complain(recorded.error(), kFailed);
  const engine::ConfigPtr config = recorded->config;
  recorded->store.reset();
  storage::StoreOptions store_options;
  store_options.create_if_missing = false;
  store_options.accept_loss = options.accept_loss;
  auto opened = storage::Store::open(options.dir, store_options);
  if (!opened) return complain(opened.error().reason, kFailed);
  storage::Store& store = **opened;
  if (options.accept_loss)
    fmt::print("{}: what is there counts; the log ends at event {}\n", options.dir, store.last_sequence());

  engine::NoExamples nowhere;
  engine::StoreHistory history(store, config->plan);
  const auto folding = engine::make_fold(config, nowhere, &history);
  engine::Fold& fold = *folding;
  engine::ModelBook models(store, config);
  const auto folded = engine::restore_and_fold(store, models, fold, UINT64_MAX);
  if (!folded) return complain(folded.error(), kFailed);

  const features::Schema& schema = config->schema();
  std::optional<int64_t> time_us;
  if (options.time) {
    time_us = schema.time_origin_us +
              static_cast<int64_t>(*options.time * static_cast<double>(schema.time_unit_us));
  } else {
    time_us = agreed_time(config, store);
  }
  const int64_t now_us = fold.watermark_us();
  if (!time_us || now_us == INT64_MIN || now_us - *time_us <= config->limits.lateness_us) {
    fmt::print("{}: event time is what the newest transactions agree on; nothing to repair\n", options.dir);
    return 0;
  }
  const auto seconds = [&](int64_t us) { return (us - schema.time_origin_us) / schema.time_unit_us; };
  fmt::print("{}: event time stands at {} {}, {} ahead of what the newest transactions agree on, {}\n",
             options.dir, schema.fields[schema.time].name, seconds(now_us),
             features::format_duration(now_us - *time_us), seconds(*time_us));
  if (options.dry_run) return kNotAllWell;
  std::string bytes;
  engine::encode(engine::RepairEvent{*time_us}, bytes);
  const storage::Record record{.sequence = fold.next_sequence(), .value = bytes};
  if (auto written = store.append({&record, 1}, true); !written)
    return complain(written.error().reason, kFailed);
  fmt::print(
      "repaired by event {}: windows and waiting transactions go on from there. What had matured, been "
      "forgotten or deleted by the wrong time does not come back.\n",
      record.sequence);
  return 0;
}

}  // namespace

void add_verify(CLI::App& app, int& exit_code) {
  auto dir = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("verify",
                                         "Reads every byte of a data directory: tables, log, indexes, "
                                         "models, checkpoints. Exit code 1 when something "
                                         "is damaged or missing. A server may be running.\n\n"
                                         "  shrike verify ./shrike-data");
  command->add_option("dir", *dir, "data directory")->required();
  command->add_flag("--json", *json, "for machines");
  command->callback([dir, json, &exit_code] { exit_code = verify(*dir, *json); });
}

void add_repair(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<RepairOptions>();
  CLI::App* command = app.add_subcommand(
      "repair",
      "Undoes what a wrong clock did to a data directory: when event time stands far ahead of what the "
      "newest "
      "transactions agree on, an event sets it back, and windows forget what was dated after it. No server "
      "may be "
      "running.\n\n"
      "  shrike repair ./shrike-data --dry-run\n"
      "  shrike repair ./shrike-data --time 7776000        # in the schema's unit\n"
      "  shrike repair ./shrike-data --accept-loss         # go on although acknowledged events are missing");
  command->add_option("dir", options->dir, "data directory")->required();
  command->add_option("--time", options->time,
                      "the event time to go on from; by default what the newest "
                      "transactions agree on");
  command->add_flag("--dry-run", options->dry_run,
                    "say what is wrong, change nothing; exit code 1 if something is");
  command->add_flag("--accept-loss", options->accept_loss,
                    "the end of the log is damaged or missing: what is there counts from now on");
  command->callback([options, &exit_code] { exit_code = repair(*options); });
}

}  // namespace shrike::tools
