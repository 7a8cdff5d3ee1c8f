// When the learner sees a label: at once where most transactions get one, else together with the silence of
// the same age.
#include "engine/fold/fold.h"

#include <gtest/gtest.h>

#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kDay = 86400;

// Remembers what was learned.
struct Sink : ExampleSink {
  std::vector<Verdict> verdicts;
  void learn(const Example& example) override { verdicts.push_back(example.verdict); }
  int64_t frauds() const { return std::count(verdicts.begin(), verdicts.end(), Verdict::kFraud); }
};

struct Stream {
  explicit Stream(const std::string& learn)
      : config(must_parse(with(handbook_15(), "learn = \"auto\"", "learn = \"" + learn + "\""))),
        fold(config, sink, nullptr),
        row(config->columns.size()) {}

  Key transact(int64_t id, int64_t seconds) {
    const Transaction transaction = make_transaction(config->schema(), id, seconds, id % 7, id % 5, 10);
    EXPECT_FALSE(fold.admit(transaction).value());
    Answer answer;
    answer.decision = answer.wanted = Decision::kApprove;
    fold.answer(fold.fold(transaction, Clock::kOnTime, row), answer);
    return transaction.id;
  }
  void label(const Key& key, Verdict verdict) {
    ASSERT_EQ(fold.label({key, verdict, Source::kAnalyst, std::nullopt}).value().event.outcome,
              Effect::kStored);
  }

  ConfigPtr config;
  Sink sink;
  Fold fold;
  std::vector<float> row;
};

TEST(LearnWhen, RareLabelsWaitForTheSilenceOfTheirAge) {
  Stream stream("auto");
  std::vector<Key> keys;
  for (int64_t i = 0; i < 100; ++i) keys.push_back(stream.transact(i, i * kDay / 100));
  stream.label(keys[50], Verdict::kFraud);
  EXPECT_TRUE(stream.sink.verdicts.empty());
  stream.transact(1000, 7 * kDay + kDay / 4);
  EXPECT_EQ(stream.sink.frauds(), 0);
  EXPECT_EQ(stream.sink.verdicts.size(), 26u);  // 0 to 25, by silence
  stream.transact(1001, 8 * kDay + 1);
  ASSERT_EQ(stream.sink.verdicts.size(), 100u);
  EXPECT_EQ(stream.sink.verdicts[50], Verdict::kFraud);
  EXPECT_EQ(stream.sink.frauds(), 1);
}

TEST(LearnWhen, WhereMostAreLabelledTheyAreLearnedAtOnce) {
  Stream stream("auto");
  for (int64_t i = 0; i < 100; ++i) {
    stream.label(stream.transact(i, i * 60), i % 10 == 0 ? Verdict::kFraud : Verdict::kLegitimate);
  }
  EXPECT_EQ(stream.sink.verdicts.size(), 100u);
  EXPECT_EQ(stream.sink.frauds(), 10);
  stream.transact(1000, 30 * kDay);
  EXPECT_EQ(stream.sink.verdicts.size(), 100u) << "nothing is learned twice";
}

TEST(LearnWhen, TheConfigurationMayInsist) {
  Stream at_once("at_once");
  at_once.label(at_once.transact(1, 0), Verdict::kFraud);
  EXPECT_EQ(at_once.sink.frauds(), 1);
  Stream later("at_maturity");
  later.label(later.transact(1, 0), Verdict::kFraud);
  EXPECT_EQ(later.sink.frauds(), 0);
  later.transact(2, 8 * kDay);
  EXPECT_EQ(later.sink.frauds(), 1);
}

struct Examples : ExampleSink {
  std::vector<std::tuple<Key, Verdict, float>> all;
  void learn(const Example& example) override {
    all.emplace_back(example.transaction, example.verdict, example.weight);
  }
};

