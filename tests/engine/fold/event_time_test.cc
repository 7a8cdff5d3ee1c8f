// No single transaction moves event time far: clocks ahead, behind, in the wrong unit, streams with gaps.
#include "engine/fold/event_time.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstring>
#include <random>

#include "engine/fold/fold.h"
#include "engine/log/recovery.h"
#include "engine/replay/replay.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kHour = 3600, kDay = 86400;  // in the schema's seconds

// A fold fed as a server feeds it.
struct Fed {
  explicit Fed(const std::string& clock = "live", int64_t server_s = INT64_MIN)
      : config(must_parse(with(handbook_15(), "clock = \"live\"", "clock = \"" + clock + "\""))),
        fold(config, sink, nullptr),
        row(config->columns.size()) {
    if (clock == "live") source.server_us = at(server_s == INT64_MIN ? 4000 * kDay : server_s);
  }
  int64_t at(int64_t seconds) const { return config->schema().time_origin_us + seconds * kSecond; }
  Clock transact(int64_t seconds, int64_t customer, int64_t terminal = -1) {
    const Transaction t =
        make_transaction(config->schema(), ++id, seconds, customer, terminal < 0 ? customer : terminal, 10);
    EXPECT_FALSE(fold.admit(t).value());
    return fold.fold(t, fold.judge(t, source), row).clock;
  }
  int64_t watermark_s() const { return (fold.watermark_us() - config->schema().time_origin_us) / kSecond; }

  struct Sink : ExampleSink {
    size_t learned = 0;
    void learn(const Example&) override { ++learned; }
  };
  ConfigPtr config;
  Sink sink;
  Fold fold;
  std::vector<float> row;
  ClockSource source;
  int64_t id = 0;
};

