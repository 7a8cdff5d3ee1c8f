#include "features/key.h"

#include <xxhash.h>

#include <bit>
#include <cassert>

namespace shrike::features {

Key key_of(int64_t value) { return {.high = 0, .low = static_cast<uint64_t>(value)}; }

Key key_of(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return {.high = hash.high64, .low = hash.low64};
}

Key combine(std::span<const Key> parts) {
  const XXH128_hash_t hash = XXH3_128bits(parts.data(), parts.size_bytes());
  return {.high = hash.high64, .low = hash.low64};
}

uint64_t KeyIndex::hash(const Key& key) {
  uint64_t h = mix(key) * 0xD6E8FEB86659FD93ull;
  h ^= h >> 32;
  return h * 0xD6E8FEB86659FD93ull;
}

size_t KeyIndex::Shard::locate(const Key& key, uint64_t hash) const {
  const size_t mask = entries.size() - 1;
  size_t at = static_cast<size_t>(hash >> 16) & mask;
  while (entries[at].slot != kNone && !(entries[at].key == key)) at = (at + 1) & mask;
  return at;
}

void KeyIndex::Shard::grow(size_t capacity) {
  std::vector<Entry> old(capacity);
  old.swap(entries);
  for (const Entry& entry : old) {
    if (entry.slot != kNone) entries[locate(entry.key, hash(entry.key))] = entry;
  }
}

uint64_t KeyIndex::find(const Key& key) const {
  if (shards_.empty()) return kNone;
  const uint64_t h = hash(key);
  const Shard& shard = shards_[shard_of(h)];
  return shard.entries.empty() ? kNone : shard.entries[shard.locate(key, h)].slot;
}

void KeyIndex::insert(const Key& key, uint64_t slot) {
  assert(slot != kNone);
  if (shards_.empty()) shards_.resize(kShards);
  const uint64_t h = hash(key);
  Shard& shard = shards_[shard_of(h)];
  if ((shard.size + 1) * 8 > shard.entries.size() * 5)
    shard.grow(shard.entries.empty() ? 16 : shard.entries.size() * 2);
  Entry& entry = shard.entries[shard.locate(key, h)];
  assert(entry.slot == kNone);
  entry = {key, slot};
  ++shard.size;
  ++size_;
}

void KeyIndex::assign(const Key& key, uint64_t slot) {
  const uint64_t h = hash(key);
  Shard& shard = shards_[shard_of(h)];
  Entry& entry = shard.entries[shard.locate(key, h)];
  assert(entry.slot != kNone);
  entry.slot = slot;
}

void KeyIndex::erase(const Key& key) {
  if (shards_.empty()) return;
  const uint64_t h = hash(key);
  Shard& shard = shards_[shard_of(h)];
  std::vector<Entry>& entries = shard.entries;
  if (entries.empty()) return;
  size_t hole = shard.locate(key, h);
  if (entries[hole].slot == kNone) return;
  const size_t mask = entries.size() - 1;
  const auto home = [&](const Key& of) { return static_cast<size_t>(hash(of) >> 16) & mask; };
  for (size_t next = (hole + 1) & mask; entries[next].slot != kNone; next = (next + 1) & mask) {
    // An entry may move into the hole when its home is not between the hole and itself.
    if (((next - home(entries[next].key)) & mask) >= ((next - hole) & mask)) {
      entries[hole] = entries[next];
      hole = next;
    }
  }
  entries[hole] = Entry{};
  --shard.size;
  --size_;
}

void KeyIndex::reserve(size_t keys) {
  if (shards_.empty()) shards_.resize(kShards);
  const size_t wanted = std::bit_ceil(keys / kShards * 2 + 16);
  for (Shard& shard : shards_) {
    if (wanted > shard.entries.size()) shard.grow(wanted);
  }
}

size_t KeyIndex::bytes() const {
  size_t bytes = shards_.capacity() * sizeof(Shard);
  for (const Shard& shard : shards_) bytes += shard.entries.capacity() * sizeof(Entry);
  return bytes;
}

}  // namespace shrike::features
