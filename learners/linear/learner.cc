// Logistic regression by FTRL-proximal (McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD
// 2013) over binned numeric columns (one weight per bin and one for missing) and hashed categories. Cut
// points are fitted on the first hundred examples, which wait for them, and again whenever the number of
// examples has doubled, weights carried over; there are few at first (widening.h). Before it learns an
// example it notes its margin: a snapshot is calibrated (Platt) on the newest of these.
//
// Up to `pairs` pairs of columns have a table of weights of their own (pair_search.h chooses them, one a
// round of 2 * bin_sample examples); it begins at zero and learns like all others.
//
// An example of weight w takes one step with its gradient times w; repeating it w times takes w smaller
// steps, which agrees to first order.
#include <algorithm>
#include <array>
#include <cmath>

#include "learners/calibration/platt.h"
#include "learners/linear/linear.pb.h"
#include "learners/linear/model.h"
#include "learners/linear/pair_search.h"
#include "learners/numeric/numeric.h"
#include "learners/option_table.h"
#include "learners/registry.h"
#include "learners/rows/bins.h"
#include "learners/saved/records.h"
#include "learners/saved/sealed.h"
#include "learners/widening.h"

namespace shrike::learners {
namespace {

struct LinearOptions {
  double alpha = 1.5, beta = 1, l1 = 0, l2 = 0.3;
  int64_t bins = 64, bin_sample = 5000, hash_bits = 18, calibration_window = 20000, pairs = 8;
  double fraud_weight = 1, negative_rate = 1;
};

constexpr OptionRow<LinearOptions> kRows[] = {
    {"alpha", &LinearOptions::alpha, nullptr, 1e-6, 10, "learning rate"},
    {"beta", &LinearOptions::beta, nullptr, 0, 1000, "smooths the first steps of a weight"},
    {"l1", &LinearOptions::l1, nullptr, 0, 1e6, "pushes weights to exactly zero"},
    {"l2", &LinearOptions::l2, nullptr, 0, 1e6, "shrinks weights"},
    {"bins", nullptr, &LinearOptions::bins, 2, 4096, "bins of a numeric column, at most"},
    {"bin_sample", nullptr, &LinearOptions::bin_sample, 10, 1e6,
     "cut points are fitted after so many examples, and after 100 at the latest; half a round of the search "
     "for pairs"},
    {"hash_bits", nullptr, &LinearOptions::hash_bits, 1, 24, "a categorical column has 2^hash_bits weights"},
    {"calibration_window", nullptr, &LinearOptions::calibration_window, 100, 1e7,
     "newest examples to calibrate on"},
    {"pairs", nullptr, &LinearOptions::pairs, 0, LinearPair::kPairsMax,
     "pairs of columns with weights of their own, at most"},
    {"fraud_weight", &LinearOptions::fraud_weight, nullptr, 1e-3, 1e4, "weight of a fraud while learning"},
    {"negative_rate", &LinearOptions::negative_rate, nullptr, 1e-4, 1,
     "share of legitimate examples that are learned, re-weighted"},
};

class LinearLearner : public Learner {
 public:
  LinearLearner(LinearOptions options, std::vector<Column> columns, uint64_t seed)
      : options_(options),
        columns_(std::move(columns)),
        seed_(seed),
        cuts_(columns_.size()),
        search_(order_by_name(columns_), static_cast<size_t>(options.pairs),
                2 * static_cast<uint64_t>(options.bin_sample)) {
    lay_out({});
  }

  std::string_view family() const override { return "linear"; }
  const std::vector<Column>& columns() const override { return columns_; }
  uint64_t examples() const override { return examples_; }
  bool ready() const override { return binned_ && frauds_ > 0; }
  std::string waits_for() const override {
    if (ready()) return "";
    if (binned_) return "no fraud came yet";
    return fmt::format("its bins are cut at {} examples, {} came", first_bins(options_.bin_sample),
                       examples_);
  }

