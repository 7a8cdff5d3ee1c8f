// How boosting's trees come and go: cut points, growth, refreshing, going on from a model made elsewhere.
#include <fmt/format.h>
#include <xxhash.h>

#include <cmath>
#include <cstdlib>

#include "learners/option_table.h"
#include "learners/rows/bins.h"
#include "learners/trees/boosting.h"

namespace shrike::learners {
namespace {

// Of the log loss of one row of probability q.
GradientPair pair_of(float weight, double q, bool fraud) {
  const double g = static_cast<double>(weight) * (q - (fraud ? 1 : 0)),
               h = static_cast<double>(weight) * q * (1 - q);
  return {static_cast<int64_t>(g * GradientPair::kOne), static_cast<int64_t>(h * GradientPair::kOne)};
}

}  // namespace

// Bins from the buffer as it stands; each class weighs the same. They are fitted anew when a quarter
// more has been seen.
void BoostingLearner::fit_bins() {
  if (cuts_at_ > 0 && examples_ < cuts_at_ + cuts_at_ / 12) return;
  cuts_at_ = examples_;
  const size_t k = columns_.size();
  BinSample sample;
  const auto thin = [&](const ReplayRing& ring, size_t capacity, bool fraud) {
    const size_t step = (ring.size() + capacity - 1) / capacity;
    for (size_t i = 0; i < ring.size(); i += step) sample.add(&ring.rows[i * k], k, fraud);
  };
  thin(frauds_.ring, BinSample::kFraudsMax, true);
  thin(negatives_.ring, BinSample::kNegativesMax, false);
  std::vector<ColumnBins> bins(k);
  run_tasks(workers_, k, [&](size_t c) {
    bins[c] = learners::fit_bins(sample, k, c, columns_[c].kind, static_cast<size_t>(options_.bins));
  });
  for (Kept* kept : {&frauds_, &negatives_}) {
    kept->bins = BinnedRows(bins);
    kept->bins.reserve(kept->ring.size());
  }
  in_parts([&](Kept& kept, size_t from, size_t to) { bin(kept, from, to); });
}

// Of rows `from` .. `to` of a class, at their present margins; both arrays hold frauds first.
void BoostingLearner::fill_gradients(const Kept& kept, size_t from, size_t to, std::span<const float> weights,
                                     std::span<GradientPair> gradients) const {
  const bool fraud = &kept == &frauds_;
  constexpr size_t kBlock = 256;
  float p[kBlock];
  for (size_t block = from; block < to; block += kBlock) {
    const size_t m = std::min(kBlock, to - block);
    for (size_t i = 0; i < m; ++i)
      p[i] = static_cast<float>(static_cast<double>(kept.margins[block + i]) / kLeafOne);
    logistic_in_place({p, m}, 1, 0);
    for (size_t i = 0; i < m; ++i) {
      const size_t at = (fraud ? 0 : frauds_.ring.size()) + block + i;
      gradients[at] = pair_of(weights[at], static_cast<double>(p[i]), fraud);
    }
  }
}

void BoostingLearner::grow() {
  fit_bins();
  const auto every = static_cast<uint64_t>(options_.renew_every);
  const auto since = std::min(static_cast<uint64_t>(options_.grow_every), examples_);
  if (every > 0 && examples_ / every != (examples_ - since) / every) trees_.clear();
  // While what came since the last growth is a large part of all there is, more trees are replaced.
  const double share = 2 * static_cast<double>(options_.grow_every) / static_cast<double>(examples_);
  size_t fresh = std::max(static_cast<size_t>(options_.grow_trees),
                          static_cast<size_t>(share * static_cast<double>(options_.trees)));
  fresh = std::min(fresh, static_cast<size_t>(options_.trees));
  if (trees_.empty()) {
    fresh = static_cast<size_t>(options_.trees);
    base_ = static_cast<float>(std::nearbyint(early_base() * kLeafOne) / kLeafOne);
    for (Kept* kept : {&frauds_, &negatives_})
      std::fill(kept->margins.begin(), kept->margins.end(), fixed(base_));
  }
  const size_t room = static_cast<size_t>(options_.trees) - fresh;
  if (trees_.size() > room) {
    const auto leaving = trees_.size() - room;
    take_away(std::span(trees_).first(leaving));
    trees_.erase(trees_.begin(), trees_.begin() + static_cast<std::ptrdiff_t>(leaving));
  }

  GrowOptions how{.depth = static_cast<uint32_t>(options_.depth),
                  .rate = options_.rate,
                  .l2 = options_.l2,
                  .hessian_min = options_.hessian_min,
                  .gain_min = options_.gain_min};
  const size_t frauds = frauds_.ring.size(), n = frauds + negatives_.ring.size(), k = columns_.size();
  const BinnedRows data(frauds_.bins, negatives_.bins, frauds);
  std::vector<float> weights(n);
  in_parts([&](Kept& kept, size_t from, size_t to) {
    const bool fraud = &kept == &frauds_;
    for (size_t i = from; i < to; ++i) {
      double weight = kept.ring.weights[i] * (fraud ? options_.fraud_weight : 1.0);
      if (options_.half_life > 0)
        weight *= exact_exp(-0.6931471805599453 * static_cast<double>(examples_ - kept.ring.times[i]) /
                            options_.half_life);
      weights[(fraud ? 0 : frauds) + i] = static_cast<float>(weight);
    }
  });
  if (options_.refresh_trees > 0) refresh(how, weights);
  fresh = std::max(fresh, std::min(2 * fresh, static_cast<size_t>(options_.trees) - trees_.size()));
  std::vector<GradientPair> gradients(n);
  std::vector<uint8_t> sampled(n);
  std::vector<uint32_t> rows, usable;
  for (size_t t = 0; t < fresh; ++t) {
    const uint64_t dice = mix(seed_ ^ mix(++grown_));
    in_parts([&](Kept& kept, size_t from, size_t to) {
      fill_gradients(kept, from, to, weights, gradients);
      const size_t offset = &kept == &frauds_ ? 0 : frauds;
      for (size_t i = from; i < to; ++i) {
        sampled[offset + i] =
            options_.row_rate >= 1 || unit(mix(dice ^ mix(kept.ring.keys[i]))) < options_.row_rate;
      }
    });
    rows.clear();
    for (size_t i = 0; i < n; ++i) {
      if (sampled[i]) rows.push_back(static_cast<uint32_t>(i));
    }
    usable.clear();
    for (const uint32_t c : by_name_) {
      const std::string& name = columns_[c].name;
      if (unit(mix(dice ^ XXH3_64bits(name.data(), name.size()))) < options_.column_rate) usable.push_back(c);
    }
    if (usable.empty()) usable.push_back(by_name_[dice % k]);
    trees_.push_back(grower_.grow(data, rows, gradients, usable, how, workers_));
    const Tree& tree = trees_.back();
    const auto margin_of = [&](size_t i) -> int64_t& {
      return i < frauds ? frauds_.margins[i] : negatives_.margins[i - frauds];
    };
    const auto& leaves = grower_.leaf_rows();
    run_tasks(workers_, leaves.size(), [&](size_t l) {
      const int64_t leaf = fixed(tree.nodes[leaves[l].node].value);
      for (const uint32_t i : leaves[l].rows) margin_of(i) += leaf;
    });
    if (rows.size() == n) continue;
    in_parts([&](Kept& kept, size_t from, size_t to) {
      const size_t offset = &kept == &frauds_ ? 0 : frauds;
      for (size_t i = from; i < to; ++i) {
        if (sampled[offset + i]) continue;
        kept.margins[i] += fixed(tree.nodes[grower_.find_leaf(tree, data.row(offset + i))].value);
      }
    });
  }
  compile();
}

std::string BoostingLearner::waits_for() const {
  if (ready()) return "";
  if (examples_ < static_cast<uint64_t>(options_.bin_sample))
    return short_of(examples_, options_.bin_sample, "bin_sample");
  if (frauds_.ring.size() == 0) return "no fraud came yet";
  return fmt::format("its first trees grow at {} examples, {} came", next_growth_, examples_);
}

// Its trees become the oldest of ours, with the calibration folded into their leaves. Leaves move to our
// fixed point: by less than a millionth each.
Result<void> BoostingLearner::adopt(const Model& model) {
  const auto refuse = [](std::string reason) {
    return tl::make_unexpected(Error{ErrorCode::kMismatch, "", std::move(reason)});
  };
  const auto* from = dynamic_cast<const TreeModel*>(&model);
  if (from == nullptr || from->leaf_sum() != LeafSum::kLogOdds)
    return refuse("boosting goes on from tree ensembles that add up log-odds only");
  if (from->columns() != columns_) return refuse("the model is for other features");
  const std::vector<Tree>& trees = from->scorer().trees();
  if (trees.size() > static_cast<size_t>(options_.trees))
    return refuse(fmt::format("the model has {} trees, the learner keeps {} (option trees)", trees.size(),
                              options_.trees));
  const auto [slope, shift] = from->calibration();
  const auto to_fixed = [](double value) {
    return static_cast<float>(std::nearbyint(value * kLeafOne) / kLeafOne);
  };
  trees_ = trees;
  for (Tree& tree : trees_) {
    tree.exact.clear();
    for (TreeNode& node : tree.nodes) {
      if (node.is_leaf()) node.value = to_fixed(slope * static_cast<double>(node.value));
    }
  }
  base_ = to_fixed(slope * static_cast<double>(from->scorer().base()) + shift);
  window_ = {};
  in_parts([&](Kept& kept, size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      kept.margins[i] = fixed(base_);
      for (const Tree& tree : trees_)
        kept.margins[i] += fixed(tree.leaf(&kept.ring.rows[i * columns_.size()]).value);
    }
  });
  compile();
  return {};
}

