// The newest event that was acknowledged as synced, in a file of its own beside the database: a lower bound
// of what the log must hold. A write-ahead log that is gone, or whose last record is damaged so that it looks
// torn, would else leave a shorter log that looks whole. One owner; one thread.
#pragma once

#include <cstdint>
#include <string>

#include "storage/store.h"

namespace shrike::storage {

class Marker {
 public:
  Marker() = default;
  ~Marker();
  Marker(const Marker&) = delete;
  Marker& operator=(const Marker&) = delete;

  // Opens DIR/COMMITTED for writing, making it when it is missing.
  Result<void> open(const std::string& dir);
  // After its log record is on disk. One write of 24 bytes, not synced: after kill -9 it is there, after a
  // power cut it may be older, which is still a lower bound. Best effort: a full disk loses the mark, not the
  // event.
  void set(uint64_t sequence);

  // 0 when there is none, or it is damaged: then nothing is known.
  static uint64_t read(const std::string& dir);

 private:
  int file_ = -1;
};

}  // namespace shrike::storage
