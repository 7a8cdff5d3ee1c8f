// A/B test: a challenger answers a fixed share of the entities for as long as its declaration says, and one
// metric decides. Unlike a rollout, which compares two models on the same transactions, it compares what
// became of those that each of them answered: what a model's answers do to clicks, sales or reviews shows
// nowhere else. (What two scores would have decided is compared with far fewer transactions by a rollout.)
//
// Which entities are whose is Challenger's hash. A transaction counts once what is to come of it has come (of
// a label the maturity period, of a KPI its `within`), in slots of an hour or more. The test is looked at
// whenever a period closes:
//
//  - successful: the metric is shown to be better. The challenger becomes champion if the declaration says
//  so;
//    else that is for a person;
//  - failed: it is shown to be worse, a guard is (by more than is tolerated), or scores were no probability;
//  - inconclusive: the planned observations are there, or the longest duration is over, and nothing is shown;
//    or a person or another model ended it.
//
// The metric is judged by a test of planned length (planned_test.h), guards, whose end is not planned, by a
// mixture bound at the significance divided by their number; so looking does no harm. Beside that the report
// has the usual interval of two proportions (or means), which is for one look. The two arms' errors are those
// among entities (clustered_ratio.h), the challenger's at least the champion's of as many observations: few
// transactions may not show yet how they differ.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/lifecycle/ab_metrics.h"
#include "engine/lifecycle/ab_test_plan.h"
#include "engine/lifecycle/clustered_ratio.h"
#include "engine/lifecycle/monitor.h"

namespace shrike::engine {

// The sums of a metric by Arm.
using AbArms = std::array<ClusteredRatio, 2>;

// A metric in both arms, as far as it is known.
struct AbComparison {
  double champion = 0, challenger = 0;
  double champion_observations = 0, challenger_observations = 0;
  double champion_variance = 0, challenger_variance = 0;
  double difference() const { return challenger - champion; }
  double variance() const { return champion_variance + challenger_variance; }
};
// Nothing while there is too little of either arm to compare.
std::optional<AbComparison> compare(const AbArms& arms);

class AbTest : public Monitor {
 public:
  explicit AbTest(ConfigPtr config) : config_(std::move(config)) {}

  std::string_view name() const override { return "ab_test"; }
  void scored(const Scored& scored) override;
  void settled(const Settled& settled) override;
  void kpi(const KpiEvent& event) override;
  void model(const ModelEvent& event, const Fold& fold) override;
  void close(const Period& period, std::vector<JudgementEvent>& found) override;
  void judged(const JudgementEvent& event) override;
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

 private:
  // The test that is under way. Metrics: the declared one, then those of its guards.
  struct Running {
    std::string challenger, declaration;
    AbTestPlan plan;
    std::vector<AbMetric> metrics;
    int64_t slot_us = 0;
    uint64_t after = 0;                            // transactions after this event count
    int64_t since_us = INT64_MIN;                  // INT64_MIN before the first transaction
    std::vector<AbArms> known;                     // by metric: of slots whose transactions are of age,
    std::vector<int64_t> known_before_us;          // which are those that begin before this
    std::map<int64_t, std::vector<AbArms>> slots;  // the others, by their beginning
    uint64_t scored = 0, failures = 0;
  };
  // One that a person or another model ended, until that is told.
  struct Ended {
    std::string challenger, why, evidence;
  };

  bool begin(const std::string& challenger, const std::string& declaration);
  void add(size_t metric, int64_t time_us, Arm arm, uint64_t entity, const Contribution& one);
  void take_what_is_of_age(int64_t now_us);
  void end(const std::string& why);
  std::string failure() const;
  std::optional<JudgementEvent> verdict(int64_t now_us) const;
  std::string figures() const;
  nlohmann::json guard_json(size_t guard) const;
  nlohmann::json evidence_json() const;

  ConfigPtr config_;
  std::optional<Running> running_;
  std::optional<Ended> ended_;
};

}  // namespace shrike::engine
