// Judgements over the log: made when a period closes, kept until they are in the log, and in force from then
// on.
#include "engine/lifecycle/lifecycle.h"

#include <gtest/gtest.h>

#include <random>

#include <nlohmann/json.hpp>

#include "engine/lifecycle/sources.h"
#include "engine/log/recovery.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kDay = 86400;

// Says something at every new day, whatever was said before.
class Daily : public Monitor {
 public:
  std::string_view name() const override { return "daily"; }
  void scored(const Scored&) override { ++scored_; }
  void judged(const JudgementEvent& event) override { in_log_ += event.monitor == "daily"; }
  void close(const Period& period, std::vector<JudgementEvent>& found) override {
    if (!period.new_day) return;
    JudgementEvent judgement;
    judgement.subject = std::to_string(scored_);
    found.push_back(judgement);
  }
  nlohmann::json report() const override { return {{"scored", scored_}, {"in_log", in_log_}}; }
  std::string save() const override { return std::to_string(scored_) + " " + std::to_string(in_log_); }
  tl::expected<void, std::string> restore(std::string_view bytes) override {
    scored_ = std::stoi(std::string(bytes));
    in_log_ = std::stoi(std::string(bytes.substr(bytes.find(' '))));
    return {};
  }

 private:
  int scored_ = 0, in_log_ = 0;
};

std::unique_ptr<Fold> watched(const ConfigPtr& config, ExampleSink& sink) {
  auto fold = std::make_unique<Fold>(config, sink, nullptr);
  std::vector<std::unique_ptr<Monitor>> monitors;
  monitors.push_back(std::make_unique<Daily>());
  fold->watch(std::make_unique<Lifecycle>(config, std::move(monitors)));
  return fold;
}

// In batches of any size, judged at the same places, with the same words.
TEST(Lifecycle, JudgesAtTheSamePlacesWhateverTheBatch) {
  const ConfigPtr config = must_parse(handbook_15());
  std::vector<std::vector<std::string>> stories;
  for (const size_t batch : {size_t{1}, size_t{7}, size_t{256}}) {
    NoExamples nowhere;
    auto fold = watched(config, nowhere);
    std::vector<float> row(config->columns.size());
    std::vector<Folded> waiting;
    std::vector<std::string> story;
    const auto answer_all = [&] {
      for (const Folded& folded : waiting) fold->answer(folded, {});
      waiting.clear();
    };
    for (int64_t id = 0; id < 3000; ++id) {
      const Transaction t = make_transaction(config->schema(), id, id * kDay / 250, id % 7, id % 5, 10);
      if (fold->needs_answers(t)) answer_all();
      waiting.push_back(fold->fold(t, Clock::kOnTime, row));
      if (waiting.size() >= batch || fold->closes_period()) answer_all();
      while (const JudgementEvent* made = fold->next_judgement()) {
        const JudgementEvent judgement = *made;
        story.push_back(std::to_string(fold->judgement(judgement)) + " " + judgement.subject);
      }
    }
    EXPECT_EQ(story.size(), 11u);
    stories.push_back(std::move(story));
  }
  EXPECT_EQ(stories[0], stories[1]);
  EXPECT_EQ(stories[0], stories[2]);
}

// A crash between a judgement and its place in the log: after recovery it is made, once.
TEST(Lifecycle, AJudgementThatIsNotInTheLogIsKeptThroughACheckpoint) {
  const ConfigPtr config = must_parse(handbook_15());
  NoExamples nowhere;
  auto fold = watched(config, nowhere);
  std::vector<float> row(config->columns.size());
  for (int64_t id = 0; id < 2; ++id) {
    const Transaction t = make_transaction(config->schema(), id, id * kDay, 1, 1, 10);
    fold->answer(fold->fold(t, Clock::kOnTime, row), {});
  }
  ASSERT_NE(fold->next_judgement(), nullptr);
  std::vector<std::pair<std::string, std::string>> parts;
  fold->save([&](const char* part, std::string piece) { parts.emplace_back(part, std::move(piece)); });
  auto restored = watched(config, nowhere);
  for (const auto& [part, piece] : parts)
    ASSERT_TRUE(restored->restore(part, piece, [](const std::string&) { return nullptr; })) << part;
  ASSERT_NE(restored->next_judgement(), nullptr);
  const JudgementEvent judgement = *restored->next_judgement();
  EXPECT_EQ(judgement, *fold->next_judgement());
  restored->judgement(judgement);
  EXPECT_EQ(restored->next_judgement(), nullptr);
}

