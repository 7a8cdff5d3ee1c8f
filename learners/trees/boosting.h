// The boosting family's learner; boosting.cc says how it learns. Options and saved form are there, how trees
// come and go in boosting_growth.cc. Internal to learners/.
#pragma once

#include <cmath>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "learners/calibration/platt.h"
#include "learners/learner.h"
#include "learners/rows/replay_ring.h"
#include "learners/saved/records.h"
#include "learners/trees/grower.h"
#include "learners/trees/model.h"
#include "learners/widening.h"

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
        next_growth_(first_bins(options.bin_sample)) {
    compile();
  }

  std::string_view family() const override { return "boosting"; }
  const std::vector<Column>& columns() const override { return columns_; }
  uint64_t examples() const override { return examples_; }
  // Trees that tell no row from another are none.
  bool ready() const override { return splits_; }
  std::string waits_for() const override;
  void use(Workers* workers) override { workers_ = workers; }

  void partial_fit(MatrixView rows, std::span<const float> labels, std::span<const float> weights,
                   std::span<const uint64_t> keys) override;

  std::optional<double> live_margin(std::span<const float> row) const override {
    return trees_.empty() ? early_base() : static_cast<double>(scorer_->sum_row(row.data()));
  }

  Result<void> adopt(const Model& model) override;

  ModelPtr snapshot() const override;
  size_t state_bytes() const override;
  std::string save() const override;
  Result<void> load(std::string_view payload);

 private:
  // The rows of one class that are kept to learn from. Margins are those of the present trees.
  struct ClassBuffer {
    ReplayRing ring;
    std::vector<int64_t> margins;  // fixed point
    BinnedRows bins;
  };

  double early_base() const { return early_margin(frauds_.ring.next, examples_); }

  void compile() {
    scorer_ = std::make_unique<TreeScorer>(base_, trees_, columns_.size());
    splits_ = std::any_of(trees_.begin(), trees_.end(), [](const Tree& t) { return t.nodes.size() > 1; });
  }

  // Learns one example, of which the present trees say `margin`.
  void take(const float* row, float margin, float label, float weight, uint64_t key);

  // Calls work(buffer, from, to) for parts of each class's rows, perhaps at the same time.
  void in_parts(const std::function<void(ClassBuffer&, size_t, size_t)>& work);
  // Arrays over the rows of both classes hold frauds first: where the class begins in them.
  size_t offset_of(const ClassBuffer& buffer) const { return &buffer == &frauds_ ? 0 : frauds_.ring.size(); }
  // Rows of both classes.
  size_t buffered() const { return frauds_.ring.size() + negatives_.ring.size(); }

  // What the trees of one growth are grown from: arrays over the rows of both classes.
  struct Growth {
    GrowOptions options;
    BinnedRows bins;
    std::vector<float> weights;
    std::vector<GradientPair> gradients;
    std::vector<uint8_t> sampled;         // whether the tree in hand is grown on the row
    std::vector<uint32_t> rows, columns;  // that it is grown on
  };
  // The oldest trees leave and new ones are grown; the steps follow.
  void grow();
  GrowOptions grow_options() const;
  // Of the class that has fewer: what limits how much may be learned from the buffer.
  size_t rarer() const { return std::min(frauds_.ring.size(), negatives_.ring.size()); }
  // How many trees so much evidence carries.
  size_t trees_max() const;
  bool is_renewal_due() const;
  size_t trees_to_replace() const;
  void begin_anew();
  void remove_oldest(size_t count);
  void grow_tree(Growth& growth);
  void sample_rows(uint64_t dice, Growth& growth);
  void sample_columns(uint64_t dice, std::vector<uint32_t>& columns) const;
  void add_margins(const Tree& tree, const Growth& growth);
  std::vector<float> weigh_rows();
  void refresh(const GrowOptions& options, std::span<const float> weights);
  bool refresh_tree(Tree& tree, const GrowOptions& options, std::span<const float> weights);

  void fit_bins();
  void bin(ClassBuffer& buffer, size_t from, size_t to);
  void fill_gradients(const ClassBuffer& buffer, size_t from, size_t to, std::span<const float> weights,
                      std::span<GradientPair> gradients) const;
  // Takes the trees' leaves off all margins.
  void take_away(std::span<const Tree> trees);

  BoostingOptions options_;
  std::vector<Column> columns_;
  std::vector<uint32_t> by_name_;  // the order in which columns are tried: not that of the configuration
  uint64_t seed_;
  Workers* workers_ = nullptr;
  uint64_t examples_ = 0;
  uint64_t weighed_ = 0;  // of them with a weight: what growth goes by
  uint64_t next_growth_;
  uint64_t grown_ = 0;     // trees ever
  uint64_t grown_at_ = 0;  // weighed_ at the last growth; 0: none yet
  uint64_t adopted_ = 0;   // trees made elsewhere that are still here: they are the oldest
  bool splits_ = false;    // some tree has a split
  uint64_t cuts_at_ = 0;   // examples when the cut points were fitted; 0: not yet
  float base_ = 0;
  std::vector<Tree> trees_;  // oldest first
  std::unique_ptr<TreeScorer> scorer_;
  ClassBuffer frauds_, negatives_;
  PredictionWindow window_;
  TreeGrower grower_;
  std::vector<float> margins_;  // of the batch
};

}  // namespace shrike::learners
