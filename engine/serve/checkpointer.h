// Makes checkpoints beside the running engine, so that no request waits for one: its thread takes the last
// checkpoint, folds the tail of the log on its own, and saves the result with the trainer's state of the same
// moment. Every checkpoint thereby rehearses recovery, and compares each recomputed feature row with the
// logged one.
#pragma once

#include <atomic>
#include <string>

#include "engine/config/config.h"
#include "engine/serve/journal.h"
#include "engine/threads/loop.h"
#include "engine/threads/probe.h"
#include "engine/threads/queue.h"

namespace shrike::engine {

class Checkpointer {
 public:
  Checkpointer(ConfigPtr config, storage::Store& store, const Journal& journal, Probe& probe);
  void start();
  // Ends what is being made, too.
  void stop() { loop_.stop(); }

  // Any thread: whether a new checkpoint may be asked for.
  bool idle() const { return idle_.load(std::memory_order_acquire); }
  void reserve() { idle_.store(false, std::memory_order_release); }
  // Training thread: the trainer's state as of `sequence`.
  void request(uint64_t sequence, std::string trainer_state);

 private:
  struct Job {
    uint64_t sequence = 0;
    std::string trainer_state;
  };
  bool turn();
  void make(const Job& job);

  ConfigPtr config_;
  storage::Store& store_;
  const Journal& journal_;
  Probe& probe_;
  Queue<Job> jobs_{4};
  std::atomic<bool> idle_{true};
  Loop loop_;
};

}  // namespace shrike::engine
