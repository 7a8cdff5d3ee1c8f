// One thread to another: nothing is lost, doubled or reordered, a full queue says so, a ring is never missed.
#include "engine/threads/queue.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <thread>

namespace shrike::engine {
namespace {

TEST(Queue, RefusesWhenFullAndKeepsTheItem) {
  Queue<std::unique_ptr<int>> queue(4);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.push(std::make_unique<int>(i)));
  auto fifth = std::make_unique<int>(4);
  EXPECT_FALSE(queue.push(std::move(fifth)));
  ASSERT_TRUE(fifth) << "what was refused is still the caller's";
  EXPECT_EQ(queue.size(), 4u);
  std::unique_ptr<int> item;
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(queue.pop(item));
    EXPECT_EQ(*item, i);
  }
  EXPECT_FALSE(queue.pop(item));
  EXPECT_TRUE(queue.empty());
}

TEST(Queue, AllArriveInOrderAndTheReceiverIsWoken) {
  constexpr int kItems = 200'000;
  Queue<int> queue(64);
  Bell bell;
  std::thread producer([&] {
    for (int i = 0; i < kItems;) {
      int item = i;
      if (queue.push(std::move(item))) {
        bell.ring();
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  });
  const auto began = std::chrono::steady_clock::now();
  for (int expected = 0; expected < kItems;) {
    int item = -1;
    while (queue.pop(item)) ASSERT_EQ(item, expected++);
    // A ring that is missed costs a minute, and the test fails.
    if (expected < kItems) bell.wait([&] { return !queue.empty(); }, 60'000);
  }
  producer.join();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(60));
}

TEST(Bell, ARingBeforeTheSleepIsSeenByTheLastLook) {
  Bell bell;
  bool there = false;
  const auto began = std::chrono::steady_clock::now();
  bell.wait(
      [&] {
        there = true;  // comes between the receiver's work and its sleep
        bell.ring();
        return false;
      },
      60'000);
  EXPECT_TRUE(there);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(30));
}

}  // namespace
}  // namespace shrike::engine
