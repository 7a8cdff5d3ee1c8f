#include "learners/anomaly/anomaly_learner.h"

#include <algorithm>
#include <cmath>

#include "learners/anomaly/anomaly.pb.h"
#include "learners/numeric/numeric.h"
#include "learners/saved/records.h"
#include "learners/saved/sealed.h"

namespace shrike::learners {
namespace {

constexpr size_t kFraudsMax = 4096, kNegativesMax = 12288;
constexpr double kNegativeRate = 1.0 / 16;

std::vector<double> margins(const Model& model, const std::vector<float>& rows, size_t columns) {
  const MatrixView view(rows, columns);
  std::vector<double> all(view.rows());
  for (size_t i = 0; i < all.size(); ++i) all[i] = model.margin(view.row(i));
  return all;
}

}  // namespace

AnomalyLearner::AnomalyLearner(std::string family, std::string canonical, std::vector<Column> columns,
                               uint64_t seed, double fraud_rate)
    : columns_(std::move(columns)),
      by_name_(order_by_name(columns_)),
      seed_(seed),
      family_(std::move(family)),
      canonical_(std::move(canonical)),
      fraud_rate_(fraud_rate) {}

void AnomalyLearner::observe(MatrixView rows, std::span<const uint64_t> keys) {
  for (size_t i = 0; i < rows.rows(); ++i) {
    sample_.add(rows.row(i).data(), columns_.size(), mix(keys[i] ^ mix(seed_)));
    observe_row(rows.row(i).data());
  }
}

void AnomalyLearner::partial_fit(MatrixView rows, std::span<const float> labels,
                                 std::span<const float> weights, std::span<const uint64_t> keys) {
  for (size_t i = 0; i < rows.rows(); ++i) {
    ++examples_;
    if (weights[i] <= 0) continue;
    const bool fraud = labels[i] > 0.5f;
    // A young learner keeps more: its buffer has room.
    const double roomy = static_cast<double>(kNegativesMax) / 3 / static_cast<double>(examples_);
    const double keep = fraud ? 1 : std::min(1.0, std::max(kNegativeRate, roomy));
    if (unit(mix(keys[i] ^ mix(seed_ + 1))) >= keep) continue;
    ReplayRing& ring = fraud ? frauds_ : negatives_;
    ring.add(fraud ? kFraudsMax : kNegativesMax, rows.row(i), static_cast<float>(weights[i] / keep),
             examples_, keys[i]);
  }
}

ModelPtr AnomalyLearner::snapshot() const {
  if (!observed_enough()) return make_prior_model(columns_, logistic(early_margin(frauds_.next, examples_)));
  if (frauds_.size() + negatives_.size() == 0) return cold_snapshot();
  const ModelPtr raw = build({});
  PredictionWindow window;
  for (const ReplayRing* ring : {&frauds_, &negatives_}) {
    const std::vector<double> all = margins(*raw, ring->rows, columns_.size());
    for (size_t i = 0; i < all.size(); ++i)
      window.add(SIZE_MAX, all[i], ring == &frauds_ ? 1.0f : 0.0f, ring->weights[i]);
  }
  return build(fit_platt(window));
}

// The odds of fraud rise by e^0.5 with each unit of -log(how rare the row is); the slope comes from the
// margins at the median and at one row in a thousand.
ModelPtr AnomalyLearner::cold_snapshot() const {
  if (!observed_enough() || sample_.size() == 0) return nullptr;
  std::vector<double> all = margins(*build({}), sample_.rows, columns_.size());
  std::sort(all.begin(), all.end());
  const size_t last = all.size() - 1;
  const double middle = all[last / 2], high = all[last - all.size() / 1000];
  constexpr double kRise = 0.5 * 6.2146080984;  // 0.5 * ln(0.5 / 0.001)
  const double slope = std::clamp(kRise / std::max(high - middle, 1e-3), 0.0, 1e3);
  double sum = 0;
  for (const double margin : all) sum += exact_exp(std::min(slope * (margin - middle), 300.0));
  const double shift =
      exact_log(fraud_rate_) - exact_log(sum / static_cast<double>(all.size())) - slope * middle;
  return build({static_cast<float>(slope), static_cast<float>(std::clamp(shift, -1e5, 1e5))});
}

size_t AnomalyLearner::state_bytes() const {
  return sizeof(*this) +
         (sample_.rows.capacity() + frauds_.rows.capacity() + negatives_.rows.capacity()) * sizeof(float);
}

std::string AnomalyLearner::save() const {
  proto::AnomalyRecord record;
  for (const Column& column : columns_) write_column(column, *record.add_columns());
  record.set_options(canonical_);
  record.set_examples(examples_);
  proto::RowSampleRecord& sample = *record.mutable_sample();
  sample.set_seen(sample_.seen);
  sample.set_thinned(sample_.thinned);
  sample.set_rows(to_bytes(sample_.rows));
  sample.set_dice(to_bytes(sample_.dice));
  write_ring(frauds_, *record.mutable_frauds());
  write_ring(negatives_, *record.mutable_negatives());
  save_more(record);
  return seal(SealedKind::kLearner, family_, 1, record.SerializeAsString());
}

Result<void> AnomalyLearner::load(std::string_view payload) {
  proto::AnomalyRecord record;
  if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return damaged("the learner cannot be read");
  if (read_columns(record.columns()) != columns_ || record.options() != canonical_) {
    return tl::make_unexpected(
        Error{ErrorCode::kMismatch, "", "the learner was saved with other columns, options or seed"});
  }
  examples_ = record.examples();
  sample_.seen = record.sample().seen();
  sample_.thinned = record.sample().thinned();
  const bool sound =
      from_bytes(record.sample().rows(), sample_.rows) && from_bytes(record.sample().dice(), sample_.dice) &&
      sample_.size() <= RowSample::kRowsMax && sample_.rows.size() == sample_.size() * columns_.size() &&
      read_ring(record.frauds(), kFraudsMax, columns_.size(), frauds_) &&
      read_ring(record.negatives(), kNegativesMax, columns_.size(), negatives_) && load_more(record);
  if (!sound) return damaged("a part of the learner has the wrong size");
  return {};
}

}  // namespace shrike::learners
