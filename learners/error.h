// What can go wrong in learners/ through the outside's doing: a bad option, damaged bytes.
#pragma once

#include <string>
#include <tl/expected.hpp>

namespace shrike::learners {

enum class ErrorCode {
  kInvalidOption,  // an option's value is outside what is allowed
  kDamaged,        // bytes fail their checksum or contradict themselves
  kNewerVersion,   // written by a newer Shrike
  kUnknownFamily,  // no such learner or model family is registered
  kMismatch,       // the state belongs to other columns or options
};

struct Error {
  ErrorCode code;
  std::string field;   // the option or part at fault; empty when the whole is
  std::string reason;  // a sentence: what was found, what is allowed
};

template <typename T>
using Result = tl::expected<T, Error>;

}  // namespace shrike::learners
