// When to look again at what a growing stream has taught: soon while there is little, and ever more rarely up
// to a widest interval. A pure function of the number of examples, so that whoever is restored keeps the
// rhythm of whoever was never interrupted. Plain functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace shrike::learners {

constexpr uint64_t kFirstLook = 50;  // examples: fewer tell nothing of either class

// The least number above `examples` at which to look: from kFirstLook on after a fifth more examples each
// time, and at multiples of `widest` once those are closer together than that. O(log widest).
constexpr uint64_t next_look(uint64_t examples, uint64_t widest) {
  const uint64_t settled = 5 * widest;
  if (examples >= settled) return (examples / widest + 1) * widest;
  uint64_t at = std::min(kFirstLook, widest);
  while (at <= examples) at += std::min(widest, std::max(kFirstLook, at / 5));
  return std::min(at, settled);
}

// Before how many examples a family begins that would wait for `sample` of them: a guess that is renewed as
// they double serves better than none.
constexpr uint64_t first_bins(int64_t sample, uint64_t soon = 2 * kFirstLook) {
  return std::min(static_cast<uint64_t>(sample), soon);
}

// The bins of a column that so many examples can fill, of `most`: a bin of one or two examples teaches noise.
constexpr size_t bins_for(uint64_t examples, int64_t most) {
  return static_cast<size_t>(std::clamp<uint64_t>(examples / 12, 2, static_cast<uint64_t>(most)));
}

// Whether `examples` is such a number.
constexpr bool is_look(uint64_t examples, uint64_t widest) {
  return examples > 0 && next_look(examples - 1, widest) == examples;
}

}  // namespace shrike::learners
