// What can go wrong in features/ through the outside's doing: a declaration or a value that makes no sense.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace shrike::features {

struct Error {
  std::string field;   // the schema field, feature or option at fault
  std::string reason;  // a sentence: what was found, what is allowed
};

template <typename T>
using Result = tl::expected<T, Error>;

}  // namespace shrike::features