  void partial_fit(MatrixView rows, std::span<const float> labels, std::span<const float> weights,
                   std::span<const uint64_t> keys) override {
    for (size_t i = 0; i < rows.rows(); ++i) take(rows.row(i).data(), labels[i], weights[i], keys[i]);
  }

  ModelPtr snapshot() const override {
    auto model = std::make_shared<LinearModel>();
    model->columns_ = columns_;
    model->column_cuts_ = cuts_;
    model->layout_ = layout_;
    model->weights_.resize(w_.size() - 1);
    for (size_t i = 0; i + 1 < w_.size(); ++i) model->weights_[i] = static_cast<float>(w_[i]);
    model->bias_ = static_cast<float>(binned_ ? w_.back() : early_bias());
    model->means_ = means();
    const Platt platt = fit_platt(window_);
    model->slope_ = platt.slope;
    model->shift_ = platt.shift;
    return model;
  }

  size_t state_bytes() const override {
    const size_t floats = waiting_rows_.capacity() + waiting_labels_.capacity() +
                          waiting_weights_.capacity() + sample_.frauds.rows.capacity() +
                          sample_.negatives.rows.capacity() + window_.rows.capacity() * 3;
    return sizeof(*this) + floats * sizeof(float) + search_.state_bytes() +
           (z_.capacity() + n_.capacity() + w_.capacity() + counts_.capacity()) * sizeof(double);
  }

  std::string save() const override {
    proto::LinearLearnerRecord record;
    for (size_t c = 0; c < columns_.size(); ++c) {
      write_column(columns_[c], *record.add_columns());
      proto::LinearColumn& bins = *record.add_bins();
      for (const float cut : cuts_[c]) bins.add_cuts(cut);
    }
    record.set_options(canonical_options<LinearOptions>(kRows, options_, seed_));
    record.set_examples(examples_);
    record.set_frauds(frauds_);
    record.set_binned(binned_);
    record.set_refit_at(refit_at_);
    write_pairs(layout_.pairs, record);
    record.set_search_rounds(search_.rounds());
    record.set_search_seen(search_.seen());
    record.set_search_cells(search_.cells());
    record.set_search_active_cells(search_.active_cells());
    record.set_z(to_bytes(z_));
    record.set_n(to_bytes(n_));
    record.set_counts(to_bytes(counts_));
    record.set_waiting_rows(to_bytes(waiting_rows_));
    record.set_waiting_labels(to_bytes(waiting_labels_));
    record.set_waiting_weights(to_bytes(waiting_weights_));
    write_window(window_, record);
    write_sample(sample_, record);
    return seal(SealedKind::kLearner, "linear", 1, record.SerializeAsString());
  }

  Result<void> load(std::string_view payload) {
    proto::LinearLearnerRecord record;
    if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
      return damaged("the linear learner cannot be read");
    if (read_columns(record.columns()) != columns_ ||
        record.options() != canonical_options<LinearOptions>(kRows, options_, seed_)) {
      return tl::make_unexpected(
          Error{ErrorCode::kMismatch, "", "the learner was saved with other columns, options or seed"});
    }
    if (record.bins_size() != static_cast<int>(columns_.size())) return damaged("the columns disagree");
    for (size_t c = 0; c < columns_.size(); ++c) {
      const auto& cuts = record.bins(static_cast<int>(c)).cuts();
      cuts_[c].assign(cuts.begin(), cuts.end());
      const bool rising = std::is_sorted(cuts_[c].begin(), cuts_[c].end(), std::less_equal<float>());
      if (cuts_[c].size() >= static_cast<size_t>(options_.bins) || !rising)
        return damaged("cut points do not rise");
    }
    examples_ = record.examples();
    frauds_ = record.frauds();
    binned_ = record.binned();
    refit_at_ = record.refit_at();
    std::vector<LinearPair> pairs;
    if (!read_pairs(record, columns_.size(), pairs) || pairs.size() > static_cast<size_t>(options_.pairs) ||
        !search_.restore(record.search_rounds(), record.search_seen(), record.search_cells(),
                         record.search_active_cells(), pairs.size())) {
      return damaged("the pairs of columns are not sound");
    }
    lay_out(std::move(pairs));
    const size_t weights = z_.size();
    const bool read = from_bytes(record.z(), z_) && from_bytes(record.n(), n_) &&
                      from_bytes(record.counts(), counts_) &&
                      from_bytes(record.waiting_rows(), waiting_rows_) &&
                      from_bytes(record.waiting_labels(), waiting_labels_) &&
                      from_bytes(record.waiting_weights(), waiting_weights_);
    const size_t k = columns_.size();
    const bool sized = z_.size() == weights && n_.size() == weights && counts_.size() == weights &&
                       waiting_rows_.size() == waiting_labels_.size() * k &&
                       waiting_weights_.size() == waiting_labels_.size() &&
                       read_window(record, options_.calibration_window, window_) &&
                       read_sample(record, k, sample_);
    if (!read || !sized) return damaged("a part of the learner has the wrong size");
    for (size_t i = 0; i < z_.size(); ++i) {
      if (!std::isfinite(z_[i]) || !(n_[i] >= 0) || !std::isfinite(n_[i]) || !std::isfinite(counts_[i]))
        return damaged("a weight is not finite");
      w_[i] = weight(i);
    }
    return {};
  }

