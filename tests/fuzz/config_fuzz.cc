// The configuration: any text is a configuration or a list of problems that name the file.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "engine/config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = shrike::engine::parse_config({reinterpret_cast<const char*>(data), size}, "fuzz.toml");
  if (config) return (*config)->columns.empty() ? std::abort(), 0 : 0;
  if (config.error().empty()) std::abort();
  for (const std::string& line : config.error()) {
    if (line.rfind("fuzz.toml:", 0) != 0) std::abort();
  }
  return 0;
}
