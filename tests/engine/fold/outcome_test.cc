// The loop as it is in life: what was declined tells nothing by its silence, unless the payment system
// reports that it went through, or the control group let it through.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

#include "engine/fold/fold.h"
#include "engine/fold/label_delay.h"
#include "engine/fold/log.pb.h"
#include "engine/fold/policy.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kDay = 86400;

struct Learned : ExampleSink {
  struct One {
    Verdict verdict;
    float weight;
  };
  std::map<uint64_t, std::vector<One>> of;  // by transaction
  size_t all = 0;
  void learn(const Example& example) override {
    of[example.transaction.low].push_back({example.verdict, example.weight});
    ++all;
  }
};

class Outcomes : public testing::Test {
 protected:
  Answer answer(Decision decision) const {
    Answer given;
    given.score = 0.9f;
    given.decision = given.wanted = decision;
    given.propensity = decision == Decision::kApprove ? 1 : 0;
    return given;
  }
  Key transact(int64_t id, int64_t seconds, const Answer& given) {
    const Transaction transaction = make_transaction(config_->schema(), id, seconds, 1, 2, 10);
    fold_->answer(fold_->fold(transaction, Clock::kOnTime, row_), given);
    return transaction.id;
  }
  void report(const Key& key, Outcome outcome, bool duplicate = false) {
    const auto reported = fold_->outcome({key, outcome, std::nullopt});
    ASSERT_TRUE(reported) << reported.error().reason;
    EXPECT_EQ(reported->duplicate, duplicate);
  }
  float feature(const std::string& name) const {
    for (size_t c = 0; c < config_->columns.size(); ++c) {
      if (config_->columns[c].name == name) return row_[c];
    }
    ADD_FAILURE() << name;
    return NAN;
  }

  ConfigPtr config_ = must_parse(with(handbook_15(), "learn = \"auto\"", "learn = \"at_maturity\""));
  Learned sink_;
  std::unique_ptr<Fold> fold_ = std::make_unique<Fold>(config_, sink_, nullptr, 60 * kDay * 1'000'000);
  std::vector<float> row_ = std::vector<float>(config_->columns.size());
};

TEST_F(Outcomes, SilenceAfterADeclineIsNoLabel) {
  const Key approved = transact(1, 0, answer(Decision::kApprove));
  const Key declined = transact(2, 1, answer(Decision::kDecline));
  const Key reviewed = transact(3, 2, answer(Decision::kReview));
  transact(4, 8 * kDay, answer(Decision::kApprove));
  ASSERT_EQ(sink_.of[approved.low].size(), 1u);
  EXPECT_EQ(sink_.of[approved.low][0].verdict, Verdict::kLegitimate);
  EXPECT_TRUE(sink_.of[declined.low].empty());
  EXPECT_TRUE(sink_.of[reviewed.low].empty());
  EXPECT_EQ(fold_->counters().unknown, 2u);
  // A verdict that comes later is learned: it contradicts nothing.
  const auto labelled = fold_->label({declined, Verdict::kFraud, Source::kAnalyst, std::nullopt});
  ASSERT_TRUE(labelled);
  EXPECT_EQ(labelled->event.outcome, Effect::kStored);
  EXPECT_TRUE(labelled->event.reveals);
  ASSERT_EQ(sink_.of[declined.low].size(), 1u);
  EXPECT_EQ(sink_.of[declined.low][0].verdict, Verdict::kFraud);
}

TEST_F(Outcomes, ThePaymentSystemKnowsBetterThanTheDecision) {
  const Key overruled = transact(1, 0, answer(Decision::kDecline));
  const Key cancelled = transact(2, 1, answer(Decision::kApprove));
  const Key late = transact(3, 2, answer(Decision::kDecline));
  const Key passed = transact(4, 3, answer(Decision::kReview));
  report(overruled, Outcome::kApproved);
  report(overruled, Outcome::kApproved, true);
  report(cancelled, Outcome::kCancelled);
  report(passed, Outcome::kChallengePassed);
  transact(5, 8 * kDay, answer(Decision::kApprove));
  EXPECT_EQ(sink_.of[overruled.low].size(), 1u);
  EXPECT_TRUE(sink_.of[cancelled.low].empty());
  EXPECT_EQ(sink_.of[passed.low].size(), 1u);
  EXPECT_TRUE(sink_.of[late.low].empty());
  report(late, Outcome::kApproved);  // after the maturity period: it has been silent for as long
  ASSERT_EQ(sink_.of[late.low].size(), 1u);
  EXPECT_EQ(sink_.of[late.low][0].verdict, Verdict::kLegitimate);
  const auto unknown = fold_->outcome({features::key_of(77), Outcome::kApproved, std::nullopt});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kNotFound);
}

TEST_F(Outcomes, OneOfTheControlGroupStandsForManyAndCountsForFeatures) {
  Answer control = answer(Decision::kDecline);
  control.decision = Decision::kApprove;
  control.control = true;
  control.propensity = 0.05f;
  const Key through = transact(1, 0, control);
  transact(2, 1, answer(Decision::kDecline));
  const Key fraud = transact(3, 2, answer(Decision::kApprove));
  ASSERT_TRUE(fold_->label({fraud, Verdict::kFraud, Source::kChargeback, std::nullopt}));
  transact(4, 8 * kDay, answer(Decision::kApprove));
  ASSERT_EQ(sink_.of[through.low].size(), 1u);
  EXPECT_FLOAT_EQ(sink_.of[through.low][0].weight, 20);
  transact(5, 9 * kDay, answer(Decision::kApprove));
  // Of three transactions at the terminal older than 7 days one is hidden: one fraud in two.
  EXPECT_FLOAT_EQ(feature("terminal_risk_30d"), 0.5f);
  EXPECT_FLOAT_EQ(feature("terminal_count_30d"), 3);
}

