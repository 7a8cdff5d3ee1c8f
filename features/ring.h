// The events of one entity that some window still needs, oldest first, ordered by time and, within one time,
// by arrival. Columns of 64-bit words in one allocation. Positions are absolute: they grow with every event
// and stay valid until the event leaves. Owned by an EntityState.
#pragma once

#include <cstdint>
#include <vector>

namespace shrike::features {

inline constexpr int64_t kMissing = INT64_MIN;  // no value in a value column

class EventRing {
 public:
  // `values` value columns; sequence numbers and flags only when asked for.
  EventRing(size_t values, bool sequences, bool flags)
      : sequence_column_(1),
        flag_column_(1 + (sequences ? 1 : 0)),
        value_column_(flag_column_ + (flags ? 1 : 0)),
        columns_(value_column_ + values),
        has_sequences_(sequences),
        has_flags_(flags) {}

  uint64_t begin() const { return begin_; }
  uint64_t end() const { return end_; }
  size_t size() const { return static_cast<size_t>(end_ - begin_); }
  bool empty() const { return begin_ == end_; }

  int64_t time(uint64_t at) const { return cell(0, at); }
  uint64_t sequence(uint64_t at) const {
    return has_sequences_ ? static_cast<uint64_t>(cell(sequence_column_, at)) : 0;
  }
  uint32_t flags(uint64_t at) const { return has_flags_ ? static_cast<uint32_t>(cell(flag_column_, at)) : 0; }
  int64_t value(size_t column, uint64_t at) const { return cell(value_column_ + column, at); }

  void set_flags(uint64_t at, uint32_t flags) {
    if (has_flags_) cell(flag_column_, at) = flags;
  }
  void set_value(size_t column, uint64_t at, int64_t value) { cell(value_column_ + column, at) = value; }

  // Appends an event without flags or values; returns its position.
  uint64_t append(int64_t time_us, uint64_t sequence) {
    if (size() == capacity_) grow();
    const uint64_t at = end_++;
    for (size_t c = 0; c < columns_; ++c) cell(c, at) = c < value_column_ ? 0 : kMissing;
    cell(0, at) = time_us;
    if (has_sequences_) cell(sequence_column_, at) = static_cast<int64_t>(sequence);
    return at;
  }
  void pop_front() { ++begin_; }
  void truncate(uint64_t end) { end_ = end; }
  void clear() { begin_ = end_ = 0; }

  // The words of one event, for saving it and putting it back.
  size_t words() const { return columns_; }
  void read(uint64_t at, int64_t* words) const {
    for (size_t c = 0; c < columns_; ++c) words[c] = cell(c, at);
  }
  uint64_t append_words(const int64_t* words) {
    if (size() == capacity_) grow();
    const uint64_t at = end_++;
    for (size_t c = 0; c < columns_; ++c) cell(c, at) = words[c];
    return at;
  }

  size_t bytes() const { return cells_.capacity() * sizeof(int64_t); }

 private:
  int64_t& cell(size_t column, uint64_t at) { return cells_[column * capacity_ + (at & (capacity_ - 1))]; }
  int64_t cell(size_t column, uint64_t at) const {
    return cells_[column * capacity_ + (at & (capacity_ - 1))];
  }

  void grow() {
    const size_t wider = capacity_ == 0 ? 4 : capacity_ * 2;
    std::vector<int64_t> cells(wider * columns_);
    for (size_t c = 0; c < columns_; ++c) {
      for (uint64_t at = begin_; at < end_; ++at) cells[c * wider + (at & (wider - 1))] = cell(c, at);
    }
    cells_.swap(cells);
    capacity_ = wider;
  }

  size_t sequence_column_, flag_column_, value_column_, columns_;
  bool has_sequences_, has_flags_;
  size_t capacity_ = 0;  // a power of two
  uint64_t begin_ = 0, end_ = 0;
  std::vector<int64_t> cells_;
};

}  // namespace shrike::features
