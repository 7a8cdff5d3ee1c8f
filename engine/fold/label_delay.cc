#include "engine/fold/label_delay.h"

#include <algorithm>
#include <cmath>

#include "engine/fold/log.pb.h"

namespace shrike::engine {
namespace {

size_t place(int64_t cohort) { return static_cast<size_t>(cohort) % LabelDelays::kBins; }

}  // namespace

LabelDelays::LabelDelays(int64_t maturity_us, int64_t expected_us) : unit_us_(maturity_us / kPerMaturity) {
  if (expected_us > 0)
    expected_share_ = 1 - std::exp(-static_cast<double>(maturity_us) / static_cast<double>(expected_us));
  share_ = expected_share_;
}

// What is older than the span is forgotten, one cohort for each new one.
void LabelDelays::slide(int64_t cohort) {
  if (newest_ == INT64_MIN) newest_ = cohort;
  const int64_t from = std::max(newest_ + 1, cohort - static_cast<int64_t>(kBins) + 1);
  for (int64_t c = from; c <= cohort; ++c) counts_[place(c)].fill(0);
  newest_ = std::max(newest_, cohort);
}

void LabelDelays::add(int64_t transaction_us, int64_t label_us, int64_t now_us) {
  if (unit_us_ <= 0 || transaction_us < 0 || label_us < transaction_us) return;
  slide(now_us / unit_us_);
  const int64_t cohort = transaction_us / unit_us_;
  if (cohort > newest_ || cohort <= newest_ - static_cast<int64_t>(kBins)) return;
  // Rounded up: what takes exactly the maturity period comes within it.
  const int64_t delay = (label_us - transaction_us + unit_us_ - 1) / unit_us_;
  if (delay >= static_cast<int64_t>(kBins)) return;
  ++counts_[place(cohort)][static_cast<size_t>(delay)];
}

// Backwards from the longest delay: of the labels that could show a delay of k (their transactions are old
// enough) and took at most that, which share took exactly that?
double LabelDelays::estimate(int64_t now) const {
  std::array<double, kBins> took{}, at_risk{};
  double labels = 0;
  for (size_t age = 0; age < kBins; ++age) {
    const auto& cohort = counts_[place(now - static_cast<int64_t>(age))];
    double within = 0;
    for (size_t delay = 0; delay < kBins; ++delay) {
      took[delay] += cohort[delay];
      within += cohort[delay];
      // A cohort of `age` units has seen all delays up to `age`.
      if (age >= delay) at_risk[delay] += within;
    }
    labels += within;
  }
  if (labels < static_cast<double>(kLabelsMin)) return expected_share_;
  double share = 1;
  for (size_t delay = kBins - 1; delay > static_cast<size_t>(kPerMaturity); --delay) {
    if (at_risk[delay] > 0) share *= 1 - std::min(1.0, took[delay] / at_risk[delay]);
  }
  return share;
}

double LabelDelays::share_by_maturity(int64_t now_us) {
  if (unit_us_ <= 0 || now_us < 0) return expected_share_;
  const int64_t now = now_us / unit_us_;
  if (now != estimated_at_ && newest_ != INT64_MIN) {
    slide(now);
    share_ = estimate(now);
    estimated_at_ = now;
  }
  return share_;
}

double LabelDelays::weight_of_silence(double score, int64_t now_us) {
  const double share = share_by_maturity(now_us);
  if (share >= 1) return 1;
  const double p = std::clamp(score, 0.0, 1.0);
  return (1 - p) / std::max(1 - p * share, 1e-9);
}

void LabelDelays::save(proto::LabelDelaysRecord& record) const {
  if (newest_ == INT64_MIN) return;  // no label yet
  record.set_newest(newest_);
  record.set_estimated_at(estimated_at_);
  record.set_share(share_);
  for (size_t i = 0; i < kBins * kBins; ++i) {
    const uint32_t count = counts_[i / kBins][i % kBins];
    if (count == 0) continue;
    record.add_cell(static_cast<uint32_t>(i));
    record.add_count(count);
  }
}

bool LabelDelays::restore(const proto::LabelDelaysRecord& record) {
  if (record.cell_size() != record.count_size()) return false;
  if (!record.has_newest()) return record.cell_size() == 0;
  newest_ = record.newest();
  estimated_at_ = record.estimated_at();
  share_ = record.share();
  for (auto& cohort : counts_) cohort.fill(0);
  for (int i = 0; i < record.cell_size(); ++i) {
    if (record.cell(i) >= kBins * kBins) return false;
    counts_[record.cell(i) / kBins][record.cell(i) % kBins] = record.count(i);
  }
  return share_ >= 0 && share_ <= 1;
}

}  // namespace shrike::engine
