#include "features/entity_state.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "features/numeric.h"
#include "features/plan_layout.h"

namespace shrike::features {
namespace {

constexpr int64_t kClipFrom = 3;  // values before clipping begins
constexpr double kLn2 = 0.693147180559945309417;

template <typename State>
State& at_offset(std::byte* block, const Accumulator& accumulator) {
  return *reinterpret_cast<State*>(block + accumulator.offset);
}

// Bounded, so that sums over the longest ring fit 128 bits: the year 2248.
int64_t milliseconds(int64_t t_us) {
  constexpr int64_t kLatest = int64_t{1} << 43;
  return std::clamp(t_us / 1000, -kLatest, kLatest);
}

// An event joins the sums of a slope, or leaves them (`sign` -1).
void sum_up(SlopeState& slope, int64_t value, int64_t t_us, int sign) {
  const int64_t t_ms = milliseconds(t_us);
  slope.n += sign;
  slope.values += sign * static_cast<Int128>(value);
  slope.times += sign * static_cast<Int128>(t_ms);
  slope.products += sign * static_cast<Int128>(value) * t_ms;
  slope.squares += sign * static_cast<Int128>(t_ms) * t_ms;
}

// By West's update of a weighted mean (CACM 1979), after the weights of before have faded: nothing cancels.
void join_spread(SpreadState& spread, double value, int64_t t_us, double half_life_us) {
  const double age = static_cast<double>(t_us - spread.time_us);
  const double fade = spread.weight == 0 ? 0 : exact_exp(-kLn2 * age / half_life_us);
  const double weight = spread.weight * fade + 1;
  const double delta = value - spread.mean;
  const double mean = spread.weight == 0 ? value : spread.mean + delta / weight;
  const double deviations = spread.weight == 0 ? 0 : spread.deviations * fade + delta * (value - mean);
  spread = {mean, deviations, weight, t_us};
}

// What the clipped mean lets in of `value`, given what it holds.
int64_t clip(const MomentsState& moments, int64_t value, double factor) {
  if (moments.n < kClipFrom) return value;
  const double limit = static_cast<double>(moments.sum) / static_cast<double>(moments.n) * factor;
  if (!(limit > 0) || static_cast<double>(value) <= limit) return value;
  return static_cast<int64_t>(std::floor(limit + 0.5));
}

}  // namespace

EntityState::EntityState(const EntityPlan& plan)
    : ring(plan.column_scales.size(), plan.has_labels, plan.has_flags),
      block_((plan.fixed_bytes + plan.unbounded_bytes) / sizeof(Word)),
      base_offset_(plan.fixed_bytes),
      cursors_(plan.windows.size()),
      deques_(plan.deques),
      maps_(plan.maps),
      sorted_(plan.sorted),
      frequencies_(plan.frequencies),
      sketches_(plan.sketches),
      base_sketches_(plan.sketches),
      samples_(plan.samples),
      base_samples_(plan.samples) {}

void EntityState::reset(const EntityPlan& plan) {
  ring.clear();
  if (!block_.empty()) std::memset(static_cast<void*>(block_.data()), 0, block_.size() * sizeof(Word));
  for (DistinctSketch& sketch : base_sketches_) sketch.clear();
  for (ValueSample& sample : base_samples_) sample.clear();
  last_time_us = INT64_MIN;
  rebuild(plan);
}

bool EntityState::passes(const Accumulator& accumulator, uint64_t at) const {
  if (accumulator.filter >= 0 && (ring.flags(at) >> accumulator.filter & 1) == 0) return false;
  return accumulator.column < 0 || ring.value(static_cast<size_t>(accumulator.column), at) != kMissing;
}

int64_t EntityState::counted_value(const Accumulator& accumulator, uint64_t at) const {
  const int16_t column = accumulator.clipped_column >= 0 ? accumulator.clipped_column : accumulator.column;
  return column < 0 ? 0 : ring.value(static_cast<size_t>(column), at);
}

void EntityState::add_fixed(std::byte* block, const Accumulator& accumulator, uint64_t at, bool clip_anew) {
  using enum AccumulatorKind;
  if (accumulator.kind == kClipped && clip_anew) {
    const int64_t raw = ring.value(static_cast<size_t>(accumulator.column), at);
    ring.set_value(static_cast<size_t>(accumulator.clipped_column), at,
                   clip(at_offset<MomentsState>(block, accumulator), raw, accumulator.parameter));
  }
  const int64_t value = counted_value(accumulator, at);
  switch (accumulator.kind) {
    case kCount:
      ++at_offset<CountState>(block, accumulator).n;
      break;
    case kLabels:
      at_offset<CountState>(block, accumulator).n += (ring.flags(at) & kLabelFraud) != 0;
      break;
    case kTold:
      at_offset<CountState>(block, accumulator).n += (ring.flags(at) & kLabelHidden) == 0;
      break;
    case kNewestFraud:
      if ((ring.flags(at) & kLabelFraud) != 0) at_offset<NewestState>(block, accumulator).next = at + 1;
      break;
    case kMoments:
    case kClipped: {
      auto& moments = at_offset<MomentsState>(block, accumulator);
      moments.sum += value;
      ++moments.n;
      break;
    }
    case kMoments2: {
      auto& moments = at_offset<Moments2State>(block, accumulator);
      moments.sum += value;
      ++moments.n;
      moments.squares += static_cast<Int128>(value) * value;
      break;
    }
    case kLast:
      at_offset<LastState>(block, accumulator) = {value, ring.time(at), 1};
      break;
    case kDecayed: {
      auto& decayed = at_offset<DecayedState>(block, accumulator);
      const int64_t t_us = ring.time(at);
      const double fade =
          decayed.weight == 0
              ? 0
              : exact_exp(-kLn2 * static_cast<double>(t_us - decayed.time_us) / accumulator.parameter);
      decayed = {decayed.sum * fade + static_cast<double>(value) / accumulator.scale,
                 decayed.weight * fade + 1, t_us};
      break;
    }
    case kSpread:
      join_spread(at_offset<SpreadState>(block, accumulator), static_cast<double>(value) / accumulator.scale,
                  ring.time(at), accumulator.parameter);
      break;
    case kSlope:
      sum_up(at_offset<SlopeState>(block, accumulator), value, ring.time(at), 1);
      break;
    case kRun: {
      auto& run = at_offset<RunState>(block, accumulator);
      if ((ring.flags(at) & kLabelHidden) != 0) break;
      if ((ring.flags(at) & kLabelFraud) == 0) {
        run = {0, 0, ring.time(at), 1};
      } else {
        if (run.length == 0) run.since_us = ring.time(at);
        ++run.length;
      }
      break;
    }
    case kOldest: {
      auto& oldest = at_offset<OldestState>(block, accumulator);
      if (oldest.next == 0) oldest.next = at + 1;
      break;
    }
    case kMinimum:
    case kMaximum: {
      auto& extremum = at_offset<ExtremumState>(block, accumulator);
      const bool better = accumulator.kind == kMinimum ? value < extremum.value : value > extremum.value;
      if (extremum.present == 0 || better) extremum = {value, 1};
      break;
    }
    case kDistinct:
    case kSorted:
    case kFrequencies:
      break;
  }
}

void EntityState::add(const Accumulator& accumulator, uint64_t at, bool clip_anew) {
  using enum AccumulatorKind;
  if (!passes(accumulator, at)) return;
  const uint32_t offset = accumulator.offset;
  const bool extremum = accumulator.kind == kMinimum || accumulator.kind == kMaximum;
  if (extremum && !accumulator.unbounded) {
    const auto column = static_cast<size_t>(accumulator.column);
    deques_[offset].push(
        at, ring.value(column, at), accumulator.kind == kMinimum,
        [&](uint64_t p) { return ring.value(column, p); }, trial_ ? &trial_->displaced[offset] : nullptr);
  } else if (accumulator.kind == kFrequencies) {
    frequencies_[offset].add(counted_value(accumulator, at));
  } else if (accumulator.kind == kDistinct || accumulator.kind == kSorted) {
    const int64_t value = counted_value(accumulator, at);
    if (!accumulator.unbounded) {
      accumulator.kind == kDistinct ? maps_[offset].add(value) : sorted_[offset].add(value);
    } else if (!trial_) {
      accumulator.kind == kDistinct ? sketches_[offset].add(value)
                                    : samples_[offset].add(value, ring.time(at));
    }
  } else {
    add_fixed(block(), accumulator, at, clip_anew);
  }
}

// The event at `left` leaves the window: which is the oldest in it now?
void EntityState::next_oldest(const Accumulator& accumulator, uint64_t left) {
  auto& oldest = at_offset<OldestState>(block(), accumulator);
  if (oldest.next != left + 1) return;
  oldest.next = 0;
  for (uint64_t p = left + 1; p < cursors_[accumulator.window].head && oldest.next == 0; ++p) {
    if (passes(accumulator, p)) oldest.next = p + 1;
  }
}

void EntityState::remove(const Accumulator& accumulator, uint64_t at) {
  using enum AccumulatorKind;
  if (!passes(accumulator, at)) return;
  std::byte* block = this->block();
  const int64_t value = counted_value(accumulator, at);
  switch (accumulator.kind) {
    case kCount:
      --at_offset<CountState>(block, accumulator).n;
      break;
    case kLabels:
      at_offset<CountState>(block, accumulator).n -= (ring.flags(at) & kLabelFraud) != 0;
      break;
    case kTold:
      at_offset<CountState>(block, accumulator).n -= (ring.flags(at) & kLabelHidden) == 0;
      break;
    case kNewestFraud:  // the newest leaves last: then there is none
      if (at_offset<NewestState>(block, accumulator).next == at + 1)
        at_offset<NewestState>(block, accumulator).next = 0;
      break;
    case kOldest:
      next_oldest(accumulator, at);
      break;
    case kMoments:
    case kClipped:
      at_offset<MomentsState>(block, accumulator).sum -= value;
      --at_offset<MomentsState>(block, accumulator).n;
      break;
    case kMoments2: {
      auto& moments = at_offset<Moments2State>(block, accumulator);
      moments.sum -= value;
      --moments.n;
      moments.squares -= static_cast<Int128>(value) * value;
      break;
    }
    case kMinimum:
    case kMaximum:
      deques_[accumulator.offset].remove(at);
      break;
    case kDistinct:
      maps_[accumulator.offset].remove(value);
      break;
    case kSorted:
      sorted_[accumulator.offset].remove(value);
      break;
    case kFrequencies:
      frequencies_[accumulator.offset].remove(value);
      break;
    case kSlope:
      sum_up(at_offset<SlopeState>(block, accumulator), value, ring.time(at), -1);
      break;
    case kLast:
    case kDecayed:
    case kSpread:
    case kRun:
      break;  // these run over the whole history: nothing ever leaves them
  }
}

void EntityState::advance(const EntityPlan& plan, int64_t t_us, uint64_t limit) {
  for (size_t s = 0; s < plan.windows.size(); ++s) {
    const Window& window = plan.windows[s];
    Cursor& cursor = cursors_[s];
    const int64_t end_us = t_us - window.delay_us;
    if (window.delay_us > 0) {
      for (; cursor.head < limit && ring.time(cursor.head) <= end_us; ++cursor.head) {
        for (const uint16_t a : window.accumulators) add(plan.accumulators[a], cursor.head, false);
      }
    }
    if (window.length_us == kForever) continue;
    const int64_t start_us = end_us - window.length_us;
    for (; cursor.tail < cursor.head && ring.time(cursor.tail) <= start_us; ++cursor.tail) {
      for (const uint16_t a : window.accumulators) remove(plan.accumulators[a], cursor.tail);
    }
  }
}

size_t EntityState::evict(const EntityPlan& plan, int64_t t_us, size_t waiting) {
  size_t early = 0;
  const int64_t oldest_us = t_us - plan.retention_us;
  while (!ring.empty()) {
    const uint64_t at = ring.begin();
    const bool expired = ring.time(at) < oldest_us;
    if (!expired && ring.size() + waiting < plan.events_max) break;
    early += expired ? 0 : 1;
    for (size_t w = 0; w < plan.windows.size(); ++w) {
      Cursor& cursor = cursors_[w];
      const bool inside = cursor.tail == at && cursor.head > at;
      if (inside) {
        for (const uint16_t a : plan.windows[w].accumulators) {
          const Accumulator& accumulator = plan.accumulators[a];
          accumulator.unbounded ? to_base(accumulator, at) : remove(accumulator, at);
        }
      }
      cursor.tail = std::max(cursor.tail, at + 1);
      cursor.head = std::max(cursor.head, at + 1);
    }
    ring.pop_front();
  }
  return early;
}

// The event leaves the ring; what runs over the whole history keeps what it must know of it.
void EntityState::to_base(const Accumulator& accumulator, uint64_t at) {
  if (!passes(accumulator, at)) return;
  if (accumulator.kind == AccumulatorKind::kDistinct) {
    base_sketches_[accumulator.offset].add(counted_value(accumulator, at));
  } else if (accumulator.kind == AccumulatorKind::kSorted) {
    base_samples_[accumulator.offset].add(counted_value(accumulator, at), ring.time(at));
  } else {
    add_fixed(base(), accumulator, at, false);
  }
}

void EntityState::close(const EntityPlan& plan) {
  for (size_t s = 0; s < plan.windows.size(); ++s) {
    if (plan.windows[s].delay_us == 0) cursors_[s].head = ring.end();
  }
  keep_mark(plan, ring.end());
}

void EntityState::replay(const EntityPlan& plan, uint64_t at, bool clip_anew) {
  advance(plan, ring.time(at), at);
  if (plan.has_runs && (ring.flags(at) & kLabelKnown) != 0) note_known(plan, at, true);
  if ((ring.flags(at) & kLabelHidden) != 0) note_hidden(at, true);
  for (size_t s = 0; s < plan.windows.size(); ++s) {
    if (plan.windows[s].delay_us > 0) continue;
    for (const uint16_t a : plan.windows[s].accumulators) add(plan.accumulators[a], at, clip_anew);
    cursors_[s].head = at + 1;
  }
  last_time_us = ring.time(at);
  keep_mark(plan, at + 1);
}

// At every kRewindMax events: two are enough to go back as far.
void EntityState::keep_mark(const EntityPlan& plan, uint64_t end) {
  if (plan.unbounded_bytes == 0 && plan.sketches == 0 && plan.samples == 0) return;
  if (!marks_.empty() && marks_.front().end <= ring.begin()) marks_.erase(marks_.begin());
  if (end < (marks_.empty() ? ring.begin() : marks_.back().end) + kRewindMax) return;
  if (marks_.size() >= 2 && marks_[1].end + kRewindMax <= end) marks_.erase(marks_.begin());
  const auto words = block_.begin() + static_cast<std::ptrdiff_t>(plan.unbounded_bytes / sizeof(Word));
  marks_.push_back({end, cursors_, {block_.begin(), words}, sketches_, samples_});
}

void EntityState::rebuild(const EntityPlan& plan) {
  if (plan.fixed_bytes > 0) std::memset(block(), 0, plan.fixed_bytes);
  if (plan.unbounded_bytes > 0) std::memcpy(block(), base(), plan.unbounded_bytes);
  for (Cursor& cursor : cursors_) cursor = {ring.begin(), ring.begin()};
  for (MonotonicDeque& deque : deques_) deque.clear();
  for (CountMap& map : maps_) map.clear();
  for (SortedValues& sorted : sorted_) sorted.clear();
  for (Frequencies& frequencies : frequencies_) frequencies.clear();
  sketches_ = base_sketches_;
  samples_ = base_samples_;
  marks_.clear();
  known_.clear();
  hidden_.clear();
  for (uint64_t at = ring.begin(); at < ring.end(); ++at) replay(plan, at, false);
}

// Where the window's cursors stood once the event before `end` had joined.
EntityState::Cursor EntityState::cursor_at(const Window& window, uint64_t end) const {
  if (end == ring.begin()) return {end, end};
  const auto first_after = [&](int64_t t_us) {
    uint64_t low = ring.begin(), high = end;
    while (low < high) {
      const uint64_t middle = low + (high - low) / 2;
      ring.time(middle) <= t_us ? low = middle + 1 : high = middle;
    }
    return low;
  };
  const int64_t end_us = ring.time(end - 1) - window.delay_us;
  const uint64_t head = window.delay_us > 0 ? first_after(end_us) : end;
  if (window.length_us == kForever) return {ring.begin(), head};
  return {std::min(first_after(end_us - window.length_us), head), head};
}

void EntityState::rewind(const EntityPlan& plan, uint64_t end) {
  while (!marks_.empty() && marks_.back().end > end) marks_.pop_back();
  const std::vector<Cursor> undone = cursors_;
  for (size_t w = 0; w < plan.windows.size(); ++w) cursors_[w] = cursor_at(plan.windows[w], end);
  for (const Accumulator& accumulator : plan.accumulators) take_back(accumulator, undone[accumulator.window]);
  hidden_.erase(std::lower_bound(hidden_.begin(), hidden_.end(), end), hidden_.end());
  if (plan.has_runs) take_back_known(plan, undone, end);
  if (end > ring.begin()) last_time_us = ring.time(end - 1);
}

// One accumulator, from where its window's cursors were (`undone`) to where they are now.
void EntityState::take_back(const Accumulator& accumulator, const Cursor& undone) {
  using enum AccumulatorKind;
  const Cursor& now = cursors_[accumulator.window];
  const uint64_t left = std::min(undone.tail, now.head);  // from now.tail to here they had left again
  switch (accumulator.kind) {
    case kLast:
    case kDecayed:
    case kSpread:
      return join_again(accumulator);
    case kRun:
      return read_run(accumulator);
    case kNewestFraud: {
      auto& newest = at_offset<NewestState>(block(), accumulator);
      if (newest.next == 0 || newest.next > now.head)
        newest.next = newest_fraud(accumulator, newest.next == 0 ? left : now.head);
      return;
    }
    case kOldest: {
      auto& oldest = at_offset<OldestState>(block(), accumulator);
      if (oldest.next > now.head) oldest.next = 0;
      for (uint64_t p = now.tail; p < left; ++p) {
        if (!passes(accumulator, p)) continue;
        oldest.next = p + 1;
        return;
      }
      return;
    }
    case kMinimum:
    case kMaximum:
      return accumulator.unbounded ? join_again(accumulator) : take_back_extremum(accumulator, undone);
    case kDistinct:
    case kSorted:
      if (accumulator.unbounded) return join_again(accumulator);
      [[fallthrough]];
    default:
      for (uint64_t p = std::max(undone.tail, now.head); p < undone.head; ++p) remove(accumulator, p);
      for (uint64_t p = now.tail; p < left; ++p) add(accumulator, p, false);
  }
}

// What the undone events displaced comes back, and what had left the window before what is still in it.
void EntityState::take_back_extremum(const Accumulator& accumulator, const Cursor& undone) {
  const Cursor& now = cursors_[accumulator.window];
  MonotonicDeque& deque = deques_[accumulator.offset];
  const auto column = static_cast<size_t>(accumulator.column);
  const bool minimum = accumulator.kind == AccumulatorKind::kMinimum;
  // Backwards, those better than all after them.
  const auto better = [&](uint64_t from, uint64_t end, bool any, int64_t best) {
    std::vector<uint64_t> found;
    for (uint64_t p = end; p-- > from;) {
      if (!passes(accumulator, p)) continue;
      const int64_t value = ring.value(column, p);
      if (any && (minimum ? value >= best : value <= best)) continue;
      any = true;
      best = value;
      found.push_back(p);
    }
    return found;
  };
  deque.truncate(now.head);
  if (!deque.empty())
    deque.restore_oldest(better(now.tail, undone.tail, true, ring.value(column, deque.front())));
  const uint64_t from = deque.empty() ? now.tail : deque.newest() + 1;
  deque.restore_newest(better(from, now.head, false, 0));
}

// From the newest mark, or the base, the events since join anew.
void EntityState::join_again(const Accumulator& accumulator) {
  using enum AccumulatorKind;
  const uint16_t window = accumulator.window;
  const uint32_t offset = accumulator.offset;
  Mark* mark = marks_.empty() || marks_.back().cursors[window].head < ring.begin() ? nullptr : &marks_.back();
  if (accumulator.kind == kDistinct) {
    sketches_[offset] = (mark != nullptr ? mark->sketches : base_sketches_)[offset];
  } else if (accumulator.kind == kSorted) {
    samples_[offset] = (mark != nullptr ? mark->samples : base_samples_)[offset];
  } else {
    std::byte* from = mark != nullptr ? reinterpret_cast<std::byte*>(mark->unbounded.data()) : base();
    std::memcpy(block() + offset, from + offset, fixed_size(accumulator));
  }
  for (uint64_t p = mark != nullptr ? mark->cursors[window].head : ring.begin(); p < cursors_[window].head;
       ++p)
    add(accumulator, p, false);
}

// Runs are to see again those that they had settled since.
void EntityState::take_back_known(const EntityPlan& plan, const std::vector<Cursor>& undone, uint64_t end) {
  uint64_t from = end, to = 0;
  for (const Accumulator& accumulator : plan.accumulators) {
    if (accumulator.kind != AccumulatorKind::kRun) continue;
    from = std::min(from, cursors_[accumulator.window].head);
    to = std::max(to, std::min(undone[accumulator.window].head, end));
  }
  std::vector<uint64_t> known;
  for (uint64_t p = from; p < to; ++p) {
    if ((ring.flags(p) & kLabelKnown) != 0) known.push_back(p);
  }
  const auto rest = std::lower_bound(known_.begin(), known_.end(), std::max(from, to));
  known.insert(known.end(), rest, std::lower_bound(rest, known_.end(), end));
  known_.swap(known);
}

void EntityState::begin_trial(const EntityPlan& plan) {
  trial_ = std::make_unique<Trial>();
  trial_->block = block_;
  trial_->displaced.resize(plan.deques);
}

void EntityState::end_trial(const EntityPlan& plan) {
  const uint64_t at = ring.end() - 1;
  for (const Window& window : plan.windows) {
    if (window.delay_us > 0) continue;  // the newest event has not joined these
    for (const uint16_t a : window.accumulators) {
      const Accumulator& accumulator = plan.accumulators[a];
      if (accumulator.unbounded || !passes(accumulator, at)) continue;
      if (accumulator.kind == AccumulatorKind::kDistinct) {
        maps_[accumulator.offset].remove(counted_value(accumulator, at));
      } else if (accumulator.kind == AccumulatorKind::kSorted) {
        sorted_[accumulator.offset].remove(counted_value(accumulator, at));
      } else if (accumulator.kind == AccumulatorKind::kFrequencies) {
        frequencies_[accumulator.offset].remove(counted_value(accumulator, at));
      } else if (accumulator.kind == AccumulatorKind::kMinimum ||
                 accumulator.kind == AccumulatorKind::kMaximum) {
        deques_[accumulator.offset].undo_push(trial_->displaced[accumulator.offset]);
      }
    }
  }
  block_.swap(trial_->block);
  trial_.reset();
  ring.truncate(at);
}

// The event's position; the ring's end when it has left, or never was in it. Events are in order of time and,
// within one time, of sequence. One that came too late to be put at its time stands where it came.
uint64_t EntityState::find(int64_t time_us, uint64_t sequence) const {
  const auto first_not_before = [&](auto&& before) {
    uint64_t low = ring.begin(), high = ring.end();
    while (low < high) {
      const uint64_t middle = low + (high - low) / 2;
      before(middle) ? low = middle + 1 : high = middle;
    }
    return low;
  };
  const uint64_t at = first_not_before([&](uint64_t p) {
    return ring.time(p) != time_us ? ring.time(p) < time_us : ring.sequence(p) < sequence;
  });
  if (at == ring.end() || ring.sequence(at) == sequence) return at;
  // Sequences ascend but for events that came late: near enough for a search that looks around.
  constexpr uint64_t kAround = 64;
  const uint64_t near = first_not_before([&](uint64_t p) { return ring.sequence(p) < sequence; });
  const uint64_t from = near - std::min(near - ring.begin(), kAround);
  for (uint64_t p = from; p < std::min(near + kAround, ring.end()); ++p) {
    if (ring.sequence(p) == sequence && ring.time(p) > time_us) return p;
  }
  return ring.end();
}

bool EntityState::label(const EntityPlan& plan, int64_t time_us, uint64_t sequence, Verdict verdict,
                        bool hidden) {
  const uint64_t at = find(time_us, sequence);
  if (at == ring.end()) return false;
  const uint32_t before = ring.flags(at);
  uint32_t after = before & ~(kLabelKnown | kLabelFraud | kLabelHidden);
  if (hidden) after |= kLabelHidden;
  if (verdict != Verdict::kUnknown) after |= kLabelKnown;
  if (verdict == Verdict::kFraud) after |= kLabelFraud;
  ring.set_flags(at, after);
  if (plan.has_runs && ((before ^ after) & kLabelKnown) != 0)
    note_known(plan, at, verdict != Verdict::kUnknown);
  if (((before ^ after) & kLabelHidden) != 0) note_hidden(at, hidden);
  if (((before ^ after) & (kLabelFraud | kLabelHidden)) == 0) return true;
  for (const Accumulator& accumulator : plan.accumulators) {
    const Cursor& cursor = cursors_[accumulator.window];
    if (cursor.tail <= at && at < cursor.head) relabel(accumulator, at, before, after);
  }
  return true;
}

// An event that has joined has other flags of labels than before.
void EntityState::relabel(const Accumulator& accumulator, uint64_t at, uint32_t before, uint32_t after) {
  using enum AccumulatorKind;
  const auto gains = [&](uint32_t flag) { return ((after & flag) != 0) - ((before & flag) != 0); };
  if (accumulator.kind == kRun) return settle_run(accumulator, at);
  if (accumulator.kind == kTold && passes(accumulator, at))
    at_offset<CountState>(block(), accumulator).n -= gains(kLabelHidden);
  const int change = gains(kLabelFraud);  // known as fraud from now on, or no longer
  if (change == 0) return;
  if ((accumulator.kind != kLabels && accumulator.kind != kNewestFraud) || !passes(accumulator, at)) return;
  if (accumulator.kind == kLabels) {
    at_offset<CountState>(block(), accumulator).n += change;
    return;
  }
  auto& newest = at_offset<NewestState>(block(), accumulator);
  if (change > 0) {
    newest.next = std::max(newest.next, at + 1);
  } else if (newest.next == at + 1) {  // a correction: the one before counts again
    newest.next = newest_fraud(accumulator, at);
  }
}

// As NewestState::next, of the window's events before `end`.
uint64_t EntityState::newest_fraud(const Accumulator& accumulator, uint64_t end) const {
  for (uint64_t p = end; p-- > cursors_[accumulator.window].tail;) {
    if ((ring.flags(p) & kLabelFraud) != 0 && passes(accumulator, p)) return p + 1;
  }
  return 0;
}

// An event has other labels: the run that ends the settled ones anew, if it reaches as far.
void EntityState::settle_run(const Accumulator& accumulator, uint64_t changed) {
  const auto& settled = at_offset<RunState>(block(), accumulator);
  const uint64_t head = cursors_[accumulator.window].head;
  const uint64_t told_after = head - changed - 1 - hidden_between(changed + 1, head);
  if (static_cast<uint64_t>(settled.length) < told_after) return;  // before what ended the last run
  read_run(accumulator);
}

// Backwards, no further than it is long.
void EntityState::read_run(const Accumulator& accumulator) {
  auto& settled = at_offset<RunState>(block(), accumulator);
  const uint64_t head = cursors_[accumulator.window].head;
  RunState run{0, 0, 0, 0};
  for (uint64_t p = head; p-- > ring.begin();) {
    if ((ring.flags(p) & kLabelHidden) != 0) continue;
    if ((ring.flags(p) & kLabelFraud) == 0) {
      run.before_us = ring.time(p);
      run.has_before = 1;
      settled = run;
      return;
    }
    run = {run.length + 1, ring.time(p), 0, 0};
  }
  const auto& earlier = at_offset<RunState>(base(), accumulator);
  if (run.length == 0 || earlier.length > 0) run.since_us = earlier.since_us;
  run.length += earlier.length;
  run.before_us = earlier.before_us;
  run.has_before = earlier.has_before;
  settled = run;
}

void EntityState::note_hidden(uint64_t at, bool hidden) {
  const auto place = std::lower_bound(hidden_.begin(), hidden_.end(), at);
  if (!hidden) {
    if (place != hidden_.end() && *place == at) hidden_.erase(place);
    return;
  }
  hidden_.insert(place, at);
  const auto left = std::lower_bound(hidden_.begin(), hidden_.end(), ring.begin());
  if (2 * (left - hidden_.begin()) > hidden_.end() - hidden_.begin()) hidden_.erase(hidden_.begin(), left);
}

uint64_t EntityState::hidden_between(uint64_t from, uint64_t to) const {
  if (hidden_.empty()) return 0;
  const auto first = std::lower_bound(hidden_.begin(), hidden_.end(), std::max(from, ring.begin()));
  return static_cast<uint64_t>(std::lower_bound(first, hidden_.end(), to) - first);
}

void EntityState::note_known(const EntityPlan& plan, uint64_t at, bool known) {
  const auto place = std::lower_bound(known_.begin(), known_.end(), at);
  const bool held = place != known_.end() && *place == at;
  if (known && !held) {
    known_.insert(place, at);
    trim_known(plan);
  } else if (!known && held) {
    known_.erase(place);
  }
}

// Those that every run has settled go, half of all at a time.
void EntityState::trim_known(const EntityPlan& plan) {
  constexpr size_t kFew = 32;
  if (known_.size() < kFew) return;
  uint64_t unsettled = ring.end();
  for (const Accumulator& accumulator : plan.accumulators) {
    if (accumulator.kind == AccumulatorKind::kRun)
      unsettled = std::min(unsettled, cursors_[accumulator.window].head);
  }
  if (known_[known_.size() / 2] >= unsettled) return;
  known_.erase(known_.begin(), std::lower_bound(known_.begin(), known_.end(), unsettled));
}

RunState EntityState::run(const Accumulator& accumulator) const {
  RunState early{0, 0, 0, 0};
  const uint64_t head = cursors_[accumulator.window].head;
  for (auto at = known_.rbegin(); at != known_.rend() && *at >= head; ++at) {
    if ((ring.flags(*at) & kLabelFraud) == 0) return {early.length, early.since_us, ring.time(*at), 1};
    early = {early.length + 1, ring.time(*at), 0, 0};
  }
  RunState all = state<RunState>(accumulator);
  if (all.length == 0) all.since_us = early.since_us;
  all.length += early.length;
  return all;
}

bool EntityState::twice_median(const Accumulator& accumulator, int64_t& out) const {
  const auto of = [&](const auto& values) {
    if (values.size() > 0) out = values.twice_median();
    return values.size() > 0;
  };
  return accumulator.unbounded ? of(samples_[accumulator.offset]) : of(sorted_[accumulator.offset]);
}

bool EntityState::quantile(const Accumulator& accumulator, double share, double& out) const {
  const auto of = [&](const auto& values) {
    if (values.size() == 0) return false;
    const double rank = share * static_cast<double>(values.size() - 1);
    const auto below = static_cast<size_t>(rank);
    const auto low = static_cast<double>(values.at(below));
    const double high = below + 1 < values.size() ? static_cast<double>(values.at(below + 1)) : low;
    out = low + (rank - static_cast<double>(below)) * (high - low);
    return true;
  };
  return accumulator.unbounded ? of(samples_[accumulator.offset]) : of(sorted_[accumulator.offset]);
}

void EntityState::save_sketches(std::string& out) const {
  for (const DistinctSketch& sketch : base_sketches_) sketch.serialize(out);
  for (const ValueSample& sample : base_samples_) sample.serialize(out);
}

bool EntityState::restore_sketches(std::string_view bytes) {
  for (DistinctSketch& sketch : base_sketches_) {
    if (!sketch.parse(bytes)) return false;
  }
  for (ValueSample& sample : base_samples_) {
    if (!sample.parse(bytes)) return false;
  }
  return bytes.empty();
}

size_t EntityState::bytes() const {
  size_t total =
      sizeof(*this) + ring.bytes() + block_.capacity() * sizeof(Word) + cursors_.capacity() * sizeof(Cursor);
  for (const MonotonicDeque& deque : deques_) total += sizeof(deque) + deque.bytes();
  for (const CountMap& map : maps_) total += sizeof(map) + map.bytes();
  for (const SortedValues& sorted : sorted_) total += sizeof(sorted) + sorted.bytes();
  for (const Frequencies& frequencies : frequencies_) total += sizeof(frequencies) + frequencies.bytes();
  for (const auto* sketches : {&sketches_, &base_sketches_}) {
    for (const DistinctSketch& sketch : *sketches) total += sizeof(sketch) + sketch.bytes();
  }
  for (const auto* samples : {&samples_, &base_samples_}) {
    for (const ValueSample& sample : *samples) total += sizeof(sample) + sample.bytes();
  }
  for (const Mark& mark : marks_) {
    total += sizeof(mark) + mark.cursors.size() * sizeof(Cursor) + mark.unbounded.size() * sizeof(Word);
    for (const DistinctSketch& sketch : mark.sketches) total += sizeof(sketch) + sketch.bytes();
    for (const ValueSample& sample : mark.samples) total += sizeof(sample) + sample.bytes();
  }
  return total + known_.capacity() * sizeof(uint64_t);
}

}  // namespace shrike::features
