// The transactions that still wait: for a label, for maturity, for being forgotten. Each keeps its logged
// feature row and its answer, so that a label joins what was scored and a duplicate gets the first answer. In
// order of sequence, in chunks: growing copies nothing, so that no request waits for it, and an entry stays
// where it is. Part of the fold, owned by it.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/fold/event.h"
#include "features/key.h"

namespace shrike::engine {

class Pending {
 public:
  struct Entry {
    uint64_t position = 0;
    uint64_t sequence = 0;
    uint64_t content = 0;  // content_hash(); 0 when it comes from a checkpoint that had none
    Key id;
    int64_t time_us = 0;
    Answer answer;
    LabelState labels;
    bool matured = false;
    bool held = false;                    // labelled, and learned only when it matures
    Verdict settled = Verdict::kUnknown;  // what the watch was told of it
    bool answered = false;
    double amount = 0;
  };

  Pending(size_t columns, size_t entity_kinds) : columns_(columns), kinds_(entity_kinds) {}

  // Adds the newest transaction; its id is not present.
  Entry& push(const features::Subject& subject, const Key& id, uint64_t content, std::span<const float> row);
  // Null when absent.
  Entry* find(const Key& id);
  // Each entry, oldest first.
  template <typename F>
  void each(F&& f) {
    for (uint64_t position = begin_; position < end_; ++position) f(at(position));
  }
  // By position: begin() <= position < end().
  uint64_t begin() const { return begin_; }
  uint64_t end() const { return end_; }
  size_t size() const { return static_cast<size_t>(end_ - begin_); }
  Entry& at(uint64_t position) { return chunk(position).entries[position % kChunk]; }
  const Entry& at(uint64_t position) const { return chunk(position).entries[position % kChunk]; }
  void pop_front();
  // Of an entry that is present.
  std::span<const float> row(const Entry& entry) const;
  void subject(const Entry& entry, features::Subject& out) const;
  // A hash of its entity of this kind; 0 when the schema has none.
  uint64_t entity(const Entry& entry, size_t kind) const {
    return kind < kinds_ ? features::mix(keys(entry)[kind]) : 0;
  }

  size_t bytes() const;
  // Pieces of a few MiB each; restore() takes them in the same order.
  void save(const std::function<void(std::string)>& sink) const;
  bool restore(std::string_view piece);

 private:
  static constexpr size_t kChunk = 256, kSparesMax = 4;
  struct Chunk {
    std::array<Entry, kChunk> entries;
    std::vector<float> rows;
    std::vector<Key> keys;
  };
  Chunk& chunk(uint64_t position) const { return *chunks_[position / kChunk - begin_ / kChunk]; }
  const Key* keys(const Entry& entry) const {
    return chunk(entry.position).keys.data() + entry.position % kChunk * kinds_;
  }
  void add_chunk();

  size_t columns_, kinds_;
  uint64_t begin_ = 0, end_ = 0;
  std::deque<std::unique_ptr<Chunk>> chunks_;   // from the one that has begin_
  std::vector<std::unique_ptr<Chunk>> spares_;  // to be used again
  features::KeyIndex index_;
};

}  // namespace shrike::engine
