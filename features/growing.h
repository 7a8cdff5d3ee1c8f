// The accumulators whose size depends on the data: sliding extremum, count by value, order statistics. All
// hold exact integers. Owned by an EntityState.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <vector>

#include "features/numeric.h"
#include "features/ring.h"

namespace shrike::features {

// Ring positions whose values are strictly monotonic: the front is the extremum of the window. Amortised
// O(1).
class MonotonicDeque {
 public:
  // `displaced` gets the positions that it pushes out, newest first.
  template <typename ValueAt>
  void push(uint64_t at, int64_t value, bool minimum, ValueAt&& value_at,
            std::vector<uint64_t>* displaced = nullptr) {
    while (head_ < positions_.size() &&
           (minimum ? value_at(positions_.back()) >= value : value_at(positions_.back()) <= value)) {
      if (displaced != nullptr) displaced->push_back(positions_.back());
      positions_.pop_back();
    }
    if (head_ == positions_.size()) {
      positions_.clear();
      head_ = 0;
    }
    positions_.push_back(at);
  }
  void remove(uint64_t at) {
    if (head_ == positions_.size() || positions_[head_] != at) return;
    ++head_;
    if (head_ > 16 && head_ * 2 > positions_.size()) {
      positions_.erase(positions_.begin(), positions_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  }
  // The newest was pushed last and displaced these.
  void undo_push(const std::vector<uint64_t>& displaced) {
    positions_.pop_back();
    restore_newest(displaced);
  }
  // Those from `end` on leave.
  void truncate(uint64_t end) {
    while (head_ < positions_.size() && positions_.back() >= end) positions_.pop_back();
  }
  // Positions after, or before, all that are held; newest first.
  void restore_newest(const std::vector<uint64_t>& displaced) {
    positions_.insert(positions_.end(), displaced.rbegin(), displaced.rend());
  }
  void restore_oldest(const std::vector<uint64_t>& left) {
    positions_.insert(positions_.begin() + static_cast<std::ptrdiff_t>(head_), left.rbegin(), left.rend());
  }
  bool empty() const { return head_ == positions_.size(); }
  uint64_t newest() const { return positions_.back(); }
  uint64_t front() const { return positions_[head_]; }
  void clear() { positions_.clear(), head_ = 0; }
  size_t bytes() const { return positions_.capacity() * sizeof(uint64_t); }

 private:
  std::vector<uint64_t> positions_;
  size_t head_ = 0;
};

// How often each value is in the window. Open addressing; a value whose count falls to zero keeps its place
// until the table is rebuilt, which is amortised over the additions.
class CountMap {
 public:
  void add(int64_t value) {
    if ((used_ + 1) * 4 > entries_.size() * 3) rebuild();
    Entry& entry = locate(value);
    if (entry.value == kMissing) {
      entry.value = value;
      ++used_;
    }
    if (entry.count++ == 0) ++distinct_;
  }
  void remove(int64_t value) {
    Entry& entry = locate(value);
    assert(entry.count > 0);
    if (--entry.count == 0) --distinct_;
  }
  size_t distinct() const { return distinct_; }
  int64_t count(int64_t value) const {
    if (entries_.empty()) return 0;
    return entries_[position(value)].count;  // of a free place 0
  }
  void clear() {
    entries_.clear();
    used_ = distinct_ = 0;
  }
  size_t bytes() const { return entries_.capacity() * sizeof(Entry); }

 private:
  struct Entry {
    int64_t value = kMissing;
    int64_t count = 0;
  };
  // Where the value is, or the place that is free for it.
  size_t position(int64_t value) const {
    const size_t mask = entries_.size() - 1;
    uint64_t h = static_cast<uint64_t>(value) * 0x9E3779B97F4A7C15ull;
    size_t at = static_cast<size_t>(h >> 20) & mask;
    while (entries_[at].value != kMissing && entries_[at].value != value) at = (at + 1) & mask;
    return at;
  }
  Entry& locate(int64_t value) { return entries_[position(value)]; }
  void rebuild() {
    size_t capacity = 8;
    while (capacity < distinct_ * 3) capacity *= 2;
    std::vector<Entry> old(capacity);
    old.swap(entries_);
    used_ = 0;
    for (const Entry& entry : old) {
      if (entry.count == 0) continue;
      locate(entry.value) = entry;
      ++used_;
    }
  }
  std::vector<Entry> entries_;
  size_t used_ = 0, distinct_ = 0;
};

// How often each value is in the window, in order of frequency. Finding is O(log n) in the number of
// different values; moving is one rotation of those between the old place and the new.
class Frequencies {
 public:
  void add(int64_t value) { change(value, 1); }
  void remove(int64_t value) { change(value, -1); }
  bool empty() const { return n_ == 0; }
  // The most frequent value, of several the smallest; wants one.
  int64_t mode() const { return order_.back().value; }
  // Shannon's, in nats: log n - sum(c log c) / n. Wants a value.
  double entropy() const {
    if (order_.size() == 1) return 0;
    const auto n = static_cast<double>(n_);
    const double entropy = exact_log(n) - static_cast<double>(weighted_) / kUnit / n;
    return entropy > 0 ? entropy : 0;
  }
  void clear() {
    counts_.clear();
    order_.clear();
    n_ = weighted_ = 0;
  }
  size_t bytes() const { return counts_.bytes() + order_.capacity() * sizeof(Place); }

 private:
  static constexpr double kUnit = 1 << 30;  // of the sum: integers, so that it never drifts
  struct Place {
    int64_t count, value;
    // By count, of the same one the smallest value last.
    bool operator<(const Place& other) const {
      return count != other.count ? count < other.count : value > other.value;
    }
  };
  static int64_t weighted(int64_t count) {
    const auto c = static_cast<double>(count);
    return count < 2 ? 0 : static_cast<int64_t>(c * exact_log(c) * kUnit + 0.5);
  }
  void change(int64_t value, int by) {
    const int64_t before = counts_.count(value), after = before + by;
    by > 0 ? counts_.add(value) : counts_.remove(value);
    n_ += by;
    weighted_ += weighted(after) - weighted(before);
    const auto old = std::lower_bound(order_.begin(), order_.end(), Place{before, value});
    const auto place = std::lower_bound(order_.begin(), order_.end(), Place{after, value});
    if (before == 0) {
      order_.insert(place, {after, value});
    } else if (after == 0) {
      order_.erase(old);
    } else {
      old->count = after;
      by > 0 ? std::rotate(old, old + 1, place) : std::rotate(place, old, old + 1);
    }
  }

  CountMap counts_;
  std::vector<Place> order_;
  int64_t n_ = 0, weighted_ = 0;
};

// The window's values in order. Finding is O(log n); moving the rest is one memmove of 8 n bytes, which for
// the few hundred events of a window is cheaper than a tree.
class SortedValues {
 public:
  void add(int64_t value) { values_.insert(std::upper_bound(values_.begin(), values_.end(), value), value); }
  void remove(int64_t value) {
    const auto it = std::lower_bound(values_.begin(), values_.end(), value);
    assert(it != values_.end() && *it == value);
    values_.erase(it);
  }
  size_t size() const { return values_.size(); }
  int64_t at(size_t rank) const { return values_[rank]; }
  // Twice the median, exact; wants size() > 0.
  int64_t twice_median() const {
    const size_t n = values_.size();
    return values_[(n - 1) / 2] + values_[n / 2];
  }
  void clear() { values_.clear(); }
  size_t bytes() const { return values_.capacity() * sizeof(int64_t); }

 private:
  std::vector<int64_t> values_;
};

}  // namespace shrike::features
