// Everything kept for one entity: its event ring, window cursors and accumulators. All sums are integers, so
// adding and removing never drifts and the order of arrival leaves no trace. Every state is a function of the
// ring and the base (what left the ring, for whole-history accumulators): rebuild() makes it anew from them,
// and rewind() goes back to where the ring ended earlier, which is how late events, saving and restoring stay
// exact. Owned by a FeatureStore; one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "features/growing.h"
#include "features/key.h"
#include "features/plan.h"
#include "features/ring.h"
#include "features/sketch.h"

namespace shrike::features {

// Event flags above the filter bits.
inline constexpr uint32_t kLabelHidden = 1u << 29;  // it did not go through: silence tells nothing
inline constexpr uint32_t kLabelKnown = 1u << 30;
inline constexpr uint32_t kLabelFraud = 1u << 31;

// kUnsure: somebody looked and could not tell; for features it is unknown, whatever its silence.
enum class Verdict : uint8_t { kUnknown, kLegitimate, kFraud, kUnsure };

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
struct SpreadState {
  double mean;
  double deviations;  // weighted sum of squares
  double weight;
  int64_t time_us;
};
struct SlopeState {  // times in milliseconds
  Int128 values;
  Int128 times;
  Int128 products;
  Int128 squares;  // of times
  int64_t n;
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
  // Drops events that no window needs at time `t_us`, and, above the bound, the oldest ones, so that there is
  // room for one more and `waiting` others. Returns how many of these were dropped early.
  size_t evict(const EntityPlan& plan, int64_t t_us, size_t waiting);
  // The event at `at` joins one accumulator. With `clip_anew`, a clipped value is computed from the present
  // state and stored; otherwise the stored one counts.
  void add(const Accumulator& accumulator, uint64_t at, bool clip_anew);
  // After the current event joined everything: windows without a delay now end at the ring's end.
  void close(const EntityPlan& plan);
  // Advances to the event's time, joins it to all accumulators, closes: for an event whose columns are
  // filled.
  void replay(const EntityPlan& plan, uint64_t at, bool clip_anew);
  // Cursors and accumulators as they were when the ring ended where it ends now.
  void rebuild(const EntityPlan& plan);
  // The same as if the ring ended at `end`, which is at most kRewindMax before its end: the events from there
  // on leave all accumulators, and what left windows since joins again. They stay in the ring; truncating it
  // is the caller's. Costs what the undone events cost to fold, whatever the ring's length; where a window's
  // extremum or newest fraud was among them, a search for the one before.
  void rewind(const EntityPlan& plan, uint64_t end);
  static constexpr size_t kRewindMax = 4096;
  // Marks the event with this sequence number; false when it has left the ring. `hidden`: it has no verdict,
  // and its silence tells nothing.
  bool label(const EntityPlan& plan, int64_t time_us, uint64_t sequence, Verdict verdict, bool hidden);

  template <typename State>
  const State& state(const Accumulator& accumulator) const {
    return *reinterpret_cast<const State*>(reinterpret_cast<const std::byte*>(block_.data()) +
                                           accumulator.offset);
  }
  const MonotonicDeque& deque(const Accumulator& a) const { return deques_[a.offset]; }
  // How many different values: exact in finite windows.
  double distinct(const Accumulator& a) const {
    return a.unbounded ? sketches_[a.offset].distinct() : static_cast<double>(maps_[a.offset].distinct());
  }
  // How many events have this value, in a finite window.
  int64_t count_of(const Accumulator& a, int64_t value) const { return maps_[a.offset].count(value); }
  const Frequencies& frequencies(const Accumulator& a) const { return frequencies_[a.offset]; }
  // The value, fixed point, below which lies this share of them; exact in finite windows. False without one.
  bool quantile(const Accumulator& a, double share, double& out) const;
  // Twice the median, exact in finite windows; false when there is no value.
  bool twice_median(const Accumulator& a, int64_t& out) const;
  // The run of frauds that ends the known labels: settled ones and those that arrived early.
  RunState run(const Accumulator& accumulator) const;
  // How many events after the newest known fraud are older than the delay of `settled`, but for hidden ones.
  uint64_t settled_since(const NewestState& newest, const Accumulator& settled) const {
    const uint64_t head = cursors_[settled.window].head;
    return head > newest.next ? head - newest.next - hidden_between(newest.next, head) : 0;
  }

