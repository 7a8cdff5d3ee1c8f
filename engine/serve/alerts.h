// Alerts of what monitors judge, to the sinks of [alerts], on a thread of their own: nobody waits for a
// webhook. Each sink gets them in the order of the log; one that fails is tried again, and holds up no other
// but by its attempts' time.
//
// Once take() was called each alert is delivered at least once to every sink, also by the next start, unless
// it is given up after AlertPace::tries_max or there is no room: both are logged and counted. How far each
// sink has come is kept in DATA/alerts.json; what came after it is found in the log again.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <tl/expected.hpp>

#include "engine/config/config.h"
#include "engine/lifecycle/alert_book.h"
#include "engine/serve/alert_sinks.h"
#include "engine/threads/loop.h"
#include "engine/threads/probe.h"
#include "engine/threads/queue.h"

namespace shrike::storage {
class Store;
}

namespace shrike::engine {

// How patient a sink is tried. The waits double from the first to the longest; as they stand, an alert is
// given up after about an hour.
struct AlertPace {
  int64_t first_wait_us = 1'000'000;
  int64_t longest_wait_us = 300'000'000;
  int tries_max = 20;
  int64_t attempt_us = 10'000'000;  // of one attempt
  int64_t stop_us = 5'000'000;      // at a stop: what is waiting is tried once more, all together for so long
};

class Alerts {
 public:
  static constexpr size_t kWaitingMax = 1024;       // alerts; beyond it the oldest is dropped
  static constexpr uint64_t kLookBack = 1'000'000;  // events that a start looks through at most

  // Without sinks there is neither thread nor file. An error says which sink cannot work.
  static tl::expected<std::unique_ptr<Alerts>, std::string> open(const ConfigPtr& config,
                                                                 const storage::Store& store,
                                                                 const std::string& data_dir, Probe& probe,
                                                                 const AlertPace& pace = {});
  ~Alerts();
  void start();
  // Tries once more what waits, within AlertPace::stop_us after the attempt under way.
  void stop();

  // The journal thread's side. A judgement is in the log; returned is what is told of it, if anything. Never
  // waits.
  std::optional<Alert> take(uint64_t sequence, const JudgementEvent& event);
  // All that is in the log up to this event has been taken.
  void passed(uint64_t sequence) { passed_.store(sequence, std::memory_order_release); }

 private:
  struct Sink {
    std::unique_ptr<AlertSink> to;
    uint64_t done = 0;  // the last alert that it needs no more
    int tries = 0;      // of the one after
    int64_t next_try_us = 0;
    bool finished = false;  // at a stop
  };

  Alerts(const ConfigPtr& config, std::vector<std::unique_ptr<AlertSink>> sinks, const std::string& data_dir,
         Probe& probe, const AlertPace& pace);
  void restore(uint64_t last);
  void look_back(const features::Schema& schema, const storage::Store& store, uint64_t last);
  bool turn();
  void wait_in_line(Alert alert);
  bool serve(Sink& sink);
  void failed(Sink& sink, const Alert& alert, const std::string& reason);
  void settle(uint64_t passed);
  void save();
  AlertCounts& counts(const Sink& sink) { return probe_.alerts[static_cast<size_t>(sink.to->kind())]; }

  AlertPace pace_;
  Probe& probe_;
  std::string path_;
  std::vector<Sink> sinks_;

  AlertBook book_;  // the journal thread's
  Queue<Alert> queue_{kWaitingMax};
  std::atomic<uint64_t> passed_{0};

  std::deque<Alert> waiting_;  // that some sink needs still
  AlertBook settled_;          // as of the last alert before these,
  uint64_t settled_at_ = 0;    // and as of this event
  int64_t next_save_us_ = 0;
  bool changed_ = false;       // since the file was written
  int64_t stop_until_us_ = 0;  // 0: no stop
  Loop loop_;
};

}  // namespace shrike::engine
