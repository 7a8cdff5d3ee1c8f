#include "features/feature_store.h"

#include <cassert>
#include <cmath>
#include <limits>

#include "features/kind.h"

namespace shrike::features {

FeatureStore::FeatureStore(std::shared_ptr<const Plan> plan)
    : plan_(std::move(plan)),
      kinds_(plan_->entities.size()),
      current_(plan_->entities.size()),
      at_(plan_->entities.size()),
      times_(plan_->entities.size()),
      unseen_(plan_->entities.size()),
      machine_(plan_->program) {}

FeatureStore::~FeatureStore() = default;

void FeatureStore::apply(const Transaction& transaction, uint64_t sequence, std::span<float> row) {
  assert(row.size() == plan_->columns.size());
  newest_us_ = std::max(newest_us_, transaction.time_us);
  calendar_us_ = transaction.time_us;
  for (size_t e = 0; e < kinds_.size(); ++e) {
    const EntityPlan& plan = plan_->entities[e];
    if (plan.windows.empty()) continue;
    current_[e] = &prepare(kinds_[e], plan, plan_->entity_key(e, transaction), transaction.time_us, sequence);
    at_[e] = current_[e]->ring.end() - 1;
    times_[e] = current_[e]->ring.time(at_[e]);
  }
  machine_.load(transaction, plan_->schema.time, calendar_us_);
  for (const Instruction& instruction : plan_->instructions) execute(transaction, instruction);
  for (size_t e = 0; e < kinds_.size(); ++e) {
    const EntityPlan& plan = plan_->entities[e];
    if (plan.windows.empty()) continue;
    current_[e]->close(plan);
    put_back(kinds_[e], plan, *current_[e]);
  }
  fill(row);
}

void FeatureStore::fill(std::span<float> row) const {
  constexpr double kLargest = std::numeric_limits<float>::max();
  for (const Feature& feature : plan_->features) {
    if (feature.output < 0) continue;
    // Columns are floats, and none is infinite; NaN stays.
    const double value = machine_.number(feature.value);
    row[static_cast<size_t>(feature.output)] = static_cast<float>(value > kLargest    ? kLargest
                                                                  : value < -kLargest ? -kLargest
                                                                                      : value);
  }
}

// The entity's state, made when it is new, emptied when it was idle for too long.
EntityState& FeatureStore::arrive(Kind& kind, const EntityPlan& plan, const Key& key) {
  // Amortised expiry: each event may drop the two entities idle for longest.
  for (int i = 0; i < 2 && kind.oldest != KeyIndex::kNone; ++i) {
    const EntityState& idlest = *kind.states[kind.oldest];
    if (idlest.key == key || newest_us_ - idlest.last_time_us <= plan.idle_us) break;
    ++kind.forgotten_idle;
    forget(kind, kind.oldest);
  }
  const uint64_t slot = kind.index.find(key);
  if (slot == KeyIndex::kNone) return create(kind, plan, key);
  touch(kind, slot);
  return *kind.states[slot];
}

// The entity's state, with its cursors at time t_us and the event appended to its ring.
EntityState& FeatureStore::prepare(Kind& kind, const EntityPlan& plan, const Key& key, int64_t t_us,
                                   uint64_t sequence) {
  EntityState& state = arrive(kind, plan, key);
  if (state.last_time_us != INT64_MIN && t_us - state.last_time_us > plan.idle_us) {
    state.reset(plan);
    ++kind.forgotten_idle;
  }
  kind.set_aside.clear();
  if (!state.ring.empty() && t_us < state.ring.time(state.ring.end() - 1) &&
      !set_aside_after(kind, plan, state, t_us)) {
    t_us = state.ring.time(state.ring.end() - 1);
  }
  state.advance(plan, t_us, state.ring.end());
  kind.events_dropped_early += state.evict(plan, t_us, kind.set_aside.size() / state.ring.words());
  state.ring.append(t_us, sequence);
  state.last_time_us = t_us;
  return state;
}

// For a late event: those after it leave until it has joined. False, and nothing happens, when they are too
// many.
bool FeatureStore::set_aside_after(Kind& kind, const EntityPlan& plan, EntityState& state, int64_t t_us) {
  EventRing& ring = state.ring;
  uint64_t at = ring.end();
  while (at > ring.begin() && ring.time(at - 1) > t_us) {
    if (ring.end() - --at > kExactEvents) return false;
  }
  const size_t words = ring.words();
  kind.set_aside.resize(static_cast<size_t>(ring.end() - at) * words);
  for (uint64_t p = at; p < ring.end(); ++p) {
    ring.read(p, &kind.set_aside[static_cast<size_t>(p - at) * words]);
  }
  state.rewind(plan, at);
  ring.truncate(at);
  return true;
}

void FeatureStore::peek(const Transaction& transaction, int64_t now_us, bool clock_is_wrong,
                        std::span<float> row) {
  assert(row.size() == plan_->columns.size());
  calendar_us_ = clock_is_wrong ? now_us : transaction.time_us;
  for (size_t e = 0; e < kinds_.size(); ++e) {
    if (!plan_->entities[e].windows.empty()) peek_at(e, plan_->entity_key(e, transaction), now_us);
  }
  machine_.load(transaction, plan_->schema.time, calendar_us_);
  for (const Instruction& instruction : plan_->instructions) execute(transaction, instruction);
  for (size_t e = 0; e < kinds_.size(); ++e) {
    if (!plan_->entities[e].windows.empty()) end_peek(e);
  }
  fill(row);
}

// The entity with an event at now_us that only peek() sees.
void FeatureStore::peek_at(size_t entity, const Key& key, int64_t now_us) {
  Kind& kind = kinds_[entity];
  const EntityPlan& plan = plan_->entities[entity];
  const uint64_t slot = kind.index.find(key);
  EntityState* state = slot == KeyIndex::kNone ? nullptr : kind.states[slot].get();
  if (state == nullptr || (state->last_time_us < now_us && now_us - state->last_time_us > plan.idle_us)) {
    if (!unseen_[entity]) unseen_[entity] = std::make_unique<EntityState>(plan);
    state = unseen_[entity].get();
  }
  EventRing& ring = state->ring;
  const bool crowded = ring.size() > kExactEvents;
  if (crowded) {
    now_us = ring.time(ring.end() - 1);
    state->begin_trial(plan);
  } else {
    if (!ring.empty()) now_us = std::max(now_us, ring.time(ring.end() - 1));
    state->advance(plan, now_us, ring.end());
  }
  current_[entity] = state;
  at_[entity] = ring.append(now_us, 0);
  times_[entity] = now_us;
}

void FeatureStore::end_peek(size_t entity) {
  const EntityPlan& plan = plan_->entities[entity];
  EntityState& state = *current_[entity];
  if (state.on_trial()) {
    state.end_trial(plan);
  } else {
    state.ring.truncate(at_[entity]);
    state.rebuild(plan);
  }
}

// After a late event: the events set aside join again, in order.
void FeatureStore::put_back(Kind& kind, const EntityPlan& plan, EntityState& state) {
  const size_t words = state.ring.words();
  for (size_t i = 0; i < kind.set_aside.size(); i += words) {
    state.replay(plan, state.ring.append_words(&kind.set_aside[i]), true);
  }
}

EntityState& FeatureStore::create(Kind& kind, const EntityPlan& plan, const Key& key) {
  if (kind.index.size() >= plan.entities_max) {
    ++kind.forgotten_at_bound;
    forget(kind, kind.oldest);
  }
  uint64_t slot;
  if (kind.free.empty()) {
    slot = kind.states.size();
    kind.states.push_back(std::make_unique<EntityState>(plan));
  } else {
    slot = kind.free.back();
    kind.free.pop_back();
    kind.states[slot] = std::make_unique<EntityState>(plan);
  }
  EntityState& state = *kind.states[slot];
  state.key = key;
  kind.index.insert(key, slot);
  state.previous = kind.newest;
  state.next = KeyIndex::kNone;
  (kind.newest == KeyIndex::kNone ? kind.oldest : kind.states[kind.newest]->next) = slot;
  kind.newest = slot;
  return state;
}

void FeatureStore::forget(Kind& kind, uint64_t slot) {
  EntityState& state = *kind.states[slot];
  (state.previous == KeyIndex::kNone ? kind.oldest : kind.states[state.previous]->next) = state.next;
  (state.next == KeyIndex::kNone ? kind.newest : kind.states[state.next]->previous) = state.previous;
  kind.index.erase(state.key);
  kind.states[slot].reset();
  kind.free.push_back(slot);
}

void FeatureStore::touch(Kind& kind, uint64_t slot) {
  if (kind.newest == slot) return;
  EntityState& state = *kind.states[slot];
  (state.previous == KeyIndex::kNone ? kind.oldest : kind.states[state.previous]->next) = state.next;
  kind.states[state.next]->previous = state.previous;
  state.previous = kind.newest;
  state.next = KeyIndex::kNone;
  kind.states[kind.newest]->next = slot;
  kind.newest = slot;
}

void FeatureStore::forget_after(int64_t t_us) {
  newest_us_ = t_us;
  for (size_t e = 0; e < kinds_.size(); ++e) {
    for (const auto& state : kinds_[e].states) {
      if (!state || state->last_time_us <= t_us) continue;
      uint64_t at = state->ring.end();
      while (at > state->ring.begin() && state->ring.time(at - 1) > t_us) --at;
      state->ring.truncate(at);
      state->rebuild(plan_->entities[e]);
      state->last_time_us = t_us;
    }
  }
}

void FeatureStore::subject(const Transaction& transaction, uint64_t sequence, Subject& out) const {
  out.sequence = sequence;
  out.time_us = transaction.time_us;
  plan_->entity_keys(transaction, out.entities);
}

void FeatureStore::label(const Subject& subject, Verdict verdict, bool hidden) {
  for (size_t e = 0; e < kinds_.size(); ++e) {
    const EntityPlan& plan = plan_->entities[e];
    if (!plan.has_labels) continue;
    const uint64_t slot = kinds_[e].index.find(subject.entities[e]);
    if (slot != KeyIndex::kNone)
      kinds_[e].states[slot]->label(plan, subject.time_us, subject.sequence, verdict, hidden);
  }
}

std::vector<EntityStats> FeatureStore::stats() const {
  std::vector<EntityStats> all;
  for (size_t e = 0; e < kinds_.size(); ++e) {
    const Kind& kind = kinds_[e];
    EntityStats stats{.name = plan_->entities[e].name,
                      .entities = kind.index.size(),
                      .bytes = kind.index.bytes() + kind.states.capacity() * sizeof(void*),
                      .forgotten_idle = kind.forgotten_idle,
                      .forgotten_at_bound = kind.forgotten_at_bound,
                      .events_dropped_early = kind.events_dropped_early};
    for (const auto& state : kind.states) {
      if (!state) continue;
      stats.events += state->ring.size();
      stats.bytes += state->bytes();
    }
    all.push_back(std::move(stats));
  }
  return all;
}

}  // namespace shrike::features
