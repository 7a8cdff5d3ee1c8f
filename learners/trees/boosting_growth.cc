// How boosting's trees come and go: cut points, growth, refreshing, going on from a model made elsewhere.
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>

#include "learners/numeric/numeric.h"
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

double real(int64_t fixed_point) { return static_cast<double>(fixed_point) / GradientPair::kOne; }

// The nearest leaf value that is a whole number in fixed point.
float round_to_fixed(double value) { return static_cast<float>(std::nearbyint(value * kLeafOne) / kLeafOne); }

// What a tree's leaving would add to the loss, to second order; `totals` are the sums of each leaf's rows.
double loss_without(const Tree& tree, std::span<const GradientPair> totals) {
  double added = 0;
  for (size_t k = 0; k < tree.nodes.size(); ++k) {
    const TreeNode& node = tree.nodes[k];
    if (!node.is_leaf()) continue;
    const double v = static_cast<double>(node.value);
    added += -real(totals[k].gradient) * v + real(totals[k].hessian) * v * v / 2;
  }
  return added;
}

// Each leaf takes a step towards what its rows want, or to zero. Returns by how much each node's value moved,
// in fixed point.
std::vector<int64_t> move_leaves(Tree& tree, std::span<const GradientPair> totals, bool to_zero,
                                 const GrowOptions& options) {
  std::vector<int64_t> moved(tree.nodes.size());
  constexpr auto kMost = static_cast<float>(kLeafMax);
  // Children come after their parents.
  for (size_t k = tree.nodes.size(); k-- > 0;) {
    TreeNode& node = tree.nodes[k];
    if (!node.is_leaf()) {
      node.cover = tree.nodes[node.left].cover + tree.nodes[node.left + 1].cover;
      continue;
    }
    const float now = to_zero ? 0.0f : std::clamp(node.value + leaf_value(totals[k], options), -kMost, kMost);
    moved[k] = fixed(now) - fixed(node.value);
    node.value = now;
    node.cover = static_cast<float>(real(totals[k].hessian));
  }
  return moved;
}

}  // namespace

void BoostingLearner::in_parts(const std::function<void(ClassBuffer&, size_t, size_t)>& work) {
  constexpr size_t kPart = 8192;
  const size_t frauds = (frauds_.ring.size() + kPart - 1) / kPart;
  const size_t parts = frauds + (negatives_.ring.size() + kPart - 1) / kPart;
  run_tasks(workers_, parts, [&](size_t p) {
    ClassBuffer& buffer = p < frauds ? frauds_ : negatives_;
    const size_t from = (p < frauds ? p : p - frauds) * kPart;
    work(buffer, from, std::min(from + kPart, buffer.ring.size()));
  });
}

// Bins from the buffer as it stands; each class weighs the same. They are fitted anew when a twelfth more
// examples have come.
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
  for (ClassBuffer* buffer : {&frauds_, &negatives_}) {
    buffer->bins = BinnedRows(bins);
    buffer->bins.reserve(buffer->ring.size());
  }
  in_parts([&](ClassBuffer& buffer, size_t from, size_t to) { bin(buffer, from, to); });
}

void BoostingLearner::bin(ClassBuffer& buffer, size_t from, size_t to) {
  for (size_t i = from; i < to; ++i) buffer.bins.set(i, &buffer.ring.rows[i * columns_.size()]);
}

// Of rows `from` .. `to` of a class, at their present margins; both arrays hold frauds first.
void BoostingLearner::fill_gradients(const ClassBuffer& buffer, size_t from, size_t to,
                                     std::span<const float> weights,
                                     std::span<GradientPair> gradients) const {
  const bool fraud = &buffer == &frauds_;
  const size_t offset = offset_of(buffer);
  constexpr size_t kBlock = 256;
  float p[kBlock];
  for (size_t block = from; block < to; block += kBlock) {
    const size_t m = std::min(kBlock, to - block);
    for (size_t i = 0; i < m; ++i)
      p[i] = static_cast<float>(static_cast<double>(buffer.margins[block + i]) / kLeafOne);
    logistic_in_place({p, m}, 1, 0);
    for (size_t i = 0; i < m; ++i) {
      const size_t at = offset + block + i;
      gradients[at] = pair_of(weights[at], static_cast<double>(p[i]), fraud);
    }
  }
}

