// The engine's half of the fold over the log: features, labels, maturity, the serving model. The learner's
// half is trainer.h. State after event n is a function of events 1..n and the configuration: no clock, no
// thread, no file. The engine thread owns one; recovery, checkpoints and replays run their own.
//
// Call order for a transaction: admit(), fold(), then answer() once it is scored. The same functions serve
// live traffic and the log, so a replay cannot differ from what happened.
#pragma once

#include <bit>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/config/config.h"
#include "engine/fold/challenger.h"
#include "engine/fold/dropped.h"
#include "engine/fold/error.h"
#include "engine/fold/event.h"
#include "engine/fold/event_time.h"
#include "engine/fold/label_delay.h"
#include "engine/fold/pending.h"
#include "engine/fold/policy.h"
#include "engine/fold/watch.h"
#include "features/feature_store.h"
#include "learners/model.h"

namespace shrike::engine {

struct Example {
  Key transaction;  // what sampling may decide by: unlike a sequence number the same in every run
  Verdict verdict = Verdict::kUnknown;
  float weight = 1;            // how many transactions like it it stands for
  std::span<const float> row;  // valid during the call
};

// Where labelled examples go: a trainer, a queue to one, or nowhere.
class ExampleSink {
 public:
  virtual ~ExampleSink() = default;
  virtual void learn(const Example& example) = 0;
  // Every transaction as it enters, before any label.
  virtual void observe(const Key&, std::span<const float>) {}
};

// What learners know an example by: the same in every run over the same stream.
inline uint64_t example_key(const Key& transaction) { return features::mix(transaction); }

// At these numbers of transactions a trainer that has no model yet looks whether it can make one without
// labels: a thousand and its doubles, up to about a million.
inline bool is_cold_look(uint64_t transactions) {
  constexpr uint64_t kFirst = 1000;
  return transactions % kFirst == 0 && transactions <= (kFirst << 10) &&
         std::has_single_bit(transactions / kFirst);
}

// A transaction that the fold no longer holds in memory, from the log.
struct Recorded {
  uint64_t sequence = 0;
  TransactionEvent event;
  LabelState labels;
  bool expired = false;  // retention has taken the event; only its sequence number is known
};

class History {
 public:
  virtual ~History() = default;
  // Nothing when it is not in the log; an error when the log cannot be read.
  virtual Result<std::optional<Recorded>> find(const Key& transaction) = 0;
};

struct Counters {
  uint64_t transactions = 0, labels = 0, corrections = 0, orphans = 0, orphans_joined = 0,
           orphans_expired = 0, matured = 0, frauds = 0, accepted = 0, rejected = 0, activated = 0,
           pending_released_early = 0, ahead = 0, late = 0;
  uint64_t unknown = 0;   // transactions that came of age without having gone through, and without a verdict
  uint64_t controls = 0;  // let through as the control group
  uint64_t outcomes = 0;  // reported
  uint64_t kpis = 0;      // reported
  uint64_t judgements = 0;
  uint64_t retrained = 0;
  uint64_t spared = 0;  // legitimate examples that were not learned, since training was behind
};

struct LabelRequest {
  Key transaction;
  Verdict verdict = Verdict::kUnknown;
  Source source = Source::kAnalyst;
  std::optional<int64_t> time_us;  // the watermark when absent
};

struct OutcomeRequest {
  Key transaction;
  Outcome outcome = Outcome::kApproved;
  std::optional<int64_t> time_us;  // the watermark when absent
};

struct OutcomeResult {
  OutcomeEvent event;
  uint64_t sequence = 0;
  bool duplicate = false;  // it was reported before: nothing changed, and nothing is logged
  LabelState state;        // of the transaction, after it
};

struct KpiRequest {
  Key transaction;
  std::string name;
  double value = 0;
  std::optional<int64_t> time_us;  // the watermark when absent
};

struct KpiResult {
  KpiEvent event;
  uint64_t sequence = 0;
  bool duplicate = false;  // this KPI was reported of it before: nothing changed, and nothing is logged
  LabelState state;        // of the transaction, after it
};

struct LabelResult {
  LabelEvent event;
  uint64_t sequence = 0;  // of this label's event; of the first one's for a duplicate
  LabelState state;       // of the transaction, after this label
};

// A transaction's place: what answer() and label_state() need to find it without a search.
struct Folded {
  uint64_t sequence = 0;
  uint64_t position = 0;  // among the pending
  Clock clock = Clock::kOnTime;
};

// A model event with its model.
struct ModelChange {
  ModelEvent event;
  learners::ModelPtr model;
};

class Fold {
 public:
  // `keep_us`: how long a matured transaction stays in memory (0: not at all).
  Fold(ConfigPtr config, ExampleSink& examples, History* history, int64_t keep_us = 0);

