#include "storage/store.h"

#include <fmt/format.h>
#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>
#include <sys/resource.h>
#include <xxhash.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include "storage/impl.h"
#include "storage/info_log.h"

namespace shrike::storage {
namespace {

constexpr const char* kFamilyNames[] = {"default", "events",      "transactions", "labels",
                                        "models",  "checkpoints", "meta"};
constexpr const char* kFormatKey = "shrike-format";
constexpr const char* kFormat = "1";

rocksdb::Slice slice(const Key& key) { return {reinterpret_cast<const char*>(key.data()), key.size()}; }
rocksdb::Slice slice(std::string_view text) { return {text.data(), text.size()}; }

rocksdb::ColumnFamilyOptions family_options(Family family, const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  const bool by_point = family == kTransactions || family == kLabels;
  if (by_point) {  // most look-ups are for transactions never seen: the filter answers them
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    table.cache_index_and_filter_blocks = true;
    table.pin_l0_filter_and_index_blocks_in_cache = true;
    options.memtable_whole_key_filtering = true;
    options.memtable_prefix_bloom_size_ratio = 0.1;
  }
  options.write_buffer_size = family == kEvents ? 64 << 20 : 16 << 20;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.compression = rocksdb::kLZ4Compression;
  return options;
}

rocksdb::DBOptions db_options(const std::string& dir, const StoreOptions& options, bool read_only) {
  rocksdb::DBOptions db;
  db.create_if_missing = options.create_if_missing;
  db.create_missing_column_families = true;
  db.paranoid_checks = true;
  db.max_background_jobs = 2;
  db.max_total_wal_size = 256 << 20;
  // A record cut off at the end is a crash while it was written, and was never acknowledged; anything else
  // that is wrong in the write-ahead log is damage, and opening fails rather than go on without what follows
  // it.
  db.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  db.track_and_verify_wals_in_manifest = true;
  // A reader must not write here: a server may be at work.
  if (!read_only) db.info_log = open_info_log(dir);
  // Its files get at most a quarter of the descriptors where these are few.
  rlimit descriptors{};
  const bool known = getrlimit(RLIMIT_NOFILE, &descriptors) == 0;
  db.max_open_files = known ? static_cast<int>(std::min<rlim_t>(256, descriptors.rlim_cur / 4)) : 256;
  if (options.env != nullptr) db.env = options.env;
  for (const auto pool : {rocksdb::Env::LOW, rocksdb::Env::HIGH}) db.env->LowerThreadPoolCPUPriority(pool);
  return db;
}

// A directory that is empty, missing, or ours.
Result<void> check_directory(const std::string& dir, bool create) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::exists(dir, error)) {
    if (!create) {
      return tl::make_unexpected(
          Error{ErrorCode::kNotADataDirectory,
                fmt::format("{} does not exist; give the directory of `shrike serve --data`", dir)});
    }
    fs::create_directories(dir, error);
    if (error) {
      return tl::make_unexpected(
          Error{ErrorCode::kUnwritable,
                fmt::format("{} cannot be made: {}; choose a place you may write to", dir, error.message())});
    }
    // Payments of people: for the server's user alone.
    fs::permissions(dir, fs::perms::owner_all, error);
    return {};
  }
  if (!fs::is_directory(dir, error)) {
    return tl::make_unexpected(
        Error{ErrorCode::kNotADataDirectory, fmt::format("{} is not a directory; choose another path", dir)});
  }
  const bool ours = fs::exists(fs::path(dir) / "CURRENT", error);
  const bool empty = fs::is_empty(dir, error);
  if (error) {
    return tl::make_unexpected(
        Error{ErrorCode::kUnwritable,
              fmt::format("{} cannot be read: {}; check its permissions", dir, error.message())});
  }
  if (!ours && (!empty || !create)) {
    return tl::make_unexpected(Error{
        ErrorCode::kNotADataDirectory,
        fmt::format("{} holds something else than Shrike's data; choose an empty or new directory", dir)});
  }
  return {};
}

}  // namespace

