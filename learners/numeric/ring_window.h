// The newest rows of a stream, in arrays side by side: they grow up to a capacity, then the newest row takes
// the oldest one's place. A row keeps its place until then. Plain data; internal to learners/.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace shrike::learners {

struct RingWindow {
  std::vector<float> rows;
  uint64_t next = 0;  // rows ever added

  // Returns the place it took. The capacity and the row's length are the same in each call.
  size_t add(size_t capacity, std::span<const float> row) {
    const auto at = static_cast<size_t>(next++ % capacity);
    if (rows.size() < (at + 1) * row.size()) rows.resize((at + 1) * row.size());
    std::copy(row.begin(), row.end(), rows.begin() + static_cast<std::ptrdiff_t>(at * row.size()));
    return at;
  }

 protected:
  // What else is known of the row there, in an array of its own.
  template <typename T>
  static void put(std::vector<T>& values, size_t at, T value) {
    if (values.size() <= at) values.resize(at + 1);
    values[at] = value;
  }
};

}  // namespace shrike::learners