void BoostingLearner::grow() {
  fit_bins();
  if (is_renewal_due()) trees_.clear();
  const size_t trees_max = this->trees_max();
  const size_t fresh = trees_.empty() ? trees_max : std::min(trees_max, trees_to_replace());
  if (fresh == trees_max) trees_.clear();
  if (trees_.empty()) begin_anew();
  if (trees_.size() > trees_max - fresh) remove_oldest(trees_.size() - (trees_max - fresh));
  Growth growth{grow_options(),
                BinnedRows(frauds_.bins, negatives_.bins, frauds_.ring.size()),
                weigh_rows(),
                std::vector<GradientPair>(buffered()),
                std::vector<uint8_t>(buffered()),
                {},
                {}};
  if (options_.refresh_trees > 0) refresh(growth.options, growth.weights);
  // While there is room, twice as many are grown.
  const size_t growing = std::max(fresh, std::min(2 * fresh, trees_max - trees_.size()));
  for (size_t t = 0; t < growing; ++t) grow_tree(growth);
  grown_at_ = weighed_;
  compile();
}

GrowOptions BoostingLearner::grow_options() const {
  // Few examples of a class carry shallow trees, whose splits must be plain to see: a level more for twice as
  // many, and all that the options allow from kSettled on.
  constexpr size_t kSettled = 3840, kOfDepthTwo = kSettled >> 4;
  int64_t depth = 2;
  for (size_t carried = 2 * kOfDepthTwo; carried <= rarer() && depth < options_.depth; carried *= 2) ++depth;
  if (rarer() >= kSettled) depth = options_.depth;
  const double young = 1 - std::min(1.0, static_cast<double>(rarer()) / kSettled);
  constexpr double kYoungGain = 3;  // of a split, as a likelihood ratio statistic
  return {.depth = static_cast<uint32_t>(std::min(depth, options_.depth)),
          .rate = options_.rate,
          .l2 = options_.l2,
          .hessian_min = options_.hessian_min,
          .gain_min = std::max(options_.gain_min, kYoungGain * young)};
}

size_t BoostingLearner::trees_max() const {
  if (adopted_ > 0) return static_cast<size_t>(options_.trees);
  constexpr size_t kRowsOfATree = 12, kLeast = 30;
  return std::min(static_cast<size_t>(options_.trees), std::max(kLeast, rarer() / kRowsOfATree));
}

// Whether a multiple of renew_every examples was passed since the last growth.
bool BoostingLearner::is_renewal_due() const {
  const auto every = static_cast<uint64_t>(options_.renew_every);
  return every > 0 && grown_at_ > 0 && weighed_ / every != grown_at_ / every;
}

// While what came since the last growth is a large part of all there is, more trees are replaced. Trees that
// were made elsewhere know more than the first examples here: they leave as slowly as those of an old
// learner.
size_t BoostingLearner::trees_to_replace() const {
  if (adopted_ > 0)
    return std::min(static_cast<size_t>(options_.grow_trees), static_cast<size_t>(options_.trees));
  const double share = 2 * static_cast<double>(options_.grow_every) / static_cast<double>(examples_);
  const size_t fresh = std::max(static_cast<size_t>(options_.grow_trees),
                                static_cast<size_t>(share * static_cast<double>(options_.trees)));
  return std::min(fresh, static_cast<size_t>(options_.trees));
}

// Without trees all margins are the base.
void BoostingLearner::begin_anew() {
  adopted_ = 0;
  base_ = round_to_fixed(early_base());
  for (ClassBuffer* buffer : {&frauds_, &negatives_})
    std::fill(buffer->margins.begin(), buffer->margins.end(), fixed(base_));
}

void BoostingLearner::remove_oldest(size_t count) {
  take_away(std::span(trees_).first(count));
  trees_.erase(trees_.begin(), trees_.begin() + static_cast<std::ptrdiff_t>(count));
  adopted_ -= std::min<uint64_t>(adopted_, count);
}

