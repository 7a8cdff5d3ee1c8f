// A streaming forest: trees that grow as they learn, each on its own Poisson weights (leveraging bagging:
// Bifet, Holmes, Pfahringer, ECML 2010) and random subspaces, each replaced when it fails (adaptive random
// forests: Gomes et al., Machine Learning 2017): a warning of ADWIN plants a tree in the background, which
// learns with the same weights, and a detected drift lets it take over. Drift is watched on the log loss, not
// on accuracy, which "always legitimate" would win.
//
// The forest's probability is the mean of its trees' (which finds more fraud than the mean of their log-odds:
// one tree that is sure by chance does not outvote the others); a snapshot is calibrated (Platt) on margins
// that were noted before their examples were learned. A function of the examples, the options and the seed.
#include <algorithm>
#include <cmath>

#include "learners/calibration/platt.h"
#include "learners/drift.h"
#include "learners/numeric/numeric.h"
#include "learners/option_table.h"
#include "learners/registry.h"
#include "learners/rows/bins.h"
#include "learners/saved/records.h"
#include "learners/saved/sealed.h"
#include "learners/trees/hoeffding_tree.h"
#include "learners/trees/model.h"
#include "learners/trees/trees.pb.h"
#include "learners/widening.h"

namespace shrike::learners {
namespace {

struct ForestOptions {
  int64_t trees = 30, depth = 40, bins = 256, bin_sample = 5000, memory_mib = 256,
          calibration_window = 200000;
  double lambda = 6, grace = 200, significance = 20, column_rate = 0.6, smoothing = 2, warning = 0.05,
         drift = 0.01;
  double fraud_weight = 1, memory = 0;
};

using Row = OptionRow<ForestOptions>;
using F = ForestOptions;
constexpr Row kRows[] = {
    {"trees", nullptr, &F::trees, 1, 1000, "trees of the forest"},
    {"depth", nullptr, &F::depth, 1, 40, "of a tree, at most"},
    {"lambda", &F::lambda, nullptr, 0.1, 20, "mean weight of an example in a tree (Poisson)"},
    {"grace", &F::grace, nullptr, 1, 1e6, "weight between two looks at a leaf"},
    {"significance", &F::significance, nullptr, 0, 1e6, "least likelihood ratio statistic of a split"},
    {"column_rate", &F::column_rate, nullptr, 1e-3, 1, "share of the columns in a leaf's random subspace"},
    {"smoothing", &F::smoothing, nullptr, 0.01, 1e6, "weight of the parent's probability in a leaf's"},
    {"warning", &F::warning, nullptr, 1e-9, 1, "confidence of the warning that plants a background tree"},
    {"drift", &F::drift, nullptr, 1e-9, 1, "confidence of the drift that lets it take over"},
    {"bins", nullptr, &F::bins, 2, 1024, "bins of a column, at most"},
    {"bin_sample", nullptr, &F::bin_sample, 10, 1e6,
     "cut points are fitted after so many examples, and after 100 at the latest, or 3000 with categories"},
    {"memory_mib", nullptr, &F::memory_mib, 1, 1e6, "ceiling of the leaves' histograms"},
    {"memory", &F::memory, nullptr, 0, 1e9,
     "weight after which a leaf's probability has forgotten most; 0: never"},
    {"fraud_weight", &F::fraud_weight, nullptr, 1e-3, 1e4, "weight of a fraud while learning"},
    {"calibration_window", nullptr, &F::calibration_window, 100, 1e7, "newest examples to calibrate on"},
};

class ForestLearner : public Learner {
 public:
  ForestLearner(ForestOptions options, std::vector<Column> columns, uint64_t seed)
      : options_(options), columns_(std::move(columns)), seed_(seed), cuts_(columns_.size()) {
    by_name_ = order_by_name(columns_);
    first_cut_ = first_cut();
    tree_options_.grace = options.grace;
    tree_options_.significance = options.significance;
    tree_options_.column_rate = options.column_rate;
    tree_options_.memory = options.memory;
    tree_options_.smoothing = options.smoothing;
    tree_options_.depth = static_cast<uint32_t>(options.depth);
    tree_options_.histogram_bytes =
        (static_cast<size_t>(options.memory_mib) << 20) / static_cast<size_t>(options.trees);
    for (int64_t t = 0; t < options.trees; ++t)
      members_.emplace_back(plant(static_cast<size_t>(t), 0),
                            watch_for(static_cast<size_t>(t), options.warning),
                            watch_for(static_cast<size_t>(t), options.drift));
    for (Member& member : members_) trees_.push_back(&member.tree);
    // A leaf is looked at once in `grace` / `lambda` examples at most: this leaves room for two.
    look_every_ =
        std::clamp<uint64_t>(static_cast<uint64_t>(options.grace / options.lambda / 2), 1, members_.size());
    double term = exact_exp(-options.lambda), sum = term;
    for (int k = 1; k < 60; ++k) {
      poisson_.push_back(sum);
      term *= options.lambda / k;
      sum += term;
    }
  }

