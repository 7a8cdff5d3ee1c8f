#include "engine/log/retrain.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <new>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "engine/fold/policy.h"
#include "engine/log/history.h"
#include "engine/log/recovery.h"
#include "learners/metrics.h"
#include "storage/store.h"

namespace shrike::engine {
namespace {

constexpr std::string_view kFailureNames[] = {"data", "memory", "convergence", "validation", "stopped"};
constexpr uint64_t kStretch = 20'000;  // events between two looks at whether to stop
constexpr size_t kBatch = 256;
constexpr double kHeldOut = 0.2;  // the newest examples, by which options are chosen
constexpr float kExtreme = 1e30f;

tl::unexpected<RetrainError> fail(RetrainFailure failure, std::string reason) {
  return tl::make_unexpected(RetrainError{failure, std::move(reason)});
}

// The examples that the fold makes, newest verdict of each transaction; of legitimate ones a share by a hash
// of the key once there are too many.
class Examples : public ExampleSink {
 public:
  Examples(size_t columns, uint64_t legitimate_max, bool leave_out_extremes)
      : columns_(columns), legitimate_max_(legitimate_max), leave_out_extremes_(leave_out_extremes) {}

  void begin_at(int64_t since_us) { since_us_ = since_us; }
  void watch_time(const Fold& fold) { fold_ = &fold; }

  void learn(const Example& example) override {
    const int64_t now_us = fold_->watermark_us();
    if (now_us < since_us_) return;
    const bool fraud = example.verdict == Verdict::kFraud;
    const uint64_t key = example_key(example.transaction);
    if (!fraud && !kept(key)) return;
    if (leave_out_extremes_ && std::any_of(example.row.begin(), example.row.end(),
                                           [](float v) { return std::fabs(v) > kExtreme; })) {
      ++left_out_;
      return;
    }
    const auto [found, is_new] = place_.emplace(key, labels_.size());
    if (!is_new) {
      labels_[found->second] = fraud ? 1.0f : 0.0f;
      return;
    }
    rows_.insert(rows_.end(), example.row.begin(), example.row.end());
    labels_.push_back(fraud ? 1.0f : 0.0f);
    weights_.push_back(example.weight);
    keys_.push_back(key);
    times_.push_back(now_us);
    legitimate_ += !fraud;
    while (legitimate_ > legitimate_max_) halve();
  }

  size_t size() const { return labels_.size(); }
  size_t frauds() const { return static_cast<size_t>(std::count(labels_.begin(), labels_.end(), 1.0f)); }
  double share() const { return share_; }
  uint64_t left_out() const { return left_out_; }
  std::vector<float>& rows() { return rows_; }
  std::span<float> row(size_t i) { return std::span(rows_).subspan(i * columns_, columns_); }
  const std::vector<float>& labels() const { return labels_; }
  const std::vector<uint64_t>& keys() const { return keys_; }
  learners::MatrixView matrix(size_t from, size_t count) const {
    return {std::span(rows_).subspan(from * columns_, count * columns_), columns_};
  }
  // What each stands for, half for each half-life of its age; 0: whatever its age.
  std::vector<float> weights(int64_t half_life_us) const {
    std::vector<float> out = weights_;
    const int64_t newest_us = times_.empty() ? 0 : times_.back();
    for (size_t i = 0; i < out.size(); ++i) {
      double weight = static_cast<double>(out[i]) / (labels_[i] > 0.5f ? 1 : share_);
      if (half_life_us > 0)
        weight *= std::exp(-0.6931471805599453 * static_cast<double>(newest_us - times_[i]) /
                           static_cast<double>(half_life_us));
      out[i] = static_cast<float>(weight);
    }
    return out;
  }
  uint64_t hash() const {
    uint64_t hash = labels_.size();
    for (const float value : rows_) hash = features::scramble(hash ^ std::bit_cast<uint32_t>(value));
    for (const float value : labels_) hash = features::scramble(hash ^ std::bit_cast<uint32_t>(value));
    return hash;
  }

 private:
  bool kept(uint64_t key) const {
    return static_cast<double>(features::scramble(key) >> 11) * 0x1p-53 < share_;
  }
  void halve() {
    share_ /= 2;
    size_t to = 0;
    legitimate_ = 0;
    place_.clear();
    for (size_t i = 0; i < labels_.size(); ++i) {
      const bool fraud = labels_[i] > 0.5f;
      if (!fraud && !kept(keys_[i])) continue;
      std::copy_n(rows_.begin() + static_cast<std::ptrdiff_t>(i * columns_), columns_,
                  rows_.begin() + static_cast<std::ptrdiff_t>(to * columns_));
      labels_[to] = labels_[i], weights_[to] = weights_[i], keys_[to] = keys_[i], times_[to] = times_[i];
      place_[keys_[to]] = to;
      legitimate_ += !fraud;
      ++to;
    }
    rows_.resize(to * columns_);
    labels_.resize(to), weights_.resize(to), keys_.resize(to), times_.resize(to);
  }

