#include "learners/anomaly/row_sample.h"

#include <algorithm>

namespace shrike::learners {

void RowSample::add(const float* row, size_t columns, uint64_t hash) {
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

}  // namespace shrike::learners
