// Incremental gradient boosting: histogram trees on a replay buffer of frauds and sampled, re-weighted
// legitimate examples. There is no full retrain. Every `grow_every` examples the `grow_trees` oldest trees
// leave the ensemble and as many are grown on the whole buffer against what the others predict, so that the
// ensemble renews itself tree by tree within a fixed size. A function of the examples, the options and the
// seed: sums are exact integers, sampling decides by hashes.
//
// Before an example is learned its margin is noted: a snapshot is calibrated (Platt) on the newest of these.
#include <xxhash.h>

#include <algorithm>
#include <cmath>

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
  int64_t trees = 200, depth = 6, bins = 256, bin_sample = 5000, grow_every = 5000, grow_trees = 10;
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

  void partial_fit(MatrixView rows, std::span<const float> labels, std::span<const float> weights,
                   std::span<const uint64_t> keys) override {
    for (size_t i = 0; i < rows.rows(); ++i) one(rows.row(i).data(), labels[i], weights[i], keys[i]);
  }

  ModelPtr snapshot() const override {
    const float base = trees_.empty() ? static_cast<float>(early_base()) : base_;
    return std::make_shared<TreeModel>("boosting", columns_, base, trees_,
                                       trees_.empty() ? Platt{} : fit_platt(window_));
  }

  size_t state_bytes() const override {
    const size_t buffered = frauds_.size() + negatives_.size();
    size_t nodes = 0;
    for (const Tree& tree : trees_) nodes += tree.nodes.capacity();
    return sizeof(*this) + buffered * (columns_.size() * sizeof(float) + 24) + nodes * sizeof(TreeNode) +
           window_.margins.capacity() * 3 * sizeof(float);
  }

  std::string save() const override;
  Result<void> load(std::string_view payload);

 private:
  void one(const float* row, float label, float weight, uint64_t key) {
    ++examples_;
    const bool fraud = label > 0.5f;
    const uint64_t dice = mix(key ^ mix(seed_));
    const float margin = trees_.empty() ? 0 : scorer_->sum_row(row);
    // Legitimate examples that look like fraud teach the most: they are kept more often, and weigh less for
    // it.
    // A young learner keeps more of everything: its buffer has room.
    const double roomy = static_cast<double>(options_.negatives_max) / 5 / static_cast<double>(examples_);
    double keep = fraud ? 1 : std::max(options_.negative_rate, roomy);
    if (!fraud && !trees_.empty()) keep += options_.hard_rate * static_cast<double>(logistic_float(margin));
    keep = std::min(keep, 1.0);
    if (unit(dice) < keep && weight > 0) {
      const double true_weight = weight / keep;
      if (!trees_.empty()) {
        window_.add(static_cast<size_t>(options_.calibration_window), margin, fraud ? 1.0f : 0.0f,
                    true_weight);
      }
      ReplayRing& ring = fraud ? frauds_ : negatives_;
      const auto capacity = static_cast<size_t>(fraud ? options_.frauds_max : options_.negatives_max);
      ring.add(capacity, row, columns_.size(), static_cast<float>(true_weight), examples_, key);
    }
    if (examples_ >= next_growth_) {
      next_growth_ = examples_ + static_cast<uint64_t>(options_.grow_every);
      if (frauds_.size() > 0 && negatives_.size() > 0) grow();
    }
  }

  double early_base() const { return early_margin(frauds_.next, examples_); }

  void compile() { scorer_ = std::make_unique<TreeScorer>(base_, trees_, columns_.size()); }

  void grow();

  BoostingOptions options_;
  std::vector<Column> columns_;
  std::vector<uint32_t> by_name_;  // the order in which columns are tried: not that of the configuration
  uint64_t seed_;
  uint64_t examples_ = 0, next_growth_;
  uint64_t grown_ = 0;  // trees ever
  float base_ = 0;
  std::vector<Tree> trees_;  // oldest first
  std::unique_ptr<TreeScorer> scorer_;
  ReplayRing frauds_, negatives_;
  MarginWindow window_;
  TreeGrower grower_;
};

