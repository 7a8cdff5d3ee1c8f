#include "tools/json.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <fstream>

#include <nlohmann/json.hpp>

namespace shrike::tools {

std::string to_text(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json from_text(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json() : json;
}

Json number(float value) {
  if (!std::isfinite(value)) return nullptr;
  const std::string text = fmt::format("{}", value);
  double shortest = 0;
  std::from_chars(text.data(), text.data() + text.size(), shortest);
  return shortest;
}

bool write_json(const std::string& path, const Json& json) {
  std::ofstream out(path);
  out << to_text(json) << "\n";
  return out.flush().good();
}

}  // namespace shrike::tools
