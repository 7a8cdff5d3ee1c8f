#include "engine/config/config.h"

#include <fmt/format.h>
#include <sched.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>

#include "engine/config/config_features.h"
#include "engine/config/time_zones.h"
#include "engine/config/toml_reader.h"
#include "features/nearest.h"

namespace shrike::engine {
namespace {

using features::Schema;

constexpr size_t kKpisMax = 16;
// Of A/B tests (lifecycle/ab_metrics.h).
constexpr std::string_view kMetricsOfTheirOwn[] = {
    "recall", "precision", "false_positive_rate", "log_loss", "fraud_rate", "decline_rate", "review_rate"};

TrainingConfig read_training(TomlReader root) {
  TrainingConfig training;
  training.mode =
      root.choice("mode", training.mode,
                  {{"background", TrainingMode::kBackground}, {"awaited", TrainingMode::kAwaited}});
  training.every = root.integer("every", training.every, 1, 1'000'000'000);
  training.maturity_us = root.duration("maturity", training.maturity_us);
  training.learn = root.choice(
      "learn", training.learn,
      {{"auto", LearnWhen::kAuto}, {"at_once", LearnWhen::kAtOnce}, {"at_maturity", LearnWhen::kAtMaturity}});
  training.prior = root.number("prior", training.prior, 1e-6, 1 - 1e-6);
  training.seed = root.integer("seed", training.seed, 0, INT64_MAX);
  training.threads = root.integer("threads", training.threads, 0, 64);
  training.queue_examples_max =
      root.integer("queue_examples_max", training.queue_examples_max, 1, 100'000'000);
  root.finish();
  return training;
}

// The family's options are known to learners/; here only their TOML types matter.
void read_learner(TomlReader root, TrainingConfig& training) {
  training.family = root.text("family", training.family);
  const learners::FamilyInfo* family = nullptr;
  std::vector<std::string> names;
  for (const learners::FamilyInfo& one : learners::families()) {
    names.push_back(one.name);
    if (one.name == training.family) family = &one;
  }
  if (family == nullptr) {
    root.problem("family",
                 fmt::format("found \"{}\", allowed are {}", training.family, fmt::join(names, ", ")));
    return;
  }
  for (const learners::OptionInfo& option : family->options) {
    if (!root.has(option.name.c_str())) continue;
    const toml::node& node = *root.raw().get(option.name);
    if (const auto flag = node.value_exact<bool>()) {
      training.options[option.name] = *flag;
    } else if (const auto whole = node.value_exact<int64_t>()) {
      training.options[option.name] = *whole;
    } else if (const auto real = node.value_exact<double>()) {
      training.options[option.name] = *real;
    } else if (const auto text = node.value_exact<std::string>()) {
      training.options[option.name] = *text;
    } else {
      root.problem(option.name, fmt::format("expected {}", option.allowed));
    }
  }
  root.finish();
}

GateConfig read_gate(TomlReader root) {
  GateConfig gate;
  gate.examples_min = root.integer("examples_min", gate.examples_min, 1, 100'000'000);
  gate.frauds_min = root.integer("frauds_min", gate.frauds_min, 1, 10'000'000);
  gate.examples_max = root.integer("examples_max", gate.examples_max, 1, 100'000'000);
  gate.confidence = root.number("confidence", gate.confidence, 0, 1);
  gate.recall_loss_max = root.number("recall_loss_max", gate.recall_loss_max, 0, 1);
  gate.log_loss_ratio_max = root.number("log_loss_ratio_max", gate.log_loss_ratio_max, 0.5, 100);
  gate.calibration_error_max = root.number("calibration_error_max", gate.calibration_error_max, 0, 1);
  gate.fpr = root.number("fpr", gate.fpr, 1e-6, 0.5);
  gate.bootstrap_rounds = root.integer("bootstrap_rounds", gate.bootstrap_rounds, 10, 100'000);
  if (gate.examples_max < gate.examples_min) root.problem("examples_max", "it must be at least examples_min");
  root.finish();
  return gate;
}

PolicyConfig read_policy(TomlReader root) {
  PolicyConfig policy;
  policy.review_score = root.number("review_score", policy.review_score, 0, 1);
  policy.decline_score = root.number("decline_score", policy.decline_score, 0, 1);
  policy.review_loss = root.number("review_loss", policy.review_loss, 0, 1e12);
  policy.decline_loss = root.number("decline_loss", policy.decline_loss, 0, 1e12);
  policy.static_decision =
      root.choice("static_decision", policy.static_decision,
                  {{"approve", "approve"}, {"review", "review"}, {"decline", "decline"}});
  policy.reasons_max = root.integer("reasons_max", policy.reasons_max, 0, 4);
  if (root.has("hides_labels")) {
    policy.decline_hides = policy.review_hides = false;
    for (const std::string& decision : root.texts("hides_labels")) {
      if (decision == "decline") {
        policy.decline_hides = true;
      } else if (decision == "review") {
        policy.review_hides = true;
      } else {
        root.problem("hides_labels", fmt::format("found \"{}\", allowed are review, decline", decision));
      }
    }
  }
  if (policy.decline_score < policy.review_score)
    root.problem("decline_score", "it must be at least review_score");
  TomlReader codes = root.table("reason_codes");
  for (const auto& [key, node] : codes.raw()) {
    codes.knows(std::string(key.str()));
    if (const auto code = node.value_exact<std::string>()) {
      policy.reason_codes.emplace_back(std::string(key.str()), *code);
    } else {
      codes.problem(key.str(), "expected a text, the reason code of this feature");
    }
  }
  root.finish();
  return policy;
}

ControlConfig read_control(TomlReader root) {
  ControlConfig control;
  control.share = root.number("share", control.share, 0, 1);
  control.reviews = root.boolean("reviews", control.reviews);
  control.amount_max = root.number("amount_max", control.amount_max, 0, 1e12);
  control.seed = root.integer("seed", control.seed, 0, INT64_MAX);
  control.weight_max = root.number("weight_max", control.weight_max, 1, 1e6);
  root.finish();
  return control;
}

ThresholdConfig read_thresholds(TomlReader root, bool has_amount) {
  ThresholdConfig thresholds;
  thresholds.learn = root.boolean("learn", thresholds.learn);
  thresholds.aim =
      root.choice("aim", thresholds.aim,
                  {{"fpr", ThresholdConfig::Aim::kFalsePositiveRate}, {"cost", ThresholdConfig::Aim::kCost}});
  thresholds.fpr = root.number("fpr", thresholds.fpr, 1e-6, 0.5);
  thresholds.contact_cost = root.number("contact_cost", thresholds.contact_cost, 1e-6, 1e9);
  if (thresholds.aim == ThresholdConfig::Aim::kCost && !has_amount)
    root.problem("aim", "\"cost\" needs amounts: say schema.amount, or aim = \"fpr\"");
  thresholds.reviews_per_day = root.number("reviews_per_day", thresholds.reviews_per_day, 0, 1e9);
  thresholds.move_min = root.number("move_min", thresholds.move_min, 0, 1);
  root.finish();
  return thresholds;
}

void read_source(TomlReader table, DeclaredSource& source) {
  using Trust = DeclaredSource::Trust;
  source.weight = table.number("weight", source.weight, 0.001, 1000);
  source.precedence = table.integer("precedence", source.precedence, 0, 100);
  source.trust = table.choice("trust", source.trust,
                              {{"none", Trust::kNone}, {"checked", Trust::kChecked}, {"full", Trust::kFull}});
  source.delay_us = table.duration("delay", source.delay_us);
  source.silence = table.boolean("silence", source.silence);
  table.finish();
}

// [sources.NAME]: one that is known already, or another.
void declare_sources(TomlReader& root, SourceConfig& sources) {
  for (const auto& [key, value] : root.raw()) {
    if (!value.is_table()) continue;
    const std::string name(key.str());
    if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos) {
      root.problem(name, "a source's name is of small letters, digits and underscores");
      continue;
    }
    const auto known = std::ranges::find(sources.declared, name, &DeclaredSource::name);
    if (known == sources.declared.end() && sources.declared.size() == kSources) {
      root.problem(name, fmt::format("there are {} sources already; at most {} can be told apart", kSources,
                                     kSources));
      continue;
    }
    DeclaredSource& source = known != sources.declared.end()
                                 ? *known
                                 : sources.declared.emplace_back(DeclaredSource{.name = name});
    read_source(root.table(name.c_str()), source);
  }
}

SourceConfig read_sources(TomlReader root) {
  SourceConfig sources;
  declare_sources(root, sources);
  sources.quarantine = root.boolean("quarantine", sources.quarantine);
  sources.labels_min = root.integer("labels_min", sources.labels_min, 10, 1'000'000);
  sources.z = root.number("z", sources.z, 1, 100);
  root.finish();
  return sources;
}

DriftConfig read_drift(TomlReader root) {
  DriftConfig drift;
  drift.on = root.boolean("on", drift.on);
  drift.reference_rows = root.integer("reference_rows", drift.reference_rows, 100, 1'000'000);
  drift.reference_us = root.duration("reference", drift.reference_us);
  drift.window_us = root.duration("window", drift.window_us);
  drift.window_rows = root.integer("window_rows", drift.window_rows, 100, 100'000'000);
  drift.threshold = root.number("threshold", drift.threshold, 0.01, 10);
  drift.alpha = root.number("alpha", drift.alpha, 1e-12, 1);
  drift.share = root.number("share", drift.share, 0, 1);
  drift.rate_ratio = root.number("rate_ratio", drift.rate_ratio, 1.01, 1000);
  drift.loss_ratio = root.number("loss_ratio", drift.loss_ratio, 1.01, 1000);
  root.finish();
  return drift;
}

QualityConfig read_quality(TomlReader root) {
  QualityConfig quality;
  quality.on = root.boolean("on", quality.on);
  quality.reference_us = root.duration("reference", quality.reference_us);
  quality.rows = root.integer("rows", quality.rows, 1, 100'000'000);
  quality.missing = root.number("missing", quality.missing, 0, 1);
  quality.unreadable = root.number("unreadable", quality.unreadable, 0, 1);
  quality.outside = root.number("outside", quality.outside, 0, 1);
  quality.duplicates = root.number("duplicates", quality.duplicates, 0, 1);
  quality.shift = root.number("shift", quality.shift, 0.01, 100);
  quality.unseen = root.number("unseen", quality.unseen, 0, 1);
  quality.silence_us = root.duration("silence", quality.silence_us);
  quality.fail_stops_training = root.boolean("fail_stops_training", quality.fail_stops_training);
  root.finish();
  return quality;
}

PerformanceConfig read_performance(TomlReader root) {
  PerformanceConfig performance;
  for (const auto& [key, drop] :
       {std::pair("accuracy_drop", &performance.accuracy_drop),
        std::pair("precision_drop", &performance.precision_drop),
        std::pair("recall_drop", &performance.recall_drop), std::pair("f1_drop", &performance.f1_drop),
        std::pair("auc_drop", &performance.auc_drop),
        std::pair("average_precision_drop", &performance.average_precision_drop)})
    *drop = root.number(key, *drop, 0.1, 100);
  performance.standard_errors = root.number("standard_errors", performance.standard_errors, 0, 10);
  performance.seen_min = root.number("seen_min", performance.seen_min, 0, 1);
  root.finish();
  return performance;
}

RolloutConfig read_rollout(TomlReader root, const Schema& schema, int64_t maturity_us) {
  RolloutConfig rollout;
  rollout.on = root.boolean("on", rollout.on);
  rollout.entity = root.text("entity", rollout.entity);
  std::vector<std::string> entities;
  for (const features::EntityKind& kind : schema.entities) entities.push_back(kind.name);
  const auto found = std::find(entities.begin(), entities.end(), rollout.entity);
  if (found != entities.end()) {
    rollout.entity_kind = static_cast<size_t>(found - entities.begin());
  } else if (!rollout.entity.empty()) {
    root.problem("entity", fmt::format("found \"{}\", allowed are the schema's entities: {}", rollout.entity,
                                       fmt::join(entities, ", ")));
  }
  rollout.start = root.number("start", rollout.start, 0.001, 1);
  rollout.step = root.number("step", rollout.step, 0.001, 1);
  rollout.step_min_us = root.duration("step_min", rollout.step_min_us);
  rollout.step_max_us = root.duration("step_max", rollout.step_max_us);
  rollout.recall_margin = root.number("recall_margin", rollout.recall_margin, 0, 1);
  rollout.fpr_margin = root.number("fpr_margin", rollout.fpr_margin, 0, 1);
  rollout.log_loss_margin = root.number("log_loss_margin", rollout.log_loss_margin, 0, 10);
  rollout.alarm_margin = root.number("alarm_margin", rollout.alarm_margin, 0, 1);
  rollout.alpha = root.number("alpha", rollout.alpha, 1e-6, 0.5);
  rollout.weight_max = root.number("weight_max", rollout.weight_max, 1, 1e6);
  if (rollout.step_max_us < rollout.step_min_us) root.problem("step_max", "it must be at least step_min");
  if (rollout.on && rollout.step_max_us <= maturity_us) {
    root.problem("step_max",
                 "it must be longer than training.maturity: before that no transaction counts as legitimate");
  }
  root.finish();
  return rollout;
}

RollbackConfig read_rollback(TomlReader root) {
  RollbackConfig rollback;
  rollback.on = root.boolean("on", rollback.on);
  rollback.rows = root.integer("rows", rollback.rows, 100, 1'000'000);
  rollback.frauds = root.integer("frauds", rollback.frauds, 10, 1'000'000);
  rollback.gain_min = root.number("gain_min", rollback.gain_min, 0, 1);
  rollback.failures = root.number("failures", rollback.failures, 0, 1);
  rollback.cooldown_us = root.duration("cooldown", rollback.cooldown_us);
  root.finish();
  return rollback;
}

// With a host, perhaps a port and a path, and no user: what stands in the configuration is in the log.
bool is_webhook(std::string_view url) {
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos ||
      (url.substr(0, scheme) != "http" && url.substr(0, scheme) != "https"))
    return false;
  const auto printable = [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '#'; };
  const std::string_view rest = url.substr(scheme + 3), host = rest.substr(0, rest.find_first_of("/?"));
  if (!std::all_of(rest.begin(), rest.end(), printable) || host.find('@') != std::string_view::npos ||
      rest.substr(host.size()).starts_with('?'))
    return false;
  const size_t colon = host.find(':', host.starts_with('[') ? host.find(']') : 0);
  if (colon == std::string_view::npos) return !host.empty();
  const std::string_view port = host.substr(colon + 1);
  return colon > 0 && !port.empty() && port.size() <= 5 &&
         std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; }) &&
         std::stoi(std::string(port)) <= 65535;
}

