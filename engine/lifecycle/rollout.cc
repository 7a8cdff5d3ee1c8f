#include "engine/lifecycle/rollout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/numbers.h"
#include "engine/lifecycle/rollout.pb.h"
#include "learners/numeric/numeric.h"

namespace shrike::engine {
namespace {

constexpr const char* kNames[Rollout::kCompared] = {"recall", "false_positive_rate", "log_loss",
                                                    "net_benefit"};
constexpr double kLossMax = 4;  // of a difference of two log losses; beyond it counts as this
// Tests count what is good as positive; people read more false positives and more loss as more.
constexpr double kUnits[Rollout::kCompared] = {1, -1, -kLossMax, 1};
constexpr double kScoreMin = 1e-6;      // log losses of scores nearer to 0 or 1 count as of this
constexpr uint64_t kScoredMin = 1000;   // before a share grows
constexpr uint64_t kFailuresMin = 5;    // no probabilities, before they tell
constexpr double kFailuresMax = 0.001;  // share of them
constexpr double kLastShare = 1 - 1e-9;

double log_loss(double score, bool fraud) {
  const double p = std::clamp(score, kScoreMin, 1 - kScoreMin);
  return -learners::exact_log(fraud ? p : 1 - p);
}

// Which half of a decade.
size_t bin_of(float score, size_t bins) {
  const double decade = -std::log10(std::clamp(static_cast<double>(score), 1e-5, 1.0));
  return std::min(static_cast<size_t>(2 * decade), bins - 1);
}

}  // namespace

Rollout::Rollout(ConfigPtr config)
    : config_(std::move(config)),
      thresholds_{config_->policy.review_score, config_->policy.decline_score},
      challenger_thresholds_(thresholds_) {}

// As the policy would have decided with this score.
Decision Rollout::decision(const Thresholds& thresholds, float score, double amount) const {
  Answer answer;
  answer.score = score;
  decide(config_->policy, thresholds, amount, answer);
  return answer.decision;
}

double Rollout::margin(Compared what) const {
  const RolloutConfig& rollout = config_->rollout;
  switch (what) {
    case Compared::kRecall:
      return rollout.recall_margin;
    case Compared::kFalsePositives:
      return rollout.fpr_margin;
    case Compared::kLogLoss:
      // Of the champion's so far, which the next observation cannot have moved.
      return evidence_.losses_weight > 0
                 ? rollout.log_loss_margin * evidence_.losses / evidence_.losses_weight / kLossMax
                 : 0;
    case Compared::kNetBenefit:
      return 0;
  }
  return 0;
}

// Of the label of a transaction that was decided so.
double Rollout::chance_seen(Decision decision, double amount) const {
  if (!hides(config_->policy, decision)) return 1;
  const ControlConfig& control = config_->control;
  const bool eligible = decision == Decision::kDecline || control.reviews;
  return eligible && (control.amount_max <= 0 || amount <= control.amount_max) ? control.share : 0;
}

double Rollout::share_at(uint64_t sequence) const {
  double share = 0;
  for (const auto& [after, of_entities] : shares_) {
    if (sequence > after) share = of_entities;
  }
  return share;
}

bool Rollout::sees_recall() const {
  return share_ > 0 || config_->control.share > 0 || !hides(config_->policy, Decision::kDecline);
}

void Rollout::scored(const Scored& scored) {
  if (challenger_.empty() || scored.sequence <= after_) return;
  const float champion = champions_score(scored.answer), challenger = challengers_score(scored.answer);
  newest_ = scored.sequence;
  if (challenger == kNoOther || scored.answer.step == Step::kStatic) return;
  ++evidence_.scored;
  answered_ += scored.answer.arm == Arm::kCanary;
  if (challenger < 0) ++evidence_.failures;
  if (champion < 0 || challenger < 0) return;
  ++evidence_.bins_champion[bin_of(champion, kBins)];
  ++evidence_.bins_challenger[bin_of(challenger, kBins)];
  const bool before = decision(thresholds_, champion, scored.amount) != Decision::kApprove;
  const bool now = decision(challenger_thresholds_, challenger, scored.amount) != Decision::kApprove;
  evidence_.alarms_champion += before;
  evidence_.alarms_challenger += now;
  const double more = static_cast<double>(now) - static_cast<double>(before);
  evidence_.more_alarms.add(more - config_->rollout.alarm_margin);
}

void Rollout::settled(const Settled& settled) {
  if (challenger_.empty() || settled.sequence <= after_ || settled.answer.step == Step::kStatic) return;
  const Labelled labelled{settled.verdict == Verdict::kFraud,
                          went_through(settled.answer, Outcome::kUnreported), champions_score(settled.answer),
                          challengers_score(settled.answer), settled.amount};
  if (labelled.champion < 0 || labelled.challenger < 0) return;
  const int64_t of_age_us = settled.time_us + config_->training.maturity_us;
  if (settled.known_us < of_age_us) {
    young_.insert_or_assign({of_age_us, settled.sequence}, labelled);
  } else if (!settled.corrected) {
    compare(settled.sequence, labelled);
  }
}

void Rollout::compare(uint64_t sequence, const Labelled& labelled) {
  const bool fraud = labelled.fraud;
  const float champion = labelled.champion, challenger = labelled.challenger;
  const double amount = labelled.amount;
  const Decision before = decision(thresholds_, champion, amount),
                 now = decision(challenger_thresholds_, challenger, amount);
  // What went through although its like mostly does not stands for those; a label that came although it did
  // not go through stands for itself.
  const double share = share_at(sequence);
  const auto chance = [&](Decision by_challenger, Decision by_champion) {
    return share * chance_seen(by_challenger, amount) + (1 - share) * chance_seen(by_champion, amount);
  };
  const double least = std::min(chance(Decision::kApprove, Decision::kDecline),
                                chance(Decision::kDecline, Decision::kApprove));
  const double most = least * config_->rollout.weight_max > 1 ? 1 / least : config_->rollout.weight_max;
  double weight = 1;
  if (labelled.went_through) weight = chance(now, before) * most > 1 ? 1 / chance(now, before) : most;
  const double more =
      static_cast<double>(now == Decision::kDecline) - static_cast<double>(before == Decision::kDecline);
  if (fraud) {
    test(Compared::kRecall).add(more, weight, most, margin(Compared::kRecall));
  } else {
    test(Compared::kFalsePositives).add(-more, weight, most, margin(Compared::kFalsePositives));
  }
  // What one legitimate transaction that is declined costs, in frauds that are.
  const double cost = thresholds_.decline / std::max(1 - thresholds_.decline, 1e-9);
  test(Compared::kNetBenefit).add(more * (fraud ? 1 : -cost) / std::max(cost, 1.0), weight, most, 0);
  const double loss = log_loss(static_cast<double>(champion), fraud);
  const double gain = (loss - log_loss(static_cast<double>(challenger), fraud)) / kLossMax;
  test(Compared::kLogLoss).add(std::clamp(gain, -1.0, 1.0), weight, most, margin(Compared::kLogLoss));
  evidence_.losses += weight * loss;
  evidence_.losses_weight += weight;
}

void Rollout::model(const ModelEvent& event, const Fold& fold) {
  if (event.action != ModelAction::kChallenger && !takes_over(event.action)) return;
  challenger_.clear();
  held_ = false;
  thresholds_ = challenger_thresholds_ = fold.thresholds();
  if (event.action != ModelAction::kChallenger) return;
  challenger_ = event.model;
  comparable_ = !config_->thresholds.learn;
  begin(fold.next_sequence() - 1);
  begin_share(0, fold.watermark_us());
}

// Transactions after this event count.
void Rollout::begin(uint64_t after) {
  after_ = newest_ = after;
  evidence_ = {};
  young_.clear();
  shares_.clear();
}

void Rollout::begin_share(double share, int64_t now_us) {
  share_ = share;
  shares_.emplace_back(newest_, share);
  since_us_ = now_us;
  answered_ = 0;
}

void Rollout::judged(const JudgementEvent& event) {
  if (event.action == Action::kThresholds) thresholds_ = {event.values[0], event.values[1]};
  if (event.action == Action::kHoldRollout || event.action == Action::kGoOnRollout)
    held_ = event.action == Action::kHoldRollout;
  if (challenger_.empty() || event.target != challenger_) return;
  if (event.action == Action::kCanary) begin_share(event.values[0], event.time_us);
  if (event.action == Action::kShadow) begin_share(0, event.time_us);
  if (event.action == Action::kAbort) challenger_.clear();
  if (event.action != Action::kChallengerThresholds) return;
  challenger_thresholds_ = {event.values[0], event.values[1]};
  if (std::exchange(comparable_, true)) return;
  begin(newest_);
  begin_share(share_, event.time_us);
}

// Whether its declines are shown to be worth more, whatever they cost.
bool Rollout::pays() const {
  return test(Compared::kNetBenefit).better(config_->rollout.alpha / (2 * kCompared));
}

// Fewer alarms are no harm by themselves: whether it misses frauds is for recall to say.
bool Rollout::alarms_too_often() const {
  return evidence_.more_alarms.proves(config_->rollout.alpha) && !pays();
}

std::string Rollout::failure() const {
  const Evidence& e = evidence_;
  if (e.failures >= kFailuresMin &&
      static_cast<double>(e.failures) > kFailuresMax * static_cast<double>(e.scored))
    return fmt::format("{} of its {} scores were no probability", e.failures, e.scored);
  // One of four might be called better or worse by chance, in either direction.
  const double alpha = config_->rollout.alpha / (2 * kCompared);
  const bool costs = test(Compared::kNetBenefit).worse(alpha);
  for (const Compared what : {Compared::kRecall, Compared::kFalsePositives, Compared::kLogLoss}) {
    if (comparable_ && test(what).worse(alpha) && (costs || what == Compared::kLogLoss))
      return fmt::format("its {} is worse", kNames[static_cast<size_t>(what)]);
  }
  if (share_ > 0 && comparable_ && alarms_too_often()) {
    return fmt::format("it declines or reviews {} of {} transactions where the champion does {}",
                       e.alarms_challenger, e.scored, e.alarms_champion);
  }
  return "";
}

bool Rollout::good_enough() const {
  const double alpha = config_->rollout.alpha;
  if (!comparable_ || evidence_.scored < kScoredMin || alarms_too_often()) return false;
  if (!test(Compared::kLogLoss).good_enough(alpha)) return false;
  return pays() || (test(Compared::kFalsePositives).good_enough(alpha) &&
                    (!sees_recall() || test(Compared::kRecall).good_enough(alpha)));
}

// Differences in the metric's own direction: more recall is good, and fewer false positives.
std::string Rollout::figures() const {
  std::string text;
  for (size_t i = 0; i < kCompared; ++i) {
    const PairedTest& test = evidence_.tests[i];
    const double unit = kUnits[i];
    const double half = test.half_width(config_->rollout.alpha) * std::fabs(unit);
    const double mean = test.mean() * unit;
    text += fmt::format("{}{} {:+.4f} [{:+.4f}, {:+.4f}] of {}", i == 0 ? "" : ", ", kNames[i], mean,
                        mean - half, mean + half, test.count());
  }
  return text;
}

double Rollout::psi() const {
  double sum = 0;
  const auto all = static_cast<double>(evidence_.scored) + kBins;
  for (size_t i = 0; i < kBins; ++i) {
    const double before = (static_cast<double>(evidence_.bins_champion[i]) + 1) / all;
    const double now = (static_cast<double>(evidence_.bins_challenger[i]) + 1) / all;
    sum += (now - before) * std::log(now / before);
  }
  return sum;
}

nlohmann::json Rollout::evidence_json() const {
  nlohmann::json json = nlohmann::json::object();
  for (size_t i = 0; i < kCompared; ++i) {
    const PairedTest& test = evidence_.tests[i];
    const double unit = kUnits[i];
    json[kNames[i]] = {
        {"difference", short_number(test.mean() * unit)},
        {"half_width", short_number(test.half_width(config_->rollout.alpha) * std::fabs(unit))},
        {"transactions", test.count()},
        {"better", test.better(config_->rollout.alpha / (2 * kCompared))},
        {"log_evidence_worse", short_number(test.evidence_worse())}};
  }
  json["scored"] = evidence_.scored;
  json["no_probability"] = evidence_.failures;
  json["alarms_champion"] = evidence_.alarms_champion;
  json["alarms_challenger"] = evidence_.alarms_challenger;
  json["score_psi"] = short_number(psi());
  json["share"] = short_number(share_);
  json["decline_from"] = short_number(challenger_thresholds_.decline);
  json["answered"] = answered_;
  return json;
}

// From where it stands, shown to be good enough.
JudgementEvent Rollout::next_step() const {
  JudgementEvent judgement;
  judgement.finding = Finding::kSuccessful;
  judgement.target = challenger_;
  if (share_ >= kLastShare) {
    judgement.action = Action::kPromote;
    judgement.text = fmt::format("challenger {} becomes champion: {}", challenger_.substr(0, 12), figures());
    return judgement;
  }
  const RolloutConfig& rollout = config_->rollout;
  const double share = share_ <= 0 ? rollout.start : std::min(share_ + rollout.step, 1.0);
  judgement.action = Action::kCanary;
  judgement.values[0] = share;
  judgement.text = fmt::format("challenger {} answers {:.4g} % of the entities from now on: {}",
                               challenger_.substr(0, 12), 100 * share, figures());
  return judgement;
}

void Rollout::close(const Period& period, std::vector<JudgementEvent>& found) {
  if (challenger_.empty()) return;
  const int64_t now_us = period.moment.now_us;
  if (since_us_ == INT64_MIN) since_us_ = now_us;
  for (; !young_.empty() && young_.begin()->first.first <= now_us; young_.erase(young_.begin()))
    compare(young_.begin()->first.second, young_.begin()->second);
  const int64_t age_us = now_us - since_us_;
  JudgementEvent judgement;
  judgement.target = challenger_;
  if (const std::string why = failure(); !why.empty()) {
    judgement.finding = Finding::kFailed;
    judgement.severity = Severity::kWarning;
    judgement.action = Action::kAbort;
    judgement.text = fmt::format("challenger {} is gone, at {:.4g} % of the entities: {} ({})",
                                 challenger_.substr(0, 12), 100 * share_, why, figures());
  } else if (!held_ && good_enough() && age_us >= config_->rollout.step_min_us &&
             (share_ <= 0 || answered_ > 0)) {
    judgement = next_step();
  } else if (!held_ && age_us >= config_->rollout.step_max_us) {
    judgement.severity = Severity::kWarning;
    judgement.action = Action::kAbort;
    judgement.text = fmt::format(
        "challenger {} is gone, at {:.4g} % of the entities: it was not shown to be good enough in time ({})",
        challenger_.substr(0, 12), 100 * share_, figures());
  } else {
    return;
  }
  judgement.subject = challenger_;
  judgement.evidence = evidence_json().dump();
  found.push_back(std::move(judgement));
}

nlohmann::json Rollout::report() const {
  if (challenger_.empty()) return {{"on", config_->rollout.on}, {"challenger", nullptr}};
  nlohmann::json json = {{"on", config_->rollout.on},
                         {"challenger", challenger_},
                         {"stage", share_ > 0 ? "canary" : "shadow"},
                         {"held", held_}};
  json.update(evidence_json());
  return json;
}

std::string Rollout::save() const {
  proto::RolloutRecord record;
  record.set_challenger(challenger_);
  record.set_share(share_);
  record.set_held(held_);
  record.set_since_us(since_us_);
  record.set_after(after_);
  record.set_newest(newest_);
  for (const auto& [key, labelled] : young_) {
    proto::YoungRecord& saved = *record.add_young();
    saved.set_of_age_us(key.first);
    saved.set_sequence(key.second);
    saved.set_fraud(labelled.fraud);
    saved.set_went_through(labelled.went_through);
    saved.set_champion(labelled.champion);
    saved.set_challenger(labelled.challenger);
    saved.set_amount(labelled.amount);
  }
  for (const auto& [after, share] : shares_) {
    record.add_shares_after(after);
    record.add_shares(share);
  }
  for (const PairedTest& test : evidence_.tests) {
    for (const double number : test.save()) record.add_tests(number);
  }
  for (const double number : evidence_.more_alarms.log_wealth()) record.add_more(number);
  record.set_scored(evidence_.scored);
  record.set_failures(evidence_.failures);
  record.set_alarms_champion(evidence_.alarms_champion);
  record.set_alarms_challenger(evidence_.alarms_challenger);
  record.set_answered(answered_);
  record.set_losses(evidence_.losses);
  record.set_losses_weight(evidence_.losses_weight);
  record.set_review(thresholds_.review);
  record.set_decline(thresholds_.decline);
  record.set_challenger_review(challenger_thresholds_.review);
  record.set_challenger_decline(challenger_thresholds_.decline);
  record.set_incomparable(!comparable_);
  for (const uint64_t count : evidence_.bins_champion) record.add_bins_champion(count);
  for (const uint64_t count : evidence_.bins_challenger) record.add_bins_challenger(count);
  return record.SerializeAsString();
}

tl::expected<void, std::string> Rollout::restore(std::string_view bytes) {
  proto::RolloutRecord record;
  constexpr int kNumbers = static_cast<int>(PairedTest::kNumbers * kCompared);
  constexpr int kSizes = static_cast<int>(MeanBets::kSizes);
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      record.tests_size() != kNumbers || record.more_size() != kSizes ||
      record.bins_champion_size() != static_cast<int>(kBins) ||
      record.bins_challenger_size() != static_cast<int>(kBins) ||
      record.shares_size() != record.shares_after_size())
    return tl::make_unexpected(std::string("its record is damaged"));
  challenger_ = record.challenger();
  share_ = record.share();
  held_ = record.held();
  since_us_ = record.since_us();
  after_ = record.after();
  newest_ = record.newest();
  young_.clear();
  for (const proto::YoungRecord& saved : record.young()) {
    young_[{saved.of_age_us(), saved.sequence()}] = {saved.fraud(), saved.went_through(), saved.champion(),
                                                     saved.challenger(), saved.amount()};
  }
  shares_.clear();
  for (int i = 0; i < record.shares_size(); ++i)
    shares_.emplace_back(record.shares_after(i), record.shares(i));
  for (size_t i = 0; i < kCompared; ++i) {
    std::array<double, PairedTest::kNumbers> numbers{};
    std::copy_n(record.tests().begin() + static_cast<int>(i * PairedTest::kNumbers), numbers.size(),
                numbers.begin());
    evidence_.tests[i].restore(numbers);
  }
  std::copy_n(record.more().begin(), kSizes, evidence_.more_alarms.log_wealth().begin());
  evidence_.scored = record.scored();
  evidence_.failures = record.failures();
  evidence_.alarms_champion = record.alarms_champion();
  evidence_.alarms_challenger = record.alarms_challenger();
  answered_ = record.answered();
  evidence_.losses = record.losses();
  evidence_.losses_weight = record.losses_weight();
  thresholds_ = {record.review(), record.decline()};
  challenger_thresholds_ = {record.challenger_review(), record.challenger_decline()};
  comparable_ = !record.incomparable();
  std::copy_n(record.bins_champion().begin(), kBins, evidence_.bins_champion.begin());
  std::copy_n(record.bins_challenger().begin(), kBins, evidence_.bins_challenger.begin());
  return {};
}

}  // namespace shrike::engine
