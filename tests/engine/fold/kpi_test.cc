// Figures of the business on the feedback socket: joined with their transaction once, and in the log with all
// that judging needs.
#include <gtest/gtest.h>

#include "engine/fold/fold.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kDay = 86400;

struct Nowhere : ExampleSink {
  void learn(const Example&) override {}
};

struct Watching : Watch {
  void arrived(const Arrived&) override {}
  void scored(const Scored& scored) override { entity = scored.entity; }
  void settled(const Settled&) override {}
  void labelled(const Labelled&) override {}
  void kpi(const KpiEvent& event) override { events->push_back(event); }
  void model(const ModelEvent&, const Fold&) override {}
  void close(const Moment&) override {}
  const JudgementEvent* next() const override { return nullptr; }
  void judged(const JudgementEvent&) override {}
  void save(const std::function<void(std::string)>&) const override {}
  tl::expected<void, std::string> restore(std::string_view) override { return {}; }
  uint64_t entity = 0;
  std::vector<KpiEvent>* events = nullptr;
};

class KpiFold : public testing::Test {
 protected:
  struct Watched {
    std::unique_ptr<Fold> fold;
    std::vector<KpiEvent> seen;
    Watching* watch;
  };
  std::unique_ptr<Watched> make() {
    auto made = std::make_unique<Watched>();
    made->fold = std::make_unique<Fold>(config_, nowhere_, nullptr);
    auto watch = std::make_unique<Watching>();
    watch->events = &made->seen;
    made->watch = watch.get();
    made->fold->watch(std::move(watch));
    return made;
  }
  Key transact(Fold& fold, int64_t id, int64_t seconds, Arm arm = Arm::kChampion) {
    Answer answer;
    answer.arm = arm;
    const Transaction transaction = make_transaction(config_->schema(), id, seconds, 1, 2, 10);
    fold.answer(fold.fold(transaction, Clock::kOnTime, row_), answer);
    return transaction.id;
  }
  Result<KpiResult> report(const Key& key, const std::string& name, double value,
                           std::optional<int64_t> seconds = {}) {
    const int64_t origin_us = config_->schema().time_origin_us;
    return live_->fold->kpi(
        {key, name, value, seconds ? std::optional(origin_us + *seconds * 1'000'000) : std::nullopt});
  }

  ConfigPtr config_ = must_parse(handbook_15() +
                                 "[kpi.bought]\nkind = \"rate\"\n[kpi.revenue]\nkind = \"value\"\n"
                                 "[kpi.fraud]\nfrom = \"label\"\n");
  Nowhere nowhere_;
  std::vector<float> row_ = std::vector<float>(config_->columns.size());
  std::unique_ptr<Watched> live_ = make();
};

TEST_F(KpiFold, TheFirstReportCountsAndCarriesItsTransaction) {
  const Key key = transact(*live_->fold, 1, 100, Arm::kCanary);
  const auto bought = report(key, "bought", 1, 160), revenue = report(key, "revenue", -12.5, 200);
  ASSERT_TRUE(bought && revenue);
  EXPECT_FALSE(bought->duplicate);
  EXPECT_EQ(bought->sequence, 2u);
  EXPECT_EQ(revenue->sequence, 3u);
  const auto again = report(key, "revenue", 99, 300);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->duplicate);
  EXPECT_EQ(again->sequence, 0u) << "nothing is logged";
  EXPECT_EQ(live_->fold->next_sequence(), 4u);
  EXPECT_EQ(live_->fold->counters().kpis, 2u);
  ASSERT_EQ(live_->seen.size(), 2u);
  const KpiEvent& event = live_->seen[1];
  EXPECT_EQ(event.value, -12.5);
  EXPECT_EQ(event.arm, Arm::kCanary);
  EXPECT_EQ(event.transaction_sequence, 1u);
  EXPECT_EQ(event.time_us - event.transaction_us, 100'000'000);
  EXPECT_EQ(event.entity, live_->watch->entity) << "the one that arms go by";
}

