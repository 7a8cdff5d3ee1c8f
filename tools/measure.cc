#include "tools/measure.h"

#include <fmt/format.h>

namespace shrike::tools {

tl::expected<engine::DayRange, std::string> read_days(const std::string& text) {
  if (text.empty()) return engine::DayRange{};
  const auto parsed = engine::parse_days(text);
  if (!parsed)
    return tl::make_unexpected(
        fmt::format("--days: found \"{}\", expected FIRST..LAST such as 60..90", text));
  return *parsed;
}

tl::expected<LabelDelay, std::string> parse_label_delay(const std::string& text) {
  constexpr std::string_view kExponential = "exponential:";
  const bool exponential = text.starts_with(kExponential);
  const auto delay = features::parse_duration(exponential ? text.substr(kExponential.size()) : text);
  if (!delay) return tl::make_unexpected(delay.error().reason);
  return LabelDelay{*delay, exponential};
}

tl::expected<LabelDelay, std::string> read_label_delay(const std::string& text,
                                                       const engine::Config& config) {
  if (text.empty()) return LabelDelay{config.training.maturity_us};
  return parse_label_delay(text).map_error([](const std::string& why) { return "--label-delay: " + why; });
}

uint64_t card_of(const engine::Config& config, const features::Transaction& transaction) {
  return config.schema().entities.empty() ? transaction.id.low : config.plan->entity_key(0, transaction).low;
}

}  // namespace shrike::tools
