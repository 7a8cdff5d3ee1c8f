// A data directory opened for reading, with the configuration it was written with. Works while a server runs.
#pragma once

#include <memory>
#include <optional>
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

// The bytes of a file; nothing when there is no regular file of that name, or it cannot be read.
std::optional<std::string> file_bytes(const std::string& path);
// The bytes of the store's one model whose hash begins so; an error names those that are several.
tl::expected<std::string, std::string> model_bytes(const storage::Store& store, const std::string& prefix);

}  // namespace shrike::tools