// "boosting_depth=4, rate=0.05": an option's value has the type of its default.
std::optional<learners::Options> read_variant(const std::string& text, const std::string& family_name) {
  learners::Options variant;
  const auto& families = learners::families();
  const auto family = std::find_if(families.begin(), families.end(),
                                   [&](const learners::FamilyInfo& one) { return one.name == family_name; });
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t equal = part.find('=');
    const size_t from = part.find_first_not_of(' ');
    if (equal == std::string::npos || from == std::string::npos || family == families.end())
      return std::nullopt;
    const std::string name = part.substr(from, equal - from), value = part.substr(equal + 1);
    const auto option = std::find_if(family->options.begin(), family->options.end(),
                                     [&](const learners::OptionInfo& one) { return one.name == name; });
    if (option == family->options.end()) return std::nullopt;
    std::istringstream number(value);
    double real = 0;
    const bool is_number = (number >> real) && number.eof();
    if (std::holds_alternative<std::string>(option->default_value)) {
      variant[name] = value;
    } else if (std::holds_alternative<bool>(option->default_value)) {
      variant[name] = value == "true";
    } else if (!is_number) {
      return std::nullopt;
    } else if (std::holds_alternative<int64_t>(option->default_value)) {
      variant[name] = static_cast<int64_t>(real);
    } else {
      variant[name] = real;
    }
  }
  return variant;
}

