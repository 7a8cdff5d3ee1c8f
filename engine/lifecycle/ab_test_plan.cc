#include "engine/lifecycle/ab_test_plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "features/nearest.h"

namespace shrike::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kDay = static_cast<double>(features::kDayUs);

tl::unexpected<Error> invalid(std::string field, std::string reason) {
  return refuse(ErrorCode::kInvalid, std::move(field), std::move(reason));
}

Result<AbMetric> find_metric(const Config& config, const std::string& field, const std::string& name) {
  std::vector<std::string> known;
  for (AbMetric& metric : ab_metrics(config)) {
    if (metric.name == name) {
      if (std::string why = hidden_from_tests(config, metric); !why.empty())
        return invalid(field, fmt::format("{}: {}", name, why));
      return std::move(metric);
    }
    known.push_back(std::move(metric.name));
  }
  const std::string near = features::nearest(name, known);
  return invalid(field,
                 fmt::format("found \"{}\", allowed are {}{}", name.substr(0, 64), fmt::join(known, ", "),
                             near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
}

// A number of the declaration; `otherwise` when it is not there.
Result<double> number(const Json& said, const char* key, double otherwise, double low, double high) {
  const auto found = said.find(key);
  if (found == said.end()) return otherwise;
  if (!found->is_number() || !(found->get<double>() >= low && found->get<double>() <= high))
    return invalid(key, fmt::format("expected a number from {:g} to {:g}", low, high));
  return found->get<double>();
}

Result<std::vector<AbGuard>> read_guards(const Config& config, const Json& said) {
  std::vector<AbGuard> guards;
  const auto given = said.find("guards");
  if (given == said.end()) return guards;
  if (!given->is_object()) return invalid("guards", "expected an object: {metric: share tolerated}");
  for (const auto& [name, tolerated] : given->items()) {
    const auto metric = find_metric(config, "guards", name);
    if (!metric) return tl::make_unexpected(metric.error());
    if (!tolerated.is_number() || !(tolerated.get<double>() > 0 && tolerated.get<double>() <= 10))
      return invalid(
          "guards",
          fmt::format("{}: expected the share by which it may get worse, above 0, at most 10", name));
    guards.push_back({name, tolerated.get<double>()});
  }
  return guards;
}

Json declared(const AbTestDeclaration& d) {
  Json guards = Json::object();
  for (const AbGuard& guard : d.guards) guards[guard.metric] = guard.tolerated;
  return {{"metric", d.metric},
          {"share", d.share},
          {"significance", d.significance},
          {"power", d.power},
          {"effect", d.effect},
          {"days", static_cast<double>(d.longest_us) / kDay},
          {"guards", std::move(guards)},
          {"on_success", d.promote ? "promote" : "tell"}};
}

Json to_json(const AbTestPlan& plan) {
  Json json = declared(plan.declaration);
  json["baseline"] = {{"value", plan.baseline.value},
                      {"variance_of_one", plan.baseline.variance_of_one},
                      {"per_day", plan.baseline.per_day},
                      {"days", plan.baseline.days}};
  json["effect_absolute"] = plan.effect;
  json["critical"] = plan.critical;
  json["information"] = plan.information;
  const double share = plan.declaration.share;
  json["needed"] = {{"challenger", std::ceil(share * plan.needed)},
                    {"champion", std::ceil((1 - share) * plan.needed)},
                    {"with_one_look", std::ceil(plan.needed_fixed)},
                    {"days", plan.days}};
  json["fits"] = plan.fits();
  return json;
}

// How many observations of both arms give the difference this variance, when the arms' single ones have v_1
// and v_0.
double observations(double share, double v1, double v0, double variance) {
  return (v1 / share + v0 / (1 - share)) / variance;
}

// Null when it is not there.
const Json& at(const Json& object, const std::string& key) {
  static const Json kNone;
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found == object.end() ? kNone : *found;
}

Result<AbBaseline> read_baseline(const std::string& metric, std::string_view report) {
  const Json all = Json::parse(report, nullptr, false);
  const Json& metrics = at(at(all, "kpi"), "metrics");
  const Json& one = at(metrics, metric);
  if (!one.is_object()) {
    return invalid("metric", fmt::format("the log has no complete day of {} yet, by which to plan; ask again "
                                         "when a day's transactions are of age",
                                         metric));
  }
  const AbBaseline baseline{one["value"].is_number() ? one["value"].get<double>() : NAN,
                            one["variance_of_one"].is_number() ? one["variance_of_one"].get<double>() : NAN,
                            one["per_day"].get<double>(), one["days"].get<int64_t>()};
  if (!(std::fabs(baseline.value) > 0) || !(baseline.variance_of_one > 0)) {
    return invalid("metric", fmt::format("{} has been {:g} on all {} days of the baseline: there is no share "
                                         "of it to find",
                                         metric, baseline.value, baseline.days));
  }
  return baseline;
}

}  // namespace

int64_t ab_test_slot_us(int64_t within_us) {
  constexpr int64_t kSlots = 24;  // about so many, at most, wait for what is to come
  return std::max(features::kHourUs, within_us / kSlots);
}

double AbTestPlan::longest_days() const { return static_cast<double>(declaration.longest_us) / kDay; }

std::string AbTestPlan::why_not() const {
  return fmt::format(
      "it would take {:.1f} days and may take {:.1f}: raise --days, --share or --effect, or begin it "
      "--anyway",
      days, longest_days());
}

std::string model_of_ab_test(std::string_view json) {
  const Json said = Json::parse(json, nullptr, false);
  if (!said.is_object()) return "";
  const auto model = said.find("model");
  return model != said.end() && model->is_string() ? model->get<std::string>() : "";
}

Result<AbTestAsked> parse_ab_test(const Config& config, std::string_view json) {
  const Json said = Json::parse(json, nullptr, false);
  if (!said.is_object()) return invalid("argument", "expected a JSON object with model and metric");
  constexpr std::string_view kKnown[] = {"model", "metric", "share",      "significance", "power", "effect",
                                         "days",  "guards", "on_success", "plan",         "anyway"};
  for (const auto& [key, value] : said.items()) {
    if (std::find(std::begin(kKnown), std::end(kKnown), key) == std::end(kKnown))
      return refuse(ErrorCode::kUnknownField, key.substr(0, 64),
                    fmt::format("allowed are {}", fmt::join(kKnown, ", ")));
  }
  const auto word = [&](const char* key) {
    const auto found = said.find(key);
    return found != said.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  const auto flag = [&](const char* key) {
    const auto found = said.find(key);
    return found != said.end() && found->is_boolean() && found->get<bool>();
  };
  if (config.thresholds.learn) {
    return invalid(
        "argument",
        "with thresholds.learn the test's model would answer at thresholds that are learned for the "
        "champion's scores; turn that off first");
  }
  AbTestAsked asked;
  AbTestDeclaration& d = asked.declaration;
  d.metric = word("metric");
  if (d.metric.empty()) return refuse(ErrorCode::kMissing, "metric", "name what is to be better");
  if (const auto metric = find_metric(config, "metric", d.metric); !metric)
    return tl::make_unexpected(metric.error());
  const AbTestConfig& usual = config.ab_test;
  double days = static_cast<double>(usual.longest_us) / kDay;
  const struct {
    const char* key;
    double otherwise, low, high;
    double* to;
  } kNumbers[] = {{"share", usual.share, 0.001, 0.5, &d.share},
                  {"significance", usual.significance, 1e-6, 0.5, &d.significance},
                  {"power", usual.power, 0.5, 0.999, &d.power},
                  {"effect", usual.effect, 1e-4, 10, &d.effect},
                  {"days", days, 1.0 / 24, 3650, &days}};
  for (const auto& one : kNumbers) {
    const auto given = number(said, one.key, one.otherwise, one.low, one.high);
    if (!given) return tl::make_unexpected(given.error());
    *one.to = *given;
  }
  d.longest_us = std::llround(days * kDay);
  auto guards = read_guards(config, said);
  if (!guards) return tl::make_unexpected(guards.error());
  d.guards = std::move(*guards);
  const std::string on_success = word("on_success");
  if (!on_success.empty() && on_success != "promote" && on_success != "tell")
    return invalid("on_success", "allowed are tell, promote");
  d.promote = on_success == "promote";
  asked.plan_only = flag("plan");
  asked.anyway = flag("anyway");
  return asked;
}

Result<AbTestPlan> plan_ab_test(const Config& config, const AbTestDeclaration& declaration,
                                std::string_view report) {
  const auto metric = find_metric(config, "metric", declaration.metric);
  if (!metric) return tl::make_unexpected(metric.error());
  const auto baseline = read_baseline(declaration.metric, report);
  if (!baseline) return tl::make_unexpected(baseline.error());
  AbTestPlan plan;
  plan.declaration = declaration;
  plan.baseline = *baseline;
  const double value = baseline->value, v0 = baseline->variance_of_one;
  plan.effect = declaration.effect * std::fabs(value);
  double v1 = v0;
  if (metric->is_rate) {
    const double better = value + (metric->more_is_better ? plan.effect : -plan.effect);
    if (!(better > 0 && better < 1)) {
      return invalid("effect", fmt::format("{} is {:.4g} and would be {:.4g}; choose a smaller effect",
                                           metric->name, value, better));
    }
    v1 = v0 * better * (1 - better) / (value * (1 - value));
  }
  plan.critical = planned_critical(declaration.significance);
  const double fixed = fixed_drift(declaration.significance, declaration.power);
  // As many looks as slots (see ab_test.h) that the test would take with one look.
  const double per_slot = baseline->per_day * static_cast<double>(ab_test_slot_us(metric->within_us)) / kDay;
  const double at_once = observations(declaration.share, v1, v0, std::pow(plan.effect / fixed, 2));
  const double drift = planned_drift(plan.critical, declaration.power, at_once / per_slot);
  plan.information = drift * drift / (plan.effect * plan.effect);
  plan.test = {plan.critical, plan.information};
  plan.needed = observations(declaration.share, v1, v0, 1 / plan.information);
  plan.needed_fixed = plan.needed * fixed * fixed / (drift * drift);
  plan.days = plan.needed / baseline->per_day + static_cast<double>(metric->within_us) / kDay;
  return plan;
}

std::string to_text(const AbTestPlan& plan) { return to_json(plan).dump(); }

std::string declaration_text(const AbTestPlan& plan) {
  return Json{{"reason", fmt::format("an A/B test of {} begins, by hand", plan.declaration.metric)},
              {"ab_test", to_json(plan)}}
      .dump();
}

tl::expected<AbTestPlan, std::string> read_declaration(std::string_view report) {
  const Json all = Json::parse(report, nullptr, false);
  const auto none = [] { return tl::make_unexpected(std::string("the event declares no A/B test")); };
  if (!all.is_object() || !all.contains("ab_test")) return none();
  try {
    const Json& said = all["ab_test"];
    AbTestPlan plan;
    AbTestDeclaration& d = plan.declaration;
    d.metric = said.at("metric").get<std::string>();
    d.share = said.at("share").get<double>();
    d.significance = said.at("significance").get<double>();
    d.power = said.at("power").get<double>();
    d.effect = said.at("effect").get<double>();
    d.longest_us = std::llround(said.at("days").get<double>() * kDay);
    for (const auto& [metric, tolerated] : said.at("guards").items())
      d.guards.push_back({metric, tolerated.get<double>()});
    d.promote = said.at("on_success") == "promote";
    const Json& baseline = said.at("baseline");
    plan.baseline = {baseline.at("value").get<double>(), baseline.at("variance_of_one").get<double>(),
                     baseline.at("per_day").get<double>(), baseline.at("days").get<int64_t>()};
    plan.effect = said.at("effect_absolute").get<double>();
    plan.critical = said.at("critical").get<double>();
    plan.information = said.at("information").get<double>();
    plan.test = {plan.critical, plan.information};
    const Json& needed = said.at("needed");
    plan.needed = needed.at("challenger").get<double>() + needed.at("champion").get<double>();
    plan.needed_fixed = needed.at("with_one_look").get<double>();
    plan.days = needed.at("days").get<double>();
    return plan;
  } catch (const Json::exception&) {
    return none();
  }
}

}  // namespace shrike::engine
