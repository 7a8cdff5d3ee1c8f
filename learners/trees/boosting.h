// The boosting family's learner; boosting_learner.cc says how it learns. Options and saved form are there,
// how trees come and go in boosting_growth.cc. Internal to learners/.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "learners/calibration/platt.h"
#include "learners/learner.h"
#include "learners/numeric/numeric.h"
#include "learners/rows/replay_ring.h"
#include "learners/saved/records.h"
#include "learners/trees/grower.h"
#include "learners/trees/model.h"

namespace shrike::learners {

struct BoostingOptions {
  int64_t trees = 200, depth = 6, bins = 256, bin_sample = 5000, grow_every = 10000, grow_trees = 30,
          refresh_trees = 0, renew_every = 0;
  int64_t frauds_max = 20000, negatives_max = 100000, calibration_window = 200000;
  double rate = 0.1, l2 = 5, hessian_min = 3, gain_min = 0, column_rate = 0.7, row_rate = 0.7;
  double negative_rate = 0.02, hard_rate = 30, fraud_weight = 1, half_life = 0;
};

// Margins of the buffered rows are sums of leaves in fixed point: exact, whatever trees came and went.
inline int64_t fixed(float leaf) {
  return static_cast<int64_t>(std::nearbyint(static_cast<double>(leaf) * kLeafOne));
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
  std::string waits_for() const override;
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
    for (const Tree& tree : trees_) {
      nodes += tree.nodes.capacity();
      for (const auto& set : tree.sets) nodes += set.capacity() * sizeof(uint32_t) / sizeof(TreeNode);
    }
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
  void fill_gradients(const Kept& kept, size_t from, size_t to, std::span<const float> weights,
                      std::span<GradientPair> gradients) const;
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

}  // namespace shrike::learners
