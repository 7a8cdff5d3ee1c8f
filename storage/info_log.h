// RocksDB's own notes, in the file LOG of the data directory: warnings and worse, through stdio, so that a
// full disk loses notes and nothing else (the logger that RocksDB brings asserts that its file never failed).
// Internal to storage/.
#pragma once

#include <rocksdb/env.h>

#include <memory>
#include <string>

namespace shrike::storage {

// Null when the file cannot be made. Any thread may log.
std::shared_ptr<rocksdb::Logger> open_info_log(const std::string& dir);

}  // namespace shrike::storage
