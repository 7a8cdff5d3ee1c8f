// The journal thread: writes events to the log in groups and hands envelopes on once their group is on disk.
// Takes envelopes in order of sequence from one producer; after it hands one on, its event survives kill -9
// (and, when the group was synced, a power cut). When the disk fails nothing is acknowledged: the waiting
// requests get a storage error, their events are kept and tried again, and failed() is true until they are
// written.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include <zmq.hpp>

#include "engine/config/config.h"
#include "engine/threads/loop.h"
#include "engine/threads/probe.h"
#include "engine/threads/queue.h"
#include "engine/wire/request.h"

namespace shrike::storage {
class Store;
}

namespace shrike::engine {

class Alerts;

class Journal {
 public:
  // Announces what it has written on `events` (a bound PUB socket, which it owns from now on, or none), and
  // to `alerts` what was judged, if there are some.
  Journal(ConfigPtr config, storage::Store& store, Probe& probe, zmq::socket_t events, size_t capacity,
          Alerts* alerts = nullptr);

  // Producer's side.
  void push(EnvelopePtr envelope);
  // Consumer's side: what is written, in order; `done_bell` rings when there is something.
  Queue<EnvelopePtr>& done() { return done_; }
  void start(Bell& done_bell);
  // Writes what was pushed and ends the thread.
  void stop() { loop_.stop(); }

  // Any thread.
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  uint64_t committed() const { return committed_.load(std::memory_order_acquire); }
  // Blocks until `sequence` is written (or the journal fails).
  void wait_for(uint64_t sequence) const;

 private:
  bool turn();
  void write(std::vector<EnvelopePtr>& group);
  void keep(std::vector<EnvelopePtr>& group);
  void retry();
  bool append(const std::vector<EnvelopePtr>& group);
  void announce(const Envelope& envelope);
  void announce_judgement(uint64_t sequence, const JudgementEvent& event);
  void alert(const std::string& text);
  enum class Topic : uint8_t { kDecision, kModel, kJudgement, kAlert };
  void publish(Topic topic, std::string& json);
  void hand_on(EnvelopePtr envelope);

  ConfigPtr config_;
  storage::Store& store_;
  Probe& probe_;
  zmq::socket_t events_;
  std::array<uint64_t, 4> published_{};  // by topic
  std::string start_;                    // names this start to subscribers
  Alerts* alerts_;
  Queue<EnvelopePtr> queue_, done_;
  Bell* done_bell_ = nullptr;
  std::atomic<bool> failed_{false};
  std::atomic<uint64_t> committed_{0};
  std::vector<EnvelopePtr> group_;  // in hand
  std::vector<EnvelopePtr> kept_;   // while failed: folded, not written, in order of sequence
  std::chrono::steady_clock::time_point next_retry_;
  std::string text_;
  Loop loop_;
};

}  // namespace shrike::engine