Error to_error(const std::string& dir, const rocksdb::Status& status, std::string_view doing) {
  const std::string text = status.ToString();
  const auto make = [&](ErrorCode code, std::string_view remedy) {
    return Error{code, fmt::format("{}: {}: {}; {}", dir, doing, text, remedy)};
  };
  if (status.IsNotFound()) return make(ErrorCode::kNotFound, "it is not there");
  if (status.IsNoSpace() || text.find("No space") != std::string::npos) {
    return make(ErrorCode::kNoSpace, "free disk space; writing then goes on by itself");
  }
  if (text.find("lock") != std::string::npos && text.find("LOCK") != std::string::npos) {
    return {ErrorCode::kLocked,
            fmt::format("{} is in use by another running Shrike; stop it or choose another directory", dir)};
  }
  if (text.find("Permission denied") != std::string::npos ||
      text.find("Read-only file system") != std::string::npos) {
    return make(ErrorCode::kUnwritable, "check the permissions of the directory");
  }
  if (status.IsCorruption()) return make(ErrorCode::kCorrupt, "restore the directory from a copy");
  return make(ErrorCode::kIo, "check the disk");
}

tl::unexpected<Error> fail(const std::string& dir, const rocksdb::Status& status, std::string_view doing) {
  return tl::make_unexpected(to_error(dir, status, doing));
}

tl::unexpected<Error> closed(const std::string& dir) {
  return tl::make_unexpected(
      Error{ErrorCode::kIo, fmt::format("{} is being opened anew after a failure; try again", dir)});
}

rocksdb::WriteOptions synced() {
  rocksdb::WriteOptions options;
  options.sync = true;
  return options;
}

std::string sequence_key(uint64_t sequence) {
  std::string key(8, '\0');
  for (size_t i = 0; i < 8; ++i) key[i] = static_cast<char>(sequence >> (56 - 8 * i));
  return key;
}

uint64_t sequence_of(rocksdb::Slice key) {
  uint64_t sequence = 0;
  for (size_t i = 0; i < key.size() && i < 8; ++i) sequence = sequence << 8 | static_cast<uint8_t>(key[i]);
  return sequence;
}

std::string seal(std::string_view value) {
  const uint64_t hash = XXH3_64bits(value.data(), value.size());
  std::string sealed(sizeof(hash) + value.size(), '\0');
  std::memcpy(sealed.data(), &hash, sizeof(hash));
  std::memcpy(sealed.data() + sizeof(hash), value.data(), value.size());
  return sealed;
}

std::optional<std::string_view> unseal(rocksdb::Slice bytes) {
  uint64_t hash = 0;
  if (bytes.size() < sizeof(hash)) return std::nullopt;
  std::memcpy(&hash, bytes.data(), sizeof(hash));
  const std::string_view value(bytes.data() + sizeof(hash), bytes.size() - sizeof(hash));
  if (XXH3_64bits(value.data(), value.size()) != hash) return std::nullopt;
  return value;
}

