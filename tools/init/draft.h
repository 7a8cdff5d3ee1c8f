// A commented configuration for a profiled file whose roles are known. Plain functions.
#pragma once

#include <string>

#include "tools/init/roles.h"

namespace shrike::tools::init {

// With `raw` the file's columns alone are features.
std::string draft(const Profile& profile, const Roles& roles, bool raw);

}  // namespace shrike::tools::init
