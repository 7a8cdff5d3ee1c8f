// A thread behind a queue: it begins once, does all that came before it was told to stop, and ends.
#include "engine/threads/loop.h"

#include <gtest/gtest.h>

namespace shrike::engine {
namespace {

TEST(Loop, WhatCameBeforeTheStopIsDone) {
  constexpr int kRounds = 200, kItems = 20;
  for (int round = 0; round < kRounds; ++round) {
    Queue<int> queue(64);
    int begun = 0, done = 0;
    Loop loop;
    loop.start({.name = "test",
                .begin = [&] { ++begun; },
                .turn =
                    [&] {
                      int item = 0;
                      if (!queue.pop(item)) return false;
                      done += item;
                      return true;
                    },
                .waiting = [&] { return !queue.empty(); }});
    EXPECT_TRUE(loop.running());
    for (int i = 0; i < kItems; ++i) {
      ASSERT_TRUE(queue.push(1));
      if (i % 2 == 0) loop.ring();
    }
    loop.stop();
    EXPECT_FALSE(loop.running());
    EXPECT_EQ(begun, 1);
    ASSERT_EQ(done, kItems) << "round " << round;
    loop.stop();
  }
}

TEST(Loop, StopsWithoutHavingStarted) {
  Loop loop;
  loop.stop();
  EXPECT_TRUE(loop.stopping());
}

}  // namespace
}  // namespace shrike::engine
