// Incremental gradient boosting: histogram trees on a replay buffer of frauds and sampled, re-weighted
// legitimate examples. There is no full retrain. Every `grow_every` examples the `grow_trees` oldest trees
// leave the ensemble and as many are grown on the whole buffer against what the others predict, so that the
// ensemble renews itself tree by tree within a fixed size. A function of the examples, the options and the
// seed: sums are exact integers, sampling decides by hashes.
//
// Before an example is learned its margin is noted: a snapshot is calibrated (Platt) on the newest of these.
#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>

#include "learners/cuts.h"
#include "learners/envelope.h"
#include "learners/numeric.h"
#include "learners/option_table.h"
#include "learners/platt.h"
#include "learners/records.h"
#include "learners/registry.h"
#include "learners/replay_buffer.h"
#include "learners/tree_grower.h"
#include "learners/tree_model.h"
#include "learners/trees.pb.h"

namespace shrike::learners {
namespace {

struct BoostingOptions {
  int64_t trees = 200, depth = 6, bins = 256, bin_sample = 5000, grow_every = 5000, grow_trees = 10,
          refresh_trees = 0;
  int64_t frauds_max = 20000, negatives_max = 100000, calibration_window = 50000;
  double rate = 0.1, l2 = 5, hessian_min = 3, gain_min = 0, column_rate = 0.7, row_rate = 0.7;
  double negative_rate = 0.02, hard_rate = 30, fraud_weight = 1, half_life = 0;
};

using Row = OptionRow<BoostingOptions>;
using B = BoostingOptions;
constexpr Row kRows[] = {
    {"trees", nullptr, &B::trees, 1, 5000, "trees of the ensemble, at most"},
    {"depth", nullptr, &B::depth, 1, 16, "of a tree; up to 6 scores fastest"},
    {"rate", &B::rate, nullptr, 1e-3, 1, "learning rate: shrinks each tree"},
    {"bins", nullptr, &B::bins, 2, 4096, "bins of a column, at most"},
    {"bin_sample", nullptr, &B::bin_sample, 10, 1e9, "examples before the first trees are grown"},
    {"grow_every", nullptr, &B::grow_every, 1, 1e9, "examples between two growths"},
    {"grow_trees", nullptr, &B::grow_trees, 1, 5000, "trees grown then, and as many of the oldest leave"},
    {"refresh_trees", nullptr, &B::refresh_trees, 0, 5000,
     "oldest trees whose leaves then move towards the present; those that no longer help leave"},
    {"frauds_max", nullptr, &B::frauds_max, 10, 1e7, "frauds in the replay buffer, the newest"},
    {"negatives_max", nullptr, &B::negatives_max, 10, 1e8,
     "legitimate examples in the replay buffer, the newest"},
    {"negative_rate", &B::negative_rate, nullptr, 1e-4, 1,
     "share of legitimate examples that are kept, re-weighted"},
    {"hard_rate", &B::hard_rate, nullptr, 0, 1e6, "and this times its score is added to that share"},
    {"fraud_weight", &B::fraud_weight, nullptr, 1e-3, 1e4, "weight of a fraud while learning"},
    {"half_life", &B::half_life, nullptr, 0, 1e12, "examples after which one weighs half; 0: never"},
    {"l2", &B::l2, nullptr, 0, 1e6, "shrinks leaves"},
    {"hessian_min", &B::hessian_min, nullptr, 0, 1e6, "least hessian of a child"},
    {"gain_min", &B::gain_min, nullptr, 0, 1e6, "least gain of a split"},
    {"column_rate", &B::column_rate, nullptr, 1e-3, 1, "share of the columns that a tree may use"},
    {"row_rate", &B::row_rate, nullptr, 1e-3, 1, "share of the rows that a tree is grown on"},
    {"calibration_window", nullptr, &B::calibration_window, 100, 1e7, "newest examples to calibrate on"},
};

// Margins of the buffered rows are sums of leaves in fixed point: exact, whatever trees came and went.
int64_t fixed(float leaf) {
  return static_cast<int64_t>(std::nearbyint(static_cast<double>(leaf) * kLeafOne));
}

// Of the log loss of one row of probability q.
GradientPair pair_of(float weight, double q, bool fraud) {
  const double g = static_cast<double>(weight) * (q - (fraud ? 1 : 0)),
               h = static_cast<double>(weight) * q * (1 - q);
  return {static_cast<int64_t>(g * GradientPair::kOne), static_cast<int64_t>(h * GradientPair::kOne)};
}

class BoostingLearner : public Learner {
 public:
  BoostingLearner(BoostingOptions options, std::vector<Column> columns, uint64_t seed)
      : options_(options),
        columns_(std::move(columns)),
        by_name_(order_by_name(columns_)),
        seed_(seed),
        next_growth_(static_cast<uint64_t>(options.bin_sample)) {
    compile();
  }

