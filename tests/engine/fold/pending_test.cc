// The waiting transactions: found by id and by position, in order, through growth, saving and restoring.
#include "engine/fold/pending.h"

#include <gtest/gtest.h>

#include "features/feature_store.h"

namespace shrike::engine {
namespace {

constexpr size_t kColumns = 3, kKinds = 2;

features::Subject subject(uint64_t n) {
  return {n, static_cast<int64_t>(n * 1000), {features::key_of(static_cast<int64_t>(n % 7)), {n, n}}};
}
Key id(uint64_t n) { return features::key_of(static_cast<int64_t>(n)); }
std::vector<float> row(uint64_t n) { return {static_cast<float>(n), 0.5f, -1}; }

void push(Pending& pending, uint64_t from, uint64_t to) {
  for (uint64_t n = from; n < to; ++n) {
    Pending::Entry& entry = pending.push(subject(n), id(n), n * 31, row(n));
    entry.answer.score = static_cast<float>(n) / 1e6f;
    entry.answer.clock = n % 5 == 0 ? Clock::kLate : Clock::kOnTime;
    entry.held = n % 3 == 0;
    if (n % 4 == 0) entry.labels.current = entry.labels.by_source[0] = Verdict::kFraud;
  }
}

void expect_holds(Pending& pending, uint64_t from, uint64_t to) {
  ASSERT_EQ(pending.size(), to - from);
  features::Subject found;
  for (uint64_t n = from; n < to; ++n) {
    Pending::Entry* entry = pending.find(id(n));
    ASSERT_NE(entry, nullptr) << n;
    EXPECT_EQ(entry, &pending.at(pending.begin() + (n - from))) << "in order";
    EXPECT_EQ(entry->sequence, n);
    EXPECT_EQ(entry->content, n * 31);
    EXPECT_EQ(entry->held, n % 3 == 0);
    EXPECT_EQ(entry->answer.score, static_cast<float>(n) / 1e6f);
    EXPECT_EQ(entry->answer.clock, n % 5 == 0 ? Clock::kLate : Clock::kOnTime);
    EXPECT_EQ(entry->labels.current, n % 4 == 0 ? Verdict::kFraud : Verdict::kUnknown);
    EXPECT_TRUE(std::ranges::equal(pending.row(*entry), row(n)));
    pending.subject(*entry, found);
    EXPECT_EQ(found.time_us, subject(n).time_us);
    EXPECT_EQ(found.entities, subject(n).entities);
  }
}

TEST(Pending, HoldsWhatWaitsThroughGrowthAndRelease) {
  Pending pending(kColumns, kKinds);
  push(pending, 1, 1000);
  expect_holds(pending, 1, 1000);
  for (int i = 0; i < 700; ++i) pending.pop_front();
  EXPECT_EQ(pending.find(id(700)), nullptr) << "released";
  push(pending, 1000, 3000);
  expect_holds(pending, 701, 3000);
}

TEST(Pending, IsTheSameAfterSavingAndRestoring) {
  Pending pending(kColumns, kKinds);
  push(pending, 1, 900);
  for (int i = 0; i < 100; ++i) pending.pop_front();
  std::vector<std::string> pieces;
  pending.save([&](std::string piece) { pieces.push_back(std::move(piece)); });
  Pending restored(kColumns, kKinds);
  for (const std::string& piece : pieces) ASSERT_TRUE(restored.restore(piece));
  expect_holds(restored, 101, 900);
  EXPECT_FALSE(restored.restore(pieces[0])) << "an id cannot wait twice";
  EXPECT_FALSE(Pending(kColumns + 1, kKinds).restore(pieces[0])) << "rows of other features";
  EXPECT_FALSE(Pending(kColumns, kKinds).restore(pieces[0].substr(0, pieces[0].size() / 2)));
}

}  // namespace
}  // namespace shrike::engine