// Remembers what it was told of transactions: the verdict, and whether it takes another's place.
class Settlements : public Monitor {
 public:
  explicit Settlements(std::vector<std::pair<Verdict, bool>>& told) : told_(told) {}
  std::string_view name() const override { return "settlements"; }
  void settled(const Settled& settled) override { told_.emplace_back(settled.verdict, settled.corrected); }
  void close(const Period&, std::vector<JudgementEvent>&) override {}
  nlohmann::json report() const override { return nullptr; }
  std::string save() const override { return ""; }
  tl::expected<void, std::string> restore(std::string_view) override { return {}; }

 private:
  std::vector<std::pair<Verdict, bool>>& told_;
};

class Settling : public testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::unique_ptr<Monitor>> monitors;
    monitors.push_back(std::make_unique<Settlements>(told_));
    fold_.watch(std::make_unique<Lifecycle>(config_, std::move(monitors)));
  }
  Key transact(int64_t id, int64_t seconds, Decision decision) {
    Answer answer;
    answer.decision = answer.wanted = decision;
    answer.propensity = decision == Decision::kApprove ? 1 : 0;
    const Transaction t = make_transaction(config_->schema(), id, seconds, 1, 2, 10);
    fold_.answer(fold_.fold(t, Clock::kOnTime, row_), answer);
    return t.id;
  }
  void label(const Key& key, Source source) {
    ASSERT_TRUE(fold_.label({key, Verdict::kFraud, source, std::nullopt}));
  }

  std::vector<std::pair<Verdict, bool>> told_;
  ConfigPtr config_ = must_parse(with(handbook_15(), "learn = \"auto\"", "learn = \"at_maturity\""));
  NoExamples nowhere_;
  Fold fold_{config_, nowhere_, nullptr, 60 * features::kDayUs};
  std::vector<float> row_ = std::vector<float>(config_->columns.size());
};

TEST_F(Settling, AnOutcomeThatFlipsSettlesItsTransactionOnce) {
  const Key key = transact(1, 0, Decision::kDecline);
  transact(2, 8 * kDay, Decision::kDecline);
  EXPECT_TRUE(told_.empty());
  for (const Outcome outcome :
       {Outcome::kApproved, Outcome::kDeclined, Outcome::kApproved, Outcome::kDeclined})
    ASSERT_TRUE(fold_.outcome({key, outcome, std::nullopt}));
  EXPECT_EQ(told_, (std::vector{std::pair(Verdict::kLegitimate, false)}));
  EXPECT_EQ(fold_.examples(), 1u);
  label(key, Source::kAnalyst);
  EXPECT_EQ(told_.back(), std::pair(Verdict::kFraud, true)) << "what was told of its silence is taken back";
}

TEST_F(Settling, AHeldLabelOfAQuarantinedSourceIsTakenBack) {
  label(transact(1, 0, Decision::kApprove), Source::kCustomer);
  label(transact(2, 1, Decision::kApprove), Source::kAnalyst);
  EXPECT_EQ(told_, (std::vector{std::pair(Verdict::kFraud, false), std::pair(Verdict::kFraud, false)}));
  JudgementEvent quarantine;
  quarantine.action = Action::kQuarantine;
  quarantine.target = "customer";
  told_.clear();
  fold_.judgement(quarantine);
  EXPECT_EQ(told_, (std::vector{std::pair(Verdict::kLegitimate, true)}));
  transact(3, 8 * kDay, Decision::kApprove);
  EXPECT_EQ(told_.size(), 1u);
  EXPECT_EQ(fold_.examples(), 2u) << "as if it had not spoken";
}

