#include "engine/lifecycle/rollback.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/fold/policy.h"
#include "engine/lifecycle/numbers.h"
#include "engine/lifecycle/rollback.pb.h"
#include "learners/metrics.h"
#include "learners/numeric/numeric.h"

namespace shrike::engine {
namespace {

constexpr uint64_t kLegitimateOf = 16;  // one of so many is kept
constexpr size_t kFraudsMin = 30;       // rows, before models are compared
constexpr size_t kLegitimateMin = 100;
constexpr uint64_t kFailuresMin = 5;
constexpr size_t kRememberedMax = 100;  // models
constexpr size_t kDeclinesSeenMin = 10;
constexpr double kConfidence = 0.95;  // share of bootstrap rounds
constexpr size_t kRounds = 200;
// A takeover that the gate or a rollout decided is believed unless it is this much worse: the rows tell less
// of it than what they judged by.
constexpr double kTakeoverGain = 0.1;

}  // namespace

Rollback::Rollback(ConfigPtr config) : config_(std::move(config)) {}

void Rollback::scored(const Scored& scored) {
  if (scored.answer.step == Step::kStatic) return;
  ++answers_;
  failures_ += scored.answer.step == Step::kFallback || champions_score(scored.answer) < 0;
}

void Rollback::settled(const Settled& settled) {
  if (!config_->rollback.on || settled.corrected || settled.answer.clock != Clock::kOnTime) return;
  const bool fraud = settled.verdict == Verdict::kFraud;
  legitimate_settled_ += !fraud;
  if (!fraud && learners::mix(settled.sequence) % kLegitimateOf != 0) return;
  (fraud ? frauds_ : legitimate_)
      .push_back({{settled.row.begin(), settled.row.end()},
                  static_cast<float>(settled.weight),
                  legitimate_settled_,
                  settled.answer.wanted == Decision::kDecline});
  trim();
}

void Rollback::trim() {
  const RollbackConfig& rollback = config_->rollback;
  while (frauds_.size() > rollback.frauds) frauds_.pop_front();
  while (legitimate_.size() > rollback.rows - std::min(rollback.rows, rollback.frauds))
    legitimate_.pop_front();
}

bool Rollback::enough() const { return frauds_.size() >= kFraudsMin && legitimate_.size() >= kLegitimateMin; }

bool Rollback::banned(const std::string& hash) const {
  return std::find(banned_.begin(), banned_.end(), hash) != banned_.end();
}

void Rollback::model(const ModelEvent& event, const Fold&) {
  if (!takes_over(event.action)) return;
  if (event.action == ModelAction::kAccepted && event.candidate == 0) {
    unlabelled_.push_back(event.model);
    if (unlabelled_.size() > kRememberedMax) unlabelled_.erase(unlabelled_.begin());
  }
  // By hand it may come back.
  if (event.action == ModelAction::kActivated) std::erase(banned_, event.model);
  if (!champion_.empty() && champion_ != event.model) why_ = "takeover";
  champion_ = event.model;
}

void Rollback::judged(const JudgementEvent& event) {
  const bool asks = event.monitor == "performance" || event.monitor == "machine";
  if (asks && event.finding == Finding::kFailed && event.severity == Severity::kCritical) why_ = event.text;
  if (event.action != Action::kRollBack) return;
  last_us_ = event.time_us;
  why_.clear();
  if (champion_.empty() || banned(champion_)) return;
  banned_.push_back(champion_);
  if (banned_.size() > kRememberedMax) banned_.erase(banned_.begin());
}

// Frauds and legitimate ones as they come in the stream: those that were kept stand for all that were settled
// in the time from which the frauds are.
Rollback::Sample Rollback::sample() const {
  Sample sample;
  const auto span = static_cast<double>(legitimate_settled_ - frauds_.front().legitimate + 1);
  const double each = std::max(span / static_cast<double>(legitimate_.size()), 1.0);
  for (const auto* kept : {&frauds_, &legitimate_}) {
    const bool fraud = kept == &frauds_;
    for (const Row& row : *kept) {
      sample.rows.insert(sample.rows.end(), row.row.begin(), row.row.end());
      sample.labels.push_back(fraud);
      sample.weights.push_back(row.weight * (fraud ? 1 : static_cast<float>(each)));
    }
  }
  return sample;
}

Rollback::Standing Rollback::standing(const std::string& hash, const learners::Model& model,
                                      const Sample& sample) const {
  Standing standing{.hash = hash};
  standing.scores.resize(sample.labels.size());
  model.score(learners::MatrixView(sample.rows, config_->columns.size()), standing.scores);
  standing.gives_probabilities = std::all_of(standing.scores.begin(), standing.scores.end(), is_probability);
  if (!standing.gives_probabilities) return standing;
  double fraud_weight = 0, weight = 0;
  for (size_t i = 0; i < sample.labels.size(); ++i) {
    weight += static_cast<double>(sample.weights[i]);
    if (sample.labels[i] != 0) fraud_weight += static_cast<double>(sample.weights[i]);
  }
  const double base = fraud_weight / weight;
  const double of_base = -base * learners::exact_log(base) - (1 - base) * learners::exact_log(1 - base);
  standing.average_precision = learners::average_precision(standing.scores, sample.labels, sample.weights);
  standing.log_loss = learners::log_loss(standing.scores, sample.labels, sample.weights);
  standing.composite = (standing.average_precision + 1 - standing.log_loss / of_base) / 2;
  return standing;
}

// Enough of what it declines to say how well it does.
bool Rollback::sees_its_declines() const {
  if (!hides(config_->policy, Decision::kDecline)) return true;
  const auto seen =
      std::count_if(frauds_.begin(), frauds_.end(), [](const Row& row) { return row.declined; });
  return seen >= static_cast<std::ptrdiff_t>(kDeclinesSeenMin);
}

void Rollback::compare(const Period& period, const std::string& why, bool failing,
                       std::vector<JudgementEvent>& found) {
  const Fold& fold = period.moment.fold;
  if (why != "takeover" && !failing && !sees_its_declines()) return;
  const Sample rows = sample();
  Standing champion = standing(fold.champion_hash(), *fold.champion(), rows);
  if (failing) champion.gives_probabilities = false;
  const double gain_min =
      why == "takeover" ? std::max(kTakeoverGain, config_->rollback.gain_min) : config_->rollback.gain_min;
  std::vector<Standing> earlier;
  // A takeover is good unless the one before was better; only then the others are looked at.
  const auto settled = [&] {
    return why == "takeover" && champion.gives_probabilities && !earlier.empty() &&
           earlier.front().composite <= champion.composite + gain_min;
  };
  for (const auto& [hash, model] : fold.fallbacks()) {
    if (settled()) break;
    const bool knew_labels = std::find(unlabelled_.begin(), unlabelled_.end(), hash) == unlabelled_.end();
    if (banned(hash) || hash == champion.hash || (!failing && !knew_labels)) continue;
    Standing one = standing(hash, *model, rows);
    if (one.gives_probabilities) earlier.push_back(std::move(one));
  }
  const auto best =
      std::max_element(earlier.begin(), earlier.end(),
                       [](const Standing& a, const Standing& b) { return a.composite < b.composite; });
  const auto surely_better = [&] {
    if (best->composite <= champion.composite + gain_min) return false;
    return learners::paired_bootstrap_ap(champion.scores, best->scores, rows.labels, kRounds, 1, rows.weights)
               .win_probability >= kConfidence;
  };
  const bool better = best != earlier.end() && (!champion.gives_probabilities || surely_better());
  const bool to_prior = !better && !champion.gives_probabilities;
  if (why == "takeover" && !better && !to_prior) return;  // as it should be
  nlohmann::json models = nlohmann::json::array();
  const auto tell = [&](const Standing& one) {
    models.push_back({{"model", one.hash},
                      {"composite", one.gives_probabilities ? short_number(one.composite) : nullptr},
                      {"average_precision", short_number(one.average_precision)},
                      {"log_loss", short_number(one.log_loss)}});
  };
  tell(champion);
  for (const Standing& one : earlier) tell(one);
  JudgementEvent judgement;
  judgement.evidence =
      nlohmann::json{{"why", why}, {"frauds", frauds_.size()}, {"models", std::move(models)}}.dump();
  const std::string asked = why == "takeover" ? "the new champion is worse" : why;
  if (!better && !to_prior) {
    judgement.text =
        fmt::format("stays with model {}: no earlier champion is better on the newest {} frauds now ({})",
                    champion.hash.substr(0, 12), frauds_.size(), asked);
    found.push_back(std::move(judgement));
    return;
  }
  judgement.finding = Finding::kFailed;
  judgement.severity = Severity::kCritical;
  judgement.action = Action::kRollBack;
  judgement.target = better ? best->hash : fold.prior_hash();
  judgement.subject = champion.hash;
  judgement.text =
      fmt::format("back from model {} to {} {}: {}", champion.hash.substr(0, 12),
                  better ? "the earlier champion" : "the prior", judgement.target.substr(0, 12), asked);
  if (better && champion.gives_probabilities) {
    judgement.text += fmt::format(
        " (average precision {:.4f} and log loss {:.5f} on the newest {} frauds, now {:.4f} and {:.5f})",
        best->average_precision, best->log_loss, frauds_.size(), champion.average_precision,
        champion.log_loss);
  }
  found.push_back(std::move(judgement));
}

void Rollback::close(const Period& period, std::vector<JudgementEvent>& found) {
  const uint64_t answers = std::exchange(answers_, 0), failures = std::exchange(failures_, 0);
  std::string why = std::exchange(why_, {});
  if (!config_->rollback.on || champion_.empty()) return;
  const bool failing =
      failures >= kFailuresMin &&
      static_cast<double>(failures) > config_->rollback.failures * static_cast<double>(answers);
  if (failing)
    why = fmt::format("{} of the last {} answers had no probability of the champion's", failures, answers);
  if (why.empty()) return;
  const int64_t now_us = period.moment.now_us;
  const bool cools = last_us_ != INT64_MIN && now_us < last_us_ + config_->rollback.cooldown_us;
  if (!failing && (cools || !enough())) return;
  if (enough()) return compare(period, why, failing, found);
  // Nothing to compare by: the newest of the earlier ones.
  const Fold& fold = period.moment.fold;
  JudgementEvent judgement;
  judgement.finding = Finding::kFailed;
  judgement.severity = Severity::kCritical;
  judgement.action = Action::kRollBack;
  judgement.target = fold.prior_hash();
  for (const auto& [hash, model] : fold.fallbacks()) {
    if (banned(hash) || hash == fold.champion_hash()) continue;
    judgement.target = hash;
    break;
  }
  judgement.subject = fold.champion_hash();
  judgement.text = fmt::format("back from model {} to {}: {}", judgement.subject.substr(0, 12),
                               judgement.target.substr(0, 12), why);
  judgement.evidence = nlohmann::json{{"answers", answers}, {"failures", failures}}.dump();
  found.push_back(std::move(judgement));
}

nlohmann::json Rollback::report() const {
  return {{"on", config_->rollback.on},
          {"frauds_kept", frauds_.size()},
          {"legitimate_kept", legitimate_.size()},
          {"rolled_back_from", banned_}};
}

std::string Rollback::save() const {
  proto::RollbackRecord record;
  const auto add = [](const std::deque<Row>& rows, auto* saved) {
    for (const Row& row : rows) {
      proto::KeptRowRecord& one = *saved->Add();
      one.set_row(floats_to_bytes(row.row));
      one.set_weight(row.weight);
      one.set_legitimate(row.legitimate);
      one.set_declined(row.declined);
    }
  };
  add(frauds_, record.mutable_frauds());
  add(legitimate_, record.mutable_legitimate());
  record.set_legitimate_settled(legitimate_settled_);
  record.set_answers(answers_);
  record.set_failures(failures_);
  record.set_why(why_);
  record.set_champion(champion_);
  record.set_last_us(last_us_);
  for (const std::string& hash : banned_) record.add_banned(hash);
  for (const std::string& hash : unlabelled_) record.add_unlabelled(hash);
  return record.SerializeAsString();
}

tl::expected<void, std::string> Rollback::restore(std::string_view bytes) {
  proto::RollbackRecord record;
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return tl::make_unexpected(std::string("its record is damaged"));
  Rollback restored(config_);
  for (const auto& [saved, rows] : {std::pair(&record.frauds(), &restored.frauds_),
                                    std::pair(&record.legitimate(), &restored.legitimate_)}) {
    for (const proto::KeptRowRecord& one : *saved) {
      if (one.row().size() != config_->columns.size() * sizeof(float) ||
          one.legitimate() > record.legitimate_settled())
        return tl::make_unexpected(std::string("a row of its record is damaged"));
      rows->push_back({floats_from_bytes(one.row()), one.weight(), one.legitimate(), one.declined()});
    }
  }
  restored.trim();
  restored.legitimate_settled_ = record.legitimate_settled();
  restored.answers_ = record.answers();
  restored.failures_ = record.failures();
  restored.why_ = record.why();
  restored.champion_ = record.champion();
  restored.last_us_ = record.last_us();
  restored.banned_.assign(record.banned().begin(), record.banned().end());
  restored.unlabelled_.assign(record.unlabelled().begin(), record.unlabelled().end());
  *this = std::move(restored);
  return {};
}

}  // namespace shrike::engine
