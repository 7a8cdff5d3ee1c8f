#include "engine/lifecycle/performance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <date/date.h>
#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/performance.pb.h"
#include "features/schema.h"

namespace shrike::engine {
namespace {

using features::kDayUs;
using nlohmann::json;

constexpr uint32_t kVersion = 1;
constexpr size_t kWeeksKept = 26, kAnomaliesKept = 20;
constexpr size_t kTrendDaysMin = 10, kUsualDaysMin = 14;
constexpr double kTrendZ = 1.96;  // p < 0.05, two-sided
constexpr double kAnomalyZ = 3.5;
constexpr double kSeenWell = 0.9;     // of declines; with fewer the report says what that does
constexpr double kDayFraudsMin = 10;  // of a day that may be called unusual

constexpr std::string_view kCannotSee =
    "The estimate takes scores at their word. It sees a change in what comes; it does not see frauds that "
    "look "
    "like normal traffic, nor a model whose probabilities are no longer right: only settled labels show "
    "these. "
    "Its error is how far it was off in the weeks whose labels are in.";

int64_t day_of(int64_t time_us) { return time_us / kDayUs - (time_us % kDayUs < 0); }

std::string date_of(int64_t day) { return date::format("%F", date::sys_days(date::days(day))); }

// To six digits after the point: what is read by people. Null for NaN.
json rounded(double value) {
  return std::isfinite(value) ? json(std::round(value * 1e6) / 1e6) : json(nullptr);
}

json confusion_json(const Figures& figures) {
  return {{"caught", rounded(figures.caught)},
          {"missed", rounded(figures.missed)},
          {"false_alarms", rounded(figures.false_alarms)},
          {"passed", rounded(figures.passed)}};
}

// And the interval that holds the figure of all traffic in 95 of 100.
void put_error(json& out, const std::string& key, double value, double error) {
  out["standard_errors"][key] = rounded(error);
  out["intervals"][key] = {rounded(std::max(value - 1.96 * error, 0.0)),
                           rounded(std::min(value + 1.96 * error, 1.0))};
}

json figures_json(const Figures& figures, bool errors) {
  json out = json::object();
  for (size_t m = 0; m < kMetrics; ++m) {
    const std::string key(name(static_cast<Metric>(m)));
    out[key] = rounded(figures.value[m]);
    if (errors && m < kMetricsAlerted) put_error(out, key, figures.value[m], figures.error[m]);
  }
  if (errors) {
    const double rate = figures.false_positive_rate();
    out["false_positive_rate"] = rounded(rate);
    put_error(out, "false_positive_rate", rate, figures.false_positive_error);
  }
  out["confusion"] = confusion_json(figures);
  return out;
}

std::string_view advice(Metric metric) {
  switch (metric) {
    case Metric::kAccuracy:
    case Metric::kPrecision:
      return "More legitimate customers are declined: see `shrike timeline` for drift and new models, check "
             "the "
             "calibration error, and consider a higher policy.decline_score until a new model takes over.";
    case Metric::kRecall:
      return "More frauds get through: see `shrike timeline` for drift and new models, look at the missed "
             "frauds "
             "for a new pattern, and consider a lower policy.decline_score until a new model takes over.";
    case Metric::kF1:
      return "Frauds and legitimate transactions are told apart worse at the threshold: see whether "
             "precision or "
             "recall has dropped, and review policy.decline_score.";
    default:
      return "The ranking itself has become worse, no threshold mends it: see `shrike timeline` for drift "
             "and new "
             "models; retrain, or roll back with `shrike models activate` if it began with a takeover.";
  }
}

// What is not on time belongs to no day.
bool counts(const Answer& answer) {
  const float score = champions_score(answer);
  return answer.clock == Clock::kOnTime && score >= 0 && score <= 1;
}

void write(const SettledCounts& counts, proto::SettledCountsRecord& record) {
  for (size_t b = 0; b < counts.bins.size(); ++b) {
    const SettledCounts::Bin& bin = counts.bins[b];
    if (bin == SettledCounts::Bin{}) continue;
    record.add_bin(static_cast<uint32_t>(b));
    record.add_fraud(bin.fraud);
    record.add_legitimate(bin.legitimate);
    record.add_fraud_squares(bin.fraud_squares);
    record.add_legitimate_squares(bin.legitimate_squares);
    record.add_money(bin.money);
  }
  record.set_loss(counts.loss);
}

bool is_amount(double value) { return std::isfinite(value) && value >= 0; }

bool read(const proto::SettledCountsRecord& record, SettledCounts& counts) {
  const int n = record.bin_size();
  if (record.fraud_size() != n || record.legitimate_size() != n || record.fraud_squares_size() != n ||
      record.legitimate_squares_size() != n || record.money_size() != n || !is_amount(record.loss()))
    return false;
  for (int i = 0; i < n; ++i) {
    if (record.bin(i) >= ScoreScale::kBins) return false;
    const SettledCounts::Bin bin{record.fraud(i), record.legitimate(i), record.fraud_squares(i),
                                 record.legitimate_squares(i), record.money(i)};
    if (bin.fraud < 0 || bin.legitimate < 0 || !is_amount(bin.fraud_squares) ||
        !is_amount(bin.legitimate_squares) || !is_amount(bin.money))
      return false;
    counts.bins[record.bin(i)] = bin;
  }
  counts.loss = record.loss();
  return true;
}

void write(const ScoredCounts& counts, proto::ScoredCountsRecord& record) {
  for (size_t b = 0; b < counts.bins.size(); ++b) {
    if (counts.bins[b].count == 0) continue;
    record.add_bin(static_cast<uint32_t>(b));
    record.add_count(counts.bins[b].count);
    record.add_expected(counts.bins[b].expected);
  }
}

bool read(const proto::ScoredCountsRecord& record, ScoredCounts& counts) {
  if (record.count_size() != record.bin_size() || record.expected_size() != record.bin_size()) return false;
  for (int i = 0; i < record.bin_size(); ++i) {
    if (record.bin(i) >= ScoreScale::kBins) return false;
    counts.bins[record.bin(i)] = {record.count(i), record.expected(i)};
  }
  return true;
}

// Of days on which there is something to measure.
std::vector<double> defined(Metric metric, const std::vector<Figures>& days) {
  std::vector<double> values;
  for (const Figures& day : days) {
    if (std::isfinite(day[metric])) values.push_back(day[metric]);
  }
  return values;
}

Trend trend_of(Metric metric, const std::vector<Figures>& days) {
  const std::vector<double> values = defined(metric, days);
  if (values.size() < kTrendDaysMin) return Trend::kUnknown;
  const double z = mann_kendall(values).z * (more_is_better(metric) ? 1 : -1);
  return z > kTrendZ ? Trend::kImproving : z < -kTrendZ ? Trend::kDeclining : Trend::kStable;
}

// The same days under a new threshold.
template <typename Counts>
void move(const ScoreScale& from, const ScoreScale& to, Counts& counts) {
  std::vector<typename decltype(counts.bins)::value_type> old(ScoreScale::kBins);
  old.swap(counts.bins);
  Counts one;
  for (size_t b = 0; b < old.size(); ++b) {
    if (old[b] == typename Counts::Bin{}) continue;
    one.bins[from.on(to, b)] = old[b];
    counts += one;
    one.bins[from.on(to, b)] = {};
  }
}

}  // namespace

std::string_view name(Trend trend) {
  constexpr std::string_view kNames[] = {"unknown", "improving", "stable", "declining"};
  return kNames[static_cast<size_t>(trend)];
}

Performance::Performance(ConfigPtr config)
    : config_(std::move(config)),
      scale_(config_->policy.decline_score),
      next_threshold_(config_->policy.decline_score) {}

void Performance::scored(const Scored& scored) {
  if (counts(scored.answer)) scored_[day_of(scored.time_us)].add(scale_, champions_score(scored.answer));
}

void Performance::settled(const Settled& settled) {
  if (!counts(settled.answer)) return;
  const float score = champions_score(settled.answer);
  const bool fraud = settled.verdict == Verdict::kFraud;
  const double amount = is_amount(settled.amount) ? settled.amount : 0;
  const int64_t at = day_of(settled.time_us);
  if (today_ != INT64_MIN && at < first_kept()) return;
  SettledCounts& day = settled_[at];
  if (settled.corrected) day.add(scale_, score, !fraud, settled.weight, amount, -1);
  day.add(scale_, score, fraud, settled.weight, amount, 1);
}

void Performance::model(const ModelEvent& event, const Fold& fold) {
  if (!takes_over(event.action)) return;
  took_over_ = true;
  next_threshold_ = fold.thresholds().decline;  // a challenger brings its own
}

void Performance::judged(const JudgementEvent& event) {
  if (event.action == Action::kThresholds && event.values[1] >= 0 && event.values[1] <= 1)
    next_threshold_ = event.values[1];
}

void Performance::close(const Period& period, std::vector<JudgementEvent>& found) {
  const int64_t now_us = period.moment.now_us;
  if (now_us == INT64_MIN) return;
  const int64_t today = day_of(now_us);
  const int64_t complete_now = day_of(now_us - config_->training.maturity_us) - 1;
  if (champion_from_ == INT64_MIN) {
    champion_from_ = week_from_ = today;
    complete_ = complete_now;
  }
  if (today < today_) step_back(today);
  if (next_threshold_ != scale_.threshold()) set_threshold(next_threshold_);
  if (took_over_) {
    took_over_ = false;
    if (std::none_of(alerts_.begin(), alerts_.end(), [](const auto& alert) { return alert.has_value(); }))
      take_baseline(complete_, false);
    champion_from_ = today + 1;
    waits_for_week_ = true;
  }
  if (today <= today_) return;
  today_ = today;
  if (complete_now > complete_) {
    for (int64_t day = std::max(complete_ + 1, complete_now - kDaysKept); day <= complete_now; ++day)
      complete(day);
    judge(now_us, found);
  }
  forget();
}

// Event time was repaired: the days that had come too early are no more.
void Performance::step_back(int64_t today) {
  settled_.erase(settled_.upper_bound(today), settled_.end());
  scored_.erase(scored_.upper_bound(today), scored_.end());
  today_ = today;
  complete_ = std::min(complete_, day_of(today * kDayUs - config_->training.maturity_us) - 1);
  champion_from_ = std::min(champion_from_, today + 1);
  week_from_ = std::min(week_from_, today + 1);
}

void Performance::set_threshold(double threshold) {
  const ScoreScale scale(threshold);
  for (auto& [day, counts] : settled_) move(scale_, scale, counts);
  for (auto& [day, counts] : scored_) move(scale_, scale, counts);
  if (baseline_) move(scale_, scale, baseline_->counts);
  scale_ = scale;
}

int64_t Performance::first_kept() const {
  return today_ - kDaysKept - config_->training.maturity_us / kDayUs - 1;
}

void Performance::forget() {
  settled_.erase(settled_.begin(), settled_.lower_bound(first_kept()));
  scored_.erase(scored_.begin(), scored_.lower_bound(first_kept()));
}

void Performance::complete(int64_t day) {
  complete_ = day;
  if (waits_for_week_ && day - champion_from_ >= kWindow - 1) take_baseline(day, true);
  if (day - week_from_ >= kWindow - 1) compare_estimate(day);
  find_anomalies(day);
}

bool Performance::has_week(int64_t last_day) const {
  return last_day != INT64_MIN && !settled_.empty() && settled_.begin()->first <= last_day - kWindow + 1 &&
         !week(last_day).empty();
}

std::vector<const SettledCounts*> Performance::week(int64_t last_day) const {
  std::vector<const SettledCounts*> days;
  for (auto at = settled_.lower_bound(last_day - kWindow + 1); at != settled_.end() && at->first <= last_day;
       ++at)
    days.push_back(&at->second);
  return days;
}

ScoredCounts Performance::scored_week(int64_t last_day) const {
  ScoredCounts pool;
  for (auto at = scored_.lower_bound(last_day - kWindow + 1); at != scored_.end() && at->first <= last_day;
       ++at)
    pool += at->second;
  return pool;
}

// The share of what would be declined that settled, or that settled ones stand for.
double Performance::seen(int64_t last_day) const {
  const ScoredCounts scored = scored_week(last_day);
  double alarms = 0, settled = 0;
  for (size_t b = scale_.alarm(); b < ScoreScale::kBins; ++b) {
    alarms += static_cast<double>(scored.bins[b].count);
    for (const SettledCounts* day : week(last_day))
      settled += static_cast<double>(day->bins[b].fraud + day->bins[b].legitimate) / SettledCounts::kUnit;
  }
  return alarms > 0 ? std::min(settled / alarms, 1.0) : 1;
}

bool Performance::is_judged(int64_t last_day) const {
  return has_week(last_day) && seen(last_day) >= config_->performance.seen_min;
}

void Performance::take_baseline(int64_t last_day, bool first_week) {
  if (!is_judged(last_day)) return;
  const auto days = week(last_day);
  PerformanceBaseline baseline{.counts = {},
                               .error = figures(days, scale_).error,
                               .first_day = last_day - kWindow + 1,
                               .first_week = first_week};
  for (const SettledCounts* day : days) baseline.counts += *day;
  baseline_ = std::move(baseline);
  if (first_week) waits_for_week_ = false;
}

Figures Performance::baseline_figures() const {
  Figures out = figures(baseline_->counts, scale_);
  for (size_t m = 0; m < kMetrics; ++m) {
    if (baseline_->error[m] > out.error[m]) out.error[m] = baseline_->error[m];
  }
  return out;
}

void Performance::compare_estimate(int64_t last_day) {
  week_from_ = last_day + 1;
  if (!is_judged(last_day)) return;
  const double estimated = expected_figures(scored_week(last_day), scale_)[Metric::kAveragePrecision];
  const double realised = figures(week(last_day), scale_)[Metric::kAveragePrecision];
  if (!std::isfinite(estimated) || !std::isfinite(realised)) return;
  weeks_.push_back({last_day - kWindow + 1, estimated, realised});
  if (weeks_.size() > kWeeksKept) weeks_.pop_front();
}

// Of `days` days up to the last, oldest first; those without transactions are left out.
std::vector<Figures> Performance::daily(int64_t last_day, int64_t days) const {
  std::vector<Figures> all;
  for (auto at = settled_.lower_bound(last_day - days + 1); at != settled_.end() && at->first <= last_day;
       ++at)
    all.push_back(figures(at->second, scale_));
  return all;
}

void Performance::find_anomalies(int64_t day) {
  const auto at = settled_.find(day);
  if (at == settled_.end()) return;
  const Figures of_day = figures(at->second, scale_);
  if (of_day.frauds() < kDayFraudsMin) return;
  const std::vector<Figures> before = daily(day - 1, kTrendDays);
  for (size_t m = 0; m < kMetrics; ++m) {
    const std::vector<double> usual = defined(static_cast<Metric>(m), before);
    if (usual.size() < kUsualDaysMin || !std::isfinite(of_day.value[m])) continue;
    const double z = robust_z(of_day.value[m], usual);
    if (std::fabs(z) > kAnomalyZ) anomalies_.push_back({day, static_cast<Metric>(m), of_day.value[m], z});
  }
  while (anomalies_.size() > kAnomaliesKept) anomalies_.pop_front();
}

Trend Performance::trend(Metric metric) const {
  if (complete_ == INT64_MIN) return Trend::kUnknown;
  return trend_of(metric, daily(complete_, kTrendDays));
}

double Performance::threshold(Metric metric) const {
  const PerformanceConfig& drops = config_->performance;
  const double of[kMetricsAlerted] = {drops.accuracy_drop, drops.precision_drop,
                                      drops.recall_drop,   drops.f1_drop,
                                      drops.auc_drop,      drops.average_precision_drop};
  return of[static_cast<size_t>(metric)];
}

bool Performance::Drop::beyond(double threshold, double standard_errors) const {
  const double keep = std::max(1 - threshold / 100, 0.0);
  const double shortfall = before * keep - now;
  return shortfall >
         standard_errors * std::sqrt(error_now * error_now + error_before * error_before * (keep * keep));
}

std::optional<Performance::Drop> Performance::drop(Metric metric, const Figures& now,
                                                   const Figures& before) const {
  const auto m = static_cast<size_t>(metric);
  if (!std::isfinite(now.value[m]) || !(before.value[m] > 0)) return std::nullopt;
  return Drop{now.value[m], before.value[m], 100 * (1 - now.value[m] / before.value[m]), now.error[m],
              before.error[m]};
}

void Performance::judge(int64_t now_us, std::vector<JudgementEvent>& found) {
  if (!baseline_ || !is_judged(complete_)) return;
  const Figures now = figures(week(complete_), scale_), before = baseline_figures();
  for (size_t m = 0; m < kMetricsAlerted; ++m) {
    const auto metric = static_cast<Metric>(m);
    const std::optional<Drop> drop = this->drop(metric, now, before);
    if (!drop) continue;
    std::optional<Alert>& alert = alerts_[m];
    const double limit = threshold(metric);
    const double sure = config_->performance.standard_errors;
    const bool critical = drop->beyond(2 * limit, sure);
    JudgementEvent judgement{.subject = std::string(engine::name(metric)),
                             .values = {drop->now, drop->before},
                             .evidence = evidence(metric, *drop, now)};
    const std::string figures_text =
        fmt::format("{} of {} to {} is {:.3f}, {:.1f} % {} the baseline's {:.3f}", engine::name(metric),
                    date_of(complete_ - kWindow + 1), date_of(complete_), drop->now, std::fabs(drop->percent),
                    drop->percent < 0 ? "above" : "below", drop->before);
    if (critical ? !alert || !alert->critical : !alert && drop->beyond(limit, sure)) {
      judgement.finding = Finding::kFailed;
      judgement.severity = critical ? Severity::kCritical : Severity::kWarning;
      judgement.text = fmt::format("{}; {} % are allowed", figures_text, limit);
      alert = Alert{critical, alert ? alert->since_us : now_us, drop->percent, judgement.text};
      found.push_back(std::move(judgement));
    } else if (alert && drop->percent <= limit / 2) {
      judgement.finding = Finding::kSuccessful;
      judgement.action = Action::kResolve;
      judgement.text = figures_text + ": it has recovered";
      alert.reset();
      found.push_back(std::move(judgement));
    }
  }
}

std::string Performance::evidence(Metric metric, const Drop& drop, const Figures& now) const {
  return json{{"metric", engine::name(metric)},
              {"first_day", date_of(complete_ - kWindow + 1)},
              {"last_day", date_of(complete_)},
              {"now", rounded(drop.now)},
              {"baseline", rounded(drop.before)},
              {"baseline_first_day", date_of(baseline_->first_day)},
              {"drop_percent", rounded(drop.percent)},
              {"allowed_percent", threshold(metric)},
              {"standard_error_now", rounded(drop.error_now)},
              {"standard_error_baseline", rounded(drop.error_before)},
              {"frauds", rounded(now.frauds())},
              {"transactions", rounded(now.transactions())},
              {"decline_score", scale_.threshold()}}
      .dump();
}

char Performance::grade() const {
  if (!baseline_ || !is_judged(complete_)) return ' ';
  char worst = 'A';
  for (const auto& alert : alerts_) {
    if (alert) worst = std::max(worst, alert->critical ? 'F' : 'D');
  }
  const Figures now = figures(week(complete_), scale_), before = baseline_figures();
  for (size_t m = 0; m < kMetricsAlerted; ++m) {
    const auto metric = static_cast<Metric>(m);
    const std::optional<Drop> drop = this->drop(metric, now, before);
    if (!drop) continue;
    const double limit = threshold(metric);
    if (drop->beyond(limit, 1)) worst = std::max(worst, 'C');
    if (drop->beyond(limit / 2, 1) || (drop->percent > limit / 2 && trend(metric) == Trend::kDeclining))
      worst = std::max(worst, 'B');
  }
  return worst;
}

json Performance::alerts_json() const {
  json all = json::array();
  for (size_t m = 0; m < kMetricsAlerted; ++m) {
    const std::optional<Alert>& alert = alerts_[m];
    if (!alert) continue;
    const auto metric = static_cast<Metric>(m);
    all.push_back({{"subject", engine::name(metric)},
                   {"severity", engine::name(alert->critical ? Severity::kCritical : Severity::kWarning)},
                   {"since", date_of(day_of(alert->since_us))},
                   {"since_us", alert->since_us},
                   {"drop_percent", rounded(alert->drop)},
                   {"text", alert->text},
                   {"recommendation", advice(metric)}});
  }
  return all;
}

json Performance::trends_json() const {
  json all = json::object();
  const std::vector<Figures> days = daily(complete_, kTrendDays);
  for (size_t m = 0; m < kMetrics; ++m) {
    const auto metric = static_cast<Metric>(m);
    all[std::string(engine::name(metric))] = engine::name(trend_of(metric, days));
  }
  return all;
}

json Performance::estimate_json() const {
  json out = {{"cannot_see", kCannotSee}};
  const int64_t last_day = today_ - 1;
  const Figures expected = expected_figures(scored_week(last_day), scale_);
  if (expected.transactions() > 0) {
    out["first_day"] = date_of(last_day - kWindow + 1);
    out["last_day"] = date_of(last_day);
    for (const Metric metric : {Metric::kPrecision, Metric::kRecall, Metric::kF1, Metric::kAveragePrecision})
      out[std::string(engine::name(metric))] = rounded(expected[metric]);
    out["confusion"] = confusion_json(expected);
  }
  if (weeks_.empty()) return out;
  json weeks = json::array();
  double sum = 0;
  for (const EstimatedWeek& week : weeks_) {
    weeks.push_back({{"first_day", date_of(week.first_day)},
                     {"estimated_average_precision", rounded(week.estimated)},
                     {"realised_average_precision", rounded(week.realised)},
                     {"error", rounded(week.error())}});
    sum += week.error();
  }
  out["error"] = rounded(weeks_.back().error());
  out["error_mean"] = rounded(sum / static_cast<double>(weeks_.size()));
  out["weeks"] = std::move(weeks);
  return out;
}

json Performance::report() const {
  const char grade = this->grade();
  json out = {{"grade", grade == ' ' ? json(nullptr) : json(std::string(1, grade))},
              {"decline_score", scale_.threshold()},
              {"alerts", alerts_json()}};
  json notes = json::array();
  if (today_ == INT64_MIN || !has_week(complete_)) {
    notes.push_back(
        "There are no 7 complete settled days yet: a day is complete when it is older than "
        "training.maturity.");
  } else {
    const double seen = this->seen(complete_);
    out["now"] = figures_json(figures(week(complete_), scale_), true);
    out["now"]["first_day"] = date_of(complete_ - kWindow + 1);
    out["now"]["last_day"] = date_of(complete_);
    out["now"]["declines_seen"] = rounded(seen);
    if (seen < config_->performance.seen_min) {
      notes.push_back(
          fmt::format("Only {:.0f} % of what the threshold declines got a verdict: labels do not show "
                      "how well it is told apart, and nothing is judged. A control group ([control] "
                      "share) lets them show it.",
                      100 * seen));
    } else if (seen < kSeenWell) {
      notes.push_back(fmt::format(
          "{:.0f} % of what the threshold declines got a verdict. Precision speaks of these, and is "
          "flattered where frauds are reported and the rest stays unknown.",
          100 * seen));
    }
    if (!baseline_ && seen >= config_->performance.seen_min) {
      notes.push_back(
          "There is no baseline yet: it is taken of the champion's first 7 complete settled days.");
    }
    out["trends"] = trends_json();
  }
  if (baseline_) {
    out["baseline"] = figures_json(baseline_figures(), true);
    out["baseline"]["first_day"] = date_of(baseline_->first_day);
    out["baseline"]["last_day"] = date_of(baseline_->first_day + kWindow - 1);
    out["baseline"]["of"] =
        baseline_->first_week ? "the champion's first week" : "the last week before the champion";
  }
  json anomalies = json::array();
  for (const Anomaly& anomaly : anomalies_) {
    anomalies.push_back({{"day", date_of(anomaly.day)},
                         {"metric", engine::name(anomaly.metric)},
                         {"value", rounded(anomaly.value)},
                         {"robust_z", rounded(anomaly.z)}});
  }
  out["anomalies"] = std::move(anomalies);
  if (today_ != INT64_MIN) out["estimate"] = estimate_json();
  out["notes"] = std::move(notes);
  return out;
}

std::string Performance::save() const {
  proto::PerformanceRecord record;
  record.set_version(kVersion);
  record.set_threshold(scale_.threshold());
  record.set_next_threshold(next_threshold_);
  for (const auto& [day, counts] : settled_) {
    auto& saved = *record.add_settled();
    saved.set_day(day);
    write(counts, saved);
  }
  for (const auto& [day, counts] : scored_) {
    auto& saved = *record.add_scored();
    saved.set_day(day);
    write(counts, saved);
  }
  if (baseline_) {
    proto::BaselineRecord& saved = *record.mutable_baseline();
    write(baseline_->counts, *saved.mutable_counts());
    saved.mutable_error()->Add(baseline_->error.begin(), baseline_->error.end());
    saved.set_first_day(baseline_->first_day);
    saved.set_first_week(baseline_->first_week);
  }
  record.set_took_over(took_over_);
  record.set_waits_for_week(waits_for_week_);
  record.set_champion_from(champion_from_);
  record.set_today(today_);
  record.set_complete(complete_);
  record.set_week_from(week_from_);
  for (size_t m = 0; m < kMetricsAlerted; ++m) {
    if (!alerts_[m]) continue;
    proto::PerformanceAlertRecord& saved = *record.add_alert();
    saved.set_metric(static_cast<uint32_t>(m));
    saved.set_critical(alerts_[m]->critical);
    saved.set_since_us(alerts_[m]->since_us);
    saved.set_drop(alerts_[m]->drop);
    saved.set_text(alerts_[m]->text);
  }
  for (const EstimatedWeek& week : weeks_) {
    proto::EstimatedWeekRecord& saved = *record.add_week();
    saved.set_first_day(week.first_day);
    saved.set_estimated(week.estimated);
    saved.set_realised(week.realised);
  }
  for (const Anomaly& anomaly : anomalies_) {
    proto::AnomalyRecord& saved = *record.add_anomaly();
    saved.set_day(anomaly.day);
    saved.set_metric(static_cast<uint32_t>(anomaly.metric));
    saved.set_value(anomaly.value);
    saved.set_z(anomaly.z);
  }
  return record.SerializeAsString();
}

tl::expected<void, std::string> Performance::restore(std::string_view bytes) {
  const auto damaged = [] { return tl::make_unexpected(std::string("its record is damaged")); };
  proto::PerformanceRecord record;
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return damaged();
  if (record.version() > kVersion) {
    return tl::make_unexpected(
        fmt::format("its record has version {}; this Shrike reads up to {}", record.version(), kVersion));
  }
  const auto is_day = [](int64_t day) { return day == INT64_MIN || std::abs(day) <= INT64_MAX / kDayUs; };
  const auto is_share = [](double value) { return value >= 0 && value <= 1; };
  if (!is_share(record.threshold()) || !is_share(record.next_threshold()) ||
      !is_day(record.champion_from()) || !is_day(record.today()) || !is_day(record.complete()) ||
      !is_day(record.week_from()))
    return damaged();
  const bool begun = record.champion_from() != INT64_MIN;
  for (const int64_t day : {record.today(), record.complete(), record.week_from()}) {
    if ((day != INT64_MIN) != begun) return damaged();
  }
  Performance restored(config_);
  restored.scale_ = ScoreScale(record.threshold());
  restored.next_threshold_ = record.next_threshold();
  for (const auto& saved : record.settled()) {
    if (!is_day(saved.day()) || !read(saved, restored.settled_[saved.day()])) return damaged();
  }
  for (const auto& saved : record.scored()) {
    if (!is_day(saved.day()) || !read(saved, restored.scored_[saved.day()])) return damaged();
  }
  if (record.has_baseline()) {
    const proto::BaselineRecord& saved = record.baseline();
    PerformanceBaseline& baseline = restored.baseline_.emplace();
    if (saved.error_size() != static_cast<int>(kMetrics) || !is_day(saved.first_day()) ||
        !read(saved.counts(), baseline.counts))
      return damaged();
    std::copy(saved.error().begin(), saved.error().end(), baseline.error.begin());
    baseline.first_day = saved.first_day();
    baseline.first_week = saved.first_week();
  }
  restored.took_over_ = record.took_over();
  restored.waits_for_week_ = record.waits_for_week();
  restored.champion_from_ = record.champion_from();
  restored.today_ = record.today();
  restored.complete_ = record.complete();
  restored.week_from_ = record.week_from();
  for (const proto::PerformanceAlertRecord& saved : record.alert()) {
    if (saved.metric() >= kMetricsAlerted) return damaged();
    restored.alerts_[saved.metric()] = Alert{saved.critical(), saved.since_us(), saved.drop(), saved.text()};
  }
  for (const proto::EstimatedWeekRecord& saved : record.week()) {
    if (!is_day(saved.first_day())) return damaged();
    restored.weeks_.push_back({saved.first_day(), saved.estimated(), saved.realised()});
  }
  for (const proto::AnomalyRecord& saved : record.anomaly()) {
    if (saved.metric() >= kMetrics || !is_day(saved.day())) return damaged();
    restored.anomalies_.push_back(
        {saved.day(), static_cast<Metric>(saved.metric()), saved.value(), saved.z()});
  }
  *this = std::move(restored);
  return {};
}

}  // namespace shrike::engine
