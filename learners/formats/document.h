// A file of another tool as one tree of values: JSON, or Universal Binary JSON (UBJSON, draft 12), which
// XGBoost writes by default. Plain values. Internal to learners/.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "learners/error.h"

namespace shrike::learners {

struct Member;

struct Document {
  using Numbers = std::vector<double>;
  using Array = std::vector<Document>;
  using Object = std::vector<Member>;
  // An array of numbers, booleans and nulls (NaN) alone, empty ones too, is Numbers. 64-bit integers beyond
  // 2^53 are rounded.
  std::variant<std::monostate, bool, double, std::string, Numbers, Array, Object> value;

  // A member by name, or the null value when there is none or this is no object: look-ups may be chained.
  const Document& operator[](std::string_view name) const;
  template <typename T>
  const T* get() const {
    return std::get_if<T>(&value);
  }
};

struct Member {
  std::string name;
  Document value;
};

// Either form; a JSON text begins with `{` and a space, a line's end, `"` or `}`. Damaged, truncated or
// deeply nested bytes are refused, with what they lack. Memory stays within 64 MiB and a small multiple of
// the input's size.
Result<Document> parse_document(std::string_view bytes);

// Whether bytes begin like an object in either form: for telling formats apart.
bool looks_like_document(std::string_view bytes);

}  // namespace shrike::learners