TEST(EventTime, OneWrongClockMovesNothing) {
  Fed wrong, honest;
  std::vector<float> expected;
  for (int64_t i = 0; i < 200; ++i) {
    EXPECT_EQ(wrong.transact(i * 60, i % 9), Clock::kOnTime);
    honest.transact(i * 60, i % 9);
    ++honest.id;
    // Further and further ahead, each time another 59 days, of one entity.
    if (i % 20 == 10) {
      EXPECT_EQ(wrong.transact(i * 60 + 59 * kDay * (i / 20 + 1), 5), Clock::kAhead);
    } else {
      ++wrong.id;
    }
  }
  EXPECT_EQ(wrong.fold.watermark_us(), honest.fold.watermark_us());
  EXPECT_EQ(wrong.sink.learned, 0u) << "nothing matured";
  EXPECT_EQ(wrong.fold.counters().ahead, 10u);
  wrong.transact(12'001, 5);
  honest.transact(12'001, 5);
  EXPECT_EQ(0, std::memcmp(wrong.row.data(), honest.row.data(), wrong.row.size() * sizeof(float)))
      << "no window has what was ahead";
}

TEST(EventTime, AFirstTransactionInMillisecondsMovesNothing) {
  Fed stream;
  EXPECT_EQ(stream.transact(1'700'000'000'000, 1), Clock::kAhead);
  EXPECT_EQ(stream.fold.watermark_us(), INT64_MIN);
  EXPECT_EQ(stream.transact(239'000'000, 2), Clock::kOnTime);
  EXPECT_EQ(stream.transact(239'000'001, 1), Clock::kOnTime);
  // It waits for its label from the first that was on time.
  EXPECT_EQ(stream.transact(239'000'001 + 8 * kDay, 3), Clock::kAhead);
  EXPECT_EQ(stream.sink.learned, 0u);
}

TEST(EventTime, AFirstTransactionFarAheadIsOutvoted) {
  Fed stream;
  EXPECT_EQ(stream.transact(59 * kDay, 1), Clock::kOnTime);
  EXPECT_EQ(stream.transact(100, 2), Clock::kLate);
  EXPECT_EQ(stream.transact(101, 3), Clock::kLate);
  EXPECT_EQ(stream.transact(102, 4), Clock::kOnTime);
  EXPECT_EQ(stream.watermark_s(), 102);
  EXPECT_EQ(stream.transact(103, 1), Clock::kOnTime);
}

TEST(EventTime, AGapThatSeveralEntitiesAgreeOnIsAGap) {
  Fed stream;
  for (int64_t i = 0; i < 10; ++i) stream.transact(i, i);
  EXPECT_EQ(stream.transact(70 * kDay, 1), Clock::kAhead);
  EXPECT_EQ(stream.transact(70 * kDay + 5, 1, 2), Clock::kAhead)
      << "the same customer again is no other's word";
  EXPECT_EQ(stream.transact(70 * kDay + 6, 3, 3), Clock::kAhead);
  EXPECT_EQ(stream.transact(70 * kDay + 7, 4, 4), Clock::kOnTime);
  EXPECT_EQ(stream.watermark_s(), 70 * kDay + 7);
}

TEST(EventTime, WhereTheServersClockAgreesAGapIsAGap) {
  Fed stream("live", 100 * kDay);
  for (int64_t i = 0; i < 10; ++i) stream.transact(i, i);
  EXPECT_EQ(stream.transact(100 * kDay - 20, 1), Clock::kOnTime);
  EXPECT_EQ(stream.watermark_s(), 100 * kDay - 20);
  for (int64_t i = 0; i < 10; ++i)
    EXPECT_EQ(stream.transact(100 * kDay + 301 + i, i), Clock::kAhead) << "however many agree";
  EXPECT_EQ(stream.transact(100 * kDay + 299, 1), Clock::kOnTime);
}

TEST(EventTime, WhereTheStreamsOwnTimeRunsAGapIsAGap) {
  Fed stream("event");
  for (int64_t i = 0; i < 10; ++i) stream.transact(i, i);
  EXPECT_EQ(stream.transact(70 * kDay, 1), Clock::kOnTime);
  EXPECT_EQ(stream.transact(70 * kDay - kHour - 1, 2), Clock::kLate);
}

TEST(EventTime, WhatIsLateIsScoredAndChangesNoWindow) {
  Fed late, other;
  for (int64_t i = 0; i < 300; ++i) {
    late.transact(i * 100, i % 5);
    other.transact(i * 100, i % 5);
  }
  EXPECT_EQ(late.transact(299 * 100 - kHour, 2), Clock::kOnTime) << "limits.lateness";
  other.transact(299 * 100 - kHour, 2);
  EXPECT_EQ(late.transact(299 * 100 - kHour - 1, 2), Clock::kLate);
  for (const float value : late.row) EXPECT_FALSE(std::isinf(value));
  late.transact(30'001, 2);
  other.transact(30'001, 2);
  EXPECT_EQ(0, std::memcmp(late.row.data(), other.row.data(), late.row.size() * sizeof(float)));
}

TEST(EventTime, WhatIsNotOnTimeStillHasItsLabel) {
  Fed stream("live", 10 * kDay);
  for (int64_t i = 0; i < 10; ++i) stream.transact(i, i);
  ASSERT_EQ(stream.transact(40 * kDay, 3), Clock::kAhead);
  const Key ahead = features::key_of(stream.id);
  const auto labelled = stream.fold.label({ahead, Verdict::kFraud, Source::kAnalyst, stream.at(5 * kDay)});
  ASSERT_TRUE(labelled) << labelled.error().reason;
  EXPECT_EQ(labelled->event.outcome, Effect::kStored);
}

TEST(EventTime, TheStateGoesOnThroughSaveAndRestore) {
  Fed stream;
  for (int64_t i = 0; i < 10; ++i) stream.transact(i, i);
  stream.transact(70 * kDay, 1);
  stream.transact(70 * kDay + 1, 2);
  std::vector<std::pair<std::string, std::string>> pieces;
  stream.fold.save([&](const char* part, std::string piece) { pieces.emplace_back(part, std::move(piece)); });
  Fed other;
  for (const auto& [part, piece] : pieces)
    ASSERT_TRUE(other.fold.restore(part, piece, [](const std::string&) { return nullptr; }));
  other.id = 100;
  EXPECT_EQ(other.fold.counters().ahead, 2u);
  EXPECT_EQ(other.transact(70 * kDay + 2, 3), Clock::kOnTime) << "the two before are remembered";
}

// Honest entities, and one that says anything: of whatever it says, honest features and time are the same.
RC_GTEST_PROP(EventTime, NothingThatOneEntitySaysMovesTheOthers, (uint32_t seed)) {
  std::mt19937_64 random(seed);
  Fed wrong, honest;
  int64_t now = 1000 * kDay;
  for (int i = 0; i < 60; ++i) {
    now += static_cast<int64_t>(random() % 1200);
    const auto customer = static_cast<int64_t>(random() % 6);
    RC_ASSERT(wrong.transact(now, customer) == Clock::kOnTime);
    RC_ASSERT(honest.transact(now, customer) == Clock::kOnTime);
    RC_ASSERT(wrong.fold.watermark_us() == honest.fold.watermark_us());
    RC_ASSERT(std::memcmp(wrong.row.data(), honest.row.data(), wrong.row.size() * sizeof(float)) == 0);
    if (i < 3 || random() % 3 != 0) continue;
    const int64_t ranges[] = {kDay, 60 * kDay, 4000 * kDay, 400'000 * kDay};
    int64_t stray = static_cast<int64_t>(random() % static_cast<uint64_t>(ranges[random() % 4])) + kHour + 1;
    if (random() % 2 == 0) stray = std::max<int64_t>(-stray, -now);
    RC_ASSERT(wrong.transact(now + stray, 99) != Clock::kOnTime);
    ++honest.id;
  }
}

TEST(EventTime, DaysOfAReportDoNotFollowAWrongClock) {
  StreamDays days;
  EXPECT_EQ(days.count(), 0);
  EXPECT_EQ(days.see(1'764'000'000'000 * kSecond, Clock::kAhead), 0) << "before the first that counts";
  EXPECT_EQ(days.count(), 0);
  EXPECT_EQ(days.see(1000 * kDay * kSecond), 0);
  EXPECT_EQ(days.see(1002 * kDay * kSecond), 2);
  EXPECT_EQ(days.see(1'764'000'000'000 * kSecond, Clock::kAhead), 2);
  EXPECT_EQ(days.see(kDay * kSecond, Clock::kLate), 2);
  EXPECT_EQ(days.count(), 3);
  Prequential prequential(0.02);
  prequential.add(1000 * kDay * kSecond, 0.5f, 0, 1);
  prequential.add(1'764'000'000'000 * kSecond, 0.5f, 1, 1, Clock::kAhead);
  const auto by_day = prequential.by_day({});
  ASSERT_EQ(by_day.size(), 1u) << "and no row for each of twenty million";
  EXPECT_EQ(by_day[0].metrics.frauds, 1u);
}

TEST(EventTime, ARepairSetsItBack) {
  Fed stream("event");
  for (int64_t i = 0; i < 50; ++i) stream.transact(i * 60, i % 5);
  ASSERT_EQ(stream.transact(100 * kDay, 3), Clock::kOnTime);  // the harm
  EXPECT_EQ(stream.transact(3000, 1), Clock::kLate);
  stream.fold.repair({stream.at(3000)});
  EXPECT_EQ(stream.watermark_s(), 3000);
  EXPECT_EQ(stream.transact(3001, 1), Clock::kOnTime);
  EXPECT_EQ(stream.transact(3002, 3), Clock::kOnTime) << "the entity whose clock was wrong too";
}

}  // namespace
}  // namespace shrike::engine
