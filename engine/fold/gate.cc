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

}  // namespace

GateResult judge(const GateConfig& gate, std::span<const float> champion, std::span<const float> candidate,
                 std::span<const uint8_t> labels, std::span<const float> weights, uint64_t seed) {
  const auto frauds = static_cast<uint64_t>(std::count(labels.begin(), labels.end(), uint8_t{1}));
  // Where frauds are rare the trial waits for them, not for rows; memory bounds it.
  const bool given_up = labels.size() >= kPatience * gate.examples_max;
  const bool last_chance = given_up || (labels.size() >= gate.examples_max && frauds >= 2 * gate.frauds_min);
  const bool enough =
      labels.size() >= gate.examples_min && frauds >= gate.frauds_min && frauds < labels.size();
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
  if (fresh.calibration_error > gate.calibration_error_max) {
    return conclude(GateVerdict::kReject, "it is badly calibrated", figures);
  }
  if (fresh.log_loss > old.log_loss * gate.log_loss_ratio_max) {
    return conclude(GateVerdict::kReject, "its log loss is worse", figures);
  }
  if (fresh.recall < old.recall - gate.recall_loss_max) {
    return conclude(GateVerdict::kReject, "its recall at the false-positive budget is worse", figures);
  }
  if (bootstrap.win_probability >= gate.confidence) {
    return conclude(GateVerdict::kAccept, "it has better average precision", figures);
  }
  if (bootstrap.win_probability <= 1 - gate.confidence || last_chance) {
    return conclude(GateVerdict::kReject, "it does not have better average precision", figures);
  }
  return {};
}

}  // namespace shrike::engine
