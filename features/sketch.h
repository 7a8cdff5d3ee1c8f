// What whole-history aggregations keep of values without keeping every event: exact up to a bound, then a
// sketch of fixed size. Both are functions of the multiset of values alone: the order in which they came
// leaves no trace, so late events, saving and restoring stay exact, and every machine has the same bits.
// Chance is a hash. Owned by an EntityState.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "features/key.h"

namespace shrike::features {

// A sample of values for order statistics. Up to kExact values it holds all; beyond, those kSample whose
// hashes are smallest (bottom-k sampling: Cohen and Kaplan, PODC 2007), whose median's rank is within 3 % of
// the middle two times in three.
class ValueSample {
 public:
  static constexpr size_t kExact = 512, kSample = 256;

  // `time_us` only tells equal values apart.
  void add(int64_t value, int64_t time_us) {
    const Entry entry{value,
                      scramble(scramble(static_cast<uint64_t>(time_us)) ^ static_cast<uint64_t>(value))};
    if (++count_ <= kExact) {
      insert(entry);
    } else {
      if (count_ == kExact + 1) begin_sampling();
      sample(entry);
    }
  }
  size_t size() const { return entries_.size(); }
  // Of all that were added.
  uint64_t count() const { return count_; }
  int64_t at(size_t rank) const { return entries_[rank].value; }
  // Twice the median: exact up to kExact values; wants size() > 0.
  int64_t twice_median() const {
    const size_t n = entries_.size();
    return entries_[(n - 1) / 2].value + entries_[n / 2].value;
  }
  void clear() {
    entries_.clear();
    count_ = largest_ = 0;
  }
  size_t bytes() const { return entries_.capacity() * sizeof(Entry); }

  // Appends its bytes; parse() takes them off the front, false when they are not such.
  void serialize(std::string& out) const;
  bool parse(std::string_view& bytes);

 private:
  struct Entry {
    int64_t value;
    uint64_t hash;
    bool operator<(const Entry& other) const {
      return value != other.value ? value < other.value : hash < other.hash;
    }
  };
  void insert(const Entry& entry) {
    entries_.insert(std::upper_bound(entries_.begin(), entries_.end(), entry), entry);
  }
  void begin_sampling();
  void sample(const Entry& entry);
  void find_largest();

  std::vector<Entry> entries_;  // by value
  uint64_t count_ = 0;
  uint64_t largest_ = 0;  // hash, once it samples; then hashes are unique
};

// How many different values there were. Exact up to kExact of them; beyond, estimated from the kExact
// smallest hashes (k minimum values: Bar-Yossef and others, RANDOM 2002), standard error 4 %.
class DistinctSketch {
 public:
  static constexpr size_t kExact = 512;

  void add(int64_t value) {
    const uint64_t hash = scramble(static_cast<uint64_t>(value));
    if (hashes_.size() == kExact && hash > hashes_.back()) {
      more_ = true;
      return;
    }
    const auto at = std::lower_bound(hashes_.begin(), hashes_.end(), hash);
    if (at != hashes_.end() && *at == hash) return;
    hashes_.insert(at, hash);
    if (hashes_.size() <= kExact) return;
    hashes_.pop_back();
    more_ = true;
  }
  double distinct() const;
  void clear() {
    hashes_.clear();
    more_ = false;
  }
  size_t bytes() const { return hashes_.capacity() * sizeof(uint64_t); }

  void serialize(std::string& out) const;
  bool parse(std::string_view& bytes);

 private:
  std::vector<uint64_t> hashes_;  // ascending
  bool more_ = false;             // there were more than kExact
};

}  // namespace shrike::features
