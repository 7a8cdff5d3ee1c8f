// Which column of a profiled file is what: types, label, time, id, amount, entities, coordinates. Judged by
// names and values together; whatever was a guess is said in `unsure`. Plain functions.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include "tools/init/profile.h"

namespace shrike::tools::init {

enum class Type { kInteger, kNumber, kText, kBoolean, kTime, kLeftOut };

struct Place {
  size_t latitude, longitude;
};

struct Roles {
  std::vector<Type> types;           // by column
  std::vector<std::string> reasons;  // by column: why it is left out; else empty
  size_t label = 0;
  std::optional<size_t> time, id;  // nothing: the record's number
  std::string unit = "s";          // of a numeric time
  bool origin_known = false;       // weekdays and hours mean what they say
  double span_s = 0;               // from the first to the last time; rows where there is none
  std::optional<size_t> amount;
  std::vector<size_t> entities;               // the likeliest first
  std::vector<std::vector<bool>> attributes;  // by entity and column: the same in all its rows
  std::vector<Place> places;
  uint64_t frauds = 0, labelled = 0;
  std::vector<std::string> unsure;
};

// `label`: the column's name, or "" for the likeliest. Errors say what the file lacks and the remedy.
tl::expected<Roles, std::string> find_roles(const Profile& profile, const std::string& label);

}  // namespace shrike::tools::init
