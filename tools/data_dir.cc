#include "tools/data_dir.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "storage/find_model.h"

namespace shrike::tools {

tl::expected<DataDir, std::string> open_data_dir(const std::string& dir) {
  auto store = storage::Store::open_read_only(dir);
  if (!store) return tl::make_unexpected(store.error().reason);
  const auto text = (*store)->get_meta("config");
  if (!text) return tl::make_unexpected(text.error().reason);
  if (!*text)
    return tl::make_unexpected(
        fmt::format("{} holds no configuration yet; run `shrike serve --data {}` first", dir, dir));
  auto config = engine::parse_config(**text, dir + " (recorded configuration)");
  if (!config) return tl::make_unexpected(config.error().front());
  return DataDir{std::move(*store), *config};
}

std::optional<std::string> file_bytes(const std::string& path) {
  std::error_code unreadable;
  if (!std::filesystem::is_regular_file(path, unreadable)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string{std::istreambuf_iterator<char>(file), {}};
}

tl::expected<std::string, std::string> model_bytes(const storage::Store& store, const std::string& prefix) {
  const auto hash = storage::find_model(store, prefix);
  if (!hash) return tl::make_unexpected(hash.error().reason);
  auto bytes = store.get_model(*hash);
  if (!bytes) return tl::make_unexpected(bytes.error().reason);
  return std::move(*bytes);
}

}  // namespace shrike::tools