  size_t columns_;
  uint64_t legitimate_max_;
  bool leave_out_extremes_;
  const Fold* fold_ = nullptr;
  int64_t since_us_ = INT64_MIN;
  double share_ = 1;
  uint64_t legitimate_ = 0, left_out_ = 0;
  std::vector<float> rows_, labels_, weights_;
  std::vector<uint64_t> keys_;
  std::vector<int64_t> times_;  // when each became an example
  std::unordered_map<uint64_t, size_t> place_;
};

// Everything that went into a learner.
struct Recipe {
  const Config& config;
  const Examples& examples;
  const std::vector<float>& weights;
  const std::atomic<bool>& stop;
};

tl::expected<learners::ModelPtr, RetrainError> learn(const Recipe& recipe, const learners::Options& options,
                                                     size_t count) {
  const TrainingConfig& training = recipe.config.training;
  auto learner = learners::make_learner(training.family, options, recipe.config.columns, training.seed);
  if (!learner)
    return fail(RetrainFailure::kValidation,
                fmt::format("{}: {}", learner.error().field, learner.error().reason));
  for (size_t from = 0; from < count; from += kBatch) {
    if (recipe.stop.load()) return fail(RetrainFailure::kStopped, "the server ends");
    const size_t n = std::min(kBatch, count - from);
    (*learner)->partial_fit(
        recipe.examples.matrix(from, n), std::span(recipe.examples.labels()).subspan(from, n),
        std::span(recipe.weights).subspan(from, n), std::span(recipe.examples.keys()).subspan(from, n));
  }
  if (!(*learner)->ready()) return fail(RetrainFailure::kValidation, (*learner)->waits_for());
  return (*learner)->snapshot();
}

struct HeldOut {
  double average_precision = 0, log_loss = 0, log_loss_of_base_rate = 0;
};

tl::expected<HeldOut, RetrainError> judge_held_out(const Recipe& recipe, const learners::Model& model,
                                                   size_t from) {
  const size_t count = recipe.examples.size() - from;
  std::vector<float> scores(count);
  model.score(recipe.examples.matrix(from, count), scores);
  if (!std::all_of(scores.begin(), scores.end(), is_probability))
    return fail(RetrainFailure::kConvergence, "its scores are no probabilities");
  std::vector<uint8_t> labels(count);
  double weight = 0, frauds = 0;
  for (size_t i = 0; i < count; ++i) {
    labels[i] = recipe.examples.labels()[from + i] > 0.5f;
    weight += static_cast<double>(recipe.weights[from + i]);
    if (labels[i] != 0) frauds += static_cast<double>(recipe.weights[from + i]);
  }
  const auto weights = std::span(recipe.weights).subspan(from);
  HeldOut out{learners::average_precision(scores, labels, weights),
              learners::log_loss(scores, labels, weights), 0};
  const double base = frauds / weight;
  if (!(base > 0) || !(base < 1))
    return fail(RetrainFailure::kValidation, "the newest examples have no fraud, or nothing else");
  out.log_loss_of_base_rate = -base * std::log(base) - (1 - base) * std::log(1 - base);
  return out;
}

nlohmann::json options_json(const learners::Options& options) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, value] : options)
    std::visit([&, &key = name](const auto& v) { json[key] = v; }, value);
  return json;
}

// Folds the log up to the event that asked.
tl::expected<std::string, RetrainError> gather(const ConfigPtr& config, storage::Store& store,
                                               const Fold::Retraining& asked, Examples& examples,
                                               const std::atomic<bool>& stop) {
  StoreHistory history(store, config->plan);
  Fold fold(config, examples, &history);
  examples.watch_time(fold);
  ModelBook models(store, config);
  if (store.first_sequence() > 1) {
    const auto restored = restore_oldest_checkpoint(store, models, fold);
    if (!restored) return fail(RetrainFailure::kData, restored.error());
    if (*restored == 0 || *restored >= asked.sequence)
      return fail(RetrainFailure::kValidation, "retention has taken what it would learn from");
  }
  while (fold.next_sequence() < asked.sequence) {
    if (stop.load()) return fail(RetrainFailure::kStopped, "the server ends");
    const uint64_t before = fold.next_sequence();
    const uint64_t to = std::min(asked.sequence - 1, before + kStretch);
    const auto folded = fold_log(store, models, fold, nullptr, before, to, nullptr);
    if (!folded) return fail(RetrainFailure::kData, folded.error());
    if (fold.next_sequence() == before)
      return fail(RetrainFailure::kData, fmt::format("the log ends at event {}", before - 1));
  }
  // What models do not see now, what is learned from has not either.
  for (size_t i = 0; i < examples.size(); ++i) fold.dropped().hide(examples.row(i));
  return fold.champion_hash();
}

