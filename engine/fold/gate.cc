#include "engine/fold/gate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "learners/metrics.h"

namespace shrike::engine {
namespace {

constexpr size_t kCalibrationBins = 10;
constexpr uint64_t kPatience = 100;  // times examples_max: rows after which a trial without frauds ends

struct Figures {
  double average_precision, recall, log_loss, calibration_error;
};

Figures measure(const GateConfig& gate, std::span<const float> scores, std::span<const uint8_t> labels,
                std::span<const float> weights) {
  return {learners::average_precision(scores, labels, weights),
          learners::recall_at_fpr(scores, labels, gate.fpr, weights),
          learners::log_loss(scores, labels, weights),
          learners::calibration_error(scores, labels, kCalibrationBins, weights)};
}

std::string json(const Figures& f) {
  return fmt::format(
      R"({{"average_precision":{:.6f},"recall":{:.6f},"log_loss":{:.6f},"calibration_error":{:.6f}}})",
      f.average_precision, f.recall, f.log_loss, f.calibration_error);
}

// By how many standard errors the candidate's log loss is lower than that of `other`, transaction by
// transaction.
template <typename Other>
double log_loss_gain(std::span<const float> candidate, const Other& other, std::span<const uint8_t> labels,
                     std::span<const float> weights) {
  const auto loss = [](double p, uint8_t label) {
    p = std::clamp(p, 1e-15, 1 - 1e-15);
    return -std::log(label != 0 ? p : 1 - p);
  };
  double sum = 0, squares = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const double weight = weights.empty() ? 1 : static_cast<double>(weights[i]);
    const double gain =
        weight * (loss(other(i), labels[i]) - loss(static_cast<double>(candidate[i]), labels[i]));
    sum += gain;
    squares += gain * gain;
  }
  const double n = static_cast<double>(labels.size());
  const double variance = squares - sum * sum / n;
  return variance > 0 ? sum / std::sqrt(variance) : 0;
}

// Against a champion that knows no label: whether the candidate surely knows more than it, and more than the
// share of frauds alone, which a wrong prior would make easy.
bool surely_knows_more(std::span<const float> champion, std::span<const float> candidate,
                       std::span<const uint8_t> labels, std::span<const float> weights) {
  constexpr double kSure = 1.64;  // standard errors: one in twenty
  double frauds = 0, all = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const double weight = weights.empty() ? 1 : static_cast<double>(weights[i]);
    all += weight;
    frauds += labels[i] != 0 ? weight : 0;
  }
  const double share = all > 0 ? frauds / all : 0;
  return log_loss_gain(
             candidate, [&](size_t i) { return static_cast<double>(champion[i]); }, labels, weights) >=
             kSure &&
         log_loss_gain(
             candidate, [&](size_t) { return share; }, labels, weights) >= kSure;
}

}  // namespace

Demands demands(const GateConfig& gate, const TrialStanding& standing) {
  constexpr uint64_t kExamplesMin = 50, kFraudsMin = 5;
  // A trial is to be a quarter of what the champion has learned.
  const double settled = !standing.champion_learned ? 0
                         : !standing.champion_examples
                             ? 1
                             : std::min(1.0, static_cast<double>(*standing.champion_examples) /
                                                 (4 * static_cast<double>(gate.examples_min)));
  const auto part = [&](uint64_t whole, uint64_t least) {
    const auto scaled = static_cast<uint64_t>(settled * static_cast<double>(whole));
    return std::max(std::min(least, whole), scaled);
  };
  Demands asked{.examples_min = part(gate.examples_min, kExamplesMin),
                .frauds_min = part(gate.frauds_min, kFraudsMin),
                .settled = settled};
  // While nobody has learned, a candidate's own examples bound how long it is worth trying.
  const uint64_t most = standing.champion_learned ? part(gate.examples_max, 0) : standing.candidate_examples;
  asked.examples_max = std::min(gate.examples_max, std::max(4 * asked.examples_min, most));
  return asked;
}

GateResult judge(const GateConfig& gate, std::span<const float> champion, std::span<const float> candidate,
                 std::span<const uint8_t> labels, std::span<const float> weights, uint64_t seed,
                 const TrialStanding& standing) {
  const Demands asked = demands(gate, standing);
  const auto frauds = static_cast<uint64_t>(std::count(labels.begin(), labels.end(), uint8_t{1}));
  // Where frauds are rare the trial waits for them, not for rows; memory bounds it.
  const bool given_up = labels.size() >= kPatience * gate.examples_max;
  const bool last_chance =
      given_up || (labels.size() >= asked.examples_max && frauds >= 2 * asked.frauds_min);
  const bool enough =
      labels.size() >= asked.examples_min && frauds >= asked.frauds_min && frauds < labels.size();
  if (!enough && !given_up) return {};
  GateResult result;
  const auto conclude = [&](GateVerdict verdict, std::string_view reason, const std::string& figures) {
    result.verdict = verdict;
    result.report = fmt::format(R"({{"examples":{},"frauds":{},{}"reason":"{}"}})", labels.size(), frauds,
                                figures, reason);
    return result;
  };
  const auto valid = [](float p) { return std::isfinite(p) && p >= 0 && p <= 1; };
  if (!std::all_of(candidate.begin(), candidate.end(), valid)) {
    return conclude(GateVerdict::kReject, "a score is not a probability", "");
  }
  if (!enough) return conclude(GateVerdict::kReject, "too few frauds came to judge it by", "");
  const Figures old = measure(gate, champion, labels, weights);
  const Figures fresh = measure(gate, candidate, labels, weights);
  const learners::BootstrapResult bootstrap =
      learners::paired_bootstrap_ap(champion, candidate, labels, gate.bootstrap_rounds, seed, weights);
  const std::string figures =
      fmt::format(R"("champion":{},"candidate":{},"ap_gain":{:.6f},"win_probability":{:.4f},)", json(old),
                  json(fresh), bootstrap.mean_difference, bootstrap.win_probability);
  // Of few rows even a perfect model's figures scatter.
  const double scatter = (1 - asked.settled) * std::sqrt(0.25 / static_cast<double>(frauds));
  const double share = static_cast<double>(frauds) / static_cast<double>(labels.size());
  const double bin_scatter = (1 - asked.settled) * std::sqrt(share * (1 - share) * kCalibrationBins /
                                                             static_cast<double>(labels.size()));
  if (fresh.calibration_error > gate.calibration_error_max + bin_scatter) {
    return conclude(GateVerdict::kReject, "it is badly calibrated", figures);
  }
  if (fresh.log_loss > old.log_loss * gate.log_loss_ratio_max) {
    return conclude(GateVerdict::kReject, "its log loss is worse", figures);
  }
  if (fresh.recall < old.recall - gate.recall_loss_max - scatter) {
    return conclude(GateVerdict::kReject, "its recall at the false-positive budget is worse", figures);
  }
  const bool knows_more =
      standing.champion_learned || surely_knows_more(champion, candidate, labels, weights);
  if (bootstrap.win_probability >= gate.confidence && knows_more) {
    return conclude(GateVerdict::kAccept, "it has better average precision", figures);
  }
  if (last_chance && !knows_more)
    return conclude(GateVerdict::kReject, "it is not shown to know more than the share of frauds", figures);
  if (bootstrap.win_probability <= 1 - gate.confidence || last_chance) {
    return conclude(GateVerdict::kReject, "it does not have better average precision", figures);
  }
  return {};
}

}  // namespace shrike::engine
