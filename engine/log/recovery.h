// From the log back to the fold: latest checkpoint, then the tail. The same code recovers a server, makes a
// checkpoint beside a running one, and replays a log as it was recorded. Functions of the store; one thread
// each.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <tl/expected.hpp>

#include "engine/fold/fold.h"
#include "engine/fold/trainer.h"
#include "engine/log/history.h"

namespace shrike::storage {
class Store;
}

namespace shrike::engine {

// Loads models by their hash from the store, each once.
class ModelBook {
 public:
  ModelBook(const storage::Store& store, ConfigPtr config);
  // Null when it is missing or damaged (and logs why). The prior model is always there.
  learners::ModelPtr load(const std::string& hash);
  void add(const std::string& hash, learners::ModelPtr model) { models_[hash] = std::move(model); }

 private:
  const storage::Store& store_;
  std::map<std::string, learners::ModelPtr> models_;
};

struct FoldReport {
  uint64_t events = 0;
  uint64_t transactions = 0;
  uint64_t row_differences =
      0;  // feature rows that differ from what was logged: never, unless there is a bug
  uint64_t first_difference = 0;
  uint64_t arms_different = 0;        // answered by another arm than the challenger's share says: never
  uint64_t judgements_different = 0;  // those by hand, and those that the log's monitors would not make
};

// What a caller wants to see of each event, after it was folded.
using Observer = std::function<void(uint64_t sequence, const Event& event)>;

// Folds the log's events `from`..`to` (both included). `trainer` may be null.
tl::expected<FoldReport, std::string> fold_log(const storage::Store& store, ModelBook& models, Fold& fold,
                                               Trainer* trainer, uint64_t from, uint64_t to,
                                               const Observer& observer);

// Restores the newest usable checkpoint into a fresh fold and trainer (null: not wanted). Returns its
// sequence; 0 when there is none.
tl::expected<uint64_t, std::string> restore_checkpoint(storage::Store& store, ModelBook& models, Fold& fold,
                                                       Trainer* trainer);

// Without a learner, from the oldest checkpoint that is whole: for a replay of what retention has left.
tl::expected<uint64_t, std::string> restore_oldest_checkpoint(storage::Store& store, ModelBook& models,
                                                              Fold& fold);

// Without a learner: the newest checkpoint and what the log has after it, up to event `to`.
tl::expected<FoldReport, std::string> restore_and_fold(storage::Store& store, ModelBook& models, Fold& fold,
                                                       uint64_t to);

// Writes a checkpoint.
tl::expected<void, std::string> write_checkpoint(storage::Store& store, uint64_t sequence, const Fold& fold,
                                                 const std::string& trainer_state);

// Examples that go nowhere.
class NoExamples : public ExampleSink {
 public:
  void learn(const Example&) override {}
};

}  // namespace shrike::engine
