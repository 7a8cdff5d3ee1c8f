// Has what the engine sees changed since its model took over? Four answers, each its own subject: every
// feature column, the champion's "score", the rate of frauds among settled "labels", and the "concept", by
// the log loss of settled examples. All judged at the end of a day of event time.
//
// The reference of columns and labels is taken after a model took over, of whole days, and replaces the one
// before once it is complete; that of scores begins anew with each model. A shift is told when it is large as
// well as significant (the false discovery rate over columns is bounded, Benjamini and Hochberg, 1995), once,
// and again only after it had fallen below half the threshold, or after a new reference. Columns are compared
// weekday by weekday, and only where their windows had filled before the reference began.
//
// It tells and does nothing; what follows is the policy of others, who read its judgements.
#pragma once

#include <string>
#include <vector>

#include "engine/lifecycle/importance.h"
#include "engine/lifecycle/monitor.h"
#include "engine/lifecycle/shifts.h"
#include "learners/drift.h"

namespace shrike::engine {

class Drift : public Monitor {
 public:
  explicit Drift(ConfigPtr config);

  std::string_view name() const override { return "drift"; }
  void arrived(const Arrived& arrived) override;
  void scored(const Scored& scored) override;
  void settled(const Settled& settled) override;
  void model(const ModelEvent& event, const Fold& fold) override;
  void close(const Period& period, std::vector<JudgementEvent>& found) override;
  nlohmann::json report() const override;
  std::string save() const override;
  tl::expected<void, std::string> restore(std::string_view bytes) override;

  // What the columns that have drifted contribute to scores, of what all do.
  double share() const { return share_; }

 private:
  struct Alarm {
    bool on = false;
    int64_t since_us = 0;
    std::string evidence;  // of the newest comparison; "" before
  };
  // Settled examples, by weight: all, frauds, squared weights.
  struct Labels {
    double examples = 0, frauds = 0, squares = 0;
    Labels& operator+=(const Labels& other);
  };
  using Found = std::vector<JudgementEvent>;

  void judge_columns(int64_t now_us, Found& found);
  void judge_score(int64_t now_us, Found& found);
  void judge_labels(int64_t now_us, Found& found);
  void judge_loss(int64_t now_us, Found& found);
  void take_references(int64_t now_us, Found& found);
  void take_rate();
  void forget_losses();
  std::string subject(size_t alarm) const;
  void raise(size_t alarm, int64_t now_us, std::array<double, 2> values, std::string text, Found& found);
  void resolve(size_t alarm, std::string text, Found& found);
  std::string evidence(size_t alarm, const Shifts& shifts, size_t column, const Shifts::Shift& shift) const;

  ConfigPtr config_;
  std::vector<int64_t> settling_us_;  // by column
  int64_t begun_us_ = INT64_MIN;      // the first transaction
  Shifts inputs_, score_;
  Importance importance_;
  std::vector<bool> ready_;  // columns that are compared
  double share_ = 0;

  std::vector<Labels> label_days_;  // of the reference that is gathered
  Labels day_, window_;
  int64_t window_from_us_ = 0;  // of labels
  double rate_ = 0;             // of frauds in the reference; 0 without one
  double excess_ = 1;           // how much more it varies from day to day than chance would have it
  Labels reference_;

  learners::Adwin adwin_;
  double losses_ = 0, loss_sum_ = 0;  // all since the loss last fell: adwin_ and what it dropped
  bool loss_rose_ = false;

  std::vector<Alarm> alarms_;  // columns, then these
  size_t score_alarm_, labels_alarm_, concept_alarm_;
};

}  // namespace shrike::engine
