// Thresholds that keep their promise: the decline threshold is moved so that the share of legitimate
// transactions that reach it stays at most thresholds.fpr, and the review threshold so that about
// reviews_per_day are reviewed, through swaps of models, whose scores mean something else at the same
// threshold.
//
// Or, where thresholds.aim is "cost", the decline threshold is where frauds that are let through (their
// amount) and legitimate transactions that are declined (thresholds.contact_cost each) are expected to cost
// least together, of the same traffic. What settled labels say it cost is in the evidence, with its interval.
//
// It looks at how the present champion scores the traffic of the last days, which needs no labels: of the
// transactions above a threshold, those expected to be legitimate are the sum of 1 - score. (Its scores of
// old labelled rows would not do: it has trained on them.) What matured labels say of the thresholds then in
// force corrects it by half, and is in the evidence of each move, with its interval.
//
// A challenger gets thresholds of its own, where it declines and reviews as many of the transactions that
// both have scored as the champion does: both are compared at the same number of alarms, and a challenger
// brings its thresholds along when it takes over.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "engine/lifecycle/monitor.h"

namespace shrike::engine {

class ThresholdMonitor : public Monitor {
 public:
  explicit ThresholdMonitor(ConfigPtr config);

  std::string_view name() const override { return "thresholds"; }
  void scored(const Scored& scored) override;
  void settled(const Settled& settled) override;
  void model(const ModelEvent& event, const Fold& fold) override;
  void close(const Period& period, std::vector<JudgementEvent>& found) override;
  void judged(const JudgementEvent& event) override;
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

 private:
  // Scores by their float's exponent and first mantissa bits: bins of 1/256 of their size.
  static constexpr size_t kBins = 20 * 256 + 1;
  static size_t bin_of(float score);
  static double lower_edge(size_t bin);

  // Of one day of matured labels, by inverse propensity: legitimate ones, and those of them that were above
  // the threshold.
  struct Matured {
    double legitimate = 0, alarms = 0;
    double settled = 0, cost = 0, cost_squares = 0;  // legitimate or fraud; by what was decided
  };
  static constexpr size_t kDays = 7;

  // Scores of a model's recent traffic by bin: days before today, older ones counted less, and today.
  struct Histogram {
    std::vector<double> recent = std::vector<double>(kBins), today = std::vector<double>(kBins);
    double at(size_t bin) const { return recent[bin] + today[bin]; }
    void end_day();
    // The lowest edge at and above which there are at most so many; nothing when the highest bin has more.
    std::optional<double> edge_of(double above) const;
  };
  // Beside the champion.
  struct Challenged {
    std::string hash;  // "" for none
    Histogram scores;
    Thresholds thresholds;
    bool learned = false;       // the thresholds
    uint64_t transactions = 0;  // that both scored
    // By the champion, of those in the histogram: declined, and declined or reviewed; before today and today.
    double declined = 0, alarms = 0, declined_today = 0, alarms_today = 0;
  };

  Matured matured() const;
  double correction() const;
  // The bin from which on is declined; kBins where that cannot be said.
  struct Aimed {
    size_t bin = kBins;
    double expected_fpr = 0;
    double expected_cost = 0;  // of a transaction; where that is the aim
  };
  Aimed aim_at_share() const;
  Aimed aim_at_cost() const;
  void move(const Period& period, std::vector<JudgementEvent>& found);
  void add_cost(const Matured& labels, const Aimed& aimed, JudgementEvent& judgement,
                nlohmann::json& evidence) const;
  void move_challenger(std::vector<JudgementEvent>& found);
  void note_challenger(const Scored& scored);
  bool moves(double from, double to) const;

  ConfigPtr config_;
  double review_, decline_;
  Histogram scores_;  // the champion's
  Histogram money_;   // amounts by the champion's score; where cost is the aim
  double days_ = 0;   // that scores_.recent stands for
  Challenged challenged_;
  uint64_t since_model_ = 0;  // transactions
  uint64_t since_move_ = 0;
  uint64_t learned_from_ = UINT64_MAX;    // sequence from which the thresholds in force were learned
  std::array<Matured, kDays> matured_{};  // a ring of the last days
  size_t day_ = 0;
};

}  // namespace shrike::engine
