#include "learners/linear/pair_search.h"

#include <algorithm>
#include <cmath>

#include "learners/numeric/numeric.h"
#include "learners/saved/records.h"

namespace shrike::learners {
namespace {

constexpr size_t kBlocks = 8;   // legitimate examples are shared out among as many parts of the candidates
constexpr uint64_t kTurn = 16;  // rounds that candidates have before others take their turn
constexpr float kFade = 0.95f;  // of what a round leaves to the next
// Twice a log-likelihood. With half of it pairs come in that do not last.
constexpr double kGainMin = 120;
constexpr double kGainRatio = 2;  // so much more than the pair that has to go, besides

}  // namespace

void PairSearch::Cell::add(double g, double h, double v) {
  residual += static_cast<float>(g);
  hessian += static_cast<float>(h);
  noise += static_cast<float>(v);
}

void PairSearch::Cell::fade() {
  residual *= kFade;
  hessian *= kFade;
  noise *= kFade * kFade;
}

PairSearch::PairSearch(std::vector<uint32_t> order, size_t budget, uint64_t round)
    : order_(std::move(order)), budget_(budget), round_(round) {
  choose();
}

void PairSearch::choose() {
  const uint64_t k = order_.size(), all = budget_ == 0 ? 0 : k * (k - 1) / 2;
  const uint64_t taken = std::min<uint64_t>(all, kCandidatesMax);
  const uint64_t first = all == 0 ? 0 : rounds_ / kTurn * kCandidatesMax % all;
  candidates_.clear();
  uint64_t at = 0;
  for (size_t i = 0; i < k && taken > 0; ++i) {
    for (size_t j = i + 1; j < k; ++j, ++at) {
      const uint64_t place = (at + all - first) % all;
      if (place < taken) candidates_.push_back({order_[i], order_[j]});
    }
  }
  cells_.assign(candidates_.size() * kCells, {});
}

bool PairSearch::add(std::span<const uint8_t> codes, double residual, double hessian, bool fraud,
                     std::span<const LinearPair> active, std::span<const double> weights) {
  const size_t step = fraud ? 1 : kBlocks;
  const double times = static_cast<double>(step), g = residual * times, h = hessian * times, v = g * g;
  for (size_t c = mix(seen_) % step; c < candidates_.size(); c += step) {
    const LinearPair& pair = candidates_[c];
    cells_[c * kCells + pair.cell(codes[pair.a], codes[pair.b])].add(g, h, v);
  }
  for (size_t i = 0; i < active.size(); ++i) {
    const uint32_t cell = active[i].cell(codes[active[i].a], codes[active[i].b]);
    active_[i * kCells + cell].add(residual + hessian * weights[i], hessian, residual * residual);
  }
  return ++seen_ == round_;
}

double PairSearch::gain(const Cell* cells) {
  double sum = 0;
  for (size_t i = 0; i < kCells; ++i) {
    const double g = cells[i].residual;
    sum += (g * g - static_cast<double>(cells[i].noise)) / (static_cast<double>(cells[i].hessian) + 1);
  }
  return sum;
}

std::optional<PairSearch::Change> PairSearch::decide(std::span<const LinearPair> active) {
  double best = kGainMin, worst = 0;
  std::optional<Change> change;
  for (size_t c = 0; c < candidates_.size(); ++c) {
    const double gains = gain(&cells_[c * kCells]);
    if (!(gains > best) || std::find(active.begin(), active.end(), candidates_[c]) != active.end()) continue;
    best = gains;
    change = {active.size(), candidates_[c]};
  }
  if (change && active.size() == budget_) {
    for (size_t i = 0; i < active.size(); ++i) {
      const double gains = gain(&active_[i * kCells]);
      if (i > 0 && gains >= worst) continue;
      worst = gains;
      change->slot = i;
    }
    if (best < kGainMin + kGainRatio * worst) change.reset();
  }
  seen_ = 0;
  for (Cell& cell : cells_) cell.fade();
  for (Cell& cell : active_) cell.fade();
  if (change) {
    active_.resize(std::max(active_.size(), (change->slot + 1) * kCells));
    std::fill_n(active_.begin() + static_cast<std::ptrdiff_t>(change->slot * kCells), kCells, Cell{});
  }
  if (++rounds_ % kTurn == 0 && candidates_.size() == kCandidatesMax) choose();
  return change;
}

void PairSearch::forget(size_t active) {
  seen_ = 0;
  std::fill(cells_.begin(), cells_.end(), Cell{});
  active_.assign(active * kCells, {});
}

std::string PairSearch::cells() const { return to_bytes(cells_); }
std::string PairSearch::active_cells() const { return to_bytes(active_); }

bool PairSearch::restore(uint64_t rounds, uint64_t seen, std::string_view cells,
                         std::string_view active_cells, size_t active) {
  rounds_ = rounds;
  seen_ = seen;
  choose();
  const size_t expected = cells_.size();
  return from_bytes(cells, cells_) && from_bytes(active_cells, active_) && seen < round_ &&
         cells_.size() == expected && active_.size() == active * kCells;
}

}  // namespace shrike::learners
