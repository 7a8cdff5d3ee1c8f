// shrike evaluate: several learners over one CSV under the delayed prequential protocol, in one table.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <memory>

#include <nlohmann/json.hpp>

#include "engine/replay/replay.h"
#include "tools/commands.h"
#include "tools/day_table.h"
#include "tools/evaluation.h"
#include "tools/json.h"
#include "tools/learned.h"
#include "tools/measure.h"
#include "tools/progress.h"

namespace shrike::tools {
namespace {

constexpr const char* kRecall = "recall_at_fpr";

using engine::DayRange;
using engine::Metrics;
using engine::Prequential;

struct Options {
  std::string input, config, days, json, csv, svg, label_delay, on_error = "stop";
  std::vector<std::string> learners;
  bool live = false;
};

struct Result {
  std::string name;
  Metrics metrics;
  double accuracy = 0, kappa = 0, us_per_transaction = 0;
  engine::CallTimes predicting, learning, waiting;  // waiting: with --live
  size_t learner_bytes = 0;
  uint64_t accepted = 0;
  std::vector<Prequential::Day> days;
  std::string learned;           // a line of text
  std::vector<std::string> why;  // no model took over
  Json learned_json;
  bool refusals = false;
};

// Decisions at one half, for what accuracy says where classes are balanced.
struct Confusion {
  double counts[2][2] = {{0, 0}, {0, 0}};  // [truth][answer]

  void add(int truth, float score) { counts[truth][score >= 0.5f ? 1 : 0] += 1; }
  double all() const { return counts[0][0] + counts[0][1] + counts[1][0] + counts[1][1]; }
  double accuracy() const { return (counts[0][0] + counts[1][1]) / all(); }
  double kappa() const {
    const double n = all();
    const double chance = ((counts[0][0] + counts[0][1]) * (counts[0][0] + counts[1][0]) +
                           (counts[1][0] + counts[1][1]) * (counts[0][1] + counts[1][1])) /
                          (n * n);
    return chance < 1 ? (accuracy() - chance) / (1 - chance) : 0;
  }
};

// "boosting:depth=4,rate=0.07" over the configuration's other settings. What is no number is text, and text
// in quotes may hold commas: ensemble:members="linear, boosting",refresh=5000
tl::expected<engine::ConfigPtr, std::string> with_learner(const engine::Config& base,
                                                          const std::string& spec) {
  auto changed = std::make_shared<engine::Config>(base);
  const auto wrong = [&](const std::string& reason) {
    return tl::make_unexpected(fmt::format("--learner {}: {}", spec, reason));
  };
  const size_t colon = spec.find(':');
  changed->training.family = spec.substr(0, colon);
  changed->training.options.clear();
  if (changed->training.family == base.training.family) changed->training.options = base.training.options;
  std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
  while (!rest.empty()) {
    const size_t equals = rest.find_first_of("=,");
    if (equals == std::string::npos || equals == 0 || rest[equals] != '=')
      return wrong(fmt::format("found \"{}\", expected OPTION=VALUE", rest.substr(0, rest.find(','))));
    const std::string name = rest.substr(0, equals);
    rest = rest.substr(equals + 1);
    const bool quoted = rest.starts_with('"');
    const size_t close = quoted ? rest.find('"', 1) : std::string::npos;
    if (quoted && close == std::string::npos)
      return wrong(fmt::format("{}: the quotes are not closed", name));
    const std::string value = quoted ? rest.substr(1, close - 1) : rest.substr(0, rest.find(','));
    rest = rest.substr(quoted ? close + 1 : value.size());
    if (!rest.empty() && !rest.starts_with(','))
      return wrong(fmt::format("{}: found \"{}\" after the quotes, expected a comma", name, rest));
    if (!quoted && value.empty()) return wrong(fmt::format("{}: a value is missing", name));
    if (!rest.empty()) rest = rest.substr(1);
    const char* end = value.data() + value.size();
    int64_t whole = 0;
    double real = 0;
    if (const auto [stop, error] = std::from_chars(value.data(), end, whole);
        !quoted && error == std::errc() && stop == end) {
      changed->training.options[name] = whole;
    } else if (const auto [stop2, error2] = std::from_chars(value.data(), end, real);
               !quoted && error2 == std::errc() && stop2 == end) {
      changed->training.options[name] = real;
    } else {
      changed->training.options[name] = value;
    }
  }
  const auto learner = learners::make_learner(changed->training.family, changed->training.options,
                                              changed->columns, changed->training.seed);
  if (!learner)
    return tl::make_unexpected(
        fmt::format("--learner {}: {}: {}", spec, learner.error().field, learner.error().reason));
  return engine::ConfigPtr(std::move(changed));
}

tl::expected<Result, std::string> evaluate(const engine::ConfigPtr& config, const std::string& name,
                                           const Options& options, DayRange days, bool notices) {
  Progress progress(name.c_str());
  Prequential prequential(config->gate.fpr);
  Confusion confusion;
  int64_t first_day = INT64_MIN;
  const auto on_score = [&](const features::Transaction& transaction, const engine::Answer& answer,
                            int label) {
    prequential.add(transaction.time_us, answer.score, label, card_of(*config, transaction));
    using features::kDayUs;
    const int64_t day = transaction.time_us / kDayUs;
    if (first_day == INT64_MIN) first_day = day;
    if (label >= 0 && day - first_day >= days.first && day - first_day <= days.last)
      confusion.add(label, answer.score);
  };
  engine::CsvReplayOptions how;
  const auto delay = read_label_delay(options.label_delay, *config);
  if (!delay) return tl::make_unexpected(delay.error());
  how.label_delay_us = delay->mean_us;
  how.exponential_delay = delay->exponential;
  how.stop_on_error = options.on_error == "stop";
  how.live = options.live;
  how.time_calls = !options.live;
  how.progress = [&](double share, uint64_t rows) { progress.update(share, rows); };
  if (notices) how.notice = [](const std::string& text) { fmt::print(stderr, "note: {}\n", text); };
  const auto report = engine::replay_csv(config, options.input, how, on_score);
  if (!report) return tl::make_unexpected(report.error());
  Result result;
  result.name = name;
  result.metrics = prequential.overall(days);
  result.days = prequential.by_day({});
  result.accuracy = confusion.all() > 0 ? confusion.accuracy() : NAN;
  result.kappa = confusion.all() > 0 ? confusion.kappa() : NAN;
  result.us_per_transaction =
      report->seconds * 1e6 / static_cast<double>(std::max<uint64_t>(report->rows, 1));
  result.learner_bytes = report->learner_bytes;
  result.accepted = report->counters.accepted;
  result.predicting = report->predicting;
  result.learning = report->learning;
  result.waiting = report->waiting;
  result.learned = describe_learned(*report);
  result.why = why_no_model(*report, *config);
  result.learned_json = learned_json(*report, *config);
  if (notices) {
    for (const std::string& remark : remarks(*report, *config)) fmt::print(stderr, "note: {}\n", remark);
    result.refusals = complain_of_refusals(*report);
  }
  return result;
}

// All learners side by side, day by day, over the days that are measured.
struct Table {
  DayTable by_day;
  DayRange days;

