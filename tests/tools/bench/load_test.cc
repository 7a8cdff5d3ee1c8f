// The generator against peers that do what a test says. What is timed is only ever compared with what it must
// at least have been.
#include "tools/bench/load.h"

#include <gtest/gtest.h>

#include <functional>
#include <thread>
#include <zmq.hpp>

#include "tests/tools/support.h"
#include "tools/bench/machine.h"

namespace shrike::tools::bench {
namespace {

const engine::ConfigPtr& small() {
  static const engine::ConfigPtr config = *engine::parse_config(kSmallConfig, "small");
  return config;
}

// Hands every request to `on_request`, which may answer at once or later, through `answer`.
class Peer {
 public:
  using Address = std::string;
  explicit Peer(std::function<void(Peer&, Address, const std::string&)> on_request)
      : on_request_(std::move(on_request)) {
    socket_.bind("tcp://127.0.0.1:*");
    endpoint = socket_.get(zmq::sockopt::last_endpoint);
    socket_.set(zmq::sockopt::rcvtimeo, 20);
    socket_.set(zmq::sockopt::linger, 0);
    thread_ = std::thread([this] {
      zmq::message_t from, body;
      while (!stopping_) {
        if (!socket_.recv(from) || !socket_.recv(body)) continue;
        ++received;
        on_request_(*this, from.to_string(), body.to_string());
      }
    });
  }
  ~Peer() {
    stopping_ = true;
    thread_.join();
  }
  void answer(const Address& to, const std::string& text) {
    socket_.send(zmq::buffer(to), zmq::send_flags::sndmore);
    socket_.send(zmq::buffer(text));
  }
  std::string endpoint;
  std::atomic<uint64_t> received = 0;

