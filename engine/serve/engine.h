// The engine thread: the one owner of the fold. Takes all waiting requests as one micro-batch, folds, scores
// and decides, and hands each on; never waits for training (but in awaited mode), for a checkpoint, or for a
// socket. engine.cc is the life of a transaction, top to bottom.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "engine/config/config.h"
#include "engine/fold/fold.h"
#include "engine/fold/policy.h"
#include "engine/log/history.h"
#include "engine/serve/checkpointer.h"
#include "engine/serve/journal.h"
#include "engine/threads/probe.h"
#include "engine/threads/queue.h"
#include "engine/threads/training_thread.h"
#include "engine/wire/request.h"

namespace shrike::engine {

// Microseconds of the steady clock: deadlines and latency only, never features.
int64_t now_us();

class Engine {
 public:
  // `handed_on` gets every envelope in order: the journal's queue (sync), or the socket thread's (async).
  using HandOn = std::function<void(EnvelopePtr)>;

  Engine(ConfigPtr config, std::unique_ptr<Fold> fold, StoreHistory& history, TrainingThread& training,
         Checkpointer& checkpointer, const Journal& journal, Probe& probe, size_t capacity, HandOn hand_on,
         bool config_is_new);
  ~Engine();

  void start();
  // Finishes what is queued, then ends the thread.
  void stop();

  // The socket thread's side: false when the queue is full.
  bool submit(EnvelopePtr envelope);
  Bell& bell() { return bell_; }

 private:
  void run();
  void process(std::vector<EnvelopePtr>& batch);
  void transaction(Envelope& envelope);
  void label(Envelope& envelope);
  void control(Envelope& envelope);
  void score_batch();
  void answer(Envelope& envelope, std::span<const float> row, float score, int64_t now);
  void hand_over(std::vector<EnvelopePtr>& batch, size_t until);
  void take_proposals();
  void swap(const ModelEvent& event, learners::ModelPtr model);
  void log_config();
  void checkpoint_when_due();
  std::string status() const;

  ConfigPtr config_;
  std::unique_ptr<Fold> fold_;
  StoreHistory& history_;
  TrainingThread& training_;
  Checkpointer& checkpointer_;
  const Journal& journal_;
  Probe& probe_;
  HandOn hand_on_;
  Queue<EnvelopePtr> inbound_;
  bool config_is_new_;
  Bell bell_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;

  // The micro-batch at work.
  std::vector<Envelope*> unscored_;
  std::vector<float> rows_, scores_;
  std::vector<double> contributions_;
  size_t handed_ = 0;
  NamedModel champion_;
  std::vector<NamedModel> fallbacks_;
  uint64_t next_checkpoint_ = 0;
};

}  // namespace shrike::engine