TEST_F(KpiFold, WhatIsWrongIsRefusedWithItsField) {
  const Key key = transact(*live_->fold, 1, 100);
  const auto code = [](const Result<KpiResult>& result) {
    return result ? std::string("fine")
                  : fmt::format("{} {}", name(result.error().code), result.error().field);
  };
  EXPECT_EQ(code(report(key, "bougth", 1)), "unknown_field bougth");
  EXPECT_EQ(code(report(key, "fraud", 1)), "unknown_field fraud") << "it is the label";
  EXPECT_EQ(code(report(key, "bought", 2)), "invalid_value value");
  EXPECT_EQ(code(report(key, "revenue", 1e13)), "invalid_value value");
  EXPECT_EQ(code(report(key, "bought", 1, 90)), "invalid_value time");
  EXPECT_EQ(code(report(features::key_of(int64_t{9}), "bought", 1)), "not_found transaction_id");
  EXPECT_EQ(code(report(key, "bought", 1)), "fine");
  EXPECT_EQ(live_->fold->next_sequence(), 3u);
}

TEST_F(KpiFold, ALogOfItIsReadAndFoldedToTheSame) {
  const Key key = transact(*live_->fold, 1, 100);
  const auto bought = report(key, "bought", 1, 160);
  ASSERT_TRUE(bought);
  std::string bytes;
  encode(bought->event, bytes);
  const auto read = decode_event(config_->schema(), bytes);
  ASSERT_TRUE(read) << read.error();
  ASSERT_TRUE(std::holds_alternative<KpiEvent>(*read));
  EXPECT_EQ(std::get<KpiEvent>(*read), bought->event);

  const auto replayed = make();
  transact(*replayed->fold, 1, 100);
  replayed->fold->replay_kpi(std::get<KpiEvent>(*read));
  EXPECT_EQ(replayed->seen, live_->seen);
  const auto saved = [](const Fold& fold) {
    std::string all;
    fold.save([&](const char* part, const std::string& piece) { all += part + piece; });
    return all;
  };
  EXPECT_EQ(saved(*replayed->fold), saved(*live_->fold));

  // A checkpoint knows what was reported.
  const auto restored = make();
  live_->fold->save([&](const char* part, const std::string& piece) {
    const auto done = restored->fold->restore(
        part, piece, [&](const std::string&) { return learners::make_prior_model(config_->columns, 0.01); });
    EXPECT_TRUE(done) << done.error();
  });
  const auto again = restored->fold->kpi({key, "bought", 1, std::nullopt});
  ASSERT_TRUE(again) << again.error().reason;
  EXPECT_TRUE(again->duplicate);
  EXPECT_EQ(restored->fold->counters().kpis, 1u);
}

TEST_F(KpiFold, WhatWasReportedIsPartOfAStatesBytes) {
  LabelState state;
  state.current = Verdict::kFraud;
  state.sequence = 7;
  state.kpis = kpi_bit("bought");
  const LabelState read = decode_label_state(encode(state));
  EXPECT_EQ(read.kpis, state.kpis);
  EXPECT_EQ(read.sequence, 7u);
  EXPECT_EQ(read.current, Verdict::kFraud);
  EXPECT_EQ(read.outcome, Outcome::kUnreported);
  EXPECT_EQ(decode_label_state(encode(state).substr(0, 15)).sequence, 0u);
}

// A test's challenger answers its share from the first transaction on, until it is concluded.
TEST_F(KpiFold, ATestedModelAnswersItsShareUntilItIsConcluded) {
  Fold& fold = *live_->fold;
  const std::string hash(32, 'a');
  fold.model({ModelAction::kTested, 0, hash, "{}", 0.25}, learners::make_prior_model(config_->columns, 0.3));
  EXPECT_TRUE(fold.challenger().tested);
  EXPECT_EQ(fold.challenger().share, 0.25);
  EXPECT_EQ(fold.permitted({ModelAction::kAccepted, 9, "b", ""}).action, ModelAction::kRejected);
  std::string bytes;
  encode(ModelEvent{ModelAction::kTested, 0, hash, "{}", 0.25}, bytes);
  const auto read = decode_event(config_->schema(), bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(std::get<ModelEvent>(*read).share, 0.25);
  const auto restored = make();
  fold.save([&](const char* part, const std::string& piece) {
    EXPECT_TRUE(restored->fold->restore(
        part, piece, [&](const std::string&) { return learners::make_prior_model(config_->columns, 0.3); }));
  });
  EXPECT_TRUE(restored->fold->challenger().tested);
  JudgementEvent conclude;
  conclude.action = Action::kConclude;
  conclude.target = hash;
  fold.judgement(conclude);
  EXPECT_FALSE(fold.challenger());
}

}  // namespace
}  // namespace shrike::engine
