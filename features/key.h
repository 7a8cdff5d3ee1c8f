// 128-bit identities of transactions and entities, and a flat index from them to slots. Integers are their
// own key; texts and composite keys are XXH3-128 hashes, so two entities never share state in practice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace shrike::features {

struct Key {
  uint64_t high = 0;
  uint64_t low = 0;
  bool operator==(const Key&) const = default;
};

// A bijection of 64-bit words whose output looks random (the finalizer of splitmix64).
inline uint64_t scramble(uint64_t word) {
  word += 0x9E3779B97F4A7C15ull;
  word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9ull;
  word = (word ^ word >> 27) * 0x94D049BB133111EBull;
  return word ^ word >> 31;
}

// 64 bits of both halves: for maps, and for what must be the same in every run.
inline uint64_t mix(const Key& key) { return key.low ^ (key.high * 0x9E3779B97F4A7C15ull); }
struct KeyHash {
  size_t operator()(const Key& key) const { return static_cast<size_t>(mix(key)); }
};

Key key_of(int64_t value);
Key key_of(std::string_view text);
// The key of a composite (customer x terminal): order matters.
Key combine(std::span<const Key> parts);

// Open addressing with linear probing and backward-shift deletion: no tombstones, so a long-lived index stays
// as fast as a fresh one. In shards that grow one by one, so that no insertion moves more than a small part
// of it. Never iterated, so its order can influence nothing. One thread owns it.
class KeyIndex {
 public:
  static constexpr uint64_t kNone = UINT64_MAX;

  // The slot stored for `key`, or kNone.
  uint64_t find(const Key& key) const;
  // Stores `slot` (not kNone) for a key that is not present.
  void insert(const Key& key, uint64_t slot);
  // Replaces the slot of a key that is present.
  void assign(const Key& key, uint64_t slot);
  // Forgets a key; nothing happens when it is absent.
  void erase(const Key& key);
  void reserve(size_t keys);
  size_t size() const { return size_; }
  size_t bytes() const;

 private:
  struct Entry {
    Key key;
    uint64_t slot = kNone;
  };
  struct Shard {
    std::vector<Entry> entries;
    size_t size = 0;

    size_t locate(const Key& key, uint64_t hash) const;
    void grow(size_t capacity);
  };
  static constexpr size_t kShards = 64;
  static uint64_t hash(const Key& key);
  static size_t shard_of(uint64_t hash) { return static_cast<size_t>(hash >> 58); }

  std::vector<Shard> shards_;  // none before the first key
  size_t size_ = 0;
};

}  // namespace shrike::features
