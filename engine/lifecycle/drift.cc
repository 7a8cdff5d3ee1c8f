#include "engine/lifecycle/drift.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/numbers.h"
#include "engine/lifecycle/shifts.pb.h"
#include "engine/lifecycle/statistics.h"
#include "learners/numeric/numeric.h"

namespace shrike::engine {
namespace {

using learners::exact_log;

constexpr uint32_t kVersion = 1;
// Rows of the reference by which columns are weighed.
constexpr size_t kImportanceRows = 256;
// Of the rate of frauds, which is judged by itself every day.
constexpr double kAlphaAlone = 0.001, kFraudsMin = 50;
constexpr size_t kLabelDaysMax = 400;
// The log loss of one example is cut here, so that one cannot make a drift.
constexpr double kScoreMin = 1e-3, kLossMax = 6.907755278982137;

Shifts::Settings settings(const DriftConfig& drift) {
  return {.sample = static_cast<size_t>(drift.reference_rows),
          .rows = drift.reference_rows,
          .span_us = drift.reference_us,
          .window_us = drift.window_us,
          .window_rows = drift.window_rows};
}

std::vector<learners::ColumnKind> kinds(const Config& config) {
  std::vector<learners::ColumnKind> all;
  for (const learners::Column& column : config.columns) all.push_back(column.kind);
  return all;
}

}  // namespace

Drift::Labels& Drift::Labels::operator+=(const Labels& other) {
  examples += other.examples;
  frauds += other.frauds;
  squares += other.squares;
  return *this;
}

Drift::Drift(ConfigPtr config)
    : config_(std::move(config)),
      settling_us_(settling_us(*config_->plan)),
      inputs_(kinds(*config_), settings(config_->drift)),
      score_({learners::ColumnKind::kNumeric}, settings(config_->drift)),
      importance_(config_->columns.size()),
      ready_(config_->columns.size(), false),
      adwin_(0.002, 256),
      alarms_(config_->columns.size() + 3),
      score_alarm_(config_->columns.size()),
      labels_alarm_(score_alarm_ + 1),
      concept_alarm_(score_alarm_ + 2) {}

// What is not on time is scored by a row that it might have had: it says little of the stream.
void Drift::arrived(const Arrived& arrived) {
  if (arrived.clock != Clock::kOnTime) return;
  if (begun_us_ == INT64_MIN) begun_us_ = arrived.transaction.time_us;
  inputs_.add(learners::mix(features::mix(arrived.transaction.id)), arrived.transaction.time_us, arrived.row);
}

// Of the champion, whichever arm answered.
void Drift::scored(const Scored& scored) {
  const Answer& answer = scored.answer;
  if (answer.clock != Clock::kOnTime || answer.step == Step::kFallback || answer.step == Step::kStatic)
    return;
  const float score = champions_score(answer);
  if (score >= 0) score_.add(learners::mix(scored.sequence), scored.time_us, {&score, 1});
}

void Drift::settled(const Settled& settled) {
  const bool fraud = settled.verdict == Verdict::kFraud;
  if (settled.corrected) {
    day_.frauds += fraud ? settled.weight : -settled.weight;
    if (!fraud) return;
  } else {
    day_ += {settled.weight, fraud ? settled.weight : 0, settled.weight * settled.weight};
  }
  if (settled.answer.step == Step::kStatic) return;
  const double score = std::clamp(static_cast<double>(settled.answer.score), kScoreMin, 1 - kScoreMin);
  const double loss = std::min(1.0, -settled.weight * exact_log(fraud ? score : 1 - score) / kLossMax);
  ++losses_;
  loss_sum_ += loss;
  if (!adwin_.update(loss)) return;
  const auto width = static_cast<double>(adwin_.width());
  loss_rose_ = adwin_.mean() * losses_ > loss_sum_;
  if (!loss_rose_) {
    losses_ = width;
    loss_sum_ = width * adwin_.mean();
  }
}

void Drift::model(const ModelEvent& event, const Fold&) {
  if (!takes_over(event.action)) return;
  inputs_.renew();
  importance_.stop();
  score_.forget();
  score_.renew();
}

void Drift::close(const Period& period, Found& found) {
  importance_.step(*period.moment.fold.champion());
  if (!period.new_day || begun_us_ == INT64_MIN) return;
  const int64_t now_us = start_of_day(period.moment.now_us);
  judge_columns(now_us, found);
  judge_score(now_us, found);
  judge_labels(now_us, found);
  judge_loss(now_us, found);
  take_references(now_us, found);
}

void Drift::judge_columns(int64_t now_us, Found& found) {
  if (!inputs_.window_complete(now_us)) return;
  const DriftConfig& drift = config_->drift;
  std::vector<size_t> compared;
  std::vector<Shifts::Shift> shifts;
  std::vector<double> p;
  for (size_t c = 0; c < inputs_.columns(); ++c) {
    if (!ready_[c]) continue;
    compared.push_back(c);
    shifts.push_back(inputs_.compare(c));
    p.push_back(shifts.back().chi2_p);
  }
  const std::vector<bool> significant = benjamini_hochberg(p, drift.alpha);
  const auto drifted = [&](size_t i) {
    return alarms_[compared[i]].on ? shifts[i].magnitude >= drift.threshold / 2
                                   : significant[i] && shifts[i].magnitude >= drift.threshold;
  };
  share_ = 0;
  for (size_t i = 0; i < compared.size(); ++i) share_ += drifted(i) ? importance_.shares()[compared[i]] : 0;
  for (size_t i = 0; i < compared.size(); ++i) {
    const size_t c = compared[i];
    const Shifts::Shift& shift = shifts[i];
    const bool told = alarms_[c].on, now = drifted(i);
    alarms_[c].evidence = evidence(c, inputs_, c, shift);
    if (told && !now)
      resolve(c, fmt::format("{} is distributed again as it was in the reference", subject(c)), found);
    if (told || !now) continue;
    const bool missing = std::fabs(shift.missing[1] - shift.missing[0]) >= drift.threshold;
    raise(c, now_us, {shift.magnitude, share_},
          missing
              ? fmt::format("{} is missing in {:.1f} % of transactions, in the reference in {:.1f} %",
                            subject(c), 100 * shift.missing[1], 100 * shift.missing[0])
              : fmt::format("{} is distributed otherwise than in the reference by {:.3g} (PSI {:.3g}); from "
                            "{:.3g} on that is much",
                            subject(c), shift.magnitude, shift.psi, drift.threshold),
          found);
    if (share_ >= drift.share) found.back().severity = Severity::kCritical;
  }
  inputs_.clear_window(now_us);
}

void Drift::judge_score(int64_t now_us, Found& found) {
  if (alarms_[score_alarm_].on && !score_.has_reference())
    resolve(score_alarm_, "another model answers: its scores have no reference yet", found);
  if (!score_.window_complete(now_us)) return;
  const DriftConfig& drift = config_->drift;
  const Shifts::Shift shift = score_.compare(0);
  Alarm& alarm = alarms_[score_alarm_];
  alarm.evidence = evidence(score_alarm_, score_, 0, shift);
  if (!alarm.on && shift.chi2_p <= drift.alpha && shift.magnitude >= drift.threshold) {
    raise(score_alarm_, now_us, {shift.magnitude, share_},
          fmt::format("scores are distributed otherwise than in the days after the model took over by {:.3g} "
                      "(PSI {:.3g}); from {:.3g} on that is much",
                      shift.magnitude, shift.psi, drift.threshold),
          found);
  } else if (alarm.on && shift.magnitude < drift.threshold / 2) {
    resolve(score_alarm_, "scores are distributed again as they were in the reference", found);
  }
  score_.clear_window(now_us);
}

// By the number of frauds that the reference's rate would have, with its variance from day to day.
void Drift::judge_labels(int64_t now_us, Found& found) {
  window_ += day_;
  if (inputs_.gathering()) {
    if (label_days_.size() < kLabelDaysMax) {
      label_days_.push_back(day_);
    } else {
      label_days_.back() += day_;
    }
  }
  day_ = {};
  const DriftConfig& drift = config_->drift;
  if (!(rate_ > 0) || now_us - window_from_us_ < drift.window_us ||
      window_.examples < static_cast<double>(drift.window_rows) || window_.examples * rate_ < kFraudsMin)
    return;
  const double n = reference_.examples, m = window_.examples;
  const double both = (reference_.frauds + window_.frauds) / (n + m), rate = window_.frauds / m;
  const double variance =
      excess_ * both * (1 - both) * (reference_.squares / (n * n) + window_.squares / (m * m));
  const double p = variance > 0 ? normal_tails((rate - rate_) / std::sqrt(variance)) : 1;
  const double ratio = std::max(window_.frauds, 0.5) / m / rate_;
  const double size = std::fabs(exact_log(ratio)), large = exact_log(drift.rate_ratio);
  Alarm& alarm = alarms_[labels_alarm_];
  const nlohmann::json numbers = {{"rate", {short_number(rate_), short_number(rate)}},
                                  {"examples", {short_number(n), short_number(m)}},
                                  {"ratio", short_number(ratio)},
                                  {"excess_variance", short_number(excess_)},
                                  {"p", short_number(p)}};
  alarm.evidence = numbers.dump();
  if (!alarm.on && p < kAlphaAlone && size >= large) {
    raise(labels_alarm_, now_us, {ratio, p},
          fmt::format("{:.3g} % of settled transactions are fraud, in the reference {:.3g} %", 100 * rate,
                      100 * rate_),
          found);
  } else if (alarm.on && size < large / 2) {
    resolve(labels_alarm_, "as many settled transactions are fraud as in the reference", found);
  }
  window_ = {};
  window_from_us_ = now_us;
}

// What the adaptive window dropped is what was before the change.
void Drift::judge_loss(int64_t now_us, Found& found) {
  if (!loss_rose_) return;
  const auto width = static_cast<double>(adwin_.width());
  const double dropped = losses_ - width, now = adwin_.mean();
  if (dropped < static_cast<double>(config_->drift.window_rows)) return;
  const double before = (loss_sum_ - now * width) / dropped, ratio = now / std::max(before, 1e-12);
  Alarm& alarm = alarms_[concept_alarm_];
  const nlohmann::json numbers = {
      {"log_loss", {short_number(before * kLossMax), short_number(now * kLossMax)}},
      {"examples", {short_number(dropped), short_number(width)}},
      {"ratio", short_number(ratio)}};
  alarm.evidence = numbers.dump();
  const double large = config_->drift.loss_ratio;
  if (!alarm.on && ratio >= large) {
    raise(concept_alarm_, now_us, {ratio, 0},
          fmt::format("the log loss of settled examples has risen from {:.3g} to {:.3g}", before * kLossMax,
                      now * kLossMax),
          found);
  } else if (alarm.on && ratio < 1 + (large - 1) / 2) {
    resolve(concept_alarm_, "the log loss of settled examples is what it was before", found);
    forget_losses();
  }
}

// What the adaptive window holds is from now on what later losses are compared with.
void Drift::forget_losses() {
  losses_ = static_cast<double>(adwin_.width());
  loss_sum_ = losses_ * adwin_.mean();
  loss_rose_ = false;
}

void Drift::take_references(int64_t now_us, Found& found) {
  // Columns whose windows were still filling get a reference when they have filled.
  int64_t settled_us = 0;
  for (const int64_t settles : settling_us_)
    settled_us = std::max(settled_us, settles == kNever ? 0 : settles);
  if (inputs_.has_reference() && !inputs_.gathering() && now_us - begun_us_ >= settled_us &&
      inputs_.reference_from_us() - begun_us_ < settled_us)
    inputs_.renew();

  score_.take_reference(now_us);
  if (inputs_.reference_complete(now_us)) {
    importance_.begin(inputs_.draw(kImportanceRows));
    inputs_.take_reference(now_us);
    take_rate();
    window_from_us_ = now_us;
    forget_losses();
    share_ = 0;
    for (size_t c = 0; c < ready_.size(); ++c) {
      ready_[c] = settling_us_[c] != kNever && inputs_.reference_from_us() - begun_us_ >= settling_us_[c];
    }
    for (size_t a = 0; a < alarms_.size(); ++a) {
      if (alarms_[a].on && a != score_alarm_)
        resolve(a, fmt::format("{} has a new reference, of the days since a model took over", subject(a)),
                found);
    }
  } else {
    inputs_.take_reference(now_us);
  }
}

void Drift::take_rate() {
  reference_ = {};
  for (const Labels& day : label_days_) reference_ += day;
  rate_ = reference_.frauds >= kFraudsMin / 2 && reference_.frauds < reference_.examples
              ? reference_.frauds / reference_.examples
              : 0;
  double off = 0;
  for (const Labels& day : label_days_) {
    const double surplus = day.frauds - day.examples * rate_;
    if (rate_ > 0 && day.squares > 0) off += surplus * surplus / (day.squares * rate_ * (1 - rate_));
  }
  excess_ = std::max(1.0, off / std::max(1.0, static_cast<double>(label_days_.size()) - 1));
  label_days_.clear();
  window_ = {};
}

std::string Drift::subject(size_t alarm) const {
  return alarm < score_alarm_     ? config_->columns[alarm].name
         : alarm == score_alarm_  ? "score"
         : alarm == labels_alarm_ ? "labels"
                                  : "concept";
}

std::string Drift::evidence(size_t alarm, const Shifts& shifts, size_t column,
                            const Shifts::Shift& shift) const {
  nlohmann::json numbers = shift_json(shift);
  numbers["rows"] = shifts.window_rows();
  numbers["from_us"] = shifts.window_from_us();
  numbers["reference_us"] = {shifts.reference_from_us(), shifts.reference_to_us()};
  if (alarm < score_alarm_) {
    numbers["importance"] = short_number(importance_.shares()[column]);
    numbers["drift_share"] = short_number(share_);
  }
  return numbers.dump();
}

void Drift::raise(size_t alarm, int64_t now_us, std::array<double, 2> values, std::string text,
                  Found& found) {
  alarms_[alarm].on = true;
  alarms_[alarm].since_us = now_us;
  JudgementEvent& event = found.emplace_back();
  event.subject = subject(alarm);
  event.finding = Finding::kFailed;
  event.severity = Severity::kWarning;
  event.values = values;
  event.text = std::move(text);
  event.evidence = alarms_[alarm].evidence;
}

void Drift::resolve(size_t alarm, std::string text, Found& found) {
  alarms_[alarm].on = false;
  JudgementEvent& event = found.emplace_back();
  event.subject = subject(alarm);
  event.finding = Finding::kSuccessful;
  event.action = Action::kResolve;
  event.text = std::move(text);
  event.evidence = alarms_[alarm].evidence.empty() ? "{}" : alarms_[alarm].evidence;
}

nlohmann::json Drift::report() const {
  nlohmann::json all = {{"drift_share", short_number(share_)},
                        {"has_reference", inputs_.has_reference()},
                        {"gathered", inputs_.gathered()},
                        {"state_bytes", inputs_.bytes() + score_.bytes()}};
  nlohmann::json subjects = nlohmann::json::object();
  for (size_t a = 0; a < alarms_.size(); ++a) {
    if (alarms_[a].evidence.empty()) continue;
    nlohmann::json one = nlohmann::json::parse(alarms_[a].evidence);
    one["drifted"] = alarms_[a].on;
    if (alarms_[a].on) one["since_us"] = alarms_[a].since_us;
    subjects[subject(a)] = std::move(one);
  }
  all["subjects"] = std::move(subjects);
  return all;
}

std::string Drift::save() const {
  proto::DriftRecord record;
  record.set_version(kVersion);
  record.set_begun_us(begun_us_);
  inputs_.save(*record.mutable_inputs());
  score_.save(*record.mutable_score());
  importance_.save(*record.mutable_importance());
  record.mutable_ready()->Add(ready_.begin(), ready_.end());
  for (const Alarm& alarm : alarms_) {
    proto::AlarmRecord& saved = *record.add_alarms();
    saved.set_on(alarm.on);
    saved.set_since_us(alarm.since_us);
    saved.set_evidence(alarm.evidence);
  }
  record.set_share(share_);
  const auto put = [](const Labels& labels, proto::LabelDay& saved) {
    saved.set_examples(labels.examples);
    saved.set_frauds(labels.frauds);
    saved.set_squares(labels.squares);
  };
  for (const Labels& day : label_days_) put(day, *record.add_label_days());
  put(day_, *record.mutable_day());
  put(window_, *record.mutable_window());
  put(reference_, *record.mutable_reference());
  record.set_window_from_us(window_from_us_);
  record.set_rate(rate_);
  record.set_excess(excess_);
  const std::vector<double> adwin = adwin_.save();
  record.mutable_adwin()->Add(adwin.begin(), adwin.end());
  record.set_losses(losses_);
  record.set_loss_sum(loss_sum_);
  record.set_loss_rose(loss_rose_);
  return record.SerializeAsString();
}

tl::expected<void, std::string> Drift::restore(std::string_view bytes) {
  proto::DriftRecord record;
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return tl::make_unexpected(std::string("its state is damaged"));
  if (record.version() > kVersion) {
    return tl::make_unexpected(
        fmt::format("its state has version {}; this Shrike reads up to {}", record.version(), kVersion));
  }
  const auto width = static_cast<int>(inputs_.columns());
  if (record.ready_size() != width || record.alarms_size() != static_cast<int>(alarms_.size()) ||
      !adwin_.restore({record.adwin().begin(), record.adwin().end()}) || !inputs_.restore(record.inputs()) ||
      !score_.restore(record.score()) ||
      (record.has_importance() && !importance_.restore(record.importance())))
    return tl::make_unexpected(std::string("its state does not fit the configuration's columns"));
  begun_us_ = record.begun_us();
  ready_.assign(record.ready().begin(), record.ready().end());
  for (size_t a = 0; a < alarms_.size(); ++a) {
    const proto::AlarmRecord& saved = record.alarms(static_cast<int>(a));
    if (!saved.evidence().empty() && !nlohmann::json::accept(saved.evidence()))
      return tl::make_unexpected(std::string("its state is damaged"));
    alarms_[a] = {saved.on(), saved.since_us(), saved.evidence()};
  }
  share_ = record.share();
  const auto get = [](const proto::LabelDay& saved) {
    return Labels{saved.examples(), saved.frauds(), saved.squares()};
  };
  label_days_.clear();
  for (const proto::LabelDay& day : record.label_days()) label_days_.push_back(get(day));
  day_ = get(record.day());
  window_ = get(record.window());
  reference_ = get(record.reference());
  window_from_us_ = record.window_from_us();
  rate_ = record.rate();
  excess_ = record.excess();
  losses_ = record.losses();
  loss_sum_ = record.loss_sum();
  loss_rose_ = record.loss_rose();
  return {};
}

}  // namespace shrike::engine
