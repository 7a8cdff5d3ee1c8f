// What a load counts over some time, and adds up. Times are nanoseconds. Plain data.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tools/bench/hdr_histogram.h"

namespace shrike::tools::bench {

// From a nanosecond to an hour, within 0.1 %.
inline HdrHistogram times() { return HdrHistogram(1, 3'600'000'000'000, 3); }

struct Tally {
  HdrHistogram latency = times();      // of answers, from the moment they were meant to be asked for
  HdrHistogram uncorrected = times();  // of the same, from the moment they were asked for
  HdrHistogram lag = times();          // from when a request was meant to leave to when it left
  HdrHistogram refusal = times();      // as latency, of refusals
  HdrHistogram label = times();        // as latency, of labels

  uint64_t arrivals = 0;                   // sent or dropped
  uint64_t dropped = 0;                    // not sent, for too many were in flight
  uint64_t answered = 0;                   // with a score
  uint64_t late = 0;                       // of these, after the deadline
  uint64_t duplicates = 0, off_clock = 0;  // of these, as the server says
  uint64_t refused = 0, unreadable = 0;
  uint64_t mismatched = 0;  // replies that name another transaction than the one whose turn it is
  uint64_t unanswered = 0;  // when the load gave up waiting
  uint64_t labels_sent = 0, labels_taken = 0, labels_refused = 0;
  uint64_t reply_bytes = 0;
  uint64_t sequence_max = 0;  // of the log's events that answers name
  std::map<std::string, uint64_t, std::less<>> steps, refusals;

  void add(const Tally& other);
  void reset();
  // Of all arrivals, the share that was not answered with a score.
  double error_share() const;
};

}  // namespace shrike::tools::bench