 private:
  void lay_out(std::vector<LinearPair> pairs) {
    layout_ = LinearLayout(columns_, cuts_, static_cast<uint32_t>(options_.hash_bits), std::move(pairs));
    const size_t weights = layout_.weights() + 1;  // the last is the bias
    z_.assign(weights, 0);
    n_.assign(weights, 0);
    w_.assign(weights, 0);
    counts_.assign(weights, 0);
    at_.resize(columns_.size() + layout_.pairs.size() + 1);
    codes_.resize(columns_.size());
    pair_weights_.resize(layout_.pairs.size());
  }

  void take(const float* row, float label, float weight, uint64_t key) {
    ++examples_;
    const bool fraud = label > 0.5f;
    frauds_ += fraud;
    const uint64_t dice = mix(key ^ mix(seed_));
    const bool kept = fraud || options_.negative_rate >= 1 || unit(dice) < options_.negative_rate;
    if (kept && weight > 0) {
      const double true_weight = weight * (fraud ? 1.0 : 1.0 / options_.negative_rate);
      if (!binned_) {
        waiting_rows_.insert(waiting_rows_.end(), row, row + columns_.size());
        waiting_labels_.push_back(fraud ? 1.0f : 0.0f);
        waiting_weights_.push_back(static_cast<float>(true_weight));
      } else {
        learn(row, fraud, true_weight);
      }
      // Thinning keeps the negatives' ring a sample of the recent past rather than of the last minutes.
      if (fraud || mix(dice) % 16 == 0 || sample_.negatives.next < BinSample::kNegativesMax / 4) {
        sample_.add(row, columns_.size(), fraud);
      }
    }
    if (!binned_ && examples_ >= first_bins(options_.bin_sample)) begin();
    if (binned_ && examples_ >= refit_at_) refit();
  }

  // Cut points are known: what waited is learned.
  void begin() {
    for (size_t c = 0; c < columns_.size(); ++c) fit(c, cuts_);
    lay_out({});
    binned_ = true;
    refit_at_ = examples_ * 2;
    for (size_t i = 0; i < waiting_labels_.size(); ++i) {
      learn(&waiting_rows_[i * columns_.size()], waiting_labels_[i] > 0.5f, waiting_weights_[i]);
    }
    waiting_rows_.clear();
    waiting_labels_.clear();
    waiting_weights_.clear();
  }

  void fit(size_t column, std::vector<std::vector<float>>& cuts) const {
    if (columns_[column].kind == ColumnKind::kCategorical) return;
    cuts[column] = fit_cuts(sample_, columns_.size(), column, bins_for(examples_, options_.bins));
  }

  void copy(size_t from, size_t to, const std::vector<double>& z, const std::vector<double>& n,
            const std::vector<double>& counts) {
    z_[to] = z[from];
    n_[to] = n[from];
    counts_[to] = counts[from];
  }

