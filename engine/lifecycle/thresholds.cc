#include "engine/lifecycle/thresholds.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/numbers.h"
#include "engine/lifecycle/thresholds.pb.h"

namespace shrike::engine {
namespace {

constexpr uint64_t kEnough = 2000;      // transactions of a new champion before its threshold is looked for
constexpr double kForget = 0.5;         // of earlier days, each new one
constexpr double kMaturedMin = 10'000;  // legitimate transactions that were decided by learned thresholds
constexpr double kCorrectionMax = 1.2;
constexpr unsigned kBits = 8, kShift = 23 - kBits;  // of mantissa: kept, and left out

using Numbers = google::protobuf::RepeatedField<double>;

template <typename Histogram>
void write(const Histogram& histogram, Numbers& recent, Numbers& today) {
  recent.Add(histogram.recent.begin(), histogram.recent.end());
  today.Add(histogram.today.begin(), histogram.today.end());
}

// An empty one, too. False when it is damaged.
template <typename Histogram>
bool read(const Numbers& recent, const Numbers& today, Histogram& histogram) {
  histogram = {};
  if (recent.empty() && today.empty()) return true;
  if (recent.size() != static_cast<int>(histogram.recent.size()) || today.size() != recent.size())
    return false;
  std::copy(recent.begin(), recent.end(), histogram.recent.begin());
  std::copy(today.begin(), today.end(), histogram.today.begin());
  return true;
}

}  // namespace

ThresholdMonitor::ThresholdMonitor(ConfigPtr config)
    : config_(std::move(config)),
      review_(config_->policy.review_score),
      decline_(config_->policy.decline_score) {}

void ThresholdMonitor::Histogram::end_day() {
  for (size_t bin = 0; bin < kBins; ++bin) recent[bin] = recent[bin] * kForget + today[bin];
  std::fill(today.begin(), today.end(), 0);
}

std::optional<double> ThresholdMonitor::Histogram::edge_of(double above) const {
  double n = 0;
  size_t bin = kBins;
  while (bin > 1 && n + at(bin - 1) <= above) n += at(--bin);
  return bin == kBins ? std::nullopt : std::optional(lower_edge(bin));
}

bool ThresholdMonitor::moves(double from, double to) const {
  return std::fabs(to - from) > config_->thresholds.move_min * from;
}

size_t ThresholdMonitor::bin_of(float score) { return score_bin(score, kBits, kBins); }

double ThresholdMonitor::lower_edge(size_t bin) {
  constexpr uint32_t kOne = std::bit_cast<uint32_t>(1.0f) >> kShift;
  const auto below = static_cast<uint32_t>(kBins - 1 - bin);
  return static_cast<double>(std::bit_cast<float>((kOne - below) << kShift));
}

void ThresholdMonitor::scored(const Scored& scored) {
  if (!config_->thresholds.learn || scored.answer.step == Step::kStatic) return;
  const size_t bin = bin_of(champions_score(scored.answer));
  ++scores_.today[bin];
  if (config_->thresholds.aim == ThresholdConfig::Aim::kCost) money_.today[bin] += scored.amount;
  if (!challenged_.hash.empty()) note_challenger(scored);
  ++since_model_;
  ++since_move_;
}

void ThresholdMonitor::note_challenger(const Scored& scored) {
  const float champion = champions_score(scored.answer), challenger = challengers_score(scored.answer);
  if (champion < 0 || challenger < 0) return;
  ++challenged_.scores.today[bin_of(challenger)];
  ++challenged_.transactions;
  challenged_.declined_today += static_cast<double>(champion) >= decline_;
  challenged_.alarms_today += static_cast<double>(champion) >= std::min(review_, decline_);
}

void ThresholdMonitor::settled(const Settled& settled) {
  if (!config_->thresholds.learn || settled.corrected) return;
  if (settled.sequence < learned_from_) return;  // decided by the configuration's thresholds
  Matured& day = matured_[day_];
  // As it was decided then: the score against the threshold that was in force, whatever that was.
  const bool declined = settled.answer.wanted == Decision::kDecline;
  const bool fraud = settled.verdict == Verdict::kFraud;
  const double cost = fraud && !declined   ? settled.amount
                      : !fraud && declined ? config_->thresholds.contact_cost
                                           : 0;
  day.settled += settled.weight;
  day.cost += settled.weight * cost;
  day.cost_squares += settled.weight * cost * cost;
  if (fraud) return;
  day.legitimate += settled.weight;
  if (declined) day.alarms += settled.weight;
}

// The new champion's scores mean something else.
void ThresholdMonitor::model(const ModelEvent& event, const Fold& fold) {
  if (event.action == ModelAction::kChallenger) {
    challenged_ = {};
    challenged_.hash = event.model;
    challenged_.thresholds = fold.thresholds();
  }
  if (!takes_over(event.action)) return;
  challenged_ = {};
  review_ = fold.thresholds().review, decline_ = fold.thresholds().decline;
  days_ = 0;
  since_model_ = 0;
  scores_ = {};
  money_ = {};
}

ThresholdMonitor::Matured ThresholdMonitor::matured() const {
  Matured all;
  for (const Matured& day : matured_) {
    all.legitimate += day.legitimate;
    all.alarms += day.alarms;
    all.settled += day.settled;
    all.cost += day.cost;
    all.cost_squares += day.cost_squares;
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

// From the highest score down, as long as the legitimate ones among them are few enough.
ThresholdMonitor::Aimed ThresholdMonitor::aim_at_share() const {
  double legitimate = 0;
  for (size_t bin = 0; bin < kBins; ++bin) legitimate += scores_.at(bin) * (1 - lower_edge(bin));
  const double may = config_->thresholds.fpr / correction() * legitimate;
  double above = 0;
  Aimed aimed;
  while (aimed.bin > 1) {
    const double n = scores_.at(aimed.bin - 1) * (1 - lower_edge(aimed.bin - 1));
    if (above + n > may) break;
    above += n;
    --aimed.bin;
  }
  aimed.expected_fpr = above / std::max(legitimate, 1.0);
  return aimed;
}

// Declining a bin costs contacts and saves the frauds in it: from the highest score down, where the sum of
// both is least.
ThresholdMonitor::Aimed ThresholdMonitor::aim_at_cost() const {
  double legitimate = 0, all = 0, cost = 0;  // with nothing declined
  for (size_t bin = 0; bin < kBins; ++bin) {
    legitimate += scores_.at(bin) * (1 - lower_edge(bin));
    all += scores_.at(bin);
    cost += money_.at(bin) * lower_edge(bin);
  }
  Aimed aimed{.bin = kBins, .expected_fpr = 0, .expected_cost = cost};
  double above = 0;
  for (size_t bin = kBins; bin-- > 1;) {
    const double p = lower_edge(bin), contacts = scores_.at(bin) * (1 - p);
    above += contacts;
    cost += contacts * config_->thresholds.contact_cost - money_.at(bin) * p;
    if (cost < aimed.expected_cost) aimed = {bin, above, cost};
  }
  aimed.expected_fpr /= std::max(legitimate, 1.0);
  aimed.expected_cost /= std::max(all, 1.0);
  return aimed;
}

void ThresholdMonitor::move(const Period& period, std::vector<JudgementEvent>& found) {
  const ThresholdConfig& aim = config_->thresholds;
  const bool by_cost = aim.aim == ThresholdConfig::Aim::kCost;
  const Aimed aimed = by_cost ? aim_at_cost() : aim_at_share();
  if (aimed.bin == kBins) return;
  const double decline = lower_edge(aimed.bin);
  double review = std::min(config_->policy.review_score, decline * config_->policy.review_score /
                                                             std::max(config_->policy.decline_score, 1e-9));
  if (aim.reviews_per_day > 0 && days_ > 0) {
    double reviewed = 0;
    size_t bin = aimed.bin;
    while (bin > 1 && reviewed + scores_.at(bin - 1) <= aim.reviews_per_day * (days_ + 1))
      reviewed += scores_.at(--bin);
    review = lower_edge(bin);
  }
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
      decline, decline_, review, 100 * aimed.expected_fpr, 100 * rate, kDays);
  double all = 0;
  for (size_t bin = 0; bin < kBins; ++bin) all += scores_.at(bin);
  nlohmann::json evidence = {{"transactions", all},
                             {"expected_fpr", aimed.expected_fpr},
                             {"matured_legitimate", labels.legitimate},
                             {"matured_fpr", rate},
                             {"matured_fpr_low", std::max(rate - half, 0.0)},
                             {"matured_fpr_high", rate + half},
                             {"event", period.moment.sequence}};
  if (by_cost) add_cost(labels, aimed, judgement, evidence);
  judgement.evidence = evidence.dump();
  found.push_back(std::move(judgement));
  review_ = review;
  decline_ = decline;
  since_move_ = 0;
  if (learned_from_ == UINT64_MAX) learned_from_ = period.moment.sequence;
}

// What it is expected to cost, and what labels say it did.
void ThresholdMonitor::add_cost(const Matured& labels, const Aimed& aimed, JudgementEvent& judgement,
                                nlohmann::json& evidence) const {
  const double n = std::max(labels.settled, 1.0), mean = labels.cost / n;
  const double half = 1.96 * std::sqrt(std::max(labels.cost_squares / n - mean * mean, 0.0) / n);
  judgement.text += fmt::format(
      "; {:.2f} are expected to be lost in 1,000 transactions, of which legitimate ones declined cost {} "
      "each; "
      "{:.2f} were",
      1000 * aimed.expected_cost, config_->thresholds.contact_cost, 1000 * mean);
  evidence["contact_cost"] = config_->thresholds.contact_cost;
  evidence["expected_cost"] = aimed.expected_cost;
  evidence["settled"] = labels.settled;
  evidence["settled_cost"] = mean;
  evidence["settled_cost_low"] = std::max(mean - half, 0.0);
  evidence["settled_cost_high"] = mean + half;
}

// Where it makes as many alarms as the champion, of the transactions that both scored.
void ThresholdMonitor::move_challenger(std::vector<JudgementEvent>& found) {
  Challenged& other = challenged_;
  const double declined = other.declined + other.declined_today, alarms = other.alarms + other.alarms_today;
  const auto decline = other.scores.edge_of(declined), review = other.scores.edge_of(alarms);
  if (!decline || !review) return;
  const Thresholds now{std::min(*review, *decline), *decline};
  if (other.learned && !moves(other.thresholds.decline, now.decline) &&
      !moves(other.thresholds.review, now.review))
    return;
  JudgementEvent judgement;
  judgement.subject = judgement.target = other.hash;
  judgement.finding = Finding::kSuccessful;
  judgement.action = Action::kChallengerThresholds;
  judgement.values = {now.review, now.decline};
  judgement.text = fmt::format(
      "challenger {} declines from {:.4f} on and reviews from {:.4f}, where it makes as many alarms as the "
      "champion from {:.4f} and {:.4f}",
      other.hash.substr(0, 12), now.decline, now.review, decline_, review_);
  judgement.evidence = nlohmann::json{
      {"transactions", other.transactions},
      {"champion_declined", declined},
      {"champion_alarms",
       alarms}}.dump();
  found.push_back(std::move(judgement));
}

void ThresholdMonitor::close(const Period& period, std::vector<JudgementEvent>& found) {
  if (!config_->thresholds.learn) return;
  const bool first = since_model_ >= kEnough && since_move_ >= since_model_;
  if (first || (period.new_day && since_model_ >= kEnough)) move(period, found);
  if (!challenged_.hash.empty() && challenged_.transactions >= kEnough &&
      (period.new_day || !challenged_.learned))
    move_challenger(found);
  if (!period.new_day) return;
  scores_.end_day();
  money_.end_day();
  challenged_.scores.end_day();
  challenged_.declined = challenged_.declined * kForget + std::exchange(challenged_.declined_today, 0);
  challenged_.alarms = challenged_.alarms * kForget + std::exchange(challenged_.alarms_today, 0);
  days_ = days_ * kForget + 1;
  day_ = (day_ + 1) % kDays;
  matured_[day_] = {};
}

void ThresholdMonitor::judged(const JudgementEvent& event) {
  if (event.target == challenged_.hash && event.action == Action::kAbort) challenged_ = {};
  if (event.target == challenged_.hash && event.action == Action::kChallengerThresholds) {
    challenged_.thresholds = {event.values[0], event.values[1]};
    challenged_.learned = true;
  }
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
          {"matured_fpr", labels.legitimate > 0 ? labels.alarms / labels.legitimate : 0},
          {"settled_cost", labels.settled > 0 ? labels.cost / labels.settled : 0}};
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
    for (const double number : {day.settled, day.cost, day.cost_squares}) record.add_cost(number);
  }
  if (config_->thresholds.learn) {
    write(scores_, *record.mutable_recent(), *record.mutable_today());
    if (config_->thresholds.aim == ThresholdConfig::Aim::kCost)
      write(money_, *record.mutable_money_recent(), *record.mutable_money_today());
  }
  if (config_->thresholds.learn && !challenged_.hash.empty()) {
    proto::ChallengedRecord& saved = *record.mutable_challenged();
    saved.set_hash(challenged_.hash);
    write(challenged_.scores, *saved.mutable_recent(), *saved.mutable_today());
    saved.set_review(challenged_.thresholds.review);
    saved.set_decline(challenged_.thresholds.decline);
    saved.set_learned(challenged_.learned);
    saved.set_transactions(challenged_.transactions);
    saved.set_declined(challenged_.declined);
    saved.set_alarms(challenged_.alarms);
    saved.set_declined_today(challenged_.declined_today);
    saved.set_alarms_today(challenged_.alarms_today);
  }
  return record.SerializeAsString();
}

