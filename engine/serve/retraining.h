// Retraining on a thread of its own, at low priority: the engine thread asks, goes on, and finds what came of
// it. A try that fails is done again after a while, differently where that may help (see log/retrain.h);
// after retraining.tries the champion stays and an alert says why. What was asked for and not done when a
// server ended is done by the next.
#pragma once

#include <atomic>
#include <functional>
#include <variant>

#include "engine/log/retrain.h"
#include "engine/serve/journal.h"
#include "engine/threads/loop.h"
#include "engine/threads/queue.h"

namespace shrike::engine {

class Retrainer {
 public:
  // Of either kind: a model that is on the disk, or a judgement that it came to nothing.
  using Outcome = std::variant<Retrained, JudgementEvent>;
  // Makes a model durable; false stops it. On the retraining thread.
  using KeepModel = std::function<bool(const Retrained&)>;

  // `wait_ms`: before the second try, doubled for each further one.
  // The journal says when the event that asked is on the disk.
  Retrainer(ConfigPtr config, storage::Store& store, const Journal& journal, KeepModel keep,
            RetrainFaults faults = {}, int wait_ms = 1000);
  ~Retrainer();
  void start(Bell& engine_bell);
  void stop();

  // The engine thread's side. One at a time: nothing may be under way.
  void begin(const Fold::Retraining& asked);
  bool busy() const { return busy_; }
  bool take(Outcome& out);
  bool has_outcome() const { return !outcomes_.empty(); }

 private:
  bool turn();
  void work(const Fold::Retraining& asked);

  ConfigPtr config_;
  storage::Store& store_;
  const Journal& journal_;
  KeepModel keep_;
  RetrainFaults faults_;
  int wait_ms_;
  Queue<Fold::Retraining> asked_{4};
  Queue<Outcome> outcomes_{4};
  bool busy_ = false;  // as the engine thread knows it
  std::atomic<bool> stop_{false};
  Bell* engine_bell_ = nullptr;
  Loop loop_;
};

}  // namespace shrike::engine
