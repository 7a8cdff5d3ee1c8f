#include "tools/bench/tally.h"

#include <algorithm>

namespace shrike::tools::bench {
namespace {

constexpr HdrHistogram Tally::*kHistograms[] = {&Tally::latency, &Tally::uncorrected, &Tally::lag,
                                                &Tally::refusal, &Tally::label};
constexpr uint64_t Tally::*kCounts[] = {
    &Tally::arrivals,    &Tally::dropped,      &Tally::answered,       &Tally::late,       &Tally::duplicates,
    &Tally::off_clock,   &Tally::refused,      &Tally::unreadable,     &Tally::mismatched, &Tally::unanswered,
    &Tally::labels_sent, &Tally::labels_taken, &Tally::labels_refused, &Tally::reply_bytes};

}  // namespace

void Tally::add(const Tally& other) {
  for (const auto histogram : kHistograms) (this->*histogram).add(other.*histogram);
  for (const auto count : kCounts) this->*count += other.*count;
  sequence_max = std::max(sequence_max, other.sequence_max);
  for (const auto& [name, count] : other.steps) steps[name] += count;
  for (const auto& [name, count] : other.refusals) refusals[name] += count;
}

void Tally::reset() {
  for (const auto histogram : kHistograms) (this->*histogram).reset();
  for (const auto count : kCounts) this->*count = 0;
  sequence_max = 0;
  steps.clear();
  refusals.clear();
}

double Tally::error_share() const {
  if (arrivals == 0) return 0;
  return static_cast<double>(dropped + refused + unreadable + mismatched + unanswered) /
         static_cast<double>(arrivals);
}

}  // namespace shrike::tools::bench
