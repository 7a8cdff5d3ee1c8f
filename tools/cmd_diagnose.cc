// shrike diagnose: what went wrong in a data directory, why, and what to do about it.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/diagnosis/causes.h"
#include "engine/diagnosis/gather.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/data_dir.h"
#include "tools/diagnosis_report.h"
#include "tools/json.h"

namespace shrike::tools {
namespace {

constexpr int kAnswerMs = 10'000, kThereMs = 2'000;

struct Options {
  std::string data = "./shrike-data", from, to, endpoint = "tcp://127.0.0.1:7202";
  int64_t reference_days = engine::kReferenceDays;
  bool json = false, fix = false;
};

// What the server is asked for; as `shrike judge` and `shrike train` would.
Json judgement_of(const engine::Cause& cause) {
  const char* action = nullptr;
  switch (cause.remedy) {
    case engine::Remedy::kRetrain:
      action = "retrain";
      break;
    case engine::Remedy::kQuarantine:
      action = "quarantine";
      break;
    case engine::Remedy::kDropFeature:
      action = "drop_feature";
      break;
    case engine::Remedy::kRollBack:
      action = "roll_back";
      break;
    case engine::Remedy::kNone:
      return nullptr;
  }
  return {{"action", action},
          {"target", cause.target},
          {"why", fmt::format("diagnosed with score {:.2f}: {}", cause.score, cause.text)}};
}

// One remedy, asked for; what the server says of it.
void ask_for(const Json& judgement, const std::string& endpoint, Fixed& fixed) {
  const std::string request = to_text({{"command", "judge"}, {"argument", to_text(judgement)}});
  const auto reply = Client::ask(endpoint, request, kAnswerMs);
  if (!reply) {
    fixed.said = reply.error();
    return;
  }
  const Json said = from_text(*reply);
  fixed.done = said.is_object() && !said.contains("error");
  fixed.said = said.is_object() && said.contains("error")
                   ? "refused: " + said["error"].value("reason", std::string("no reason is given"))
                   : *reply;
}

// Each remedy by itself: one that is refused leaves the others.
std::vector<Fixed> apply(const std::vector<engine::Cause>& causes, const std::string& endpoint) {
  std::vector<Fixed> fixes;
  std::optional<std::string> unreachable;  // asked once, when there is something to do; "" when it answers
  bool retrained = false;
  for (const engine::Cause& cause : causes) {
    const Json judgement = judgement_of(cause);
    if (cause.score < engine::kProbable || judgement.is_null()) continue;
    if (cause.remedy == engine::Remedy::kRetrain && retrained) continue;
    if (!unreachable) {
      const auto there = Client::ask(endpoint, R"({"command":"status"})", kThereMs);
      unreachable = there ? "" : there.error();
    }
    Fixed& fixed = fixes.emplace_back();
    fixed.what = cause.command;
    fixed.undo = cause.undo;
    fixed.said = *unreachable;
    if (unreachable->empty()) ask_for(judgement, endpoint, fixed);
    retrained |= cause.remedy == engine::Remedy::kRetrain && fixed.done;
  }
  return fixes;
}

tl::expected<engine::Gathering, std::string> what_to_gather(const DataDir& data, const Options& options) {
  engine::Asked asked;
  for (const auto& [text, into] : {std::pair(&options.from, &asked.from), {&options.to, &asked.to}}) {
    if (text->empty()) continue;
    const auto day = engine::parse_day(*text);
    if (!day) return tl::make_unexpected((text == &options.from ? "--from " : "--to ") + day.error());
    *into = *day;
  }
  const auto log = engine::days_of(*data.store, *data.config);
  if (!log) return tl::make_unexpected(log.error());
  const auto period = engine::period_of(*log, asked);
  if (!period) return tl::make_unexpected(period.error());
  return engine::Gathering{.config = data.config,
                           .log = *log,
                           .reference = engine::reference_of(*log, *period, options.reference_days),
                           .period = *period,
                           .progress = nullptr};
}

int run(const Options& options) {
  const auto data = open_data_dir(options.data);
  if (!data) return complain(data.error(), kBadInput);
  const auto gathering = what_to_gather(*data, options);
  if (!gathering) return complain(gathering.error(), kBadInput);
  const engine::Evidence evidence = engine::gather(*data->store, *gathering);
  const std::vector<engine::Cause> causes = engine::diagnose(evidence);
  if (!options.json) print_diagnosis(evidence, causes);
  std::vector<Fixed> fixes;
  if (options.fix) fixes = apply(causes, options.endpoint);
  if (options.json) {
    fmt::print("{}\n", to_text(diagnosis_json(evidence, causes, fixes)));
  } else if (options.fix) {
    print_fixes(fixes);
  }
  const bool failed = std::any_of(fixes.begin(), fixes.end(), [](const Fixed& fixed) { return !fixed.done; });
  if (failed) return kFailed;
  const bool well = causes.empty() || causes.front().score < engine::kProbable;
  return well && parts_failed(evidence) == 0 ? 0 : kNotAllWell;
}

}  // namespace

void add_diagnose(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("diagnose",
                         "What went wrong in a data directory, why, and what to do: compares a period with "
                         "the days before it – inputs, "
                         "performance, labels, models, importance of features, infrastructure, what monitors "
                         "told – and ranks probable "
                         "causes with their evidence. A part that cannot be examined says so, and the others "
                         "go on. A server may be "
                         "running; nothing is changed without --fix. Exit code 1 when a cause is probable or "
                         "a part could not be "
                         "examined, 3 when a fix was not done.\n\n"
                         "  shrike diagnose ./shrike-data\n"
                         "  shrike diagnose ./shrike-data --from 2018-06-01 --to 2018-06-14 --json\n"
                         "  shrike diagnose ./shrike-data --fix --endpoint tcp://127.0.0.1:7202");
  command->add_option("data", options->data, "the data directory")->capture_default_str();
  command->add_option(
      "--from", options->from,
      "the period's first day of event time (UTC), as in 2018-06-01; default: the log's last 14 days, "
      "or its last third");
  command->add_option("--to", options->to, "the period's last day; default: the log's last");
  command
      ->add_option("--reference-days", options->reference_days,
                   "days before the period to compare with, at most")
      ->check(CLI::Range(1, 400))
      ->capture_default_str();
  command->add_flag("--json", options->json, "all of it, for machines");
  command->add_flag(
      "--fix", options->fix,
      "apply what is safe for each probable cause on the running server: drop a broken feature from "
      "scoring, quarantine a source, roll back, retrain; each is an event of the log, with the command "
      "that takes it back");
  command->add_option("--endpoint,-e", options->endpoint, "the server's feedback socket, for --fix")
      ->capture_default_str();
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace shrike::tools
