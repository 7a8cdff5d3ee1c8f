// Which pairs of columns the linear family gives a table of weights of their own. Each candidate pair
// collects, per cell (coarse bin of the one x coarse bin of the other), what the present model leaves
// unexplained, older examples fading. The sum of (G^2 - V) / (H + 1) over cells says what a table would gain:
// G the sum of residuals, H of Hessians, V of squared residuals, so that noise gains nothing on average.
// After each round of examples the best candidate comes in, if it gains enough: for a free place, or clearly
// more than the worst active pair. Active pairs are measured by what the model would leave without them.
//
// Frauds count for every candidate; a legitimate example counts, eightfold, for one candidate in eight. Of
// more than kCandidatesMax pairs, so many at a time are candidates, in the order of names. A function of the
// examples, in their order, alone. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "learners/linear/model.h"

namespace shrike::learners {

class PairSearch {
 public:
  static constexpr size_t kCandidatesMax = 1024;

  // `order`: the columns by name. `round`: examples between two decisions.
  PairSearch(std::vector<uint32_t> order, size_t budget, uint64_t round);

  // One example: each column's coarse bin, label - p and p (1 - p), both times its weight; the active pairs
  // and their weights in this example's cells. True when a round is complete: then decide().
  bool add(std::span<const uint8_t> codes, double residual, double hessian, bool fraud,
           std::span<const LinearPair> active, std::span<const double> weights);

  struct Change {
    size_t slot;  // in `active`; its end for a new one
    LinearPair pair;
  };
  // Ends the round. add() expects the change done.
  std::optional<Change> decide(std::span<const LinearPair> active);
  // Begins anew with so many active pairs: cells mean something else now.
  void forget(size_t active);

  size_t state_bytes() const { return (cells_.capacity() + active_.capacity()) * sizeof(Cell); }
  // For saving; restore() says whether the sizes are right.
  std::string cells() const;
  std::string active_cells() const;
  uint64_t rounds() const { return rounds_; }
  uint64_t seen() const { return seen_; }
  bool restore(uint64_t rounds, uint64_t seen, std::string_view cells, std::string_view active_cells,
               size_t active);

 private:
  struct Cell {
    float residual = 0, hessian = 0, noise = 0;
    void add(double g, double h, double v);
    void fade();
  };
  static constexpr size_t kCells = LinearPair::kCells;
  static double gain(const Cell* cells);
  void choose();  // the present candidates

  std::vector<uint32_t> order_;
  size_t budget_;
  uint64_t round_, rounds_ = 0, seen_ = 0;
  std::vector<LinearPair> candidates_;
  std::vector<Cell> cells_, active_;
};

}  // namespace shrike::learners