  std::string_view family() const override { return "forest"; }
  const std::vector<Column>& columns() const override { return columns_; }
  uint64_t examples() const override { return examples_; }
  bool ready() const override { return refit_at_ > 0 && frauds_ > 0; }
  std::string waits_for() const override {
    if (ready()) return "";
    if (refit_at_ > 0) return "no fraud came yet";
    return fmt::format("its bins are cut at {} examples, {} came", first_cut(), examples_);
  }

  void use(Workers* workers) override { workers_ = workers; }

  void partial_fit(MatrixView rows, std::span<const float> labels, std::span<const float> weights,
                   std::span<const uint64_t> keys) override {
    for (size_t i = 0; i < rows.rows(); ++i) take(rows.row(i).data(), labels[i], weights[i], keys[i]);
    learn_batch();
  }

  std::optional<double> live_margin(std::span<const float> given) const override {
    if (refit_at_ == 0) return early_margin(frauds_, examples_);
    std::vector<float> row(columns_.size());
    for (size_t c = 0; c < columns_.size(); ++c) row[c] = given[by_name_[c]];
    std::vector<uint32_t> leaves(members_.size());
    HoeffdingTree::find_in_step(trees_, row.data(), leaves.data());
    double sum = 0;
    for (size_t t = 0; t < members_.size(); ++t) sum += members_[t].tree.opinion(leaves[t]).probability;
    return exact_logit(sum / static_cast<double>(members_.size()));
  }

  ModelPtr snapshot() const override {
    std::vector<Tree> trees;
    if (refit_at_ == 0) {
      return std::make_shared<TreeModel>("forest", columns_,
                                         static_cast<float>(early_margin(frauds_, examples_)),
                                         std::move(trees), Platt{});
    }
    const float share = 1.0f / static_cast<float>(members_.size());
    for (const Member& member : members_) {
      trees.push_back(member.tree.compile(share));
      for (TreeNode& node : trees.back().nodes) {
        if (!node.is_leaf()) node.column = static_cast<int32_t>(by_name_[static_cast<size_t>(node.column)]);
      }
    }
    return std::make_shared<TreeModel>("forest", columns_, 0.0f, std::move(trees), fit_platt(window_), "",
                                       LeafSum::kProbability);
  }

  size_t state_bytes() const override {
    size_t total = sizeof(*this) + window_.rows.capacity() * 3 * sizeof(float);
    for (const Member& member : members_) {
      total += member.tree.bytes() + (member.background ? member.background->bytes() : 0);
    }
    return total +
           (sample_.frauds.rows.capacity() + sample_.negatives.rows.capacity() + batch_.rows.capacity()) *
               sizeof(float);
  }

  std::string save() const override;
  Result<void> load(std::string_view payload);

 private:
  struct Member {
    Member(HoeffdingTree planted, Adwin to_warn, Adwin to_replace)
        : tree(std::move(planted)), warning(std::move(to_warn)), drift(std::move(to_replace)) {}
    HoeffdingTree tree;
    std::unique_ptr<HoeffdingTree> background;
    Adwin warning, drift;
    uint64_t seen = 0;  // examples: seeds the trees that are planted
  };
  struct Batch {
    std::vector<float> rows, labels, weights;
    std::vector<uint64_t> keys;
    void clear() { rows.clear(), labels.clear(), weights.clear(), keys.clear(); }
  };

