// A typed refusal: what a client gets instead of an answer. The code is stable and machine-readable, the
// field is the one at fault (or empty), the reason is a sentence for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

namespace shrike::engine {

enum class ErrorCode {
  kMalformed,  // not JSON, not the Protobuf message, not this schema
  kMissing,    // a field is absent
  kUnknownField,
  kInvalid,      // a value of the wrong type or out of range
  kTooLarge,     // the message
  kFrames,       // a wrong number of message parts
  kTooEarly,     // of a label: dated ahead of the server's clock
  kOverloaded,   // a queue is full; try again
  kStorage,      // the log cannot be written; nothing is acknowledged until it can
  kUnavailable,  // shutting down
  kNotFound,
  kConflict,   // the id was used by a transaction with other content
  kForbidden,  // this client may not ask that
};

inline std::string_view name(ErrorCode code) {
  constexpr std::string_view kNames[] = {
      "malformed",  "missing_field", "unknown_field", "invalid_value", "too_large", "bad_frames", "too_early",
      "overloaded", "storage",       "unavailable",   "not_found",     "conflict",  "forbidden"};
  return kNames[static_cast<size_t>(code)];
}
inline constexpr size_t kErrorCodes = 13;

struct Error {
  ErrorCode code = ErrorCode::kInvalid;
  std::string field;
  std::string reason;
  int64_t retry_after_ms = 0;  // when the same request may succeed; 0: nobody can say
};

template <typename T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> refuse(ErrorCode code, std::string field, std::string reason) {
  return tl::make_unexpected(Error{code, std::move(field), std::move(reason)});
}

}  // namespace shrike::engine
