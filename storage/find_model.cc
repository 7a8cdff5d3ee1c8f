#include "storage/find_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace shrike::storage {

Result<std::string> find_model(const Store& store, std::string_view prefix) {
  constexpr size_t kShownMax = 5;
  const auto known = store.list_models();
  if (!known) return tl::make_unexpected(known.error());
  std::vector<std::string> matches;
  for (const ModelInfo& model : *known) {
    if (!prefix.empty() && model.hash.starts_with(prefix)) matches.push_back(model.hash);
  }
  if (matches.size() == 1) return matches[0];
  if (matches.empty())
    return tl::make_unexpected(
        Error{ErrorCode::kNotFound,
              fmt::format("no model begins with \"{}\"; `shrike models list` names them", prefix)});
  const size_t count = matches.size();
  matches.resize(std::min(count, kShownMax));
  return tl::make_unexpected(
      Error{ErrorCode::kNotFound,
            fmt::format("{} models begin with \"{}\": {}{}; give more of the one meant", count, prefix,
                        fmt::join(matches, ", "), count > kShownMax ? ", …" : "")});
}

}  // namespace shrike::storage
