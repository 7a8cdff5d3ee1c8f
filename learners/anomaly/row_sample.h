// A uniform sample of all rows seen, in bounded memory: rows stay whose hash ends in `thinned` zero bits, and
// whenever the sample is full, one more is asked for. So which rows stay depends on their hashes alone. Plain
// data; internal to learners/.
#pragma once

#include <cstddef>
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

  // Takes the row in if its hash lets it stay.
  void add(const float* row, size_t columns, uint64_t hash);

 private:
  bool stays(uint64_t hash) const { return thinned >= 64 || (hash & ((uint64_t{1} << thinned) - 1)) == 0; }
};

}  // namespace shrike::learners
