#include "learners/trees/hoeffding_tree.h"

#include <algorithm>
#include <cmath>

#include "learners/numeric/numeric.h"
#include "learners/saved/records.h"
#include "learners/trees/trees.pb.h"

namespace shrike::learners {
namespace {

// n log n, with 0 at 0. Weights are mostly whole numbers: those are looked up.
double n_log_n(double n) {
  constexpr size_t kKnown = 8192;
  static const std::vector<double> known = [] {
    std::vector<double> all(kKnown, 0.0);
    for (size_t i = 1; i < kKnown; ++i) all[i] = static_cast<double>(i) * exact_log(static_cast<double>(i));
    return all;
  }();
  if (n < kKnown && n >= 0) {
    const auto whole = static_cast<size_t>(n);
    if (static_cast<double>(whole) == n) return known[whole];
  }
  return n > 0 ? n * exact_log(n) : 0;
}
double log_likelihood(double legitimate, double frauds) {
  return n_log_n(legitimate) + n_log_n(frauds) - n_log_n(legitimate + frauds);
}

// The bins that have examples, without that of the missing, by rising share of fraud.
std::vector<uint32_t> by_share(const float* cells, size_t bins) {
  std::vector<uint32_t> order;
  for (uint32_t b = 1; b < bins; ++b) {
    if (cells[2 * b] > 0 || cells[2 * b + 1] > 0) order.push_back(b);
  }
  const auto at = [&](uint32_t bin, size_t k) { return static_cast<double>(cells[2 * bin + k]); };
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return at(a, 1) * at(b, 0) < at(b, 1) * at(a, 0); });
  return order;
}

}  // namespace

uint32_t HoeffdingTree::find(const float* row) const {
  const Node* node = nodes_.data();
  while (node->column >= 0) {
    node = &nodes_[node->left + (goes_left(*node, row[node->column]) ? 0 : 1)];
  }
  return node->leaf;
}

void HoeffdingTree::find_in_step(std::span<const HoeffdingTree* const> trees, const float* row,
                                 uint32_t* leaves) {
  constexpr size_t kStep = 16;
  for (size_t from = 0; from < trees.size(); from += kStep) {
    const size_t n = std::min(kStep, trees.size() - from);
    const Node* at[kStep];
    for (size_t t = 0; t < n; ++t) at[t] = trees[from + t]->nodes_.data();
    for (bool moving = true; moving;) {
      moving = false;
      for (size_t t = 0; t < n; ++t) {
        const Node* const node = at[t];
        if (node->column < 0) continue;
        moving = true;
        const bool left = trees[from + t]->goes_left(*node, row[node->column]);
        at[t] = trees[from + t]->nodes_.data() + node->left + (left ? 0 : 1);
        __builtin_prefetch(at[t]);
      }
    }
    for (size_t t = 0; t < n; ++t) leaves[from + t] = at[t]->leaf;
  }
}

bool HoeffdingTree::in_set(const Node& node, float v) const {
  if (!(v >= 0 && v < static_cast<float>(kCategoriesMax))) return false;
  const std::vector<uint32_t>& set = sets_[static_cast<size_t>(node.threshold)];
  return std::binary_search(set.begin(), set.end(), static_cast<uint32_t>(v));
}

std::vector<uint32_t> HoeffdingTree::subspace(uint32_t node, double rate) const {
  std::vector<uint32_t> columns;
  const auto wanted = std::max<size_t>(1, static_cast<size_t>(rate * static_cast<double>(columns_) + 0.5));
  uint64_t dice = mix(seed_ ^ mix(node));
  for (uint32_t c = 0; c < columns_; ++c) {
    dice = mix(dice);
    // Of the columns left, as many as are still wanted, each with the same chance.
    if (dice % (columns_ - c) < wanted - columns.size()) columns.push_back(c);
  }
  return columns;
}

size_t HoeffdingTree::cells(const std::vector<uint32_t>& columns, const std::vector<ColumnBins>& cuts) const {
  size_t n = 0;
  for (const uint32_t c : columns) n += 2 * cuts[c].count();
  return n;
}

double HoeffdingTree::Leaf::probability(double smoothing) const {
  const double n = static_cast<double>(legitimate) + static_cast<double>(frauds);
  return (static_cast<double>(frauds) + smoothing * static_cast<double>(prior)) / (n + smoothing);
}

