// Incremental gradient boosting: histogram trees on a replay buffer of frauds and sampled, re-weighted
// legitimate examples. No full retrain is needed (`renew_every` gives one): every `grow_every` examples the
// `grow_trees` oldest trees leave the ensemble and as many are grown on the whole buffer against what the
// others predict, so that the ensemble renews itself tree by tree within a fixed size. A young one grows
// after its first hundred examples, and again whenever a fifth more have come (widening.h), mostly anew. A
// function of the examples, the options and the seed: sums are exact integers, sampling decides by hashes.
//
// Before an example is learned its margin is noted: a snapshot is calibrated (Platt) on the newest of these.
#include "learners/trees/boosting.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "learners/numeric/numeric.h"
#include "learners/option_table.h"
#include "learners/registry.h"
#include "learners/saved/sealed.h"
#include "learners/trees/trees.pb.h"

namespace shrike::learners {
namespace {

using Row = OptionRow<BoostingOptions>;
using B = BoostingOptions;
constexpr Row kRows[] = {
    {"trees", nullptr, &B::trees, 1, 5000, "trees of the ensemble, at most"},
    {"depth", nullptr, &B::depth, 1, 16, "of a tree; up to 6 scores fastest"},
    {"rate", &B::rate, nullptr, 1e-3, 1, "learning rate: shrinks each tree"},
    {"bins", nullptr, &B::bins, 2, 4096, "bins of a column, at most"},
    {"bin_sample", nullptr, &B::bin_sample, 10, 1e9,
     "the first trees are grown after so many examples, and after 100 at the latest"},
    {"grow_every", nullptr, &B::grow_every, 1, 1e9,
     "examples between two growths, at most: while there are few, a fifth of them"},
    {"grow_trees", nullptr, &B::grow_trees, 1, 5000, "trees grown then, and as many of the oldest leave"},
    {"refresh_trees", nullptr, &B::refresh_trees, 0, 5000,
     "oldest trees whose leaves then move towards the present; those that no longer help leave"},
    {"renew_every", nullptr, &B::renew_every, 0, 1e12,
     "examples after which all trees are grown anew, a candidate like any other; 0: never"},
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

}  // namespace

void BoostingLearner::partial_fit(MatrixView rows, std::span<const float> labels,
                                  std::span<const float> weights, std::span<const uint64_t> keys) {
  // Until the next growth the trees stay: whole batches are scored at once.
  for (size_t from = 0; from < rows.rows();) {
    const size_t until_growth =
        static_cast<size_t>(std::max<uint64_t>(next_growth_, weighed_ + 1) - weighed_);
    const size_t to = std::min(rows.rows(), from + until_growth);
    margins_.assign(to - from, 0.0f);
    if (!trees_.empty())
      scorer_->sum({{rows.row(from).data(), (to - from) * rows.columns()}, rows.columns()}, margins_.data());
    for (size_t i = from; i < to; ++i)
      take(rows.row(i).data(), margins_[i - from], labels[i], weights[i], keys[i]);
    from = to;
    if (weighed_ < next_growth_) continue;
    if (frauds_.ring.size() > 0 && negatives_.ring.size() > 0) grow();
    next_growth_ = adopted_ > 0 ? weighed_ + static_cast<uint64_t>(options_.grow_every)
                                : next_look(weighed_, static_cast<uint64_t>(options_.grow_every));
  }
}

void BoostingLearner::take(const float* row, float margin, float label, float weight, uint64_t key) {
  ++examples_;
  weighed_ += weight > 0;
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
  ClassBuffer& buffer = fraud ? frauds_ : negatives_;
  const auto capacity = static_cast<size_t>(fraud ? options_.frauds_max : options_.negatives_max);
  const size_t at =
      buffer.ring.add(capacity, {row, columns_.size()}, static_cast<float>(true_weight), examples_, key);
  if (buffer.margins.size() <= at) buffer.margins.resize(at + 1);
  buffer.margins[at] = fixed(margin);
  if (cuts_at_ > 0) buffer.bins.set(at, row);
}

ModelPtr BoostingLearner::snapshot() const {
  const float base = trees_.empty() ? static_cast<float>(early_base()) : base_;
  return std::make_shared<TreeModel>("boosting", columns_, base, trees_,
                                     trees_.empty() ? Platt{} : fit_platt(window_));
}

size_t BoostingLearner::state_bytes() const {
  size_t nodes = 0;
  for (const Tree& tree : trees_) {
    nodes += tree.nodes.capacity();
    for (const auto& set : tree.sets) nodes += set.capacity() * sizeof(uint32_t) / sizeof(TreeNode);
  }
  return sizeof(*this) + buffered() * (columns_.size() * (sizeof(float) + sizeof(uint16_t)) + 32) +
         nodes * sizeof(TreeNode) + window_.rows.capacity() * 3 * sizeof(float);
}

std::string BoostingLearner::save() const {
  proto::BoostingRecord record;
  for (const Column& column : columns_) write_column(column, *record.add_columns());
  record.set_options(canonical_options<BoostingOptions>(kRows, options_, seed_));
  write_trees(trees_, *record.mutable_trees());
  record.set_examples(examples_);
  record.set_weighed(weighed_);
  record.set_next_growth(next_growth_);
  record.set_grown(grown_);
  record.set_grown_at(grown_at_);
  record.set_adopted(adopted_);
  record.set_base(base_);
  write_ring(frauds_.ring, *record.mutable_frauds());
  write_ring(negatives_.ring, *record.mutable_negatives());
  record.set_fraud_margins(to_bytes(frauds_.margins));
  record.set_negative_margins(to_bytes(negatives_.margins));
  record.set_cuts_at(cuts_at_);
  uint32_t version = version_of(trees_) == 4 ? 4 : 1;
  for (const ColumnBins& bins : frauds_.bins.of()) {
    write_bins(bins, *record.add_bins());
    if (bins.categorical) version = 4;
  }
  write_window(window_, record);
  return seal(SealedKind::kLearner, "boosting", version, record.SerializeAsString());
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
  // Earlier versions grew at even steps of all examples.
  weighed_ = record.has_weighed() ? record.weighed() : examples_;
  next_growth_ = record.next_growth();
  grown_ = record.grown();
  grown_at_ = record.grown_at();
  adopted_ = record.adopted();
  const auto every = static_cast<uint64_t>(options_.grow_every);
  if (grown_at_ == 0 && grown_ > 0) grown_at_ = next_growth_ > every ? next_growth_ - every : 1;
  base_ = record.base();
  cuts_at_ = record.cuts_at();
  bool sound = std::isfinite(base_) && trees_.size() <= static_cast<size_t>(options_.trees) &&
               adopted_ <= trees_.size();
  const auto read = [&](const proto::ReplayRecord& from, const std::string& margin_bytes, int64_t capacity,
                        ClassBuffer& buffer) {
    sound = sound && read_ring(from, static_cast<size_t>(capacity), columns_.size(), buffer.ring) &&
            from_bytes(margin_bytes, buffer.margins) && buffer.margins.size() == buffer.ring.size();
    for (const int64_t margin : buffer.margins) sound &= std::abs(margin) < (int64_t{1} << 50);
  };
  read(record.frauds(), record.fraud_margins(), options_.frauds_max, frauds_);
  read(record.negatives(), record.negative_margins(), options_.negatives_max, negatives_);
  sound &= read_window(record, options_.calibration_window, window_);
  sound &= record.bins_size() == (cuts_at_ > 0 ? static_cast<int>(columns_.size()) : 0);
  std::vector<ColumnBins> bins;
  for (const proto::LinearColumn& in : record.bins()) {
    bins.push_back(read_bins(in));
    sound = sound && bins.size() <= columns_.size() && bins.back().sound(columns_[bins.size() - 1].kind);
  }
  if (!sound) return damaged("a part of the learner has the wrong size");
  if (cuts_at_ > 0) {
    for (ClassBuffer* buffer : {&frauds_, &negatives_}) {
      buffer->bins = BinnedRows(bins);
      bin(*buffer, 0, buffer->ring.size());
    }
  }
  compile();
  return {};
}

namespace {

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
