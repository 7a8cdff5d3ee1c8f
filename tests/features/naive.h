// The brute-force model of every aggregation: keeps all events of the stream and recomputes each feature from
// them by definition. Slow and obvious; what the windows of features/ are judged against.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <vector>

#include "features/spec.h"

namespace shrike::features::naive {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

inline constexpr int kHidden = -2;  // it did not go through: its silence tells nothing

struct Event {
  int64_t time_us;
  uint64_t order;  // of arrival
  int64_t entity;
  int64_t fixed;        // the input, x scale
  bool present = true;  // the input
  bool passes = true;   // the filter
  int label = -1;       // -1 unknown, kHidden, 0 legitimate, 1 fraud: as known now
};

struct Question {
  Aggregate aggregate;
  int64_t window_us = kForever;
  int64_t delay_us = 0;
  bool include = true;
  double scale = 100;
  double clip_factor = 2.5;
  double half_life_us = 0;
  bool days = false;  // ages count midnights
  double quantile = 0.5;
};

// Events of the entity in order, those before `now` in sorted order plus `now` itself last.
inline std::vector<Event> history(const std::vector<Event>& all, const Event& now) {
  std::vector<Event> mine;
  for (const Event& e : all) {
    if (e.entity != now.entity) continue;
    if (std::pair(e.time_us, e.order) <= std::pair(now.time_us, now.order)) mine.push_back(e);
  }
  std::sort(mine.begin(), mine.end(), [](const Event& a, const Event& b) {
    return std::pair(a.time_us, a.order) < std::pair(b.time_us, b.order);
  });
  return mine;
}

inline bool in_window(const Question& q, const Event& e, int64_t t_us) {
  if (e.time_us > t_us - q.delay_us) return false;
  return q.window_us == kForever || e.time_us > t_us - q.delay_us - q.window_us;
}

// Each event's value as it enters a clipped mean.
inline std::vector<int64_t> clipped(const Question& q, const std::vector<Event>& mine) {
  std::vector<int64_t> values(mine.size());
  for (size_t i = 0; i < mine.size(); ++i) {
    values[i] = mine[i].fixed;
    if (!mine[i].present || !mine[i].passes) continue;
    double sum = 0;
    int64_t n = 0;
    for (size_t k = 0; k < i; ++k) {
      if (!mine[k].present || !mine[k].passes || !in_window(q, mine[k], mine[i].time_us)) continue;
      sum += static_cast<double>(values[k]);
      ++n;
    }
    if (n < 3) continue;
    const double limit = sum / static_cast<double>(n) * q.clip_factor;
    if (limit > 0 && static_cast<double>(values[i]) > limit)
      values[i] = static_cast<int64_t>(std::floor(limit + 0.5));
  }
  return values;
}

// NaN when there is nothing to aggregate.
inline double answer(const Question& q, const std::vector<Event>& all, const Event& now) {
  using enum Aggregate;
  const std::vector<Event> mine = history(all, now);
  const bool wants_input = info(q.aggregate).wants_input;
  const std::vector<int64_t> as_clipped = clipped(q, mine);
  std::vector<int64_t> values;
  std::vector<Event> events;
  for (size_t i = 0; i < mine.size(); ++i) {
    const bool is_now = i + 1 == mine.size();
    if (is_now && !q.include) continue;
    Question window = q;
    if (q.aggregate == kCountSinceLabel)
      window.delay_us = 0;  // there it says which events count as legitimate
    if (!in_window(window, mine[i], now.time_us) || !mine[i].passes || (wants_input && !mine[i].present))
      continue;
    const bool clip = q.aggregate == kClippedMean || q.aggregate == kRatioToClippedMean;
    values.push_back(clip ? as_clipped[i] : mine[i].fixed);
    events.push_back(mine[i]);
  }
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const int64_t v : values) {
    sum += static_cast<double>(v);
    squares += static_cast<double>(v) * static_cast<double>(v);
  }
  const double mean = n > 0 ? sum / n / q.scale : kNaN;
  const double spread = n > 1 ? std::sqrt((squares * n - sum * sum) / (n * (n - 1))) / q.scale : kNaN;
  const double x = now.present ? static_cast<double>(now.fixed) / q.scale : kNaN;
  const auto frauds = static_cast<double>(
      std::count_if(events.begin(), events.end(), [](const Event& e) { return e.label == 1; }));
  std::vector<int64_t> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const double median =
      sorted.empty()
          ? kNaN
          : static_cast<double>(sorted[(sorted.size() - 1) / 2] + sorted[sorted.size() / 2]) / 2 / q.scale;
  const auto age = [&](int64_t since_us) {
    constexpr int64_t kDay = 86'400'000'000;
    return q.days ? static_cast<double>(now.time_us / kDay - since_us / kDay)
                  : static_cast<double>(now.time_us - since_us) / 1e6;
  };
  switch (q.aggregate) {
    case kCount:
      return n;
    case kSum:
      return n > 0 ? sum / q.scale : kNaN;
    case kMean:
    case kClippedMean:
      return mean;
    case kStd:
      return spread;
    case kMin:
      return sorted.empty() ? kNaN : static_cast<double>(sorted.front()) / q.scale;
    case kMax:
      return sorted.empty() ? kNaN : static_cast<double>(sorted.back()) / q.scale;
    case kDistinct:
      return static_cast<double>(std::set<int64_t>(values.begin(), values.end()).size());
    case kMedian:
      return median;
    case kRatioToMean:
    case kRatioToClippedMean:
      return mean == 0 ? kNaN : x / mean;
    case kRatioToMedian:
      return median == 0 ? kNaN : x / median;
    case kZscore:
      return spread > 0 ? (x - mean) / spread : kNaN;
    case kLabelCount:
      return frauds;
    case kLabelRate: {
      const auto told = static_cast<double>(
          std::count_if(events.begin(), events.end(), [](const Event& e) { return e.label != kHidden; }));
      return told > 0 ? frauds / told : kNaN;
    }
    case kTimeSinceLabel:
    case kCountSinceLabel: {
      const auto fraud =
          std::find_if(events.rbegin(), events.rend(), [](const Event& e) { return e.label == 1; });
      if (fraud == events.rend()) return kNaN;
      if (q.aggregate == kTimeSinceLabel) return age(fraud->time_us);
      double count = 0;
      bool after = false;
      for (const Event& e : mine) {
        count += after && e.order != now.order && e.time_us <= now.time_us - q.delay_us && e.label != kHidden;
        after |= e.order == fraud->order;
      }
      return count;
    }
    case kLast:
      return values.empty() ? kNaN : static_cast<double>(values.back()) / q.scale;
    case kTimeSinceLast:
      return events.empty() ? kNaN : age(events.back().time_us);
    case kTimeSinceFirst:
      return events.empty() ? kNaN : age(events.front().time_us);
    case kDecayedCount:
    case kDecayedMean: {
      double weight = 0, total = 0;
      for (size_t i = 0; i < events.size(); ++i) {
        const double w = std::exp2(-static_cast<double>(now.time_us - events[i].time_us) / q.half_life_us);
        weight += w;
        total += w * static_cast<double>(values[i]) / q.scale;
      }
      if (events.empty()) return kNaN;
      return q.aggregate == kDecayedCount ? weight : total / weight;
    }
    case kDecayedStd: {
      double weight = 0, total = 0, squared = 0;
      for (size_t i = 0; i < events.size(); ++i) {
        const double w = std::exp2(-static_cast<double>(now.time_us - events[i].time_us) / q.half_life_us);
        const double v = static_cast<double>(values[i]) / q.scale;
        weight += w;
        total += w * v;
        squared += w * v * v;
      }
      if (events.empty()) return kNaN;
      return std::sqrt(std::max(0.0, squared / weight - total / weight * (total / weight)));
    }
    case kIsNew:
    case kCountSame:
    case kShareSame: {
      if (!now.present) return kNaN;
      const auto same = static_cast<double>(std::count(values.begin(), values.end(), now.fixed));
      if (q.aggregate == kIsNew) return same == 0 ? 1 : 0;
      if (q.aggregate == kCountSame) return same;
      return n > 0 ? same / n : kNaN;
    }
    case kChanged:
      return values.empty() || !now.present ? kNaN : values.back() != now.fixed ? 1 : 0;
    case kQuantile: {
      if (sorted.empty()) return kNaN;
      const double rank = q.quantile * (n - 1);
      const auto below = static_cast<size_t>(rank);
      const size_t above = std::min(below + 1, sorted.size() - 1);
      const double share = rank - static_cast<double>(below);
      return ((1 - share) * static_cast<double>(sorted[below]) + share * static_cast<double>(sorted[above])) /
             q.scale;
    }
    case kMode:
    case kEntropy: {
      std::map<int64_t, double> counts;
      for (const int64_t v : values) ++counts[v];
      double entropy = 0, most = 0, mode = kNaN;
      for (const auto& [v, count] : counts) {
        entropy -= count / n * std::log(count / n);
        if (count <= most) continue;
        most = count;
        mode = static_cast<double>(v) / q.scale;
      }
      return q.aggregate == kMode ? mode : counts.empty() ? kNaN : entropy;
    }
    case kSlope: {
      double mean_day = 0, rise = 0, run = 0;
      const auto day = [&](const Event& e) {  // from now, so that nothing is lost
        return static_cast<double>(e.time_us / 1000 - now.time_us / 1000) / 86.4e6;
      };
      for (const Event& e : events) mean_day += day(e) / n;
      for (size_t i = 0; i < events.size(); ++i) {
        const double from_mean = day(events[i]) - mean_day;
        rise += from_mean * (static_cast<double>(values[i]) / q.scale - mean);
        run += from_mean * from_mean;
      }
      const bool moments = std::any_of(events.begin(), events.end(), [&](const Event& e) {
        return e.time_us / 1000 != events.front().time_us / 1000;
      });
      return moments ? rise / run : kNaN;
    }
    case kLabelRun:
    case kLabelRunAge:
    case kLabelRunBefore: {
      double run = 0;
      int64_t since = 0;
      for (size_t i = mine.size(); i-- > 0;) {
        const bool settled = mine[i].time_us <= now.time_us - q.delay_us;
        if (i + 1 == mine.size() && !settled) continue;
        if (mine[i].label == kHidden || (!settled && mine[i].label < 0)) continue;
        if (mine[i].label != 1) {
          if (q.aggregate == kLabelRunBefore) return age(mine[i].time_us);
          break;
        }
        run += 1;
        since = mine[i].time_us;
      }
      if (q.aggregate == kLabelRun) return run;
      return run == 0 || q.aggregate == kLabelRunBefore ? kNaN : age(since);
    }
    default:
      return kNaN;
  }
}

}  // namespace shrike::features::naive
