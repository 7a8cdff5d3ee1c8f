#include "engine/serve/intake.h"

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <random>

namespace shrike::engine {
namespace {

constexpr int64_t kLater = INT64_MAX / 2;

// As many as may wait, for as long as may be.
Intake::Limits roomy() { return {.requests_max = 1'000'000, .wait_us_max = 0}; }

EnvelopePtr request(const std::string& client, uint64_t number, int64_t deadline_us = kLater) {
  auto envelope = std::make_unique<Envelope>();
  envelope->peer.address = client;
  envelope->sequence = number;
  envelope->become<asked::Score>().deadline_us = deadline_us;
  return envelope;
}

TEST(Intake, AQuietClientsRequestIsTheNextButOneBesideAFlood) {
  Intake intake(roomy());
  for (uint64_t i = 0; i < 1000; ++i) intake.add(request("flood", i), kLater, 0);
  intake.next(0);
  intake.add(request("quiet", 7), kLater, 0);
  EXPECT_EQ(intake.next(0)->peer.address, "flood");
  const EnvelopePtr second = intake.next(0);
  EXPECT_EQ(second->peer.address, "quiet");
  EXPECT_EQ(second->sequence, 7u);
  EXPECT_EQ(intake.waiting(), 998u);
}

TEST(Intake, ARequestThatWouldWaitTooLongIsRefusedWithAHintAndOthersAreNot) {
  Intake intake({.requests_max = 1'000'000, .wait_us_max = 10'000});
  uint64_t n = 0;
  const auto flood = [&] { intake.add(request("flood", n++), kLater, 0); };
  for (int i = 0; i < 100; ++i) flood();
  EXPECT_EQ(intake.waiting(), 100u);
  while (intake.waiting() < 10'000 && n < 100'000) flood();
  // At the pace that is taken for granted, about as many as make up 10 ms.
  EXPECT_NEAR(static_cast<double>(intake.waiting()) * intake.service_us(), 10'000, 100);
  intake.add(request("quiet", 0), kLater, 0);
  std::map<std::string, int> answered, refused;
  while (EnvelopePtr next = intake.next(0)) {
    ++(next->error ? refused : answered)[next->peer.address];
    if (!next->error) continue;
    EXPECT_EQ(next->error->code, ErrorCode::kOverloaded);
    EXPECT_GE(next->error->retry_after_ms, 10);
  }
  EXPECT_EQ(answered["quiet"], 1);
  EXPECT_EQ(refused["quiet"], 0);
  EXPECT_EQ(answered["flood"] + refused["flood"], 100'000);
}

TEST(Intake, WhatADeadlineDoesNotAllowIsRefusedAtOnceOrWhenItsTurnComes) {
  Intake intake(roomy());
  for (uint64_t i = 0; i < 100; ++i) intake.add(request("a", i), kLater, 0);
  intake.add(request("a", 100, 1'000), 1'000, 0);  // a hundred before it take longer
  intake.add(request("b", 0, 500), 500, 0);
  EXPECT_EQ(intake.waiting(), 101u);
  EXPECT_FALSE(intake.next(100)->error);
  const EnvelopePtr late = intake.next(600);
  EXPECT_EQ(late->peer.address, "b");
  ASSERT_TRUE(late->error);
  EXPECT_EQ(late->error->code, ErrorCode::kOverloaded);
  for (uint64_t i = 1; i < 100; ++i) EXPECT_EQ(intake.next(700)->sequence, i);
  EXPECT_TRUE(intake.next(700)->error);
  EXPECT_EQ(intake.next(700), nullptr);
  EXPECT_EQ(intake.waiting(), 0u);
}

TEST(Intake, KnowsThePaceAtWhichWhatWaitsLeaves) {
  Intake intake(roomy());
  for (uint64_t i = 0; i < 5'000; ++i) intake.add(request("a", i), kLater, 0);
  int64_t now_us = 1;
  for (int i = 0; i < 4'000; ++i) intake.next(now_us += 100);
  EXPECT_NEAR(intake.service_us(), 100, 2);
  intake.next(now_us += 5'000'000);  // it stood still, once
  EXPECT_LE(intake.service_us(), 200);
  while (intake.next(now_us += 100)) {
  }
  // One that comes now and then has a pace of its own.
  for (uint64_t i = 0; i < 100; ++i) {
    intake.add(request("a", i), kLater, now_us);
    intake.next(now_us += 10'000);
  }
  EXPECT_LE(intake.service_us(), 200);
}

TEST(Intake, APausedClientWaitsAndOthersDoNot) {
  Intake intake(roomy());
  for (uint64_t i = 0; i < 3; ++i) intake.add(request("a", i), kLater, 0);
  intake.add(request("b", 9), kLater, 0);
  intake.next(0);
  intake.pause("a");
  intake.add(request("a", 3), kLater, 0);
  EXPECT_EQ(intake.next(0)->sequence, 9u);
  EXPECT_EQ(intake.next(0), nullptr);
  EXPECT_EQ(intake.waiting(), 3u);
  intake.resume("a");
  for (uint64_t i = 1; i < 4; ++i) EXPECT_EQ(intake.next(0)->sequence, i);
  intake.pause("c");  // one that has nothing waiting
  intake.add(request("c", 0), kLater, 0);
  EXPECT_EQ(intake.next(0), nullptr);
  intake.resume("c");
  EXPECT_NE(intake.next(0), nullptr);
}

// Whatever is refused or paused: each client's requests leave in the order in which they came, once.
TEST(Intake, KeepsEachClientsOrder) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    Intake intake({.requests_max = 40, .wait_us_max = 600});
    std::map<std::string, uint64_t> came, left;
    std::deque<std::string> under_way;
    int64_t now_us = 1;
    const auto client = [&] { return std::string(1, static_cast<char>('a' + random() % 5)); };
    const auto take = [&] {
      const EnvelopePtr next = intake.next(now_us);
      if (next == nullptr) return;
      ASSERT_EQ(next->sequence, left[next->peer.address]++) << "seed " << seed;
      under_way.push_back(next->peer.address);
    };
    for (int step = 0; step < 5'000; ++step) {
      now_us += random() % 50;
      const std::string who = client();
      switch (random() % 9) {
        case 0:
          intake.pause(who);
          break;
        case 1:
          intake.resume(who);
          break;
        case 2:
        case 3:
        case 4: {
          const int64_t deadline_us = now_us + static_cast<int64_t>(random() % 2'000);
          const auto added = intake.add(request(who, came[who]++, deadline_us), deadline_us, now_us);
          if (added.answer_now == nullptr) break;
          ASSERT_EQ(++left[who], came[who]) << "seed " << seed;
          break;
        }
        case 5:
          if (under_way.empty()) break;
          intake.answered(under_way.front());
          under_way.pop_front();
          break;
        default:
          take();
      }
    }
    for (const char* name : {"a", "b", "c", "d", "e"}) intake.resume(name);
    while (!intake.empty()) take();
    EXPECT_EQ(came, left) << "seed " << seed;
  }
}

TEST(Intake, AClientThatWaitsForNothingElseIsRefusedAtOnce) {
  Intake intake(roomy());
  const auto bad = [](const std::string& client) {
    EnvelopePtr envelope = request(client, 0);
    envelope->error = Error{ErrorCode::kMalformed, "", ""};
    return envelope;
  };
  EXPECT_NE(intake.add(bad("a"), kLater, 0).answer_now, nullptr);
  EXPECT_FALSE(intake.add(request("a", 1), kLater, 0).refused);
  const auto behind = intake.add(bad("a"), kLater, 0);
  EXPECT_TRUE(behind.refused);
  EXPECT_EQ(behind.answer_now, nullptr) << "behind the one before it";
  intake.next(0);
  intake.next(0);
  EXPECT_EQ(intake.add(bad("a"), kLater, 0).answer_now, nullptr) << "both are under way";
  intake.next(0);
  for (int i = 0; i < 3; ++i) intake.answered("a");
  EXPECT_NE(intake.add(bad("a"), kLater, 0).answer_now, nullptr);
}

TEST(Intake, ForgetsClientsThatAreGone) {
  Intake intake(roomy());
  for (uint64_t i = 0; i < 100'000; ++i) {
    intake.add(request(std::to_string(i), i), kLater, 0);
    ASSERT_EQ(intake.next(0)->sequence, i);
    intake.answered(std::to_string(i));
  }
  EXPECT_TRUE(intake.empty());
}

}  // namespace
}  // namespace shrike::engine
