// A uniform sample of all rows seen, in bounded memory: whenever it is full, the rows whose hash has one more
// bit set leave. Which rows stay depends on their keys alone. Plain data; internal to learners/.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace shrike::learners {

struct RowSample {
  static constexpr size_t kRowsMax = 16384;
  std::vector<float> rows;
  std::vector<uint64_t> dice;  // one a row
  uint64_t seen = 0;
  uint32_t thinned = 0;  // a row stays when this many low bits of its hash are 0

  size_t size() const { return dice.size(); }

  void add(const float* row, size_t columns, uint64_t hash) {
    ++seen;
    if (!stays(hash)) return;
    if (size() == kRowsMax) {
      ++thinned;
      size_t kept = 0;
      for (size_t i = 0; i < size(); ++i) {
        if (!stays(dice[i])) continue;
        dice[kept] = dice[i];
        std::copy_n(&rows[i * columns], columns, &rows[kept++ * columns]);
      }
      dice.resize(kept);
      rows.resize(kept * columns);
      // Hashes that are all alike leave no room: then the newcomer is left out.
      if (!stays(hash) || kept == kRowsMax) return;
    }
    dice.push_back(hash);
    rows.insert(rows.end(), row, row + columns);
  }

 private:
  bool stays(uint64_t hash) const { return thinned >= 64 || (hash & ((uint64_t{1} << thinned) - 1)) == 0; }
};

}  // namespace shrike::learners
