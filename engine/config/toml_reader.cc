#include "engine/config/toml_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <sstream>

#include "features/nearest.h"
#include "features/spec.h"

namespace shrike::engine {
namespace {

std::string show(const toml::node& node) {
  std::ostringstream out;
  node.visit([&](const auto& value) { out << value; });
  return out.str().substr(0, 60);
}

const toml::table& empty_table() {
  static const toml::table kEmpty;
  return kEmpty;
}

}  // namespace

std::string TomlReader::qualified(std::string_view key) const {
  if (path_.empty()) return std::string(key);
  return key.empty() ? path_ : fmt::format("{}.{}", path_, key);
}

void TomlReader::problem(std::string_view key, const std::string& what) {
  const toml::node* node = key.empty() ? nullptr : table_.get(key);
  const auto line = (node != nullptr ? node->source() : table_.source()).begin.line;
  problems_.lines.push_back(fmt::format("{}:{}: {}: {}", problems_.file, line, qualified(key), what));
}

const toml::node* TomlReader::find(const char* key) {
  known_.insert(key);
  return table_.get(key);
}

bool TomlReader::has(const char* key) { return find(key) != nullptr; }

void TomlReader::mistyped(const char* key, const toml::node& node, const char* expected) {
  problem(key, fmt::format("found {}, expected {}", show(node), expected));
}

std::string TomlReader::text(const char* key, const std::string& otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  if (const auto value = node->value_exact<std::string>()) return *value;
  mistyped(key, *node, "a text in quotes");
  return otherwise;
}

std::string TomlReader::required_text(const char* key) {
  if (find(key) == nullptr) problem(key, "the key is missing; a text is needed");
  return text(key, "");
}

bool TomlReader::boolean(const char* key, bool otherwise) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  if (const auto value = node->value_exact<bool>()) return *value;
  mistyped(key, *node, "true or false");
  return otherwise;
}

int64_t TomlReader::whole(const char* key, int64_t otherwise, int64_t minimum, int64_t maximum) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  const auto value = node->value_exact<int64_t>();
  if (!value) {
    mistyped(key, *node, fmt::format("an integer from {} to {}", minimum, maximum).c_str());
    return otherwise;
  }
  if (*value < minimum || *value > maximum) {
    problem(key, fmt::format("found {}, allowed are {} to {}", *value, minimum, maximum));
    return otherwise;
  }
  return *value;
}

double TomlReader::number(const char* key, double otherwise, double minimum, double maximum) {
  const toml::node* node = find(key);
  if (node == nullptr) return otherwise;
  const auto value = node->is_number() ? node->value<double>() : std::nullopt;
  if (!value) {
    mistyped(key, *node, fmt::format("a number from {} to {}", minimum, maximum).c_str());
    return otherwise;
  }
  if (!(*value >= minimum && *value <= maximum)) {
    problem(key, fmt::format("found {}, allowed are {} to {}", *value, minimum, maximum));
    return otherwise;
  }
  return *value;
}

int64_t TomlReader::duration(const char* key, int64_t otherwise_us) {
  if (!has(key)) return otherwise_us;
  const auto parsed = features::parse_duration(text(key, "0s"));
  if (parsed) return *parsed;
  problem(key, parsed.error().reason);
  return otherwise_us;
}

std::vector<int64_t> TomlReader::durations(const char* key) {
  std::vector<int64_t> all;
  for (const std::string& one : texts(key)) {
    const auto parsed = features::parse_duration(one);
    if (parsed) {
      all.push_back(*parsed);
    } else {
      problem(key, parsed.error().reason);
    }
  }
  return all;
}

std::vector<std::string> TomlReader::texts(const char* key) {
  const toml::node* node = find(key);
  if (node == nullptr) return {};
  std::vector<std::string> all;
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    mistyped(key, *node, "a list of texts");
    return {};
  }
  for (const toml::node& one : *array) {
    const auto value = one.value_exact<std::string>();
    if (value) {
      all.push_back(*value);
    } else {
      mistyped(key, one, "a list of texts");
    }
  }
  return all;
}

std::optional<size_t> TomlReader::position(const char* key, const std::vector<std::string>& allowed) {
  if (!has(key)) return std::nullopt;
  const std::string found = text(key, allowed.front());
  const auto it = std::find(allowed.begin(), allowed.end(), found);
  if (it != allowed.end()) return static_cast<size_t>(it - allowed.begin());
  const std::string near = features::nearest(found, allowed);
  problem(key, fmt::format("found \"{}\", allowed are {}{}", found, fmt::join(allowed, ", "),
                           near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
  return std::nullopt;
}

TomlReader TomlReader::table(const char* key) {
  const toml::node* node = find(key);
  const toml::table* found = node == nullptr ? nullptr : node->as_table();
  if (node != nullptr && found == nullptr) mistyped(key, *node, "a table");
  return {found == nullptr ? empty_table() : *found, qualified(key), problems_};
}

std::vector<TomlReader> TomlReader::tables(const char* key) {
  std::vector<TomlReader> all;
  const toml::node* node = find(key);
  if (node == nullptr) return all;
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    mistyped(key, *node, "a list of tables");
    return all;
  }
  for (size_t i = 0; i < array->size(); ++i) {
    const toml::table* one = (*array)[i].as_table();
    if (one == nullptr) {
      mistyped(key, (*array)[i], "a list of tables");
    } else {
      all.emplace_back(*one, fmt::format("{}[{}]", qualified(key), i), problems_);
    }
  }
  return all;
}

void TomlReader::finish() {
  const std::vector<std::string> known(known_.begin(), known_.end());
  for (const auto& [key, node] : table_) {
    if (known_.count(std::string(key.str())) != 0) continue;
    const std::string near = features::nearest(key.str(), known);
    problem(key.str(), near.empty() ? fmt::format("unknown key; known are {}", fmt::join(known, ", "))
                                    : fmt::format("unknown key; did you mean \"{}\"?", near));
  }
}

}  // namespace shrike::engine
