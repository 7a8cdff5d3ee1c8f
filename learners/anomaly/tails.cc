// Anomaly by tails: how far out each value lies in the distribution of its column, -log P(X >= v), summed
// over columns (after Li et al., "ECOD: Unsupervised Outlier Detection Using Empirical Cumulative
// Distribution Functions", TKDE 2022, with the side chosen by the weight's sign rather than by skewness:
// frauds are seldom unusually small). Beyond the sample's largest value the tail is exponential with the mean
// excess of its top hundredth, so that larger stays more unusual. Missing values and categories say nothing.
//
// A function of the rows observed and their keys; the sample is bounded (row_sample.h).
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "learners/anomaly/anomaly.pb.h"
#include "learners/anomaly/anomaly_learner.h"
#include "learners/numeric/numeric.h"
#include "learners/option_table.h"
#include "learners/registry.h"
#include "learners/saved/records.h"

namespace shrike::learners {
namespace {

constexpr float kSurpriseMax = 60;

struct Curve {
  uint32_t column = 0;
  double weight = 1;  // of all curves together: 1; below 0: low values are unusual
  std::vector<float> values, surprises;
  float beyond = 0;

  double surprise(float v) const {
    if (v != v) return 0;
    if (weight < 0) v = -v;
    if (v <= values.front()) return 0;
    if (v >= values.back()) return std::min(surprises.back() + (v - values.back()) * beyond, kSurpriseMax);
    const size_t i = static_cast<size_t>(std::upper_bound(values.begin(), values.end(), v) - values.begin());
    const float share = (v - values[i - 1]) / (values[i] - values[i - 1]);
    return surprises[i - 1] + share * (surprises[i] - surprises[i - 1]);
  }
  double contribution(const float* row) const { return std::fabs(weight) * surprise(row[column]); }
};

class TailsModel : public Model {
 public:
  TailsModel(std::vector<Column> columns, std::vector<Curve> curves, Platt platt)
      : columns_(std::move(columns)), curves_(std::move(curves)), platt_(platt) {}

  std::string_view family() const override { return "tails"; }
  const std::vector<Column>& columns() const override { return columns_; }
  Calibration calibration() const override { return {platt_.slope, platt_.shift}; }
  double margin(std::span<const float> row) const override {
    double sum = 0;
    for (const Curve& curve : curves_) sum += curve.contribution(row.data());
    return sum;
  }
  void score(MatrixView rows, std::span<float> out) const override {
    for (size_t i = 0; i < rows.rows(); ++i)
      out[i] = logistic_float(static_cast<float>(margin(rows.row(i))) * platt_.slope + platt_.shift);
  }
  double explain(std::span<const float> row, std::span<double> out) const override {
    std::fill(out.begin(), out.end(), 0.0);
    for (const Curve& curve : curves_) out[curve.column] = curve.contribution(row.data());
    return 0;
  }
  std::string payload() const override {
    proto::TailsModelRecord record;
    for (const Column& column : columns_) write_column(column, *record.add_columns());
    for (const Curve& curve : curves_) {
      proto::TailCurve& out = *record.add_curves();
      out.set_column(curve.column);
      out.set_weight(curve.weight);
      for (const float v : curve.values) out.add_values(v);
      for (const float s : curve.surprises) out.add_surprises(s);
      out.set_beyond(curve.beyond);
    }
    record.set_slope(platt_.slope);
    record.set_shift(platt_.shift);
    return record.SerializeAsString();
  }