void HoeffdingTree::form_opinion(uint32_t leaf, double smoothing) {
  const double p = std::clamp(leaves_[leaf].probability(smoothing), 1e-6, 1 - 1e-6);
  opinions_[leaf] = {p, {exact_log(1 - p), exact_log(p)}};
}

void HoeffdingTree::prefetch(uint32_t leaf, const uint16_t* bins, const std::vector<ColumnBins>& cuts) const {
  if (histograms_[leaf].empty()) return;
  const float* cells = histograms_[leaf].data();
  for (const uint32_t c : subspaces_[leaf]) {
    __builtin_prefetch(cells + 2 * bins[c], 1);
    cells += 2 * cuts[c].count();
  }
}

void HoeffdingTree::learn(uint32_t at, const uint16_t* bins, const std::vector<ColumnBins>& cuts, bool fraud,
                          double weight, const HoeffdingOptions& options) {
  Leaf& leaf = leaves_[at];
  if (options.memory > 0) {
    const auto left = static_cast<float>(exact_exp(-weight / options.memory));
    leaf.frauds *= left;
    leaf.legitimate *= left;
  }
  (fraud ? leaf.frauds : leaf.legitimate) += static_cast<float>(weight);
  leaf.since += static_cast<float>(weight);
  form_opinion(at, options.smoothing);
  if (leaf.resting != 0 || leaf.depth >= options.depth) return;
  if (subspaces_[at].empty()) subspaces_[at] = subspace(leaf.node, options.column_rate);
  const std::vector<uint32_t>& columns = subspaces_[at];
  if (histograms_[at].empty()) {
    const size_t size = cells(columns, cuts);
    make_room(size * sizeof(float), options);
    if (leaf.resting != 0) return;
    histograms_[at] = pool_.take(size);
    histogram_bytes_ += size * sizeof(float);
  }
  size_t offset = fraud ? 1 : 0;
  for (const uint32_t c : columns) {
    histograms_[at][offset + 2 * bins[c]] += static_cast<float>(weight);
    offset += 2 * cuts[c].count();
  }
  if (leaf.since < static_cast<float>(options.grace)) return;
  leaf.since = 0;
  if (leaf.frauds > 0 && leaf.legitimate > 0) due_.push_back(at);
}

void HoeffdingTree::look(const std::vector<ColumnBins>& cuts, const HoeffdingOptions& options) {
  if (due_.empty()) return;
  const uint32_t at = due_.front();
  due_.erase(due_.begin());
  if (histograms_[at].empty()) return;  // new cut points came, or it was put to rest
  const Split found = best_split(histograms_[at], subspaces_[at], cuts, options.significance);
  if (found.gain >= options.significance) split(at, found, cuts, options);
}

// The search for the best split of a leaf, column by column.
class HoeffdingTree::SplitSearch {
 public:
  explicit SplitSearch(double significance) : significance_(significance) {}

  // `cells`: the leaf's weights of legitimate examples and of frauds, pair by pair, one pair a bin.
  void add_column(uint32_t column, const ColumnBins& bins, const float* cells) {
    column_ = column;
    cells_ = cells;
    for (const size_t label : {0, 1}) {
      all_[label] = 0;
      for (size_t bin = 0; bin < bins.count(); ++bin) all_[label] += cell(bin, label);
    }
    undivided_ = log_likelihood(all_[0], all_[1]);
    if (bins.categorical)
      add_sets(bins);
    else
      add_thresholds(bins.count());
  }
  Split take_best() { return std::move(best_); }

 private:
  double cell(size_t bin, size_t label) const { return static_cast<double>(cells_[2 * bin + label]); }
  bool is_empty(size_t bin) const { return cells_[2 * bin] == 0 && cells_[2 * bin + 1] == 0; }

  // Where no value is missing, a split between two bins of one and the same class is never best: the gain
  // is convex along them (Fayyad and Irani, Machine Learning 8, 1992).
  void add_thresholds(size_t bins) {
    const bool missing = !is_empty(0);
    double left[2] = {0, 0};
    uint32_t before = 0;  // the last bin that has examples
    for (uint32_t bin = 1; bin < bins; ++bin) {
      if (is_empty(bin)) continue;
      const float *const here = cells_ + 2 * bin, *const last = cells_ + 2 * before;
      const bool mixed = (last[0] != 0 || here[0] != 0) && (last[1] != 0 || here[1] != 0);
      if (before > 0 && (mixed || missing)) consider(before, left, 0);
      left[0] += cell(bin, 0);
      left[1] += cell(bin, 1);
      before = bin;
    }
  }

