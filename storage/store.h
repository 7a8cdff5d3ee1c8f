// The data directory on RocksDB: the event log, the indexes from transactions to events and labels, models by
// content hash, checkpoints, small facts. Knows bytes, keys and sequence numbers; not what a feature or a
// model is.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

namespace rocksdb {
class Env;
}

namespace shrike::storage {

enum class ErrorCode {
  kLocked,   // another process serves from this directory
  kNoSpace,  // the disk is full
  kIo,       // the disk or the file system failed
  kCorrupt,  // bytes are not what was written
  kNotFound,
  kNotADataDirectory,
  kUnwritable,
  kNewerFormat,  // written by a newer Shrike
};

struct Error {
  ErrorCode code = ErrorCode::kIo;
  std::string reason;  // a sentence that names the path and the remedy
};

template <typename T>
using Result = tl::expected<T, Error>;

using Key = std::array<uint8_t, 16>;

struct LabelEntry {
  Key transaction;
  std::string_view value;
};

struct Record {
  uint64_t sequence = 0;
  std::string_view value;
  std::optional<Key> transaction = {};   // indexes the event under this transaction
  std::optional<LabelEntry> label = {};  // replaces the transaction's label state
};

struct StoreOptions {
  bool create_if_missing = true;
  size_t block_cache_bytes = 64 << 20;
  size_t checkpoints_kept = 2;
  bool accept_loss = false;  // opens though acknowledged events are missing; what is there counts from now on
  rocksdb::Env* env = nullptr;  // for fault injection; null: the real one. Must outlive the store.
};

struct ModelInfo {
  std::string hash;
  size_t bytes = 0;
};

struct EventView {
  uint64_t sequence = 0;
  std::string_view value;  // valid until the cursor moves
};

// Walks the log in order of sequence, over a consistent snapshot. One thread; must not outlive its store.
class Cursor {
 public:
  ~Cursor();
  Cursor(Cursor&&) noexcept;
  // The next event, or nothing at the end. A gap in the sequence or a damaged event is kCorrupt.
  Result<std::optional<EventView>> next();

 private:
  friend class Store;
  struct Impl;
  explicit Cursor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct Checkpoint {
  uint64_t sequence = 0;
  std::vector<std::pair<std::string, std::vector<std::string>>> parts;  // in the order written
  std::string note;  // says so when a newer checkpoint was damaged and passed over
};

// What verify() has read.
struct Verification {
  uint64_t events = 0, transactions = 0, labels = 0, models = 0, checkpoints = 0;
  uint64_t bytes = 0;
};

class CheckpointWriter {
 public:
  virtual ~CheckpointWriter() = default;
  virtual Result<void> add(const std::string& part, std::string_view chunk) = 0;
  // After it returns the whole checkpoint is durable and visible; before, nothing of it is.
  virtual Result<void> commit() = 0;
};

// Any number of threads may call any function at once, but append() and trim_before() are for one thread
// each. After append(sync = true) returns, the records survive a power cut; with sync = false they survive
// kill -9 of the process. A directory that has lost synced records is not opened. Either all records of a
// call are there or none. After an error nothing is half-written; resume() and the same append() again
// continue.
class Store {
 public:
  static Result<std::unique_ptr<Store>> open(const std::string& dir, const StoreOptions& options);
  // Sees everything written so far, also while another process serves from the directory. Writing fails.
  static Result<std::unique_ptr<Store>> open_read_only(const std::string& dir);
  ~Store();

  Result<void> append(std::span<const Record> records, bool sync);
  uint64_t last_sequence() const;   // 0: the log is empty
  uint64_t first_sequence() const;  // after retention; 0: the log is empty
  Cursor read(uint64_t from_sequence) const;
  Result<std::string> get_event(uint64_t sequence) const;
  Result<std::optional<uint64_t>> find_transaction(const Key& transaction) const;
  Result<std::optional<std::string>> find_label(const Key& transaction) const;

  Result<void> put_model(const std::string& hash, std::string_view bytes);
  Result<std::string> get_model(const std::string& hash) const;
  Result<std::vector<ModelInfo>> list_models() const;
  Result<void> erase_model(const std::string& hash);

  Result<std::unique_ptr<CheckpointWriter>> begin_checkpoint(uint64_t sequence);
  Result<std::optional<Checkpoint>> latest_checkpoint() const;
  // Of those committed, oldest first.
  Result<std::vector<uint64_t>> list_checkpoints() const;
  // Nothing when it is damaged.
  Result<std::optional<Checkpoint>> get_checkpoint(uint64_t sequence) const;

  Result<void> put_meta(const std::string& key, std::string_view value);
  Result<std::optional<std::string>> get_meta(const std::string& key) const;

  // Retention: deletes events before `sequence`, never past the newest checkpoint, and the labels of those
  // for which `key_of` gives a transaction's key. Index entries stay, for find_transaction() to tell what was
  // there once, about as many as there are events; older ones go.
  using KeyOf = std::function<std::optional<Key>(std::string_view event)>;
  Result<void> trim_before(uint64_t sequence, const KeyOf& key_of);

  // After a background error such as a full disk: makes the store writable again if the cause is gone.
  Result<void> resume();
  bool healthy() const;
  // Reads everything; `problem` gets a sentence for each thing that is wrong. The caller looks into what the
  // store does not understand: an empty string is good news.
  struct Inspect {
    std::function<std::string(uint64_t sequence, std::string_view bytes)> event;
    std::function<std::string(std::string_view bytes)> label;
    std::function<std::string(const std::string& hash, std::string_view bytes)> model;
  };
  Verification verify(const Inspect& inspect, const std::function<void(std::string)>& problem) const;
  // What the write-ahead log holds goes to checksummed tables. Waits for RocksDB's own threads, which run in
  // what others leave over.
  Result<void> flush();
  uint64_t disk_bytes() const;

  struct Impl;

 private:
  explicit Store(std::unique_ptr<Impl> impl);
  Result<void> reopen();
  Result<void> forget_index();
  // Deletes what is left of checkpoints that were never committed.
  Result<void> sweep_checkpoints();
  std::unique_ptr<Impl> impl_;
};

}  // namespace shrike::storage
