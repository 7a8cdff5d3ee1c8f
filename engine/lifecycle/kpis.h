// The figures of each day that the champion answered: what A/B tests can be about (see ab_metrics.h), KPIs
// among them. A day is complete when what is to come of its transactions has come. From the last 7 complete
// days an A/B test is planned.
//
// A KPI with a `drop` is watched: an alert when it has worsened by that share of its baseline, on the newest
// complete day or on the newest three together, and by so much that chance does not explain it
// (performance.standard_errors). Critical at twice the drop, over within half of it. The baseline is the last
// 7 complete days when a model takes over, unless an alert is on, and at first the first 7. An alert ends as
// well, without being resolved, when a model has served for 7 complete days since: that is what the KPI is
// now, and the new baseline.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/lifecycle/ab_metrics.h"
#include "engine/lifecycle/clustered_ratio.h"
#include "engine/lifecycle/monitor.h"

namespace shrike::engine {

struct KpiBaseline {
  ClusteredRatio sums;
  int64_t last_day = 0;  // since 1970
};

struct KpiAlert {
  int64_t since_us = 0;
  bool critical = false;
  std::string text;
};

class Kpis : public Monitor {
 public:
  static constexpr int64_t kWeek = 7;

  explicit Kpis(ConfigPtr config);

  std::string_view name() const override { return "kpi"; }
  void scored(const Scored& scored) override;
  void settled(const Settled& settled) override;
  void kpi(const KpiEvent& event) override;
  void model(const ModelEvent& event, const Fold& fold) override;
  void close(const Period& period, std::vector<JudgementEvent>& found) override;
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

 private:
  using Sums = std::vector<ClusteredRatio>;  // by metric
  struct Watched {
    size_t metric;
    double drop;
    std::optional<KpiBaseline> baseline;
    bool renew = true;  // the baseline, at the next day
    std::optional<KpiAlert> alert;
  };
  struct Fall {
    ClusteredRatio now;
    int64_t days;
    double share;            // of the baseline by which it is worse
    double standard_errors;  // of the difference
  };

  Sums& day_of(int64_t time_us);
  static int64_t complete_day(const AbMetric& metric, int64_t now_us);
  // The sums of `days` days that end with `last`; nothing when one of them has none.
  std::optional<ClusteredRatio> days(size_t metric, int64_t last, int64_t days) const;
  std::optional<Fall> fall(const Watched& watched, int64_t last, int64_t days) const;
  void judge(Watched& watched, std::vector<JudgementEvent>& found);
  void raise(Watched& watched, const Fall& worst, std::vector<JudgementEvent>& found);
  void end(Watched& watched, Finding finding, std::string text, std::vector<JudgementEvent>& found);
  nlohmann::json metric_json(size_t metric) const;
  void forget();

  ConfigPtr config_;
  std::vector<AbMetric> metrics_;
  std::vector<Watched> watched_;
  std::map<int64_t, Sums> days_;  // since 1970
  std::pair<int64_t, Sums*> newest_day_{INT64_MIN, nullptr};
  int64_t now_us_ = INT64_MIN;
  int64_t took_over_us_ = INT64_MIN;  // the newest takeover
};

}  // namespace shrike::engine
