// Everything kept for one entity: its event ring, window cursors and accumulators. All sums are integers, so
// adding and removing never drifts and the order of arrival leaves no trace. Every state is a function of the
// ring and the base (what left the ring, for whole-history accumulators): rebuild() makes it anew from them,
// which is how late events, saving and restoring stay exact. Owned by a FeatureStore; one thread.
#pragma once

#include <cstdint>
#include <vector>

#include "features/growing.h"
#include "features/key.h"
#include "features/plan.h"
#include "features/ring.h"

namespace shrike::features {

// Event flags above the filter bits.
inline constexpr uint32_t kLabelKnown = 1u << 30;
inline constexpr uint32_t kLabelFraud = 1u << 31;

enum class Verdict : uint8_t { kUnknown, kLegitimate, kFraud };

__extension__ typedef __int128 Int128;

// The fixed-size accumulators as they lie in the block (see plan.h for sizes and meaning).
struct CountState {
  int64_t n;
};
struct MomentsState {
  Int128 sum;
  int64_t n;
};
struct Moments2State {
  Int128 sum;
  int64_t n;
  int64_t unused;
  Int128 squares;
};
struct LastState {
  int64_t value;
  int64_t time_us;
  int64_t present;
};
struct DecayedState {
  double sum;
  double weight;
  int64_t time_us;
};
struct NewestState {
  uint64_t next;  // ring position plus 1; 0 for none
};
struct OldestState {
  uint64_t next;  // ring position plus 1; 0 for none
};
struct RunState {
  int64_t length;
  int64_t since_us;
  int64_t before_us;  // of the newest legitimate event
  int64_t has_before;
};
struct ExtremumState {
  int64_t value;
  int64_t present;
};

class EntityState {
 public:
  explicit EntityState(const EntityPlan& plan);

  // As if it had never seen an event; its key is the caller's to set.
  void reset(const EntityPlan& plan);

  // The window cursors move to event time `t_us`: delayed events enter, old ones leave. Only events before
  // position `limit` are looked at.
  void advance(const EntityPlan& plan, int64_t t_us, uint64_t limit);
  // Drops events that no window needs at time `t_us`, and, above the bound, the oldest ones. Returns how many
  // of these were dropped early.
  size_t evict(const EntityPlan& plan, int64_t t_us);
  // The event at `at` joins one accumulator. With `clip_anew`, a clipped value is computed from the present
  // state and stored; otherwise the stored one counts.
  void add(const EntityPlan& plan, const Accumulator& accumulator, uint64_t at, bool clip_anew);
  // After the current event joined everything: windows without a delay now end at the ring's end.
  void close(const EntityPlan& plan);
  // Advances to the event's time, joins it to all accumulators, closes: for an event whose columns are
  // filled.
  void replay(const EntityPlan& plan, uint64_t at, bool clip_anew);
  // Cursors and accumulators as they were when the ring ended where it ends now.
  void rebuild(const EntityPlan& plan);
  // Marks the event with this sequence number; false when it has left the ring.
  bool label(const EntityPlan& plan, int64_t time_us, uint64_t sequence, Verdict verdict);

  template <typename State>
  const State& state(const Accumulator& accumulator) const {
    return *reinterpret_cast<const State*>(reinterpret_cast<const std::byte*>(block_.data()) +
                                           accumulator.offset);
  }
  const MonotonicDeque& deque(const Accumulator& a) const { return deques_[a.offset]; }
  const CountMap& map(const Accumulator& a) const { return maps_[a.offset]; }
  const SortedValues& sorted(const Accumulator& a) const { return sorted_[a.offset]; }
  // The run of frauds that ends the known labels: settled ones and those that arrived early.
  RunState run(const EntityPlan& plan, const Accumulator& accumulator) const;
  // How many events after the newest known fraud are older than the delay of `settled`.
  uint64_t settled_since(const NewestState& newest, const Accumulator& settled) const {
    const uint64_t head = cursors_[settled.slot].head;
    return head > newest.next ? head - newest.next : 0;
  }

  // The base's bytes, for saving; plan.unbounded_bytes long.
  std::byte* base() { return reinterpret_cast<std::byte*>(block_.data()) + base_offset_; }
  size_t bytes() const;

  Key key;
  int64_t last_time_us = INT64_MIN;
  uint64_t previous = KeyIndex::kNone, next = KeyIndex::kNone;  // by last use
  EventRing ring;

 private:
  struct Cursor {
    uint64_t tail = 0;  // first event in the window
    uint64_t head = 0;  // first event not yet in it
  };
  struct alignas(16) Word {
    std::byte bytes[16];
  };

  void add_fixed(std::byte* block, const Accumulator& accumulator, uint64_t at, bool clip_anew);
  void remove(const Accumulator& accumulator, uint64_t at);
  bool passes(const Accumulator& accumulator, uint64_t at) const;
  int64_t counted_value(const Accumulator& accumulator, uint64_t at) const;

  std::vector<Word> block_;  // the fixed block, then the base copy of its unbounded part
  size_t base_offset_ = 0;
  std::vector<Cursor> cursors_;
  std::vector<MonotonicDeque> deques_;
  std::vector<CountMap> maps_;
  std::vector<SortedValues> sorted_;
};

}  // namespace shrike::features
