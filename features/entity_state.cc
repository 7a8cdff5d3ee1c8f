#include "features/entity_state.h"

#include <cmath>
#include <cstring>

#include "features/numeric.h"

namespace shrike::features {
namespace {

constexpr int64_t kClipFrom = 3;  // values before clipping begins
constexpr double kLn2 = 0.693147180559945309417;

template <typename State>
State& at_offset(std::byte* block, const Accumulator& accumulator) {
  return *reinterpret_cast<State*>(block + accumulator.offset);
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
      cursors_(plan.slots.size()),
      deques_(plan.deques),
      maps_(plan.maps),
      sorted_(plan.sorted) {}

void EntityState::reset(const EntityPlan& plan) {
  ring.clear();
  std::memset(static_cast<void*>(block_.data()), 0, block_.size() * sizeof(Word));
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

void EntityState::add_fixed(std::byte* block, const Accumulator& one, uint64_t at, bool clip_anew) {
  using enum AccumulatorKind;
  if (one.kind == kClipped && clip_anew) {
    const int64_t raw = ring.value(static_cast<size_t>(one.column), at);
    ring.set_value(static_cast<size_t>(one.clipped_column), at,
                   clip(at_offset<MomentsState>(block, one), raw, one.parameter));
  }
  const int64_t value = counted_value(one, at);
  switch (one.kind) {
    case kCount:
      ++at_offset<CountState>(block, one).n;
      break;
    case kLabels:
      at_offset<CountState>(block, one).n += (ring.flags(at) & kLabelFraud) != 0;
      break;
    case kNewestFraud:
      if ((ring.flags(at) & kLabelFraud) != 0) at_offset<NewestState>(block, one).next = at + 1;
      break;
    case kMoments:
    case kClipped: {
      auto& moments = at_offset<MomentsState>(block, one);
      moments.sum += value;
      ++moments.n;
      break;
    }
    case kMoments2: {
      auto& moments = at_offset<Moments2State>(block, one);
      moments.sum += value;
      ++moments.n;
      moments.squares += static_cast<Int128>(value) * value;
      break;
    }
    case kLast:
      at_offset<LastState>(block, one) = {value, ring.time(at), 1};
      break;
    case kDecayed: {
      auto& decayed = at_offset<DecayedState>(block, one);
      const int64_t t_us = ring.time(at);
      const double fade =
          decayed.weight == 0
              ? 0
              : exact_exp(-kLn2 * static_cast<double>(t_us - decayed.time_us) / one.parameter);
      decayed = {decayed.sum * fade + static_cast<double>(value) / one.scale, decayed.weight * fade + 1,
                 t_us};
      break;
    }
    case kRun: {
      auto& run = at_offset<RunState>(block, one);
      if ((ring.flags(at) & kLabelFraud) == 0) {
        run = {0, 0, ring.time(at), 1};
      } else {
        if (run.length == 0) run.since_us = ring.time(at);
        ++run.length;
      }
      break;
    }
    case kOldest: {
      auto& oldest = at_offset<OldestState>(block, one);
      if (oldest.next == 0) oldest.next = at + 1;
      break;
    }
    case kMinimum:
    case kMaximum: {
      auto& extremum = at_offset<ExtremumState>(block, one);
      const bool better = one.kind == kMinimum ? value < extremum.value : value > extremum.value;
      if (extremum.present == 0 || better) extremum = {value, 1};
      break;
    }
    case kDistinct:
    case kSorted:
      break;
  }
}

void EntityState::add(const EntityPlan&, const Accumulator& one, uint64_t at, bool clip_anew) {
  using enum AccumulatorKind;
  if (!passes(one, at)) return;
  const bool windowed_extremum = (one.kind == kMinimum || one.kind == kMaximum) && !one.unbounded;
  if (windowed_extremum) {
    const auto column = static_cast<size_t>(one.column);
    deques_[one.offset].push(at, ring.value(column, at), one.kind == kMinimum,
                             [&](uint64_t p) { return ring.value(column, p); });
  } else if (one.kind == kDistinct) {
    maps_[one.offset].add(counted_value(one, at));
  } else if (one.kind == kSorted) {
    sorted_[one.offset].add(counted_value(one, at));
  } else {
    add_fixed(reinterpret_cast<std::byte*>(block_.data()), one, at, clip_anew);
  }
}

void EntityState::remove(const Accumulator& one, uint64_t at) {
  using enum AccumulatorKind;
  if (!passes(one, at)) return;
  std::byte* block = reinterpret_cast<std::byte*>(block_.data());
  const int64_t value = counted_value(one, at);
  switch (one.kind) {
    case kCount:
      --at_offset<CountState>(block, one).n;
      break;
    case kLabels:
      at_offset<CountState>(block, one).n -= (ring.flags(at) & kLabelFraud) != 0;
      break;
    case kNewestFraud:  // the newest leaves last: then there is none
      if (at_offset<NewestState>(block, one).next == at + 1) at_offset<NewestState>(block, one).next = 0;
      break;
    case kOldest: {
      auto& oldest = at_offset<OldestState>(block, one);
      if (oldest.next != at + 1) break;
      oldest.next = 0;
      for (uint64_t p = at + 1; p < cursors_[one.slot].head && oldest.next == 0; ++p) {
        if (passes(one, p)) oldest.next = p + 1;
      }
      break;
    }
    case kMoments:
    case kClipped:
      at_offset<MomentsState>(block, one).sum -= value;
      --at_offset<MomentsState>(block, one).n;
      break;
    case kMoments2: {
      auto& moments = at_offset<Moments2State>(block, one);
      moments.sum -= value;
      --moments.n;
      moments.squares -= static_cast<Int128>(value) * value;
      break;
    }
    case kMinimum:
    case kMaximum:
      deques_[one.offset].remove(at);
      break;
    case kDistinct:
      maps_[one.offset].remove(value);
      break;
    case kSorted:
      sorted_[one.offset].remove(value);
      break;
    case kLast:
    case kDecayed:
    case kRun:
      break;  // these run over the whole history: nothing ever leaves them
  }
}

void EntityState::advance(const EntityPlan& plan, int64_t t_us, uint64_t limit) {
  for (size_t s = 0; s < plan.slots.size(); ++s) {
    const Slot& slot = plan.slots[s];
    Cursor& cursor = cursors_[s];
    const int64_t end_us = t_us - slot.delay_us;
    if (slot.delay_us > 0) {
      for (; cursor.head < limit && ring.time(cursor.head) <= end_us; ++cursor.head) {
        for (const uint16_t a : slot.accumulators) add(plan, plan.accumulators[a], cursor.head, false);
      }
    }
    if (slot.window_us == kForever) continue;
    const int64_t start_us = end_us - slot.window_us;
    for (; cursor.tail < cursor.head && ring.time(cursor.tail) <= start_us; ++cursor.tail) {
      for (const uint16_t a : slot.accumulators) remove(plan.accumulators[a], cursor.tail);
    }
  }
}

size_t EntityState::evict(const EntityPlan& plan, int64_t t_us) {
  size_t early = 0;
  const int64_t oldest_us = t_us - plan.retention_us;
  while (!ring.empty()) {
    const uint64_t at = ring.begin();
    const bool expired = !plan.keeps_all && ring.time(at) < oldest_us;
    if (!expired && ring.size() < plan.events_max) break;
    early += expired ? 0 : 1;
    for (size_t s = 0; s < plan.slots.size(); ++s) {
      Cursor& cursor = cursors_[s];
      const bool inside = cursor.tail == at && cursor.head > at;
      if (inside) {
        for (const uint16_t a : plan.slots[s].accumulators) {
          const Accumulator& one = plan.accumulators[a];
          const bool grows = one.kind == AccumulatorKind::kDistinct || one.kind == AccumulatorKind::kSorted;
          if (!one.unbounded || grows) {
            remove(one, at);
          } else if (passes(one, at)) {
            add_fixed(base(), one, at, false);
          }
        }
      }
      cursor.tail = std::max(cursor.tail, at + 1);
      cursor.head = std::max(cursor.head, at + 1);
    }
    ring.pop_front();
  }
  return early;
}

void EntityState::close(const EntityPlan& plan) {
  for (size_t s = 0; s < plan.slots.size(); ++s) {
    if (plan.slots[s].delay_us == 0) cursors_[s].head = ring.end();
  }
}

void EntityState::replay(const EntityPlan& plan, uint64_t at, bool clip_anew) {
  advance(plan, ring.time(at), at);
  for (size_t s = 0; s < plan.slots.size(); ++s) {
    if (plan.slots[s].delay_us > 0) continue;
    for (const uint16_t a : plan.slots[s].accumulators) add(plan, plan.accumulators[a], at, clip_anew);
    cursors_[s].head = at + 1;
  }
  last_time_us = ring.time(at);
}

void EntityState::rebuild(const EntityPlan& plan) {
  std::byte* block = reinterpret_cast<std::byte*>(block_.data());
  std::memset(block, 0, plan.fixed_bytes);
  if (plan.unbounded_bytes > 0) std::memcpy(block, base(), plan.unbounded_bytes);
  for (Cursor& cursor : cursors_) cursor = {ring.begin(), ring.begin()};
  for (MonotonicDeque& deque : deques_) deque.clear();
  for (CountMap& map : maps_) map.clear();
  for (SortedValues& sorted : sorted_) sorted.clear();
  for (uint64_t at = ring.begin(); at < ring.end(); ++at) replay(plan, at, false);
}

bool EntityState::label(const EntityPlan& plan, int64_t time_us, uint64_t sequence, Verdict verdict) {
  uint64_t low = ring.begin(), high = ring.end();
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    if (ring.time(middle) < time_us) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  while (low < ring.end() && ring.time(low) == time_us && ring.sequence(low) != sequence) ++low;
  if (low == ring.end() || ring.time(low) != time_us) return false;

  const uint32_t before = ring.flags(low);
  uint32_t after = before & ~(kLabelKnown | kLabelFraud);
  if (verdict != Verdict::kUnknown) after |= kLabelKnown;
  if (verdict == Verdict::kFraud) after |= kLabelFraud;
  ring.set_flags(low, after);
  const int change = ((after & kLabelFraud) != 0) - ((before & kLabelFraud) != 0);
  if (change == 0) return true;
  std::byte* block = reinterpret_cast<std::byte*>(block_.data());
  for (const Accumulator& one : plan.accumulators) {
    const Cursor& cursor = cursors_[one.slot];
    const bool inside = cursor.tail <= low && low < cursor.head;
    if (one.kind == AccumulatorKind::kLabels && inside && passes(one, low)) {
      at_offset<CountState>(block, one).n += change;
    } else if (one.kind == AccumulatorKind::kNewestFraud && inside && passes(one, low)) {
      auto& newest = at_offset<NewestState>(block, one);
      if (change > 0) {
        newest.next = std::max(newest.next, low + 1);
      } else if (newest.next == low + 1) {  // a correction: the one before counts again
        newest.next = 0;
        for (uint64_t at = low; at-- > cursor.tail && newest.next == 0;) {
          if ((ring.flags(at) & kLabelFraud) != 0 && passes(one, at)) newest.next = at + 1;
        }
      }
    } else if (one.kind == AccumulatorKind::kRun && inside) {
      std::memcpy(block + one.offset, base() + one.offset, sizeof(RunState));
      for (uint64_t at = ring.begin(); at < cursor.head; ++at) add_fixed(block, one, at, false);
    }
  }
  return true;
}

RunState EntityState::run(const EntityPlan&, const Accumulator& one) const {
  RunState early{0, 0, 0, 0};
  for (uint64_t at = ring.end(); at-- > cursors_[one.slot].head;) {
    const uint32_t flags = ring.flags(at);
    if ((flags & kLabelKnown) == 0) continue;
    if ((flags & kLabelFraud) == 0) return {early.length, early.since_us, ring.time(at), 1};
    early = {early.length + 1, ring.time(at), 0, 0};
  }
  RunState all = state<RunState>(one);
  if (all.length == 0) all.since_us = early.since_us;
  all.length += early.length;
  return all;
}

size_t EntityState::bytes() const {
  size_t total =
      sizeof(*this) + ring.bytes() + block_.capacity() * sizeof(Word) + cursors_.capacity() * sizeof(Cursor);
  for (const MonotonicDeque& deque : deques_) total += sizeof(deque) + deque.bytes();
  for (const CountMap& map : maps_) total += sizeof(map) + map.bytes();
  for (const SortedValues& sorted : sorted_) total += sizeof(sorted) + sorted.bytes();
  return total;
}

}  // namespace shrike::features
