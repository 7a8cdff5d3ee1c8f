// Named time zones of a configuration's expressions, as tables of offsets. They are taken from the machine's
// tzdata when the configuration is loaded, and written under [time_zones] into the text that goes into the
// log, so that a replay sees the same hours whatever its machine's tzdata says. A configuration that has the
// section itself depends on no tzdata at all. Used while loading; one thread.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "engine/config/toml_reader.h"
#include "features/plan.h"

namespace shrike::engine {

class TimeZones {
 public:
  // Reads [time_zones].
  void read(TomlReader table);
  bool declared() const { return !declared_.empty(); }
  // As it was declared; of the machine where nothing was.
  features::Result<features::TimeZone> find(std::string_view name);

 private:
  std::map<std::string, features::TimeZone, std::less<>> declared_;
};

// The section [time_zones] with those that a plan uses; empty when it uses none but UTC.
std::string time_zones_section(const features::Plan& plan);

}  // namespace shrike::engine
