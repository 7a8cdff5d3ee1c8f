#include "engine/replay/prequential.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>

#include "features/schema.h"
#include "learners/metrics.h"

namespace shrike::engine {
namespace {
using features::kDayUs;
constexpr size_t kCards = 100;
}  // namespace

std::optional<DayRange> parse_days(const std::string& text) {
  const auto number = [](std::string_view part, int& out) {
    const auto [at, ec] = std::from_chars(part.data(), part.data() + part.size(), out);
    return ec == std::errc() && at == part.data() + part.size() && out >= 0;
  };
  DayRange range;
  const size_t dots = text.find("..");
  if (dots == std::string::npos) {
    if (!number(text, range.first)) return std::nullopt;
    range.last = range.first;
    return range;
  }
  const std::string_view left = std::string_view(text).substr(0, dots),
                         right = std::string_view(text).substr(dots + 2);
  if (!number(left, range.first)) return std::nullopt;
  if (!right.empty() && !number(right, range.last)) return std::nullopt;
  if (range.last < range.first) return std::nullopt;
  return range;
}

std::string to_text(DayRange days) {
  const std::string first = std::to_string(days.first) + "..";
  return days.last == INT32_MAX ? first : first + std::to_string(days.last);
}

int StreamDays::see(int64_t time_us, Clock clock) {
  if (clock != Clock::kOnTime) return newest_;
  if (first_us_ == INT64_MIN) first_us_ = time_us;
  newest_ = std::max(newest_, static_cast<int>(std::max<int64_t>(time_us / kDayUs - first_us_ / kDayUs, 0)));
  return newest_;
}

void Prequential::add(int64_t time_us, float score, int label, uint64_t card, Clock clock) {
  const auto day = static_cast<size_t>(days_.see(time_us, clock));
  while (day_starts_.size() <= day) day_starts_.push_back(scores_.size());
  if (label < 0) return;
  scores_.push_back(score);
  labels_.push_back(static_cast<uint8_t>(label));
  cards_.push_back(card);
}

Metrics Prequential::measure(size_t from, size_t to, bool one_day) const {
  const auto scores = std::span(scores_).subspan(from, to - from);
  const auto labels = std::span(labels_).subspan(from, to - from);
  Metrics m;
  m.rows = scores.size();
  m.frauds = static_cast<uint64_t>(std::count(labels.begin(), labels.end(), uint8_t{1}));
  m.average_precision = learners::average_precision(scores, labels);
  m.auc = learners::auc(scores, labels);
  m.log_loss = learners::log_loss(scores, labels);
  m.brier = learners::brier(scores, labels);
  m.recall_at_fpr = learners::recall_at_fpr(scores, labels, fpr_);
  if (one_day)
    m.card_precision_100 =
        learners::card_precision(scores, labels, std::span(cards_).subspan(from, to - from), kCards);
  return m;
}

std::vector<Prequential::Day> Prequential::by_day(DayRange days) const {
  std::vector<Day> all;
  for (size_t d = 0; d < day_starts_.size(); ++d) {
    if (static_cast<int>(d) < days.first || static_cast<int>(d) > days.last) continue;
    const size_t to = d + 1 < day_starts_.size() ? day_starts_[d + 1] : scores_.size();
    all.push_back({static_cast<int>(d), measure(day_starts_[d], to, true)});
  }
  return all;
}

Metrics Prequential::overall(DayRange days) const {
  if (day_starts_.empty() || static_cast<size_t>(days.first) >= day_starts_.size()) return {};
  const size_t last = std::min(static_cast<size_t>(days.last), day_starts_.size() - 1);
  const size_t to = last + 1 < day_starts_.size() ? day_starts_[last + 1] : scores_.size();
  Metrics m = measure(day_starts_[static_cast<size_t>(days.first)], to, false);
  double sum = 0;
  size_t counted = 0;
  for (const Day& day : by_day(days)) {
    if (day.metrics.rows == 0) continue;
    sum += day.metrics.card_precision_100;
    ++counted;
  }
  m.card_precision_100 = counted == 0 ? 0 : sum / static_cast<double>(counted);
  return m;
}

size_t Prequential::bytes() const {
  return scores_.capacity() * sizeof(float) + labels_.capacity() + cards_.capacity() * sizeof(uint64_t);
}

}  // namespace shrike::engine
