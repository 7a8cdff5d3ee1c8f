// Writes the rows that learners get as a CSV for other programs: transaction_id, time (seconds since the
// first transaction's midnight), label (empty when unknown), then every column of the feature plan, %.9g, so
// that the same float is read back; empty for NaN. gz when the path ends in .gz. One thread.
#pragma once

#include <memory>
#include <span>
#include <string>

#include <tl/expected.hpp>

#include "engine/config/config.h"

struct gzFile_s;

namespace shrike::tools {

class RowWriter {
 public:
  // Says why the file cannot be written.
  static tl::expected<std::unique_ptr<RowWriter>, std::string> open(const std::string& path,
                                                                    engine::ConfigPtr config);
  ~RowWriter();

  void add(const features::Transaction& transaction, std::span<const float> row, int label);
  // After it returns true the file is whole; false: the disk is full.
  bool close();

 private:
  RowWriter(gzFile_s* file, engine::ConfigPtr config) : file_(file), config_(std::move(config)) {}
  void write();

  gzFile_s* file_;
  engine::ConfigPtr config_;
  std::string text_;
  int64_t midnight_us_ = INT64_MIN;
  bool good_ = true;
};

}  // namespace shrike::tools