// Names that A/B tests know as metrics of their own, and places in the log that no two KPIs may share.
std::vector<KpiConfig> read_kpis(TomlReader root, int64_t maturity_us) {
  std::vector<KpiConfig> kpis;
  for (const auto& [key, node] : root.raw()) {
    const std::string name(key.str());
    root.knows(name);
    TomlReader one = root.table(name.c_str());
    KpiConfig kpi;
    kpi.name = name;
    if (name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") !=
            name.npos ||
        name.size() > 64)
      root.problem(name, "a KPI's name has letters, digits and underscores, at most 64");
    using From = KpiConfig::From;
    using Kind = KpiConfig::Kind;
    kpi.from = one.choice("from", kpi.from, {{"messages", From::kMessages}, {"label", From::kLabel}});
    kpi.kind = one.choice("kind", kpi.kind, {{"rate", Kind::kRate}, {"value", Kind::kValue}});
    kpi.more_is_better = one.choice("better", kpi.more_is_better, {{"more", true}, {"less", false}});
    const bool of_label = kpi.from == From::kLabel;
    if (of_label && one.has("within"))
      one.problem("within", "a label counts once its transaction is of age (training.maturity)");
    if (of_label && kpi.kind == Kind::kValue) one.problem("kind", "a label is yes or no: a rate");
    kpi.within_us = of_label ? maturity_us : one.duration("within", kpi.within_us);
    kpi.drop = one.number("drop", kpi.drop, 0, 1);
    if (std::find(std::begin(kMetricsOfTheirOwn), std::end(kMetricsOfTheirOwn), name) !=
        std::end(kMetricsOfTheirOwn))
      root.problem(name, "this is a metric of its own; give the KPI another name");
    for (const KpiConfig& other : kpis) {
      if (kpi_bit(other.name) == kpi_bit(name))
        root.problem(name, fmt::format("the log cannot tell it from kpi.{}; give one of the two another name",
                                       other.name));
    }
    one.finish();
    kpis.push_back(std::move(kpi));
  }
  if (kpis.size() > kKpisMax)
    root.problem("", fmt::format("found {} KPIs, at most {} are allowed", kpis.size(), kKpisMax));
  root.finish();
  return kpis;
}

