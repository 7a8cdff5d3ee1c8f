// Models, checkpoints and small facts in the store.
#include <fmt/format.h>
#include <rocksdb/write_batch.h>

#include <charconv>

#include "storage/impl.h"

namespace shrike::storage {
namespace {

// Keys in the checkpoints family: "c" SEQUENCE is a committed checkpoint's manifest, "p" SEQUENCE SERIAL a
// chunk (value: part name, NUL, bytes). A chunk without its manifest was never committed.
std::string manifest_key(uint64_t sequence) { return "c" + sequence_key(sequence); }
std::string chunk_key(uint64_t sequence, uint64_t serial) {
  return "p" + sequence_key(sequence) + sequence_key(serial);
}

class Writer : public CheckpointWriter {
 public:
  Writer(Store::Impl& impl, DatabasePtr database, uint64_t sequence)
      : impl_(impl), database_(std::move(database)), sequence_(sequence) {}

  Result<void> add(const std::string& part, std::string_view chunk) override {
    std::string value = part;
    value += '\0';
    value += chunk;
    const auto status =
        database_->db->Put({}, database_->family(kCheckpoints), chunk_key(sequence_, chunks_++), seal(value));
    if (!status.ok()) return fail(impl_.dir, status, "writing a checkpoint");
    return {};
  }

  Result<void> commit() override {
    const auto status = database_->db->Put(synced(), database_->family(kCheckpoints), manifest_key(sequence_),
                                           seal(fmt::format("{}", chunks_)));
    if (!status.ok()) return fail(impl_.dir, status, "writing a checkpoint");
    impl_.marker->written(database_->db->GetLatestSequenceNumber());
    return drop_older();
  }

 private:
  Result<void> drop_older() {
    std::vector<uint64_t> committed;
    std::unique_ptr<rocksdb::Iterator> it(database_->db->NewIterator({}, database_->family(kCheckpoints)));
    for (it->Seek("c"); it->Valid() && it->key().starts_with("c"); it->Next()) {
      committed.push_back(sequence_of({it->key().data() + 1, 8}));
    }
    for (size_t i = 0; i + impl_.options.checkpoints_kept < committed.size(); ++i) {
      rocksdb::WriteBatch batch;
      batch.Delete(database_->family(kCheckpoints), manifest_key(committed[i]));
      batch.DeleteRange(database_->family(kCheckpoints), chunk_key(committed[i], 0),
                        chunk_key(committed[i], UINT64_MAX));
      const auto status = database_->db->Write({}, &batch);
      if (!status.ok()) return fail(impl_.dir, status, "deleting an old checkpoint");
    }
    return {};
  }

