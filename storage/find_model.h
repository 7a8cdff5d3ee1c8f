// Models by how their hash begins, as people name them. Plain function.
#pragma once

#include <string>
#include <string_view>

#include "storage/store.h"

namespace shrike::storage {

// The hash of the one model of the store that begins with `prefix`. kNotFound when there is none, or several:
// then the reason names them.
Result<std::string> find_model(const Store& store, std::string_view prefix);

}  // namespace shrike::storage
