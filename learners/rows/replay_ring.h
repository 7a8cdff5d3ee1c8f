// What boosting learns from: every fraud and a sample of the legitimate examples, the newest of each, in two
// rings. Plain data; internal to learners/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "learners/numeric/ring_window.h"

namespace shrike::learners {

struct ReplayRing : RingWindow {
  std::vector<float> weights;
  std::vector<uint64_t> times;  // examples seen when it came
  std::vector<uint64_t> keys;

  size_t size() const { return weights.size(); }
  // Returns the place it took.
  size_t add(size_t capacity, std::span<const float> row, float weight, uint64_t time, uint64_t key) {
    const size_t at = RingWindow::add(capacity, row);
    put(weights, at, weight);
    put(times, at, time);
    put(keys, at, key);
    return at;
  }
};

}  // namespace shrike::learners
