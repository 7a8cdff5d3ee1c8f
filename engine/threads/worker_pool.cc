#include "engine/threads/worker_pool.h"

#include <algorithm>

namespace shrike::engine {
namespace {

thread_local bool inside = false;  // a task of some pool

}  // namespace

WorkerPool::WorkerPool(size_t threads) {
  if (threads == 0) threads = std::clamp<size_t>(std::thread::hardware_concurrency(), 1, kAutoMax);
  for (size_t i = 1; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& one : threads_) one.join();
}

void WorkerPool::take_part(Job& job) {
  inside = true;
  for (size_t i = job.next.fetch_add(1); i < job.tasks; i = job.next.fetch_add(1)) (*job.task)(i);
  inside = false;
}

void WorkerPool::run(size_t tasks, const std::function<void(size_t)>& task) {
  if (tasks <= 1 || threads_.empty() || inside) {
    for (size_t i = 0; i < tasks; ++i) task(i);
    return;
  }
  Job job{&task, tasks};
  {
    const std::lock_guard lock(mutex_);
    job_ = &job;
    ++jobs_;
  }
  wake_.notify_all();
  take_part(job);
  std::unique_lock lock(mutex_);
  job_ = nullptr;  // whoever has not joined by now need not
  done_.wait(lock, [&] { return busy_ == 0; });
}

void WorkerPool::work() {
  uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stopping_ || (job_ != nullptr && jobs_ != seen); });
    if (stopping_) return;
    seen = jobs_;
    Job& job = *job_;
    ++busy_;
    lock.unlock();
    take_part(job);
    lock.lock();
    if (--busy_ == 0) done_.notify_all();
  }
}

}  // namespace shrike::engine