  // A split is for ever: with categories it waits until most of them came often enough to be in its set.
  uint64_t first_cut() const {
    const bool categories = std::any_of(columns_.begin(), columns_.end(), [](const Column& column) {
      return column.kind == ColumnKind::kCategorical;
    });
    return categories ? first_bins(options_.bin_sample, 3000) : first_bins(options_.bin_sample);
  }

  HoeffdingTree plant(size_t t, uint64_t time) const {
    return {mix(seed_ ^ mix(t + 1 + (time << 20))), columns_.size(), tree_options_};
  }

  // Detectors of different trees look at different examples.
  static Adwin watch_for(size_t t, double confidence) {
    constexpr uint32_t kClock = 32;
    return Adwin(confidence, kClock, mix(t) % kClock);
  }

  double poisson(uint64_t dice) const {
    const double u = unit(dice);
    return static_cast<double>(std::upper_bound(poisson_.begin(), poisson_.end(), u) - poisson_.begin());
  }

  void take(const float* given, float label, float weight, uint64_t key) {
    ++examples_;
    const bool fraud = label > 0.5f;
    frauds_ += fraud;
    if (weight > 0) {
      const uint64_t dice = mix(key ^ mix(seed_));
      const size_t at = batch_.rows.size();
      for (const uint32_t c : by_name_) batch_.rows.push_back(given[c]);
      batch_.labels.push_back(fraud ? 1.0f : 0.0f);
      batch_.weights.push_back(weight);
      batch_.keys.push_back(key);
      if (fraud || mix(dice) % 16 == 0 || sample_.negatives.next < BinSample::kNegativesMax / 4)
        sample_.add(&batch_.rows[at], columns_.size(), fraud);
    }
    if (examples_ < std::max(refit_at_, first_cut_)) return;
    if (refit_at_ > 0) learn_batch();  // by the old cut points
    refit();
    learn_batch();
  }

  // New cut points whenever the number of examples has doubled.
  void refit() {
    for (size_t c = 0; c < columns_.size(); ++c) {
      // A category that came often enough has its bin however few the examples.
      const ColumnKind kind = columns_[by_name_[c]].kind;
      const auto most = static_cast<size_t>(options_.bins);
      cuts_[c] = fit_bins(sample_, columns_.size(), c, kind,
                          kind == ColumnKind::kNumeric ? bins_for(examples_, options_.bins) : most);
    }
    for (Member& member : members_) {
      member.tree.forget_histograms();
      if (member.background) member.background->forget_histograms();
    }
    refit_at_ = examples_ * 2;
  }

  // Tree by tree: each learns the whole batch while its nodes are in the cache, and independently of the
  // others.
  void learn_batch() {
    const size_t n = batch_.labels.size(), k = columns_.size();
    if (refit_at_ == 0 || n == 0) return;
    bins_.resize(n * k);
    for (size_t i = 0; i < n; ++i) {
      for (size_t c = 0; c < k; ++c) bins_[i * k + c] = cuts_[c].of(batch_.rows[i * k + c]);
    }
    probabilities_.resize(members_.size() * n);
    if (n == 1) {
      found_.resize(members_.size());
      HoeffdingTree::find_in_step(trees_, batch_.rows.data(), found_.data());
      for (size_t t = 0; t < members_.size(); ++t) members_[t].tree.prefetch(found_[t], bins_.data(), cuts_);
    } else {
      found_.clear();
    }
    run_tasks(n == 1 ? nullptr : workers_, members_.size(), [&](size_t t) { learn_tree(t); });
    for (size_t i = 0; i < n; ++i) {
      double sum = 0;
      for (size_t t = 0; t < members_.size(); ++t) sum += static_cast<double>(probabilities_[t * n + i]);
      const double p = sum / static_cast<double>(members_.size());
      const double keep = chance_to_keep(batch_.labels[i] > 0, p);
      if (unit(mix(batch_.keys[i] ^ mix(seed_ + 3))) < keep)
        window_.add(static_cast<size_t>(options_.calibration_window), exact_logit(p), batch_.labels[i],
                    batch_.weights[i] / keep);
    }
    batch_.clear();
  }

