#include "engine/replay/replay.h"

#include <fmt/format.h>

#include <chrono>
#include <deque>

#include "engine/log/recovery.h"
#include "engine/replay/csv.h"

namespace shrike::engine {
namespace {

using features::kDayUs;

// All ids of a replay, so that a duplicate gets the first answer however old it is.
class SeenIds {
 public:
  // The row of the first transaction with this id; kNone when it is new, which is then noted.
  uint64_t find_or_add(const Key& id) {
    const uint64_t row = index_.find(id);
    if (row == features::KeyIndex::kNone) index_.insert(id, next_++);
    return row;
  }

 private:
  features::KeyIndex index_;
  uint64_t next_ = 0;
};

struct DueLabel {
  int64_t due_us;
  Key transaction;
};

}  // namespace

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
  fold_ = std::make_unique<Fold>(config_, sink(), nullptr, setup_.keep_us);
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
  // The stream's own time runs; where a server judged, its mark is in the log.
  const auto seen = scoring_->take(*fold_, transaction, {.server_us = {}, .recorded = recorded});
  if (!seen) return tl::make_unexpected(fmt::format("{}: {}", seen.error().field, seen.error().reason));
  if (*seen) {
    ++report_.duplicates;
    return {};
  }
  if (scoring_->newest().clock == Clock::kOnTime) {
    if (first_day_ == INT64_MIN) first_day_ = transaction.time_us / kDayUs;
    report_.days = std::max(report_.days, static_cast<int>(transaction.time_us / kDayUs - first_day_) + 1);
  }
  Waiting& slot = waiting_[scoring_->waiting() - 1];
  slot.transaction = transaction;
  slot.label = label;
  if (fold_->take_boundary()) {
    flush();
    swap_when_proposed();
  } else if (scoring_->waiting() == setup_.batch) {
    flush();
  }
  return {};
}

void Replayer::repair(const RepairEvent& event) {
  flush();
  fold_->repair(event);
}

tl::expected<void, std::string> Replayer::label(const LabelRequest& request) {
  const auto labelled = fold_->label(request);
  if (!labelled)
    return tl::make_unexpected(fmt::format("{}: {}", labelled.error().field, labelled.error().reason));
  if (fold_->take_boundary()) {
    flush();
    swap_when_proposed();
  }
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
  fold_->model(proposal.event, proposal.model);
  training_->model_event(proposal.event, fold_->champion());
  scoring_->models_changed(*fold_);
  report_.swaps.push_back({report_.rows, report_.days - 1, proposal.event});
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
  if (!trainer_state.empty()) {
    auto trainer = std::make_unique<Trainer>(config_);
    if (auto ok = trainer->restore(trainer_state); !ok) return ok;
    begin_training(std::move(trainer));
  }
  fold_ = std::make_unique<Fold>(config_, sink(), nullptr, setup_.keep_us);
  const auto load = [&](const std::string& hash) -> learners::ModelPtr {
    if (hash == champion_hash) return learners::load_model(learners::serialize(*champion)).value();
    for (const auto& [name, model] : fallbacks) {
      if (name == hash) return model;
    }
    return nullptr;
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
  report_.features = fold_->feature_stats();
  report_.pending_bytes = fold_->pending_bytes();
  if (training_) training_->await();
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

tl::expected<ReplayReport, std::string> replay_csv(ConfigPtr config, const std::string& path,
                                                   const CsvReplayOptions& options,
                                                   const Replayer::OnScore& on_score) {
  auto opened = CsvReader::open(path, config->schema(), true);
  if (!opened) return tl::make_unexpected(opened.error());
  CsvReader& reader = **opened;
  if (!reader.ignored_columns().empty() && options.notice) {
    std::string names;
    for (const std::string& name : reader.ignored_columns()) names += (names.empty() ? "" : ", ") + name;
    options.notice("columns that the schema does not name are left out: " + names);
  }
  Replayer replayer(config,
                    {.batch = options.batch,
                     .keep_us = options.label_delay_us,
                     .fixed_model = options.fixed_model,
                     .first_model = options.first_model,
                     .live = options.live,
                     .time_calls = options.time_calls},
                    on_score);
  replayer.show_rows(options.on_row);
  ReplayReport& report = replayer.report();
  const auto started = std::chrono::steady_clock::now();
  SeenIds seen;
  std::deque<DueLabel> due;  // frauds whose label is on its way; silence tells of the rest
  Transaction transaction;
  int label = -1;
  const auto bad = [&](const std::string& what) -> tl::expected<void, std::string> {
    if (options.stop_on_error)
      return tl::make_unexpected(what + " (--on-error skip goes on without such lines)");
    if (options.notice && report.skipped < 10) options.notice("skipped: " + what);
    ++report.skipped;
    return {};
  };
  uint64_t lines = 0;
  for (CsvReader::Line line; (line = reader.next(transaction, label)) != CsvReader::Line::kEnd;) {
    if (line == CsvReader::Line::kBroken) return tl::make_unexpected(reader.error());
    if (line == CsvReader::Line::kBad) {
      if (auto ok = bad(reader.error()); !ok) return tl::make_unexpected(ok.error());
      continue;
    }
    // Every label that is due by now comes before this transaction.
    while (!due.empty() && due.front().due_us <= transaction.time_us) {
      // Its transaction is known and its label new: nothing can refuse it.
      (void)replayer.label(
          {due.front().transaction, Verdict::kFraud, Source::kChargeback, due.front().due_us});
      due.pop_front();
    }
    if (seen.find_or_add(transaction.id) != features::KeyIndex::kNone) {
      ++report.duplicates;
      continue;
    }
    if (auto done = replayer.transaction(transaction, label); !done) {
      ++report.refused;
      if (auto ok = bad(fmt::format("{}:{}: {}", path, reader.line_number(), done.error())); !ok)
        return tl::make_unexpected(ok.error());
      continue;
    }
    if (label == 1) {
      DueLabel one{transaction.time_us + options.label_delay_us, transaction.id};
      auto at = due.end();
      while (at != due.begin() && std::prev(at)->due_us > one.due_us) --at;
      due.insert(at, one);
    }
    ++lines;
    if (options.restore_at && lines == *options.restore_at) {
      if (auto ok = replayer.save_and_restore(); !ok) return tl::make_unexpected(ok.error());
    }
    if (options.progress && lines % 8192 == 0) options.progress(reader.progress(), lines);
  }
  replayer.finish();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return std::move(report);
}

}  // namespace shrike::engine
