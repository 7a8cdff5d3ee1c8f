// How many requests are under way between the intake and the log: as many as the log takes in a moment, so
// that where the disk is slow requests wait in the intake, by client, and not in one queue before the disk.
// Grows while it holds requests back and they come through quickly, shrinks when they don't. The socket
// thread's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace shrike::engine {

class PipelineWindow {
 public:
  static constexpr int64_t kAimUs = 20'000;  // from the engine to the log, on average
  static constexpr size_t kLeast = 64;

  // `adapts`: where answers wait for the log. Else there are as many as memory has room for.
  PipelineWindow(size_t most, bool adapts)
      : most_(std::max(most, kLeast)),
        size_(adapts ? std::min<size_t>(most_, 1024) : most_),
        adapts_(adapts) {}

  bool open() {
    held_back_ |= under_way_ >= size_;
    return under_way_ < size_;
  }
  void began(int64_t now_us) {
    if (under_way_++ == 0) moved_us_ = now_us;
  }
  // `took_us`: from the engine to the log.
  void ended(int64_t took_us, int64_t now_us) {
    --under_way_;
    moved_us_ = now_us;
    if (!adapts_) return;
    took_us_ += took_us;
    if (++ended_ < std::max(size_ / 2, kLeast)) return;
    if (took_us_ / static_cast<int64_t>(ended_) > kAimUs) {
      size_ = std::max(size_ * 3 / 4, kLeast);
    } else if (held_back_) {
      size_ = std::min(size_ * 5 / 4, most_);
    }
    held_back_ = false;
    ended_ = 0;
    took_us_ = 0;
  }
  size_t size() const { return size_; }
  // How long nothing has come through, though something is under way: what comes now takes longer than this.
  int64_t stalled_us(int64_t now_us) const { return under_way_ == 0 || !adapts_ ? 0 : now_us - moved_us_; }

 private:
  size_t most_, size_;
  size_t under_way_ = 0, ended_ = 0;
  int64_t moved_us_ = 0;
  int64_t took_us_ = 0;  // all that have ended since it was set last
  bool adapts_;
  bool held_back_ = false;
};

}  // namespace shrike::engine
