// Replays: a CSV through the whole fold as if it were live (features, scores, delayed labels, learning, gate,
// swaps), or a data directory's log as it was recorded or with another configuration or model. No socket, no
// clock: training runs beside the fold and is awaited wherever a model may take over, so the same input gives
// the same bits, on however many threads it learns (training.threads). Called from one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "engine/config/config.h"
#include "engine/fold/fold.h"
#include "engine/fold/scoring.h"
#include "engine/replay/live_learner.h"
#include "engine/replay/prequential.h"
#include "engine/replay/timed_learner.h"
#include "engine/threads/training_thread.h"
#include "engine/threads/worker_pool.h"

namespace shrike::storage {
class Store;
}

namespace shrike::engine {

struct Swap {
  uint64_t row = 0;  // transactions before it
  int day = 0;
  ModelEvent event;
};

// What was learned, and what a model that learned from it still waits for.
struct Learned {
  enum class By { kGate, kLive, kNothing, kLog };  // kNothing: a fixed model; kLog: a log as recorded
  By by = By::kGate;
  uint64_t examples = 0, frauds = 0;
  uint64_t labels_outstanding = 0;  // frauds of a CSV whose label would have come after its end
  int64_t stream_us = 0;            // from the first to the newest event
  int64_t label_delay_us = 0;       // of a CSV's frauds
  bool on_trial = false;
  uint64_t trial_examples = 0, trial_frauds = 0;
  uint64_t trial_examples_min = 0, trial_frauds_min = 0;  // what the gate asks of it: see fold/gate.h
  uint64_t next_look = 0;                                 // examples at the next look for a candidate
  std::string learner_waits;                              // for what; "" once it is ready
};

struct ReplayReport {
  // `skipped`: lines that could not be read; `refused`: events that the fold refused.
  uint64_t rows = 0, skipped = 0, duplicates = 0, refused = 0;
  std::vector<std::string> refusals;  // why, of the first kRefusalsMax that were skipped or refused
  static constexpr size_t kRefusalsMax = 10;
  Learned learned;
  int days = 0;
  double seconds = 0;
  uint64_t decisions[3] = {0, 0, 0};
  Counters counters;
  std::vector<Swap> swaps;  // accepted and rejected candidates
  struct Judged {
    uint64_t row = 0;
    int day = 0;
    JudgementEvent event;
  };
  std::vector<Judged> judgements;
  std::vector<features::EntityStats> features;
  size_t pending_bytes = 0, learner_bytes = 0;
  std::string champion;
  // With Setup::time_calls or live: scoring one row, and learning one example.
  CallTimes predicting, learning;
  CallTimes waiting;  // of a live learner: see LiveLearner::waiting()
  // Of a log replayed as recorded. After retention it begins at the oldest checkpoint.
  uint64_t first_event = 1, last_event = 0;
  uint64_t scores_compared = 0, scores_different = 0, rows_different = 0;
  uint64_t arms_different = 0;        // answered by another arm than a challenger's share says: never
  std::string monitors;               // where they stand at the end: a JSON object by name
  uint64_t judgements_different = 0;  // those by hand, and those that the log's monitors would not make again

  size_t state_bytes() const;
  void add_refusal(std::string why) {
    if (refusals.size() < kRefusalsMax) refusals.push_back(std::move(why));
  }
};

// Runs transactions and labels through a fold with awaited training. replay_csv() and replay_log() drive it.
class Replayer {
 public:
  // What was answered, in order. `transaction` is valid during the call.
  using OnScore = std::function<void(const Transaction& transaction, const Answer& answer, int label)>;
  // The feature row that was scored, which is also what is learned from when the label comes; before OnScore
  // of the same transaction.
  using OnRow = std::function<void(const Transaction& transaction, std::span<const float> row, int label)>;

  struct Setup {
    size_t batch = 256;
    int64_t keep_us = 0;             // how late labels may come and still find their transaction
    learners::ModelPtr fixed_model;  // scores with it throughout; nothing is learned
    learners::ModelPtr first_model;  // champion at first; learning goes on from it if it was made elsewhere
    bool live =
        false;  // no champion: the learner itself answers as it stands (see live_learner.h), row by row
    bool time_calls = false;  // the champion on one row of each batch, and learning
  };
  Replayer(ConfigPtr config, Setup setup, OnScore on_score);