  double daily_ap(size_t learner) const { return by_day.mean(learner, Metric::kAveragePrecision, days); }
};

Table to_table(const std::vector<Result>& results, DayRange days) {
  std::vector<std::vector<Prequential::Day>> all;
  for (const Result& r : results) all.push_back(r.days);
  return {DayTable(all), days};
}

Json times_json(const engine::CallTimes& times) {
  return {{"mean", times.mean()},
          {"p50", times.quantile(0.5)},
          {"p99", times.quantile(0.99)},
          {"p999", times.quantile(0.999)}};
}

Json result_json(const Result& r, size_t learner, const Table& table, const DayTable::Standing& standing) {
  Json json = {{"learner", r.name},
               {"rows", r.metrics.rows},
               {"frauds", r.metrics.frauds},
               {"average_precision", r.metrics.average_precision},
               {"mean_daily_average_precision", table.daily_ap(learner)},
               {"mean_daily_rank", standing.mean_rank},
               {"days_best", standing.days_best},
               {"auc", r.metrics.auc},
               {"log_loss", r.metrics.log_loss},
               {"brier", r.metrics.brier},
               {"card_precision_100", r.metrics.card_precision_100},
               {kRecall, r.metrics.recall_at_fpr},
               {"accuracy", r.accuracy},
               {"kappa", r.kappa},
               {"us_per_transaction", r.us_per_transaction},
               {"learner_bytes", r.learner_bytes},
               {"models_accepted", r.accepted}};
  if (r.predicting.calls() > 0) json["predict_us"] = times_json(r.predicting);
  if (r.learning.calls() > 0) json["learn_us"] = times_json(r.learning);
  if (r.waiting.calls() > 0) json["wait_us"] = times_json(r.waiting);
  json.update(r.learned_json);
  json["by_day"] = table.by_day.to_json(learner, {}, kRecall);
  return json;
}

Json to_json(const std::vector<Result>& results, const Table& table) {
  const std::vector<DayTable::Standing> standings = table.by_day.standings(table.days);
  Json all = Json::array();
  for (size_t r = 0; r < results.size(); ++r) all.push_back(result_json(results[r], r, table, standings[r]));
  return all;
}

// Average precision over time, the mean of seven days each: one line a learner.
std::string to_svg(const std::vector<Result>& results, const DayTable& table) {
  constexpr double kWidth = 860, kHeight = 420, kLeft = 50, kTop = 20, kPlotWidth = 620, kPlotHeight = 350;
  constexpr const char* kColours[] = {"#1b6ca8", "#c8553d", "#3c8d2f", "#8a4fa3", "#b8860b", "#444444"};
  const int last_day = std::max(1, table.last_day());
  const auto x = [&](double day) { return kLeft + kPlotWidth * day / last_day; };
  const auto y = [&](double ap) { return kTop + kPlotHeight * (1 - ap); };
  std::string svg = fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" font-family="sans-serif" font-size="12">)"
      "\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      kWidth, kHeight);
  for (int tenth = 0; tenth <= 10; tenth += 2) {
    svg += fmt::format(
        R"(<line x1="{}" x2="{}" y1="{}" y2="{}" stroke="#dddddd"/><text x="{}" y="{}" text-anchor="end">{:.1f}</text>)"
        "\n",
        kLeft, kLeft + kPlotWidth, y(tenth / 10.0), y(tenth / 10.0), kLeft - 6, y(tenth / 10.0) + 4,
        tenth / 10.0);
  }
  for (int day = 0; day <= last_day; day += std::max(1, last_day / 9)) {
    svg += fmt::format(R"(<text x="{}" y="{}" text-anchor="middle">{}</text>)"
                       "\n",
                       x(day), kTop + kPlotHeight + 18, day);
  }
  svg += fmt::format(
      R"(<text x="{}" y="{}" text-anchor="middle">day; average precision, mean of seven days</text>)"
      "\n",
      kLeft + kPlotWidth / 2, kTop + kPlotHeight + 38);
  for (size_t r = 0; r < results.size(); ++r) {
    const char* colour = kColours[r % std::size(kColours)];
    std::string points;
    for (int day = 0; day <= table.last_day(); ++day) {
      const double mean = table.mean(r, Metric::kAveragePrecision, {std::max(day - 6, 0), day});
      if (!std::isnan(mean)) points += fmt::format("{:.1f},{:.1f} ", x(day), y(mean));
    }
    svg += fmt::format(R"(<polyline fill="none" stroke="{}" stroke-width="2" points="{}"/>)"
                       "\n",
                       colour, points);
    svg += fmt::format(R"(<text x="{}" y="{}" fill="{}">{}</text>)"
                       "\n",
                       kLeft + kPlotWidth + 12, kTop + 16 + 18 * static_cast<double>(r), colour,
                       results[r].name);
  }
  return svg + "</svg>\n";
}

bool write(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  return out.flush().good();
}

void print_accuracy(const std::vector<Result>& results, const Table& table, size_t width) {
  fmt::print("{:<{}} {:>7} {:>8} {:>5} {:>5} {:>7} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7} {:>7} {:>9} {:>6}\n",
             "learner", width, "AP", "daily AP", "rank", "best", "AUC", "log loss", "Brier", "CP@100",
             "recall", "acc.", "kappa", "us/tx", "MiB", "swaps");
  const std::vector<DayTable::Standing> standings = table.by_day.standings(table.days);
  for (size_t i = 0; i < results.size(); ++i) {
    const Result& r = results[i];
    fmt::print(
        "{:<{}} {:>7.4f} {:>8.4f} {:>5.2f} {:>5} {:>7.4f} {:>9.5f} {:>9.6f} {:>7.4f} {:>7.4f} {:>7.4f} "
        "{:>7.4f} "
        "{:>7.2f} {:>9.1f} {:>6}\n",
        r.name, width, r.metrics.average_precision, table.daily_ap(i), standings[i].mean_rank,
        standings[i].days_best, r.metrics.auc, r.metrics.log_loss, r.metrics.brier,
        r.metrics.card_precision_100, r.metrics.recall_at_fpr, r.accuracy, r.kappa, r.us_per_transaction,
        static_cast<double>(r.learner_bytes) / (1 << 20), r.accepted);
  }
}

void print(const std::vector<Result>& results, const Table& table, bool live) {
  size_t width = 8;
  for (const Result& r : results) width = std::max(width, r.name.size());
  print_accuracy(results, table, width);
  fmt::print("\n{:<{}} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}{}\n", "a row, us", width, "predict", "p50",
             "p99.9", "learn", "p50", "p99.9", live ? "  wait p99.9" : "");
  for (const Result& r : results) {
    fmt::print("{:<{}} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.2f} {:>9.2f}{}\n", r.name, width,
               r.predicting.mean(), r.predicting.quantile(0.5), r.predicting.quantile(0.999),
               r.learning.mean(), r.learning.quantile(0.5), r.learning.quantile(0.999),
               live ? fmt::format("{:>12.2f}", r.waiting.quantile(0.999)) : "");
  }
  if (live)
    fmt::print("wait: a busy wait as long as the mean of learning, in the same run: what the machine adds\n");
  else
    fmt::print("predict: the champion on one row of each batch; learn: of each batch, per example\n");
  fmt::print("\n");
  for (const Result& r : results) {
    fmt::print("{:<{}} learned {}\n", r.name, width, r.learned);
    if (!r.why.empty()) fmt::print("{:<{}} {}:\n", "", width, live ? "it has not begun" : kNoModel);
    for (const std::string& why : r.why) fmt::print("{:<{}} - {}\n", "", width, why);
  }
}

int run(const Options& options) {
  const engine::ConfigPtr config = read_config(options.config);
  if (!config) return kBadInput;
  const auto days = read_days(options.days);
  if (!days) return complain(days.error(), kBadInput);
  std::vector<std::string> names = options.learners;
  if (names.empty()) {
    for (const learners::FamilyInfo& family : learners::families()) names.push_back(family.name);
  }
  std::vector<engine::ConfigPtr> configs;  // all are checked before the first runs
  for (const std::string& name : names) {
    auto changed = with_learner(*config, name);
    if (!changed) return complain(changed.error(), kBadInput);
    configs.push_back(*changed);
  }
  std::vector<Result> results;
  for (size_t i = 0; i < names.size(); ++i) {
    auto result = evaluate(configs[i], names[i], options, *days, i == 0);
    if (!result) return complain(result.error(), kBadInput);
    results.push_back(std::move(*result));
  }
  const Table table = to_table(results, *days);
  print(results, table, options.live);
  const auto unwritten = [](const char* option, const std::string& path) {
    return complain(fmt::format("{} {}: the file cannot be written", option, path), kBadInput);
  };
  if (!options.json.empty() && !write_json(options.json, to_json(results, table)))
    return unwritten("--json", options.json);
  if (!options.csv.empty() && !table.by_day.write_csv(options.csv, *days, kRecall, names))
    return unwritten("--csv", options.csv);
  if (!options.svg.empty() && !write(options.svg, to_svg(results, table.by_day)))
    return unwritten("--svg", options.svg);
  return results[0].refusals ? kNotAllWell : 0;
}

}  // namespace

int evaluate_file(const std::string& input, const std::string& config,
                  const std::vector<std::string>& learners) {
  Options options;
  options.input = input;
  options.config = config;
  options.learners = learners;
  return run(options);
}

void add_evaluate(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("evaluate",
                         "Compares learners on one stream: each scores every transaction before its label is "
                         "known and learns when it comes.\n"
                         "rank and best compare the days' average precisions: the mean rank (1 is best), and "
                         "the days on which no other was better.\n"
                         "us/tx is the whole replay's, features and learning included.\n\n"
                         "  shrike evaluate handbook-2018-q2.csv.gz --config handbook.toml --days 60..90\n"
                         "  shrike evaluate stream.csv.gz --config handbook.toml --learner boosting:depth=4 "
                         "--learner forest:trees=10 --svg ap.svg");
  command->add_option("input", options->input, "a CSV, plain or gz")->required();
  command
      ->add_option("--config,-c", options->config,
                   "TOML: schema, features, gate; its learner's options are the base")
      ->required();
  command->add_option(
      "--learner", options->learners,
      "FAMILY[:OPTION=VALUE,…], any number of times; all families when absent; a value with commas stands in "
      "quotes: 'ensemble:members=\"linear, boosting\",refresh=5000'");
  command->add_option("--days", options->days,
                      "the days to measure, FIRST..LAST, counted from the first transaction's day (0)");
  command->add_option("--label-delay", options->label_delay,
                      "how long after a transaction its fraud label comes (default: training.maturity)");
  command->add_flag("--live", options->live,
                    "no gate and no champion: the learner answers as it stands and learns each label the "
                    "moment it comes (test-then-train)");
  command->add_option("--on-error", options->on_error, "at a bad line: stop, or skip it (exit code 1)")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str();
  command->add_option("--json", options->json, "write the table here as JSON");
  command->add_option("--csv", options->csv, "write the metrics of each learner per day here");
  command->add_option("--svg", options->svg, "write average precision over time here as a chart");
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace shrike::tools
