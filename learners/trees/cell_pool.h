// Memory for the many histograms of one growing tree: blocks come from chunks that grow with the tree and are
// used again, so that taking one seldom asks the system for anything. One owner, one thread. Internal to
// learners/.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace shrike::learners {

class CellPool {
 public:
  // `cells` zeros. They stay where they are until given back, reset() or the pool's end; moving the pool does
  // not move them.
  std::span<float> take(size_t cells);
  void give_back(std::span<float> cells);
  // Takes all back at once.
  void reset();

 private:
  struct Chunk {
    std::unique_ptr<float[]> cells;
    size_t size;
  };
  std::vector<Chunk> chunks_;
  size_t chunk_ = 0, used_ = 0;             // cells used of chunks_[chunk_]; those before it are full
  std::vector<std::vector<float*>> spare_;  // given back, by their size in units
};

}  // namespace shrike::learners
