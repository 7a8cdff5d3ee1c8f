// Transactions that have left memory, from the log: with the newest labels, those on their way to the disk
// too.
#include "engine/log/history.h"

#include <gtest/gtest.h>

#include "storage/store.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

class HistoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = storage::Store::open(dir_ / "data", {});
    ASSERT_TRUE(opened) << opened.error().reason;
    store_ = std::move(*opened);
  }
  // Event `n` is transaction `n`.
  void append(uint64_t n, const LabelState* labels = nullptr) {
    TransactionEvent event;
    event.transaction =
        make_transaction(config_->schema(), static_cast<int64_t>(n), 1000 + static_cast<int64_t>(n), 1, 2, 5);
    event.row.assign(config_->columns.size(), static_cast<float>(n));
    event.answer.score = 0.5f;
    std::string bytes, state;
    encode(config_->schema(), event, bytes);
    storage::Record record{n, bytes, to_bytes(event.transaction.id)};
    if (labels != nullptr) {
      state = encode(*labels);
      record.label = storage::LabelEntry{to_bytes(event.transaction.id), state};
    }
    ASSERT_TRUE(store_->append({&record, 1}, true));
  }
  static Key id(int64_t n) { return features::key_of(n); }

  TempDir dir_;
  ConfigPtr config_ = must_parse(handbook_15());
  std::unique_ptr<storage::Store> store_;
};

TEST_F(HistoryTest, FindsWhatTheLogHas) {
  LabelState labels;
  labels.current = labels.by_source[1] = Verdict::kFraud;
  labels.sequence = 9;
  append(1);
  append(2, &labels);
  StoreHistory history(*store_, config_->plan);
  const auto first = history.find(id(1)).value();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->sequence, 1u);
  EXPECT_EQ(first->event.row[0], 1.0f);
  EXPECT_EQ(first->labels.current, Verdict::kUnknown);
  EXPECT_EQ(history.find(id(2)).value()->labels.current, Verdict::kFraud);
  EXPECT_FALSE(history.find(id(3)).value());
}

TEST_F(HistoryTest, ALabelOnItsWayToTheDiskWins) {
  append(1);
  StoreHistory history(*store_, config_->plan);
  int looks = 0;
  history.before_look_up = [&] { ++looks; };
  LabelState newest;
  newest.current = Verdict::kFraud;
  history.remember(id(1), newest, 7, 1);
  EXPECT_EQ(history.find(id(1)).value()->labels.current, Verdict::kFraud);
  EXPECT_EQ(looks, 1) << "the journal is waited for before each look";
}

TEST_F(HistoryTest, WhatRetentionHasTakenIsKnownToHaveBeenThere) {
  for (uint64_t n = 1; n <= 50; ++n) append(n);
  auto checkpoint = store_->begin_checkpoint(40);
  ASSERT_TRUE((*checkpoint)->commit());
  const auto key_of = [&](std::string_view bytes) -> std::optional<storage::Key> {
    Key key;
    if (!transaction_key(config_->schema(), bytes, key)) return std::nullopt;
    return to_bytes(key);
  };
  ASSERT_TRUE(store_->trim_before(30, key_of));
  StoreHistory history(*store_, config_->plan);
  const auto erased = history.find(id(10)).value();
  ASSERT_TRUE(erased);
  EXPECT_TRUE(erased->expired);
  EXPECT_FALSE(history.find(id(30)).value()->expired);
  EXPECT_FALSE(history.find(id(51)).value());
}

}  // namespace
}  // namespace shrike::engine
