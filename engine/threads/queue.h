// How threads talk: a bounded queue from one thread to one other, and the bell that wakes the receiver.
// Pushing into a full queue fails at once; what that means is the caller's stated policy.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

namespace shrike::engine {

// One thread waits, any thread rings. A ring that comes between the receiver's last look and its sleep is not
// lost: both sides exchange one flag, so either the ringer sees the sleeper, or the sleeper's last look sees
// what was there to ring for.
class Bell {
 public:
  Bell() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~Bell() { close(fd_); }
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  void ring() {
    if (asleep_.exchange(false, std::memory_order_acq_rel)) wake();
  }

  // Sleeps until rung or `timeout_ms` has passed, unless `ready()` holds already.
  template <typename Ready>
  void wait(Ready&& ready, int timeout_ms) {
    prepare();
    if (!ready()) {
      pollfd one{fd_, POLLIN, 0};
      poll(&one, 1, timeout_ms);
    }
    finish();
  }

  // The same in two halves, for a thread that also waits for sockets: prepare(), look once more, poll fd(),
  // finish().
  int fd() const { return fd_; }
  void prepare() { asleep_.exchange(true, std::memory_order_acq_rel); }
  void finish() {
    asleep_.store(false, std::memory_order_relaxed);
    uint64_t rung = 0;
    [[maybe_unused]] const auto bytes = read(fd_, &rung, sizeof(rung));
  }

 private:
  void wake() {
    const uint64_t one = 1;
    [[maybe_unused]] const auto bytes = write(fd_, &one, sizeof(one));
  }
  int fd_;
  std::atomic<bool> asleep_{false};
};

// Called by a thread whose work can wait: it runs in what the requests leave over (Linux gives each thread
// its own niceness).
inline void yield_to_requests() {
  [[maybe_unused]] const int done = setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 10);
}

// Single producer, single consumer.
template <typename T>
class Queue {
 public:
  explicit Queue(size_t capacity) : items_(std::bit_ceil(capacity)) {}

  bool push(T&& item) {
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) == items_.size()) return false;
    items_[tail & (items_.size() - 1)] = std::move(item);
    tail_.store(tail + 1, std::memory_order_seq_cst);
    return true;
  }
  bool pop(T& item) {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_seq_cst)) return false;
    item = std::move(items_[head & (items_.size() - 1)]);
    head_.store(head + 1, std::memory_order_release);
    return true;
  }
  bool empty() const { return size() == 0; }
  size_t size() const {
    return static_cast<size_t>(tail_.load(std::memory_order_seq_cst) - head_.load(std::memory_order_seq_cst));
  }

 private:
  std::vector<T> items_;
  alignas(64) std::atomic<uint64_t> head_{0};
  alignas(64) std::atomic<uint64_t> tail_{0};
};

}  // namespace shrike::engine
