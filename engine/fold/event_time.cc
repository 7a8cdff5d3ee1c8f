#include "engine/fold/event_time.h"

#include <algorithm>
#include <cstring>

#include "engine/fold/log.pb.h"

namespace shrike::engine {
namespace {

// No entity of the one is an entity of the other.
bool disjoint(const std::vector<Key>& a, const std::vector<Key>& b) {
  for (size_t e = 0; e < a.size(); ++e) {
    if (a[e] == b[e]) return false;
  }
  return true;
}

}  // namespace

Clock EventTime::judge(const Transaction& transaction, const ClockSource& source) const {
  if (source.recorded != Clock::kOnTime) return source.recorded;
  const LimitConfig& limits = config_->limits;
  const int64_t t_us = transaction.time_us;
  const bool live = source.server_us.has_value();
  if (live && limits.ahead_us > 0 && t_us > *source.server_us + limits.ahead_us) return Clock::kAhead;
  if (!known()) return Clock::kOnTime;
  if (watermark_us_ - t_us > limits.lateness_us)
    return live && support_ < kAgree && agree_with(transaction) ? Clock::kOnTime : Clock::kLate;
  if (!live || t_us - watermark_us_ <= limits.lateness_us) return Clock::kOnTime;
  const bool now = t_us >= *source.server_us - limits.lateness_us;
  return now || agree_with(transaction) ? Clock::kOnTime : Clock::kAhead;
}

// Enough strays of other entities, each of others again, lie within limits.lateness of it.
bool EventTime::agree_with(const Transaction& transaction) const {
  std::vector<const Stray*> agreeing;
  std::vector<Key> entities;
  config_->plan->entity_keys(transaction, entities);
  for (auto stray = strays_.rbegin(); stray != strays_.rend(); ++stray) {
    const int64_t apart_us =
        std::max(stray->time_us, transaction.time_us) - std::min(stray->time_us, transaction.time_us);
    if (apart_us > config_->limits.lateness_us || !disjoint(stray->entities, entities)) continue;
    const bool other = std::all_of(agreeing.begin(), agreeing.end(), [&](const Stray* earlier) {
      return disjoint(earlier->entities, stray->entities);
    });
    if (!other) continue;
    agreeing.push_back(&*stray);
    if (agreeing.size() + 1 == kAgree) return true;
  }
  return false;
}

EventTime::Step EventTime::advance(const Transaction& transaction) {
  const int64_t t_us = transaction.time_us;
  if (!known()) {
    watermark_us_ = t_us;
    support_ = 1;
    return Step::kFirst;
  }
  if (watermark_us_ - t_us > config_->limits.lateness_us) {
    set(t_us);
    return Step::kBack;
  }
  if (support_ < kAgree) ++support_;
  watermark_us_ = std::max(watermark_us_, t_us);
  return Step::kForward;
}

void EventTime::note(const Transaction& transaction) {
  if (strays_.size() == kStraysMax) strays_.pop_front();
  strays_.push_back({transaction.time_us, {}});
  config_->plan->entity_keys(transaction, strays_.back().entities);
}

void EventTime::set(int64_t watermark_us) {
  watermark_us_ = watermark_us;
  support_ = kAgree;
}

void EventTime::save(proto::FoldRecord& record) const {
  record.set_watermark_us(watermark_us_);
  record.set_support(static_cast<uint32_t>(support_));
  for (const Stray& stray : strays_) {
    proto::StrayRecord& one = *record.add_strays();
    one.set_time_us(stray.time_us);
    one.set_entities(stray.entities.data(), stray.entities.size() * sizeof(Key));
  }
}

void EventTime::restore(const proto::FoldRecord& record) {
  watermark_us_ = record.watermark_us();
  // A checkpoint from before this was counted stands on many transactions.
  support_ = record.has_support() ? std::min<size_t>(record.support(), kAgree) : kAgree;
  strays_.clear();
  const size_t bytes = config_->plan->entities.size() * sizeof(Key);
  for (const proto::StrayRecord& saved : record.strays()) {
    if (saved.entities().size() != bytes || strays_.size() == kStraysMax) continue;
    Stray stray{saved.time_us(), std::vector<Key>(config_->plan->entities.size())};
    if (bytes > 0) std::memcpy(stray.entities.data(), saved.entities().data(), bytes);
    strays_.push_back(std::move(stray));
  }
}

}  // namespace shrike::engine