AbTestConfig read_ab_test(TomlReader root) {
  AbTestConfig ab_test;
  ab_test.share = root.number("share", ab_test.share, 0.001, 0.5);
  ab_test.significance = root.number("significance", ab_test.significance, 1e-6, 0.5);
  ab_test.power = root.number("power", ab_test.power, 0.5, 0.999);
  ab_test.effect = root.number("effect", ab_test.effect, 1e-4, 10);
  ab_test.longest_us = root.duration("longest", ab_test.longest_us);
  root.finish();
  return ab_test;
}

RetrainingConfig read_retraining(TomlReader root, const TrainingConfig& training) {
  RetrainingConfig retraining;
  using Schedule = RetrainingConfig::Schedule;
  retraining.on = root.boolean("on", retraining.on);
  retraining.performance = root.boolean("performance", retraining.performance);
  retraining.drift = root.boolean("drift", retraining.drift);
  retraining.kpi = root.boolean("kpi", retraining.kpi);
  retraining.kpi_window_us = root.duration("kpi_window", retraining.kpi_window_us);
  retraining.schedule = root.choice("schedule", retraining.schedule,
                                    {{"never", Schedule::kNotScheduled},
                                     {"daily", Schedule::kDaily},
                                     {"weekly", Schedule::kWeekly},
                                     {"monthly", Schedule::kMonthly}});
  retraining.labels = root.integer("labels", retraining.labels, 0, 1'000'000'000);
  retraining.cooldown_us = root.duration("cooldown", retraining.cooldown_us);
  retraining.half_life_us = root.duration("half_life", retraining.half_life_us);
  retraining.rows = root.integer("rows", retraining.rows, 1000, 100'000'000);
  retraining.examples_min = root.integer("examples_min", retraining.examples_min, 1, 100'000'000);
  retraining.frauds_min = root.integer("frauds_min", retraining.frauds_min, 1, 10'000'000);
  retraining.tries = root.integer("tries", retraining.tries, 1, 10);
  if (root.has("search")) {
    for (const std::string& text : root.texts("search")) {
      const auto variant = read_variant(text, training.family);
      if (!variant) {
        root.problem("search",
                     fmt::format("found \"{}\", expected options of the learner {}, such as \"name=0.5\"",
                                 text, training.family));
        continue;
      }
      retraining.search.push_back(*variant);
    }
  }
  root.finish();
  return retraining;
}

AlertConfig read_alerts(TomlReader root) {
  AlertConfig alerts;
  using Least = AlertConfig::Least;
  alerts.severity =
      root.choice("severity", alerts.severity,
                  {{"info", Least::kInfo}, {"warning", Least::kWarning}, {"critical", Least::kCritical}});
  alerts.repeat_us = root.duration("repeat", alerts.repeat_us);
  alerts.webhook = root.text("webhook", alerts.webhook);
  alerts.webhook_secret_file = root.text("webhook_secret_file", alerts.webhook_secret_file);
  alerts.file = root.text("file", alerts.file);
  if (root.has("command")) alerts.command = root.texts("command");
  if (!alerts.webhook.empty() && !is_webhook(alerts.webhook))
    root.problem("webhook", "expected http://HOST:PORT/PATH or https://, without a user");
  if (alerts.webhook.empty() && !alerts.webhook_secret_file.empty())
    root.problem("webhook_secret_file", "it signs what goes to `webhook`, which is absent");
  if (root.has("command") && (alerts.command.empty() || alerts.command[0].empty()))
    root.problem("command", "expected a list: the program, then its arguments; no shell reads them");
  root.finish();
  return alerts;
}

MachineConfig read_machine(TomlReader root) {
  MachineConfig machine;
  machine.every_us = root.duration("every", machine.every_us);
  machine.periods = root.integer("periods", machine.periods, 1, 1'000);
  machine.p99 = root.number("p99", machine.p99, 1e-6, 1e6);
  machine.errors = root.number("errors", machine.errors, 1e-6, 1);
  machine.memory_growth_mib = root.number("memory_growth_mib", machine.memory_growth_mib, 1, 1e9);
  if (machine.every_us != 0 && machine.every_us < 1'000'000)
    root.problem("every", "expected at least 1s, or 0s to measure nothing");
  root.finish();
  return machine;
}

DeadlineConfig read_deadline(TomlReader root) {
  DeadlineConfig deadline;
  deadline.default_us = root.duration("default", deadline.default_us);
  deadline.no_reasons_below_us = root.duration("no_reasons_below", deadline.no_reasons_below_us);
  deadline.static_below_us = root.duration("static_below", deadline.static_below_us);
  root.finish();
  return deadline;
}

SocketConfig read_sockets(TomlReader root) {
  SocketConfig sockets;
  sockets.score = root.text("score", sockets.score);
  sockets.feedback = root.text("feedback", sockets.feedback);
  sockets.events = root.text("events", sockets.events);
  for (const auto& [key, endpoint] :
       {std::pair("score", sockets.score), std::pair("feedback", sockets.feedback),
        std::pair("events", sockets.events)}) {
    if (endpoint.find("tcp://") != 0 && endpoint.find("ipc://") != 0) {
      root.problem(key,
                   fmt::format("found \"{}\", expected tcp://ADDRESS:PORT (or :* for any port) or ipc://PATH",
                               endpoint));
    }
  }
  sockets.message_bytes_max = root.integer("message_bytes_max", sockets.message_bytes_max, 1 << 10, 1 << 28);
  sockets.queue_requests_max = root.integer("queue_requests_max", sockets.queue_requests_max, 1, 1 << 24);
  sockets.queue_wait_us = root.duration("queue_wait", sockets.queue_wait_us);
  if (sockets.queue_wait_us <= 0) root.problem("queue_wait", "it must be longer than nothing");
  sockets.refuse_unknown_fields =
      root.choice("unknown_fields", sockets.refuse_unknown_fields, {{"ignore", false}, {"refuse", true}});
  sockets.batch_max = root.integer("batch_max", sockets.batch_max, 1, 65536);
  root.finish();
  return sockets;
}

ThreadConfig read_threads(TomlReader root) {
  using Polling = ThreadConfig::Polling;
  ThreadConfig threads;
  threads.polling = root.choice(
      "polling", threads.polling,
      {{"blocking", Polling::kBlocking}, {"adaptive", Polling::kAdaptive}, {"busy", Polling::kBusy}});
  constexpr int64_t kCpusMax = CPU_SETSIZE - 1;
  threads.socket_cpu = root.integer("socket_cpu", threads.socket_cpu, -1, kCpusMax);
  threads.engine_cpu = root.integer("engine_cpu", threads.engine_cpu, -1, kCpusMax);
  threads.lock_memory = root.boolean("lock_memory", threads.lock_memory);
  root.finish();
  return threads;
}

StorageConfig read_storage(TomlReader root) {
  StorageConfig storage;
  storage.durability = root.choice("durability", storage.durability,
                                   {{"sync", Durability::kSync}, {"async", Durability::kAsync}});
  storage.checkpoint_every = root.integer("checkpoint_every", storage.checkpoint_every, 100, 1'000'000'000);
  storage.retention_us = root.duration("retention", storage.retention_us);
  storage.cache_bytes = root.integer("cache_mib", storage.cache_bytes >> 20, 1, 1 << 20) << 20;
  root.finish();
  return storage;
}

LimitConfig read_limits(TomlReader& root) {
  LimitConfig limits;
  limits.lateness_us = root.duration("lateness", limits.lateness_us);
  limits.clock = root.choice("clock", limits.clock,
                             {{"live", LimitConfig::Clock::kLive}, {"event", LimitConfig::Clock::kEvent}});
  limits.ahead_us = root.duration("ahead", limits.ahead_us);
  limits.orphan_keep_us = root.duration("orphan_keep", limits.orphan_keep_us);
  limits.orphans_max = root.integer("orphans_max", limits.orphans_max, 0, 100'000'000);
  limits.pending_max = root.integer("pending_max", limits.pending_max, 1000, 1'000'000'000);
  return limits;
}

}  // namespace

tl::expected<ConfigPtr, std::vector<std::string>> parse_config(std::string_view text,
                                                               const std::string& path) {
  TomlReader::Problems problems{path.empty() ? "configuration" : path, {}};
  toml::table document;
  try {
    document = toml::parse(text);
  } catch (const toml::parse_error& error) {
    problems.lines.push_back(
        fmt::format("{}:{}: {}", problems.file, error.source().begin.line, error.description()));
    return tl::make_unexpected(problems.lines);
  }
  auto config = std::make_shared<Config>();
  config->path = path;
  config->text = text;
  TomlReader root(document, "", problems);
  Schema schema = read_schema(root);
  std::vector<FeatureAt> specs = read_features(root);
  config->training = read_training(root.table("training"));
  read_learner(root.table("learner"), config->training);
  config->gate = read_gate(root.table("gate"));
  config->policy = read_policy(root.table("policy"));
  config->control = read_control(root.table("control"));
  config->thresholds = read_thresholds(root.table("thresholds"), schema.amount.has_value());
  config->sources = read_sources(root.table("sources"));
  config->drift = read_drift(root.table("drift"));
  config->quality = read_quality(root.table("quality"));
  config->performance = read_performance(root.table("performance"));
  config->rollout = read_rollout(root.table("rollout"), schema, config->training.maturity_us);
  config->rollback = read_rollback(root.table("rollback"));
  config->kpis = read_kpis(root.table("kpi"), config->training.maturity_us);
  config->ab_test = read_ab_test(root.table("ab_test"));
  config->retraining = read_retraining(root.table("retraining"), config->training);
  config->alerts = read_alerts(root.table("alerts"));
  config->machine = read_machine(root.table("machine"));
  config->deadline = read_deadline(root.table("deadline"));
  config->sockets = read_sockets(root.table("sockets"));
  config->threads = read_threads(root.table("threads"));
  config->storage = read_storage(root.table("storage"));
  TomlReader limits = root.table("limits");
  if (limits.duration("jump", 0) > 0) {
    config->notes.push_back(
        "limits.jump has no meaning any more: limits.clock = \"live\" (the default) lets no "
        "single transaction move event time by more than limits.lateness; \"event\" lets "
        "any move it");
  }
  config->limits = read_limits(limits);
  features::PlanOptions options;
  options.lateness_us = config->limits.lateness_us;
  options.maturity_us = config->training.maturity_us;
  options.forget_after_us = limits.duration("forget_after", options.forget_after_us);
  options.events_per_entity_max =
      limits.integer("events_per_entity_max", options.events_per_entity_max, 16, 1 << 20);
  limits.finish();
  TimeZones zones;
  zones.read(root.table("time_zones"));
  options.zones = [&zones](std::string_view name) { return zones.find(name); };
  root.finish();
  if (problems.lines.empty()) config->plan = compile_features(schema, specs, options, problems);
  if (config->plan) {
    if (const std::string section = time_zones_section(*config->plan); !section.empty() && !zones.declared())
      config->text += "\n" + section;
    for (size_t i = 0; i < config->plan->columns.size(); ++i) {
      config->columns.push_back({config->plan->columns[i], config->plan->categorical[i]
                                                               ? learners::ColumnKind::kCategorical
                                                               : learners::ColumnKind::kNumeric});
    }
    const auto learner = learners::make_learner(config->training.family, config->training.options,
                                                config->columns, config->training.seed);
    if (!learner) root.table("learner").problem(learner.error().field, learner.error().reason);
    for (const auto& [prefix, code] : config->policy.reason_codes) {
      bool used = false;
      for (const std::string& column : config->plan->columns) used |= column.rfind(prefix, 0) == 0;
      if (used) continue;
      const std::string near = features::nearest(prefix, config->plan->columns);
      TomlReader codes = root.table("policy").table("reason_codes");
      codes.problem(prefix,
                    near.empty()
                        ? std::string("no feature has this name or prefix")
                        : fmt::format("no feature has this name or prefix; did you mean \"{}\"?", near));
    }
  }
  if (!problems.lines.empty()) return tl::make_unexpected(problems.lines);
  return config;
}

uint64_t kpi_bit(std::string_view name) {
  return uint64_t{1} << (XXH3_64bits(name.data(), name.size()) & 63);
}

const KpiConfig* find_kpi(const Config& config, std::string_view name) {
  const auto found = std::find_if(config.kpis.begin(), config.kpis.end(),
                                  [&](const KpiConfig& one) { return one.name == name; });
  return found == config.kpis.end() ? nullptr : &*found;
}

tl::expected<ConfigPtr, std::vector<std::string>> load_config(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return tl::make_unexpected(
        std::vector<std::string>{fmt::format("{}: the file cannot be read; give a TOML file", path)});
  }
  std::ostringstream text;
  text << file.rdbuf();
  return parse_config(text.str(), path);
}

}  // namespace shrike::engine