tl::expected<Retrained, RetrainError> one_try(const ConfigPtr& config, storage::Store& store,
                                              const Fold::Retraining& asked, uint64_t attempt,
                                              const std::atomic<bool>& stop, const RetrainFaults& faults) {
  const RetrainingConfig& retraining = config->retraining;
  const auto strategy = parse_retrain_strategy(asked.asked.target);
  if (!strategy) return fail(RetrainFailure::kValidation, strategy.error());
  if (faults.before_reading) {
    if (auto done = faults.before_reading(attempt); !done) return tl::make_unexpected(done.error());
  }
  Examples examples(config->columns.size(), std::max<uint64_t>(retraining.rows >> (attempt - 1), 1000),
                    attempt > 1);
  if (*strategy == RetrainStrategy::kRecent && asked.asked.values[0] > 0)
    examples.begin_at(static_cast<int64_t>(asked.asked.values[0]));
  const auto parent = gather(config, store, asked, examples, stop);
  if (!parent) return tl::make_unexpected(parent.error());
  if (examples.size() < retraining.examples_min || examples.frauds() < retraining.frauds_min) {
    return fail(
        RetrainFailure::kValidation,
        fmt::format("{} examples with {} frauds; {} and {} are needed (retraining.examples_min, frauds_min)",
                    examples.size(), examples.frauds(), retraining.examples_min, retraining.frauds_min));
  }
  if (faults.before_learning) faults.before_learning(attempt, examples.rows());

  const bool search = *strategy == RetrainStrategy::kSearch;
  const std::vector<float> weights = examples.weights(search ? retraining.half_life_us : 0);
  const Recipe recipe{*config, examples, weights, stop};
  const auto older = static_cast<size_t>((1 - kHeldOut) * static_cast<double>(examples.size()));
  std::vector<learners::Options> variants = {config->training.options};
  if (search) {
    for (const learners::Options& variant : retraining.search) {
      variants.push_back(config->training.options);
      for (const auto& [name, value] : variant) variants.back()[name] = value;
    }
  }
  nlohmann::json tried = nlohmann::json::array();
  const learners::Options* best = nullptr;
  HeldOut best_held_out;
  for (const learners::Options& variant : variants) {
    auto model = learn(recipe, variant, older);
    if (!model) return tl::make_unexpected(model.error());
    const auto held_out = judge_held_out(recipe, **model, older);
    if (!held_out) return tl::make_unexpected(held_out.error());
    tried.push_back({{"options", options_json(variant)},
                     {"average_precision", held_out->average_precision},
                     {"log_loss", held_out->log_loss}});
    if (best != nullptr && held_out->log_loss >= best_held_out.log_loss) continue;
    best = &variant;
    best_held_out = *held_out;
  }
  if (!(best_held_out.log_loss < best_held_out.log_loss_of_base_rate)) {
    return fail(
        RetrainFailure::kValidation,
        fmt::format("its log loss {:.5f} on the newest examples is not below that of the base rate, {:.5f}",
                    best_held_out.log_loss, best_held_out.log_loss_of_base_rate));
  }
  auto model = learn(recipe, *best, examples.size());
  if (!model) return tl::make_unexpected(model.error());
  const nlohmann::json report = {
      {"reason", "retrained: " + asked.asked.text},
      {"strategy", name(*strategy)},
      {"asked_by", asked.sequence},
      {"first_event", store.first_sequence()},
      {"last_event", asked.sequence - 1},
      {"since_us", *strategy == RetrainStrategy::kRecent ? asked.asked.values[0] : 0},
      {"examples", examples.size()},
      {"frauds", examples.frauds()},
      {"legitimate_share", examples.share()},
      {"rows_left_out", examples.left_out()},
      {"data", fmt::format("{:016x}", examples.hash())},
      {"options", options_json(*best)},
      {"held_out",
       {{"average_precision", best_held_out.average_precision}, {"log_loss", best_held_out.log_loss}}},
      {"tried", std::move(tried)},
      {"attempt", attempt},
      {"parent", *parent}};
  Retrained out;
  out.model = std::move(*model);
  out.bytes = learners::serialize(*out.model);
  out.event = {ModelAction::kRetrained, examples.size(), learners::content_hash(out.bytes), report.dump()};
  return out;
}

}  // namespace

std::string_view name(RetrainFailure failure) { return kFailureNames[static_cast<size_t>(failure)]; }

tl::expected<Retrained, RetrainError> retrain(const ConfigPtr& config, storage::Store& store,
                                              const Fold::Retraining& asked, uint64_t attempt,
                                              const std::atomic<bool>& stop, const RetrainFaults& faults) {
  try {
    return one_try(config, store, asked, attempt, stop, faults);
  } catch (const std::bad_alloc&) {
    return fail(RetrainFailure::kMemory, "there is not enough memory for its examples (retraining.rows)");
  }
}

}  // namespace shrike::engine
