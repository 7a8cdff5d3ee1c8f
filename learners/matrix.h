// The one thing that passes between features and learners: a row-major float matrix and a description of
// its columns. Views own nothing; the caller keeps the memory alive for the call.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace shrike::learners {

enum class ColumnKind {
  kNumeric,      // any float; NaN means missing
  kCategorical,  // a hash in [0, 2^24), exact in a float; NaN means missing
};

// Categories of a column: [0, kCategoriesMax), exact in a float.
inline constexpr uint32_t kCategoriesMax = 1u << 24;

struct Column {
  std::string name;
  ColumnKind kind = ColumnKind::kNumeric;
  bool operator==(const Column&) const = default;
};

// `rows` x `columns` floats, row after row without padding.
class MatrixView {
 public:
  MatrixView() = default;
  MatrixView(std::span<const float> values, size_t columns) : values_(values), columns_(columns) {
    assert(columns > 0 && values.size() % columns == 0);
  }
  size_t rows() const { return columns_ == 0 ? 0 : values_.size() / columns_; }
  size_t columns() const { return columns_; }
  std::span<const float> row(size_t i) const { return values_.subspan(i * columns_, columns_); }
  const float* data() const { return values_.data(); }

 private:
  std::span<const float> values_;
  size_t columns_ = 0;
};

}  // namespace shrike::learners