  // The set is the side of the order where the bin of all others is not, or the smaller one.
  void add_sets(const ColumnBins& bins) {
    const std::vector<uint32_t> order = by_share(cells_, bins.count());
    const auto last_bin = static_cast<uint32_t>(bins.count() - 1);
    const auto others = static_cast<size_t>(std::find(order.begin(), order.end(), last_bin) - order.begin());
    double below[2] = {0, 0};
    const double present[2] = {all_[0] - cell(0, 0), all_[1] - cell(0, 1)};
    size_t best_from = 0, best_to = 0;  // of the order
    for (size_t i = 1; i < order.size(); ++i) {
      for (const size_t label : {0, 1}) below[label] += cell(order[i - 1], label);
      const double above[2] = {present[0] - below[0], present[1] - below[1]};
      const bool upper = others < order.size() ? others < i : i > order.size() - i;
      const auto members = static_cast<double>(std::min(i, order.size() - i));
      if (!consider(0, upper ? above : below, kCategoryPrice * significance_ * members)) continue;
      best_from = upper ? i : 0;
      best_to = upper ? order.size() : i;
    }
    if (best_from == best_to) return;
    for (size_t i = best_from; i < best_to; ++i)
      best_.set.push_back(static_cast<uint32_t>(bins.cuts[order[i] - 1]));
    std::sort(best_.set.begin(), best_.set.end());
  }

  // True when sending `left` left, with the missing values or without them, is better than the best so far.
  // `price` is taken off the gain.
  bool consider(uint32_t bin, const double* left, double price) {
    bool better = false;
    for (const bool missing_left : {false, true}) {
      if (missing_left && is_empty(0)) break;
      const double l0 = left[0] + (missing_left ? cell(0, 0) : 0);
      const double l1 = left[1] + (missing_left ? cell(0, 1) : 0);
      const double r0 = all_[0] - l0, r1 = all_[1] - l1;
      if (l0 + l1 <= 0 || r0 + r1 <= 0) continue;
      const double gain = 2 * (log_likelihood(l0, l1) + log_likelihood(r0, r1) - undivided_) - price;
      if (!(gain > best_.gain)) continue;
      better = true;
      best_ = {gain,
               column_,
               bin,
               missing_left,
               {static_cast<float>(l0), static_cast<float>(l1)},
               {static_cast<float>(r0), static_cast<float>(r1)}};
    }
    return better;
  }

  double significance_;
  Split best_;
  // Of the column in hand:
  uint32_t column_ = 0;
  const float* cells_ = nullptr;
  double all_[2] = {0, 0};  // weight of each class
  double undivided_ = 0;    // log-likelihood without a split
};

HoeffdingTree::Split HoeffdingTree::best_split(std::span<const float> histogram,
                                               const std::vector<uint32_t>& columns,
                                               const std::vector<ColumnBins>& cuts, double significance) {
  SplitSearch search(significance);
  size_t offset = 0;
  for (const uint32_t c : columns) {
    search.add_column(c, cuts[c], &histogram[offset]);
    offset += 2 * cuts[c].count();
  }
  return search.take_best();
}

void HoeffdingTree::split(uint32_t at, const Split& split, const std::vector<ColumnBins>& cuts,
                          const HoeffdingOptions& options) {
  const Leaf parent = leaves_[at];
  const auto left_node = static_cast<uint32_t>(nodes_.size());
  Node& node = nodes_[parent.node];
  node = {static_cast<int32_t>(split.column), 0, left_node, 0, split.missing_left ? kMissingLeft : 0};
  if (split.set.empty()) {
    node.threshold = cuts[split.column].cuts[split.bin - 1];
  } else {
    node.flags |= kSet;
    node.threshold = static_cast<float>(sets_.size());
    sets_.push_back(split.set);
  }
  nodes_.resize(nodes_.size() + 2);
  drop_histogram(at);
  histograms_.emplace_back();
  subspaces_[at] = {};
  subspaces_.emplace_back();
  const auto prior = static_cast<float>(parent.probability(options.smoothing));
  const auto place = [&](uint32_t leaf, uint32_t where, const float* counts) {
    leaves_[leaf] = {counts[0], counts[1], 0, prior, where, parent.depth + 1, 0, 0};
    nodes_[where].leaf = leaf;
    form_opinion(leaf, options.smoothing);
  };
  leaves_.emplace_back();
  opinions_.emplace_back();
  place(at, left_node, split.left);
  place(static_cast<uint32_t>(leaves_.size() - 1), left_node + 1, split.right);
}