  void learn_tree(size_t t) {
    Member& member = members_[t];
    const size_t n = batch_.labels.size(), k = columns_.size();
    for (size_t i = 0; i < n; ++i) {
      const float* row = &batch_.rows[i * k];
      const uint16_t* bins = &bins_[i * k];
      const bool fraud = batch_.labels[i] > 0.5f;
      uint32_t leaf = found_.empty() ? member.tree.find(row) : found_[t];
      const HoeffdingTree::Opinion& opinion = member.tree.opinion(leaf);
      probabilities_[t * n + i] = static_cast<float>(opinion.probability);
      ++member.seen;
      if (watch(t, -opinion.log_probability[fraud ? 1 : 0])) leaf = member.tree.find(row);
      const uint64_t dice = mix(batch_.keys[i] ^ mix(seed_));
      const double weight = poisson(mix(dice + t)) * static_cast<double>(batch_.weights[i]) *
                            (fraud ? options_.fraud_weight : 1.0);
      if (weight > 0) {
        member.tree.learn(leaf, bins, cuts_, fraud, weight, tree_options_);
        if (member.background)
          member.background->learn(member.background->find(row), bins, cuts_, fraud, weight, tree_options_);
      }
      // Trees take turns.
      const uint64_t turn = member.seen + t;
      if (turn % look_every_ == 0) member.tree.look(cuts_, tree_options_);
      if (member.background && (turn + look_every_ / 2) % look_every_ == 0)
        member.background->look(cuts_, tree_options_);
    }
  }

  // True when the member's tree was replaced.
  bool watch(size_t t, double log_loss) {
    constexpr double kLossMax = 5;  // ADWIN wants bounded values
    Member& member = members_[t];
    const double loss = std::min(log_loss, kLossMax) / kLossMax;
    const double warned = member.warning.mean(), drifted = member.drift.mean();
    if (member.warning.update(loss) && member.warning.mean() > warned)
      member.background = std::make_unique<HoeffdingTree>(plant(t, 2 * member.seen));
    if (!member.drift.update(loss) || member.drift.mean() <= drifted) return false;
    member.tree = member.background ? std::move(*member.background) : plant(t, 2 * member.seen + 1);
    member.background.reset();
    member.warning = watch_for(t, options_.warning);
    member.drift = watch_for(t, options_.drift);
    return true;
  }

