// A data directory opened for reading, with the configuration it was written with. Works while a server runs.
#pragma once

#include <memory>
#include <string>

#include <tl/expected.hpp>

#include "engine/config/config.h"
#include "storage/store.h"

namespace shrike::tools {

struct DataDir {
  std::unique_ptr<storage::Store> store;
  engine::ConfigPtr config;
};

tl::expected<DataDir, std::string> open_data_dir(const std::string& dir);

}  // namespace shrike::tools
