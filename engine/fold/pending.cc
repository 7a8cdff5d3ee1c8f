#include "engine/fold/pending.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "engine/fold/answer_record.h"
#include "engine/fold/log.pb.h"

namespace shrike::engine {
namespace {
constexpr size_t kPieceBytes = 2 << 20;
}

void Pending::grow() {
  const size_t capacity = entries_.empty() ? 64 : entries_.size() * 2;
  std::vector<Entry> entries(capacity);
  std::vector<float> rows(capacity * columns_);
  std::vector<Key> keys(capacity * kinds_);
  for (uint64_t p = begin_; p < end_; ++p) {
    const size_t from = p & mask(), to = p & (capacity - 1);
    entries[to] = entries_[from];
    std::copy_n(&rows_[from * columns_], columns_, &rows[to * columns_]);
    if (kinds_ > 0) std::copy_n(&keys_[from * kinds_], kinds_, &keys[to * kinds_]);
  }
  entries_.swap(entries);
  rows_.swap(rows);
  keys_.swap(keys);
}

Pending::Entry& Pending::push(const features::Subject& subject, const Key& id, uint64_t content,
                              std::span<const float> row) {
  if (size() == entries_.size()) grow();
  const size_t to = end_ & mask();
  Entry& entry = entries_[to];
  entry = Entry{.sequence = subject.sequence, .content = content, .id = id, .time_us = subject.time_us};
  std::copy(row.begin(), row.end(), rows_.begin() + static_cast<std::ptrdiff_t>(to * columns_));
  std::copy(subject.entities.begin(), subject.entities.end(),
            keys_.begin() + static_cast<std::ptrdiff_t>(to * kinds_));
  index_.insert(id, end_);
  ++end_;
  return entry;
}

Pending::Entry* Pending::find(const Key& id) {
  const uint64_t position = index_.find(id);
  return position == features::KeyIndex::kNone ? nullptr : &at(position);
}

void Pending::pop_front() {
  assert(begin_ < end_);
  index_.erase(at(begin_).id);
  ++begin_;
}

std::span<const float> Pending::row(const Entry& entry) const {
  return {rows_.data() + slot(entry) * columns_, columns_};
}

void Pending::subject(const Entry& entry, features::Subject& out) const {
  out.sequence = entry.sequence;
  out.time_us = entry.time_us;
  const auto from = keys_.begin() + static_cast<std::ptrdiff_t>(slot(entry) * kinds_);
  out.entities.assign(from, from + static_cast<std::ptrdiff_t>(kinds_));
}

size_t Pending::bytes() const {
  return entries_.capacity() * sizeof(Entry) + rows_.capacity() * sizeof(float) +
         keys_.capacity() * sizeof(Key) + index_.bytes();
}

void Pending::save(const std::function<void(std::string)>& sink) const {
  proto::PendingPiece piece;
  size_t bytes = 0;
  for (uint64_t p = begin_; p < end_; ++p) {
    const Entry& entry = entries_[p & mask()];
    proto::PendingRecord& record = *piece.add_entries();
    record.set_sequence(entry.sequence);
    const auto id = to_bytes(entry.id);
    record.set_id(id.data(), id.size());
    record.set_time_us(entry.time_us);
    record.set_entities(&keys_[slot(entry) * kinds_], kinds_ * sizeof(Key));
    record.set_row(&rows_[slot(entry) * columns_], columns_ * sizeof(float));
    write_answer(entry.answer, record);
    record.set_labels(encode(entry.labels));
    record.set_matured(entry.matured);
    record.set_held(entry.held);
    record.set_content(entry.content);
    record.set_amount(entry.amount);
    record.set_settled(static_cast<uint32_t>(entry.settled));
    bytes += 200 + columns_ * sizeof(float) + kinds_ * sizeof(Key);
    if (bytes > kPieceBytes || p + 1 == end_) {
      sink(piece.SerializeAsString());
      piece.Clear();
      bytes = 0;
    }
  }
}

bool Pending::restore(std::string_view bytes) {
  proto::PendingPiece piece;
  if (!piece.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
  features::Subject subject;
  for (const proto::PendingRecord& record : piece.entries()) {
    if (record.row().size() != columns_ * sizeof(float) || record.entities().size() != kinds_ * sizeof(Key) ||
        record.model().size() != sizeof(ModelId) || find(to_key(record.id())) != nullptr) {
      return false;
    }
    subject.sequence = record.sequence();
    subject.time_us = record.time_us();
    subject.entities.resize(kinds_);
    std::memcpy(subject.entities.data(), record.entities().data(), record.entities().size());
    Entry& entry = push(subject, to_key(record.id()), record.content(), floats_from_bytes(record.row()));
    if (!read_answer(record, entry.answer) || !from_record(record.settled(), entry.settled)) return false;
    entry.labels = decode_label_state(record.labels());
    entry.matured = record.matured();
    entry.held = record.held();
    entry.answered = true;
    entry.amount = record.amount();
  }
  return true;
}

}  // namespace shrike::engine
