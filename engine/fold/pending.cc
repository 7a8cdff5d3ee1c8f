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

void Pending::add_chunk() {
  if (!spares_.empty()) {
    chunks_.push_back(std::move(spares_.back()));
    spares_.pop_back();
    return;
  }
  auto chunk = std::make_unique<Chunk>();
  chunk->rows.resize(kChunk * columns_);
  chunk->keys.resize(kChunk * kinds_);
  chunks_.push_back(std::move(chunk));
}

Pending::Entry& Pending::push(const features::Subject& subject, const Key& id, uint64_t content,
                              std::span<const float> row) {
  if (chunks_.empty() || end_ / kChunk - begin_ / kChunk == chunks_.size()) add_chunk();
  Chunk& chunk = this->chunk(end_);
  const size_t to = end_ % kChunk;
  Entry& entry = chunk.entries[to];
  entry = Entry{.position = end_,
                .sequence = subject.sequence,
                .content = content,
                .id = id,
                .time_us = subject.time_us};
  std::copy(row.begin(), row.end(), chunk.rows.begin() + static_cast<std::ptrdiff_t>(to * columns_));
  std::copy(subject.entities.begin(), subject.entities.end(),
            chunk.keys.begin() + static_cast<std::ptrdiff_t>(to * kinds_));
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
  if (++begin_ % kChunk != 0) return;
  if (spares_.size() < kSparesMax) spares_.push_back(std::move(chunks_.front()));
  chunks_.pop_front();
}

std::span<const float> Pending::row(const Entry& entry) const {
  return {chunk(entry.position).rows.data() + entry.position % kChunk * columns_, columns_};
}

void Pending::subject(const Entry& entry, features::Subject& out) const {
  out.sequence = entry.sequence;
  out.time_us = entry.time_us;
  out.entities.assign(keys(entry), keys(entry) + kinds_);
}

size_t Pending::bytes() const {
  const size_t of_chunk = sizeof(Chunk) + kChunk * (columns_ * sizeof(float) + kinds_ * sizeof(Key));
  return (chunks_.size() + spares_.size()) * of_chunk + index_.bytes();
}

void Pending::save(const std::function<void(std::string)>& sink) const {
  proto::PendingPiece piece;
  size_t bytes = 0;
  for (uint64_t p = begin_; p < end_; ++p) {
    const Entry& entry = at(p);
    proto::PendingRecord& record = *piece.add_entries();
    record.set_sequence(entry.sequence);
    const auto id = to_bytes(entry.id);
    record.set_id(id.data(), id.size());
    record.set_time_us(entry.time_us);
    record.set_entities(keys(entry), kinds_ * sizeof(Key));
    record.set_row(row(entry).data(), columns_ * sizeof(float));
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
