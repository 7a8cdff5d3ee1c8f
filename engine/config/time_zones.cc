#include "engine/config/time_zones.h"

#include <date/tz.h>
#include <fmt/format.h>

#include <stdexcept>

namespace shrike::engine {
namespace {

using features::TimeZone;

// Beyond what tzdata lists (2037, commonly) the last offset holds.
constexpr int kLastYear = 2100;

tl::expected<TimeZone, std::string> of_the_machine(const std::string& name) {
  try {
    const date::time_zone* zone = date::locate_zone(name);
    const date::sys_seconds until = date::sys_days{date::year{kLastYear} / 1 / 1};
    TimeZone table{name, {}};
    for (date::sys_seconds at = date::sys_days{date::year{1970} / 1 / 1}; at < until;) {
      const date::sys_info info = zone->get_info(at);
      const auto seconds = static_cast<int32_t>(info.offset.count());
      if (table.offsets.empty() || table.offsets.back().seconds != seconds)
        table.offsets.push_back({at.time_since_epoch().count(), seconds});
      if (info.end <= at) break;
      at = info.end;
    }
    return table;
  } catch (const std::runtime_error& error) {
    return tl::make_unexpected(std::string(error.what()));
  }
}

}  // namespace

void TimeZones::read(TomlReader table) {
  for (const auto& [key, node] : table.raw()) {
    const std::string name(key.str());
    const std::string text = table.text(name.c_str(), "0");
    auto zone = features::parse_offsets(name, text);
    if (!zone) {
      table.problem(name, zone.error().reason);
      continue;
    }
    declared_.emplace(name, std::move(*zone));
  }
  table.finish();
}

features::Result<TimeZone> TimeZones::find(std::string_view name) {
  if (const auto known = declared_.find(name); known != declared_.end()) return known->second;
  if (!declared_.empty()) {
    return tl::make_unexpected(features::Error{
        std::string(name),
        fmt::format("\"{}\" is not under [time_zones]; without that section all are taken from "
                    "this machine's tzdata",
                    name)});
  }
  auto zone = of_the_machine(std::string(name));
  if (!zone) {
    return tl::make_unexpected(features::Error{
        std::string(name), fmt::format("this machine's tzdata knows no time zone \"{}\"; names are such as "
                                       "'Europe/Paris' or 'UTC' (/usr/share/zoneinfo has them all)",
                                       name)});
  }
  return std::move(*zone);
}

std::string time_zones_section(const features::Plan& plan) {
  std::string text;
  for (const TimeZone& zone : plan.program.zones) {
    if (zone.name != "UTC")
      text += fmt::format("\"{}\" = \"{}\"\n", zone.name, features::format_offsets(zone));
  }
  if (text.empty()) return text;
  return "# Offsets from UTC in seconds, and from when on (unix seconds), as tzdata had them when the "
         "configuration was "
         "loaded.\n[time_zones]\n" +
         text;
}

}  // namespace shrike::engine