TEST_F(Outcomes, AreTheSameThroughACheckpoint) {
  const Key declined = transact(1, 0, answer(Decision::kDecline));
  report(declined, Outcome::kApproved);
  std::vector<std::pair<std::string, std::string>> parts;
  fold_->save([&](const char* part, std::string piece) { parts.emplace_back(part, std::move(piece)); });
  fold_ = std::make_unique<Fold>(config_, sink_, nullptr, 60 * kDay * 1'000'000);
  for (const auto& [part, piece] : parts)
    ASSERT_TRUE(fold_->restore(part, piece, [](const std::string&) { return nullptr; })) << part;
  transact(2, 8 * kDay, answer(Decision::kApprove));
  EXPECT_EQ(sink_.of[declined.low].size(), 1u);
  EXPECT_EQ(fold_->counters().outcomes, 1u);
}

TEST_F(Outcomes, GoThroughTheirRecords) {
  const OutcomeEvent event{features::key_of(7), Outcome::kChallengePassed, 5, 3, true};
  std::string bytes;
  encode(event, bytes);
  const auto decoded = decode_event(config_->schema(), bytes);
  ASSERT_TRUE(decoded);
  const auto& back = std::get<OutcomeEvent>(*decoded);
  EXPECT_EQ(back.transaction, event.transaction);
  EXPECT_EQ(back.outcome, event.outcome);
  EXPECT_EQ(back.transaction_sequence, 3u);
  EXPECT_TRUE(back.tells);
}

TEST(ControlGroup, IsTheShareAskedForAndNeverAboveItsAmount) {
  Config config = *must_parse(handbook_15());
  config.control.share = 0.1;
  config.control.amount_max = 200;
  size_t controls = 0;
  for (int64_t id = 0; id < 20'000; ++id) {
    Answer answer;
    answer.score = 0.9f;
    decide(config.policy, 100, answer);
    let_through(config, features::key_of(id), 100, answer);
    EXPECT_EQ(answer.wanted, Decision::kDecline);
    EXPECT_EQ(answer.decision, answer.control ? Decision::kApprove : Decision::kDecline);
    EXPECT_FLOAT_EQ(answer.propensity, 0.1f) << "let through or not";
    controls += answer.control;
    Answer dear = answer;
    decide(config.policy, 201, dear);
    let_through(config, features::key_of(id), 201, dear);
    ASSERT_FALSE(dear.control);
    EXPECT_EQ(dear.propensity, 0);
  }
  EXPECT_NEAR(static_cast<double>(controls), 2000, 5 * std::sqrt(20'000 * 0.1 * 0.9));
  Answer fine;
  decide(config.policy, 100, fine);
  let_through(config, features::key_of(1), 100, fine);
  EXPECT_EQ(fine.decision, Decision::kApprove);
  EXPECT_FALSE(fine.control);
  EXPECT_EQ(fine.propensity, 1);
}

// Labels by an exponential distribution, seen while the stream runs: the share that comes in time is
// estimated although young transactions show short delays alone.
TEST(LabelDelays, AreEstimatedFromWhatHasCome) {
  constexpr int64_t kDayUs = features::kDayUs;
  LabelDelays delays(7 * kDayUs, 0);
  std::mt19937_64 random(1);
  std::exponential_distribution<double> delay(1.0 / 14);
  struct Due {
    double day;
    double transaction;
  };
  std::vector<Due> due;
  for (int i = 0; i < 4000; ++i) {
    const double day = 100.0 * i / 4000;
    due.push_back({day + delay(random), day});
  }
  std::sort(due.begin(), due.end(), [](const Due& a, const Due& b) { return a.day < b.day; });
  const auto us = [](double day) { return static_cast<int64_t>(day * static_cast<double>(kDayUs)); };
  double naive = 0, seen = 0;
  for (const Due& label : due) {
    if (label.day > 60) break;
    delays.add(us(label.transaction), us(label.day), us(label.day));
    seen += 1;
    naive += label.day - label.transaction <= 7;
  }
  const double truth = 1 - std::exp(-0.5);
  EXPECT_NEAR(delays.share_by_maturity(us(60)), truth, 0.05);
  EXPECT_GT(naive / seen, truth + 0.04) << "what has come is not what will come";
  EXPECT_NEAR(delays.weight_of_silence(0.5, us(60)), 0.5 / (1 - 0.5 * truth), 0.03);
  EXPECT_EQ(delays.weight_of_silence(0, us(60)), 1);
  LabelDelays again(7 * kDayUs, 0);
  proto::LabelDelaysRecord saved, saved_again;
  delays.save(saved);
  ASSERT_TRUE(again.restore(saved));
  again.save(saved_again);
  EXPECT_EQ(saved_again.SerializeAsString(), saved.SerializeAsString());
  saved.set_cell(0, LabelDelays::kBins * LabelDelays::kBins);
  EXPECT_FALSE(again.restore(saved));
}

TEST(LabelDelays, AFixedDelayLeavesEveryWeightAtOne) {
  constexpr int64_t kDayUs = features::kDayUs;
  LabelDelays delays(7 * kDayUs, 0);
  for (int64_t i = 0; i < 2000; ++i) {
    const int64_t t = i * kDayUs / 50;
    delays.add(t, t + 7 * kDayUs, t + 7 * kDayUs);
    ASSERT_EQ(delays.weight_of_silence(0.99, t + 7 * kDayUs), 1) << i;
  }
}

}  // namespace
}  // namespace shrike::engine
