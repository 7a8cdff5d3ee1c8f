// Gate -> shadow -> canary -> champion. A challenger scores every transaction beside the champion, whoever
// answers, so both are compared on the same ones: a difference shows with a fraction of the labels that two
// groups of entities would need. What is compared, all by tests that may be looked at after every label (see
// sequential_test.h):
//
//  - at labels, each transaction once it is of age: verdicts that come sooner are those of what was reviewed,
//    which are like no others. Recall and false-positive rate of the policy's declines with each one's score,
//    and
//  log
//    loss. Where decisions hide labels each counts by the inverse of the chance that its like is seen: a
//    fraud that the champion declines and the challenger lets through shows only where the challenger
//    answers, or in the control group. With neither, recall cannot be judged in the shadow, and is not;
//  - at once: scores that are no probability; and whether it declines or reviews more transactions without a
//    proof that it catches more, which keeps it in the shadow and ends a canary.
//
// Neither fewer frauds caught nor more legitimate ones declined is harm while the other may pay for it: by
// the net benefit of the declines (Vickers & Elkin, "Decision curve analysis", 2006), in which the threshold
// t in force says that one fraud caught is worth (1 - t) / t legitimate ones declined.
//
// Each share of entities is held for rollout.step_min at least. It grows once the challenger is shown to be
// not worse than by the margins (successful; from the last share it becomes champion). It is gone as soon as
// it is shown to be worse in anything by more than half of the margin (failed), or when it was not shown to
// be good enough within rollout.step_max (inconclusive). A label that changes its mind counts as it was
// first.
//
// By hand: hold_rollout keeps the share (and still ends a challenger that fails), go_on_rollout, canary with
// a share, shadow, promote, abort.
#pragma once

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/fold/policy.h"
#include "engine/lifecycle/monitor.h"
#include "engine/lifecycle/sequential_test.h"

namespace shrike::engine {

class Rollout : public Monitor {
 public:
  explicit Rollout(ConfigPtr config);

  std::string_view name() const override { return "rollout"; }
  void scored(const Scored& scored) override;
  void settled(const Settled& settled) override;
  void model(const ModelEvent& event, const Fold& fold) override;
  void close(const Period& period, std::vector<JudgementEvent>& found) override;
  void judged(const JudgementEvent& event) override;
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

  enum class Compared : uint8_t { kRecall, kFalsePositives, kLogLoss, kNetBenefit };
  static constexpr size_t kCompared = 4;

 private:
  static constexpr size_t kBins = 10;  // of scores, for their distributions

  // What is known of a challenger.
  struct Evidence {
    std::array<PairedTest, kCompared> tests;
    MeanBets more_alarms;
    uint64_t scored = 0, failures = 0;
    uint64_t alarms_champion = 0, alarms_challenger = 0;
    double losses = 0, losses_weight = 0;  // the champion's log loss
    std::array<uint64_t, kBins> bins_champion{}, bins_challenger{};
  };

  // A transaction whose verdict is known, and what both said of it.
  struct Labelled {
    bool fraud, went_through;
    float champion, challenger;
    double amount;
  };
  void compare(uint64_t sequence, const Labelled& labelled);
  Decision decision(const Thresholds& thresholds, float score, double amount) const;
  double chance_seen(Decision decision, double amount) const;
  double share_at(uint64_t sequence) const;
  bool sees_recall() const;
  PairedTest& test(Compared what) { return evidence_.tests[static_cast<size_t>(what)]; }
  double margin(Compared what) const;
  double psi() const;
  const PairedTest& test(Compared what) const { return evidence_.tests[static_cast<size_t>(what)]; }
  bool pays() const;
  bool alarms_too_often() const;
  // Why it must go; "" when it need not.
  std::string failure() const;
  bool good_enough() const;
  std::string figures() const;
  nlohmann::json evidence_json() const;
  JudgementEvent next_step() const;
  void begin(uint64_t after);
  void begin_share(double share, int64_t now_us);

  ConfigPtr config_;
  Thresholds thresholds_, challenger_thresholds_;
  bool comparable_ = true;  // false: it has no thresholds of its own yet, and is to get some
  std::string challenger_;  // its hash; "" for none
  double share_ = 0;
  bool held_ = false;
  int64_t since_us_ = INT64_MIN;  // its present share; INT64_MIN before the first transaction
  uint64_t after_ = 0;            // transactions after this event count
  uint64_t answered_ = 0;         // by it, at its present share
  uint64_t newest_ = 0;           // transaction that was scored
  std::vector<std::pair<uint64_t, double>> shares_;  // after which event which share, oldest first
  Evidence evidence_;
  std::map<std::pair<int64_t, uint64_t>, Labelled> young_;  // by when it is of age, and sequence
};

}  // namespace shrike::engine