  // From now on it is watched (see lifecycle/lifecycle.h); before the first event.
  void watch(std::unique_ptr<Watch> watch) { watch_ = std::move(watch); }

  // From now on examples go there: recovery feeds a trainer directly, a server its thread.
  void send_examples_to(ExampleSink& examples) { examples_sink_ = &examples; }

  const Config& config() const { return *config_; }
  uint64_t next_sequence() const { return next_sequence_; }
  // The newest event time that counts; INT64_MIN before the first transaction.
  int64_t watermark_us() const { return time_.watermark_us(); }
  const Counters& counters() const { return counters_; }

  // May this transaction enter? The earlier one's record when its id has been seen, an error when the id was
  // another transaction's (kConflict), nothing when it is new and welcome. Its time is no reason to refuse
  // it.
  Result<std::optional<Recorded>> admit(const Transaction& transaction);
  // How its time stands to the stream's.
  Clock judge(const Transaction& transaction, const ClockSource& source) const {
    return time_.judge(transaction, source);
  }
  // Whether what waits for its answer must get it before this transaction is folded: it would come of age.
  bool needs_answers(const Transaction& transaction) const;
  // Folds an admitted transaction and fills its feature row. One that is not on time gets the row that it
  // would have now, and changes nothing but what waits for its label.
  Folded fold(const Transaction& transaction, Clock clock, std::span<float> row);
  // Records what was answered to it. Nothing happens when it has left memory since.
  void answer(const Folded& folded, const Answer& answer);
  // What labels that came before it made of it; unknown when there were none. Belongs to its log record.
  LabelState label_state(const Folded& folded) const;

  // Folds a label. Duplicates change nothing and take no sequence number. What was folded before it is
  // answered by now; alike for the events that follow.
  Result<LabelResult> label(const LabelRequest& request);
  // A label as the log has it.
  Result<void> replay_label(const LabelEvent& event);
  // What became of a transaction. kNotFound when it is not known (any more).
  Result<OutcomeResult> outcome(const OutcomeRequest& request);
  Result<void> replay_outcome(const OutcomeEvent& event);
  // A figure of the business about a transaction; the first one of its name counts. kNotFound when the
  // transaction is not known (any more), kUnknownField when the configuration has no such KPI.
  Result<KpiResult> kpi(const KpiRequest& request);
  void replay_kpi(const KpiEvent& event);

  // The oldest judgement that was made and is not yet in the log: it is to enter it before anything else
  // does. Null for none, which is what it is before the newest transaction is answered.
  const JudgementEvent* next_judgement() const { return watch_ ? watch_->next() : nullptr; }
  // True once the transactions waiting for their answers end a period: they are to be answered now.
  bool closes_period() const { return close_at_ != 0; }
  // Where the monitors stand, as JSON text: an object by name, empty where nothing watches.
  std::string watch_report() const { return watch_ ? watch_->report() : "{}"; }
  // A judgement is in the log, and has its effect from now on, but for the change of models that the host is
  // to log next: see change_by().
  // kSample is the host's own, by how far training is behind: as an event it is a fact like all others.
  uint64_t judgement(const JudgementEvent& event);
  // The change of models that a judgement asks for: kRollBack, to an earlier champion or to the prior;
  // kPromote. Nothing when it asks for none, or the model is not there (any more).
  std::optional<ModelChange> change_by(const JudgementEvent& judgement) const;
  // A judgement that asks for a change which is not in the log: a server ended between the two.
  const std::optional<JudgementEvent>& change_awaited() const { return change_awaited_; }
  // Whether a monitor went back from it; until it is activated again.
  bool was_rolled_back(const std::string& hash) const;
  // The hash of the earlier champion, or prior, whose hash begins so; "" when none or several do.
  std::string earlier_champion(std::string_view prefix) const;
  // What the server measured of itself is in the log.
  uint64_t machine(const MachineEvent& event);

