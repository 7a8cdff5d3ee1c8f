// Back to an earlier champion when the present one does harm. What asks for it:
//
//  - answers without a probability of the champion's: their share in a period above rollback.failures;
//  - a takeover: whoever decided it, the new champion is compared with the earlier ones at once;
//  - a critical judgement of the monitors "performance" and "machine".
//
// Then the champion and the earlier ones score the newest labelled transactions again, now: it goes to the
// best of them if that is better by rollback.gain_min. The composite is half average precision, half the
// share of log loss that the scores take off that of the base rate: a model that ranks well and is
// miscalibrated pays. Chance alone must not explain it either (paired bootstrap of average precision). The
// rows are what a newer model may have trained on, which favours the present one: this finds harm, not the
// last percent. Where decisions hide labels, they are above all what the present one has missed: at an alert
// it is compared only if some of what it would have declined got a verdict, of the control group. Models that
// knew no labels are gone back to only when answers fail. With no earlier one that gives probabilities, it
// goes to the prior, whose answer is the policy's for the prior probability.
//
// It does not flap: a model that was rolled back from comes back by hand only, and after one rollback the
// next waits for rollback.cooldown, unless answers fail.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "engine/lifecycle/monitor.h"

namespace shrike::engine {

class Rollback : public Monitor {
 public:
  explicit Rollback(ConfigPtr config);

  std::string_view name() const override { return "rollback"; }
  void scored(const Scored& scored) override;
  void settled(const Settled& settled) override;
  void model(const ModelEvent& event, const Fold& fold) override;
  void close(const Period& period, std::vector<JudgementEvent>& found) override;
  void judged(const JudgementEvent& event) override;
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

 private:
  struct Row {
    std::vector<float> row;
    float weight;
    uint64_t legitimate;  // settled before it
    bool declined;        // or would have been, but for the control group
  };
  // A model on the rows that are kept.
  struct Standing {
    std::string hash;
    double composite = 0, average_precision = 0, log_loss = 0;
    bool gives_probabilities = true;
    std::vector<float> scores;
  };

  // The rows that are kept, frauds first.
  struct Sample {
    std::vector<float> rows, weights;
    std::vector<uint8_t> labels;
  };
  Sample sample() const;
  Standing standing(const std::string& hash, const learners::Model& model, const Sample& sample) const;
  bool sees_its_declines() const;
  bool enough() const;
  void trim();
  bool banned(const std::string& hash) const;
  void compare(const Period& period, const std::string& why, bool failing,
               std::vector<JudgementEvent>& found);

  ConfigPtr config_;
  std::deque<Row> frauds_, legitimate_;
  uint64_t legitimate_settled_ = 0;
  uint64_t answers_ = 0, failures_ = 0;  // in this period
  std::string why_;                      // a comparison is asked for; "" when none is
  std::string champion_;                 // "" before the first takeover
  int64_t last_us_ = INT64_MIN;          // rollback
  std::vector<std::string> banned_;      // models rolled back from, oldest first
  std::vector<std::string> unlabelled_;  // models that knew no labels, alike
};

}  // namespace shrike::engine
