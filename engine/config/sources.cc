#include "engine/config/sources.h"

#include <fmt/format.h>

#include <algorithm>

namespace shrike::engine {

const DeclaredSource& SourceConfig::of(Source source) const {
  static const DeclaredSource kUndeclared{.name = "undeclared", .trust = DeclaredSource::Trust::kNone};
  const size_t at = static_cast<size_t>(source);
  return at < declared.size() ? declared[at] : kUndeclared;
}

tl::expected<Source, std::string> SourceConfig::find(std::string_view name) const {
  std::string known;
  for (size_t i = 0; i < declared.size(); ++i) {
    if (declared[i].name == name) return static_cast<Source>(i);
    known += (i == 0 ? "" : ", ") + declared[i].name;
  }
  return tl::make_unexpected(fmt::format(
      "found \"{}\", allowed are {}; a further one is declared in the configuration: [sources.{}]",
      name.substr(0, 40), known, name.substr(0, 40)));
}

bool SourceConfig::silence_tells() const { return std::ranges::any_of(declared, &DeclaredSource::silence); }

int SourceConfig::silence_precedence() const {
  int highest = 0;
  for (const DeclaredSource& source : declared) {
    if (source.silence) highest = std::max(highest, source.precedence);
  }
  return highest;
}

int64_t SourceConfig::delay_us() const {
  int64_t longest = 0;
  for (const DeclaredSource& source : declared) {
    if (source.silence) longest = std::max(longest, source.delay_us);
  }
  return longest;
}

}  // namespace shrike::engine
