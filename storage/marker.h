// Lower bounds of what a data directory must hold, in a file of its own beside the database. RocksDB takes a
// write-ahead log or manifest that is cut, or whose last record is damaged so that it looks torn, for one
// that ends there; that would leave less than was acknowledged, and look whole. Any thread.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>

#include "storage/store.h"

namespace shrike::storage {

struct Marks {
  uint64_t last = 0;      // the newest event that was acknowledged as synced
  uint64_t first = 0;     // the oldest that retention has left
  uint64_t writes = 0;    // RocksDB's own number of the newest synced write, of whatever kind
  uint64_t manifest = 0;  // the number in the manifest's name
  uint64_t manifest_bytes = 0;
};

class Marker {
 public:
  Marker() = default;
  ~Marker();
  Marker(const Marker&) = delete;
  Marker& operator=(const Marker&) = delete;

  // Opens DIR/COMMITTED for writing, making it when it is missing.
  Result<void> open(const std::string& dir, const Marks& marks);
  // After a synced write. One write of a few bytes, not synced: after kill -9 it is there, after a power cut
  // it may be older, which is still a lower bound. Best effort: a full disk loses the mark, not the event.
  void committed(uint64_t last, uint64_t writes);
  void written(uint64_t writes) { committed(0, writes); }
  // Before retention deletes what is older.
  void trimming(uint64_t first);
  // After a table was added: the manifest says so, on disk.
  void table_added();

  // Zeros when there is none, or it is damaged: then nothing is known.
  static Marks read(const std::string& dir);
  // Fills in the manifest that the directory has now.
  static void look_at_manifest(const std::string& dir, Marks& marks);

 private:
  void write();

  std::mutex mutex_;
  std::string dir_;
  int file_ = -1;
  Marks marks_;
};

}  // namespace shrike::storage
