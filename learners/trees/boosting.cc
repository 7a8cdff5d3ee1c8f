// Incremental gradient boosting: histogram trees on a replay buffer of frauds and sampled, re-weighted
// legitimate examples. No full retrain is needed (`renew_every` gives one): every `grow_every` examples the
// `grow_trees` oldest trees leave the ensemble and as many are grown on the whole buffer against what the
// others predict, so that the ensemble renews itself tree by tree within a fixed size. A function of the
// examples, the options and the seed: sums are exact integers, sampling decides by hashes.
//
// Before an example is learned its margin is noted: a snapshot is calibrated (Platt) on the newest of these.
#include "learners/trees/boosting.h"

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
    {"bin_sample", nullptr, &B::bin_sample, 10, 1e9, "examples before the first trees are grown"},
    {"grow_every", nullptr, &B::grow_every, 1, 1e9, "examples between two growths"},
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
  std::vector<ColumnBins> bins;
  for (const proto::LinearColumn& in : record.bins()) {
    bins.push_back(read_bins(in));
    sound = sound && bins.size() <= columns_.size() && bins.back().sound(columns_[bins.size() - 1].kind);
  }
  if (!sound) return damaged("a part of the learner has the wrong size");
  if (cuts_at_ > 0) {
    for (Kept* kept : {&frauds_, &negatives_}) {
      kept->bins = BinnedRows(bins);
      bin(*kept, 0, kept->ring.size());
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