  // New cut points; each new bin, coarse ones too, begins with the parameters of the old bin it starts in.
  void refit() {
    std::vector<std::vector<float>> fresh(columns_.size());
    for (size_t c = 0; c < columns_.size(); ++c) fit(c, fresh);
    const LinearLayout old = layout_;
    const std::vector<double> z = z_, n = n_, counts = counts_;
    cuts_ = std::move(fresh);
    lay_out(old.pairs);
    std::vector<std::array<uint32_t, LinearPair::kCoarse>> coarse(columns_.size());  // new to old
    constexpr uint32_t kUnused = LinearPair::kCoarse;
    for (auto& old_of_new : coarse) old_of_new.fill(kUnused);
    for (size_t c = 0; c < columns_.size(); ++c) {
      const LinearTable& table = layout_.tables[c];
      const LinearTable& was = old.tables[c];
      for (uint32_t bin = table.missing + 1; bin-- > 0;) {
        uint32_t from = was.weights;
        if (table.categorical) {
          from += bin;
        } else if (bin == table.missing) {
          from += was.missing;
        } else if (bin > 0) {
          from = old.find(c, cuts_[c][bin - 1]);
        }
        copy(from, table.weights + bin, z, n, counts);
        coarse[c][layout_.coarse(c, table.weights + bin)] = old.coarse(c, from);  // the first bin stays
      }
    }
    for (size_t i = 0; i < layout_.pairs.size(); ++i) {
      const auto [a, b] = layout_.pairs[i];
      for (uint32_t of_a = 0; of_a < LinearPair::kCoarse; ++of_a) {
        for (uint32_t of_b = 0; of_b < LinearPair::kCoarse; ++of_b) {
          const uint32_t was_a = coarse[a][of_a], was_b = coarse[b][of_b];
          if (was_a == kUnused || was_b == kUnused) continue;
          copy(old.find_pair(i, was_a, was_b), layout_.find_pair(i, of_a, of_b), z, n, counts);
        }
      }
    }
    copy(z.size() - 1, z_.size() - 1, z, n, counts);
    search_.forget(layout_.pairs.size());
    refit_at_ = examples_ * 2;
    for (size_t i = 0; i < w_.size(); ++i) w_[i] = weight(i);
  }

  bool of_pair(size_t i) const { return i >= layout_.column_weights && i < layout_.weights(); }
  // Few examples must not throw the weights of many columns far: the rate rises as they double, until they
  // are kSettled, and stays from one fitting of cut points to the next.
  double rate(size_t i) const {
    constexpr double kSettled = 20'000;
    const double share = std::min(1.0, static_cast<double>(refit_at_) / 2 / kSettled);
    const double alpha = options_.alpha * std::sqrt(share);
    return of_pair(i) ? alpha / 2 : alpha;
  }

  double weight(size_t i) const {
    const double z = z_[i];
    const double over = std::fabs(z) - options_.l1;
    if (over <= 0) return 0;
    return -std::copysign(over, z) / ((options_.beta + std::sqrt(n_[i])) / rate(i) + options_.l2);
  }

