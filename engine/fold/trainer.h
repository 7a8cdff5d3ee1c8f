// The learner's half of the fold: learns from every labelled example in order, takes a candidate from the
// learner at fixed example counts, tries it on the examples that follow (which neither it nor the champion
// has trained on), and proposes what the gate decided. State after example k and the model events before it
// is a function of them: the thread it runs on, and when, leave no trace. One owner; training_thread.h runs
// one beside the engine thread.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/fold/fold.h"
#include "engine/fold/gate.h"
#include "learners/learner.h"

namespace shrike::engine {

// A verdict of the gate that is to become an event.
struct Proposal {
  uint64_t serial = 0;  // of this trainer's proposals, from 1
  ModelEvent event;
  learners::ModelPtr model;
  std::string bytes;  // serialised
};

// Told around every batch that the learner learns, on the trainer's thread: for measuring, since the fold has
// no clock.
class LearningWatch {
 public:
  virtual ~LearningWatch() = default;
  virtual void begin() = 0;
  virtual void end(size_t examples) = 0;
};

class Trainer : public ExampleSink {
 public:
  explicit Trainer(ConfigPtr config);
  ~Trainer() override;

  // At multiples of training.every, and sooner while examples are few (learners/widening.h), it looks at the
  // candidate; a proposal may follow.
  void learn(const Example& example) override;
  // For learners that need no labels. While no model has ever served, at each cold look (see fold.h) what
  // they make of it is proposed, without a gate: there are no labels to judge by.
  void observe(const Key& transaction, std::span<const float> row) override;
  bool observes() const { return learner_->observes(); }
  // Threads to learn on; see learners/workers.h.
  void use(learners::Workers* workers);
  // A model event entered the log, of this model (null for a refused one). One that answers the outstanding
  // proposal ends it; a new champion restarts the trial of a candidate. From a model made elsewhere that an
  // operator activates, the learner goes on if it can. What was retrained is the next candidate.
  void model_event(const ModelEvent& event, learners::ModelPtr model);
  // The outstanding proposal: repeated until model_event() answers it.
  const std::optional<Proposal>& proposal() const { return proposal_; }

  uint64_t examples() const { return examples_; }
  uint64_t frauds() const { return frauds_; }
  // Of the trial under way, which waits for what trial_asks(); 0 without one.
  uint64_t trial_examples() const { return trial_.labels.size(); }
  uint64_t trial_frauds() const { return trial_.frauds; }
  Demands trial_asks() const { return demands(config_->gate, standing()); }
  bool on_trial() const { return candidate_ != nullptr; }
  // See Learner::waits_for(); every example so far counts.
  std::string learner_waits_for() {
    flush();
    return learner_->waits_for();
  }
  size_t state_bytes() const { return learner_->state_bytes(); }
  // Null: nobody watches. It outlives the trainer.
  void watch(LearningWatch* watch) { watch_ = watch; }

  std::string save();
  tl::expected<void, std::string> restore(std::string_view bytes);

 private:
  struct Trial {
    std::vector<uint8_t> labels;
    std::vector<float> champion, candidate, weights;
    uint64_t frauds = 0;
    void clear() { labels.clear(), champion.clear(), candidate.clear(), weights.clear(), frauds = 0; }
  };

  void flush();
  void flush_observed();
  void look();
  void take_candidate();
  void look_cold();
  void propose(ModelAction action, std::string report);
  void try_retrained();
  TrialStanding standing() const {
    return {champion_examples_, served_, std::max<uint64_t>(candidate_at_, 1)};
  }

  ConfigPtr config_;
  std::unique_ptr<learners::Learner> learner_;
  learners::Workers* workers_ = nullptr;
  uint64_t examples_ = 0, frauds_ = 0, observed_ = 0;
  bool served_ = false;  // a model that learned from labels has been champion
  learners::ModelPtr champion_;
  std::optional<uint64_t> champion_examples_ = 0;  // at its snapshot; none: it was made elsewhere
  learners::ModelPtr candidate_;
  learners::ModelPtr retrained_;  // waits until the proposal before it is answered
  uint64_t candidate_at_ = 0;     // examples at its snapshot; 0 for one made without labels
  Trial trial_;
  uint64_t next_judgement_ = 0;  // length of the trial at which the gate looks again
  std::optional<Proposal> proposal_;
  uint64_t proposals_ = 0;
  // Examples not yet given to the learner: fewer than kBatch, never across a look.
  std::vector<float> rows_, labels_, weights_;
  std::vector<uint64_t> keys_;
  // Transactions not yet observed by it, alike.
  std::vector<float> observed_rows_;
  std::vector<uint64_t> observed_keys_;
  LearningWatch* watch_ = nullptr;
};

}  // namespace shrike::engine
