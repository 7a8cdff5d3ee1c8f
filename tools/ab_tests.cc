#include "tools/ab_tests.h"

#include <fmt/format.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <date/date.h>
#include <nlohmann/json.hpp>

#include "engine/lifecycle/ab_test.h"
#include "engine/lifecycle/lifecycle.h"
#include "engine/log/history.h"
#include "engine/log/recovery.h"
#include "engine/wire/event_json.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/data_dir.h"
#include "tools/json.h"

namespace shrike::tools {
namespace {

struct Options {
  std::string model, metric, on_success = "tell", endpoint = "tcp://127.0.0.1:7202", data = "./shrike-data";
  std::optional<double> share, significance, power, effect, days;
  std::vector<std::string> guards;
  bool plan = false, anyway = false, json = false;
};

// "decline_rate=0.1", as {"decline_rate": 0.1}.
tl::expected<Json, std::string> guards_json(const std::vector<std::string>& guards) {
  Json json = Json::object();
  for (const std::string& guard : guards) {
    const size_t equal = guard.find('=');
    const Json tolerated =
        equal == std::string::npos ? Json() : Json::parse(guard.substr(equal + 1), nullptr, false);
    if (!tolerated.is_number())
      return tl::make_unexpected(fmt::format(
          "--guard {}: expected METRIC=SHARE, such as decline_rate=0.1: it may get worse by a tenth", guard));
    json[guard.substr(0, equal)] = tolerated;
  }
  return json;
}

tl::expected<Json, std::string> declaration(const Options& options) {
  auto guards = guards_json(options.guards);
  if (!guards) return guards;
  Json said = {{"metric", options.metric},
               {"guards", std::move(*guards)},
               {"on_success", options.on_success},
               {"anyway", options.anyway}};
  if (!options.model.empty()) said["model"] = options.model;
  const std::pair<const char*, const std::optional<double>&> kNumbers[] = {
      {"share", options.share},
      {"significance", options.significance},
      {"power", options.power},
      {"effect", options.effect},
      {"days", options.days}};
  for (const auto& [key, value] : kNumbers) {
    if (value) said[key] = *value;
  }
  return said;
}

// What a server answers to the command "test"; complains when it refuses.
tl::expected<Json, int> ask(const Options& options, Json said, bool plan_only) {
  said["plan"] = plan_only;
  const auto reply =
      Client::ask(options.endpoint, to_text({{"command", "test"}, {"argument", to_text(said)}}), 10'000);
  if (!reply) return tl::make_unexpected(complain(reply.error(), kFailed));
  Json answer = from_text(*reply);
  if (answer.is_object() && answer.contains("error")) {
    const Json& error = answer["error"];
    const std::string field = error.value("field", "");
    return tl::make_unexpected(complain(
        fmt::format("{}{}{}", field, field.empty() ? "" : ": ", error.value("reason", *reply)), kNotAllWell));
  }
  return answer;
}

void print_plan(const Json& plan) {
  const auto percent = [](const Json& share) { return fmt::format("{:.4g} %", 100 * share.get<double>()); };
  const auto count = [](const Json& number) { return fmt::format("{:.0f}", number.get<double>()); };
  const auto line = [](const char* what, const std::string& value) { fmt::print("{:<22}{}\n", what, value); };
  const Json &baseline = plan["baseline"], &needed = plan["needed"];
  line("metric", plan["metric"].get<std::string>());
  line("baseline", fmt::format("{:.4g}, from the last {} complete days; {} observations a day",
                               baseline["value"].get<double>(), baseline["days"].get<int64_t>(),
                               count(baseline["per_day"])));
  line("to be found", fmt::format("a change by {} of it ({:.4g})", percent(plan["effect"]),
                                  plan["effect_absolute"].get<double>()));
  line("significance, power",
       fmt::format("{}, {}; looked at all along", percent(plan["significance"]), percent(plan["power"])));
  line("test group", fmt::format("{} of the entities", percent(plan["share"])));
  line("observations needed",
       fmt::format("{} in the test group, {} outside ({} in all with a single look at the end)",
                   count(needed["challenger"]), count(needed["champion"]), count(needed["with_one_look"])));
  line("days needed", fmt::format("{:.1f}, at most {:.4g} are allowed", needed["days"].get<double>(),
                                  plan["days"].get<double>()));
  for (const auto& [metric, tolerated] : plan["guards"].items())
    line("guard", fmt::format("{} may get worse by {}", metric, percent(tolerated)));
  line("if it is better", plan["on_success"] == "promote" ? "it becomes champion" : "it is told");
}

int test(const Options& options) {
  const auto said = declaration(options);
  if (!said) return complain(said.error(), kBadInput);
  if (options.model.empty() && !options.plan)
    return complain("name the model that is tested; with --plan only the plan is made", kBadInput);
  const auto planned = ask(options, *said, true);
  if (!planned) return planned.error();
  const Json& plan = (*planned)["plan"];
  if (options.plan) {
    options.json ? fmt::print("{}\n", to_text(*planned)) : print_plan(plan);
    return plan["fits"] == true ? 0 : kNotAllWell;
  }
  if (!options.json) print_plan(plan);
  const auto begun = ask(options, *said, false);
  if (!begun) return begun.error();
  if (options.json) {
    fmt::print("{}\n", to_text(*begun));
  } else {
    fmt::print(
        "\nthe test of {} has begun with event {}; `shrike models tests` tells how it goes, `shrike judge "
        "abort` ends it\n",
        (*begun)["tested"].get<std::string>(), (*begun)["seq"].get<uint64_t>());
  }
  return 0;
}

// A test of the log, from the event that began it to the judgement that ended it.
struct Told {
  uint64_t sequence = 0, ended = 0;  // 0: it is under way
  std::string model;
  Json declared, evidence;
  std::string finding = "under way", text;
};

tl::expected<std::vector<Told>, std::string> read_tests(const DataDir& data) {
  std::vector<Told> tests;
  auto cursor = data.store->read(data.store->first_sequence());
  while (true) {
    auto next = cursor.next();
    if (!next) return tl::make_unexpected(next.error().reason);
    if (!*next) return tests;
    auto event = engine::decode_event(data.config->schema(), (*next)->value);
    if (!event) return tl::make_unexpected(fmt::format("event {}: {}", (*next)->sequence, event.error()));
    if (const auto* model = std::get_if<engine::ModelEvent>(&*event);
        model != nullptr && model->action == engine::ModelAction::kTested) {
      Told told;
      told.sequence = (*next)->sequence;
      told.model = model->model;
      told.declared = from_text(model->report)["ab_test"];
      tests.push_back(std::move(told));
    }
    const auto* judgement = std::get_if<engine::JudgementEvent>(&*event);
    if (judgement == nullptr || judgement->monitor != "ab_test" || tests.empty()) continue;
    Told& told = tests.back();
    told.ended = (*next)->sequence;
    told.finding = name(judgement->finding);
    told.text = judgement->text;
    told.evidence = from_text(judgement->evidence);
  }
}

// How the test that is under way stands, by the monitors.
tl::expected<Json, std::string> standing(const DataDir& data) {
  engine::NoExamples nowhere;
  engine::StoreHistory history(*data.store, data.config->plan);
  const auto fold = engine::make_fold(data.config, nowhere, &history);
  engine::ModelBook models(*data.store, data.config);
  const auto folded = engine::restore_and_fold(*data.store, models, *fold, UINT64_MAX);
  if (!folded) return tl::make_unexpected(folded.error());
  return from_text(fold->watch_report())["ab_test"];
}

Json to_json(const Told& told) {
  Json json = {{"seq", told.sequence}, {"model", told.model}, {"verdict", told.finding}};
  if (told.ended > 0) json["ended_by"] = told.ended;
  if (!told.text.empty()) json["text"] = told.text;
  json["declared"] = told.declared;
  json["report"] = told.evidence;
  return json;
}

std::string number_text(const Json& value) {
  return value.is_number() ? fmt::format("{:.4g}", value.get<double>()) : std::string("-");
}

void print(const Told& told) {
  const Json& e = told.evidence;
  fmt::print("{:>10}  {}  {}  {}\n", told.sequence, told.model.substr(0, 12),
             told.declared.value("metric", std::string("?")), told.finding);
  if (!told.text.empty()) fmt::print("    {}\n", told.text);
  if (e.is_object() && e.contains("difference")) {
    fmt::print(
        "    {} with it on {}, {} without on {}; difference {} [{}, {}], looked at once [{}, {}], p {}\n",
        number_text(e["challenger"]["value"]), number_text(e["challenger"]["observations"]),
        number_text(e["champion"]["value"]), number_text(e["champion"]["observations"]),
        number_text(e["difference"]), number_text(e["interval"][0]), number_text(e["interval"][1]),
        number_text(e["one_look"]["interval"][0]), number_text(e["one_look"]["interval"][1]),
        number_text(e["one_look"]["p"]));
    fmt::print("    {:.0f} % of the planned information\n", 100 * e["information"].get<double>());
  }
  if (!e.is_object() || !e.contains("guards")) return;
  for (const Json& guard : e["guards"]) {
    if (!guard.contains("change")) continue;
    fmt::print("    guard {}: {} with it, {} without{}\n", guard["metric"].get<std::string>(),
               number_text(guard["challenger"]), number_text(guard["champion"]),
               guard["violated"] == true ? ": violated" : "");
  }
}

int tests(const Options& options) {
  const auto data = open_data_dir(options.data);
  if (!data) return complain(data.error(), kBadInput);
  auto all = read_tests(*data);
  if (!all) return complain(all.error(), kFailed);
  if (!all->empty() && all->back().ended == 0) {
    auto now = standing(*data);
    if (!now) return complain(now.error(), kFailed);
    all->back().evidence = std::move(*now);
  }
  if (options.json) {
    Json json = Json::array();
    for (const Told& told : *all) json.push_back(to_json(told));
    fmt::print("{}\n", to_text({{"tests", std::move(json)}}));
    return 0;
  }
  if (all->empty()) fmt::print("no A/B test yet: `shrike models test ID --metric …` begins one\n");
  for (const Told& told : *all) print(told);
  return 0;
}

}  // namespace

void add_ab_tests(CLI::App& models, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* one = models.add_subcommand(
      "test",
      "an A/B test of a kept model on a running server: prints what it needs, by what the log says of the "
      "metric, "
      "and begins it. The model answers a fixed share of the entities; the test ends when the metric is "
      "shown to "
      "be better or worse, a guard is violated, the planned observations are there, or its time is over\n\n"
      "  shrike models test 3f2a --metric ctr\n"
      "  shrike models test 3f2a --metric revenue --share 0.5 --effect 0.05 --guard ctr=0.05 --on-success "
      "promote\n"
      "  shrike models test --metric ctr --plan");
  one->add_option("model", options->model, "its hash, or how it begins; with --plan not needed");
  one->add_option(
         "--metric,-m", options->metric,
         "recall, precision, false_positive_rate, log_loss, fraud_rate, decline_rate, review_rate, or a "
         "KPI of the configuration")
      ->required();
  one->add_option("--share", options->share, "of the entities that it answers");
  one->add_option("--significance", options->significance,
                  "chance that a test without a difference finds one");
  one->add_option("--power", options->power, "chance that a difference as large as --effect is found");
  one->add_option("--effect", options->effect, "the least difference of interest, as a share of the metric");
  one->add_option("--days", options->days, "the longest that it may take");
  one->add_option("--guard", options->guards,
                  "METRIC=SHARE: it ends as failed when this metric is worse by more; may be repeated");
  one->add_option("--on-success", options->on_success,
                  "tell, or promote: it becomes champion if it is better")
      ->check(CLI::IsMember({"tell", "promote"}))
      ->capture_default_str();
  one->add_flag("--plan", options->plan, "print the plan only; exit code 1 when it takes longer than it may");
  one->add_flag("--anyway", options->anyway, "begin although it takes longer than it may");
  one->add_option("--endpoint,-e", options->endpoint, "the server's feedback socket")->capture_default_str();
  one->add_flag("--json", options->json, "for machines");
  one->callback([options, &exit_code] { exit_code = test(*options); });
  one = models.add_subcommand("tests", "every A/B test of the log, with its verdict and figures");
  one->add_option("--data,-d", options->data, "the data directory; a server may be running on it")
      ->capture_default_str();
  one->add_flag("--json", options->json, "for machines");
  one->callback([options, &exit_code] { exit_code = tests(*options); });
}

}  // namespace shrike::tools
