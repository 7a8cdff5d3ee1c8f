// How well does the champion do? By event day of the transactions: what its scores expect (at once), and what
// settled labels say (when the day is mature). Judged at each new day of event time.
//
// The baseline is taken when a model takes over: the last 7 complete settled days, unless an alert is on,
// and later the champion's own first 7. "Complete" means older than the maturity period; what becomes known
// later still corrects a day. The figures of 7 days are those of their transactions together, and so the mean
// of the days by how many transactions each has. One that has dropped below the baseline by more than its
// threshold raises an alert, if the normal approximation leaves no doubt: the shortfall below the threshold
// must exceed config.performance.standard_errors of both weeks' errors together (see figures.h). An alert is
// told once, again should it become critical (twice the threshold), and ends within half the threshold.
//
// Where what is declined gets no verdict, settled labels say nothing of what the threshold decides: with
// fewer than config.performance.seen_min of the declines seen, nothing is judged, and the report says so.
// A canary's answers count with the score that the champion would have given.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/lifecycle/figures.h"
#include "engine/lifecycle/monitor.h"

namespace shrike::engine {

enum class Trend : uint8_t { kUnknown, kImproving, kStable, kDeclining };
std::string_view name(Trend trend);

// What the champion's figures are compared with.
struct PerformanceBaseline {
  SettledCounts counts;  // of its days together: a new threshold gives new figures
  std::array<double, kMetrics> error{};
  int64_t first_day = 0;
  bool first_week = false;  // the champion's own
};

class Performance : public Monitor {
 public:
  static constexpr int64_t kDaysKept = 60;  // and the maturity period
  static constexpr int64_t kWindow = 7, kTrendDays = 30;

  explicit Performance(ConfigPtr config);

  std::string_view name() const override { return "performance"; }
  void scored(const Scored& scored) override;
  void settled(const Settled& settled) override;
  void model(const ModelEvent& event, const Fold& fold) override;
  void close(const Period& period, std::vector<JudgementEvent>& found) override;
  void judged(const JudgementEvent& event) override;
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

  // A to F: critical alert F, alert D, a drop beyond its threshold that may be chance C, beyond half of it B.
  // ' ' while there is nothing to compare.
  char grade() const;
  Trend trend(Metric metric) const;

 private:
  struct Alert {
    bool critical = false;
    int64_t since_us = 0;
    double drop = 0;  // in per cent, when it was told
    std::string text;
  };
  struct EstimatedWeek {
    int64_t first_day = 0;
    double estimated = 0, realised = 0;  // AP
    double error() const { return estimated > realised ? estimated - realised : realised - estimated; }
  };
  struct Anomaly {
    int64_t day = 0;
    Metric metric{};
    double value = 0, z = 0;
  };
  // A metric of the last 7 complete days beside the baseline.
  struct Drop {
    double now = 0, before = 0;
    double percent = 0;
    double error_now = 0, error_before = 0;
    // Whether it is beyond `threshold` (in per cent) by so many standard errors.
    bool beyond(double threshold, double standard_errors) const;
  };

  bool has_week(int64_t last_day) const;  // of settled days that ends there
  std::vector<const SettledCounts*> week(int64_t last_day) const;
  double seen(int64_t last_day) const;
  bool is_judged(int64_t last_day) const;
  ScoredCounts scored_week(int64_t last_day) const;
  Figures baseline_figures() const;
  std::optional<Drop> drop(Metric metric, const Figures& now, const Figures& before) const;
  double threshold(Metric metric) const;
  std::vector<Figures> daily(int64_t last_day, int64_t days) const;
  int64_t first_kept() const;

  void set_threshold(double threshold);
  void step_back(int64_t today);
  void complete(int64_t day);
  void take_baseline(int64_t last_day, bool first_week);
  void compare_estimate(int64_t last_day);
  void find_anomalies(int64_t day);
  void judge(int64_t now_us, std::vector<JudgementEvent>& found);
  void forget();
  std::string evidence(Metric metric, const Drop& drop, const Figures& now) const;

  nlohmann::json alerts_json() const;
  nlohmann::json estimate_json() const;
  nlohmann::json trends_json() const;

  ConfigPtr config_;
  ScoreScale scale_;
  double next_threshold_;                     // from the next close on
  std::map<int64_t, SettledCounts> settled_;  // by day since 1970
  std::map<int64_t, ScoredCounts> scored_;
  std::optional<PerformanceBaseline> baseline_;
  bool took_over_ = false;             // since the last close
  bool waits_for_week_ = true;         // for the champion's own first 7 days
  int64_t champion_from_ = INT64_MIN;  // its first whole day; INT64_MIN before the first transaction
  int64_t today_ = INT64_MIN;
  int64_t complete_ = INT64_MIN;   // the newest day that is
  int64_t week_from_ = INT64_MIN;  // first day of the week whose estimate is compared next
  std::array<std::optional<Alert>, kMetricsAlerted> alerts_;
  std::deque<EstimatedWeek> weeks_;
  std::deque<Anomaly> anomalies_;
};

}  // namespace shrike::engine