  std::string_view family() const override { return "boosting"; }
  const std::vector<Column>& columns() const override { return columns_; }
  uint64_t examples() const override { return examples_; }
  bool ready() const override { return !trees_.empty(); }
  void use(Workers* workers) override { workers_ = workers; }

  void partial_fit(MatrixView rows, std::span<const float> labels, std::span<const float> weights,
                   std::span<const uint64_t> keys) override {
    // Until the next growth the trees stay: whole batches are scored at once.
    for (size_t from = 0; from < rows.rows();) {
      const size_t until_growth =
          static_cast<size_t>(std::max<uint64_t>(next_growth_, examples_ + 1) - examples_);
      const size_t to = std::min(rows.rows(), from + until_growth);
      margins_.assign(to - from, 0.0f);
      if (!trees_.empty())
        scorer_->sum({{rows.row(from).data(), (to - from) * rows.columns()}, rows.columns()},
                     margins_.data());
      for (size_t i = from; i < to; ++i)
        one(rows.row(i).data(), margins_[i - from], labels[i], weights[i], keys[i]);
      from = to;
      if (examples_ < next_growth_) continue;
      next_growth_ = examples_ + static_cast<uint64_t>(options_.grow_every);
      if (frauds_.ring.size() > 0 && negatives_.ring.size() > 0) grow();
    }
  }

  std::optional<double> live_margin(std::span<const float> row) const override {
    return trees_.empty() ? early_base() : static_cast<double>(scorer_->sum_row(row.data()));
  }

  Result<void> adopt(const Model& model) override;

  ModelPtr snapshot() const override {
    const float base = trees_.empty() ? static_cast<float>(early_base()) : base_;
    return std::make_shared<TreeModel>("boosting", columns_, base, trees_,
                                       trees_.empty() ? Platt{} : fit_platt(window_));
  }

  size_t state_bytes() const override {
    const size_t buffered = frauds_.ring.size() + negatives_.ring.size();
    size_t nodes = 0;
    for (const Tree& tree : trees_) nodes += tree.nodes.capacity();
    return sizeof(*this) + buffered * (columns_.size() * (sizeof(float) + sizeof(uint16_t)) + 32) +
           nodes * sizeof(TreeNode) + window_.margins.capacity() * 3 * sizeof(float);
  }

  std::string save() const override;
  Result<void> load(std::string_view payload);

 private:
  // What is kept of one class. Margins are the present trees'.
  struct Kept {
    ReplayRing ring;
    std::vector<int64_t> margins;  // fixed point
    BinnedRows bins;
  };

  void one(const float* row, float margin, float label, float weight, uint64_t key) {
    ++examples_;
    const bool fraud = label > 0.5f;
    const uint64_t dice = mix(key ^ mix(seed_));
    // Legitimate examples that look like fraud teach the most: they are kept more often, and weigh less for
    // it. A young learner keeps more of everything: its buffer has room.
    const double roomy = static_cast<double>(options_.negatives_max) / 5 / static_cast<double>(examples_);
    double keep = fraud ? 1 : std::max(options_.negative_rate, roomy);
    if (!fraud && !trees_.empty()) keep += options_.hard_rate * static_cast<double>(logistic_float(margin));
    keep = std::min(keep, 1.0);
    if (unit(dice) >= keep || weight <= 0) return;
    const double true_weight = weight / keep;
    if (!trees_.empty()) {
      window_.add(static_cast<size_t>(options_.calibration_window), margin, fraud ? 1.0f : 0.0f, true_weight);
    }
    Kept& kept = fraud ? frauds_ : negatives_;
    const auto capacity = static_cast<size_t>(fraud ? options_.frauds_max : options_.negatives_max);
    const size_t at =
        kept.ring.add(capacity, row, columns_.size(), static_cast<float>(true_weight), examples_, key);
    if (kept.margins.size() <= at) kept.margins.resize(at + 1);
    kept.margins[at] = fixed(margin);
    if (cuts_at_ > 0) kept.bins.set(at, row);
  }

  double early_base() const { return early_margin(frauds_.ring.next, examples_); }

  void compile() { scorer_ = std::make_unique<TreeScorer>(base_, trees_, columns_.size()); }

