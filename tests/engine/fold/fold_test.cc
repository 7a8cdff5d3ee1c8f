// When the learner sees a label: at once where most transactions get one, else together with the silence of
// the same age.
#include "engine/fold/fold.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>

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

TEST(Contradictions, ASourceOfHigherPrecedenceIsNotOverruled) {
  Stream stream("at_once");
  const Key key = stream.transact(1, 0);
  const auto say = [&](Source source, Verdict verdict) {
    return stream.fold.label({key, verdict, source, std::nullopt}).value();
  };
  EXPECT_EQ(say(Source::kCustomer, Verdict::kLegitimate).event.outcome, Effect::kStored);
  EXPECT_EQ(say(Source::kChargeback, Verdict::kFraud).event.outcome, Effect::kCorrected);
  EXPECT_EQ(say(Source::kCustomer, Verdict::kFraud).event.outcome, Effect::kStored) << "agrees";
  const LabelResult overruled = say(Source::kCustomer, Verdict::kLegitimate);
  EXPECT_EQ(overruled.event.outcome, Effect::kKept);
  EXPECT_EQ(overruled.state.current, Verdict::kFraud);
  EXPECT_EQ(say(Source::kAnalyst, Verdict::kLegitimate).event.outcome, Effect::kCorrected);
}

TEST(Contradictions, WhoIsUnsureGivesWayAndKeepsSilenceFromTelling) {
  Stream stream("at_maturity");
  const Key unsure = stream.transact(1, 0), decided = stream.transact(2, 1);
  const auto say = [&](const Key& key, Source source, Verdict verdict) {
    return stream.fold.label({key, verdict, source, std::nullopt}).value().event.outcome;
  };
  EXPECT_EQ(say(unsure, Source::kAnalyst, Verdict::kUnsure), Effect::kStored);
  EXPECT_EQ(say(decided, Source::kAnalyst, Verdict::kUnsure), Effect::kStored);
  EXPECT_EQ(say(decided, Source::kCustomer, Verdict::kFraud), Effect::kStored);
  EXPECT_EQ(say(decided, Source::kChargeback, Verdict::kUnsure), Effect::kKept);
  stream.transact(3, 8 * kDay);
  EXPECT_EQ(stream.sink.verdicts, std::vector{Verdict::kFraud});
  EXPECT_EQ(stream.fold.counters().unknown, 1u);
}

ConfigPtr with_sources(const std::string& sources) {
  return must_parse(with(handbook_15(), "learn = \"auto\"", "learn = \"at_once\"") + sources);
}

TEST(DeclaredSources, HaveNamesWeightsTrustAndMayHaveNoSilence) {
  const ConfigPtr config = with_sources(
      "\n[sources.acquirer]\nweight = 3\nprecedence = 5\n[sources.hearsay]\ntrust = \"none\"\n"
      "[sources.chargeback]\nsilence = false\n");
  const Source acquirer = config->sources.find("acquirer").value(),
               hearsay = config->sources.find("hearsay").value();
  EXPECT_EQ(config->sources.name(acquirer), "acquirer");
  EXPECT_FALSE(config->sources.find("nobody"));
  Examples examples;
  Fold fold(config, examples, nullptr);
  std::vector<float> row(config->columns.size());
  const auto transact = [&](int64_t id, int64_t seconds) {
    const Transaction t = make_transaction(config->schema(), id, seconds, 1, 2, 10);
    fold.answer(fold.fold(t, Clock::kOnTime, row), {.decision = Decision::kApprove});
    return t.id;
  };
  const Key key = transact(1, 0);
  EXPECT_EQ(fold.label({key, Verdict::kFraud, hearsay, std::nullopt}).value().event.outcome, Effect::kKept);
  EXPECT_TRUE(examples.all.empty());
  ASSERT_TRUE(fold.label({key, Verdict::kFraud, acquirer, std::nullopt}));
  ASSERT_EQ(examples.all.size(), 1u);
  EXPECT_EQ(std::get<2>(examples.all[0]), 3);
  transact(2, 30 * kDay);
  EXPECT_EQ(examples.all.size(), 1u) << "nobody's silence means legitimate";
  const auto many = parse_config(
      handbook_15() + "\n[sources.a]\n[sources.b]\n[sources.c]\n[sources.d]\n[sources.e]\n", "t.toml");
  ASSERT_FALSE(many);
  EXPECT_NE(many.error()[0].find("sources.e"), std::string::npos) << many.error()[0];
}