 private:
  std::vector<Column> columns_;
  std::vector<Curve> curves_;
  Platt platt_;
};

Result<ModelPtr> load_tails_model(uint32_t, std::string_view payload) {
  proto::TailsModelRecord record;
  if (!record.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
    return damaged("the tails model cannot be read");
  std::vector<Column> columns = read_columns(record.columns());
  if (columns.empty() || record.curves_size() > static_cast<int>(columns.size()))
    return damaged("the columns are not sound");
  std::vector<Curve> curves;
  for (const proto::TailCurve& in : record.curves()) {
    Curve curve{in.column(),
                in.weight(),
                {in.values().begin(), in.values().end()},
                {in.surprises().begin(), in.surprises().end()},
                in.beyond()};
    bool sound = curve.column < columns.size() && std::fabs(curve.weight) <= 1 && !curve.values.empty() &&
                 curve.values.size() == curve.surprises.size() && curve.beyond >= 0 &&
                 std::isfinite(curve.beyond) &&
                 std::is_sorted(curve.values.begin(), curve.values.end(), std::less_equal<float>());
    for (const float v : curve.values) sound &= std::isfinite(v);
    for (const float s : curve.surprises) sound &= s >= 0 && s <= kSurpriseMax;
    if (!sound) return damaged("a tail is not sound");
    curves.push_back(std::move(curve));
  }
  const Platt platt{record.slope(), record.shift()};
  if (!(std::fabs(platt.slope) < 1e6f) || !(std::fabs(platt.shift) < 1e6f))
    return damaged("the calibration is not a finite number of sensible size");
  return std::make_shared<TailsModel>(std::move(columns), std::move(curves), platt);
}

struct TailsOptions {
  double fraud_rate = 0.01;
};
constexpr OptionRow<TailsOptions> kRows[] = {
    {"fraud_rate", &TailsOptions::fraud_rate, nullptr, 1e-6, 0.5,
     "mean probability answered while no label is known"},
};

class TailsLearner : public AnomalyLearner {
 public:
  TailsLearner(std::string canonical, std::vector<Column> columns, uint64_t seed, const TailsOptions& options,
               std::vector<double> weights)
      : AnomalyLearner("tails", std::move(canonical), std::move(columns), seed, options.fraud_rate),
        weights_(std::move(weights)) {}

 private:
  ModelPtr build(Platt platt) const override {
    std::vector<Curve> curves;
    double total = 0;
    for (const uint32_t c : by_name_) {
      if (weights_[c] == 0) continue;
      total += std::fabs(weights_[c]);
      Curve curve = fit(c);
      if (!curve.values.empty()) curves.push_back(std::move(curve));
    }
    for (Curve& curve : curves) curve.weight /= total;
    return std::make_shared<TailsModel>(columns_, std::move(curves), platt);
  }

  // Knots at the values that 1, 2, 3, 4, 6, 8, 12, ... rows of the sample reach.
  Curve fit(uint32_t column) const {
    Curve curve{column, weights_[column], {}, {}, 0};
    std::vector<float> values;
    for (size_t i = 0; i < sample_.size(); ++i) {
      const float v = sample_.rows[i * columns_.size() + column];
      if (std::isfinite(v)) values.push_back(curve.weight < 0 ? -v : v);
    }
    const size_t n = values.size();
    constexpr size_t kLeast = 100;
    if (n < kLeast) return curve;
    std::sort(values.begin(), values.end());
    std::vector<size_t> reached;
    for (size_t k = 1; k < n; k = std::max(k + 1, k + k / 2 - (k & (k - 1) ? k / 6 : 0)))
      reached.push_back(k);
    reached.push_back(n);
    for (size_t i = reached.size(); i-- > 0;) {
      const float v = values[n - reached[i]];
      if (!curve.values.empty() && curve.values.back() == v) continue;  // as many reach it as reach its first
      curve.values.push_back(v);
      curve.surprises.push_back(
          static_cast<float>(-exact_log(static_cast<double>(reached[i]) / static_cast<double>(n + 1))));
    }
    const size_t top = std::max<size_t>(n / 100, 10);
    double excess = 0;
    for (size_t i = n - top; i < n; ++i)
      excess += static_cast<double>(values[i]) - static_cast<double>(values[n - top]);
    excess /= static_cast<double>(top);
    if (excess > 1e-30 && std::isfinite(excess)) curve.beyond = static_cast<float>(1 / excess);
    if (!std::isfinite(curve.beyond)) curve.beyond = 0;
    return curve;
  }

  std::vector<double> weights_;
};

tl::unexpected<Error> bad_columns(std::string reason) {
  return tl::make_unexpected(Error{ErrorCode::kInvalidOption, "columns", std::move(reason)});
}

// "amount:8, ratio:-1" to a weight per column; nothing: every numeric column weighs 1.
Result<std::vector<double>> read_weights(std::string_view text, const std::vector<Column>& columns) {
  std::vector<double> weights(columns.size());
  if (text.empty()) {
    for (size_t c = 0; c < columns.size(); ++c) weights[c] = columns[c].kind == ColumnKind::kNumeric ? 1 : 0;
    return weights;
  }
  while (!text.empty()) {
    const std::string_view item = take_item(text);
    const size_t colon = item.find(':');
    const std::string_view name = item.substr(0, colon);
    const auto column = std::find_if(columns.begin(), columns.end(), [&](const Column& watched) {
      return std::string_view(watched.name) == name;
    });
    if (column == columns.end()) return bad_columns(fmt::format("there is no feature \"{}\"", name));
    if (column->kind != ColumnKind::kNumeric) return bad_columns(fmt::format("{} is not a number", name));
    double weight = 1;
    if (colon != std::string_view::npos) {
      const std::string_view number = item.substr(colon + 1);
      const auto [end, problem] = std::from_chars(number.data(), number.data() + number.size(), weight);
      if (problem != std::errc() || end != number.data() + number.size() ||
          !(std::fabs(weight) >= 1e-3 && std::fabs(weight) <= 1e3))
        return bad_columns(
            fmt::format("{}: found \"{}\", allowed is a weight of size 0.001 to 1000", name, number));
    }
    weights[static_cast<size_t>(column - columns.begin())] = weight;
  }
  return weights;
}

Result<std::unique_ptr<TailsLearner>> make(const Options& given, std::vector<Column> columns, uint64_t seed) {
  Options numbers = given;
  std::string chosen;
  if (const auto found = numbers.find("columns"); found != numbers.end()) {
    const auto* text = std::get_if<std::string>(&found->second);
    if (text == nullptr) return bad_columns("allowed is text: FEATURE[:WEIGHT], …");
    chosen = *text;
    numbers.erase(found);
  }
  auto options = read_options<TailsOptions>("tails", kRows, numbers);
  if (!options) return tl::make_unexpected(options.error());
  auto weights = read_weights(chosen, columns);
  if (!weights) return tl::make_unexpected(weights.error());
  std::string canonical = canonical_options<TailsOptions>(kRows, *options, seed) + " columns=" + chosen;
  return std::make_unique<TailsLearner>(std::move(canonical), std::move(columns), seed, *options,
                                        std::move(*weights));
}

}  // namespace

Family tails_family() {
  std::vector<OptionInfo> options = describe_options<TailsOptions>(kRows);
  options.push_back({"columns", std::string(), "text: FEATURE[:WEIGHT], …",
                     "features to watch; a weight below 0 makes low values unusual; empty: all numbers"});
  Family family = make_family<TailsLearner, make>(
      "tails", "anomaly without labels: how far out values lie in their columns' distributions",
      std::move(options), load_tails_model);
  family.info.needs_labels = false;
  return family;
}

}  // namespace shrike::learners
