// Writes a data directory as a server would, without one: fold, scoring, training and log on one thread, so
// that tests of commands that read a log get months of it in seconds.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/fold/scoring.h"
#include "engine/fold/trainer.h"
#include "engine/lifecycle/lifecycle.h"
#include "engine/log/history.h"
#include "storage/store.h"

namespace shrike::tools {

class Recorder {
 public:
  Recorder(const engine::ConfigPtr& config, const std::string& dir)
      : config_(config), store_(std::move(*storage::Store::open(dir, {}))), trainer_(config) {
    EXPECT_TRUE(store_->put_meta("config", config->text));
    EXPECT_TRUE(store_->put_meta("plan", fmt::format("{:016x}", config->plan->fingerprint)));
    history_ = std::make_unique<engine::StoreHistory>(*store_, config->plan);
    history_->before_look_up = [this] { flush(); };
    fold_ = engine::make_fold(config, trainer_, history_.get());
    scoring_ = std::make_unique<engine::Scoring>(config, *fold_);
    event(engine::ConfigEvent{config->text, config->plan->fingerprint});
  }
  ~Recorder() { flush(); }

  // Nothing that is learned takes over from now on.
  void stop_training() { trains_ = false; }

  engine::Answer transact(const engine::Transaction& transaction) {
    engine::Answer given;
    const auto seen = scoring_->take(*fold_, transaction, {});
    EXPECT_TRUE(seen && !*seen);
    const uint64_t sequence = scoring_->newest().sequence;
    scoring_->score(
        *fold_, [](size_t) { return engine::Scoring::kNoDeadline; },
        [&](size_t, std::span<const float> row, const engine::Answer& answer) {
          given = answer;
          Written& one = written_.emplace_back();
          one.sequence = sequence;
          one.transaction = engine::to_bytes(transaction.id);
          engine::encode(config_->schema(),
                         engine::TransactionEvent{transaction, {row.begin(), row.end()}, answer}, one.bytes);
        });
    follow();
    if (written_.size() >= kGroup) flush();
    return given;
  }
  void label(const engine::Key& transaction, bool fraud, engine::Source source, int64_t time_us) {
    const auto done = fold_->label(
        {transaction, fraud ? engine::Verdict::kFraud : engine::Verdict::kLegitimate, source, time_us});
    ASSERT_TRUE(done) << done.error().reason;
    if (done->event.outcome == engine::Effect::kDuplicate) return;
    Written& one = written_.emplace_back();
    one.sequence = done->sequence;
    one.labelled = engine::to_bytes(transaction);
    one.label = engine::encode(done->state);
    engine::encode(done->event, one.bytes);
    follow();
  }
  // Activated by hand.
  void activate(const learners::ModelPtr& model) {
    const std::string bytes = learners::serialize(*model);
    EXPECT_TRUE(store_->put_model(learners::content_hash(bytes), bytes));
    swap({engine::ModelAction::kActivated, 0, learners::content_hash(bytes), ""}, model);
    follow();
  }
  // Any event that the fold only counts.
  template <typename Event>
  void event(const Event& event) {
    write(event, fold_->skip());
  }
  void flush() {
    std::vector<storage::Record> records;
    for (const Written& one : written_) {
      storage::Record record{.sequence = one.sequence, .value = one.bytes, .transaction = one.transaction};
      if (one.labelled) record.label = storage::LabelEntry{*one.labelled, one.label};
      records.push_back(record);
    }
    if (!records.empty()) {
      EXPECT_TRUE(store_->append(records, false));
    }
    written_.clear();
  }

 private:
  static constexpr size_t kGroup = 1024;
  struct Written {
    uint64_t sequence = 0;
    std::string bytes, label;
    std::optional<storage::Key> transaction, labelled;
  };

  template <typename Event>
  void write(const Event& event, uint64_t sequence) {
    Written& one = written_.emplace_back();
    one.sequence = sequence;
    engine::encode(event, one.bytes);
  }
  void swap(const engine::ModelEvent& event, const learners::ModelPtr& model) {
    write(event, fold_->model(event, model));
    trainer_.model_event(event, model);
    scoring_->models_changed(*fold_);
  }
  // What monitors judged, and what the gate decided.
  void follow() {
    while (const engine::JudgementEvent* made = fold_->next_judgement()) {
      const engine::JudgementEvent judgement = *made;
      write(judgement, fold_->judgement(judgement));
      if (const auto change = fold_->change_by(judgement)) swap(change->event, change->model);
    }
    if (!fold_->take_boundary() || !trains_ || !trainer_.proposal()) return;
    const engine::Proposal proposal = *trainer_.proposal();
    if (proposal.event.action == engine::ModelAction::kAccepted) {
      EXPECT_TRUE(store_->put_model(proposal.event.model, proposal.bytes));
    }
    swap(fold_->permitted(proposal.event), proposal.model);
  }

  engine::ConfigPtr config_;
  std::unique_ptr<storage::Store> store_;
  engine::Trainer trainer_;
  std::unique_ptr<engine::StoreHistory> history_;
  std::unique_ptr<engine::Fold> fold_;
  std::unique_ptr<engine::Scoring> scoring_;
  std::deque<Written> written_;
  bool trains_ = true;
};

}  // namespace shrike::tools
