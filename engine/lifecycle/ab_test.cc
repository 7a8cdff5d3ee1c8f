#include "engine/lifecycle/ab_test.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/ab_test.pb.h"
#include "engine/lifecycle/numbers.h"
#include "engine/lifecycle/statistics.h"

namespace shrike::engine {
namespace {

constexpr double kObservationsMin = 100;  // of an arm, before it is compared
constexpr size_t kBucketsMin = 20;        // of entities, that they are of
constexpr uint64_t kFailuresMin = 5;      // no probabilities, before they tell
constexpr double kFailuresMax = 0.001;    // share of them

const ClusteredRatio& of(const AbArms& arms, Arm arm) { return arms[static_cast<size_t>(arm)]; }

// A guard's metric: by how much the challenger is worse than is tolerated, above 0 where it is, and the
// variance of that.
struct Beyond {
  double value, variance;
};
Beyond beyond(const AbMetric& metric, double tolerated, const AbComparison& c) {
  const double k = metric.more_is_better ? 1 - tolerated : 1 + tolerated;
  const double sign = metric.more_is_better ? -1 : 1;
  return {sign * (c.challenger - k * c.champion), c.challenger_variance + k * k * c.champion_variance};
}

bool is_violated(const AbMetric& metric, double tolerated, const AbComparison& c, double alpha) {
  const double expected = tolerated * std::fabs(c.champion);
  const Beyond by = beyond(metric, tolerated, c);
  return expected > 0 && by.variance > 0 && by.value >= mixture_bound(by.variance, expected, alpha);
}

void save_arms(const AbArms& arms, proto::ArmsRecord& out) {
  const auto champion = of(arms, Arm::kChampion).save(), challenger = of(arms, Arm::kCanary).save();
  out.mutable_champion()->Add(champion.begin(), champion.end());
  out.mutable_challenger()->Add(challenger.begin(), challenger.end());
}

bool restore_arms(const proto::ArmsRecord& saved, AbArms& out) {
  constexpr auto kNumbers = ClusteredRatio::kNumbers;
  if (saved.champion_size() != static_cast<int>(kNumbers) ||
      saved.challenger_size() != static_cast<int>(kNumbers))
    return false;
  out[0].restore(std::span<const double, kNumbers>(saved.champion().data(), kNumbers));
  out[1].restore(std::span<const double, kNumbers>(saved.challenger().data(), kNumbers));
  return true;
}

}  // namespace

std::optional<AbComparison> compare(const AbArms& arms) {
  const ClusteredRatio &champion = of(arms, Arm::kChampion), &challenger = of(arms, Arm::kCanary);
  if (champion.denominator() < kObservationsMin || challenger.denominator() < kObservationsMin ||
      champion.buckets_used() < kBucketsMin || challenger.buckets_used() < kBucketsMin)
    return std::nullopt;
  AbComparison c;
  c.champion = champion.value();
  c.challenger = challenger.value();
  c.champion_observations = champion.denominator();
  c.challenger_observations = challenger.denominator();
  c.champion_variance = champion.variance();
  c.challenger_variance =
      std::max(challenger.variance(), champion.variance_of_one() / challenger.denominator());
  return c;
}

bool AbTest::begin(const std::string& challenger, const std::string& declaration) {
  const auto plan = read_declaration(declaration);
  if (!plan) return false;
  Running test;
  test.challenger = challenger;
  test.declaration = declaration;
  test.plan = *plan;
  std::vector<std::string> names = {plan->declaration.metric};
  for (const AbGuard& guard : plan->declaration.guards) names.push_back(guard.metric);
  int64_t within_us = 0;
  for (const std::string& name : names) {
    // Another configuration may no longer have it: then nothing comes of it.
    AbMetric metric{AbMetric::Kind::kKpi, name, true, true, 0};
    for (AbMetric& one : ab_metrics(*config_)) {
      if (one.name == name) metric = std::move(one);
    }
    within_us = std::max(within_us, metric.within_us);
    test.metrics.push_back(std::move(metric));
  }
  test.slot_us = ab_test_slot_us(within_us);
  test.known.resize(names.size());
  test.known_before_us.assign(names.size(), INT64_MIN);
  running_ = std::move(test);
  return true;
}

// What comes late to a slot that is of age counts all the same.
void AbTest::add(size_t metric, int64_t time_us, Arm arm, uint64_t entity, const Contribution& one) {
  Running& test = *running_;
  const int64_t slot = time_us / test.slot_us * test.slot_us;
  std::vector<AbArms>* sums = &test.known;
  if (slot >= test.known_before_us[metric])
    sums = &test.slots.try_emplace(slot, test.metrics.size()).first->second;
  (*sums)[metric][static_cast<size_t>(arm)].add(entity, one.numerator, one.denominator);
}

void AbTest::scored(const Scored& scored) {
  if (!running_ || scored.sequence <= running_->after) return;
  const float challenger = challengers_score(scored.answer);
  if (challenger == kNoOther || scored.answer.step == Step::kStatic) return;
  ++running_->scored;
  running_->failures += challenger < 0;
  for (size_t i = 0; i < running_->metrics.size(); ++i) {
    if (const Contribution one = at_score(running_->metrics[i], scored.answer))
      add(i, scored.time_us, scored.answer.arm, scored.entity, one);
  }
}

void AbTest::settled(const Settled& settled) {
  if (!running_ || settled.sequence <= running_->after) return;
  for (size_t i = 0; i < running_->metrics.size(); ++i) {
    if (const Contribution one = at_settling(running_->metrics[i], settled))
      add(i, settled.time_us, settled.answer.arm, settled.entity, one);
  }
}

void AbTest::kpi(const KpiEvent& event) {
  if (!running_ || event.transaction_sequence <= running_->after) return;
  for (size_t i = 0; i < running_->metrics.size(); ++i) {
    if (const Contribution one = at_kpi(running_->metrics[i], event))
      add(i, event.transaction_us, event.arm, event.entity, one);
  }
}

void AbTest::model(const ModelEvent& event, const Fold& fold) {
  if (event.action == ModelAction::kTested) {
    if (!begin(event.model, event.report)) return;
    running_->after = fold.next_sequence() - 1;
    running_->since_us = fold.watermark_us();
  } else if (running_ && (takes_over(event.action) || event.action == ModelAction::kChallenger)) {
    end(fmt::format("model {} took over", event.model.substr(0, 12)));
  }
}

void AbTest::end(const std::string& why) {
  ended_ = Ended{running_->challenger, why, evidence_json().dump()};
  running_.reset();
}

// The monitor's own verdict is in the log, or somebody else's.
void AbTest::judged(const JudgementEvent& event) {
  const bool ends =
      event.action == Action::kConclude || event.action == Action::kPromote || event.action == Action::kAbort;
  if (!running_ || !ends || event.target != running_->challenger) return;
  if (event.monitor == name()) {
    running_.reset();
  } else {
    end(fmt::format("{} by {}: {}", engine::name(event.action), event.monitor, event.text));
  }
}

void AbTest::take_what_is_of_age(int64_t now_us) {
  Running& test = *running_;
  for (size_t i = 0; i < test.metrics.size(); ++i) {
    const int64_t before_us = (now_us - test.metrics[i].within_us) / test.slot_us * test.slot_us;
    if (before_us <= test.known_before_us[i]) continue;
    for (auto& [from_us, arms] : test.slots) {
      if (from_us >= before_us) break;
      if (from_us < test.known_before_us[i]) continue;
      for (size_t arm = 0; arm < arms[i].size(); ++arm) test.known[i][arm].add(arms[i][arm]);
    }
    test.known_before_us[i] = before_us;
  }
  const int64_t all_before_us = *std::min_element(test.known_before_us.begin(), test.known_before_us.end());
  test.slots.erase(test.slots.begin(), test.slots.lower_bound(all_before_us));
}

// Why it must end, whatever the metric says; "" when it need not.
std::string AbTest::failure() const {
  const Running& test = *running_;
  if (test.failures >= kFailuresMin &&
      static_cast<double>(test.failures) > kFailuresMax * static_cast<double>(test.scored))
    return fmt::format("{} of its {} scores were no probability", test.failures, test.scored);
  const std::vector<AbGuard>& guards = test.plan.declaration.guards;
  for (size_t g = 0; g < guards.size(); ++g) {
    const auto c = compare(test.known[g + 1]);
    if (!c) continue;
    const double alpha = test.plan.declaration.significance / static_cast<double>(guards.size());
    if (is_violated(test.metrics[g + 1], guards[g].tolerated, *c, alpha)) {
      return fmt::format("the guard {} is {:.4g} with it and {:.4g} without, and may be {:.4g} % worse",
                         guards[g].metric, c->challenger, c->champion, 100 * guards[g].tolerated);
    }
  }
  return "";
}

std::string AbTest::figures() const {
  const Running& test = *running_;
  const std::string& metric = test.plan.declaration.metric;
  const auto c = compare(test.known[0]);
  if (!c) return fmt::format("too few transactions of one arm to compare {}", metric);
  const double half = test.plan.test.half_width(c->variance());
  return fmt::format(
      "{} is {:.4g} with it and {:.4g} without, {:+.2f} % [{:+.2f} %, {:+.2f} %], on {:.0f} and "
      "{:.0f} observations",
      metric, c->challenger, c->champion, 100 * c->difference() / c->champion,
      100 * (c->difference() - half) / c->champion, 100 * (c->difference() + half) / c->champion,
      c->challenger_observations, c->champion_observations);
}

std::optional<JudgementEvent> AbTest::verdict(int64_t now_us) const {
  const Running& test = *running_;
  JudgementEvent judgement;
  judgement.subject = judgement.target = test.challenger;
  judgement.action = Action::kConclude;
  judgement.severity = Severity::kWarning;
  const auto conclude = [&](Finding finding, const std::string& why) {
    judgement.finding = finding;
    judgement.text = fmt::format("A/B test of {} {}: {}{}", test.challenger.substr(0, 12),
                                 engine::name(finding), why.empty() ? "" : why + "; ", figures());
    judgement.evidence = evidence_json().dump();
    return judgement;
  };
  if (const std::string why = failure(); !why.empty()) return conclude(Finding::kFailed, why);
  const auto c = compare(test.known[0]);
  if (c && test.plan.test.proves(c->difference(), c->variance())) {
    const bool better = (c->difference() > 0) == test.metrics[0].more_is_better;
    if (!better) return conclude(Finding::kFailed, "it is worse");
    judgement.severity = Severity::kInfo;
    const bool promote = test.plan.declaration.promote;
    judgement.action = promote ? Action::kPromote : Action::kConclude;
    return conclude(Finding::kSuccessful,
                    promote ? "it becomes champion" : "`shrike models activate` makes it champion");
  }
  if (c && test.plan.test.is_over(c->variance()))
    return conclude(Finding::kInconclusive, "all planned observations are there and show no difference");
  if (test.since_us != INT64_MIN && now_us - test.since_us >= test.plan.declaration.longest_us)
    return conclude(Finding::kInconclusive, "its time is over");
  return std::nullopt;
}

void AbTest::close(const Period& period, std::vector<JudgementEvent>& found) {
  const int64_t now_us = period.moment.now_us;
  if (ended_) {
    JudgementEvent judgement;
    judgement.subject = ended_->challenger;
    judgement.text =
        fmt::format("A/B test of {} inconclusive: {}", ended_->challenger.substr(0, 12), ended_->why);
    judgement.evidence = ended_->evidence;
    found.push_back(std::move(judgement));
    ended_.reset();
  }
  if (!running_ || now_us == INT64_MIN) return;
  if (running_->since_us == INT64_MIN) running_->since_us = now_us;
  take_what_is_of_age(now_us);
  if (auto judgement = verdict(now_us)) found.push_back(std::move(*judgement));
}

nlohmann::json AbTest::guard_json(size_t guard) const {
  const Running& test = *running_;
  const AbGuard& declared = test.plan.declaration.guards[guard];
  nlohmann::json json = {{"metric", declared.metric}, {"tolerated", declared.tolerated}};
  const auto c = compare(test.known[guard + 1]);
  if (!c) return json;
  const double alpha =
      test.plan.declaration.significance / static_cast<double>(test.plan.declaration.guards.size());
  json["champion"] = short_number(c->champion);
  json["challenger"] = short_number(c->challenger);
  json["change"] = short_number(c->difference() / c->champion);
  json["violated"] = is_violated(test.metrics[guard + 1], declared.tolerated, *c, alpha);
  return json;
}

nlohmann::json AbTest::evidence_json() const {
  const Running& test = *running_;
  nlohmann::json guards = nlohmann::json::array();
  for (size_t g = 0; g < test.plan.declaration.guards.size(); ++g) guards.push_back(guard_json(g));
  nlohmann::json json = {{"metric", test.plan.declaration.metric},
                         {"share", test.plan.declaration.share},
                         {"begun_by", test.after},
                         {"since_us", test.since_us},
                         {"scored", test.scored},
                         {"no_probability", test.failures},
                         {"guards", std::move(guards)}};
  const auto c = compare(test.known[0]);
  if (!c) return json;
  const double significance = test.plan.declaration.significance, error = std::sqrt(c->variance());
  const auto interval = [&](double half) {
    return nlohmann::json{short_number(c->difference() - half), short_number(c->difference() + half)};
  };
  json["champion"] = {{"value", short_number(c->champion)},
                      {"observations", short_number(c->champion_observations)}};
  json["challenger"] = {{"value", short_number(c->challenger)},
                        {"observations", short_number(c->challenger_observations)}};
  json["difference"] = short_number(c->difference());
  json["relative"] = short_number(c->difference() / c->champion);
  json["interval"] = interval(test.plan.test.half_width(c->variance()));
  json["one_look"] = {{"interval", interval(-normal_quantile(significance / 2) * error)},
                      {"p", short_number(normal_tails(c->difference() / error))}};
  json["information"] = short_number(test.plan.test.share_of_information(c->variance()));
  return json;
}

nlohmann::json AbTest::report() const {
  if (!running_) return {{"challenger", nullptr}};
  nlohmann::json json = {{"challenger", running_->challenger}};
  json.update(evidence_json());
  json["declared"] = nlohmann::json::parse(running_->declaration, nullptr, false)["ab_test"];
  return json;
}

std::string AbTest::save() const {
  proto::AbTestRecord record;
  if (ended_) {
    record.set_ended(ended_->why);
    record.set_ended_evidence(ended_->evidence);
    record.set_ended_challenger(ended_->challenger);
  }
  if (!running_) return record.SerializeAsString();
  const Running& test = *running_;
  record.set_challenger(test.challenger);
  record.set_declaration(test.declaration);
  record.set_after(test.after);
  record.set_since_us(test.since_us);
  for (const AbArms& arms : test.known) save_arms(arms, *record.add_known());
  for (const int64_t before_us : test.known_before_us) record.add_known_before_us(before_us);
  for (const auto& [from_us, metrics] : test.slots) {
    proto::ArmsSlotRecord& slot = *record.add_slot();
    slot.set_from_us(from_us);
    for (const AbArms& arms : metrics) save_arms(arms, *slot.add_metric());
  }
  record.set_scored(test.scored);
  record.set_failures(test.failures);
  return record.SerializeAsString();
}

tl::expected<void, std::string> AbTest::restore(std::string_view bytes) {
  const auto damaged = [] { return tl::make_unexpected(std::string("its record is damaged")); };
  proto::AbTestRecord record;
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return damaged();
  running_.reset();
  ended_.reset();
  if (!record.ended().empty())
    ended_ = Ended{record.ended_challenger(), record.ended(), record.ended_evidence()};
  if (record.challenger().empty()) return {};
  if (!begin(record.challenger(), record.declaration())) return damaged();
  Running& test = *running_;
  const int metrics = static_cast<int>(test.metrics.size());
  if (record.known_size() != metrics || record.known_before_us_size() != metrics) return damaged();
  test.after = record.after();
  test.since_us = record.since_us();
  for (int i = 0; i < metrics; ++i) {
    if (!restore_arms(record.known(i), test.known[static_cast<size_t>(i)])) return damaged();
    test.known_before_us[static_cast<size_t>(i)] = record.known_before_us(i);
  }
  for (const proto::ArmsSlotRecord& saved : record.slot()) {
    if (saved.metric_size() != metrics) return damaged();
    std::vector<AbArms>& slot = test.slots.try_emplace(saved.from_us(), test.metrics.size()).first->second;
    for (int i = 0; i < metrics; ++i) {
      if (!restore_arms(saved.metric(i), slot[static_cast<size_t>(i)])) return damaged();
    }
  }
  test.scored = record.scored();
  test.failures = record.failures();
  return {};
}

}  // namespace shrike::engine
