// Streaming half-space trees (Tan, Ting, Liu, "Fast Anomaly Detection for Streaming Data", IJCAI 2011): trees
// of random cuts, made before any data is seen but for the columns' ranges; each node counts the rows of a
// window that passed. A row is the more unusual the fewer rows of the last whole window share its node. The
// margin is minus the mean over trees of log2(mass x 2^depth), where the paper sums mass x 2^depth itself.
//
// Scored as any tree ensemble: a node whose mass is small enough to end the search becomes a leaf.
#include <algorithm>
#include <cmath>

#include "learners/anomaly/anomaly.pb.h"
#include "learners/anomaly/anomaly_learner.h"
#include "learners/numeric/numeric.h"
#include "learners/option_table.h"
#include "learners/registry.h"
#include "learners/saved/records.h"
#include "learners/trees/grower.h"
#include "learners/trees/model.h"

namespace shrike::learners {
namespace {

struct HalfSpaceOptions {
  int64_t trees = 25, depth = 10, window = 2000;
  double size_limit = 0.1, fraud_rate = 0.01;
};
using H = HalfSpaceOptions;
constexpr OptionRow<HalfSpaceOptions> kRows[] = {
    {"trees", nullptr, &H::trees, 1, 500, "trees"},
    {"depth", nullptr, &H::depth, 1, 14, "of a tree"},
    {"window", nullptr, &H::window, 100, 1e6, "transactions whose masses are compared with"},
    {"size_limit", &H::size_limit, nullptr, 0, 1, "share of the window below which a node is not left"},
    {"fraud_rate", &H::fraud_rate, nullptr, 1e-6, 0.5, "mean probability answered while no label is known"},
};

class HalfSpaceLearner : public AnomalyLearner {
 public:
  HalfSpaceLearner(const HalfSpaceOptions& options, std::vector<Column> columns, uint64_t seed)
      : AnomalyLearner("half_space", canonical_options<HalfSpaceOptions>(kRows, options, seed),
                       std::move(columns), seed, options.fraud_rate),
        options_(options) {
    for (const uint32_t c : by_name_) {
      if (columns_[c].kind == ColumnKind::kNumeric) numeric_.push_back(c);
    }
    // Of categories alone there are no ranges: their hashes serve.
    if (numeric_.empty()) numeric_ = by_name_;
  }

  size_t state_bytes() const override {
    return AnomalyLearner::state_bytes() + (reference_.capacity() + latest_.capacity()) * sizeof(uint32_t) +
           cuts_.capacity() * sizeof(Cut);
  }

 private:
  struct Cut {
    uint32_t column;
    float threshold;
  };

  size_t cuts_per_tree() const { return (size_t{1} << options_.depth) - 1; }
  size_t nodes_per_tree() const { return 2 * cuts_per_tree() + 1; }
  size_t trees() const { return static_cast<size_t>(options_.trees); }

  bool observed_enough() const override { return !reference_.empty(); }

  void observe_row(const float* row) override {
    if (cuts_.empty()) {
      if (sample_.seen < kObservedMin) return;
      measure_ranges();
      plant();
    }
    for (size_t t = 0; t < trees(); ++t) {
      const Cut* cuts = &cuts_[t * cuts_per_tree()];
      uint32_t* mass = &latest_[t * nodes_per_tree()];
      size_t node = 0;
      for (;;) {
        ++mass[node];
        if (node >= cuts_per_tree()) break;
        node = 2 * node + (row[cuts[node].column] < cuts[node].threshold ? 1 : 2);
      }
    }
    if (++in_window_ < static_cast<uint64_t>(options_.window)) return;
    in_window_ = 0;
    reference_ = latest_;
    std::fill(latest_.begin(), latest_.end(), 0u);
  }

  // From one row in a hundred to ninety-nine: a single large value would leave all others in one half.
  void measure_ranges() {
    low_.assign(columns_.size(), 0.0);
    high_.assign(columns_.size(), 1.0);
    for (const uint32_t c : numeric_) {
      std::vector<float> values;
      for (size_t i = 0; i < sample_.size(); ++i) {
        const float v = sample_.rows[i * columns_.size() + c];
        if (std::isfinite(v)) values.push_back(v);
      }
      if (values.empty()) continue;
      std::sort(values.begin(), values.end());
      const size_t edge = values.size() / 100;
      low_[c] = static_cast<double>(values[edge]);
      high_[c] = static_cast<double>(values[values.size() - 1 - edge]);
      if (high_[c] <= low_[c]) high_[c] = low_[c] + 1;
    }
  }

  // All cuts follow from the seed and the ranges.
  void plant() {
    cuts_.resize(trees() * cuts_per_tree());
    latest_.assign(trees() * nodes_per_tree(), 0u);
    std::vector<double> low(columns_.size()), high(columns_.size());
    for (size_t t = 0; t < trees(); ++t) {
      for (const uint32_t c : numeric_) {
        const std::string& name = columns_[c].name;
        uint64_t dice = mix(seed_ ^ mix(t + 1));
        for (const char letter : name) dice = mix(dice ^ static_cast<unsigned char>(letter));
        const double s = unit(dice), reach = 2 * std::max(s, 1 - s), width = high_[c] - low_[c];
        low[c] = low_[c] + (s - reach) * width;
        high[c] = low_[c] + (s + reach) * width;
      }
      cut(t, 0, low, high);
    }
  }