  Store::Impl& impl_;
  DatabasePtr database_;
  uint64_t sequence_, chunks_ = 0;
};

// Nothing when a chunk is missing or damaged.
std::optional<Checkpoint> read_checkpoint(const Database& database, uint64_t sequence,
                                          std::string_view manifest) {
  uint64_t chunks = 0;
  std::from_chars(manifest.data(), manifest.data() + manifest.size(), chunks);
  Checkpoint checkpoint{sequence, {}, ""};
  for (uint64_t i = 0; i < chunks; ++i) {
    rocksdb::PinnableSlice bytes;
    if (!database.db->Get({}, database.family(kCheckpoints), chunk_key(sequence, i), &bytes).ok())
      return std::nullopt;
    const auto value = unseal(bytes);
    if (!value) return std::nullopt;
    const size_t nul = value->find('\0');
    if (nul == std::string_view::npos) return std::nullopt;
    const std::string part(value->substr(0, nul));
    if (checkpoint.parts.empty() || checkpoint.parts.back().first != part)
      checkpoint.parts.push_back({part, {}});
    checkpoint.parts.back().second.emplace_back(value->substr(nul + 1));
  }
  return checkpoint;
}

}  // namespace

Result<std::unique_ptr<CheckpointWriter>> Store::begin_checkpoint(uint64_t sequence) {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  return std::make_unique<Writer>(*impl_, database, sequence);
}

Result<std::optional<Checkpoint>> Store::latest_checkpoint() const {
  auto committed = list_checkpoints();
  if (!committed) return tl::make_unexpected(committed.error());
  std::string note;
  for (; !committed->empty(); committed->pop_back()) {
    auto checkpoint = get_checkpoint(committed->back());
    if (!checkpoint) return checkpoint;
    if (*checkpoint) {
      (*checkpoint)->note = note;
      return checkpoint;
    }
    note += fmt::format("the checkpoint at event {} is damaged and was passed over. ", committed->back());
  }
  return std::optional<Checkpoint>();
}

Result<std::vector<uint64_t>> Store::list_checkpoints() const {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  std::vector<uint64_t> committed;
  std::unique_ptr<rocksdb::Iterator> it(database->db->NewIterator({}, database->family(kCheckpoints)));
  for (it->Seek("c"); it->Valid() && it->key().starts_with("c"); it->Next())
    committed.push_back(sequence_of({it->key().data() + 1, 8}));
  if (!it->status().ok()) return fail(impl_->dir, it->status(), "reading checkpoints");
  return committed;
}

Result<std::optional<Checkpoint>> Store::get_checkpoint(uint64_t sequence) const {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  std::string sealed;
  const auto status = database->db->Get({}, database->family(kCheckpoints), manifest_key(sequence), &sealed);
  if (!status.ok())
    return fail(impl_->dir, status, fmt::format("reading the checkpoint at event {}", sequence));
  const auto manifest = unseal(sealed);
  return manifest ? read_checkpoint(*database, sequence, *manifest) : std::nullopt;
}

Result<void> Store::sweep_checkpoints() {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  std::unique_ptr<rocksdb::Iterator> it(database->db->NewIterator({}, database->family(kCheckpoints)));
  rocksdb::WriteBatch batch;
  for (it->Seek("p"); it->Valid(); it->Next()) {
    const uint64_t sequence = sequence_of({it->key().data() + 1, 8});
    std::string manifest;
    if (database->db->Get({}, database->family(kCheckpoints), manifest_key(sequence), &manifest)
            .IsNotFound()) {
      batch.Delete(database->family(kCheckpoints), it->key());
    }
  }
  if (batch.Count() == 0) return {};
  const auto status = database->db->Write({}, &batch);
  if (!status.ok()) return fail(impl_->dir, status, "deleting an unfinished checkpoint");
  return {};
}

Result<void> Store::put_model(const std::string& hash, std::string_view bytes) {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  const auto status = database->db->Put(synced(), database->family(kModels), hash, seal(bytes));
  if (!status.ok()) return fail(impl_->dir, status, "writing a model");
  impl_->marker->written(database->db->GetLatestSequenceNumber());
  return {};
}

Result<std::string> Store::get_model(const std::string& hash) const {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  rocksdb::PinnableSlice bytes;
  const auto status = database->db->Get({}, database->family(kModels), hash, &bytes);
  if (!status.ok()) return fail(impl_->dir, status, fmt::format("reading model {}", hash));
  const auto value = unseal(bytes);
  if (!value)
    return fail(impl_->dir, rocksdb::Status::Corruption("checksum"), fmt::format("reading model {}", hash));
  return std::string(*value);
}

Result<std::vector<ModelInfo>> Store::list_models() const {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  std::vector<ModelInfo> all;
  std::unique_ptr<rocksdb::Iterator> it(database->db->NewIterator({}, database->family(kModels)));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    all.push_back({it->key().ToString(), it->value().size() - sizeof(uint64_t)});
  }
  if (!it->status().ok()) return fail(impl_->dir, it->status(), "listing models");
  return all;
}

Result<void> Store::erase_model(const std::string& hash) {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  const auto status = database->db->Delete(synced(), database->family(kModels), hash);
  if (!status.ok()) return fail(impl_->dir, status, "deleting a model");
  return {};
}

Result<void> Store::put_meta(const std::string& key, std::string_view value) {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  const auto status = database->db->Put(synced(), database->family(kMeta), "m/" + key,
                                        rocksdb::Slice(value.data(), value.size()));
  if (!status.ok()) return fail(impl_->dir, status, "writing");
  impl_->marker->written(database->db->GetLatestSequenceNumber());
  return {};
}

Result<std::optional<std::string>> Store::get_meta(const std::string& key) const {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  std::string value;
  const auto status = database->db->Get({}, database->family(kMeta), "m/" + key, &value);
  if (status.IsNotFound()) return std::optional<std::string>();
  if (!status.ok()) return fail(impl_->dir, status, "reading");
  return std::optional<std::string>(std::move(value));
}

}  // namespace shrike::storage