TEST(Lifecycle, JudgementsGoThroughTheirRecords) {
  const ConfigPtr config = must_parse(handbook_15());
  const JudgementEvent event{
      "drift",     "amount", Finding::kFailed, Severity::kCritical, Action::kThresholds, "x",
      {0.25, 0.5}, 77,       "a sentence",     R"({"psi":0.3})"};
  std::string bytes;
  encode(event, bytes);
  const auto decoded = decode_event(config->schema(), bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(std::get<JudgementEvent>(*decoded), event);
}

TEST(Lifecycle, JudgementsAreInForceOnceTheyAreInTheLog) {
  const ConfigPtr config = must_parse(handbook_15());
  NoExamples nowhere;
  Fold fold(config, nowhere, nullptr);
  EXPECT_EQ(fold.thresholds().decline, config->policy.decline_score);
  JudgementEvent event;
  event.action = Action::kThresholds;
  event.values = {0.03, 0.07};
  fold.judgement(event);
  event.action = Action::kHoldTraining;
  fold.judgement(event);
  event.action = Action::kQuarantine;
  event.target = "customer";
  fold.judgement(event);
  Fold restored(config, nowhere, nullptr);
  fold.save([&](const char* part, const std::string& piece) {
    ASSERT_TRUE(restored.restore(part, piece, [](const std::string&) { return nullptr; }));
  });
  for (const Fold* one : {&fold, &restored}) {
    EXPECT_EQ(one->thresholds().review, 0.03);
    EXPECT_EQ(one->thresholds().decline, 0.07);
    EXPECT_TRUE(one->training_held());
    EXPECT_TRUE(one->quarantined(Source::kCustomer));
    EXPECT_FALSE(one->quarantined(Source::kChargeback));
  }
  const ModelEvent accepted{ModelAction::kAccepted, 5, "m", "{}"};
  EXPECT_EQ(fold.permitted(accepted).action, ModelAction::kRejected);
  event.action = Action::kGoOnTraining;
  fold.judgement(event);
  EXPECT_EQ(fold.permitted(accepted).action, ModelAction::kAccepted);
}

class Sources : public testing::Test {
 protected:
  void say(Source source, float score, Verdict verdict = Verdict::kFraud) {
    LabelEvent event;
    event.source = source;
    event.verdict = verdict;
    Answer answer;
    answer.score = score;
    answer.decision = answer.wanted = Decision::kApprove;
    monitor_.labelled({event, LabelState{}, &answer, 0});
  }
  // A day's traffic, nearly all of it honest.
  void SetUp() override {
    for (uint64_t i = 1; i <= 5000; ++i) {
      Answer answer;
      answer.score = honest();
      answer.decision = answer.wanted = Decision::kApprove;
      monitor_.scored({i, 0, {}, answer, 1, 0});
    }
  }
  std::vector<JudgementEvent> close() {
    NoExamples nowhere;
    Fold fold(config_, nowhere, nullptr);
    std::vector<JudgementEvent> found;
    monitor_.close({{1, 0, 1, fold}}, found);
    return found;
  }
  // Frauds that were missed score low, but not as honest traffic does.
  float missed() { return std::min(0.45f, std::exp(std::normal_distribution<float>(-5, 1)(random_))); }
  float honest() { return std::exp(std::normal_distribution<float>(-7, 1)(random_)); }

  ConfigPtr config_ = must_parse(handbook_15());
  SourceMonitor monitor_{config_};
  std::mt19937 random_{1};
};

TEST_F(Sources, OneThatFloodsHonestEntitiesIsQuarantined) {
  for (int i = 0; i < 200; ++i) say(Source::kChargeback, missed());
  for (int i = 0; i < 49; ++i) say(Source::kCustomer, honest());
  EXPECT_TRUE(close().empty()) << "not yet fifty labels";
  for (int i = 0; i < 11; ++i) say(Source::kCustomer, honest());
  const auto found = close();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].action, Action::kQuarantine);
  EXPECT_EQ(found[0].target, "customer");
  EXPECT_TRUE(close().empty()) << "said once";
  for (int i = 0; i < 2000; ++i) say(Source::kCustomer, missed());
  const auto again = close();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].action, Action::kRelease) << "vindicated";
}

