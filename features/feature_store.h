// The feature half of the fold: the state of every entity, changed by transactions and labels in the order of
// the log, and the feature row of each transaction as it happens. The engine thread owns it (a second one
// runs in replays and checkpoints); no function may be called from two threads at once. State after n events
// is a function of those events and the plan.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "features/entity_state.h"
#include "features/plan.h"

namespace shrike::features {

// What a later label needs to find its transaction's events: filled by FeatureStore::subject().
struct Subject {
  uint64_t sequence = 0;
  int64_t time_us = 0;
  std::vector<Key> entities;  // by entity kind
};

struct EntityStats {
  std::string name;
  size_t entities = 0;
  size_t events = 0;
  size_t bytes = 0;
  uint64_t forgotten_idle = 0;
  uint64_t forgotten_at_bound = 0;
  uint64_t events_dropped_early = 0;
};

class FeatureStore {
 public:
  explicit FeatureStore(std::shared_ptr<const Plan> plan);
  ~FeatureStore();

  const Plan& plan() const { return *plan_; }

  // Folds one transaction and writes its features into `row` (plan().columns.size() floats; missing is NaN).
  // Events may come up to plan().lateness_us late: later events then see what they would have seen had all
  // come in order, except features of features, whose inputs stay as they were when answered.
  // Amortised O(1) in the length of windows. An event late for its own entity is put at its time when at most
  // kExactEvents of the entity's are newer, at the cost of undoing these and folding them again (see
  // EntityState::rewind()); later than that it joins as the newest event, at that one's time, in O(1).
  void apply(const Transaction& transaction, uint64_t sequence, std::span<float> row);
  static constexpr size_t kExactEvents = EntityState::kRewindMax;

  // The features that this transaction would have at event time `now_us`, folding nothing: for one whose own
  // time cannot be folded. Calendar features are those of its own time, or with `clock_is_wrong` of now_us.
  // O(ring) up to kExactEvents; an entity with more answers as of its newest event.
  void peek(const Transaction& transaction, int64_t now_us, bool clock_is_wrong, std::span<float> row);

  // Event time was wrong: events dated after `t_us` leave their rings, and time goes on from there. What they
  // made leave cannot come back.
  void forget_after(int64_t t_us);

  // Fills what label() needs for this transaction later.
  void subject(const Transaction& transaction, uint64_t sequence, Subject& out) const;

  // From now on features of labels see this verdict; kUnknown takes back what was seen.
  void label(const Subject& subject, Verdict verdict) { label(subject, verdict, false); }
  // It did not go through and has no verdict: it counts neither as fraud nor as legitimate, ends no run, and
  // is in no denominator of label rates.
  void hide(const Subject& subject) { label(subject, Verdict::kUnknown, true); }

  // Hands the state over in pieces of a few MiB each; restore() takes the same pieces in order, into a new
  // store with the same plan, and continues to the same bits. Damaged pieces are errors, never crashes.
  void save(const std::function<void(std::string)>& sink) const;
  Result<void> restore(std::string_view piece);

  // Walks every entity: O(entities).
  std::vector<EntityStats> stats() const;

 private:
  struct Kind;

  void label(const Subject& subject, Verdict verdict, bool hidden);
  EntityState& arrive(Kind& kind, const EntityPlan& plan, const Key& key);
  EntityState& prepare(Kind& kind, const EntityPlan& plan, const Key& key, int64_t t_us, uint64_t sequence);
  bool set_aside_after(Kind& kind, const EntityPlan& plan, EntityState& state, int64_t t_us);
  void peek_at(size_t entity, const Key& key, int64_t now_us);
  void end_peek(size_t entity);
  void fill(std::span<float> row) const;
  EntityState& create(Kind& kind, const EntityPlan& plan, const Key& key);
  void forget(Kind& kind, uint64_t slot);
  void touch(Kind& kind, uint64_t slot);
  void put_back(Kind& kind, const EntityPlan& plan, EntityState& state);
  void execute(const Transaction& transaction, const Instruction& instruction);
  double evaluate(const Transaction& transaction, const Feature& feature) const;
  Key identity(const Transaction& transaction, const Feature& feature) const;
  double over_entity(const Feature& feature) const;

  std::shared_ptr<const Plan> plan_;
  std::vector<Kind> kinds_;
  std::vector<EntityState*> current_;                 // by entity kind, during apply() and peek()
  std::vector<uint64_t> at_;                          // the current event's ring position, by entity kind
  std::vector<int64_t> times_;                        // and its time there
  int64_t calendar_us_ = 0;                           // its time as calendar features see it
  std::vector<std::unique_ptr<EntityState>> unseen_;  // for peek(): an entity without events, by kind
  Machine machine_;                                   // values of all features, during apply() and peek()
  int64_t newest_us_ = INT64_MIN;
};

}  // namespace shrike::features
