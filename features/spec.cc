#include "features/spec.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "features/schema.h"

namespace shrike::features {

Result<int64_t> parse_duration(std::string_view text) {
  const auto bad = [&] {
    return tl::make_unexpected(Error{
        "",
        fmt::format("found \"{}\", expected a duration such as \"90s\", \"30m\", \"12h\", \"7d\"", text)});
  };
  if (text == "all") return kForever;
  double amount = 0;
  const char* end = text.data() + text.size();
  auto [at, ec] = std::from_chars(text.data(), end, amount);
  if (ec != std::errc() || !(amount >= 0)) return bad();
  const std::string_view unit(at, static_cast<size_t>(end - at));
  double unit_us = 0;
  if (unit == "us") unit_us = 1;
  if (unit == "ms") unit_us = 1e3;
  if (unit == "s") unit_us = 1e6;
  if (unit == "m") unit_us = 60e6;
  if (unit == "h") unit_us = 3600e6;
  if (unit == "d") unit_us = 86400e6;
  if (unit_us == 0 || amount * unit_us > 86400e6 * 36525) return bad();
  return static_cast<int64_t>(std::floor(amount * unit_us + 0.5));
}

std::string format_duration(int64_t us) {
  if (us == kForever) return "all";
  if (us == 0) return "0s";
  if (us % kDayUs == 0) return fmt::format("{}d", us / kDayUs);
  if (us % kHourUs == 0) return fmt::format("{}h", us / kHourUs);
  if (us % 60'000'000 == 0) return fmt::format("{}m", us / 60'000'000);
  if (us % 1'000'000 == 0) return fmt::format("{}s", us / 1'000'000);
  if (us % 1'000 == 0) return fmt::format("{}ms", us / 1'000);
  return fmt::format("{}us", us);
}

}  // namespace shrike::features
