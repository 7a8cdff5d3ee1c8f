#include "engine/lifecycle/triggers.h"

#include <fmt/format.h>

#include <algorithm>

#include <date/date.h>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/numbers.h"
#include "engine/lifecycle/triggers.pb.h"

namespace shrike::engine {

void Triggers::labelled(const Labelled& labelled) {
  const Effect effect = labelled.event.outcome;
  if (labelled.event.source != Source::kMatured &&
      (effect == Effect::kStored || effect == Effect::kCorrected))
    ++labels_;
}

// Has a new day, week (from Monday) or month begun since the schedule was met last? By event time, UTC.
bool Triggers::due(int64_t now_us) const {
  using Schedule = RetrainingConfig::Schedule;
  const auto day = [](int64_t us) { return date::sys_days(date::days(us / features::kDayUs)); };
  const date::sys_days before = day(scheduled_us_), now = day(now_us);
  const date::year_month_day today(now), then(before);
  switch (config_->retraining.schedule) {
    case Schedule::kNotScheduled:
      return false;
    case Schedule::kDaily:
      return now > before;
    case Schedule::kWeekly:
      return now - (date::weekday(now) - date::Monday) > before;
    case Schedule::kMonthly:
      return today.year() / today.month() > then.year() / then.month();
  }
  return false;
}

void Triggers::judged(const JudgementEvent& event) {
  const bool failed = event.finding == Finding::kFailed;
  if (event.monitor == "quality" && event.subject.empty()) quality_fails_ = failed;
  if (event.monitor == "performance" && event.action == Action::kNone && failed) performance_ = event.text;
  if (event.monitor == "drift" && failed && event.severity == Severity::kCritical) {
    if (drift_.empty()) drift_us_ = event.time_us;
    drift_ = event.text;
  }
  if (event.monitor == "kpi" && failed) kpi_ = kpi_alert_ = event.text;
  if (event.monitor == "kpi" && event.action == Action::kResolve) {
    kpi_.clear();
    kpi_alert_.clear();
  }
  // The newest examples may have been too few of the new kind.
  if (event.monitor == kRetraining && failed) kpi_ = kpi_alert_;
  if (event.action != Action::kRetrain) return;
  asked_us_ = event.time_us;
  labels_ = 0;
  performance_.clear();
  drift_.clear();
  kpi_.clear();
}

void Triggers::close(const Period& period, std::vector<JudgementEvent>& found) {
  const RetrainingConfig& retraining = config_->retraining;
  const int64_t now_us = period.moment.now_us;
  if (!retraining.on || now_us == INT64_MIN) return;
  if (scheduled_us_ == INT64_MIN) scheduled_us_ = now_us;  // the first is met one day, week or month later
  const bool cools = asked_us_ != INT64_MIN && now_us < asked_us_ + retraining.cooldown_us;
  // With no champion yet that has learned, the learner's own first candidate comes sooner.
  if (cools || quality_fails_ || period.moment.fold.retraining() || !period.moment.fold.has_served()) return;
  JudgementEvent judgement;
  judgement.action = Action::kRetrain;
  judgement.finding = Finding::kFailed;
  judgement.severity = Severity::kInfo;
  // What has drifted is learned from as much of the new as the drift was seen in.
  const int64_t drifted_us = drift_us_ - config_->drift.window_us;
  if (retraining.performance && !performance_.empty()) {
    judgement.target = engine::name(RetrainStrategy::kSearch);
    judgement.text = performance_;
  } else if (retraining.drift && !drift_.empty() &&
             now_us >= drift_us_ + config_->training.maturity_us + config_->drift.window_us) {
    judgement.target = engine::name(RetrainStrategy::kRecent);
    judgement.values[0] = static_cast<double>(drifted_us);
    judgement.text = drift_;
  } else if (retraining.kpi && !kpi_.empty()) {
    judgement.target = engine::name(RetrainStrategy::kRecent);
    judgement.values[0] = static_cast<double>(std::max<int64_t>(now_us - retraining.kpi_window_us, 0));
    judgement.text = kpi_;
  } else if (due(now_us)) {
    judgement.target = engine::name(RetrainStrategy::kFull);
    judgement.finding = Finding::kSuccessful;
    judgement.text = "the schedule asks for it";
  } else if (retraining.labels > 0 && labels_ >= retraining.labels) {
    judgement.target = engine::name(RetrainStrategy::kFull);
    judgement.finding = Finding::kSuccessful;
    judgement.text = fmt::format("{} labels have come since the last one", labels_);
  } else {
    return;
  }
  judgement.subject = judgement.target;
  judgement.evidence = nlohmann::json{{"labels", labels_}, {"event", period.moment.sequence}}.dump();
  scheduled_us_ = now_us;
  found.push_back(std::move(judgement));
}

nlohmann::json Triggers::report() const {
  return {{"on", config_->retraining.on},
          {"labels", labels_},
          {"performance", performance_},
          {"drift", drift_},
          {"kpi", kpi_},
          {"quality_fails", quality_fails_}};
}

std::string Triggers::save() const {
  proto::TriggersRecord record;
  record.set_labels(labels_);
  record.set_performance(performance_);
  record.set_drift(drift_);
  record.set_kpi(kpi_);
  record.set_kpi_alert(kpi_alert_);
  record.set_drift_us(drift_us_);
  record.set_scheduled_us(scheduled_us_);
  record.set_asked_us(asked_us_);
  record.set_quality_fails(quality_fails_);
  return record.SerializeAsString();
}

tl::expected<void, std::string> Triggers::restore(std::string_view bytes) {
  proto::TriggersRecord record;
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return tl::make_unexpected(std::string("its record is damaged"));
  labels_ = record.labels();
  performance_ = record.performance();
  drift_ = record.drift();
  kpi_ = record.kpi();
  kpi_alert_ = record.kpi_alert();
  drift_us_ = record.drift_us();
  scheduled_us_ = record.scheduled_us();
  asked_us_ = record.asked_us();
  quality_fails_ = record.quality_fails();
  return {};
}

}  // namespace shrike::engine
