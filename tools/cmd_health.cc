// shrike health: how the monitors of a data directory stand, and what to do.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <string_view>

#include <nlohmann/json.hpp>

#include "engine/lifecycle/lifecycle.h"
#include "engine/log/history.h"
#include "engine/log/recovery.h"
#include "tools/commands.h"
#include "tools/data_dir.h"
#include "tools/json.h"

namespace shrike::tools {
namespace {

// A text as it is, anything else as JSON; nothing for null.
std::string plain(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{:.4g}", value.get<double>());
  return to_text(value);
}

const Json& at(const Json& object, const char* key) {
  static const Json kNone;
  return object.is_object() && object.contains(key) ? object[key] : kNone;
}

// Every metric on a line: now, baseline, trend.
void print_metrics(const Json& report) {
  const Json &now = at(report, "now"), &baseline = at(report, "baseline"), &trends = at(report, "trends");
  if (!now.is_object()) return;
  fmt::print("  {:<20}{:>10}{:>20}{:>10}  {}\n", "", "now", "95 % interval", "baseline", "30 days");
  const auto line = [&](const std::string& metric, const Json& trend) {
    const Json& within = at(at(now, "intervals"), metric.c_str());
    fmt::print("  {:<20}{:>10}{:>20}{:>10}  {}\n", metric, plain(at(now, metric.c_str())),
               within.is_array() ? plain(within[0]) + " .. " + plain(within[1]) : "",
               plain(at(baseline, metric.c_str())), plain(trend));
  };
  for (const auto& [metric, trend] : trends.items()) line(metric, trend);
  line("false_positive_rate", "");
  fmt::print("  settled days {} to {}", plain(at(now, "first_day")), plain(at(now, "last_day")));
  if (baseline.is_object()) {
    fmt::print("; baseline {} to {}, {}", plain(at(baseline, "first_day")), plain(at(baseline, "last_day")),
               plain(at(baseline, "of")));
  }
  fmt::print("\n");
}

void print_estimate(const Json& estimate) {
  if (!estimate.is_object()) return;
  if (estimate.contains("first_day")) {
    fmt::print("  before labels ({} to {}) scores expect precision {}, recall {}, average precision {}\n",
               plain(at(estimate, "first_day")), plain(at(estimate, "last_day")),
               plain(at(estimate, "precision")), plain(at(estimate, "recall")),
               plain(at(estimate, "average_precision")));
  }
  if (estimate.contains("error")) {
    fmt::print("  such estimates of average precision were off by {} on average, by {} in the newest week\n",
               plain(at(estimate, "error_mean")), plain(at(estimate, "error")));
  }
  fmt::print("  {}\n", plain(at(estimate, "cannot_see")));
}

// What monitors have in common, by name: grade or verdict, alerts, notes. The rest is for --json.
void print(const std::string& monitor, const Json& report) {
  fmt::print("{}", monitor);
  for (const char* key : {"grade", "verdict"}) {
    if (report.contains(key)) fmt::print(": {}", report[key].is_null() ? "no grade yet" : plain(report[key]));
  }
  fmt::print("\n");
  print_metrics(report);
  for (const Json& alert : at(report, "alerts")) {
    fmt::print("  {} {}{}: {}\n", plain(at(alert, "severity")), plain(at(alert, "subject")),
               alert.contains("since") ? " since " + plain(at(alert, "since")) : "",
               plain(at(alert, "text")));
    if (alert.contains("recommendation")) fmt::print("    -> {}\n", plain(at(alert, "recommendation")));
  }
  if (at(report, "alerts").is_array() && at(report, "alerts").empty()) fmt::print("  no alerts\n");
  for (const Json& anomaly : at(report, "anomalies")) {
    fmt::print("  unusual day {}: {} {} (robust z {})\n", plain(at(anomaly, "day")),
               plain(at(anomaly, "metric")), plain(at(anomaly, "value")), plain(at(anomaly, "robust_z")));
  }
  print_estimate(at(report, "estimate"));
  for (const Json& note : at(report, "notes")) fmt::print("  note: {}\n", plain(note));
  // A monitor of other parts shows them as they are.
  constexpr std::string_view kShown[] = {"grade",  "verdict",   "now",      "baseline", "trends",
                                         "alerts", "anomalies", "estimate", "notes",    "decline_score"};
  for (const auto& [key, value] : report.items()) {
    if (std::find(std::begin(kShown), std::end(kShown), key) != std::end(kShown)) continue;
    if (!value.is_structured()) {
      fmt::print("  {}: {}\n", key, plain(value));
      continue;
    }
    for (const auto& [part, inner] : value.items()) fmt::print("  {} {}: {}\n", key, part, plain(inner));
  }
}

int health(const std::string& dir, bool json) {
  const auto opened = open_data_dir(dir);
  if (!opened) return complain(opened.error(), kFailed);
  engine::NoExamples nowhere;
  engine::StoreHistory history(*opened->store, opened->config->plan);
  const auto fold = engine::make_fold(opened->config, nowhere, &history);
  engine::ModelBook models(*opened->store, opened->config);
  const auto folded = engine::restore_and_fold(*opened->store, models, *fold, UINT64_MAX);
  if (!folded) return complain(folded.error(), kFailed);
  const Json report = from_text(fold->watch_report());
  bool well = true;
  for (const auto& [monitor, of] : report.items()) well &= at(of, "alerts").empty();
  if (json) {
    fmt::print("{}\n", to_text(report));
  } else {
    for (const auto& [monitor, of] : report.items()) print(monitor, of);
  }
  return well ? 0 : kNotAllWell;
}

}  // namespace

void add_health(CLI::App& app, int& exit_code) {
  auto dir = std::make_shared<std::string>("./shrike-data");
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand(
      "health",
      "How well a data directory's model does, by its monitors: grade, trends, alerts and "
      "what to do about them. Exit code 1 when an alert is on. A server may be running.\n\n"
      "  shrike health ./shrike-data\n"
      "  shrike health ./shrike-data --json");
  command->add_option("dir", *dir, "data directory")->capture_default_str();
  command->add_flag("--json", *json, "all that the monitors know, for machines");
  command->callback([dir, json, &exit_code] { exit_code = health(*dir, *json); });
}

}  // namespace shrike::tools