 private:
  std::function<void(Peer&, Address, const std::string&)> on_request_;
  zmq::context_t context_;
  zmq::socket_t socket_{context_, zmq::socket_type::router};
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

LegOptions short_leg() {
  LegOptions options;
  options.arrivals.rate = 1000;
  options.seconds = 0.2;
  options.warm_up_s = 0;
  options.connections = 3;
  options.give_up_s = 20;
  return options;
}

Leg run(const LegOptions& options, const std::string& endpoint, ReplyReader* reader,
        std::vector<std::string> messages = {R"({"id":1})"}) {
  Repeated supply(std::move(messages));
  std::atomic<bool> stop = false;
  auto leg = run_leg(options, {endpoint, ""}, supply, reader, stop, {});
  EXPECT_TRUE(leg) << leg.error();
  return std::move(*leg);
}

TEST(Load, EveryArrivalOfTheScheduleIsSentAndAnswered) {
  Echo echo(10);
  for (const int connections : {1, 7, 300}) {
    LegOptions options = short_leg();
    options.connections = connections;
    const Leg leg = run(options, echo.endpoint(), nullptr);
    EXPECT_EQ(leg.tally.arrivals, 200u);
    EXPECT_EQ(leg.tally.answered, 200u);
    EXPECT_EQ(leg.tally.latency.count(), 200u);
    EXPECT_EQ(leg.tally.lag.count(), 200u);
    EXPECT_EQ(leg.tally.reply_bytes, 2000u);
    EXPECT_EQ(leg.tally.error_share(), 0);
  }
}

TEST(Load, WhatIsSentInTheWarmUpIsCountedNowhere) {
  Peer peer([](Peer& self, const Peer::Address& from, const std::string&) { self.answer(from, "x"); });
  LegOptions options = short_leg();
  options.warm_up_s = 0.1;
  const Leg leg = run(options, peer.endpoint, nullptr);
  EXPECT_EQ(peer.received, 300u);
  EXPECT_EQ(leg.tally.arrivals, 200u);
  EXPECT_EQ(leg.tally.answered, 200u);
}

// A peer that stalls and then answers all that piled up: of those that were meant to be sent during the stall
// each waited as long as there was left of it, and half of all waited at least half of it.
TEST(Load, AStallIsChargedToEveryoneWhoWouldHaveComeMeanwhile) {
  std::vector<Peer::Address> waiting;
  Peer peer([&](Peer& self, const Peer::Address& from, const std::string&) {
    waiting.push_back(from);
    if (waiting.size() < 200) return;
    for (const Peer::Address& address : waiting) self.answer(address, "x");
  });
  const Leg leg = run(short_leg(), peer.endpoint, nullptr);
  EXPECT_EQ(leg.tally.answered, 200u);
  EXPECT_GE(leg.tally.latency.max(), 198'000'000);
  EXPECT_GE(leg.tally.latency.at(50), 98'000'000);
  EXPECT_GE(leg.tally.latency.at(10), 18'000'000);
}

TEST(Load, WhatIsNeverAnsweredIsCountedAndIsInThePercentiles) {
  Peer peer([](Peer& self, const Peer::Address& from, const std::string&) {
    if (self.received % 2 == 0) self.answer(from, "x");
  });
  LegOptions options = short_leg();
  options.connections = 1;
  options.give_up_s = 0.3;
  const Leg leg = run(options, peer.endpoint, nullptr);
  EXPECT_EQ(leg.tally.answered, 100u);
  EXPECT_EQ(leg.tally.unanswered, 100u);
  EXPECT_EQ(leg.tally.latency.count(), 200u);
  EXPECT_GE(leg.tally.latency.at(100), 300'000'000);
  EXPECT_EQ(leg.tally.error_share(), 0.5);
}

TEST(Load, ArrivalsBeyondTheBoundInFlightAreDroppedAndCounted) {
  Peer peer([](Peer&, const Peer::Address&, const std::string&) {});
  LegOptions options = short_leg();
  options.in_flight_max = 50;
  options.give_up_s = 0.05;
  const Leg leg = run(options, peer.endpoint, nullptr);
  EXPECT_EQ(leg.tally.arrivals, 200u);
  EXPECT_EQ(leg.tally.dropped, 150u);
  EXPECT_EQ(leg.tally.unanswered, 50u);
}

TEST(Load, RefusalsAreCountedByTheirCodeAndKeptApartFromAnswers) {
  Peer peer([](Peer& self, const Peer::Address& from, const std::string&) {
    self.answer(from, self.received % 4 == 0 ? R"({"error":{"code":"overloaded","field":"","reason":"full"}})"
                                             : R"({"score":0.5,"step":"full","seq":7})");
  });
  ReplyReader reader(small());
  const Leg leg = run(short_leg(), peer.endpoint, &reader);
  EXPECT_EQ(leg.tally.answered, 150u);
  EXPECT_EQ(leg.tally.latency.count(), 150u);
  EXPECT_EQ(leg.tally.refusal.count(), 50u);
  EXPECT_EQ(leg.tally.refusals.at("overloaded"), 50u);
  EXPECT_EQ(leg.tally.steps.at("full"), 150u);
  EXPECT_EQ(leg.tally.sequence_max, 7u);
}

TEST(Load, AReplyThatNamesAnotherTransactionIsNoAnswer) {
  Peer peer([](Peer& self, const Peer::Address& from, const std::string&) {
    self.answer(from, R"({"id":5,"score":0.5,"step":"full","seq":7})");
  });
  ReplyReader reader(small());
  const Leg leg = run(short_leg(), peer.endpoint, &reader);  // asks with the tag 0
  EXPECT_EQ(leg.tally.answered, 0u);
  EXPECT_EQ(leg.tally.mismatched, 200u);
}

TEST(Load, IsStoppedAtOnceWithWhatWasMeasured) {
  std::atomic<bool> stop = false;
  Peer peer([&](Peer& self, const Peer::Address& from, const std::string&) {
    self.answer(from, "x");
    if (self.received == 50) stop = true;
  });
  LegOptions options = short_leg();
  options.seconds = 3600;
  Repeated supply({"x"});
  const auto leg = run_leg(options, {peer.endpoint, ""}, supply, nullptr, stop, {});
  ASSERT_TRUE(leg);
  EXPECT_TRUE(leg->stopped);
  EXPECT_GE(leg->tally.answered, 50u);
  EXPECT_LT(leg->seconds, 1800);
}

TEST(Load, IntervalsAddUpToTheWhole) {
  Echo echo(10);
  LegOptions options = short_leg();
  options.seconds = 2.5;
  Tally sum;
  int intervals = 0;
  double last_s = 0;
  Repeated supply({"x"});
  std::atomic<bool> stop = false;
  const auto leg = run_leg(options, {echo.endpoint(), ""}, supply, nullptr, stop,
                           [&](const Tally& interval, double from_s, double to_s) {
                             sum.add(interval);
                             ++intervals;
                             EXPECT_EQ(from_s, last_s);
                             last_s = to_s;
                           });
  ASSERT_TRUE(leg);
  EXPECT_GE(intervals, 2);
  EXPECT_EQ(sum.arrivals, 2500u);
  EXPECT_EQ(sum.latency.percentile_text(1), leg->tally.latency.percentile_text(1));
}

TEST(Load, AnEndpointThatIsNoneIsNamedWithTheRemedy) {
  Repeated supply({"x"});
  std::atomic<bool> stop = false;
  const auto leg = run_leg(short_leg(), {"nonsense", ""}, supply, nullptr, stop, {});
  ASSERT_FALSE(leg);
  EXPECT_NE(leg.error().find("nonsense"), std::string::npos);
  EXPECT_NE(leg.error().find("tcp://ADDRESS:PORT"), std::string::npos);
}

}  // namespace
}  // namespace shrike::tools::bench
