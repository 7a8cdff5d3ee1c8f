// What a server is made of behind its sockets, put together: store, models, fold, training, journal,
// checkpoints, engine. Opens the data directory and recovers; the server then moves requests in and out.
// Members are public: this is a list of parts, with the order in which they begin and end.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include <tl/expected.hpp>
#include <zmq.hpp>

#include "engine/config/config.h"
#include "engine/log/history.h"
#include "engine/log/recovery.h"
#include "engine/serve/alerts.h"
#include "engine/serve/checkpointer.h"
#include "engine/serve/engine.h"
#include "engine/serve/journal.h"
#include "engine/threads/probe.h"
#include "engine/threads/training_thread.h"
#include "engine/threads/worker_pool.h"
#include "storage/store.h"

namespace shrike::engine {

// How many envelopes any queue may hold: of each of two sockets as many as may wait, and as many refusals.
inline size_t queue_capacity(const Config& config) { return 4 * config.sockets.queue_requests_max + 64; }

// The project's version, from CMakeLists.txt.
extern const char* const kServerVersion;

struct Composition {
  // `events` may be no socket: then nothing is announced. `hand_on` gets envelopes from the engine and pushes
  // them to the journal sooner or later, in order; none: they go there at once. Errors are sentences that say
  // what to do.
  static tl::expected<std::unique_ptr<Composition>, std::string> open(ConfigPtr config,
                                                                      const std::string& data_dir,
                                                                      zmq::socket_t events,
                                                                      Engine::HandOn hand_on);
  ~Composition();

  // `done` rings when the journal has handed something on, or the engine has taken what somebody waits for.
  void start(Bell& done);
  // The same without the engine's thread (see Engine::start_here()).
  void start_here(Bell& done);
  // The engine is stopped by now; the rest follows, and what was learned is kept in a checkpoint. Alerts that
  // wait get their last chance at the very end.
  void stop_behind_engine();
  void checkpoint_at_end();

  ConfigPtr config;
  Probe probe;
  std::unique_ptr<storage::Store> store;
  std::unique_ptr<ModelBook> models;
  std::unique_ptr<StoreHistory> history;
  std::unique_ptr<Alerts> alerts;
  std::unique_ptr<Journal> journal;
  std::unique_ptr<Checkpointer> checkpointer;
  std::unique_ptr<Retrainer> retrainer;
  std::unique_ptr<WorkerPool> workers;
  std::unique_ptr<TrainingThread> training;
  std::unique_ptr<Engine> engine;
  std::atomic<bool> stopping{
      false};                // the server shall end; a model that cannot be kept is not tried for ever
  uint64_t started_at = 0;   // the last event that the newest checkpoint has
  uint64_t tail_events = 0;  // events that were folded after it

 private:
  void start_behind_engine(Bell& done);
  struct State {
    std::unique_ptr<Fold> fold;
    std::unique_ptr<Trainer> trainer;
  };
  explicit Composition(ConfigPtr with) : config(std::move(with)) {}
  tl::expected<void, std::string> check_plan(const std::string& data_dir) const;
  State begin();
  tl::expected<State, std::string> restore();
  tl::expected<State, std::string> recover(const std::string& data_dir);
  bool keep(const Proposal& proposal);
  bool keep_model(const std::string& hash, const std::string& bytes);
  StartEvent start_event() const;
  tl::expected<bool, std::string> note_config();
};

}  // namespace shrike::engine
