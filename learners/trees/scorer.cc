#include "learners/trees/scorer.h"

#include <algorithm>
#include <type_traits>

#include "learners/numeric/kernel.h"

namespace shrike::learners {
namespace {

constexpr size_t kChunk = 512;  // rows whose sums in double are kept on the stack
// A block of masks costs as much as this many single rows, by masks or by the walk (measured at depth 6;
// fewer rows would do for shallower trees).
constexpr size_t kMaskRows = 36, kWalkRows = 22;

template <typename Sum>
Sum reference(float base, std::span<const Tree> trees, const float* row) {
  if constexpr (std::is_same_v<Sum, float>)
    return sum_of_leaves(base, trees, row);
  else
    return exact_sum_of_leaves(base, trees, row);
}

MatrixView part(MatrixView rows, size_t from, size_t n) {
  return {std::span(rows.data() + from * rows.columns(), n * rows.columns()), rows.columns()};
}

}  // namespace

TreeScorer::TreeScorer(float base, std::vector<Tree> trees, size_t columns)
    : base_(base), trees_(std::move(trees)) {
  exact_ = std::any_of(trees_.begin(), trees_.end(), [](const Tree& tree) { return !tree.exact.empty(); });
  CategoryIndex categories;
  const bool numbered = categories.compile(trees_);
  has_masks_ = numbered && masks_.compile(trees_, columns, categories);
  has_walk_ = numbered && walk_.compile(trees_, columns, categories);
}

template <typename Sum>
Sum TreeScorer::row_sum(const float* row) const {
  const Kernel kernel = tree_kernel();
  if (kernel == Kernel::kAvx512 && has_masks_ && masks_.fits_row())
    return masks_.sum_row_avx512<Sum>(base_, row);
  if (kernel != Kernel::kScalar && has_walk_) return walk_.sum_row(static_cast<Sum>(base_), row);
  return reference<Sum>(base_, trees_, row);
}

template <typename Sum>
void TreeScorer::row_sums(MatrixView rows, Sum* out) const {
  const Kernel kernel = tree_kernel();
  const size_t n = rows.rows();
  size_t i = 0;
  if (kernel != Kernel::kScalar && has_masks_) {
    constexpr size_t kBlock = TreeMasks::kBlock;
    const size_t least = kernel == Kernel::kAvx512 && masks_.fits_row() ? kMaskRows : kWalkRows;
    for (; n - i >= least; i += std::min(kBlock, n - i)) {
      const size_t block = std::min(kBlock, n - i);
      const float* from = rows.row(i).data();
      if (kernel == Kernel::kAvx512)
        masks_.sum_block_avx512<Sum>(base_, from, rows.columns(), block, out + i);
      else
        masks_.sum_block_avx2<Sum>(base_, from, rows.columns(), block, out + i);
    }
  } else if (kernel != Kernel::kScalar && has_walk_ && n > 1) {
    return walk_.sum_rows(static_cast<Sum>(base_), rows, out);
  }
  for (; i < n; ++i) out[i] = row_sum<Sum>(rows.row(i).data());
}

double TreeScorer::margin(const float* row) const {
  return exact_ ? row_sum<double>(row) : static_cast<double>(row_sum<float>(row));
}

void TreeScorer::sum(MatrixView rows, float* out) const {
  if (!exact_) return row_sums(rows, out);
  double sums[kChunk];
  for (size_t i = 0; i < rows.rows(); i += kChunk) {
    const size_t n = std::min(kChunk, rows.rows() - i);
    row_sums(part(rows, i, n), sums);
    std::copy_n(sums, n, out + i);
  }
}

void TreeScorer::margins(MatrixView rows, double* out) const {
  if (exact_) return row_sums(rows, out);
  float sums[kChunk];
  for (size_t i = 0; i < rows.rows(); i += kChunk) {
    const size_t n = std::min(kChunk, rows.rows() - i);
    row_sums(part(rows, i, n), sums);
    std::copy_n(sums, n, out + i);
  }
}

}  // namespace shrike::learners