  // Calls work(class, from, to) for parts of each class's rows, perhaps at the same time.
  void in_parts(const std::function<void(Kept&, size_t, size_t)>& work) {
    constexpr size_t kPart = 8192;
    const size_t frauds = (frauds_.ring.size() + kPart - 1) / kPart;
    const size_t parts = frauds + (negatives_.ring.size() + kPart - 1) / kPart;
    run_tasks(workers_, parts, [&](size_t p) {
      Kept& kept = p < frauds ? frauds_ : negatives_;
      const size_t from = (p < frauds ? p : p - frauds) * kPart;
      work(kept, from, std::min(from + kPart, kept.ring.size()));
    });
  }

  void grow();
  void fit_bins();
  void refresh(const GrowOptions& how, std::span<const float> weights);
  void bin(Kept& kept, size_t from, size_t to) {
    for (size_t i = from; i < to; ++i) kept.bins.set(i, &kept.ring.rows[i * columns_.size()]);
  }
  // From all margins.
  void take_away(std::span<const Tree> trees) {
    // Sums below 16 in size are exact in float (see kLeafOne): then the kernels may add them up.
    double most = 0;
    for (const Tree& tree : trees) {
      float leaf = 0;
      for (const TreeNode& node : tree.nodes)
        leaf = std::max(leaf, node.is_leaf() ? std::fabs(node.value) : 0);
      most += static_cast<double>(leaf);
    }
    const TreeScorer scorer(0, {trees.begin(), trees.end()}, columns_.size());
    in_parts([&](Kept& kept, size_t from, size_t to) {
      const size_t k = columns_.size();
      if (most < 16) {
        std::vector<float> sums(to - from);
        scorer.sum({std::span<const float>(kept.ring.rows).subspan(from * k, (to - from) * k), k},
                   sums.data());
        for (size_t i = from; i < to; ++i) kept.margins[i] -= fixed(sums[i - from]);
        return;
      }
      for (size_t i = from; i < to; ++i) {
        for (const Tree& tree : trees) kept.margins[i] -= fixed(tree.leaf(&kept.ring.rows[i * k]).value);
      }
    });
  }

