// How far event time has come: the watermark, and which transactions may move it. No single event moves it
// far. The watermark goes forward alone with the stream, by at most limits.lateness at once, so that honest
// traffic never becomes too late for one wrong clock. A longer step needs the server's clock to agree
// (limits.clock = "live") or other transactions, of other entities, dated alike. Where the stream's own time
// runs ("event": simulators, backfills, replays) a gap is a gap. Part of the fold, and its state: what
// depends on a server's clock is in the log as each transaction's mark.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "engine/config/config.h"
#include "engine/fold/event.h"

namespace shrike::engine {

namespace proto {
class FoldRecord;
}

// What besides the fold's own state decides a transaction's mark.
struct ClockSource {
  std::optional<int64_t> server_us;  // microseconds since 1970; none where the stream's own time runs
  Clock recorded = Clock::kOnTime;   // the log's mark, which stands unless it is on time
};

class EventTime {
 public:
  explicit EventTime(ConfigPtr config) : config_(std::move(config)) {}

  // Of events that count; nothing is known before the first.
  bool known() const { return watermark_us_ != INT64_MIN; }
  int64_t watermark_us() const { return watermark_us_; }

  Clock judge(const Transaction& transaction, const ClockSource& source) const;

  enum class Step : uint8_t {
    kForward,  // or none
    kFirst,
    kBack,  // the first transactions, which stood almost alone, were wrong: this one's time counts now
  };
  // A transaction that is on time.
  Step advance(const Transaction& transaction);
  // One that is not: others may agree with it.
  void note(const Transaction& transaction);
  // Have enough transactions of other entities been noted within limits.lateness of it?
  bool agree_with(const Transaction& transaction) const;
  // Event time is this from now on.
  void set(int64_t watermark_us);

  void save(proto::FoldRecord& record) const;
  void restore(const proto::FoldRecord& record);

  // So many transactions, of different entities, agree.
  static constexpr size_t kAgree = 3;
  static constexpr size_t kStraysMax = 64;

 private:
  struct Stray {
    int64_t time_us;
    std::vector<Key> entities;
  };

  ConfigPtr config_;
  int64_t watermark_us_ = INT64_MIN;
  size_t support_ = 0;        // transactions on time, up to kAgree
  std::deque<Stray> strays_;  // the newest transactions that were not on time
};

}  // namespace shrike::engine
