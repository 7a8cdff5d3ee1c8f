// The thread behind a queue: works while there is something to do, sleeps until its bell rings, and ends when
// told to, after what came before that. Whoever owns the queue owns the loop, as its last member: what the
// thread uses is there for as long as it runs.
#pragma once

#include <pthread.h>

#include <atomic>
#include <functional>
#include <thread>
#include <utility>

#include "engine/threads/queue.h"

namespace shrike::engine {

class Loop {
 public:
  // All called on the thread.
  struct Work {
    const char* name;               // of the thread, at most 15 characters: as top -H and debuggers show it
    std::function<void()> begin;    // once, at first; may be absent
    std::function<bool()> turn;     // does some of what waits; false when nothing did
    std::function<bool()> waiting;  // is there something to do?
    int look_every_ms = 100;        // without a ring: for what only time brings
    bool busy = false;              // never sleeps: the thread has a core of its own
  };

  Loop() = default;
  ~Loop() { stop(); }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void start(Work work) {
    thread_ = std::thread([this, work = std::move(work)] { run(work); });
  }
  // After it returns, all that was there to do when it was called is done. May be called again, and before
  // start().
  void stop() {
    stopping_.store(true);
    bell_.ring();
    if (thread_.joinable()) thread_.join();
  }

  // The owner's: between start() and stop().
  bool running() const { return thread_.joinable(); }
  // Any thread.
  bool stopping() const { return stopping_.load(); }
  void ring() { bell_.ring(); }
  Bell& bell() { return bell_; }

 private:
  void run(const Work& work) {
    pthread_setname_np(pthread_self(), work.name);
    if (work.begin) work.begin();
    for (;;) {
      // Asked before the turn: what was pushed before the stop is then seen by it.
      const bool last = stopping_.load();
      if (work.turn()) continue;
      if (last) return;
      if (work.busy) continue;
      bell_.wait([&] { return work.waiting() || stopping_.load(); }, work.look_every_ms);
    }
  }

  Bell bell_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace shrike::engine
