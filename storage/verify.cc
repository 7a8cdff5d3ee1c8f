// Reads every byte of a data directory and says what is wrong.
#include <fmt/format.h>

#include <algorithm>

#include "storage/impl.h"
#include "storage/marker.h"

namespace shrike::storage {
namespace {

using Say = std::function<void(std::string)>;

std::unique_ptr<rocksdb::Iterator> walk(const Database& database, Family family) {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  options.readahead_size = 1 << 20;
  return std::unique_ptr<rocksdb::Iterator>(database.db->NewIterator(options, database.family(family)));
}

void say_status(const rocksdb::Iterator& it, const char* what, const Say& problem) {
  if (!it.status().ok()) problem(fmt::format("{} cannot be read: {}", what, it.status().ToString()));
}

}  // namespace

Verification Store::verify(const Inspect& inspect, const Say& problem) const {
  Verification found;
  const DatabasePtr database = impl_->database();
  if (!database) {
    problem(closed(impl_->dir).value().reason);
    return found;
  }
  if (const auto status = database->db->VerifyChecksum(); !status.ok())
    problem(fmt::format("a table is damaged: {}", status.ToString()));

  uint64_t expected = impl_->first;
  auto events = walk(*database, kEvents);
  for (events->SeekToFirst(); events->Valid(); events->Next(), ++expected) {
    const uint64_t sequence = sequence_of(events->key());
    if (sequence != expected) problem(fmt::format("events {} to {} are missing", expected, sequence - 1));
    expected = sequence;
    ++found.events;
    const auto value = unseal(events->value());
    std::string reason = value ? inspect.event(sequence, *value) : "its checksum does not fit";
    if (!reason.empty()) problem(fmt::format("event {} is damaged: {}", sequence, reason));
  }
  say_status(*events, "the log", problem);
  const uint64_t last = expected - (found.events > 0 ? 1 : 0);
  if (const uint64_t marked = Marker::read(impl_->dir).last; marked > last)
    problem(fmt::format("events {} to {} were acknowledged and are missing", last + 1, marked));

  auto index = walk(*database, kTransactions);
  for (index->SeekToFirst(); index->Valid(); index->Next()) {
    ++found.transactions;
    const uint64_t sequence = sequence_of(index->value());
    if (index->value().size() != 8 || sequence > last)
      problem(fmt::format("the index of transactions names event {}, which does not exist", sequence));
  }
  say_status(*index, "the index of transactions", problem);
  auto labels = walk(*database, kLabels);
  for (labels->SeekToFirst(); labels->Valid(); labels->Next()) {
    ++found.labels;
    const std::string reason =
        inspect.label(std::string_view(labels->value().data(), labels->value().size()));
    if (!reason.empty()) problem(fmt::format("a label is damaged: {}", reason));
  }
  say_status(*labels, "labels", problem);

  auto models = walk(*database, kModels);
  for (models->SeekToFirst(); models->Valid(); models->Next()) {
    ++found.models;
    const auto value = unseal(models->value());
    const std::string hash = models->key().ToString();
    const std::string reason = value ? inspect.model(hash, *value) : "its checksum does not fit";
    if (!reason.empty()) problem(fmt::format("model {} is damaged: {}", hash, reason));
  }
  say_status(*models, "models", problem);
  const auto committed = list_checkpoints();
  if (!committed) {
    problem(committed.error().reason);
    return found;
  }
  for (const uint64_t sequence : *committed) {
    ++found.checkpoints;
    const auto checkpoint = get_checkpoint(sequence);
    if (!checkpoint) {
      problem(checkpoint.error().reason);
    } else if (!*checkpoint) {
      problem(fmt::format("the checkpoint at event {} is damaged", sequence));
    } else if (sequence > last) {
      problem(fmt::format("the checkpoint at event {} is newer than the log's end, {}", sequence, last));
    }
  }
  found.bytes = disk_bytes();
  return found;
}

}  // namespace shrike::storage
