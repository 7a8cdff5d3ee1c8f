// What the parts of Store share. Internal to storage/.
#pragma once

#include <rocksdb/db.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "storage/marker.h"
#include "storage/store.h"

namespace shrike::storage {

enum Family { kDefault, kEvents, kTransactions, kLabels, kModels, kCheckpoints, kMeta, kFamilies };

// An open database; closes when the last user lets go.
struct Database {
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;

  ~Database();
  rocksdb::ColumnFamilyHandle* family(Family one) const { return families[one]; }
};
using DatabasePtr = std::shared_ptr<Database>;

struct Store::Impl {
  std::string dir;
  StoreOptions options;
  std::atomic<uint64_t> first{0}, last{0};
  std::atomic<bool> broken{false};
  uint64_t index_from = 0;  // older index entries were deleted; trim_before()'s thread
  std::unique_ptr<Marker> marker = std::make_unique<Marker>();  // of a writable store; outlives the database

  std::mutex resuming;  // one resume() at a time

  // Every operation holds the database while it runs, because resume() may have to open it anew.
  DatabasePtr database() const {
    const std::lock_guard lock(mutex);
    return current;
  }
  void replace(DatabasePtr fresh) {
    const std::lock_guard lock(mutex);
    current = std::move(fresh);
  }

 private:
  mutable std::mutex mutex;
  DatabasePtr current;
};

Error to_error(const std::string& dir, const rocksdb::Status& status, std::string_view doing);
tl::unexpected<Error> fail(const std::string& dir, const rocksdb::Status& status, std::string_view doing);
tl::unexpected<Error> closed(const std::string& dir);
rocksdb::WriteOptions synced();

// Big-endian, so that keys sort as numbers do.
std::string sequence_key(uint64_t sequence);
uint64_t sequence_of(rocksdb::Slice key);
// A value with its own XXH3-64 in front; unseal() gives nothing when they disagree.
std::string seal(std::string_view value);
std::optional<std::string_view> unseal(rocksdb::Slice bytes);

}  // namespace shrike::storage