// The oldest trees were grown on what has long left the buffer: their leaves take a step towards the present,
// and a tree without which the loss would be lower (to second order) leaves.
void BoostingLearner::refresh(const GrowOptions& how, std::span<const float> weights) {
  const size_t frauds = frauds_.ring.size(), n = frauds + negatives_.ring.size();
  std::vector<uint32_t> leaf_of(n);
  std::vector<GradientPair> gradients(n);
  const auto real = [](int64_t one) { return static_cast<double>(one) / GradientPair::kOne; };
  std::vector<Tree> staying;
  for (size_t t = 0; t < trees_.size(); ++t) {
    Tree& tree = trees_[t];
    if (t >= static_cast<size_t>(options_.refresh_trees)) {
      staying.push_back(std::move(tree));
      continue;
    }
    in_parts([&](Kept& kept, size_t from, size_t to) {
      fill_gradients(kept, from, to, weights, gradients);
      const size_t offset = &kept == &frauds_ ? 0 : frauds;
      for (size_t i = from; i < to; ++i) {
        leaf_of[offset + i] =
            static_cast<uint32_t>(&tree.leaf(&kept.ring.rows[i * columns_.size()]) - tree.nodes.data());
      }
    });
    std::vector<GradientPair> totals(tree.nodes.size());
    for (size_t i = 0; i < n; ++i) {
      totals[leaf_of[i]].gradient += gradients[i].gradient;
      totals[leaf_of[i]].hessian += gradients[i].hessian;
    }
    double without = 0;  // what its leaving would add to the loss
    std::vector<int64_t> moved(tree.nodes.size());
    for (size_t k = 0; k < tree.nodes.size(); ++k) {
      TreeNode& node = tree.nodes[k];
      if (!node.is_leaf()) continue;
      const double v = static_cast<double>(node.value);
      without += -real(totals[k].gradient) * v + real(totals[k].hessian) * v * v / 2;
    }
    const bool leaves = without < 0;
    for (size_t k = 0; k < tree.nodes.size(); ++k) {
      TreeNode& node = tree.nodes[k];
      if (!node.is_leaf()) continue;
      const float now = leaves ? 0.0f
                               : std::clamp(node.value + leaf_value(totals[k], how),
                                            -static_cast<float>(kLeafMax), static_cast<float>(kLeafMax));
      moved[k] = fixed(now) - fixed(node.value);
      node.value = now;
      node.cover = static_cast<float>(real(totals[k].hessian));
    }
    // Children come after their parents.
    for (size_t k = tree.nodes.size(); k-- > 0;) {
      TreeNode& node = tree.nodes[k];
      if (!node.is_leaf()) node.cover = tree.nodes[node.left].cover + tree.nodes[node.left + 1].cover;
    }
    in_parts([&](Kept& kept, size_t from, size_t to) {
      const size_t offset = &kept == &frauds_ ? 0 : frauds;
      for (size_t i = from; i < to; ++i) kept.margins[i] += moved[leaf_of[offset + i]];
    });
    if (!leaves) staying.push_back(std::move(tree));
  }
  trees_ = std::move(staying);
}

}  // namespace shrike::learners
