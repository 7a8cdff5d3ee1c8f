#include "features/sketch.h"

#include <cmath>
#include <cstring>

namespace shrike::features {
namespace {

void put(std::string& out, uint64_t word) { out.append(reinterpret_cast<const char*>(&word), sizeof(word)); }

bool take(std::string_view& bytes, uint64_t& word) {
  if (bytes.size() < sizeof(word)) return false;
  std::memcpy(&word, bytes.data(), sizeof(word));
  bytes.remove_prefix(sizeof(word));
  return true;
}

}  // namespace

void ValueSample::begin_sampling() {
  std::vector<Entry> all;
  all.swap(entries_);
  entries_.reserve(kSample + 1);
  for (const Entry& entry : all) sample(entry);
}

void ValueSample::sample(const Entry& entry) {
  const bool full = entries_.size() == kSample;
  if (full && entry.hash >= largest_) return;
  const auto same = [&](uint64_t hash) {
    return std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.hash == hash; });
  };
  if (same(entry.hash) != entries_.end()) return;
  if (full) entries_.erase(same(largest_));
  insert(entry);
  find_largest();
}

void ValueSample::find_largest() {
  largest_ = 0;
  for (const Entry& entry : entries_) largest_ = std::max(largest_, entry.hash);
}

void ValueSample::serialize(std::string& out) const {
  put(out, count_);
  put(out, entries_.size());
  for (const Entry& entry : entries_) {
    put(out, static_cast<uint64_t>(entry.value));
    put(out, entry.hash);
  }
}

bool ValueSample::parse(std::string_view& bytes) {
  clear();
  uint64_t size = 0, value = 0;
  if (!take(bytes, count_) || !take(bytes, size) || size > kExact || size > count_) return false;
  if (count_ <= kExact ? size != count_ : size > kSample || size == 0) return false;
  for (uint64_t i = 0; i < size; ++i) {
    Entry entry{};
    if (!take(bytes, value) || !take(bytes, entry.hash)) return false;
    entry.value = static_cast<int64_t>(value);
    if (!entries_.empty() && entry < entries_.back()) return false;
    entries_.push_back(entry);
  }
  if (count_ > kExact) find_largest();
  return true;
}

double DistinctSketch::distinct() const {
  if (!more_) return static_cast<double>(hashes_.size());
  return std::floor(static_cast<double>(kExact - 1) * 0x1p64 / static_cast<double>(hashes_.back()));
}

void DistinctSketch::serialize(std::string& out) const {
  put(out, more_ ? 1 : 0);
  put(out, hashes_.size());
  for (const uint64_t hash : hashes_) put(out, hash);
}

bool DistinctSketch::parse(std::string_view& bytes) {
  clear();
  uint64_t more = 0, size = 0, hash = 0;
  if (!take(bytes, more) || !take(bytes, size) || more > 1 || size > kExact) return false;
  if (more == 1 && size != kExact) return false;
  for (uint64_t i = 0; i < size; ++i) {
    if (!take(bytes, hash) || (!hashes_.empty() && hash <= hashes_.back())) return false;
    hashes_.push_back(hash);
  }
  more_ = more == 1;
  return true;
}

}  // namespace shrike::features
