// Threads that learners learn on (see learners/workers.h): a fixed number, asleep while there is nothing to
// do. One thread at a time calls run(); what tasks call it again from runs on their own thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "learners/workers.h"

namespace shrike::engine {

class WorkerPool : public learners::Workers {
 public:
  // `threads` in all, the caller's included; 0: as many as the machine has, at most kAutoMax.
  explicit WorkerPool(size_t threads);
  ~WorkerPool() override;

  void run(size_t tasks, const std::function<void(size_t)>& task) override;
  size_t threads() const { return threads_.size() + 1; }

  static constexpr size_t kAutoMax = 8;

 private:
  struct Job {
    const std::function<void(size_t)>* task;
    size_t tasks;
    std::atomic<size_t> next{0};
  };

  void work();
  static void take_part(Job& job);

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Job* job_ = nullptr;  // in hand
  uint64_t jobs_ = 0;
  size_t busy_ = 0;  // threads in it
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace shrike::engine