std::vector<float> BoostingLearner::weigh_rows() {
  std::vector<float> weights(buffered());
  in_parts([&](ClassBuffer& buffer, size_t from, size_t to) {
    const bool fraud = &buffer == &frauds_;
    for (size_t i = from; i < to; ++i) {
      double weight = buffer.ring.weights[i] * (fraud ? options_.fraud_weight : 1.0);
      if (options_.half_life > 0)
        weight *= exact_exp(-0.6931471805599453 * static_cast<double>(examples_ - buffer.ring.times[i]) /
                            options_.half_life);
      weights[offset_of(buffer) + i] = static_cast<float>(weight);
    }
  });
  return weights;
}

void BoostingLearner::grow_tree(Growth& growth) {
  const uint64_t dice = mix(seed_ ^ mix(++grown_));
  sample_rows(dice, growth);
  sample_columns(dice, growth.columns);
  trees_.push_back(
      grower_.grow(growth.bins, growth.rows, growth.gradients, growth.columns, growth.options, workers_));
  add_margins(trees_.back(), growth);
}

// And the gradients of all rows, as the trees before this one leave them.
void BoostingLearner::sample_rows(uint64_t dice, Growth& growth) {
  in_parts([&](ClassBuffer& buffer, size_t from, size_t to) {
    fill_gradients(buffer, from, to, growth.weights, growth.gradients);
    const size_t offset = offset_of(buffer);
    for (size_t i = from; i < to; ++i) {
      growth.sampled[offset + i] =
          options_.row_rate >= 1 || unit(mix(dice ^ mix(buffer.ring.keys[i]))) < options_.row_rate;
    }
  });
  growth.rows.clear();
  for (size_t i = 0; i < growth.sampled.size(); ++i) {
    if (growth.sampled[i]) growth.rows.push_back(static_cast<uint32_t>(i));
  }
}

void BoostingLearner::sample_columns(uint64_t dice, std::vector<uint32_t>& columns) const {
  columns.clear();
  for (const uint32_t c : by_name_) {
    const std::string& name = columns_[c].name;
    if (unit(mix(dice ^ XXH3_64bits(name.data(), name.size()))) < options_.column_rate) columns.push_back(c);
  }
  if (columns.empty()) columns.push_back(by_name_[dice % columns_.size()]);
}

// The leaves of the tree grown last to all margins: the grower knows those of the rows it was grown on, the
// others look for theirs.
void BoostingLearner::add_margins(const Tree& tree, const Growth& growth) {
  const size_t frauds = frauds_.ring.size();
  const auto margin_of = [&](size_t i) -> int64_t& {
    return i < frauds ? frauds_.margins[i] : negatives_.margins[i - frauds];
  };
  const auto& leaves = grower_.leaf_rows();
  run_tasks(workers_, leaves.size(), [&](size_t l) {
    const int64_t leaf = fixed(tree.nodes[leaves[l].node].value);
    for (const uint32_t i : leaves[l].rows) margin_of(i) += leaf;
  });
  if (growth.rows.size() == growth.sampled.size()) return;
  in_parts([&](ClassBuffer& buffer, size_t from, size_t to) {
    const size_t offset = offset_of(buffer);
    for (size_t i = from; i < to; ++i) {
      if (growth.sampled[offset + i]) continue;
      buffer.margins[i] += fixed(tree.nodes[grower_.find_leaf(tree, growth.bins.row(offset + i))].value);
    }
  });
}