  // A look at what the newest event would see, undone afterwards in a time that does not grow with the ring:
  // between the two only the newest event may join accumulators, and the cursors stay.
  void begin_trial(const EntityPlan& plan);
  bool on_trial() const { return trial_ != nullptr; }
  void end_trial(const EntityPlan& plan);

  // The base's bytes, for saving; plan.unbounded_bytes long. Then what sketches and samples keep of the
  // events that left the ring.
  std::byte* base() { return reinterpret_cast<std::byte*>(block_.data()) + base_offset_; }
  void save_sketches(std::string& out) const;
  bool restore_sketches(std::string_view bytes);
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
  // Accumulators over the whole history as they were when the ring ended at `end`: not all of them can be
  // undone, but events can join them again from here.
  struct Mark {
    uint64_t end;
    std::vector<Cursor> cursors;
    std::vector<Word> unbounded;
    std::vector<DistinctSketch> sketches;
    std::vector<ValueSample> samples;
  };

  std::byte* block() { return reinterpret_cast<std::byte*>(block_.data()); }
  void add_fixed(std::byte* block, const Accumulator& accumulator, uint64_t at, bool clip_anew);
  void remove(const Accumulator& accumulator, uint64_t at);
  void next_oldest(const Accumulator& accumulator, uint64_t left);
  void to_base(const Accumulator& accumulator, uint64_t at);
  bool passes(const Accumulator& accumulator, uint64_t at) const;
  int64_t counted_value(const Accumulator& accumulator, uint64_t at) const;
  uint64_t find(int64_t time_us, uint64_t sequence) const;
  void note_known(const EntityPlan& plan, uint64_t at, bool known);
  void trim_known(const EntityPlan& plan);
  void relabel(const Accumulator& accumulator, uint64_t at, uint32_t before, uint32_t after);
  uint64_t newest_fraud(const Accumulator& accumulator, uint64_t end) const;
  void keep_mark(const EntityPlan& plan, uint64_t end);
  Cursor cursor_at(const Window& window, uint64_t end) const;
  void take_back(const Accumulator& accumulator, const Cursor& undone);
  void take_back_extremum(const Accumulator& accumulator, const Cursor& undone);
  void join_again(const Accumulator& accumulator);
  void take_back_known(const EntityPlan& plan, const std::vector<Cursor>& undone, uint64_t end);
  void note_hidden(uint64_t at, bool hidden);
  uint64_t hidden_between(uint64_t from, uint64_t to) const;
  void settle_run(const Accumulator& accumulator, uint64_t changed);
  void read_run(const Accumulator& accumulator);

  std::vector<Word> block_;  // the fixed block, then the base copy of its unbounded part
  size_t base_offset_ = 0;
  std::vector<Cursor> cursors_;
  std::vector<MonotonicDeque> deques_;
  std::vector<CountMap> maps_;
  std::vector<SortedValues> sorted_;
  std::vector<Frequencies> frequencies_;
  std::vector<DistinctSketch> sketches_, base_sketches_;
  std::vector<ValueSample> samples_, base_samples_;
  std::vector<Mark>
      marks_;  // oldest first; the oldest at least kRewindMax before the ring's end, if any left
  // Positions of the events with a known label that no run has settled yet, ascending: a run need not walk
  // over the unlabelled ones.
  std::vector<uint64_t> known_;
  std::vector<uint64_t> hidden_;  // positions of hidden events, ascending
  struct Trial {
    std::vector<Word> block;
    std::vector<std::vector<uint64_t>> displaced;  // by deque
  };
  std::unique_ptr<Trial> trial_;
};

}  // namespace shrike::features