  ForestOptions options_;
  HoeffdingOptions tree_options_;
  std::vector<Column> columns_;
  uint64_t seed_;
  uint64_t first_cut_ = 0;
  uint64_t examples_ = 0, frauds_ = 0, refit_at_ = 0;
  // Trees see columns in the order of their names, not in that of the configuration: by_name_[c] is the place
  // in the configuration of the column that they see as c. Cut points, batch and sample are in their order.
  std::vector<ColumnBins> cuts_;
  std::vector<uint32_t> by_name_;
  Workers* workers_ = nullptr;
  std::vector<Member> members_;              // as many as at first
  std::vector<const HoeffdingTree*> trees_;  // of the members
  uint64_t look_every_ = 1;                  // examples between two of a tree's turns to look at a leaf
  std::vector<double> poisson_;              // the chance that a weight is at most 0, 1, 2, ...
  BinSample sample_;
  Batch batch_;                 // what is not yet learned; between calls only before the first cut points
  std::vector<uint16_t> bins_;  // of the batch
  std::vector<float> probabilities_;  // of the batch, by tree
  std::vector<uint32_t> found_;       // the leaves of a lone example
  PredictionWindow window_;
};

std::string ForestLearner::save() const {
  proto::ForestRecord record;
  bool sets = false;
  for (size_t c = 0; c < columns_.size(); ++c) {
    write_column(columns_[c], *record.add_columns());
    write_bins(cuts_[c], *record.add_bins());
    sets |= cuts_[c].categorical;
  }
  record.set_options(canonical_options<ForestOptions>(kRows, options_, seed_));
  for (const Member& member : members_) {
    proto::ForestMember& out = *record.add_members();
    member.tree.save(*out.mutable_tree());
    out.set_seen(member.seen);
    sets |= member.tree.has_sets() || (member.background && member.background->has_sets());
    if (member.background) member.background->save(*out.mutable_background());
    for (const double value : member.warning.save()) out.add_warning(value);
    for (const double value : member.drift.save()) out.add_drift(value);
  }
  record.set_examples(examples_);
  record.set_frauds(frauds_);
  record.set_refit_at(refit_at_);
  write_sample(sample_, record);
  record.set_waiting_rows(to_bytes(batch_.rows));
  record.set_waiting_labels(to_bytes(batch_.labels));
  record.set_waiting_weights(to_bytes(batch_.weights));
  record.set_waiting_keys(to_bytes(batch_.keys));
  write_window(window_, record);
  return seal(SealedKind::kLearner, "forest", sets ? 4 : 1, record.SerializeAsString());
}

Result<void> ForestLearner::load(std::string_view payload) {
  proto::ForestRecord record;
  if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return damaged("the forest cannot be read");
  if (read_columns(record.columns()) != columns_ ||
      record.options() != canonical_options<ForestOptions>(kRows, options_, seed_)) {
    return tl::make_unexpected(
        Error{ErrorCode::kMismatch, "", "the learner was saved with other columns, options or seed"});
  }
  if (record.bins_size() != static_cast<int>(columns_.size()) ||
      record.members_size() != static_cast<int>(members_.size()))
    return damaged("the parts of the forest disagree");
  for (size_t c = 0; c < columns_.size(); ++c) {
    cuts_[c] = read_bins(record.bins(static_cast<int>(c)));
    if (cuts_[c].cuts.size() >= static_cast<size_t>(options_.bins) ||
        !cuts_[c].sound(columns_[by_name_[c]].kind))
      return damaged("cut points do not rise");
  }
  for (size_t t = 0; t < members_.size(); ++t) {
    const proto::ForestMember& in = record.members(static_cast<int>(t));
    Member& member = members_[t];
    member.seen = in.seen();
    if (auto loaded = member.tree.load(in.tree(), cuts_, tree_options_); !loaded) return loaded;
    if (in.has_background()) {
      member.background = std::make_unique<HoeffdingTree>(0, columns_.size(), tree_options_);
      if (auto loaded = member.background->load(in.background(), cuts_, tree_options_); !loaded)
        return loaded;
    }
    if (!member.warning.restore({in.warning().begin(), in.warning().end()}) ||
        !member.drift.restore({in.drift().begin(), in.drift().end()}))
      return damaged("a drift detector is not sound");
  }
  examples_ = record.examples();
  frauds_ = record.frauds();
  refit_at_ = record.refit_at();
  const size_t k = columns_.size();
  const bool read =
      from_bytes(record.waiting_rows(), batch_.rows) && from_bytes(record.waiting_labels(), batch_.labels) &&
      from_bytes(record.waiting_weights(), batch_.weights) && from_bytes(record.waiting_keys(), batch_.keys);
  const size_t n = batch_.labels.size();
  const bool sized = batch_.rows.size() == n * k && batch_.weights.size() == n && batch_.keys.size() == n &&
                     read_sample(record, k, sample_) &&
                     read_window(record, options_.calibration_window, window_);
  if (!read || !sized) return damaged("a part of the forest has the wrong size");
  return {};
}

Result<std::unique_ptr<ForestLearner>> make(const Options& given, std::vector<Column> columns,
                                            uint64_t seed) {
  auto options = read_options<ForestOptions>("forest", kRows, given);
  if (!options) return tl::make_unexpected(options.error());
  return std::make_unique<ForestLearner>(*options, std::move(columns), seed);
}

}  // namespace

Family forest_family() {
  return make_family<ForestLearner, make>(
      "forest", "a streaming forest of trees that grow as they learn and are replaced when they drift",
      describe_options<ForestOptions>(kRows),
      [](uint32_t, std::string_view payload) { return load_tree_model("forest", payload); });
}

}  // namespace shrike::learners
