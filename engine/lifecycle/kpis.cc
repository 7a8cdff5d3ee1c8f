#include "engine/lifecycle/kpis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include <date/date.h>
#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/kpis.pb.h"
#include "engine/lifecycle/numbers.h"

namespace shrike::engine {
namespace {

constexpr int64_t kSpans[] = {1, 3};  // newest days that are compared with the baseline

int64_t day_number(int64_t time_us) { return start_of_day(time_us) / features::kDayUs; }

std::string day_text(int64_t day) { return date::format("%F", date::sys_days(date::days(day))); }

void save_sums(const ClusteredRatio& sums, google::protobuf::RepeatedField<double>& out) {
  const auto numbers = sums.save();
  out.Add(numbers.begin(), numbers.end());
}

bool restore_sums(const google::protobuf::RepeatedField<double>& saved, ClusteredRatio& out) {
  if (saved.size() != static_cast<int>(ClusteredRatio::kNumbers)) return false;
  out.restore(std::span<const double, ClusteredRatio::kNumbers>(saved.data(), ClusteredRatio::kNumbers));
  return true;
}

}  // namespace

Kpis::Kpis(ConfigPtr config) : config_(std::move(config)), metrics_(ab_metrics(*config_)) {
  for (size_t i = 0; i < metrics_.size(); ++i) {
    const KpiConfig* kpi = find_kpi(*config_, metrics_[i].name);
    if (kpi != nullptr && kpi->drop > 0) watched_.push_back({i, kpi->drop, {}, true, {}});
  }
}

// Transactions of one day come together.
Kpis::Sums& Kpis::day_of(int64_t time_us) {
  const int64_t day = day_number(time_us);
  if (newest_day_.second == nullptr || newest_day_.first != day)
    newest_day_ = {day, &days_.try_emplace(day, metrics_.size()).first->second};
  return *newest_day_.second;
}

void Kpis::scored(const Scored& scored) {
  if (scored.answer.arm != Arm::kChampion) return;
  Sums& sums = day_of(scored.time_us);
  for (size_t i = 0; i < metrics_.size(); ++i) {
    if (const Contribution one = at_score(metrics_[i], scored.answer))
      sums[i].add(scored.entity, one.numerator, one.denominator);
  }
}

void Kpis::settled(const Settled& settled) {
  if (settled.answer.arm != Arm::kChampion) return;
  Sums& sums = day_of(settled.time_us);
  for (size_t i = 0; i < metrics_.size(); ++i) {
    if (const Contribution one = at_settling(metrics_[i], settled))
      sums[i].add(settled.entity, one.numerator, one.denominator);
  }
}

void Kpis::kpi(const KpiEvent& event) {
  if (event.arm != Arm::kChampion) return;
  for (size_t i = 0; i < metrics_.size(); ++i) {
    if (const Contribution one = at_kpi(metrics_[i], event))
      day_of(event.transaction_us)[i].add(event.entity, one.numerator, one.denominator);
  }
}

void Kpis::model(const ModelEvent& event, const Fold& fold) {
  if (!takes_over(event.action)) return;
  took_over_us_ = fold.watermark_us();
  for (Watched& watched : watched_) watched.renew |= !watched.alert;
}

// The newest day of whose transactions nothing more is to come.
int64_t Kpis::complete_day(const AbMetric& metric, int64_t now_us) {
  return day_number(now_us - metric.within_us) - 1;
}

std::optional<ClusteredRatio> Kpis::days(size_t metric, int64_t last, int64_t days) const {
  ClusteredRatio sums;
  for (int64_t day = last - days + 1; day <= last; ++day) {
    const auto found = days_.find(day);
    if (found == days_.end() || !(found->second[metric].denominator() > 0)) return std::nullopt;
    sums.add(found->second[metric]);
  }
  return sums;
}

std::optional<Kpis::Fall> Kpis::fall(const Watched& watched, int64_t last, int64_t days) const {
  const auto now = this->days(watched.metric, last, days);
  const ClusteredRatio& before = watched.baseline->sums;
  if (!now || !(before.value() > 0)) return std::nullopt;
  const double sign = metrics_[watched.metric].more_is_better ? 1 : -1;
  const double worse = sign * (before.value() - now->value());
  return Fall{*now, days, worse / before.value(), worse / std::sqrt(before.variance() + now->variance())};
}

void Kpis::raise(Watched& watched, const Fall& worst, std::vector<JudgementEvent>& found) {
  const AbMetric& metric = metrics_[watched.metric];
  const bool critical = worst.share >= 2 * watched.drop;
  if (watched.alert && (watched.alert->critical || !critical)) return;  // told
  const ClusteredRatio& before = watched.baseline->sums;
  JudgementEvent judgement;
  judgement.subject = metric.name;
  judgement.finding = Finding::kFailed;
  judgement.severity = critical ? Severity::kCritical : Severity::kWarning;
  judgement.text = fmt::format(
      "{} is {:.4g} where it was {:.4g} ({:+.1f} %, {:.1f} standard errors; newest {} complete day{}, {:.0f} "
      "transactions)",
      metric.name, worst.now.value(), before.value(), 100 * (worst.now.value() / before.value() - 1),
      worst.standard_errors, worst.days, worst.days == 1 ? "" : "s", worst.now.denominator());
  judgement.evidence = nlohmann::json{{"now", short_number(worst.now.value())},
                                      {"baseline", short_number(before.value())},
                                      {"baseline_until", day_text(watched.baseline->last_day)},
                                      {"days", worst.days},
                                      {"transactions", worst.now.denominator()},
                                      {"drop", short_number(worst.share)},
                                      {"drop_max", watched.drop},
                                      {"standard_errors", short_number(worst.standard_errors)}}
                           .dump();
  watched.alert = {watched.alert ? watched.alert->since_us : now_us_, critical, judgement.text};
  found.push_back(std::move(judgement));
}

void Kpis::end(Watched& watched, Finding finding, std::string text, std::vector<JudgementEvent>& found) {
  JudgementEvent judgement;
  judgement.subject = metrics_[watched.metric].name;
  judgement.finding = finding;
  judgement.action = Action::kResolve;
  judgement.text = std::move(text);
  watched.alert.reset();
  found.push_back(std::move(judgement));
}

// A further day is complete.
void Kpis::judge(Watched& watched, std::vector<JudgementEvent>& found) {
  const AbMetric& metric = metrics_[watched.metric];
  const int64_t last = complete_day(metric, now_us_);
  if (watched.baseline) {
    std::optional<Fall> worst;
    bool within_half = true;
    for (const int64_t span : kSpans) {
      const auto one = fall(watched, last, span);
      if (!one) continue;
      within_half &= one->share < watched.drop / 2;
      const bool is_fall =
          one->share >= watched.drop && one->standard_errors >= config_->performance.standard_errors;
      if (is_fall && (!worst || one->share > worst->share)) worst = one;
    }
    if (worst) raise(watched, *worst, found);
    if (watched.alert && within_half)
      end(watched, Finding::kSuccessful, fmt::format("{} is about what it was", metric.name), found);
  }
  const bool served_a_week =
      watched.alert && took_over_us_ > watched.alert->since_us && last - kWeek >= day_number(took_over_us_);
  if (!served_a_week && (watched.alert || !watched.renew)) return;
  const auto week = days(watched.metric, last, kWeek);
  if (!week) return;
  if (served_a_week) {
    end(watched, Finding::kInconclusive,
        fmt::format("{} has been {:.4g} for a week with another model: that is the baseline from now on",
                    metric.name, week->value()),
        found);
  }
  watched.baseline = {*week, last};
  watched.renew = false;
}

void Kpis::close(const Period& period, std::vector<JudgementEvent>& found) {
  const int64_t before_us = std::exchange(now_us_, period.moment.now_us);
  if (before_us == INT64_MIN || now_us_ == INT64_MIN) return;
  for (Watched& watched : watched_) {
    const AbMetric& metric = metrics_[watched.metric];
    if (complete_day(metric, now_us_) > complete_day(metric, before_us)) judge(watched, found);
  }
  if (period.new_day) forget();
}

// A week of complete days is kept, and the days that are not.
void Kpis::forget() {
  int64_t oldest = INT64_MAX;
  for (const AbMetric& metric : metrics_) oldest = std::min(oldest, complete_day(metric, now_us_) - kWeek);
  days_.erase(days_.begin(), days_.lower_bound(oldest));
  newest_day_ = {INT64_MIN, nullptr};
}

// Of the last complete days, at most 7 in a row: what a test is planned by.
nlohmann::json Kpis::metric_json(size_t metric) const {
  const int64_t last = complete_day(metrics_[metric], now_us_);
  ClusteredRatio sums;
  int64_t count = 0;
  nlohmann::json by_day = nlohmann::json::object();
  for (int64_t day = last; day > last - kWeek; --day) {
    const auto one = days(metric, day, 1);
    if (!one) break;
    sums.add(*one);
    ++count;
    by_day[day_text(day)] = short_number(one->value());
  }
  if (count == 0) return nullptr;
  return {{"value", sums.value()},
          {"variance_of_one", sums.variance_of_one()},
          {"per_day", sums.denominator() / static_cast<double>(count)},
          {"days", count},
          {"by_day", std::move(by_day)}};
}

nlohmann::json Kpis::report() const {
  nlohmann::json metrics = nlohmann::json::object(), alerts = nlohmann::json::array();
  for (size_t i = 0; i < metrics_.size() && now_us_ != INT64_MIN; ++i) {
    if (nlohmann::json one = metric_json(i); !one.is_null()) metrics[metrics_[i].name] = std::move(one);
  }
  nlohmann::json baselines = nlohmann::json::object();
  for (const Watched& watched : watched_) {
    const std::string& name = metrics_[watched.metric].name;
    if (watched.baseline) baselines[name] = short_number(watched.baseline->sums.value());
    if (!watched.alert) continue;
    alerts.push_back(
        {{"subject", name},
         {"severity", engine::name(watched.alert->critical ? Severity::kCritical : Severity::kWarning)},
         {"since", day_text(day_number(watched.alert->since_us))},
         {"text", watched.alert->text},
         {"recommendation",
          "`shrike timeline` says what changed before; with retraining.on "
          "the learner is learned anew from the last days"}});
  }
  return {
      {"metrics", std::move(metrics)}, {"baselines", std::move(baselines)}, {"alerts", std::move(alerts)}};
}

std::string Kpis::save() const {
  proto::KpisRecord record;
  for (const auto& [day, sums] : days_) {
    proto::MetricsDayRecord& saved = *record.add_day();
    saved.set_day(day);
    for (size_t i = 0; i < metrics_.size(); ++i) {
      if (!(sums[i].numerator() != 0 || sums[i].denominator() != 0)) continue;
      proto::MetricSumsRecord& one = *saved.add_metric();
      one.set_metric(metrics_[i].name);
      save_sums(sums[i], *one.mutable_sums());
    }
  }
  for (const Watched& watched : watched_) {
    proto::KpiWatchRecord& saved = *record.add_watch();
    saved.set_kpi(metrics_[watched.metric].name);
    saved.set_renew(watched.renew);
    if (watched.baseline) {
      save_sums(watched.baseline->sums, *saved.mutable_baseline());
      saved.set_baseline_last_day(watched.baseline->last_day);
    }
    if (!watched.alert) continue;
    saved.mutable_alert()->set_since_us(watched.alert->since_us);
    saved.mutable_alert()->set_critical(watched.alert->critical);
    saved.mutable_alert()->set_text(watched.alert->text);
  }
  record.set_newest_us(now_us_);
  record.set_took_over_us(took_over_us_);
  return record.SerializeAsString();
}

// By name: another configuration may have other KPIs.
tl::expected<void, std::string> Kpis::restore(std::string_view bytes) {
  const auto damaged = [] { return tl::make_unexpected(std::string("its record is damaged")); };
  proto::KpisRecord record;
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return damaged();
  days_.clear();
  newest_day_ = {INT64_MIN, nullptr};
  for (const proto::MetricsDayRecord& day : record.day()) {
    Sums& sums = days_.try_emplace(day.day(), metrics_.size()).first->second;
    for (const proto::MetricSumsRecord& one : day.metric()) {
      ClusteredRatio restored;
      if (!restore_sums(one.sums(), restored)) return damaged();
      for (size_t i = 0; i < metrics_.size(); ++i) {
        if (metrics_[i].name == one.metric()) sums[i] = restored;
      }
    }
  }
  for (const proto::KpiWatchRecord& saved : record.watch()) {
    const auto watched = std::find_if(watched_.begin(), watched_.end(), [&](const Watched& one) {
      return metrics_[one.metric].name == saved.kpi();
    });
    if (watched == watched_.end()) continue;
    watched->renew = saved.renew();
    watched->baseline.reset();
    if (saved.baseline_size() > 0) {
      watched->baseline.emplace();
      if (!restore_sums(saved.baseline(), watched->baseline->sums)) return damaged();
      watched->baseline->last_day = saved.baseline_last_day();
    }
    watched->alert.reset();
    if (saved.has_alert())
      watched->alert = {saved.alert().since_us(), saved.alert().critical(), saved.alert().text()};
  }
  now_us_ = record.newest_us();
  took_over_us_ = record.took_over_us();
  return {};
}

}  // namespace shrike::engine
