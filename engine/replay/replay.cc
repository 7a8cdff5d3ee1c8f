#include "engine/replay/replay.h"

#include <fmt/format.h>

#include "engine/lifecycle/lifecycle.h"
#include "engine/log/recovery.h"
#include "learners/widening.h"

namespace shrike::engine {
size_t ReplayReport::state_bytes() const {
  size_t total = 0;
  for (const features::EntityStats& one : features) total += one.bytes;
  return total;
}

Replayer::Replayer(ConfigPtr config, Setup setup, OnScore on_score)
    : config_(std::move(config)),
      setup_(std::move(setup)),
      on_score_(std::move(on_score)),
      workers_(setup_.fixed_model || setup_.live ? 1 : config_->training.threads),
      no_examples_(std::make_unique<NoExamples>()) {
  setup_.batch = setup_.live ? 1 : std::max<size_t>(setup_.batch, 1);
  if (setup_.live) live_ = std::make_unique<LiveLearner>(config_);
  if (!live_ && !setup_.fixed_model) begin_training(std::make_unique<Trainer>(config_));
  fold_ = make_fold(config_, sink(), nullptr, setup_.keep_us);
  if (setup_.first_model && training_) {
    const ModelEvent event{ModelAction::kActivated, 0,
                           learners::content_hash(learners::serialize(*setup_.first_model)), ""};
    fold_->model(event, setup_.first_model);
    training_->model_event(event, setup_.first_model);
  }
  waiting_.resize(setup_.batch);
  begin_scoring();
}

void Replayer::begin_scoring() {
  scoring_.emplace(config_, *fold_);
  if (live_ || setup_.fixed_model || setup_.time_calls)
    scoring_->score_by([this](learners::MatrixView rows, std::span<float> scores) { score(rows, scores); });
}

// In place of the champion: the live learner, a fixed model, or the champion with one call timed.
void Replayer::score(learners::MatrixView rows, std::span<float> scores) {
  if (live_) {
    scores[0] = live_->score(rows.row(0));
    return;
  }
  const learners::Model& model = setup_.fixed_model ? *setup_.fixed_model : *fold_->champion();
  if (setup_.time_calls) {
    const auto start = CallTimes::Clock::now();
    model.score({rows.row(0), config_->columns.size()}, scores.first(1));
    report_.predicting.add(CallTimes::us_since(start));
  }
  model.score(rows, scores);
}

ExampleSink& Replayer::sink() {
  if (setup_.fixed_model) return *no_examples_;
  if (live_) return *live_;
  return *training_;
}

void Replayer::begin_training(std::unique_ptr<Trainer> trainer) {
  trainer_ = trainer.get();
  trainer_->use(&workers_);
  if (setup_.time_calls) trainer_->watch(&timed_learner_);
  auto awaited = std::make_shared<Config>(*config_);
  awaited->training.mode = TrainingMode::kAwaited;
  training_ = std::make_unique<TrainingThread>(
      awaited, std::move(trainer), probe_, [](const Proposal&) { return true; },
      [](uint64_t, const std::string&) {});
  training_->start(bell_);
}

tl::expected<void, std::string> Replayer::transaction(const Transaction& transaction, int label,
                                                      Clock recorded) {
  if (fold_->needs_answers(transaction)) flush();
  // The stream's own time runs; where a server judged, its mark is in the log.
  const auto seen = scoring_->take(*fold_, transaction, {.server_us = {}, .recorded = recorded});
  if (!seen) return tl::make_unexpected(fmt::format("{}: {}", seen.error().field, seen.error().reason));
  if (*seen) {
    ++report_.duplicates;
    return {};
  }
  days_.see(transaction.time_us, scoring_->newest().clock);
  report_.days = days_.count();
  Waiting& slot = waiting_[scoring_->waiting() - 1];
  slot.transaction = transaction;
  slot.label = label;
  if (fold_->take_boundary()) {
    flush();
    swap_when_proposed();
  } else if (scoring_->waiting() == setup_.batch || fold_->closes_period()) {
    flush();
  }
  take_judgements();
  return {};
}

// What monitors found enters the stream at once.
void Replayer::take_judgements() {
  while (const JudgementEvent* made = fold_->next_judgement()) {
    const JudgementEvent judgement = *made;
    fold_->judgement(judgement);
    report_.judgements.push_back({report_.rows, report_.days - 1, judgement});
    if (const auto change = fold_->change_by(judgement)) swap(change->event, change->model);
  }
}

void Replayer::repair(const RepairEvent& event) {
  flush();
  fold_->repair(event);
}

tl::expected<void, std::string> Replayer::outcome(const OutcomeRequest& request) {
  flush();
  if (const auto done = fold_->outcome(request); !done)
    return tl::make_unexpected(fmt::format("{}: {}", done.error().field, done.error().reason));
  return {};
}

tl::expected<void, std::string> Replayer::kpi(const KpiRequest& request) {
  flush();
  if (const auto done = fold_->kpi(request); !done)
    return tl::make_unexpected(fmt::format("{}: {}", done.error().field, done.error().reason));
  return {};
}

tl::expected<void, std::string> Replayer::label(const LabelRequest& request) {
  flush();
  const auto labelled = fold_->label(request);
  if (!labelled)
    return tl::make_unexpected(fmt::format("{}: {}", labelled.error().field, labelled.error().reason));
  if (fold_->take_boundary()) swap_when_proposed();
  return {};
}

void Replayer::flush() {
  if (scoring_->waiting() == 0) return;
  scoring_->score(
      *fold_, [](size_t) { return Scoring::kNoDeadline; },
      [&](size_t i, std::span<const float> row, const Answer& answer) {
        const Waiting& asked = waiting_[i];
        ++report_.rows;
        ++report_.decisions[static_cast<size_t>(answer.decision)];
        if (on_row_) on_row_(asked.transaction, row, asked.label);
        if (on_score_) on_score_(asked.transaction, answer, asked.label);
      });
  if (training_) training_->send();
}

void Replayer::swap_when_proposed() {
  if (!training_) return;
  training_->await();
  Proposal proposal;
  if (!training_->take_proposal(proposal)) return;
  swap(fold_->permitted(proposal.event), proposal.model);
}

void Replayer::swap(const ModelEvent& event, learners::ModelPtr model) {
  fold_->model(event, model);
  if (training_) training_->model_event(event, std::move(model));
  scoring_->models_changed(*fold_);
  report_.swaps.push_back({report_.rows, report_.days - 1, event});
}

tl::expected<void, std::string> Replayer::save_and_restore() {
  flush();
  std::vector<std::pair<std::string, std::string>> pieces;
  fold_->save([&](const char* part, std::string piece) { pieces.emplace_back(part, std::move(piece)); });
  std::string trainer_state;
  if (training_) {
    training_->await();
    trainer_state = trainer_->save();
    training_.reset();
  }
  const std::string champion_hash = fold_->champion_hash();
  const learners::ModelPtr champion = fold_->champion();
  const auto fallbacks = fold_->fallbacks();
  const Challenger challenger = fold_->challenger();
  if (!trainer_state.empty()) {
    auto trainer = std::make_unique<Trainer>(config_);
    if (auto ok = trainer->restore(trainer_state); !ok) return ok;
    begin_training(std::move(trainer));
  }
  fold_ = make_fold(config_, sink(), nullptr, setup_.keep_us);
  const auto load = [&](const std::string& hash) -> learners::ModelPtr {
    if (hash == champion_hash) return learners::load_model(learners::serialize(*champion)).value();
    for (const auto& [name, model] : fallbacks) {
      if (name == hash) return model;
    }
    return hash == challenger.hash ? challenger.model : nullptr;
  };
  for (const auto& [part, piece] : pieces) {
    if (auto ok = fold_->restore(part, piece, load); !ok) return ok;
  }
  begin_scoring();
  return {};
}

void Replayer::finish() {
  flush();
  report_.counters = fold_->counters();
  report_.monitors = fold_->watch_report();
  report_.features = fold_->feature_stats();
  report_.pending_bytes = fold_->pending_bytes();
  if (training_) training_->await();
  tell_learned();
  report_.learner_bytes = live_ ? live_->state_bytes() : training_ ? trainer_->state_bytes() : 0;
  if (live_) {
    report_.predicting = live_->predicting();
    report_.learning = live_->learning();
    report_.waiting = live_->waiting();
  } else if (training_ && setup_.time_calls) {
    report_.learning = timed_learner_.times();
  }
  report_.champion = fold_->champion_hash();
}

// With the trainer awaited.
void Replayer::tell_learned() {
  Learned& learned = report_.learned;
  learned.examples = fold_->examples();
  learned.frauds = fold_->counters().frauds;
  learned.stream_us = days_.length_us(fold_->watermark_us());
  if (live_) {
    learned.by = Learned::By::kLive;
    learned.learner_waits = live_->waits_for();
  } else if (!training_) {
    learned.by = Learned::By::kNothing;
  } else {
    learned.learner_waits = trainer_->learner_waits_for();
    learned.examples = trainer_->examples();
    learned.frauds = trainer_->frauds();
    learned.on_trial = trainer_->on_trial();
    learned.trial_examples = trainer_->trial_examples();
    learned.trial_frauds = trainer_->trial_frauds();
    learned.trial_examples_min = trainer_->trial_asks().examples_min;
    learned.trial_frauds_min = trainer_->trial_asks().frauds_min;
    learned.next_look = learners::next_look(trainer_->examples(), config_->training.every);
  }
}

}  // namespace shrike::engine