  // What judgements decided: the thresholds in force, whether candidates may take over, and whose labels are
  // kept without being learned from.
  const Thresholds& thresholds() const { return thresholds_; }
  bool training_held() const { return training_held_; }
  bool quarantined(Source source) const { return quarantined_[static_cast<size_t>(source)]; }
  // Columns that models see as missing: rows of fold() have them so, and examples, whenever theirs was
  // scored.
  const DroppedColumns& dropped() const { return dropped_; }
  // Of legitimate examples, that is learned; frauds are learned all. Less than 1 while training is behind.
  double sampled_share() const { return sampled_share_; }

  // What the gate decided, as it may enter the log: refused while training is held or a challenger is tried,
  // a challenger where there is a rollout.
  ModelEvent permitted(const ModelEvent& proposed) const;
  // The retraining that was asked for and has neither given a model nor come to nothing: the host's to do.
  struct Retraining {
    JudgementEvent asked;
    uint64_t sequence = 0;  // of the judgement: it learns from what the log has up to there
  };
  const std::optional<Retraining>& retraining() const { return retraining_; }

  // A model takes over or is tried, or a candidate was refused. `model` may be null for a refusal.
  uint64_t model(const ModelEvent& event, learners::ModelPtr model);
  // Event time was wrong: windows and waiting transactions forget what is dated after it.
  uint64_t repair(const RepairEvent& event);
  // Any other event takes a sequence number.
  uint64_t skip() { return next_sequence_++; }

  const learners::ModelPtr& champion() const { return champion_; }
  const std::string& prior_hash() const { return prior_.first; }
  bool has_served() const { return has_served_; }
  const Challenger& challenger() const { return challenger_; }
  // Who is to answer it.
  Arm arm(const Folded& folded) const;
  const std::string& champion_hash() const { return champion_hash_; }
  // Earlier champions, newest first, at most kFallbacksMax.
  const std::vector<std::pair<std::string, learners::ModelPtr>>& fallbacks() const { return fallbacks_; }

  uint64_t examples() const { return examples_; }
  // True once after the number of examples has passed a multiple of training.every, or that of transactions a
  // cold look: here a model may take over.
  bool take_boundary() { return std::exchange(boundary_, false); }
  // The sequence number of the newest transaction that left memory; 0 at first.
  uint64_t released() const { return released_; }
  // At a checkpoint, for retention: events so far came by `arrival_us` of the server's clock (none: the
  // stream's own time counts).
  void mark_epoch(std::optional<int64_t> arrival_us);
  // All events before this sequence are older than storage.retention, as known at checkpoints; 0 for none.
  uint64_t sequence_to_keep(std::optional<int64_t> now_us) const;

  std::vector<features::EntityStats> feature_stats() const { return features_.stats(); }
  size_t pending_size() const { return pending_.size(); }
  size_t pending_bytes() const { return pending_.bytes(); }

  // Named parts, each in pieces; restore() takes the same into a new fold of the same configuration.
  void save(const std::function<void(const char* part, std::string piece)>& sink) const;
  using ModelLoader = std::function<learners::ModelPtr(const std::string& hash)>;
  tl::expected<void, std::string> restore(const std::string& part, std::string_view piece,
                                          const ModelLoader& load);

  static constexpr size_t kFallbacksMax = 3, kRolledBackMax = 32;

 private:
  // In place of an event time while none is known.
  static constexpr int64_t kNotYet = INT64_MAX / 2;

  struct Orphan {
    Key transaction;
    Verdict verdict = Verdict::kUnknown;
    Source source = Source::kAnalyst;
    int64_t time_us = 0;
    int64_t until_us = 0;
    uint64_t sequence = 0;
  };

  // What was learned of a transaction has changed. Learned anew once it has had time to change back.
  struct Change {
    Key transaction;
    Verdict learned, current;
    float weight;
    std::vector<float> row;
  };
  void change(const Example& example, Verdict learned);
  // A transaction as labels see it: with its row, in memory or in the log's record.
  struct Labelling {
    LabelState& state;
    Pending::Entry* entry;  // null when it has left memory
    const Answer& answer;
    const features::Subject& subject;
    std::span<const float> row;
  };
  void settle_changes();
  bool counts(Source source, Verdict verdict) const;
  std::optional<Source> in_force(const LabelState& state) const;
  void decide(LabelState& state) const;
  bool silence_tells(const Answer& answer, const LabelState& state) const;
  Verdict known(const Labelling& of) const;
  void show(const Labelling& of);
  Example example(const Labelling& of, const Key& transaction, Verdict verdict) const;
  void trust(Source source, bool trusted, Suspended suspended);

