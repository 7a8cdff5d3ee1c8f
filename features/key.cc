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

size_t KeyIndex::home(const Key& key) const {
  uint64_t h = mix(key) * 0xD6E8FEB86659FD93ull;
  h ^= h >> 32;
  return static_cast<size_t>(h * 0xD6E8FEB86659FD93ull >> 16) & (entries_.size() - 1);
}

size_t KeyIndex::locate(const Key& key) const {
  const size_t mask = entries_.size() - 1;
  size_t at = home(key);
  while (entries_[at].slot != kNone && !(entries_[at].key == key)) at = (at + 1) & mask;
  return at;
}

uint64_t KeyIndex::find(const Key& key) const {
  return entries_.empty() ? kNone : entries_[locate(key)].slot;
}

void KeyIndex::insert(const Key& key, uint64_t slot) {
  assert(slot != kNone);
  if ((size_ + 1) * 8 > entries_.size() * 5) grow(entries_.empty() ? 16 : entries_.size() * 2);
  Entry& entry = entries_[locate(key)];
  assert(entry.slot == kNone);
  entry = {key, slot};
  ++size_;
}

void KeyIndex::assign(const Key& key, uint64_t slot) {
  Entry& entry = entries_[locate(key)];
  assert(entry.slot != kNone);
  entry.slot = slot;
}

void KeyIndex::erase(const Key& key) {
  if (entries_.empty()) return;
  size_t hole = locate(key);
  if (entries_[hole].slot == kNone) return;
  const size_t mask = entries_.size() - 1;
  for (size_t next = (hole + 1) & mask; entries_[next].slot != kNone; next = (next + 1) & mask) {
    // An entry may move into the hole when its home is not between the hole and itself.
    if (((next - home(entries_[next].key)) & mask) >= ((next - hole) & mask)) {
      entries_[hole] = entries_[next];
      hole = next;
    }
  }
  entries_[hole] = Entry{};
  --size_;
}

void KeyIndex::reserve(size_t keys) {
  const size_t wanted = std::bit_ceil(keys * 8 / 5 + 16);
  if (wanted > entries_.size()) grow(wanted);
}

void KeyIndex::grow(size_t capacity) {
  std::vector<Entry> old(capacity);
  old.swap(entries_);
  for (const Entry& entry : old) {
    if (entry.slot != kNone) entries_[locate(entry.key)] = entry;
  }
}

}  // namespace shrike::features