  // Returns the reason when the fold refuses the transaction.
  tl::expected<void, std::string> transaction(const Transaction& transaction, int label,
                                              Clock recorded = Clock::kOnTime);
  tl::expected<void, std::string> label(const LabelRequest& request);
  tl::expected<void, std::string> outcome(const OutcomeRequest& request);
  tl::expected<void, std::string> kpi(const KpiRequest& request);
  void repair(const RepairEvent& event);
  void flush();
  // Saves fold and trainer, and goes on from what was saved.
  tl::expected<void, std::string> save_and_restore();
  ReplayReport& report() { return report_; }
  void show_rows(OnRow on_row) { on_row_ = std::move(on_row); }
  void finish();
  const Fold& fold() const { return *fold_; }

 private:
  struct Waiting {
    Transaction transaction;
    int label;
  };
  ExampleSink& sink();
  void begin_scoring();
  void score(learners::MatrixView rows, std::span<float> scores);
  void begin_training(std::unique_ptr<Trainer> trainer);
  void swap_when_proposed();
  void take_judgements();
  void swap(const ModelEvent& event, learners::ModelPtr model);
  void tell_learned();

  ConfigPtr config_;
  Setup setup_;
  OnScore on_score_;
  OnRow on_row_;
  WorkerPool workers_;
  Probe probe_;
  Bell bell_;
  TimedLearner timed_learner_;
  Trainer* trainer_ = nullptr;  // the training thread's; ours while it is awaited
  std::unique_ptr<TrainingThread> training_;
  std::unique_ptr<LiveLearner> live_;
  std::unique_ptr<ExampleSink> no_examples_;
  std::unique_ptr<Fold> fold_;
  std::vector<Waiting> waiting_;  // what scoring_ has waiting, by its place there
  std::optional<Scoring> scoring_;
  StreamDays days_;
  ReplayReport report_;
};

struct CsvReplayOptions {
  size_t batch = 256;
  int64_t label_delay_us = 0;
  // What becomes of labels: all are known whatever was decided, as a file tells them; or, as in life, what
  // was declined gets none (unless it is of the control group) and reviewers give their verdict.
  bool hide_declined = false;
  // As an engine that takes silence after a decline for legitimate, to see what that does.
  bool naive = false;
  bool exponential_delay = false;  // of mean label_delay_us, by a hash of the transaction; else fixed
  bool stop_on_error = true;
  std::optional<uint64_t> restore_at;           // save and restore after this many rows
  learners::ModelPtr fixed_model, first_model;  // see Replayer::Setup
  bool live = false, time_calls = false;        // see Replayer::Setup
  Replayer::OnRow on_row;
  std::function<void(double share, uint64_t rows)> progress;
  std::function<void(const std::string&)> notice;
};

tl::expected<ReplayReport, std::string> replay_csv(ConfigPtr config, const std::string& path,
                                                   const CsvReplayOptions& options,
                                                   const Replayer::OnScore& on_score);

// As recorded: every event of the log is folded again, every score recomputed with the model that answered
// and compared to the bit. The label handed to `on_score` is what the log says by its end.
tl::expected<ReplayReport, std::string> replay_recorded(ConfigPtr config, storage::Store& store,
                                                        const std::function<void(double, uint64_t)>& progress,
                                                        const Replayer::OnScore& on_score,
                                                        const Replayer::OnRow& on_row = nullptr);

// With another configuration or model: transactions and labels come as they did, all else is new.
tl::expected<ReplayReport, std::string> replay_log(ConfigPtr recorded, ConfigPtr config,
                                                   storage::Store& store, size_t batch,
                                                   learners::ModelPtr fixed_model,
                                                   const std::function<void(double, uint64_t)>& progress,
                                                   const Replayer::OnScore& on_score,
                                                   Replayer::OnRow on_row = nullptr);

}  // namespace shrike::engine
