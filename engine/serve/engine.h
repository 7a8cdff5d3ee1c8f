// The engine thread: the one owner of the fold. Takes all waiting requests as one micro-batch, folds, scores
// and decides, and hands each on; never waits for training (but in awaited mode), for a checkpoint, or for a
// socket. engine.cc is the life of a transaction, top to bottom.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "engine/config/config.h"
#include "engine/fold/fold.h"
#include "engine/fold/scoring.h"
#include "engine/log/history.h"
#include "engine/serve/checkpointer.h"
#include "engine/serve/journal.h"
#include "engine/serve/machine_meter.h"
#include "engine/serve/reasons_budget.h"
#include "engine/serve/retraining.h"
#include "engine/threads/loop.h"
#include "engine/threads/probe.h"
#include "engine/threads/queue.h"
#include "engine/threads/training_thread.h"
#include "engine/wire/request.h"

namespace shrike::engine {

class Engine {
 public:
  // `handed_on` gets every envelope in order: the journal's queue (sync), or the socket thread's (async).
  using HandOn = std::function<void(EnvelopePtr)>;

  // What it works with; everything but the fold outlives it.
  struct Parts {
    ConfigPtr config;
    std::unique_ptr<Fold> fold;
    StoreHistory& history;
    TrainingThread& training;
    Checkpointer& checkpointer;
    const Journal& journal;
    Retrainer& retrainer;
    Probe& probe;
    size_t capacity = 0;  // of the queue of requests
    HandOn hand_on;
    bool config_is_new = false;  // it begins with an event of its own
    StartEvent start;            // and this one
  };
  explicit Engine(Parts parts);

  // `room` rings when somebody waits for room in the queue (see wake_when_taken()).
  void start(Bell& room);
  // In place of start(): there is no thread, and handle() does on the caller's, one at a time, what the
  // thread does with a request. All that it hands on has been handed on when it returns.
  void start_here() { begin(); }
  void handle(EnvelopePtr envelope);
  // Finishes what is queued, then ends the thread.
  void stop() { loop_.stop(); }

  // The socket thread's side: false when the queue is full.
  bool submit(EnvelopePtr envelope);
  // How many requests it has taken into a batch, those apart that were refused before they were submitted.
  uint64_t taken() const { return taken_.load(std::memory_order_acquire); }
  // The bell of start() rings, once, when the next batch has been taken.
  void wake_when_taken() { wake_when_taken_.store(true); }
  Bell& bell() { return loop_.bell(); }
  // After stop(): the state after the last event, for a checkpoint.
  Fold& fold() { return *parts_.fold; }

 private:
  bool turn();
  void process();
  void transaction(Envelope& envelope, asked::Score& score);
  void label(Envelope& envelope, asked::Label& label);
  void outcome(Envelope& envelope, asked::Outcome& outcome);
  void kpi(Envelope& envelope, asked::Kpi& kpi);
  Result<void> control(asked::Control& control);
  Result<void> judge(asked::Control& control);
  Result<void> test(asked::Control& control);
  Result<void> check_date(const std::optional<int64_t>& dated_us) const;
  void log(std::variant<ModelEvent, ConfigEvent, JudgementEvent, MachineEvent, StartEvent> event,
           uint64_t sequence);
  void score_batch();
  void tell_of_clock(const Transaction& transaction, Clock clock) const;
  bool refused_by_storage(Envelope& envelope) const;
  void hand_over(size_t until);
  void take_proposals();
  void look_after_retraining();
  void take_judgements(size_t until);
  int64_t event_time_us() const;
  void follow(const JudgementEvent& judgement);
  void keep_pace();
  void write_down(const JudgementEvent& judgement);
  void swap(const ModelEvent& event, learners::ModelPtr model);
  void begin();
  void measure_machine();
  void checkpoint_when_due();

  Parts parts_;
  Queue<EnvelopePtr> inbound_;
  std::atomic<uint64_t> taken_{0};
  std::atomic<bool> wake_when_taken_{false};
  Bell* room_ = nullptr;

  // The micro-batch at work.
  std::vector<EnvelopePtr> batch_;
  Scoring scoring_;
  std::vector<asked::Score*> unscored_;  // as they wait in scoring_
  ReasonsBudget reasons_;
  size_t handed_ = 0;
  ClockSource clock_;  // as the batch began
  uint64_t next_checkpoint_ = 0;
  MachineMeter meter_;
  Loop loop_;
};

}  // namespace shrike::engine
