#include "tools/data_dir.h"

#include <fmt/format.h>

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

}  // namespace shrike::tools
