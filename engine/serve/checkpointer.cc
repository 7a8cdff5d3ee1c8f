#include "engine/serve/checkpointer.h"

#include <spdlog/spdlog.h>

#include <chrono>
#include <thread>

#include "engine/lifecycle/lifecycle.h"
#include "engine/log/recovery.h"
#include "engine/serve/clocks.h"
#include "storage/store.h"

namespace shrike::engine {

Checkpointer::Checkpointer(ConfigPtr config, storage::Store& store, const Journal& journal, Probe& probe)
    : config_(std::move(config)), store_(store), journal_(journal), probe_(probe) {}

void Checkpointer::start() {
  loop_.start({.name = "shrike-check",
               .begin = yield_to_requests,
               .turn = [this] { return turn(); },
               .waiting = [this] { return !jobs_.empty(); },
               .look_every_ms = 200});
}

void Checkpointer::request(uint64_t sequence, std::string trainer_state) {
  Job job{sequence, std::move(trainer_state)};
  if (jobs_.push(std::move(job))) loop_.ring();
}

bool Checkpointer::turn() {
  Job job;
  if (loop_.stopping() || !jobs_.pop(job)) return false;
  make(job);
  idle_.store(true, std::memory_order_release);
  return true;
}

void Checkpointer::make(const Job& job) {
  while (journal_.committed() < job.sequence) {
    if (loop_.stopping()) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  NoExamples nowhere;
  StoreHistory history(store_, config_->plan);
  const std::unique_ptr<Fold> folding = make_fold(config_, nowhere, &history);
  Fold& fold = *folding;
  ModelBook models(store_, config_);
  const auto folded = restore_and_fold(store_, models, fold, job.sequence);
  if (!folded) {
    spdlog::error("checkpoint: {}", folded.error());
    return;
  }
  if (folded->row_differences > 0) {
    probe_.divergences.fetch_add(folded->row_differences);
    spdlog::error("{} feature rows recomputed from the log differ from those served, the first at event {}",
                  folded->row_differences, folded->first_difference);
  }
  const std::optional<int64_t> arrived_us = server_time_us(*config_);
  fold.mark_epoch(arrived_us);
  if (auto written = write_checkpoint(store_, job.sequence, fold, job.trainer_state); !written) {
    spdlog::error("checkpoint: {}", written.error());
    return;
  }
  probe_.checkpoints.fetch_add(1);
  spdlog::debug("checkpoint at event {}", job.sequence);
  if (config_->storage.retention_us == 0) return;
  const uint64_t before = fold.sequence_to_keep(arrived_us);
  if (before <= store_.first_sequence()) return;
  const auto key = [&](std::string_view bytes) -> std::optional<storage::Key> {
    Key found;
    if (!transaction_key(config_->schema(), bytes, found)) return std::nullopt;
    return to_bytes(found);
  };
  if (auto trimmed = store_.trim_before(before, key); !trimmed)
    spdlog::error("retention: {}", trimmed.error().reason);
}

}  // namespace shrike::engine
