// What boosting learns from: every fraud and a sample of the legitimate examples, the newest of each, in two
// rings. A row keeps its place until it is overwritten. Plain data; internal to learners/.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace shrike::learners {

struct ReplayRing {
  std::vector<float> rows, weights;
  std::vector<uint64_t> times;  // examples seen when it came
  std::vector<uint64_t> keys;
  uint64_t next = 0;  // rows ever added

  size_t size() const { return weights.size(); }
  // Returns the place it took.
  size_t add(size_t capacity, const float* row, size_t columns, float weight, uint64_t time, uint64_t key) {
    const auto at = static_cast<size_t>(next++ % capacity);
    if (at >= weights.size()) {
      rows.resize((at + 1) * columns);
      weights.resize(at + 1);
      times.resize(at + 1);
      keys.resize(at + 1);
    }
    std::copy_n(row, columns, rows.begin() + static_cast<std::ptrdiff_t>(at * columns));
    weights[at] = weight;
    times[at] = time;
    keys[at] = key;
    return at;
  }
};

}  // namespace shrike::learners