  void begin_time();
  void step_back(int64_t watermark_us);
  void end_period(uint64_t sequence);
  void mature();
  void release();
  void come_of_age(Pending::Entry& entry);
  void emit(Example example);
  bool sampled(const Key& transaction) const;
  void settle(Pending::Entry& entry, Verdict verdict, Source source);
  uint64_t rollout_entity(const Pending::Entry& entry) const;
  Result<void> check_kpi(const KpiRequest& request) const;
  float weight_of(const Answer& answer) const;
  Result<std::optional<Recorded>> look_up(const Key& transaction);
  void apply_label(const Labelling& of, LabelEvent& event, uint64_t sequence);
  void apply_outcome(const Labelling& of, OutcomeEvent& event, uint64_t sequence);
  void show_or_hide(const features::Subject& subject, bool shown);
  void note_delay(const features::Subject& subject, const LabelEvent& event, const Answer& answer);
  bool learn_at_once(Source source) const;
  void join_orphans(Pending::Entry& entry);
  void keep_orphan(const LabelEvent& event, uint64_t sequence);
  void expire_orphans();
  const Orphan* find_orphan(const LabelRequest& request) const;
  Result<void> check_same(const Pending::Entry& entry, const Transaction& transaction);
  Result<void> check_same(const Recorded& before, const Transaction& transaction) const;
  const Pending::Entry* pending_entry(const Folded& folded) const;
  Orphan& orphan(uint64_t serial) { return orphans_[static_cast<size_t>(serial - first_orphan_)]; }
  const Orphan& orphan(uint64_t serial) const {
    return orphans_[static_cast<size_t>(serial - first_orphan_)];
  }
  void index_orphan();

  ConfigPtr config_;
  ExampleSink* examples_sink_;
  History* history_;
  int64_t keep_us_;
  features::FeatureStore features_;
  Pending pending_;
  features::Subject subject_;
  std::unique_ptr<Watch> watch_;
  Thresholds thresholds_;
  bool training_held_ = false;
  double sampled_share_ = 1;
  std::array<bool, kSources> quarantined_{};
  std::array<Suspended, kSources> suspended_{};  // while in quarantine
  DroppedColumns dropped_;
  std::vector<float> example_row_;  // of the example under way, where columns are dropped
  uint64_t close_at_ = 0;           // the transaction whose answer ends the period; 0: none does yet
  int64_t hour_ = INT64_MIN;        // of event time
  uint64_t next_sequence_ = 1;
  uint64_t next_mature_ = 0;  // position in pending_
  uint64_t released_ = 0;
  EventTime time_;
  bool silence_tells_;
  int silence_precedence_;
  LabelDelays delays_;
  double labels_recent_ = 0, transactions_recent_ = 0;  // decayed counts: how complete is the feedback?
  uint64_t examples_ = 0;
  bool boundary_ = false;
  Counters counters_;
  std::deque<Orphan> orphans_;  // oldest first; joined ones have sequence 0
  uint64_t first_orphan_ = 0;   // serial of the oldest
  std::unordered_map<Key, std::vector<uint64_t>, features::KeyHash>
      orphan_keys_;                            // serials of those that wait
  std::array<size_t, kSources> orphans_of_{};  // by source
  std::vector<Change> changes_;                // oldest first
  std::unordered_map<Key, size_t, features::KeyHash> change_of_;
  uint64_t settle_at_ = 0;  // the sequence number at which they are learned
  learners::ModelPtr champion_;
  std::string champion_hash_;
  std::pair<std::string, learners::ModelPtr> prior_;
  Challenger challenger_;
  bool has_served_ = false;  // a model that learned from labels, or that a person chose, has been champion
  std::optional<Retraining> retraining_;
  std::optional<JudgementEvent> change_awaited_;
  std::vector<std::pair<std::string, learners::ModelPtr>> fallbacks_;  // no model twice
  std::vector<std::string> rolled_back_;                               // oldest first, at most kRolledBackMax
  struct Epoch {
    uint64_t next_sequence;
    int64_t watermark_us;
    int64_t arrival_us;  // 0: not known
  };
  std::vector<Epoch> epochs_;
};

}  // namespace shrike::engine
