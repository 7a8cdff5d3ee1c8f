#include "tools/commands.h"

#include <fmt/format.h>

#include <cstdio>

namespace shrike::tools {

int complain(const std::string& text, int code) {
  std::fflush(stdout);
  fmt::print(stderr, "shrike: {}\n", text);
  return code;
}

void remark(const std::string& text) {
  std::fflush(stdout);
  fmt::print(stderr, "shrike: note: {}\n", text);
}

engine::ConfigPtr read_config(const std::string& path) {
  auto config = path.empty() ? engine::parse_config(kEmbeddedConfig, "") : engine::load_config(path);
  if (config) {
    for (const std::string& note : (*config)->notes) remark(note);
    return *config;
  }
  for (const std::string& line : config.error()) fmt::print(stderr, "{}\n", line);
  complain(fmt::format("{} problem{} in the configuration", config.error().size(),
                       config.error().size() == 1 ? "" : "s"),
           0);
  return nullptr;
}

}  // namespace shrike::tools