// What the log says of the share is all that decides: a checkpoint on the way changes nothing.
TEST(Sampling, LegitimateExamplesStandForThoseLeftOutAndFraudsAreAllLearned) {
  const ConfigPtr config = must_parse(with(handbook_15(), "learn = \"auto\"", "learn = \"at_maturity\""));
  JudgementEvent some, all;
  some.action = all.action = Action::kSample;
  some.values = {0.1, 0};
  all.values = {1, 0};
  Answer approved;
  approved.decision = approved.wanted = Decision::kApprove;
  Examples straight, by_checkpoint;
  Counters counters;
  for (Examples* sink : {&straight, &by_checkpoint}) {
    auto fold = std::make_unique<Fold>(config, *sink, nullptr);
    std::vector<float> row(config->columns.size());
    for (int64_t id = 0; id < 12'000; ++id) {
      const Transaction t = make_transaction(config->schema(), id, id * kDay / 1000, id % 7, id % 5, 10);
      fold->answer(fold->fold(t, Clock::kOnTime, row), approved);
      if (id % 50 == 0) {
        ASSERT_TRUE(fold->label({t.id, Verdict::kFraud, Source::kAnalyst, std::nullopt}));
      }
      if (id == 7500) fold->judgement(some);
      if (id == 11'000) fold->judgement(all);
      if (id != 9000 || sink == &straight) continue;
      auto restored = std::make_unique<Fold>(config, *sink, nullptr);
      fold->save([&](const char* part, const std::string& piece) {
        ASSERT_TRUE(restored->restore(part, piece, [](const std::string&) { return nullptr; }));
      });
      fold = std::move(restored);
      EXPECT_EQ(fold->sampled_share(), 0.1);
    }
    counters = fold->counters();
    EXPECT_EQ(fold->examples(), sink->all.size());
  }
  EXPECT_EQ(straight.all, by_checkpoint.all);
  size_t frauds = 0, legitimate = 0;
  double weight = 0;
  for (const auto& [key, verdict, stands_for] : straight.all) {
    if (verdict == Verdict::kFraud) {
      ++frauds;
      EXPECT_EQ(stands_for, 1);
    } else {
      ++legitimate;
      weight += static_cast<double>(stands_for);
    }
  }
  EXPECT_EQ(frauds, counters.matured / 50);
  EXPECT_EQ(legitimate + counters.spared, counters.matured - frauds);
  EXPECT_GT(counters.spared, 3000u);
  EXPECT_NEAR(weight, static_cast<double>(counters.matured - frauds), 600);  // 3.4 standard errors
}

TEST(LabelFlips, OneThatFlipsCostsLittleAndEndsRight) {
  for (const Verdict last : {Verdict::kFraud, Verdict::kLegitimate}) {
    Stream stream("at_once");
    const Key key = stream.transact(1, 0);
    stream.label(key, Verdict::kFraud);
    constexpr int kFlips = 20'000;
    for (int i = 0; i <= kFlips + (last == Verdict::kFraud ? 1 : 0); ++i) {
      const Verdict verdict = i % 2 == 0 ? Verdict::kLegitimate : Verdict::kFraud;
      const auto flipped = stream.fold.label({key, verdict, Source::kAnalyst, std::nullopt});
      ASSERT_EQ(flipped.value().event.outcome, Effect::kCorrected);
    }
    for (int64_t i = 2; i < 1200; ++i) stream.transact(i, i);
    EXPECT_LE(stream.sink.verdicts.size(), 1u + kFlips / 1024 + 2);
    EXPECT_EQ(stream.sink.verdicts.back(), last);
    EXPECT_EQ(stream.fold.counters().corrections,
              static_cast<uint64_t>(kFlips) + (last == Verdict::kFraud ? 2 : 1));
  }
}

TEST(LabelFlips, ChangesThatWaitSurviveSaveAndRestore) {
  Stream stream("at_once");
  const Key key = stream.transact(1, 0);
  stream.label(key, Verdict::kFraud);
  ASSERT_TRUE(stream.fold.label({key, Verdict::kLegitimate, Source::kAnalyst, std::nullopt}));
  Stream other("at_once");
  stream.fold.save([&](const char* part, std::string piece) {
    ASSERT_TRUE(other.fold.restore(part, piece, [](const std::string&) { return nullptr; }));
  });
  for (Stream* each : {&stream, &other}) {
    for (int64_t i = 2; i < 1200; ++i) each->transact(i, i);
  }
  EXPECT_EQ(stream.sink.verdicts, (std::vector{Verdict::kFraud, Verdict::kLegitimate}));
  EXPECT_EQ(other.sink.verdicts, std::vector{Verdict::kLegitimate});
}

TEST(Contradictions, TheNewestLabelWinsAndARepetitionIsNone) {
  Stream stream("at_once");
  const Key key = stream.transact(1, 0);
  const auto say = [&](Source source, Verdict verdict) {
    return stream.fold.label({key, verdict, source, std::nullopt}).value();
  };
  EXPECT_EQ(say(Source::kAnalyst, Verdict::kFraud).event.outcome, Effect::kStored);
  const LabelResult contradiction = say(Source::kChargeback, Verdict::kLegitimate);
  EXPECT_EQ(contradiction.event.outcome, Effect::kCorrected);
  EXPECT_EQ(contradiction.state.current, Verdict::kLegitimate);
  // The analyst says again what it said before the contradiction: no news, so it does not win.
  const LabelResult again = say(Source::kAnalyst, Verdict::kFraud);
  EXPECT_EQ(again.event.outcome, Effect::kDuplicate);
  EXPECT_EQ(again.state.current, Verdict::kLegitimate);
  // It changes its mind, and back: that is news.
  EXPECT_EQ(say(Source::kAnalyst, Verdict::kLegitimate).event.outcome, Effect::kStored);
  EXPECT_EQ(say(Source::kAnalyst, Verdict::kFraud).event.outcome, Effect::kCorrected);
}

// Knows of one transaction that it was there once.
struct Erased : History {
  Result<std::optional<Recorded>> find(const Key& transaction) override {
    if (transaction != features::key_of(7)) return std::nullopt;
    return Recorded{.sequence = 3, .expired = true};
  }
};

TEST(Expired, ALabelPastRetentionIsToldSo) {
  Sink sink;
  Erased history;
  const ConfigPtr config = must_parse(handbook_15());
  Fold fold(config, sink, &history);
  const uint64_t before = fold.next_sequence();
  const auto label = [&](int64_t id) {
    return fold.label({features::key_of(id), Verdict::kFraud, Source::kChargeback, std::nullopt}).value();
  };
  EXPECT_EQ(label(7).event.outcome, Effect::kExpired);
  EXPECT_EQ(label(7).sequence, 0u) << "nothing to log";
  EXPECT_EQ(fold.next_sequence(), before);
  EXPECT_EQ(label(8).event.outcome, Effect::kPending);
  EXPECT_FALSE(fold.admit(make_transaction(config->schema(), 7, 1000, 1, 1, 5)).value())
      << "its id is free again";
}

TEST(Orphans, ASourceThatFloodsLeavesTheOthersTheirShare) {
  Sink sink;
  const ConfigPtr config =
      must_parse(with(handbook_15(), "orphan_keep = \"1d\"", "orphans_max = 40\norphan_keep = \"1d\""));
  Fold fold(config, sink, nullptr);
  std::vector<float> row(config->columns.size());
  fold.fold(make_transaction(config->schema(), 100, 1000, 1, 1, 5), Clock::kOnTime, row);
  const auto label = [&](int64_t id, Source source) {
    return fold.label({features::key_of(id), Verdict::kFraud, source, std::nullopt});
  };
  for (int64_t id = 1; id <= 10; ++id)
    EXPECT_EQ(label(id, Source::kAnalyst).value().event.outcome, Effect::kPending);
  ASSERT_FALSE(label(11, Source::kAnalyst));
  EXPECT_EQ(label(11, Source::kAnalyst).error().code, ErrorCode::kOverloaded);
  EXPECT_EQ(label(12, Source::kChargeback).value().event.outcome, Effect::kPending);
  EXPECT_EQ(label(3, Source::kAnalyst).value().event.outcome, Effect::kDuplicate) << "found by its key";
  // What joins its transaction gives its place back when it leaves.
  for (const int64_t id : {12, 3}) {
    const Transaction t = make_transaction(config->schema(), id, 1000 + id, 1, 1, 5);
    const Folded folded = fold.fold(t, Clock::kOnTime, row);
    EXPECT_EQ(fold.label_state(folded).current, Verdict::kFraud);
  }
  EXPECT_EQ(fold.counters().orphans_joined, 2u);
}

TEST(LearnWhen, AHeldLabelThatIsCorrectedIsLearnedOnce) {
  Stream stream("at_maturity");
  const Key key = stream.transact(1, 0);
  stream.label(key, Verdict::kFraud);
  const auto corrected = stream.fold.label({key, Verdict::kLegitimate, Source::kChargeback, std::nullopt});
  EXPECT_EQ(corrected.value().event.outcome, Effect::kCorrected);
  stream.transact(2, 8 * kDay);
  ASSERT_EQ(stream.sink.verdicts.size(), 1u);
  EXPECT_EQ(stream.sink.verdicts[0], Verdict::kLegitimate);
}

}  // namespace
}  // namespace shrike::engine