// Puts the leaves with the least fraud to rest until `bytes` more fit.
void HoeffdingTree::make_room(size_t bytes, const HoeffdingOptions& options) {
  while (histogram_bytes_ + bytes > options.histogram_bytes) {
    size_t least = leaves_.size();
    for (size_t i = 0; i < leaves_.size(); ++i) {
      if (histograms_[i].empty()) continue;
      if (least == leaves_.size() || leaves_[i].frauds < leaves_[least].frauds) least = i;
    }
    if (least == leaves_.size()) return;
    drop_histogram(static_cast<uint32_t>(least));
    leaves_[least].resting = 1;
  }
}

void HoeffdingTree::drop_histogram(uint32_t leaf) {
  histogram_bytes_ -= histograms_[leaf].size_bytes();
  pool_.give_back(histograms_[leaf]);
  histograms_[leaf] = {};
}

void HoeffdingTree::forget_histograms() {
  for (std::span<float>& histogram : histograms_) histogram = {};
  pool_.reset();
  histogram_bytes_ = 0;
}

Tree HoeffdingTree::compile(float share) const {
  Tree tree;
  std::vector<uint32_t> order{0};
  tree.nodes.clear();
  for (size_t i = 0; i < order.size(); ++i) {
    const Node& node = nodes_[order[i]];
    TreeNode out;
    if (node.column < 0) {
      const Leaf& leaf = leaves_[node.leaf];
      out.value = static_cast<float>(opinions_[node.leaf].probability) * share;
      out.cover = leaf.legitimate + leaf.frauds;
    } else {
      out = {node.threshold, 0, node.column, static_cast<uint32_t>(order.size()),
             (node.flags & kMissingLeft) != 0};
      if ((node.flags & kSet) != 0) {
        out.test = SplitTest::kListed;
        out.value = static_cast<float>(tree.sets.size());
        tree.sets.push_back(sets_[static_cast<size_t>(node.threshold)]);
      }
      order.push_back(node.left);
      order.push_back(node.left + 1);
    }
    tree.nodes.push_back(out);
  }
  for (size_t i = tree.nodes.size(); i-- > 0;) {
    TreeNode& node = tree.nodes[i];
    if (!node.is_leaf()) node.cover = tree.nodes[node.left].cover + tree.nodes[node.left + 1].cover;
  }
  return tree;
}

size_t HoeffdingTree::bytes() const {
  size_t sets = 0;
  for (const auto& set : sets_) sets += sizeof(set) + set.capacity() * sizeof(uint32_t);
  return sets + nodes_.capacity() * sizeof(Node) + leaves_.capacity() * (sizeof(Leaf) + sizeof(Opinion)) +
         histogram_bytes_ + histograms_.capacity() * sizeof(histograms_[0]);
}

void HoeffdingTree::save(proto::HoeffdingRecord& out) const {
  out.set_seed(seed_);
  out.set_nodes(to_bytes(nodes_));
  std::vector<Leaf> leaves = leaves_;
  for (size_t i = 0; i < leaves.size(); ++i)
    leaves[i].margin = static_cast<float>(opinions_[i].log_probability[1] - opinions_[i].log_probability[0]);
  out.set_leaves(to_bytes(leaves));
  out.set_due(to_bytes(due_));
  std::vector<uint32_t> codes;
  for (const auto& set : sets_) {
    out.add_set_sizes(static_cast<uint32_t>(set.size()));
    codes.insert(codes.end(), set.begin(), set.end());
  }
  out.set_sets(to_bytes(codes));
  std::vector<float> all;
  for (const std::span<float> histogram : histograms_) {
    out.add_histogram_sizes(static_cast<uint32_t>(histogram.size()));
    all.insert(all.end(), histogram.begin(), histogram.end());
  }
  out.set_histograms(to_bytes(all));
}