Database::~Database() {
  if (!db) return;
  for (rocksdb::ColumnFamilyHandle* handle : families) db->DestroyColumnFamilyHandle(handle);
  db->Close();
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

namespace {

Result<void> find_ends(Store::Impl& impl, const Database& database) {
  std::unique_ptr<rocksdb::Iterator> it(database.db->NewIterator({}, database.family(kEvents)));
  it->SeekToFirst();
  if (it->Valid()) impl.first = sequence_of(it->key());
  if (!it->status().ok()) return fail(impl.dir, it->status(), "reading the log's beginning");
  it->SeekToLast();
  if (it->Valid()) impl.last = sequence_of(it->key());
  if (!it->status().ok()) return fail(impl.dir, it->status(), "reading the log's end");
  return {};
}

Result<void> check_format(const Store::Impl& impl, const Database& database, bool writable) {
  std::string format;
  const auto status = database.db->Get({}, database.family(kMeta), kFormatKey, &format);
  if (status.IsNotFound() && writable) {
    const auto put = database.db->Put(synced(), database.family(kMeta), kFormatKey, kFormat);
    if (!put.ok()) return fail(impl.dir, put, "writing the format version");
    return {};
  }
  if (!status.ok()) return fail(impl.dir, status, "reading the format version");
  if (format != kFormat) {
    return tl::make_unexpected(Error{
        ErrorCode::kNewerFormat,
        fmt::format("{} has format {}, this Shrike knows {}; use the Shrike that wrote it or a newer one",
                    impl.dir, format, kFormat)});
  }
  return {};
}

tl::unexpected<Error> missing(const std::string& dir, const std::string& what) {
  return tl::make_unexpected(
      Error{ErrorCode::kCorrupt,
            fmt::format(
                "{}: {}; restore the directory from a copy, or go on with what is there after `shrike repair "
                "{} --accept-loss`",
                dir, what, dir)});
}

// Before RocksDB opens it, and takes a cut manifest for a whole one.
Result<void> check_manifest(const std::string& dir, const Marks& marks) {
  Marks now;
  Marker::look_at_manifest(dir, now);
  if (now.manifest != marks.manifest || now.manifest_bytes >= marks.manifest_bytes) return {};
  return missing(dir, fmt::format("its manifest has {} of {} bytes: tables are missing", now.manifest_bytes,
                                  marks.manifest_bytes));
}

// Is all there that was acknowledged?
Result<void> check_marks(const Store::Impl& impl, const Database& database, const Marks& marks) {
  const uint64_t first = impl.first, last = impl.last;
  if (marks.last > last) {
    return missing(impl.dir,
                   fmt::format("the log ends at event {}, and events up to {} were acknowledged: {} are "
                               "missing",
                               last, marks.last, marks.last - last));
  }
  if (marks.first != 0 && first > marks.first)
    return missing(impl.dir, fmt::format("events {} to {} are missing", marks.first, first - 1));
  if (marks.writes > database.db->GetLatestSequenceNumber())
    return missing(impl.dir, "the newest writes, of models, checkpoints or labels, are missing");
  return {};
}

// Files of earlier versions were open to others; new ones have the process's mask.
void keep_private(const std::string& dir) {
  namespace fs = std::filesystem;
  std::error_code error;
  for (const auto& file : fs::directory_iterator(dir, error)) {
    if (file.is_regular_file(error))
      fs::permissions(file.path(), fs::perms::owner_read | fs::perms::owner_write, error);
  }
}

// Tells the marker of tables that were added.
class TableListener : public rocksdb::EventListener {
 public:
  explicit TableListener(Marker& marker) : marker_(marker) {}
  void OnFlushCompleted(rocksdb::DB*, const rocksdb::FlushJobInfo&) override { marker_.table_added(); }
  void OnCompactionCompleted(rocksdb::DB*, const rocksdb::CompactionJobInfo&) override {
    marker_.table_added();
  }

 private:
  Marker& marker_;
};

// `marker` is null for reading.
Result<DatabasePtr> open_database(const std::string& dir, const StoreOptions& options, Marker* marker) {
  const bool read_only = marker == nullptr;
  const auto cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (int f = 0; f < kFamilies; ++f) {
    descriptors.emplace_back(kFamilyNames[f], family_options(static_cast<Family>(f), cache));
  }
  auto database = std::make_shared<Database>();
  rocksdb::DB* db = nullptr;
  rocksdb::DBOptions settings = db_options(dir, options, read_only);
  if (!read_only) settings.listeners.push_back(std::make_shared<TableListener>(*marker));
  const auto status = read_only
                          ? rocksdb::DB::OpenForReadOnly(settings, dir, descriptors, &database->families, &db)
                          : rocksdb::DB::Open(settings, dir, descriptors, &database->families, &db);
  database->db.reset(db);
  if (!status.ok()) return fail(dir, status, "opening");
  return database;
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const std::string& dir, const StoreOptions& options) {
  if (auto ok = check_directory(dir, options.create_if_missing); !ok) return tl::make_unexpected(ok.error());
  auto impl = std::make_unique<Impl>();
  impl->dir = dir;
  impl->options = options;
  const Marks marks = options.accept_loss ? Marks{} : Marker::read(dir);
  if (auto ok = check_manifest(dir, marks); !ok) return tl::make_unexpected(ok.error());
  auto database = open_database(dir, options, impl->marker.get());
  if (!database) return tl::make_unexpected(database.error());
  if (auto ok = check_format(*impl, **database, true); !ok) return tl::make_unexpected(ok.error());
  if (auto ok = find_ends(*impl, **database); !ok) return tl::make_unexpected(ok.error());
  if (auto ok = check_marks(*impl, **database, marks); !ok) return tl::make_unexpected(ok.error());
  const Marks now{
      .last = impl->last, .first = impl->first, .writes = (*database)->db->GetLatestSequenceNumber()};
  if (auto ok = impl->marker->open(dir, now); !ok) return tl::make_unexpected(ok.error());
  impl->replace(std::move(*database));
  std::unique_ptr<Store> store(new Store(std::move(impl)));
  if (auto swept = store->sweep_checkpoints(); !swept) return tl::make_unexpected(swept.error());
  keep_private(dir);
  return store;
}

Result<std::unique_ptr<Store>> Store::open_read_only(const std::string& dir) {
  if (auto ok = check_directory(dir, false); !ok) return tl::make_unexpected(ok.error());
  constexpr int kTries = 5;  // the serving process may delete a file that was just listed
  auto impl = std::make_unique<Impl>();
  impl->dir = dir;
  impl->options.create_if_missing = false;
  Result<DatabasePtr> database = tl::make_unexpected(Error{});
  for (int i = 0; i < kTries && !database; ++i) database = open_database(dir, impl->options, nullptr);
  if (!database) return tl::make_unexpected(database.error());
  if (auto ok = check_format(*impl, **database, false); !ok) return tl::make_unexpected(ok.error());
  if (auto ok = find_ends(*impl, **database); !ok) return tl::make_unexpected(ok.error());
  impl->replace(std::move(*database));
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Result<void> Store::append(std::span<const Record> records, bool sync) {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  if (records.empty()) return {};
  rocksdb::WriteBatch batch;
  for (const Record& record : records) {
    const std::string key = sequence_key(record.sequence);
    batch.Put(database->family(kEvents), key, seal(record.value));
    if (record.transaction) batch.Put(database->family(kTransactions), slice(*record.transaction), key);
    if (record.label)
      batch.Put(database->family(kLabels), slice(record.label->transaction), slice(record.label->value));
  }
  rocksdb::WriteOptions options;
  options.sync = sync;
  const auto status = database->db->Write(options, &batch);
  impl_->broken = !status.ok();
  if (!status.ok()) return fail(impl_->dir, status, "writing the log");
  if (impl_->first == 0) impl_->first = records.front().sequence;
  impl_->last = records.back().sequence;
  if (sync) impl_->marker->committed(impl_->last, database->db->GetLatestSequenceNumber());
  return {};
}

uint64_t Store::last_sequence() const { return impl_->last; }
uint64_t Store::first_sequence() const { return impl_->first; }

struct Cursor::Impl {
  DatabasePtr database;  // outlives the iterator
  std::string dir;
  std::unique_ptr<rocksdb::Iterator> it;
  uint64_t expected = 0;
  bool moved = false;
};

Cursor::Cursor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Cursor::Cursor(Cursor&&) noexcept = default;
Cursor::~Cursor() = default;

Cursor Store::read(uint64_t from_sequence) const {
  auto impl = std::make_unique<Cursor::Impl>();
  impl->dir = impl_->dir;
  impl->database = impl_->database();
  if (!impl->database) return Cursor(std::move(impl));
  rocksdb::ReadOptions options;
  options.readahead_size = 1 << 20;
  options.fill_cache = false;
  impl->it.reset(impl->database->db->NewIterator(options, impl->database->family(kEvents)));
  impl->it->Seek(sequence_key(from_sequence));
  return Cursor(std::move(impl));
}

Result<std::optional<EventView>> Cursor::next() {
  if (!impl_->it) return closed(impl_->dir);
  rocksdb::Iterator& it = *impl_->it;
  if (impl_->moved) it.Next();
  if (!it.Valid()) {
    if (!it.status().ok()) return fail(impl_->dir, it.status(), "reading the log");
    return std::optional<EventView>();
  }
  const uint64_t sequence = sequence_of(it.key());
  if (impl_->moved && sequence != impl_->expected) {
    return tl::make_unexpected(
        Error{ErrorCode::kCorrupt,
              fmt::format("{}: event {} is missing from the log; restore the directory from a copy",
                          impl_->dir, impl_->expected)});
  }
  const auto value = unseal(it.value());
  if (!value) {
    return tl::make_unexpected(Error{
        ErrorCode::kCorrupt,
        fmt::format("{}: event {} is damaged; restore the directory from a copy", impl_->dir, sequence)});
  }
  impl_->moved = true;
  impl_->expected = sequence + 1;
  return std::optional<EventView>(EventView{sequence, *value});
}

Result<std::string> Store::get_event(uint64_t sequence) const {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  rocksdb::PinnableSlice bytes;
  const auto status = database->db->Get({}, database->family(kEvents), sequence_key(sequence), &bytes);
  if (!status.ok()) return fail(impl_->dir, status, fmt::format("reading event {}", sequence));
  const auto value = unseal(bytes);
  if (!value)
    return fail(impl_->dir, rocksdb::Status::Corruption("checksum"),
                fmt::format("reading event {}", sequence));
  return std::string(*value);
}

Result<std::optional<uint64_t>> Store::find_transaction(const Key& transaction) const {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  rocksdb::PinnableSlice bytes;
  const auto status = database->db->Get({}, database->family(kTransactions), slice(transaction), &bytes);
  if (status.IsNotFound()) return std::optional<uint64_t>();
  if (!status.ok()) return fail(impl_->dir, status, "looking up a transaction");
  return std::optional<uint64_t>(sequence_of(bytes));
}

Result<std::optional<std::string>> Store::find_label(const Key& transaction) const {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  std::string bytes;
  const auto status = database->db->Get({}, database->family(kLabels), slice(transaction), &bytes);
  if (status.IsNotFound()) return std::optional<std::string>();
  if (!status.ok()) return fail(impl_->dir, status, "looking up a label");
  return std::optional<std::string>(std::move(bytes));
}

Result<void> Store::trim_before(uint64_t sequence, const KeyOf& key_of) {
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  const auto checkpoint = latest_checkpoint();
  if (!checkpoint) return tl::make_unexpected(checkpoint.error());
  if (!*checkpoint) return {};
  sequence = std::min(sequence, (*checkpoint)->sequence);
  constexpr size_t kPerBatch = 4096;
  while (impl_->first < sequence) {
    rocksdb::WriteBatch batch;
    Cursor cursor = read(impl_->first);
    uint64_t upto = impl_->first;
    for (size_t i = 0; i < kPerBatch; ++i) {
      auto event = cursor.next();
      if (!event) return tl::make_unexpected(event.error());
      if (!*event || (*event)->sequence >= sequence) break;
      upto = (*event)->sequence + 1;
      batch.Delete(database->family(kEvents), sequence_key((*event)->sequence));
      const auto key = key_of((*event)->value);
      if (!key) continue;
      batch.Delete(database->family(kLabels), slice(*key));
    }
    impl_->marker->trimming(upto);
    const auto status = database->db->Write({}, &batch);
    if (!status.ok()) return fail(impl_->dir, status, "deleting old events");
    if (upto == impl_->first) break;
    impl_->first = upto;
  }
  return forget_index();
}

// Walks the whole index, so only when a quarter of what it may keep has become too old.
Result<void> Store::forget_index() {
  const uint64_t held = impl_->last - impl_->first + 1;
  const uint64_t keep_from = impl_->first > held ? impl_->first - held : 0;
  if (keep_from < impl_->index_from + held / 4) return {};
  const DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  std::unique_ptr<rocksdb::Iterator> it(database->db->NewIterator(options, database->family(kTransactions)));
  constexpr int kPerBatch = 4096;
  rocksdb::WriteBatch batch;
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    if (sequence_of(it->value()) >= keep_from) continue;
    batch.Delete(database->family(kTransactions), it->key());
    if (batch.Count() < kPerBatch) continue;
    if (const auto status = database->db->Write({}, &batch); !status.ok())
      return fail(impl_->dir, status, "deleting old index entries");
    batch.Clear();
  }
  if (!it->status().ok()) return fail(impl_->dir, it->status(), "reading the index of transactions");
  if (const auto status = database->db->Write({}, &batch); !status.ok())
    return fail(impl_->dir, status, "deleting old index entries");
  impl_->index_from = keep_from;
  return {};
}

// What RocksDB cannot mend by itself (its own write-ahead log failed half-way) is mended by opening it anew.
Result<void> Store::resume() {
  const std::lock_guard one_at_a_time(impl_->resuming);
  DatabasePtr database = impl_->database();
  // An earlier try may have closed it and found no room to open it again.
  if (!database) return reopen();
  const auto status = database->db->Resume();
  if (status.ok()) return {};
  const std::weak_ptr<Database> old = database;
  database.reset();
  impl_->replace(nullptr);
  constexpr int kWaits = 500;  // of a millisecond, for others to let go
  for (int i = 0; i < kWaits && !old.expired(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (DatabasePtr still = old.lock()) {
    impl_->replace(std::move(still));
    return fail(impl_->dir, status, "resuming, while the log is being read");
  }
  return reopen();
}

Result<void> Store::reopen() {
  auto fresh = open_database(impl_->dir, impl_->options, impl_->marker.get());
  if (!fresh) return tl::make_unexpected(fresh.error());
  impl_->replace(std::move(*fresh));
  return {};
}

Result<void> Store::flush() {
  DatabasePtr database = impl_->database();
  if (!database) return closed(impl_->dir);
  if (auto status = database->db->Flush({}, database->families); !status.ok())
    return fail(impl_->dir, status, "writing tables");
  return {};
}

bool Store::healthy() const { return !impl_->broken; }

uint64_t Store::disk_bytes() const {
  uint64_t total = 0;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(impl_->dir, error)) {
    if (file.is_regular_file(error)) total += file.file_size(error);
  }
  return total;
}

}  // namespace shrike::storage
