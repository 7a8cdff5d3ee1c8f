#include "tools/diagnosis_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include <nlohmann/json.hpp>

namespace shrike::tools {
namespace {

using engine::day_name;
using engine::Evidence;

constexpr size_t kShown = 5;  // of each list

std::string percent(double share) { return fmt::format("{:.3g} %", 100 * share); }
// NaN as "-".
std::string figure(double value) { return std::isfinite(value) ? fmt::format("{:.3g}", value) : "-"; }
Json day(int64_t day) { return day == engine::kNoDay ? Json() : Json(day_name(day)); }
std::string plural(size_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

void print_inputs(const engine::InputEvidence& of) {
  fmt::print("  {:.0f} transactions a day, before {:.0f}; {} of {} columns are compared day by day\n",
             of.a_day[1], of.a_day[0], of.compared, of.columns);
  if (of.changed.empty()) fmt::print("  no column has changed\n");
  for (size_t i = 0; i < std::min(of.changed.size(), kShown); ++i) {
    const engine::ColumnChange& one = of.changed[i];
    fmt::print("  {:<28} PSI {:>5.2f}  {}  from {}, {}\n", one.column, one.psi,
               one.stuck
                   ? fmt::format("missing {}, one value {}", percent(one.missing[1]), percent(one.common[1]))
                   : std::string("distributed otherwise"),
               day_name(one.first_day), plural(static_cast<size_t>(one.days), "day"));
  }
  if (of.changed.size() > kShown)
    fmt::print("  and {} more columns (--json has all)\n", of.changed.size() - kShown);
}

void print_performance(const engine::PerformanceEvidence& of) {
  const auto& [before, now] = of.figures;
  fmt::print("  {:<20}{:>10}{:>10}   transactions to {} have settled\n", "", "now", "before",
             day_name(of.settled_until));
  const auto line = [](const char* what, double a, double b) {
    fmt::print("  {:<20}{:>10}{:>10}\n", what, figure(a), figure(b));
  };
  line("average precision", now.average_precision, before.average_precision);
  line("log loss", now.log_loss, before.log_loss);
  line("rate of frauds", now.rate(), before.rate());
  line("score of frauds", std::pow(now.fraud_score, 2), std::pow(before.fraud_score, 2));
  if (of.fell_on != engine::kNoDay)
    fmt::print("  the model does worse from {} on (z {:.1f})\n", day_name(of.fell_on), of.fell_z);
}

void print_labels(const engine::LabelEvidence& of) {
  fmt::print("  {:.3g} labels for 1,000 transactions, before {:.3g}; nothing is known of {}, before {}\n",
             1000 * of.a_transaction[1], 1000 * of.a_transaction[0], percent(of.unknown[1]),
             percent(of.unknown[0]));
  for (size_t i = 0; i < engine::kSources; ++i) {
    const engine::SourceFigures& one = of.sources[i];
    if (one.labels[0] + one.labels[1] == 0) continue;
    fmt::print(
        "  {:<12}{:>7.0f} labels ({:.0f} before), {:.0f} frauds ({:.0f}), scored {} ({}), after {} days "
        "({})\n",
        one.name, one.labels[1], one.labels[0], one.frauds[1], one.frauds[0],
        figure(std::pow(one.fraud_score[1], 2)), figure(std::pow(one.fraud_score[0], 2)),
        figure(one.delay_days[1]), figure(one.delay_days[0]));
  }
}

void print_models(const engine::ModelEvidence& of) {
  fmt::print("  {} accepted, {} refused, {} retrained\n", of.accepted, of.rejected, of.retrained);
  const size_t from = of.takeovers.size() > kShown ? of.takeovers.size() - kShown : 0;
  for (size_t i = from; i < of.takeovers.size(); ++i) {
    const engine::Takeover& one = of.takeovers[i];
    fmt::print("  {} {} took over: log loss {}, before {}; reviewed or declined {}, before {}{}\n",
               day_name(one.day), one.model.substr(0, 12), figure(one.figures[1].log_loss),
               figure(one.figures[0].log_loss), percent(one.figures[1].stopped),
               percent(one.figures[0].stopped),
               one.reason.empty() ? (one.by_hand ? " (by hand)" : "") : " (" + one.reason + ")");
  }
}

void print_importance(const engine::ImportanceEvidence& of) {
  fmt::print("  {} of what the champion goes by is another than before{}\n", percent(of.distance),
             of.model[0] == of.model[1] ? "; it is the same model"
                                        : fmt::format("; model {} then, {} now", of.model[0].substr(0, 12),
                                                      of.model[1].substr(0, 12)));
  for (size_t i = 0; i < std::min<size_t>(of.columns.size(), 3); ++i)
    fmt::print("  {:<28} {:>8}, before {}\n", of.columns[i].column, percent(of.columns[i].share[1]),
               percent(of.columns[i].share[0]));
}

void print_infrastructure(const engine::InfrastructureEvidence& of) {
  const auto& [before, now] = of.machine;
  if (now.periods == 0) {
    fmt::print("  the server has measured nothing of itself ([machine] every)\n");
  } else {
    fmt::print(
        "  p99 {:.3g} ms (worst {:.3g}, on {}), before {:.3g}; {} late, {} refused, {} by a fallback, {} by "
        "no "
        "model; {:.0f} MiB\n",
        now.p99_ms, now.worst_p99_ms, day_name(now.worst_day), before.p99_ms, now.late, now.refusals,
        now.fallbacks, now.statics, now.resident_mib);
  }
  const auto unclean =
      std::count_if(of.starts.begin(), of.starts.end(), [](const auto& s) { return s.folded > 0; });
  fmt::print("  {}, {} of them after no clean stop\n", plural(of.starts.size(), "start"), unclean);
  for (size_t v = 1; v < of.versions.size(); ++v)
    fmt::print("  version {} after {}\n", of.versions[v], of.versions[v - 1]);
  for (const engine::ConfigChange& change : of.configurations) {
    fmt::print("  {} another configuration{}\n", day_name(change.day),
               change.known ? ":" : "; the one before it is older than what is read");
    for (size_t k = 0; k < std::min(change.keys.size(), kShown); ++k) fmt::print("    {}\n", change.keys[k]);
    if (change.keys.size() > kShown) fmt::print("    and {} more keys\n", change.keys.size() - kShown);
  }
}

void print_told(const std::vector<engine::Told>& all) {
  if (all.empty()) fmt::print("  nothing that should be looked at\n");
  const size_t from = all.size() > kShown ? all.size() - kShown : 0;
  if (from > 0) fmt::print("  {} earlier ones (`shrike timeline --warnings`)\n", from);
  for (size_t i = from; i < all.size(); ++i) {
    const engine::JudgementEvent& one = all[i].judgement;
    fmt::print("  {} {} {}: {}\n", day_name(engine::day_of(one.time_us)), one.monitor, name(one.severity),
               one.text);
  }
}

std::string joined(const std::vector<std::string>& all) {
  std::string text;
  for (const std::string& one : all) text += (text.empty() ? "" : ", ") + one;
  return text;
}

void print_standing(const engine::Standing& of) {
  fmt::print("  champion {}; {} to go back to\n", of.champion.substr(0, 12),
             plural(of.fallbacks.size(), "earlier champion"));
  if (!of.quarantined.empty()) fmt::print("  in quarantine: {}\n", joined(of.quarantined));
  if (!of.dropped.empty()) fmt::print("  dropped from scoring: {}\n", joined(of.dropped));
  if (of.training_held) fmt::print("  training is held\n");
  if (of.retraining) fmt::print("  a retraining is under way\n");
}

template <typename T>
void print_part(const char* title, const engine::Examined<T>& part,
                const std::function<void(const T&)>& print) {
  fmt::print("{}\n", title);
  if (part) return print(part.found);
  fmt::print("  could not be examined: {}\n", part.failed);
}

void print_cause(size_t rank, const engine::Cause& cause) {
  fmt::print("{:>2}. {:.2f}  {} ({}{}{})\n", rank, cause.score, cause.text, name(cause.kind),
             cause.first_day == engine::kNoDay ? "" : ", from " + day_name(cause.first_day),
             cause.goes_on ? "" : ", over since " + day_name(cause.last_day));
  for (const engine::Ground& ground : cause.grounds)
    fmt::print("      +{:.2f} {}\n", ground.weight, ground.text);
  for (const engine::Ground& ground : cause.against)
    fmt::print("      -{:.2f} {}\n", ground.weight, ground.text);
  fmt::print("      -> {}\n", cause.advice);
  if (!cause.command.empty()) fmt::print("         {}\n", cause.command);
}

Json figures_json(const engine::ScoreFigures& of) {
  return {{"examples", of.examples}, {"frauds", of.frauds}, {"average_precision", of.average_precision},
          {"log_loss", of.log_loss}, {"skill", of.skill()}, {"fraud_score", of.fraud_score * of.fraud_score},
          {"stopped", of.stopped}};
}

Json inputs_json(const engine::InputEvidence& of) {
  Json changed = Json::array();
  for (const engine::ColumnChange& one : of.changed) {
    changed.push_back({{"column", one.column},
                       {"fields", one.fields},
                       {"stuck", one.stuck},
                       {"psi", one.psi},
                       {"missing", one.missing},
                       {"common", one.common},
                       {"common_value", number(one.common_value)},
                       {"importance", one.importance},
                       {"first_day", day(one.first_day)},
                       {"last_day", day(one.last_day)},
                       {"days", one.days}});
  }
  return {{"transactions_a_day", of.a_day},
          {"columns", of.columns},
          {"compared", of.compared},
          {"changed_importance", of.changed_importance},
          {"changed", std::move(changed)}};
}

Json performance_json(const engine::PerformanceEvidence& of) {
  return {{"before", figures_json(of.figures[0])},
          {"now", figures_json(of.figures[1])},
          {"settled_until", day(of.settled_until)},
          {"fell_on", day(of.fell_on)},
          {"fell_z", of.fell_z},
          {"skill", of.skill}};
}

Json labels_json(const engine::LabelEvidence& of) {
  Json sources = Json::object();
  for (size_t i = 0; i < engine::kSources; ++i) {
    const engine::SourceFigures& one = of.sources[i];
    if (one.labels[0] + one.labels[1] == 0) continue;
    sources[one.name] = {{"labels", one.labels},
                         {"frauds", one.frauds},
                         {"fraud_score", one.fraud_score},
                         {"contradicted", one.contradicted},
                         {"delay_days", one.delay_days},
                         {"flood_from", day(one.flood_from)},
                         {"frauds_a_day", one.frauds_a_day},
                         {"others_a_day", one.others_a_day}};
  }
  return {{"a_transaction", of.a_transaction}, {"unknown", of.unknown}, {"sources", std::move(sources)}};
}

Json models_json(const engine::ModelEvidence& of) {
  Json takeovers = Json::array();
  for (const engine::Takeover& one : of.takeovers) {
    takeovers.push_back({{"model", one.model},
                         {"seq", one.sequence},
                         {"day", day(one.day)},
                         {"by_hand", one.by_hand},
                         {"reason", one.reason},
                         {"before", figures_json(one.figures[0])},
                         {"after", figures_json(one.figures[1])}});
  }
  return {{"accepted", of.accepted},
          {"rejected", of.rejected},
          {"retrained", of.retrained},
          {"newest_refusal", of.newest_refusal},
          {"takeovers", std::move(takeovers)}};
}

Json importance_json(const engine::ImportanceEvidence& of) {
  Json columns = Json::object();
  for (const auto& one : of.columns) columns[one.column] = one.share;
  return {{"models", of.model}, {"distance", of.distance}, {"columns", std::move(columns)}};
}

Json infrastructure_json(const engine::InfrastructureEvidence& of) {
  Json machine = Json::array(), starts = Json::array(), configurations = Json::array();
  for (const engine::MachineFigures& one : of.machine) {
    machine.push_back({{"periods", one.periods},
                       {"answers", one.answers},
                       {"p99_ms", one.p99_ms},
                       {"worst_p99_ms", one.worst_p99_ms},
                       {"worst_day", day(one.worst_day)},
                       {"late", one.late},
                       {"refusals", one.refusals},
                       {"fallbacks", one.fallbacks},
                       {"statics", one.statics},
                       {"resident_mib", one.resident_mib}});
  }
  for (const engine::Start& one : of.starts)
    starts.push_back({{"day", day(one.day)}, {"version", one.version}, {"folded", one.folded}});
  for (const engine::ConfigChange& one : of.configurations)
    configurations.push_back({{"day", day(one.day)}, {"known", one.known}, {"keys", one.keys}});
  return {{"machine", std::move(machine)},
          {"starts", std::move(starts)},
          {"versions", of.versions},
          {"configurations", std::move(configurations)}};
}

Json told_json(const std::vector<engine::Told>& all) {
  Json told = Json::array();
  for (const engine::Told& one : all) {
    told.push_back({{"seq", one.sequence},
                    {"day", day(engine::day_of(one.judgement.time_us))},
                    {"monitor", one.judgement.monitor},
                    {"subject", one.judgement.subject},
                    {"severity", name(one.judgement.severity)},
                    {"action", name(one.judgement.action)},
                    {"text", one.judgement.text}});
  }
  return {{"judgements", std::move(told)}};
}

Json standing_json(const engine::Standing& of) {
  return {{"champion", of.champion},           {"fallbacks", of.fallbacks},
          {"quarantined", of.quarantined},     {"dropped", of.dropped},
          {"training_held", of.training_held}, {"retraining", of.retraining},
          {"sampled_share", of.sampled_share}};
}

template <typename T>
Json part_json(const engine::Examined<T>& part, Json (*of)(const T&)) {
  if (!part) return {{"examined", false}, {"why", part.failed}};
  Json json = {{"examined", true}};
  json.update(of(part.found));
  return json;
}

Json grounds_json(const std::vector<engine::Ground>& grounds) {
  Json all = Json::array();
  for (const engine::Ground& ground : grounds)
    all.push_back({{"weight", ground.weight}, {"text", ground.text}});
  return all;
}

}  // namespace

size_t parts_failed(const Evidence& e) {
  return static_cast<size_t>(!e.inputs) + !e.performance + !e.labels + !e.models + !e.importance +
         !e.infrastructure + !e.told + !e.standing + !e.log_problem.empty();
}

void print_diagnosis(const Evidence& e, const std::vector<engine::Cause>& causes) {
  fmt::print("{} to {}, against {} to {} ({} events)\n", day_name(e.period.first), day_name(e.period.last),
             day_name(e.reference.first), day_name(e.reference.last), e.events);
  if (!e.log_problem.empty()) fmt::print("the log could not be read wholly: {}\n", e.log_problem);
  print_part<engine::InputEvidence>("inputs", e.inputs, print_inputs);
  print_part<engine::PerformanceEvidence>("performance", e.performance, print_performance);
  print_part<engine::LabelEvidence>("labels", e.labels, print_labels);
  print_part<engine::ModelEvidence>("models", e.models, print_models);
  print_part<engine::ImportanceEvidence>("importance of features", e.importance, print_importance);
  print_part<engine::InfrastructureEvidence>("infrastructure", e.infrastructure, print_infrastructure);
  print_part<std::vector<engine::Told>>("monitors", e.told, print_told);
  print_part<engine::Standing>("in force", e.standing, print_standing);
  fmt::print("\n");
  const bool any = std::any_of(causes.begin(), causes.end(),
                               [](const auto& cause) { return cause.score >= engine::kProbable; });
  if (!any)
    fmt::print("no probable cause of anything wrong{}\n", causes.empty() ? "" : "; what speaks for some:");
  if (any) fmt::print("probable causes, by score (from {:.2f} on probable)\n", engine::kProbable);
  for (size_t i = 0; i < causes.size(); ++i) print_cause(i + 1, causes[i]);
}

void print_fixes(const std::vector<Fixed>& fixes) {
  fmt::print("\n");
  if (fixes.empty()) fmt::print("nothing to fix: no probable cause has a safe remedy\n");
  for (const Fixed& fixed : fixes) {
    fmt::print("{}: {}\n  {}\n", fixed.done ? "done" : "not done", fixed.what, fixed.said);
    if (fixed.done && !fixed.undo.empty()) fmt::print("  to take it back: {}\n", fixed.undo);
  }
}

Json diagnosis_json(const Evidence& e, const std::vector<engine::Cause>& causes,
                    const std::vector<Fixed>& fixes) {
  Json json = {{"from", day_name(e.period.first)},
               {"to", day_name(e.period.last)},
               {"reference", {{"from", day_name(e.reference.first)}, {"to", day_name(e.reference.last)}}},
               {"events", e.events}};
  json["log_problem"] = e.log_problem.empty() ? Json() : Json(e.log_problem);
  json["inputs"] = part_json(e.inputs, inputs_json);
  json["performance"] = part_json(e.performance, performance_json);
  json["labels"] = part_json(e.labels, labels_json);
  json["models"] = part_json(e.models, models_json);
  json["importance"] = part_json(e.importance, importance_json);
  json["infrastructure"] = part_json(e.infrastructure, infrastructure_json);
  json["monitors"] = part_json(e.told, told_json);
  json["in_force"] = part_json(e.standing, standing_json);
  json["causes"] = Json::array();
  for (const engine::Cause& cause : causes) {
    json["causes"].push_back({{"kind", name(cause.kind)},
                              {"subject", cause.subject},
                              {"score", cause.score},
                              {"probable", cause.score >= engine::kProbable},
                              {"text", cause.text},
                              {"first_day", day(cause.first_day)},
                              {"last_day", day(cause.last_day)},
                              {"goes_on", cause.goes_on},
                              {"for", grounds_json(cause.grounds)},
                              {"against", grounds_json(cause.against)},
                              {"advice", cause.advice},
                              {"fixable", cause.remedy != engine::Remedy::kNone},
                              {"command", cause.command},
                              {"undo", cause.undo}});
  }
  json["fixes"] = Json::array();
  for (const Fixed& fixed : fixes)
    json["fixes"].push_back(
        {{"command", fixed.what}, {"done", fixed.done}, {"said", fixed.said}, {"undo", fixed.undo}});
  return json;
}

}  // namespace shrike::tools
