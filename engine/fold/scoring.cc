#include "engine/fold/scoring.h"

namespace shrike::engine {

Scoring::Scoring(ConfigPtr config, const Fold& fold)
    : config_(std::move(config)), columns_(config_->columns.size()) {
  models_changed(fold);
}

void Scoring::models_changed(const Fold& fold) {
  champion_ = {from_hex(fold.champion_hash()), fold.champion()};
  fallbacks_.clear();
  for (const auto& [hash, model] : fold.fallbacks()) fallbacks_.push_back({from_hex(hash), model});
}

std::span<const float> Scoring::newest_row() const { return std::span(rows_).last(columns_); }

Result<std::optional<Recorded>> Scoring::take(Fold& fold, const Transaction& transaction,
                                              const ClockSource& clock) {
  auto admitted = fold.admit(transaction);
  if (!admitted || *admitted) return admitted;
  const auto& amount = config_->schema().amount;
  rows_.resize(rows_.size() + columns_);
  const Folded folded =
      fold.fold(transaction, fold.judge(transaction, clock), std::span(rows_).last(columns_));
  waiting_.push_back({folded, transaction.id,
                      amount ? features::number(config_->schema(), transaction, *amount)
                             : std::numeric_limits<double>::quiet_NaN()});
  return std::nullopt;
}

void Scoring::score(Fold& fold, const std::function<Time(size_t)>& time,
                    const std::function<void(size_t, std::span<const float>, const Answer&)>& answered) {
  if (waiting_.empty()) return;
  const learners::MatrixView rows(rows_, columns_);
  scores_.resize(waiting_.size());
  if (scorer_) {
    scorer_(rows, scores_);
  } else {
    champion_.model->score(rows, scores_);
  }
  const bool challenged = fold.challenger() && !scorer_;
  if (challenged) {
    challenger_scores_.resize(waiting_.size());
    fold.challenger().model->score(rows, challenger_scores_);
  }
  for (size_t i = 0; i < waiting_.size(); ++i) {
    Answer given;
    Said said{scores_[i]};
    if (challenged)
      said.challenger = is_probability(challenger_scores_[i]) ? challenger_scores_[i] : kNoProbability;
    answer(fold, said, rows.row(i), waiting_[i], time(i), given);
    fold.answer(waiting_[i].folded, given);
    answered(i, rows.row(i), given);
  }
  waiting_.clear();
  rows_.clear();
}

// The degradation ladder: with less time, less answer; never late if it can be helped.
void Scoring::answer(const Fold& fold, const Said& said, std::span<const float> row, const Waiting& asked,
                     const Time& time, Answer& answer) {
  const double amount = asked.amount;
  answer.clock = asked.folded.clock;
  const auto statically = [&] {
    answer_statically(*config_, amount, answer);
    let_through(*config_, asked.id, amount, answer);
  };
  if (time.left_us < config_->deadline.static_below_us) return statically();
  // A canary that fails on a row leaves it to the champion.
  if (said.challenger >= 0) answer.arm = fold.arm(asked.folded);
  const bool by_canary = answer.arm == Arm::kCanary;
  const Challenger& challenger = fold.challenger();
  answer.score = by_canary ? said.challenger : said.champion;
  answer.other = by_canary ? said.champion : said.challenger;
  if (by_canary && !is_probability(said.champion)) answer.other = kNoProbability;
  answer.model = by_canary ? from_hex(challenger.hash) : champion_.id;
  if (!is_probability(answer.score) && !score_by_fallback(fallbacks_, row, columns_, answer))
    return statically();
  decide(config_->policy, by_canary ? challenger.thresholds : fold.thresholds(), amount, answer);
  let_through(*config_, asked.id, amount, answer);
  if (!reasons_ || answer.step != Step::kFull || answer.wanted == Decision::kApprove) return;
  if (!time.for_reasons || time.left_us < config_->deadline.no_reasons_below_us) {
    answer.step = Step::kNoReasons;
    return;
  }
  engine::give_reasons(config_->policy, by_canary ? *challenger.model : *champion_.model, row, answer,
                       contributions_);
}

}  // namespace shrike::engine
