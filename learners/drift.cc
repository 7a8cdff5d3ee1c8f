#include "learners/drift.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "learners/numeric/numeric.h"

namespace shrike::learners {

void Adwin::Row::pop(size_t n) {
  for (size_t i = n; i < count; ++i) buckets[i - n] = buckets[i];
  count -= n;
}

void Adwin::insert(double x) {
  if (rows_.empty()) rows_.emplace_back();
  rows_[0].buckets[rows_[0].count++] = {x, 0};
  ++width_;
  if (width_ > 1) {
    const auto before = static_cast<double>(width_ - 1);
    const double off = x - total_ / before;
    variance_ += before * off * off / static_cast<double>(width_);
  }
  total_ += x;
  for (size_t i = 0; i < rows_.size() && rows_[i].count == kBucketsMax + 1; ++i) {
    if (i + 1 == rows_.size()) rows_.emplace_back();
    const Bucket a = rows_[i].buckets[0], b = rows_[i].buckets[1];
    const auto n = static_cast<double>(uint64_t{1} << i);
    const double off = a.total / n - b.total / n;
    rows_[i + 1].buckets[rows_[i + 1].count++] = {a.total + b.total,
                                                  a.variance + b.variance + n * n * off * off / (n + n)};
    rows_[i].pop(2);
  }
}

void Adwin::drop_oldest() {
  Row& row = rows_.back();
  const auto n = static_cast<double>(uint64_t{1} << (rows_.size() - 1));
  const Bucket oldest = row.buckets[0];
  width_ -= uint64_t{1} << (rows_.size() - 1);
  total_ -= oldest.total;
  const auto rest = static_cast<double>(width_);
  const double off = width_ > 0 ? oldest.total / n - total_ / rest : 0;
  variance_ -= oldest.variance + n * rest * off * off / (n + rest);
  row.pop(1);
  while (!rows_.empty() && rows_.back().count == 0) rows_.pop_back();
}

// True when the oldest bucket was dropped because some cut shows two different means.
bool Adwin::cut() {
  constexpr double kLeast = 5;  // values in either part
  const auto width = static_cast<double>(width_);
  const double confidence = exact_log(2 * exact_log(width) / delta_);
  const double spread = variance_ / width;
  double n0 = 0, n1 = width, u0 = 0, u1 = total_;
  for (size_t i = rows_.size(); i-- > 0;) {
    const auto n = static_cast<double>(uint64_t{1} << i);
    // As the common implementations do, the newest bucket of each size takes no part.
    for (size_t k = 0; k + 1 < rows_[i].count; ++k) {
      n0 += n;
      n1 -= n;
      u0 += rows_[i].buckets[k].total;
      u1 -= rows_[i].buckets[k].total;
      if (n0 < kLeast || n1 < kLeast) continue;
      const double m = 1 / (n0 - kLeast + 1) + 1 / (n1 - kLeast + 1);
      const double allowed = std::sqrt(2 * m * spread * confidence) + 2.0 / 3 * confidence * m;
      if (std::fabs(u0 / n0 - u1 / n1) > allowed) {
        drop_oldest();
        return true;
      }
    }
  }
  return false;
}

bool Adwin::update(double x) {
  insert(x);
  bool changed = false;
  constexpr uint64_t kGrace = 10;
  if (++ticks_ % clock_ == 0 && width_ > kGrace) {
    while (width_ > kGrace && cut()) changed = true;
  }
  return changed;
}

std::vector<double> Adwin::save() const {
  std::vector<double> state = {static_cast<double>(ticks_), static_cast<double>(width_), total_, variance_};
  for (const Row& row : rows_) {
    state.push_back(static_cast<double>(row.count));
    for (size_t k = 0; k < row.count; ++k)
      state.insert(state.end(), {row.buckets[k].total, row.buckets[k].variance});
  }
  return state;
}

bool Adwin::restore(const std::vector<double>& state) {
  rows_.clear();
  if (state.size() < 4) return false;
  for (const double number : state) {
    if (!std::isfinite(number)) return false;
  }
  if (!(state[0] >= 0 && state[0] < 9e15 && state[1] >= 0 && state[1] < 9e15)) return false;
  ticks_ = static_cast<uint64_t>(state[0]);
  width_ = static_cast<uint64_t>(state[1]);
  total_ = state[2];
  variance_ = state[3];
  uint64_t values = 0;
  for (size_t at = 4; at < state.size();) {
    const double count = state[at++];
    if (!(count >= 0 && count <= kBucketsMax) || rows_.size() > 50) return false;
    Row row;
    row.count = static_cast<size_t>(count);
    if (at + 2 * row.count > state.size()) return false;
    for (size_t k = 0; k < row.count; ++k, at += 2) row.buckets[k] = {state[at], state[at + 1]};
    values += row.count << rows_.size();
    rows_.push_back(row);
  }
  return values == width_;
}

bool PageHinkley::update(double x) {
  ++n_;
  mean_ += (x - mean_) / static_cast<double>(n_);
  sum_ = std::fmax(0, alpha_ * sum_ + (x - mean_ - delta_));
  if (n_ < least_ || sum_ <= threshold_) return false;
  *this = PageHinkley(delta_, threshold_, alpha_, least_);
  return true;
}

bool Ddm::update(double x) {
  ++n_;
  p_ += (x - p_) / static_cast<double>(n_);
  const double s = std::sqrt(p_ * (1 - p_) / static_cast<double>(n_));
  if (n_ <= least_) return false;
  if (p_ + s <= p_min_ + s_min_) {
    p_min_ = p_;
    s_min_ = s;
  }
  if (p_ + s <= p_min_ + drift_ * s_min_) return false;
  *this = Ddm(drift_, least_);
  return true;
}

bool Eddm::update(double x) {
  ++n_;
  if (x < 0.5) return false;
  ++errors_;
  const auto distance = static_cast<double>(n_ - last_);
  last_ = n_;
  const double before = mean_;
  mean_ += (distance - mean_) / static_cast<double>(errors_);
  squares_ += (distance - mean_) * (distance - before);
  const double spread = mean_ + 2 * std::sqrt(squares_ / static_cast<double>(errors_));
  if (n_ + 1 < least_) return false;
  if (spread > best_) {
    best_ = spread;
    return false;
  }
  if (errors_ <= least_ || spread / best_ >= drift_) return false;
  *this = Eddm(drift_, least_);
  return true;
}

bool HddmA::update(double x) {
  n_ += 1;
  sum_ += x;
  if (n_min_ == 0) {
    n_min_ = n_;
    sum_min_ = sum_;
  }
  const double log_confidence = exact_log(1 / confidence_);
  const double bound_min = std::sqrt(log_confidence / (2 * n_min_)),
               bound = std::sqrt(log_confidence / (2 * n_));
  if (sum_min_ / n_min_ + bound_min >= sum_ / n_ + bound) {
    sum_min_ = sum_;
    n_min_ = n_;
  }
  if (n_min_ == n_) return false;
  const double m = (n_ - n_min_) / n_min_ / n_;
  if (sum_ / n_ - sum_min_ / n_min_ < std::sqrt(m / 2 * exact_log(2 / confidence_))) return false;
  *this = HddmA(confidence_);
  return true;
}

void HddmW::Average::add(double x, double lambda) {
  if (mean < 0) {
    mean = x;
    bound = 1;
    return;
  }
  mean = lambda * x + (1 - lambda) * mean;
  bound = lambda * lambda + (1 - lambda) * (1 - lambda) * bound;
}

bool HddmW::update(double x) {
  all_.add(x, lambda_);
  const double log_confidence = exact_log(1 / confidence_);
  const double allowed = std::sqrt(all_.bound * log_confidence / 2);
  if (all_.mean + allowed < cut_) {
    cut_ = all_.mean + allowed;
    before_ = all_;
    after_ = {};
  } else {
    after_.add(x, lambda_);
  }
  if (before_.mean < 0 || after_.mean < 0) return false;
  if (after_.mean - before_.mean <= std::sqrt((before_.bound + after_.bound) * log_confidence / 2))
    return false;
  *this = HddmW(confidence_, lambda_);
  return true;
}

double ks_tail(uint64_t n, uint64_t steps) {
  if (steps == 0) return 1;
  // 2 (C(2n, n - s) - C(2n, n - 2s) + ...) / C(2n, n)
  double sum = 0, sign = 1;
  for (uint64_t s = steps; s <= n; s += steps, sign = -sign) {
    double term = 1;
    for (uint64_t i = 1; i <= s; ++i) term *= static_cast<double>(n - s + i) / static_cast<double>(n + i);
    sum += sign * term;
  }
  return std::clamp(2 * sum, 0.0, 1.0);
}

Kswin::Kswin(double alpha, size_t window, size_t newest, uint64_t seed)
    : alpha_(alpha), width_(window), newest_(newest), seed_(seed) {
  assert(newest > 0 && 2 * newest <= window);
  window_.reserve(window);
}

bool Kswin::differ() {
  const auto split = window_.end() - static_cast<std::ptrdiff_t>(newest_);
  older_part_.assign(window_.begin(), split);
  recent_.assign(split, window_.end());
  uint64_t dice = mix(seed_ ^ mix(n_));
  for (size_t i = 0; i < newest_; ++i) {  // the first steps of a shuffle
    dice = mix(dice + i);
    std::swap(older_part_[i], older_part_[i + dice % (older_part_.size() - i)]);
  }
  drawn_.assign(older_part_.begin(), older_part_.begin() + static_cast<std::ptrdiff_t>(newest_));
  std::sort(drawn_.begin(), drawn_.end());
  std::sort(recent_.begin(), recent_.end());
  size_t steps = 0;
  for (size_t a = 0, b = 0; a < newest_ && b < newest_;) {
    const double x = std::fmin(drawn_[a], recent_[b]);
    while (a < newest_ && drawn_[a] == x) ++a;
    while (b < newest_ && recent_[b] == x) ++b;
    steps = std::max(steps, a > b ? a - b : b - a);
  }
  return static_cast<double>(steps) > 0.1 * static_cast<double>(newest_) && ks_tail(newest_, steps) <= alpha_;
}

bool Kswin::update(double x) {
  if (!std::isfinite(x)) return false;
  bool changed = false;
  if (window_.size() == width_) {
    changed = differ();
    const size_t stay = changed ? newest_ : width_ - 1;
    window_.erase(window_.begin(), window_.end() - static_cast<std::ptrdiff_t>(stay));
  }
  window_.push_back(x);
  ++n_;
  return changed;
}

}  // namespace shrike::learners
