#include "tools/bench/load.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "tools/bench/wires.h"

namespace shrike::tools::bench {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
// Between two looks at replies; a backlog of arrivals is not sent all at once.
constexpr int kSendsMax = 64;
// The longest sleep, so that a stop and a request for the tally are soon seen.
constexpr int64_t kSleepMaxNs = 5'000'000;
// When requests are not made fast enough, so that whoever makes them has the processor.
constexpr int64_t kStarvedNs = 100'000;

// Sends and receives; its run() is the generator's thread. One tally is filled at a time: whoever wants it
// offers an empty one in exchange.
class Generator {
 public:
  Generator(const LegOptions& options, Supply& supply, ReplyReader* reader, const std::atomic<bool>& stop)
      : options_(options),
        supply_(supply),
        reader_(reader),
        stop_(stop),
        arrivals_(options.arrivals),
        wires_(options.connections + 1),
        in_flight_(static_cast<size_t>(options.connections) + 1),
        tally_(std::make_unique<Tally>()) {}

  tl::expected<void, std::string> connect(const Target& target) {
    for (int i = 0; i < options_.connections; ++i) {
      if (auto made = wires_.connect(target.score, target.secured); !made) return made;
    }
    if (target.feedback.empty()) return {};
    labels_ = true;
    return wires_.connect(target.feedback, target.secured);
  }

  // `started_ns`: of the schedule.
  void run(int64_t started_ns) {
    prctl(PR_SET_TIMERSLACK, 1);  // Linux rounds a sleep up by 50 us unless told not to
    started_ns_ = started_ns;
    measured_ns_ = started_ns + static_cast<int64_t>(options_.warm_up_s * kSecondNs);
    const int64_t end_ns = measured_ns_ + static_cast<int64_t>(options_.seconds * kSecondNs);
    const auto on_reply = [this](size_t wire, std::string_view reply) { take(wire, reply); };
    next_ns_ = started_ns + arrivals_.next_ns();
    while (next_ns_ < end_ns && !stop_ && !supply_.ended()) {
      const bool caught_up = send_due(end_ns);
      hand_over();
      const int64_t left = caught_up  ? std::min(next_ns_ - clock_ns(), kSleepMaxNs)
                           : starved_ ? kStarvedNs
                                      : 0;
      wires_.receive(left, on_reply);
    }
    ended_ns_ = next_ns_ < end_ns ? std::min(clock_ns(), end_ns) : end_ns;
    const int64_t give_up_ns = clock_ns() + static_cast<int64_t>(options_.give_up_s * kSecondNs);
    while (flying_ > 0 && clock_ns() < give_up_ns) {
      hand_over();
      wires_.receive(kSleepMaxNs, on_reply);
    }
    give_up();
  }

  // From the caller's thread.
  void offer(Tally* empty) { offered_.store(empty, std::memory_order_release); }
  std::unique_ptr<Tally> taken() { return std::unique_ptr<Tally>(filled_.exchange(nullptr)); }
  std::unique_ptr<Tally> withdraw() { return std::unique_ptr<Tally>(offered_.exchange(nullptr)); }
  // After run().
  std::unique_ptr<Tally> last() { return std::move(tally_); }
  double measured_s() const {
    return static_cast<double>(std::max<int64_t>(ended_ns_ - measured_ns_, 0)) / 1e9;
  }

 private:
  struct Sent {
    int64_t intended_ns, sent_ns;
    uint64_t tag;
  };

  size_t feedback_wire() const { return static_cast<size_t>(options_.connections); }

  // What is due by now, at most so many. False when more is due, or nothing was ready to be sent.
  bool send_due(int64_t end_ns) {
    starved_ = false;
    for (int i = 0; i < kSendsMax; ++i) {
      const int64_t now = clock_ns();
      if (next_ns_ > now || next_ns_ >= end_ns) return true;
      const bool measured = next_ns_ >= measured_ns_;
      if (flying_ >= options_.in_flight_max) {
        tally_->arrivals += measured;
        tally_->dropped += measured;
      } else {
        Request request;
        starved_ = !supply_.next(request);
        if (starved_) return false;
        if (request.label) {
          send_label(request, now);
          continue;
        }
        send(request, measured);
      }
      next_ns_ = started_ns_ + arrivals_.next_ns();
    }
    return false;
  }

  void send(const Request& request, bool measured) {
    const size_t wire = next_wire_++ % static_cast<size_t>(options_.connections);
    const int64_t sent_ns = clock_ns();
    in_flight_[wire].push_back({next_ns_, sent_ns, request.tag});
    ++flying_;
    wires_.send(wire, request.bytes);
    if (!measured) return;
    ++tally_->arrivals;
    tally_->lag.record(sent_ns - next_ns_);
  }

  // A label is meant to leave with the transaction behind it.
  void send_label(const Request& request, int64_t now) {
    if (!labels_) return;
    in_flight_[feedback_wire()].push_back({next_ns_, now, 0});
    ++flying_;
    wires_.send(feedback_wire(), request.bytes);
    tally_->labels_sent += next_ns_ >= measured_ns_;
  }