TEST_F(Sources, ThoseThatAgreeAreNot) {
  for (int round = 0; round < 200; ++round) {
    for (int i = 0; i < 20; ++i) {
      say(Source::kChargeback, missed());
      say(Source::kCustomer, missed());
      say(Source::kAnalyst, missed());
    }
    ASSERT_TRUE(close().empty()) << round;
  }
}

TEST_F(Sources, ChargebacksAreNotJudgedByCustomersAlone) {
  for (int i = 0; i < 500; ++i) {
    say(Source::kCustomer, missed());
    say(Source::kChargeback, honest());
  }
  for (const JudgementEvent& judgement : close()) EXPECT_NE(judgement.target, "chargeback");
}

// The analyst calls everything legitimate at once; frauds among it are charged back a day later.
TEST_F(Sources, WhoCallsEverythingLegitimateIsFoundOutByWhatIsChargedBack) {
  const double share[] = {1, 0.1};  // of the frauds that the champion expects, for a guess and for a verdict
  for (const bool guesses : {false, true}) {
    SourceMonitor monitor(config_);
    std::vector<JudgementEvent> found;
    NoExamples nowhere;
    Fold fold(config_, nowhere, nullptr);
    std::uniform_real_distribution<double> unit;
    for (int64_t day = 0; day < 30; ++day) {
      for (int i = 0; i < 200; ++i) {
        Answer answer;
        answer.score = 0.05f;
        answer.decision = answer.wanted = Decision::kApprove;
        LabelEvent event;
        LabelState state;
        event.source = Source::kAnalyst;
        event.verdict = Verdict::kLegitimate;
        note(state, event.source, event.verdict);
        monitor.labelled({event, state, &answer, day * features::kDayUs});
        if (unit(random_) > 0.05 * share[guesses ? 0 : 1]) continue;
        event.source = Source::kChargeback;
        event.verdict = Verdict::kFraud;
        note(state, event.source, event.verdict);
        monitor.labelled({event, state, &answer, day * features::kDayUs});
      }
      monitor.close({{1, day * features::kDayUs, 1, fold}, true, true}, found);
    }
    ASSERT_EQ(found.size(), guesses ? 1u : 0u);
    if (!guesses) continue;
    EXPECT_EQ(found[0].action, Action::kQuarantine);
    EXPECT_EQ(found[0].target, "analyst");
    EXPECT_EQ(found[0].values[0], static_cast<double>(Suspended::kLegitimate));
  }
}

TEST_F(Sources, OneThatFallsSilentIsToldOnceAndWhenItSpeaksAgain) {
  std::vector<JudgementEvent> found;
  NoExamples nowhere;
  Fold fold(config_, nowhere, nullptr);
  const auto day = [&](int64_t number, int labels) {
    for (int i = 0; i < labels; ++i) say(Source::kChargeback, missed());
    monitor_.close({{1, number * features::kDayUs, 1, fold}, true, true}, found);
  };
  for (int64_t n = 1; n <= 14; ++n) day(n, n % 7 < 5 ? 40 : 0);  // nobody works at weekends
  EXPECT_TRUE(found.empty());
  for (int64_t n = 15; n <= 24; ++n) day(n, 0);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].severity, Severity::kCritical) << "its silence means legitimate";
  EXPECT_EQ(found[0].subject, "chargeback silence");
  day(25, 30);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[1].action, Action::kResolve);
}

TEST_F(Sources, AreTheSameThroughACheckpoint) {
  for (int i = 0; i < 100; ++i) say(Source::kChargeback, missed());
  for (int i = 0; i < 40; ++i) say(Source::kCustomer, honest());
  SourceMonitor restored(config_);
  ASSERT_TRUE(restored.restore(monitor_.save()));
  EXPECT_EQ(restored.report(), monitor_.report());
  EXPECT_FALSE(restored.restore("short"));
}

}  // namespace
}  // namespace shrike::engine
