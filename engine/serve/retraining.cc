#include "engine/serve/retraining.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

namespace shrike::engine {

Retrainer::Retrainer(ConfigPtr config, storage::Store& store, const Journal& journal, KeepModel keep,
                     RetrainFaults faults, int wait_ms)
    : config_(std::move(config)),
      store_(store),
      journal_(journal),
      keep_(std::move(keep)),
      faults_(std::move(faults)),
      wait_ms_(wait_ms) {}

Retrainer::~Retrainer() { stop(); }

void Retrainer::start(Bell& engine_bell) {
  engine_bell_ = &engine_bell;
  loop_.start({.name = "shrike-retrain",
               .begin =
                   [] {
                     // Of this thread alone: scoring comes first.
                     setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 10);
                   },
               .turn = [this] { return turn(); },
               .waiting = [this] { return !asked_.empty(); }});
}

void Retrainer::stop() {
  stop_.store(true);
  loop_.stop();
}

void Retrainer::begin(const Fold::Retraining& asked) {
  busy_ = true;
  asked_.push(Fold::Retraining(asked));
  loop_.ring();
}

bool Retrainer::take(Outcome& out) {
  if (!outcomes_.pop(out)) return false;
  busy_ = false;
  return true;
}

bool Retrainer::turn() {
  Fold::Retraining asked;
  if (!asked_.pop(asked)) return false;
  work(asked);
  return true;
}

void Retrainer::work(const Fold::Retraining& asked) {
  const auto pause = [&](int ms) {
    for (int waited = 0; waited < ms && !stop_.load(); waited += 10)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
  };
  while (journal_.committed() < asked.sequence && !stop_.load()) pause(10);
  RetrainError last;
  for (uint64_t attempt = 1; attempt <= config_->retraining.tries && !stop_.load(); ++attempt) {
    auto done = retrain(config_, store_, asked, attempt, stop_, faults_);
    if (done) {
      if (!keep_(*done)) return;
      outcomes_.push(Outcome(std::move(*done)));
      engine_bell_->ring();
      return;
    }
    last = done.error();
    if (last.failure == RetrainFailure::kStopped) return;
    spdlog::warn("retraining, try {} of {}: {}: {}", attempt, config_->retraining.tries, name(last.failure),
                 last.reason);
    if (last.failure == RetrainFailure::kValidation) break;  // the next one would find the same
    if (attempt < config_->retraining.tries) pause(wait_ms_ << (attempt - 1));
  }
  if (stop_.load()) return;
  JudgementEvent failed;
  failed.monitor = kRetraining;
  failed.subject = asked.asked.target;
  failed.finding = Finding::kFailed;
  failed.severity = Severity::kCritical;
  failed.text =
      fmt::format("retraining came to nothing, the champion stays: {} ({})", last.reason, name(last.failure));
  failed.evidence =
      nlohmann::json{{"asked_by", asked.sequence}, {"failure", name(last.failure)}, {"why", asked.asked.text}}
          .dump();
  outcomes_.push(Outcome(std::move(failed)));
  engine_bell_->ring();
}

}  // namespace shrike::engine