// What a stream with sources that contradict each other and come and go taught, in the end.
class Quarantined : public testing::Test {
 protected:
  static constexpr int64_t kTransactions = 400;
  void transact(Fold& fold, int64_t id) {
    const Transaction t = make_transaction(config_->schema(), id, id * 600, id % 7, id % 5, 10);
    fold.answer(fold.fold(t, Clock::kOnTime, row_), {.decision = Decision::kApprove});
  }
  void judge(Fold& fold, Action action, const char* source) {
    JudgementEvent event;
    event.action = action;
    event.target = source;
    fold.judgement(event);
  }
  // Of each transaction what was learned of it last.
  std::map<uint64_t, Verdict> learned(const Examples& examples) {
    std::map<uint64_t, Verdict> last;
    for (const auto& [key, verdict, weight] : examples.all) last[key.low] = verdict;
    return last;
  }
  std::unique_ptr<Fold> make(Examples& examples) {
    return std::make_unique<Fold>(config_, examples, nullptr, 60 * features::kDayUs);
  }
  void say(Fold& fold, int64_t id, Verdict verdict, Source source) {
    ASSERT_TRUE(fold.label({features::key_of(id), verdict, source, std::nullopt}));
  }
  // Time passes for everything to come of age and for changes to be learned.
  void settle(Fold& fold) {
    for (int64_t id = 10'000; id < 11'200; ++id) transact(fold, id);
  }

  ConfigPtr config_ = with_sources("");
  std::vector<float> row_ = std::vector<float>(config_->columns.size());
};

TEST_F(Quarantined, WhatASourceSaidIsTakenBack) {
  Examples with_it, without_it;
  const auto poisoned = make(with_it), clean = make(without_it);
  for (Fold* fold : {poisoned.get(), clean.get()}) {
    for (int64_t id = 1; id <= kTransactions; ++id) {
      transact(*fold, id);
      if (id % 5 == 0)
        say(*fold, id, id % 2 == 0 ? Verdict::kFraud : Verdict::kLegitimate, Source::kChargeback);
      if (fold == clean.get()) continue;
      if (id % 3 == 0) say(*fold, id, Verdict::kFraud, Source::kAnalyst);
    }
    if (fold == poisoned.get()) judge(*fold, Action::kQuarantine, "analyst");
    // What it says from now on is kept alone.
    for (int64_t id = 1; id <= kTransactions && fold == poisoned.get(); id += 7) {
      const auto kept = fold->label({features::key_of(id), Verdict::kFraud, Source::kAnalyst, std::nullopt});
      ASSERT_TRUE(kept);
      EXPECT_NE(kept->event.outcome, Effect::kCorrected);
    }
    settle(*fold);
  }
  EXPECT_EQ(learned(with_it), learned(without_it));
  // Their features agree as well: the next transactions get the same rows.
  std::vector<float> rows[2];
  for (size_t i = 0; i < 2; ++i) {
    for (int64_t id = 20'000; id < 20'020; ++id) {
      transact(i == 0 ? *poisoned : *clean, id);
      rows[i].insert(rows[i].end(), row_.begin(), row_.end());
    }
  }
  EXPECT_EQ(rows[0], rows[1]);
}

TEST_F(Quarantined, OneKindOfVerdictMayGoOnCounting) {
  Examples examples;
  const auto fold = make(examples);
  JudgementEvent event;
  event.action = Action::kQuarantine;
  event.target = "analyst";
  event.values[0] = static_cast<double>(Suspended::kLegitimate);
  fold->judgement(event);
  for (const int64_t id : {1, 2}) transact(*fold, id);
  const auto say = [&](int64_t id, Verdict verdict) {
    return fold->label({features::key_of(id), verdict, Source::kAnalyst, std::nullopt}).value().event.outcome;
  };
  EXPECT_EQ(say(1, Verdict::kLegitimate), Effect::kKept);
  EXPECT_EQ(say(2, Verdict::kFraud), Effect::kStored);
  event.values[0] = static_cast<double>(Suspended::kFrauds);
  fold->judgement(event);
  settle(*fold);
  EXPECT_EQ(learned(examples).at(2), Verdict::kLegitimate);
}

TEST_F(Quarantined, WhatASourceSaidCountsAgainOnceItIsReleased) {
  Examples interrupted, straight;
  const auto held = make(interrupted), trusted = make(straight);
  for (Fold* fold : {held.get(), trusted.get()}) {
    const bool quarantine = fold == held.get();
    if (quarantine) judge(*fold, Action::kQuarantine, "analyst");
    for (int64_t id = 1; id <= kTransactions; ++id) {
      transact(*fold, id);
      if (id % 4 == 0) say(*fold, id, Verdict::kLegitimate, Source::kCustomer);
      if (id % 3 == 0) say(*fold, id, Verdict::kFraud, Source::kAnalyst);
    }
    if (quarantine) judge(*fold, Action::kRelease, "analyst");
    settle(*fold);
  }
  EXPECT_EQ(learned(interrupted), learned(straight));
}