void BoostingLearner::take_away(std::span<const Tree> trees) {
  // Sums below 16 in size are exact in float (see kLeafOne): then the kernels may add them up.
  double most = 0;
  for (const Tree& tree : trees) {
    float leaf = 0;
    for (const TreeNode& node : tree.nodes) leaf = std::max(leaf, node.is_leaf() ? std::fabs(node.value) : 0);
    most += static_cast<double>(leaf);
  }
  const TreeScorer scorer(0, {trees.begin(), trees.end()}, columns_.size());
  in_parts([&](ClassBuffer& buffer, size_t from, size_t to) {
    const size_t k = columns_.size();
    if (most < 16) {
      std::vector<float> sums(to - from);
      scorer.sum({std::span<const float>(buffer.ring.rows).subspan(from * k, (to - from) * k), k},
                 sums.data());
      for (size_t i = from; i < to; ++i) buffer.margins[i] -= fixed(sums[i - from]);
      return;
    }
    for (size_t i = from; i < to; ++i) {
      for (const Tree& tree : trees) buffer.margins[i] -= fixed(tree.leaf(&buffer.ring.rows[i * k]).value);
    }
  });
}

std::string BoostingLearner::waits_for() const {
  if (ready()) return "";
  if (examples_ < first_bins(options_.bin_sample))
    return fmt::format("its first trees grow at {} examples, {} came", first_bins(options_.bin_sample),
                       examples_);
  if (frauds_.ring.size() == 0) return "no fraud came yet";
  if (negatives_.ring.size() == 0) return "nothing legitimate came yet";
  return fmt::format("{} frauds among {} examples show no difference yet; it tries again at {} examples",
                     frauds_.ring.size(), examples_, next_growth_);
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
  trees_ = trees;
  for (Tree& tree : trees_) {
    tree.exact.clear();
    for (TreeNode& node : tree.nodes) {
      if (node.is_leaf()) node.value = round_to_fixed(slope * static_cast<double>(node.value));
    }
  }
  base_ = round_to_fixed(slope * static_cast<double>(from->scorer().base()) + shift);
  window_ = {};
  adopted_ = trees_.size();
  next_growth_ = weighed_ + static_cast<uint64_t>(options_.grow_every);
  in_parts([&](ClassBuffer& buffer, size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      buffer.margins[i] = fixed(base_);
      for (const Tree& tree : trees_)
        buffer.margins[i] += fixed(tree.leaf(&buffer.ring.rows[i * columns_.size()]).value);
    }
  });
  compile();
  return {};
}

// The oldest trees were grown on what has long left the buffer: their leaves take a step towards the present,
// and a tree without which the loss would be lower (to second order) leaves.
void BoostingLearner::refresh(const GrowOptions& options, std::span<const float> weights) {
  std::vector<Tree> staying;
  uint64_t left = 0;  // of those made elsewhere
  for (size_t t = 0; t < trees_.size(); ++t) {
    if (t >= static_cast<size_t>(options_.refresh_trees) || refresh_tree(trees_[t], options, weights))
      staying.push_back(std::move(trees_[t]));
    else if (t < adopted_)
      ++left;
  }
  adopted_ -= left;
  trees_ = std::move(staying);
}

// False when the tree leaves: margins are then without it.
bool BoostingLearner::refresh_tree(Tree& tree, const GrowOptions& options, std::span<const float> weights) {
  std::vector<uint32_t> leaf_of(buffered());
  std::vector<GradientPair> gradients(buffered());
  in_parts([&](ClassBuffer& buffer, size_t from, size_t to) {
    fill_gradients(buffer, from, to, weights, gradients);
    const size_t offset = offset_of(buffer);
    for (size_t i = from; i < to; ++i) {
      leaf_of[offset + i] =
          static_cast<uint32_t>(&tree.leaf(&buffer.ring.rows[i * columns_.size()]) - tree.nodes.data());
    }
  });
  std::vector<GradientPair> totals(tree.nodes.size());
  for (size_t i = 0; i < leaf_of.size(); ++i) {
    totals[leaf_of[i]].gradient += gradients[i].gradient;
    totals[leaf_of[i]].hessian += gradients[i].hessian;
  }
  const bool helps = !(loss_without(tree, totals) < 0);
  const std::vector<int64_t> moved = move_leaves(tree, totals, !helps, options);
  in_parts([&](ClassBuffer& buffer, size_t from, size_t to) {
    const size_t offset = offset_of(buffer);
    for (size_t i = from; i < to; ++i) buffer.margins[i] += moved[leaf_of[offset + i]];
  });
  return helps;
}

}  // namespace shrike::learners
