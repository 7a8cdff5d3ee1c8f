#include "engine/lifecycle/thresholds.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/thresholds.pb.h"

namespace shrike::engine {
namespace {

constexpr uint64_t kEnough = 2000;      // transactions of a new champion before its threshold is looked for
constexpr double kForget = 0.5;         // of earlier days, each new one
constexpr double kMaturedMin = 10'000;  // legitimate transactions that were decided by learned thresholds
constexpr double kCorrectionMax = 1.2;
constexpr uint32_t kShift = 15;  // 8 bits of mantissa are left

}  // namespace

ThresholdMonitor::ThresholdMonitor(ConfigPtr config)
    : config_(std::move(config)),
      review_(config_->policy.review_score),
      decline_(config_->policy.decline_score),
      recent_(kBins),
      today_(kBins) {}

size_t ThresholdMonitor::bin_of(float score) {
  constexpr uint32_t kOne = std::bit_cast<uint32_t>(1.0f) >> kShift;
  if (!(score > 0)) return 0;
  const uint32_t below = kOne - std::min(std::bit_cast<uint32_t>(score) >> kShift, kOne);
  return below >= kBins ? 0 : kBins - 1 - below;
}

double ThresholdMonitor::lower_edge(size_t bin) {
  constexpr uint32_t kOne = std::bit_cast<uint32_t>(1.0f) >> kShift;
  const auto below = static_cast<uint32_t>(kBins - 1 - bin);
  return static_cast<double>(std::bit_cast<float>((kOne - below) << kShift));
}

void ThresholdMonitor::scored(const Scored& scored) {
  if (!config_->thresholds.learn || scored.answer.step == Step::kStatic) return;
  ++today_[bin_of(scored.answer.score)];
  ++since_model_;
  ++since_move_;
}

void ThresholdMonitor::settled(const Settled& settled) {
  if (!config_->thresholds.learn || settled.verdict != Verdict::kLegitimate || settled.corrected) return;
  if (settled.sequence < learned_from_) return;  // decided by the configuration's thresholds
  Matured& day = matured_[day_];
  day.legitimate += settled.weight;
  // As it was decided then: the score against the threshold that was in force, whatever that was.
  if (settled.answer.wanted != Decision::kDecline) return;
  day.alarms += settled.weight;
}

// The new champion's scores mean something else.
void ThresholdMonitor::model(const ModelEvent& event, const Fold&) {
  if (event.action == ModelAction::kRejected) return;
  std::fill(recent_.begin(), recent_.end(), 0);
  std::fill(today_.begin(), today_.end(), 0);
  days_ = 0;
  since_model_ = 0;
}

ThresholdMonitor::Matured ThresholdMonitor::matured() const {
  Matured all;
  for (const Matured& day : matured_) {
    all.legitimate += day.legitimate;
    all.alarms += day.alarms;
  }
  return all;
}

// What matured labels say of what was aimed at: by how much the scores expect too few false alarms. Half of
// it is believed, since it is of weeks ago.
double ThresholdMonitor::correction() const {
  const Matured all = matured();
  if (all.legitimate < kMaturedMin || all.alarms <= 0) return 1;
  const double ratio = all.alarms / all.legitimate / config_->thresholds.fpr;
  return std::clamp(std::sqrt(ratio), 1 / kCorrectionMax, kCorrectionMax);
}

void ThresholdMonitor::move(const Period& period, std::vector<JudgementEvent>& found) {
  const ThresholdConfig& aim = config_->thresholds;
  double legitimate = 0, all = 0;
  for (size_t bin = 0; bin < kBins; ++bin) {
    const double n = recent_[bin] + today_[bin];
    legitimate += n * (1 - lower_edge(bin));
    all += n;
  }
  // From the highest score down, as long as the legitimate ones among them are few enough.
  const double may = aim.fpr / correction() * legitimate;
  double above = 0;
  size_t at = kBins;
  while (at > 1) {
    const double n = recent_[at - 1] + today_[at - 1];
    if (above + n * (1 - lower_edge(at - 1)) > may) break;
    above += n * (1 - lower_edge(--at));
  }
  if (at == kBins) return;
  const double decline = lower_edge(at);
  double review = std::min(config_->policy.review_score, decline * config_->policy.review_score /
                                                             std::max(config_->policy.decline_score, 1e-9));
  if (aim.reviews_per_day > 0 && days_ > 0) {
    double reviewed = 0;
    size_t bin = at;
    while (bin > 1 && reviewed + recent_[bin - 1] + today_[bin - 1] <= aim.reviews_per_day * (days_ + 1))
      reviewed += recent_[bin - 1] + today_[bin - 1], --bin;
    review = lower_edge(bin);
  }
  const auto moves = [&](double from, double to) { return std::fabs(to - from) > aim.move_min * from; };
  if (!moves(decline_, decline) && !moves(review_, review)) return;
  const Matured labels = matured();
  const double n = std::max(labels.legitimate, 1.0), rate = labels.alarms / n;
  const double half = 1.96 * std::sqrt(rate * (1 - rate) / n);
  JudgementEvent judgement;
  judgement.finding = Finding::kSuccessful;
  judgement.action = Action::kThresholds;
  judgement.values = {review, decline};
  judgement.text = fmt::format(
      "declined from a probability of {:.4f} on (was {:.4f}), reviewed from {:.4f}: {:.2f} % of legitimate "
      "transactions are expected above; {:.2f} % of those that matured in the last {} days were declined",
      decline, decline_, review, 100 * above / std::max(legitimate, 1.0), 100 * rate, kDays);
  judgement.evidence = nlohmann::json{{"transactions", all},
                                      {"expected_fpr", above / std::max(legitimate, 1.0)},
                                      {"matured_legitimate", labels.legitimate},
                                      {"matured_fpr", rate},
                                      {"matured_fpr_low", std::max(rate - half, 0.0)},
                                      {"matured_fpr_high", rate + half},
                                      {"event", period.moment.sequence}}
                           .dump();
  found.push_back(std::move(judgement));
  review_ = review;
  decline_ = decline;
  since_move_ = 0;
  if (learned_from_ == UINT64_MAX) learned_from_ = period.moment.sequence;
}

void ThresholdMonitor::close(const Period& period, std::vector<JudgementEvent>& found) {
  if (!config_->thresholds.learn) return;
  const bool first = since_model_ >= kEnough && since_move_ >= since_model_;
  if (first || (period.new_day && since_model_ >= kEnough)) move(period, found);
  if (!period.new_day) return;
  for (size_t bin = 0; bin < kBins; ++bin) recent_[bin] = recent_[bin] * kForget + today_[bin];
  std::fill(today_.begin(), today_.end(), 0);
  days_ = days_ * kForget + 1;
  day_ = (day_ + 1) % kDays;
  matured_[day_] = {};
}

void ThresholdMonitor::judged(const JudgementEvent& event) {
  if (event.action != Action::kThresholds) return;
  review_ = event.values[0];  // by hand, perhaps
  decline_ = event.values[1];
}

nlohmann::json ThresholdMonitor::report() const {
  const Matured labels = matured();
  return {{"learned", config_->thresholds.learn},
          {"review", review_},
          {"decline", decline_},
          {"matured_legitimate", labels.legitimate},
          {"matured_fpr", labels.legitimate > 0 ? labels.alarms / labels.legitimate : 0}};
}

std::string ThresholdMonitor::save() const {
  proto::ThresholdsRecord record;
  record.set_review(review_);
  record.set_decline(decline_);
  record.set_days(days_);
  record.set_since_model(since_model_);
  record.set_since_move(since_move_);
  if (learned_from_ != UINT64_MAX) record.set_learned_from(learned_from_);
  record.set_day(static_cast<uint32_t>(day_));
  for (const Matured& day : matured_) {
    record.add_legitimate(day.legitimate);
    record.add_alarms(day.alarms);
  }
  if (config_->thresholds.learn) {
    record.mutable_recent()->Add(recent_.begin(), recent_.end());
    record.mutable_today()->Add(today_.begin(), today_.end());
  }
  return record.SerializeAsString();
}

tl::expected<void, std::string> ThresholdMonitor::restore(std::string_view bytes) {
  proto::ThresholdsRecord record;
  constexpr auto kBinsSaved = static_cast<int>(kBins), kDaysSaved = static_cast<int>(kDays);
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || record.day() >= kDays ||
      record.legitimate_size() != kDaysSaved || record.alarms_size() != kDaysSaved ||
      (record.recent_size() != 0 && record.recent_size() != kBinsSaved) ||
      record.today_size() != record.recent_size())
    return tl::make_unexpected(std::string("its record is damaged"));
  review_ = record.review();
  decline_ = record.decline();
  days_ = record.days();
  since_model_ = record.since_model();
  since_move_ = record.since_move();
  learned_from_ = record.has_learned_from() ? record.learned_from() : UINT64_MAX;
  day_ = record.day();
  for (size_t i = 0; i < kDays; ++i)
    matured_[i] = {record.legitimate(static_cast<int>(i)), record.alarms(static_cast<int>(i))};
  std::copy(record.recent().begin(), record.recent().end(), recent_.begin());
  std::copy(record.today().begin(), record.today().end(), today_.begin());
  return {};
}

}  // namespace shrike::engine