TEST_F(Quarantined, IsTheSameThroughACheckpoint) {
  Examples straight, resumed;
  const auto fold = make(straight);
  for (int64_t id = 1; id <= kTransactions; ++id) {
    transact(*fold, id);
    if (id % 4 == 0) say(*fold, id, Verdict::kLegitimate, Source::kCustomer);
    if (id % 3 == 0) say(*fold, id, Verdict::kFraud, Source::kAnalyst);
  }
  judge(*fold, Action::kQuarantine, "customer");
  resumed.all = straight.all;
  const auto restored = make(resumed);
  fold->save([&](const char* part, const std::string& piece) {
    ASSERT_TRUE(restored->restore(part, piece, [](const std::string&) { return nullptr; }));
  });
  for (Fold* one : {fold.get(), restored.get()}) {
    judge(*one, Action::kQuarantine, "analyst");
    judge(*one, Action::kRelease, "customer");
    settle(*one);
  }
  EXPECT_EQ(straight.all, resumed.all);
}

TEST(Activations, WhatAMonitorWentBackFromIsRememberedAndNoModelIsKeptTwice) {
  const ConfigPtr config = must_parse(handbook_15());
  Examples nowhere;
  Fold fold(config, nowhere, nullptr);
  std::map<std::string, learners::ModelPtr> models;
  for (const double prior : {0.02, 0.03}) {
    auto model = learners::make_prior_model(config->columns, prior);
    models[prior < 0.025 ? "good" : "bad"] = model;
  }
  const auto activate = [&](const std::string& name) {
    fold.model({ModelAction::kActivated, 0, name, ""}, models.at(name));
  };
  activate("good");
  for (int i = 0; i < 10; ++i) activate(i % 2 == 0 ? "bad" : "good");
  EXPECT_EQ(fold.champion_hash(), "good");
  ASSERT_EQ(fold.fallbacks().size(), 2u) << "bad, and the prior";
  EXPECT_EQ(fold.fallbacks()[0].first, "bad");
  activate("bad");
  JudgementEvent back;
  back.monitor = kOperator;
  back.action = Action::kRollBack;
  back.target = "good";
  fold.judgement(back);
  EXPECT_FALSE(fold.was_rolled_back("bad")) << "by hand it may come back by hand";
  back.monitor = "rollback";
  fold.judgement(back);
  EXPECT_TRUE(fold.was_rolled_back("bad"));
  Fold restored(config, nowhere, nullptr);
  fold.save([&](const char* part, const std::string& piece) {
    ASSERT_TRUE(restored.restore(part, piece, [&](const std::string& hash) {
      const auto found = models.find(hash);
      return found == models.end() ? nullptr : found->second;
    }));
  });
  EXPECT_TRUE(restored.was_rolled_back("bad"));
  activate("good");
  activate("bad");
  EXPECT_FALSE(fold.was_rolled_back("bad"));
}

TEST(LabelStates, GoThroughTheirBytesAndThoseOfFourSources) {
  LabelState state;
  note(state, Source::kChargeback, Verdict::kFraud);
  note(state, Source::kAnalyst, Verdict::kUnsure);
  note(state, Source::kChargeback, Verdict::kLegitimate);
  state.current = Verdict::kLegitimate;
  state.outcome = Outcome::kCancelled;
  state.sequence = 77;
  const LabelState again = decode_label_state(encode(state));
  EXPECT_EQ(again.by_source, state.by_source);
  EXPECT_EQ(again.rank, state.rank);
  EXPECT_GT(again.rank[1], again.rank[0]);
  EXPECT_EQ(again.current, state.current);
  EXPECT_EQ(again.outcome, state.outcome);
  EXPECT_EQ(again.sequence, 77u);
  // analyst: fraud, customer: legitimate, and it counts
  const std::string before("\2\0\1\0\1\5\0\0\0\0\0\0\0", 13);
  const LabelState old = decode_label_state(before);
  EXPECT_EQ(old.by_source[0], Verdict::kFraud);
  EXPECT_EQ(old.current, Verdict::kLegitimate);
  EXPECT_GT(old.rank[2], old.rank[0]);
  EXPECT_EQ(old.sequence, 5u);
  EXPECT_EQ(decode_label_state("short").sequence, 0u);
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