tl::expected<void, std::string> ThresholdMonitor::restore(std::string_view bytes) {
  proto::ThresholdsRecord record;
  constexpr auto kDaysSaved = static_cast<int>(kDays);
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || record.day() >= kDays ||
      record.legitimate_size() != kDaysSaved || record.alarms_size() != kDaysSaved ||
      (!record.cost().empty() && record.cost_size() != 3 * kDaysSaved) ||
      !read(record.recent(), record.today(), scores_) ||
      !read(record.money_recent(), record.money_today(), money_) ||
      !read(record.challenged().recent(), record.challenged().today(), challenged_.scores))
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
  for (size_t i = 0; i < kDays && !record.cost().empty(); ++i) {
    const double* of = record.cost().data() + 3 * i;
    matured_[i].settled = of[0], matured_[i].cost = of[1], matured_[i].cost_squares = of[2];
  }
  const proto::ChallengedRecord& other = record.challenged();
  challenged_.hash = other.hash();
  challenged_.thresholds = {other.review(), other.decline()};
  challenged_.learned = other.learned();
  challenged_.transactions = other.transactions();
  challenged_.declined = other.declined(), challenged_.alarms = other.alarms();
  challenged_.declined_today = other.declined_today(), challenged_.alarms_today = other.alarms_today();
  return {};
}

}  // namespace shrike::engine