  void learn(const float* row, bool fraud, double true_weight) {
    const size_t k = columns_.size();
    double margin = 0;
    for (size_t c = 0; c < k; ++c) {
      at_[c] = layout_.find(c, row[c]);
      margin += w_[at_[c]];
    }
    if (options_.pairs > 0) {
      for (size_t c = 0; c < k; ++c) codes_[c] = static_cast<uint8_t>(layout_.coarse(c, at_[c]));
      for (size_t i = 0; i < layout_.pairs.size(); ++i) {
        const auto [a, b] = layout_.pairs[i];
        at_[k + i] = layout_.find_pair(i, codes_[a], codes_[b]);
        pair_weights_[i] = w_[at_[k + i]];
        margin += pair_weights_[i];
      }
    }
    at_.back() = static_cast<uint32_t>(layout_.weights());
    margin += w_[at_.back()];
    window_.add(static_cast<size_t>(options_.calibration_window), margin, fraud ? 1.0f : 0.0f, true_weight);
    const double p = logistic(std::clamp(margin, -30.0, 30.0));
    const double gradient = (p - (fraud ? 1 : 0)) * true_weight * (fraud ? options_.fraud_weight : 1.0);
    const double squared = gradient * gradient;
    for (const uint32_t i : at_) {
      const double n = n_[i] + squared;
      z_[i] += gradient - (std::sqrt(n) - std::sqrt(n_[i])) / rate(i) * w_[i];
      n_[i] = n;
      w_[i] = weight(i);
      counts_[i] += true_weight;
    }
    if (options_.pairs == 0) return;
    const double hessian = p * (1 - p) * true_weight * (fraud ? options_.fraud_weight : 1.0);
    if (!search_.add(codes_, -gradient, hessian, fraud, layout_.pairs, pair_weights_)) return;
    if (const auto change = search_.decide(layout_.pairs)) put_pair(*change);
  }

  // The pair's weights begin at zero, those of the pair in its place are lost.
  void put_pair(const PairSearch::Change& change) {
    const LinearLayout old = layout_;
    std::vector<LinearPair> pairs = old.pairs;
    if (change.slot == pairs.size()) pairs.emplace_back();
    pairs[change.slot] = change.pair;
    const std::vector<double> z = z_, n = n_, counts = counts_;
    lay_out(std::move(pairs));
    for (size_t i = 0; i < old.weights(); ++i) copy(i, i, z, n, counts);
    copy(z.size() - 1, z_.size() - 1, z, n, counts);
    for (uint32_t i = 0; i < LinearPair::kCells; ++i) {
      const size_t at = layout_.find_pair(change.slot, 0, 0) + i;
      z_[at] = n_[at] = counts_[at] = 0;
    }
    for (size_t i = 0; i < w_.size(); ++i) w_[i] = weight(i);
  }

  double early_bias() const { return early_margin(frauds_, examples_); }

  std::vector<double> means() const {
    std::vector<double> all;
    const auto add = [&](size_t first, size_t size) {
      double sum = 0, count = 0;
      for (size_t i = first; i < first + size; ++i) {
        sum += counts_[i] * static_cast<double>(static_cast<float>(w_[i]));
        count += counts_[i];
      }
      all.push_back(count > 0 ? sum / count : 0);
    };
    for (const LinearTable& table : layout_.tables) add(table.weights, table.missing + size_t{1});
    for (size_t i = 0; i < layout_.pairs.size(); ++i) add(layout_.find_pair(i, 0, 0), LinearPair::kCells);
    return all;
  }

  LinearOptions options_;
  std::vector<Column> columns_;
  uint64_t seed_;
  std::vector<std::vector<float>> cuts_;
  LinearLayout layout_;
  uint64_t examples_ = 0, frauds_ = 0;
  bool binned_ = false;
  uint64_t refit_at_ = 0;
  std::vector<double> z_, n_, w_, counts_;
  std::vector<uint32_t> at_;
  std::vector<uint8_t> codes_;        // of the row being learned
  std::vector<double> pair_weights_;  // in its cells
  PairSearch search_;
  std::vector<float> waiting_rows_, waiting_labels_, waiting_weights_;
  BinSample sample_;
  PredictionWindow window_;
};

Result<std::unique_ptr<LinearLearner>> make(const Options& given, std::vector<Column> columns,
                                            uint64_t seed) {
  auto options = read_options<LinearOptions>("linear", kRows, given);
  if (!options) return tl::make_unexpected(options.error());
  return std::make_unique<LinearLearner>(*options, std::move(columns), seed);
}

}  // namespace

Family linear_family() {
  return make_family<LinearLearner, make>(
      "linear", "logistic regression by FTRL-proximal over binned numeric columns and hashed categories",
      describe_options<LinearOptions>(kRows), load_linear_model);
}

}  // namespace shrike::learners
