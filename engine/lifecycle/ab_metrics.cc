#include "engine/lifecycle/ab_metrics.h"

#include <algorithm>

#include "engine/fold/policy.h"
#include "learners/numeric/numeric.h"

namespace shrike::engine {
namespace {

using Kind = AbMetric::Kind;

double log_loss(float score, bool fraud) {
  constexpr double kScoreMin = 1e-6;
  const double p = std::clamp(static_cast<double>(score), kScoreMin, 1 - kScoreMin);
  return -learners::exact_log(fraud ? p : 1 - p);
}

Contribution with_verdict(const AbMetric& metric, const Answer& answer, bool fraud, double weight) {
  const bool declined = answer.wanted == Decision::kDecline;
  const auto share = [&](bool of, bool is) { return Contribution{of && is ? weight : 0, of ? weight : 0}; };
  switch (metric.kind) {
    case Kind::kRecall:
      return share(fraud, declined);
    case Kind::kPrecision:
      return share(declined, fraud);
    case Kind::kFalsePositives:
      return share(!fraud, declined);
    case Kind::kLogLoss:
      return {weight * log_loss(answer.score, fraud), weight};
    case Kind::kFraudRate:
    case Kind::kKpiOfLabel:
      return share(true, fraud);
    default:
      return {};
  }
}

}  // namespace

std::vector<AbMetric> ab_metrics(const Config& config) {
  const int64_t of_age_us = config.training.maturity_us;
  std::vector<AbMetric> metrics = {
      {Kind::kRecall, "recall", true, true, of_age_us},
      {Kind::kPrecision, "precision", true, true, of_age_us},
      {Kind::kFalsePositives, "false_positive_rate", false, true, of_age_us},
      {Kind::kLogLoss, "log_loss", false, false, of_age_us},
      {Kind::kFraudRate, "fraud_rate", false, true, of_age_us},
      {Kind::kDeclineRate, "decline_rate", false, true, 0},
      {Kind::kReviewRate, "review_rate", false, true, 0},
  };
  for (const KpiConfig& kpi : config.kpis) {
    const bool of_label = kpi.from == KpiConfig::From::kLabel;
    metrics.push_back({of_label ? Kind::kKpiOfLabel : Kind::kKpi, kpi.name, kpi.more_is_better,
                       kpi.kind == KpiConfig::Kind::kRate, kpi.within_us});
  }
  return metrics;
}

std::string hidden_from_tests(const Config& config, const AbMetric& metric) {
  const bool needs_declined = metric.kind == Kind::kRecall || metric.kind == Kind::kPrecision ||
                              metric.kind == Kind::kFalsePositives || metric.kind == Kind::kLogLoss;
  if (!needs_declined || !hides(config.policy, Decision::kDecline) || config.control.share > 0) return "";
  return "what is declined gets no verdict, so it cannot be seen; let a control group through "
         "(control.share), or choose fraud_rate, decline_rate or a KPI";
}

Contribution at_score(const AbMetric& metric, const Answer& answer) {
  if (answer.step == Step::kStatic) return {};
  switch (metric.kind) {
    case Kind::kDeclineRate:
      return {answer.wanted == Decision::kDecline ? 1.0 : 0.0, 1};
    case Kind::kReviewRate:
      return {answer.wanted == Decision::kReview ? 1.0 : 0.0, 1};
    case Kind::kKpi:
      return {0, 1};
    default:
      return {};
  }
}

// A verdict that changes takes back what it said before.
Contribution at_settling(const AbMetric& metric, const Settled& settled) {
  if (settled.answer.step == Step::kStatic) return {};
  const bool fraud = settled.verdict == Verdict::kFraud;
  Contribution now = with_verdict(metric, settled.answer, fraud, settled.weight);
  if (!settled.corrected) return now;
  const Contribution before = with_verdict(metric, settled.answer, !fraud, settled.weight);
  return {now.numerator - before.numerator, now.denominator - before.denominator};
}

Contribution at_kpi(const AbMetric& metric, const KpiEvent& event) {
  if (metric.kind != Kind::kKpi || metric.name != event.name || event.step == Step::kStatic ||
      event.time_us - event.transaction_us > metric.within_us)
    return {};
  return {event.value, 0};
}

}  // namespace shrike::engine
