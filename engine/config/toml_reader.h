// Reads one TOML table with checks: every key is asked for by name and range, and what nobody asked for is an
// error with the nearest known key suggested. Errors collect; reading goes on, so one run names them all.
// Internal to the configuration; one thread.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <toml++/toml.h>

namespace shrike::engine {

class TomlReader {
 public:
  struct Problems {
    std::string file;
    std::vector<std::string> lines;
  };

  TomlReader(const toml::table& table, std::string path, Problems& problems)
      : table_(table), path_(std::move(path)), problems_(problems) {}

  bool has(const char* key);
  std::string text(const char* key, const std::string& otherwise);
  std::string required_text(const char* key);
  bool boolean(const char* key, bool otherwise);
  template <std::integral T>
  T integer(const char* key, T otherwise, int64_t minimum, int64_t maximum) {
    return static_cast<T>(whole(key, static_cast<int64_t>(otherwise), minimum, maximum));
  }
  double number(const char* key, double otherwise, double minimum, double maximum);
  // "7d", "30m"; in microseconds.
  int64_t duration(const char* key, int64_t otherwise_us);
  std::vector<int64_t> durations(const char* key);
  std::vector<std::string> texts(const char* key);
  // What the word stands for among `allowed`.
  template <typename T>
  T choice(const char* key, T otherwise,
           std::initializer_list<std::pair<const char*, std::type_identity_t<T>>> allowed) {
    std::vector<std::string> words;
    for (const auto& [word, value] : allowed) words.emplace_back(word);
    const std::optional<size_t> found = position(key, words);
    return found ? (allowed.begin() + *found)->second : otherwise;
  }
  // A sub-table; an empty one when absent.
  TomlReader table(const char* key);
  std::vector<TomlReader> tables(const char* key);
  const toml::table& raw() const { return table_; }
  void knows(const std::string& key) { known_.insert(key); }

  // Reports keys that were never asked for.
  void finish();
  // Adds a problem at a key (or at the table itself when the key is absent).
  void problem(std::string_view key, const std::string& what);
  const std::string& path() const { return path_; }
  std::string qualified(std::string_view key) const;

 private:
  const toml::node* find(const char* key);
  int64_t whole(const char* key, int64_t otherwise, int64_t minimum, int64_t maximum);
  // Nothing when the key is absent or the word is none of `allowed`, which is a problem then.
  std::optional<size_t> position(const char* key, const std::vector<std::string>& allowed);
  void mistyped(const char* key, const toml::node& node, const char* expected);

  const toml::table& table_;
  std::string path_;  // "training", "features[3]"
  Problems& problems_;
  std::set<std::string> known_;
};

}  // namespace shrike::engine
