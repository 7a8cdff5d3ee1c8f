// What the server counts, for `status`: any thread may add, any may read.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <mutex>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "engine/fold/error.h"

namespace shrike::engine {

// Times by power of two with four steps each: quantiles within 19 %.
class Histogram {
 public:
  static constexpr size_t kBuckets = 160;
  using Counts = std::array<uint64_t, kBuckets>;

  void add(int64_t us) {
    const uint64_t v = us < 0 ? 0 : static_cast<uint64_t>(us);
    buckets_[bucket(v)].fetch_add(1, std::memory_order_relaxed);
    for (uint64_t most = most_.load(std::memory_order_relaxed);
         v > most && !most_.compare_exchange_weak(most, v, std::memory_order_relaxed);) {
    }
  }
  uint64_t most() const { return most_.load(std::memory_order_relaxed); }
  Counts counts() const {
    Counts counts;
    for (size_t i = 0; i < kBuckets; ++i) counts[i] = buckets_[i].load(std::memory_order_relaxed);
    return counts;
  }
  // What came between two counts.
  static Counts since(Counts now, const Counts& before) {
    for (size_t i = 0; i < kBuckets; ++i) now[i] -= before[i];
    return now;
  }
  static uint64_t total(const Counts& counts) {
    return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  }
  // The upper edge, in microseconds, of the bucket that holds quantile q; 0 without data.
  static uint64_t quantile(const Counts& counts, double q) {
    auto left = static_cast<uint64_t>(q * static_cast<double>(total(counts)));
    for (size_t i = 0; i < kBuckets; ++i) {
      if (counts[i] > left) return edge(i);
      left -= counts[i];
    }
    return 0;
  }
  uint64_t quantile(double q) const { return quantile(counts(), q); }

 private:
  static size_t bucket(uint64_t v) {
    if (v < 8) return static_cast<size_t>(v);
    const int log = std::bit_width(v) - 1;
    return std::min<size_t>(static_cast<size_t>(log) * 4 + ((v >> (log - 2)) & 3) - 4, kBuckets - 1);
  }
  static uint64_t edge(size_t i) {
    if (i < 8) return i;
    const size_t log = (i + 4) / 4;
    return (uint64_t{1} << log) + ((i + 4) % 4 + 1) * (uint64_t{1} << (log - 2));
  }
  std::array<std::atomic<uint64_t>, kBuckets> buckets_{};
  std::atomic<uint64_t> most_{0};
};

// Names met, each once, at most kMax. Any thread.
class NameList {
 public:
  static constexpr size_t kMax = 64;
  void add(std::string_view name) {
    const std::lock_guard lock(mutex_);
    if (names_.size() < kMax) names_.emplace_back(name);
  }
  std::vector<std::string> all() const {
    const std::lock_guard lock(mutex_);
    return names_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> names_;
};

enum class AlertSinkKind : uint8_t { kFile, kCommand, kWebhook };
inline constexpr size_t kAlertSinkKinds = 3;
inline std::string_view name(AlertSinkKind kind) {
  constexpr std::string_view kNames[kAlertSinkKinds] = {"file", "command", "webhook"};
  return kNames[static_cast<size_t>(kind)];
}

// Of one sink of alerts.
struct AlertCounts {
  std::atomic<uint64_t> delivered{0};
  std::atomic<uint64_t> failed{0};   // given up after many attempts
  std::atomic<uint64_t> dropped{0};  // there was no room
};

struct Probe {
  std::atomic<uint64_t> requests{0}, replies{0}, duplicates{0}, duplicate_labels{0}, late_replies{0},
      batches{0}, groups{0}, checkpoints{0}, divergences{0}, storage_failures{0}, examples_waiting{0},
      unknown_fields{0}, dropped_replies{0}, trial_examples{0}, trial_frauds{0};
  std::array<std::atomic<uint64_t>, kErrorCodes> errors{};
  std::array<std::atomic<uint64_t>, 4> steps{};
  std::array<AlertCounts, kAlertSinkKinds> alerts{};
  NameList unknown_names;
  Histogram latency;  // of scored requests, from receipt to reply
  // Its parts: until the engine takes the request, until it hands it on, until it is written (where that
  // comes before the reply), until the reply.
  Histogram waiting, deciding, writing, replying;
};

}  // namespace shrike::engine