  void take(size_t wire, std::string_view bytes) {
    const int64_t now = clock_ns();
    std::deque<Sent>& waiting = in_flight_[wire];
    if (waiting.empty()) {  // a reply to nothing
      ++tally_->mismatched;
      return;
    }
    const Sent sent = waiting.front();
    waiting.pop_front();
    --flying_;
    if (sent.intended_ns < measured_ns_) return;
    if (labels_ && wire == feedback_wire()) {
      tally_->label.record(now - sent.intended_ns);
      ++(ReplyReader::refused(bytes) ? tally_->labels_refused : tally_->labels_taken);
    } else {
      count(sent, bytes, now);
    }
  }

  void count(const Sent& sent, std::string_view bytes, int64_t now) {
    tally_->reply_bytes += bytes.size();
    Reply reply;
    if (reader_ != nullptr) reply = reader_->read(bytes);
    if (reader_ != nullptr && reply.has_tag && reply.tag != sent.tag) {
      ++tally_->mismatched;
    } else if (reader_ == nullptr || reply.kind == Reply::Kind::kAnswer) {
      ++tally_->answered;
      tally_->late += now - sent.intended_ns > options_.deadline_us * 1000;
      tally_->duplicates += reply.duplicate;
      tally_->off_clock += reply.off_clock;
      tally_->sequence_max = std::max(tally_->sequence_max, reply.sequence);
      tally_->latency.record(now - sent.intended_ns);
      tally_->uncorrected.record(now - sent.sent_ns);
      if (reader_ != nullptr) add_one(tally_->steps, reply.word);
    } else if (reply.kind == Reply::Kind::kRefusal) {
      ++tally_->refused;
      tally_->refusal.record(now - sent.intended_ns);
      add_one(tally_->refusals, reply.word);
    } else {
      ++tally_->unreadable;
    }
  }

  static void add_one(std::map<std::string, uint64_t, std::less<>>& counts, std::string_view name) {
    const auto found = counts.find(name);
    ++(found != counts.end() ? found->second : counts[std::string(name)]);
  }

  // What has not come took at least this long: left out, the worst would not be in the percentiles.
  void give_up() {
    const int64_t now = clock_ns();
    for (size_t wire = 0; wire < feedback_wire(); ++wire) {
      for (const Sent& sent : in_flight_[wire]) {
        if (sent.intended_ns < measured_ns_) continue;
        ++tally_->unanswered;
        tally_->latency.record(now - sent.intended_ns);
        tally_->uncorrected.record(now - sent.sent_ns);
      }
    }
  }

  void hand_over() {
    Tally* fresh = offered_.exchange(nullptr, std::memory_order_acquire);
    if (fresh == nullptr) return;
    filled_.store(tally_.release(), std::memory_order_release);
    tally_.reset(fresh);
  }

  const LegOptions& options_;
  Supply& supply_;
  ReplyReader* reader_;
  const std::atomic<bool>& stop_;
  Arrivals arrivals_;
  Wires wires_;
  bool labels_ = false, starved_ = false;
  std::vector<std::deque<Sent>> in_flight_;  // by wire; replies of one keep the order of its requests
  size_t flying_ = 0, next_wire_ = 0;
  int64_t started_ns_ = 0, measured_ns_ = 0, ended_ns_ = 0, next_ns_ = 0;
  std::unique_ptr<Tally> tally_;
  std::atomic<Tally*> offered_{nullptr}, filled_{nullptr};
};

double cpu_s() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

}  // namespace

tl::expected<Leg, std::string> run_leg(const LegOptions& options, const Target& target, Supply& supply,
                                       ReplyReader* reader, const std::atomic<bool>& stop,
                                       const OnInterval& on_interval) {
  Generator generator(options, supply, reader, stop);
  if (auto connected = generator.connect(target); !connected) return tl::make_unexpected(connected.error());
  Leg leg;
  leg.arrivals = options.arrivals;
  leg.lag_max_us = options.lag_max_us;

  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  const double cpu_before_s = cpu_s();
  const int64_t started_ns = clock_ns();
  std::thread thread([&] {
    generator.run(started_ns);
    const std::lock_guard lock(mutex);
    done = true;
    changed.notify_one();
  });

  const double measured_from_s = static_cast<double>(started_ns) / 1e9 + options.warm_up_s;
  double last_s = 0;
  const auto gather = [&](const Tally& interval, double now_s) {
    leg.tally.add(interval);
    if (on_interval && now_s > last_s) on_interval(interval, last_s, now_s);
    last_s = std::max(now_s, last_s);
  };
  const auto now_s = [&] { return static_cast<double>(clock_ns()) / 1e9 - measured_from_s; };
  auto empty = std::make_unique<Tally>();
  bool offered = false;
  for (std::unique_lock lock(mutex); !done;) {
    changed.wait_for(lock, std::chrono::milliseconds(20), [&] { return done; });
    if (auto filled = generator.taken(); filled != nullptr) {
      gather(*filled, now_s());
      filled->reset();
      empty = std::move(filled);
      offered = false;
    } else if (!offered && !done && now_s() >= last_s + 1) {
      generator.offer(empty.release());
      offered = true;
    }
  }
  thread.join();
  if (auto filled = generator.taken(); filled != nullptr) gather(*filled, now_s());
  generator.withdraw();
  gather(*generator.last(), now_s());
  leg.cores = (cpu_s() - cpu_before_s) / (static_cast<double>(clock_ns() - started_ns) / 1e9);
  leg.seconds = generator.measured_s();
  leg.stopped = stop;
  leg.supply_ended = supply.ended();
  return leg;
}

}  // namespace shrike::tools::bench
