// Pieces of serialised forms that families share. Internal to learners/.
#pragma once

#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "learners/error.h"
#include "learners/linear.pb.h"
#include "learners/matrix.h"
#include "learners/numeric.h"

namespace shrike::learners {

inline tl::unexpected<Error> damaged(std::string reason) {
  return tl::make_unexpected(Error{ErrorCode::kDamaged, "", std::move(reason)});
}

inline double exact_logit(double p) { return exact_log(p) - exact_log(1 - p); }

inline void write_column(const Column& column, proto::ColumnRecord& out) {
  out.set_name(column.name);
  out.set_categorical(column.kind == ColumnKind::kCategorical);
}

template <typename Records>
std::vector<Column> read_columns(const Records& records) {
  std::vector<Column> columns;
  for (const proto::ColumnRecord& one : records) {
    columns.push_back({one.name(), one.categorical() ? ColumnKind::kCategorical : ColumnKind::kNumeric});
  }
  return columns;
}

template <typename T>
std::string to_bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// False when the bytes are not whole values.
template <typename T>
bool from_bytes(std::string_view bytes, std::vector<T>& out) {
  if (bytes.size() % sizeof(T) != 0) return false;
  out.resize(bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return true;
}

}  // namespace shrike::learners
