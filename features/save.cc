// Saving and restoring a FeatureStore. What is written is what cannot be derived: rings and bases.
#include <fmt/format.h>

#include <cstring>

#include "features/feature_store.h"
#include "features/kind.h"
#include "features/state.pb.h"

namespace shrike::features {
namespace {

constexpr uint32_t kVersion = 1;
constexpr size_t kPieceBytes = 2 << 20;

tl::unexpected<Error> damaged(std::string reason) {
  return tl::make_unexpected(Error{"feature state", std::move(reason)});
}

}  // namespace

void FeatureStore::save(const std::function<void(std::string)>& sink) const {
  for (size_t e = 0; e < kinds_.size(); ++e) {
    const Kind& kind = kinds_[e];
    proto::StatePiece piece;
    size_t bytes = 0;
    const auto flush = [&] {
      piece.set_version(kVersion);
      piece.set_plan(plan_->fingerprint);
      piece.set_kind(static_cast<uint32_t>(e));
      piece.set_newest_us(newest_us_);
      piece.set_forgotten_idle(kind.forgotten_idle);
      piece.set_forgotten_at_bound(kind.forgotten_at_bound);
      piece.set_events_dropped_early(kind.events_dropped_early);
      sink(piece.SerializeAsString());
      piece.Clear();
      bytes = 0;
    };
    for (uint64_t slot = kind.oldest; slot != KeyIndex::kNone; slot = kind.states[slot]->next) {
      EntityState& state = *kind.states[slot];
      proto::EntityRecord& record = *piece.add_entities();
      record.set_key_high(state.key.high);
      record.set_key_low(state.key.low);
      record.set_last_time_us(state.last_time_us);
      const size_t words = state.ring.words();
      std::vector<int64_t> events(state.ring.size() * words);
      for (uint64_t at = state.ring.begin(); at < state.ring.end(); ++at) {
        state.ring.read(at, &events[static_cast<size_t>(at - state.ring.begin()) * words]);
      }
      record.set_ring(events.data(), events.size() * sizeof(int64_t));
      record.set_base(state.base(), plan_->entities[e].unbounded_bytes);
      if (plan_->entities[e].sketches + plan_->entities[e].samples > 0)
        state.save_sketches(*record.mutable_sketches());
      bytes += record.ring().size() + record.base().size() + record.sketches().size() + 64;
      if (bytes > kPieceBytes) flush();
    }
    flush();
  }
}

Result<void> FeatureStore::restore(std::string_view bytes) {
  proto::StatePiece piece;
  if (!piece.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return damaged("not a piece of state");
  if (piece.version() > kVersion)
    return damaged(fmt::format("version {} is newer than {}", piece.version(), kVersion));
  if (piece.plan() != plan_->fingerprint) return damaged("it belongs to another schema or feature set");
  if (piece.kind() >= kinds_.size()) return damaged("it names an entity kind that does not exist");
  Kind& kind = kinds_[piece.kind()];
  const EntityPlan& plan = plan_->entities[piece.kind()];
  newest_us_ = piece.newest_us();
  kind.forgotten_idle = piece.forgotten_idle();
  kind.forgotten_at_bound = piece.forgotten_at_bound();
  kind.events_dropped_early = piece.events_dropped_early();
  for (const proto::EntityRecord& record : piece.entities()) {
    const Key key{record.key_high(), record.key_low()};
    if (kind.index.find(key) != KeyIndex::kNone) return damaged("an entity appears twice");
    EntityState fresh(plan);
    const size_t event_bytes = fresh.ring.words() * sizeof(int64_t);
    if (record.ring().size() % event_bytes != 0 || record.base().size() != plan.unbounded_bytes) {
      return damaged("an entity's state has the wrong size");
    }
    EntityState& state = create(kind, plan, key);
    std::vector<int64_t> words(fresh.ring.words());
    int64_t before = INT64_MIN;
    for (size_t at = 0; at < record.ring().size(); at += event_bytes) {
      std::memcpy(words.data(), record.ring().data() + at, event_bytes);
      if (words[0] < before) return damaged("an entity's events are out of order");
      before = words[0];
      state.ring.append_words(words.data());
    }
    if (plan.unbounded_bytes > 0) std::memcpy(state.base(), record.base().data(), plan.unbounded_bytes);
    if (!record.sketches().empty() && !state.restore_sketches(record.sketches()))
      return damaged("what an entity keeps of its whole history is not whole");
    state.rebuild(plan);
    state.last_time_us = record.last_time_us();
  }
  return {};
}

}  // namespace shrike::features