  void cut(size_t t, size_t node, std::vector<double>& low, std::vector<double>& high) {
    if (node >= cuts_per_tree()) return;
    const uint32_t c = numeric_[mix(seed_ ^ mix(t * nodes_per_tree() + node) ^ 0x5A17) % numeric_.size()];
    const double middle = (low[c] + high[c]) / 2;
    cuts_[t * cuts_per_tree() + node] = {c, static_cast<float>(middle)};
    const double high_before = std::exchange(high[c], middle);
    cut(t, 2 * node + 1, low, high);
    high[c] = high_before;
    const double low_before = std::exchange(low[c], middle);
    cut(t, 2 * node + 2, low, high);
    low[c] = low_before;
  }

  ModelPtr build(Platt platt) const override {
    std::vector<Tree> all;
    for (size_t t = 0; t < trees(); ++t) all.push_back(compile(t));
    return std::make_shared<TreeModel>("half_space", columns_, 0.0f, std::move(all), platt);
  }

  Tree compile(size_t t) const {
    const double enough = options_.size_limit * static_cast<double>(options_.window);
    const uint32_t* mass = &reference_[t * nodes_per_tree()];
    Tree tree;
    tree.nodes.clear();
    struct Place {
      size_t node;
      int depth;
    };
    std::vector<Place> order{{0, 0}};
    for (size_t i = 0; i < order.size(); ++i) {
      const auto [node, depth] = order[i];
      TreeNode out;
      out.cover = static_cast<float>(mass[node]) + 1;
      if (node >= cuts_per_tree() || mass[node] < enough) {
        const double bits = exact_log(static_cast<double>(mass[node]) + 1) / 0.6931471805599453 + depth;
        out.value =
            static_cast<float>(std::nearbyint(-bits / static_cast<double>(trees()) * kLeafOne) / kLeafOne);
      } else {
        const Cut& by = cuts_[t * cuts_per_tree() + node];
        out.column = static_cast<int32_t>(by.column);
        out.value = by.threshold;
        out.left = static_cast<uint32_t>(order.size());
        order.push_back({2 * node + 1, depth + 1});
        order.push_back({2 * node + 2, depth + 1});
      }
      tree.nodes.push_back(out);
    }
    return tree;
  }

  void save_more(proto::AnomalyRecord& record) const override {
    proto::HalfSpaceRecord& out = *record.mutable_half_space();
    for (const double v : low_) out.add_low(v);
    for (const double v : high_) out.add_high(v);
    out.set_in_window(in_window_);
    out.set_reference(to_bytes(reference_));
    out.set_latest(to_bytes(latest_));
  }

  bool load_more(const proto::AnomalyRecord& record) override {
    const proto::HalfSpaceRecord& in = record.half_space();
    low_.assign(in.low().begin(), in.low().end());
    high_.assign(in.high().begin(), in.high().end());
    in_window_ = in.in_window();
    if (low_.size() != high_.size() || (!low_.empty() && low_.size() != columns_.size())) return false;
    for (size_t c = 0; c < low_.size(); ++c) {
      if (!std::isfinite(low_[c]) || !std::isfinite(high_[c])) return false;
    }
    if (!low_.empty()) plant();
    const size_t nodes = low_.empty() ? 0 : trees() * nodes_per_tree();
    return from_bytes(in.reference(), reference_) && from_bytes(in.latest(), latest_) &&
           (reference_.empty() || reference_.size() == nodes) && latest_.size() == nodes;
  }

  HalfSpaceOptions options_;
  std::vector<uint32_t> numeric_;    // columns that are cut, by name
  std::vector<double> low_, high_;   // work ranges by column; empty at first
  std::vector<Cut> cuts_;            // of all trees; a node's children are 2n + 1 and 2n + 2
  std::vector<uint32_t> reference_;  // masses of the last whole window, by node; empty before it
  std::vector<uint32_t> latest_;
  uint64_t in_window_ = 0;
};

Result<std::unique_ptr<HalfSpaceLearner>> make(const Options& given, std::vector<Column> columns,
                                               uint64_t seed) {
  auto options = read_options<HalfSpaceOptions>("half_space", kRows, given);
  if (!options) return tl::make_unexpected(options.error());
  return std::make_unique<HalfSpaceLearner>(*options, std::move(columns), seed);
}

}  // namespace

Family half_space_family() {
  Family family = make_family<HalfSpaceLearner, make>(
      "half_space", "anomaly without labels: streaming half-space trees",
      describe_options<HalfSpaceOptions>(kRows),
      [](uint32_t, std::string_view payload) { return load_tree_model("half_space", payload); });
  family.info.needs_labels = false;
  return family;
}

}  // namespace shrike::learners