void BoostingLearner::grow() {
  const size_t k = columns_.size(), n = frauds_.size() + negatives_.size();
  // Cut points from the buffer as it stands: each class weighs the same.
  BinSample sample;
  const auto thin = [&](const ReplayRing& ring, size_t capacity, bool fraud) {
    const size_t step = (ring.size() + capacity - 1) / capacity;
    for (size_t i = 0; i < ring.size(); i += step) sample.add(&ring.rows[i * k], k, fraud);
  };
  thin(frauds_, BinSample::kFraudsMax, true);
  thin(negatives_, BinSample::kNegativesMax, false);
  std::vector<std::vector<float>> cuts;
  for (size_t c = 0; c < k; ++c) cuts.push_back(fit_cuts(sample, k, c, static_cast<size_t>(options_.bins)));
  BinnedRows data(std::move(cuts));

  // While what came since the last growth is a large part of all there is, more trees are replaced.
  const double share = 2 * static_cast<double>(options_.grow_every) / static_cast<double>(examples_);
  size_t fresh = std::max(static_cast<size_t>(options_.grow_trees),
                          static_cast<size_t>(share * static_cast<double>(options_.trees)));
  if (trees_.empty()) {
    fresh = static_cast<size_t>(options_.trees);
    base_ = static_cast<float>(std::nearbyint(early_base() * kLeafOne) / kLeafOne);
  }
  fresh = std::min(fresh, static_cast<size_t>(options_.trees));
  const size_t room = static_cast<size_t>(options_.trees) - fresh;
  if (trees_.size() > room) trees_.erase(trees_.begin(), trees_.end() - static_cast<std::ptrdiff_t>(room));
  compile();

  std::vector<float> margins(n), weights(n);
  std::vector<uint64_t> keys(n);
  scorer_->sum(MatrixView(frauds_.rows, k), margins.data());
  scorer_->sum(MatrixView(negatives_.rows, k), margins.data() + frauds_.size());
  for (size_t i = 0; i < n; ++i) {
    const bool fraud = i < frauds_.size();
    const ReplayRing& ring = fraud ? frauds_ : negatives_;
    const size_t at = fraud ? i : i - frauds_.size();
    data.set(i, &ring.rows[at * k]);
    double weight = ring.weights[at] * (fraud ? options_.fraud_weight : 1.0);
    if (options_.half_life > 0)
      weight *= exact_exp(-0.6931471805599453 * static_cast<double>(examples_ - ring.times[at]) /
                          options_.half_life);
    weights[i] = static_cast<float>(weight);
    keys[i] = mix(ring.keys[at]);
  }
  GrowOptions how{.depth = static_cast<uint32_t>(options_.depth),
                  .rate = options_.rate,
                  .l2 = options_.l2,
                  .hessian_min = options_.hessian_min,
                  .gain_min = options_.gain_min};
  std::vector<GradientPair> gradients(n);
  std::vector<uint32_t> rows, usable;
  for (size_t t = 0; t < fresh; ++t) {
    const uint64_t dice = mix(seed_ ^ mix(++grown_));
    rows.clear();
    for (size_t i = 0; i < n; ++i) {
      if (options_.row_rate < 1 && unit(mix(dice ^ keys[i])) >= options_.row_rate) continue;
      const bool fraud = i < frauds_.size();
      const double p = static_cast<double>(logistic_float(margins[i]));
      const double g = weights[i] * (p - (fraud ? 1 : 0)), h = weights[i] * p * (1 - p);
      gradients[i] = {static_cast<int64_t>(g * GradientPair::kOne),
                      static_cast<int64_t>(h * GradientPair::kOne)};
      rows.push_back(static_cast<uint32_t>(i));
    }
    usable.clear();
    for (const uint32_t c : by_name_) {
      const std::string& name = columns_[c].name;
      if (unit(mix(dice ^ XXH3_64bits(name.data(), name.size()))) < options_.column_rate) usable.push_back(c);
    }
    if (usable.empty()) usable.push_back(by_name_[dice % k]);
    Tree tree = grower_.grow(data, rows, gradients, usable, how);
    for (size_t i = 0; i < n; ++i) {
      const bool fraud = i < frauds_.size();
      const float* row = fraud ? &frauds_.rows[i * k] : &negatives_.rows[(i - frauds_.size()) * k];
      margins[i] += tree.leaf(row).value;
    }
    trees_.push_back(std::move(tree));
  }
  compile();
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
  write_ring(frauds_, *record.mutable_frauds());
  write_ring(negatives_, *record.mutable_negatives());
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
  auto trees = read_trees(record.trees(), columns_.size());
  if (!trees) return tl::make_unexpected(trees.error());
  trees_ = std::move(*trees);
  examples_ = record.examples();
  next_growth_ = record.next_growth();
  grown_ = record.grown();
  base_ = record.base();
  bool sound = std::isfinite(base_) && trees_.size() <= static_cast<size_t>(options_.trees);
  sound &=
      read_ring(record.frauds(), static_cast<size_t>(options_.frauds_max), columns_.size(), frauds_) &&
      read_ring(record.negatives(), static_cast<size_t>(options_.negatives_max), columns_.size(), negatives_);
  sound &= read_window(record, options_.calibration_window, window_);
  if (!sound) return damaged("a part of the learner has the wrong size");
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
