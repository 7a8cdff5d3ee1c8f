#include "engine/lifecycle/machine.h"

#include <fmt/format.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "engine/lifecycle/numbers.h"

namespace shrike::engine {
namespace {

constexpr int kVersion = 1;
constexpr double kMiB = 1 << 20;

double ms(uint64_t us) { return static_cast<double>(us) / 1000; }

}  // namespace

std::string_view Machine::name(Subject subject) {
  constexpr std::string_view kNames[kSubjects] = {"latency", "errors", "memory"};
  return kNames[static_cast<size_t>(subject)];
}

void Machine::machine(const MachineEvent& event, std::vector<JudgementEvent>& found) {
  const MachineConfig& limits = config_->machine;
  const double deadline_us = static_cast<double>(config_->deadline.default_us);
  if (event.answers >= kRequestsMin) {
    judge(Subject::kLatency, static_cast<double>(event.p99_us) / deadline_us, limits.p99,
          fmt::format("99 % of answers took up to {:.3g} ms, the deadline is {:.3g} ms", ms(event.p99_us),
                      deadline_us / 1000),
          event, found);
  }
  const uint64_t requests = event.answers + event.refusals;
  if (requests >= kRequestsMin) {
    const uint64_t bad = event.refusals + event.late;
    judge(Subject::kErrors, static_cast<double>(bad) / static_cast<double>(requests), limits.errors,
          fmt::format("of {} requests {} were refused and {} answered late", requests, event.refusals,
                      event.late),
          event, found);
  }
  const uint64_t growth = grown(event);
  judge(Subject::kMemory, static_cast<double>(growth) / kMiB, limits.memory_growth_mib,
        fmt::format("the process holds {:.0f} MiB, {:.0f} more than within the last day",
                    static_cast<double>(event.resident_bytes) / kMiB, static_cast<double>(growth) / kMiB),
        event, found);
}

// Above the least of the last day, by the server's clock.
uint64_t Machine::grown(const MachineEvent& event) {
  const int64_t hour = event.time_us / (features::kDayUs / 24);
  const auto [it, fresh] = least_.try_emplace(hour, event.resident_bytes);
  it->second = std::min(it->second, event.resident_bytes);
  std::erase_if(least_, [&](const auto& one) { return one.first <= hour - 24 || one.first > hour; });
  const auto least = std::min_element(least_.begin(), least_.end(),
                                      [](const auto& a, const auto& b) { return a.second < b.second; });
  return event.resident_bytes - least->second;
}

void Machine::judge(Subject subject, double value, double limit, std::string text, const MachineEvent& event,
                    std::vector<JudgementEvent>& found) {
  Standing& at = standings_[static_cast<size_t>(subject)];
  at.value = value;
  at.beyond = value > limit ? at.beyond + 1 : 0;
  at.far_beyond = value > 2 * limit ? at.far_beyond + 1 : 0;
  at.within = value <= limit / 2 ? at.within + 1 : 0;
  const uint64_t periods = config_->machine.periods;
  const bool critical = at.far_beyond >= periods;
  const bool worse = critical ? !at.critical : !at.on && at.beyond >= periods;
  const bool over = at.on && at.within >= periods;
  if (!worse && !over) return;
  at.on = worse;
  at.critical = worse && critical;
  JudgementEvent& judgement = found.emplace_back();
  judgement.subject = name(subject);
  judgement.finding = worse ? Finding::kFailed : Finding::kSuccessful;
  judgement.severity = critical ? Severity::kCritical : worse ? Severity::kWarning : Severity::kInfo;
  judgement.action = worse ? Action::kNone : Action::kResolve;
  judgement.values = {value, limit};
  judgement.text = std::move(text);
  judgement.evidence = nlohmann::json{{"value", short_number(value)},
                                      {"limit", short_number(limit)},
                                      {"periods", periods},
                                      {"server_time_us", event.time_us},
                                      {"answers", event.answers},
                                      {"p50_us", event.p50_us},
                                      {"p99_us", event.p99_us},
                                      {"p999_us", event.p999_us},
                                      {"late", event.late},
                                      {"refusals", event.refusals},
                                      {"resident_bytes", event.resident_bytes},
                                      {"examples_waiting", event.examples_waiting}}
                           .dump();
}

nlohmann::json Machine::report() const {
  nlohmann::json all = nlohmann::json::object();
  for (size_t s = 0; s < kSubjects; ++s) {
    const Standing& at = standings_[s];
    all[std::string(name(static_cast<Subject>(s)))] = {
        {"value", short_number(at.value)}, {"alert", at.on}, {"critical", at.critical}};
  }
  return all;
}

std::string Machine::save() const {
  nlohmann::json standings = nlohmann::json::array(), least = nlohmann::json::array();
  for (const Standing& at : standings_)
    standings.push_back({at.beyond, at.far_beyond, at.within, at.on, at.critical, at.value});
  for (const auto& [hour, bytes] : least_) least.push_back({hour, bytes});
  return nlohmann::json{{"version", kVersion}, {"standings", standings}, {"least", least}}.dump();
}

tl::expected<void, std::string> Machine::restore(std::string_view bytes) {
  const auto damaged = [] { return tl::make_unexpected(std::string("its record is damaged")); };
  const nlohmann::json saved = nlohmann::json::parse(bytes, nullptr, false);
  if (!saved.is_object() || saved.value("version", nlohmann::json()) != kVersion) return damaged();
  const nlohmann::json standings = saved.value("standings", nlohmann::json::array());
  const nlohmann::json least = saved.value("least", nlohmann::json::array());
  if (!standings.is_array() || standings.size() != kSubjects || !least.is_array() || least.size() > 25)
    return damaged();
  std::array<Standing, kSubjects> read;
  for (size_t s = 0; s < kSubjects; ++s) {
    const nlohmann::json& one = standings[s];
    if (!one.is_array() || one.size() != 6 || !one[0].is_number_unsigned() || !one[1].is_number_unsigned() ||
        !one[2].is_number_unsigned() || !one[3].is_boolean() || !one[4].is_boolean() || !one[5].is_number())
      return damaged();
    read[s] = {one[0], one[1], one[2], one[3], one[4], one[5]};
  }
  std::map<int64_t, uint64_t> hours;
  for (const nlohmann::json& one : least) {
    if (!one.is_array() || one.size() != 2 || !one[0].is_number_integer() || !one[1].is_number_unsigned())
      return damaged();
    hours[one[0].get<int64_t>()] = one[1].get<uint64_t>();
  }
  standings_ = read;
  least_ = std::move(hours);
  return {};
}

}  // namespace shrike::engine
