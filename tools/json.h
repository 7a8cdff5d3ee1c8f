// Reports as JSON. Keys keep the order in which they are written; numbers keep every bit of a double, and NaN
// and infinity become null. Only names are declared here: who builds a value includes <nlohmann/json.hpp>.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace shrike::tools {

using Json = nlohmann::ordered_json;

// On one line. Bytes that are no UTF-8 become U+FFFD.
std::string to_text(const Json& json);
// Null when it is not JSON.
Json from_text(const std::string& text);
// The shortest number that is read back as this float.
Json number(float value);
// Writes `json` and a line break; false: the file cannot be written.
bool write_json(const std::string& path, const Json& json);

}  // namespace shrike::tools
