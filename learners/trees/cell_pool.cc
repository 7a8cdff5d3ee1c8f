#include "learners/trees/cell_pool.h"

#include <algorithm>

namespace shrike::learners {
namespace {

constexpr size_t kUnit = 256;  // cells: sizes are rounded up to it
constexpr size_t kChunkLeast = size_t{64} << 10, kChunkMost = size_t{2} << 20;  // bytes

size_t units(size_t cells) { return (cells + kUnit - 1) / kUnit; }

}  // namespace

std::span<float> CellPool::take(size_t cells) {
  const size_t size = units(cells) * kUnit;
  float* at = nullptr;
  if (units(cells) < spare_.size() && !spare_[units(cells)].empty()) {
    at = spare_[units(cells)].back();
    spare_[units(cells)].pop_back();
  } else {
    while (chunk_ < chunks_.size() && chunks_[chunk_].size - used_ < size) {
      ++chunk_;
      used_ = 0;
    }
    if (chunk_ == chunks_.size()) {
      const size_t wish = chunks_.empty() ? kChunkLeast : 2 * chunks_.back().size * sizeof(float);
      const size_t bytes = std::max(std::min(wish, kChunkMost), size * sizeof(float));
      const size_t floats = bytes / sizeof(float);
      chunks_.push_back({std::make_unique_for_overwrite<float[]>(floats), floats});
    }
    at = chunks_[chunk_].cells.get() + used_;
    used_ += size;
  }
  std::fill_n(at, cells, 0.0f);
  return {at, cells};
}

void CellPool::give_back(std::span<float> cells) {
  if (cells.empty()) return;
  const size_t size = units(cells.size());
  if (spare_.size() <= size) spare_.resize(size + 1);
  spare_[size].push_back(cells.data());
}

void CellPool::reset() {
  chunk_ = used_ = 0;
  spare_.clear();
}

}  // namespace shrike::learners