  BoostingOptions options_;
  std::vector<Column> columns_;
  std::vector<uint32_t> by_name_;  // the order in which columns are tried: not that of the configuration
  uint64_t seed_;
  Workers* workers_ = nullptr;
  uint64_t examples_ = 0, next_growth_;
  uint64_t grown_ = 0;    // trees ever
  uint64_t cuts_at_ = 0;  // examples when the cut points were fitted; 0: not yet
  float base_ = 0;
  std::vector<Tree> trees_;  // oldest first
  std::unique_ptr<TreeScorer> scorer_;
  Kept frauds_, negatives_;
  MarginWindow window_;
  TreeGrower grower_;
  std::vector<float> margins_;  // of the batch
};

// Cut points from the buffer as it stands; each class weighs the same. They are fitted anew when a quarter
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
  std::vector<std::vector<float>> cuts(k);
  run_tasks(workers_, k,
            [&](size_t c) { cuts[c] = fit_cuts(sample, k, c, static_cast<size_t>(options_.bins)); });
  for (Kept* kept : {&frauds_, &negatives_}) {
    kept->bins = BinnedRows(cuts);
    kept->bins.reserve(kept->ring.size());
  }
  in_parts([&](Kept& kept, size_t from, size_t to) { bin(kept, from, to); });
}

void BoostingLearner::grow() {
  fit_bins();
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
      const bool fraud = &kept == &frauds_;
      constexpr size_t kBlock = 256;
      float p[kBlock];
      for (size_t block = from; block < to; block += kBlock) {
        const size_t m = std::min(kBlock, to - block);
        for (size_t i = 0; i < m; ++i)
          p[i] = static_cast<float>(static_cast<double>(kept.margins[block + i]) / kLeafOne);
        squash({p, m}, 1, 0);
        for (size_t i = 0; i < m; ++i) {
          const size_t at = (fraud ? 0 : frauds) + block + i;
          sampled[at] =
              options_.row_rate >= 1 || unit(mix(dice ^ mix(kept.ring.keys[block + i]))) < options_.row_rate;
          gradients[at] = pair_of(weights[at], static_cast<double>(p[i]), fraud);
        }
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

// Its trees become the oldest of ours, with the calibration folded into their leaves. Leaves move to our
// fixed point: by less than a millionth each.
Result<void> BoostingLearner::adopt(const Model& model) {
  const auto refuse = [](std::string reason) {
    return tl::make_unexpected(Error{ErrorCode::kMismatch, "", std::move(reason)});
  };
  const auto* from = dynamic_cast<const TreeModel*>(&model);
  if (from == nullptr) return refuse("boosting goes on from tree ensembles only");
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
      const bool fraud = &kept == &frauds_;
      for (size_t i = from; i < to; ++i) {
        const size_t at = (fraud ? 0 : frauds) + i;
        leaf_of[at] =
            static_cast<uint32_t>(&tree.leaf(&kept.ring.rows[i * columns_.size()]) - tree.nodes.data());
        const double q = static_cast<double>(
            logistic_float(static_cast<float>(static_cast<double>(kept.margins[i]) / kLeafOne)));
        gradients[at] = pair_of(weights[at], q, fraud);
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

std::string BoostingLearner::save() const {
  proto::BoostingRecord record;
  for (const Column& column : columns_) write_column(column, *record.add_columns());
  record.set_options(canonical_options<BoostingOptions>(kRows, options_, seed_));
  write_trees(trees_, *record.mutable_trees());
  record.set_examples(examples_);
  record.set_next_growth(next_growth_);
  record.set_grown(grown_);
  record.set_base(base_);
  write_ring(frauds_.ring, *record.mutable_frauds());
  write_ring(negatives_.ring, *record.mutable_negatives());
  record.set_fraud_margins(to_bytes(frauds_.margins));
  record.set_negative_margins(to_bytes(negatives_.margins));
  record.set_cuts_at(cuts_at_);
  for (const auto& cuts : frauds_.bins.cuts()) {
    proto::LinearColumn& out = *record.add_bins();
    for (const float cut : cuts) out.add_cuts(cut);
  }
  write_window(window_, record);
  return seal(SealedKind::kLearner, "boosting", 1, record.SerializeAsString());
}

Result<void> BoostingLearner::load(std::string_view payload) {
  proto::BoostingRecord record;
  if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return damaged("the boosting learner cannot be read");
  if (read_columns(record.columns()) != columns_ ||
      record.options() != canonical_options<BoostingOptions>(kRows, options_, seed_)) {
    return tl::make_unexpected(
        Error{ErrorCode::kMismatch, "", "the learner was saved with other columns, options or seed"});
  }
  if (record.fraud_margins().empty() && !record.frauds().rows().empty())
    return tl::make_unexpected(
        Error{ErrorCode::kMismatch, "", "the learner was saved by an earlier version"});
  auto trees = read_trees(record.trees(), columns_.size());
  if (!trees) return tl::make_unexpected(trees.error());
  trees_ = std::move(*trees);
  examples_ = record.examples();
  next_growth_ = record.next_growth();
  grown_ = record.grown();
  base_ = record.base();
  cuts_at_ = record.cuts_at();
  bool sound = std::isfinite(base_) && trees_.size() <= static_cast<size_t>(options_.trees);
  const auto read = [&](const proto::ReplayRecord& from, const std::string& margins, int64_t capacity,
                        Kept& kept) {
    sound = sound && read_ring(from, static_cast<size_t>(capacity), columns_.size(), kept.ring) &&
            from_bytes(margins, kept.margins) && kept.margins.size() == kept.ring.size();
    for (const int64_t one : kept.margins) sound &= std::abs(one) < (int64_t{1} << 50);
  };
  read(record.frauds(), record.fraud_margins(), options_.frauds_max, frauds_);
  read(record.negatives(), record.negative_margins(), options_.negatives_max, negatives_);
  sound &= read_window(record, options_.calibration_window, window_);
  sound &= record.bins_size() == (cuts_at_ > 0 ? static_cast<int>(columns_.size()) : 0);
  std::vector<std::vector<float>> cuts;
  for (const proto::LinearColumn& in : record.bins()) {
    cuts.emplace_back(in.cuts().begin(), in.cuts().end());
    sound &= cuts.back().size() < 65535 && std::is_sorted(cuts.back().begin(), cuts.back().end());
  }
  if (!sound) return damaged("a part of the learner has the wrong size");
  if (cuts_at_ > 0) {
    for (Kept* kept : {&frauds_, &negatives_}) {
      kept->bins = BinnedRows(cuts);
      bin(*kept, 0, kept->ring.size());
    }
  }
  compile();
  return {};
}

Result<std::unique_ptr<BoostingLearner>> make(const Options& given, std::vector<Column> columns,
                                              uint64_t seed) {
  auto options = read_options<BoostingOptions>("boosting", kRows, given);
  if (!options) return tl::make_unexpected(options.error());
  return std::make_unique<BoostingLearner>(*options, std::move(columns), seed);
}

}  // namespace

Family boosting_family() {
  return make_family<BoostingLearner, make>(
      "boosting", "incremental gradient boosting of histogram trees on a replay buffer",
      describe_options<BoostingOptions>(kRows),
      [](uint32_t, std::string_view payload) { return load_tree_model("boosting", payload); });
}

}  // namespace shrike::learners