bool HoeffdingTree::read_sets(const proto::HoeffdingRecord& in) {
  std::vector<uint32_t> codes;
  if (!from_bytes(in.sets(), codes)) return false;
  sets_.clear();
  auto at = codes.begin();
  for (const uint32_t size : in.set_sizes()) {
    if (size > static_cast<size_t>(codes.end() - at)) return false;
    if (!is_category_list(sets_.emplace_back(at, at + size))) return false;
    at += size;
  }
  return at == codes.end();
}

// Whether every split has two children below it and, of categories, a set of its own, and every leaf of the
// tree is one of leaves_.
Result<void> HoeffdingTree::check_nodes() const {
  size_t splits = 0;
  std::vector<bool> used(sets_.size());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const Node& node = nodes_[i];
    const bool leaf = node.column < 0;
    if (!leaf && (node.flags & kSet) != 0) {
      const auto set = node.threshold >= 0 && node.threshold < static_cast<float>(sets_.size())
                           ? static_cast<size_t>(node.threshold)
                           : sets_.size();
      if (set == sets_.size() || used[set]) return damaged("a node of a tree has no set of its own");
      used[set] = true;
    }
    splits += leaf ? 0 : 1;
    const bool sound = leaf ? node.column == -1 && node.leaf < leaves_.size() && leaves_[node.leaf].node == i
                            : node.column < static_cast<int32_t>(columns_) && node.left > i &&
                                  size_t{node.left} + 1 < nodes_.size() && std::isfinite(node.threshold);
    if (!sound) return damaged("a node of a tree is not sound");
  }
  if (nodes_.size() != 2 * splits + 1 || leaves_.size() != splits + 1)
    return damaged("a tree has loose ends");
  return {};
}

Result<void> HoeffdingTree::read_leaves(const proto::HoeffdingRecord& in,
                                        const std::vector<float>& histograms,
                                        const std::vector<ColumnBins>& cuts,
                                        const HoeffdingOptions& options) {
  size_t at = 0;
  pool_.reset();
  histograms_.assign(leaves_.size(), {});
  subspaces_.assign(leaves_.size(), {});
  histogram_bytes_ = 0;
  for (size_t i = 0; i < leaves_.size(); ++i) {
    const Leaf& leaf = leaves_[i];
    for (const float value : {leaf.legitimate, leaf.frauds, leaf.since, leaf.prior, leaf.margin}) {
      if (!std::isfinite(value)) return damaged("a leaf is not finite");
    }
    const size_t size = in.histogram_sizes(static_cast<int>(i));
    if (leaf.node >= nodes_.size() || size > histograms.size() - at)
      return damaged("a leaf has no histogram");
    if (size > 0 && size != cells(subspace(leaf.node, options.column_rate), cuts))
      return damaged("a histogram is of another size");
    if (size > 0) histograms_[i] = pool_.take(size);
    std::copy_n(histograms.begin() + static_cast<std::ptrdiff_t>(at), size, histograms_[i].begin());
    histogram_bytes_ += size * sizeof(float);
    if (size > 0) subspaces_[i] = subspace(leaf.node, options.column_rate);
    at += size;
  }
  if (at != histograms.size()) return damaged("a histogram is left over");
  return {};
}

Result<void> HoeffdingTree::load(const proto::HoeffdingRecord& in, const std::vector<ColumnBins>& cuts,
                                 const HoeffdingOptions& options) {
  std::vector<float> cells;  // of all histograms
  seed_ = in.seed();
  if (!from_bytes(in.nodes(), nodes_) || !from_bytes(in.leaves(), leaves_) ||
      !from_bytes(in.histograms(), cells) || nodes_.empty() || leaves_.empty() ||
      static_cast<size_t>(in.histogram_sizes_size()) != leaves_.size()) {
    return damaged("the parts of a tree disagree");
  }
  if (!read_sets(in)) return damaged("a set of categories is not sound");
  if (auto sound = check_nodes(); !sound) return sound;
  if (auto read = read_leaves(in, cells, cuts, options); !read) return read;
  if (!from_bytes(in.due(), due_)) return damaged("the leaves to look at cannot be read");
  for (const uint32_t leaf : due_) {
    if (leaf >= leaves_.size()) return damaged("a leaf to look at does not exist");
  }
  opinions_.assign(leaves_.size(), {});
  for (uint32_t i = 0; i < leaves_.size(); ++i) form_opinion(i, options.smoothing);
  return {};
}

}  // namespace shrike::learners
