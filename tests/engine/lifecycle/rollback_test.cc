// Back to an earlier champion: what asks for it, which one, and that it does not flap.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/rollback.h"
#include "engine/log/recovery.h"
#include "learners/learner.h"
#include "learners/numeric/numeric.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kHour = features::kDayUs / 24;

// Frauds have a high first column; a model that learned from labels that were turned round ranks them last.
class RollbackTest : public testing::Test {
 protected:
  std::vector<float> row(bool fraud) {
    std::vector<float> out(config_->columns.size(), 0.0f);
    const double noise = learners::unit(learners::mix(++dice_));
    out[0] = static_cast<float>(fraud ? 40 + 60 * noise : 50 * noise);
    return out;
  }

  learners::ModelPtr learned(bool turned_round) {
    auto learner =
        learners::make_learner("linear", {{"bin_sample", int64_t{400}}}, config_->columns, 1).value();
    for (int batch = 0; batch < 40; ++batch) {
      std::vector<float> rows, labels, weights;
      std::vector<uint64_t> keys;
      for (int i = 0; i < 100; ++i) {
        const bool fraud = i % 10 == 0;
        const auto one = row(fraud);
        rows.insert(rows.end(), one.begin(), one.end());
        labels.push_back(fraud != turned_round ? 1.0f : 0.0f);
        weights.push_back(1);
        keys.push_back(++dice_);
      }
      learner->partial_fit(learners::MatrixView(rows, config_->columns.size()), labels, weights, keys);
    }
    return learner->snapshot();
  }

  void take_over(const std::string& hash, learners::ModelPtr model,
                 ModelAction action = ModelAction::kAccepted) {
    const ModelEvent event{action, 1, hash, ""};
    fold_.model(event, std::move(model));
    monitor_->model(event, fold_);
  }
  void settle(int count) {
    for (int i = 0; i < count; ++i) {
      const bool fraud = i % 50 == 0;
      const auto one = row(fraud);
      monitor_->settled({++sequence_, 0, 0, fraud ? Verdict::kFraud : Verdict::kLegitimate, Source::kMatured,
                         false, 1, one, Answer{}, 1, 0});
    }
  }
  // A fraud of the control group.
  void settle_control() {
    const auto one = row(true);
    Answer answer;
    answer.wanted = Decision::kDecline;
    answer.control = true;
    monitor_->settled({++sequence_, 0, 0, Verdict::kFraud, Source::kMatured, false, 1, one, answer, 1, 0});
  }
  void answer(int count, int failing) {
    const std::vector<float> none(config_->columns.size());
    for (int i = 0; i < count; ++i) {
      Answer answer;
      answer.step = i < failing ? Step::kFallback : Step::kFull;
      monitor_->scored({++sequence_, 0, none, answer, 1, 0});
    }
  }
  std::vector<JudgementEvent> close() {
    now_us_ += kHour;
    std::vector<JudgementEvent> found;
    monitor_->close({{sequence_, now_us_, sequence_, fold_}, true, false}, found);
    for (JudgementEvent& event : found) {
      event.monitor = "rollback";
      event.time_us = now_us_;
      fold_.judgement(event);
      monitor_->judged(event);
      if (const auto change = fold_.change_by(event)) {
        fold_.model(change->event, change->model);
        monitor_->model(change->event, fold_);
      }
    }
    return found;
  }
  void restore() {
    auto restored = std::make_unique<Rollback>(config_);
    ASSERT_TRUE(restored->restore(monitor_->save()));
    EXPECT_EQ(restored->save(), monitor_->save());
    monitor_ = std::move(restored);
  }

  ConfigPtr config_ = must_parse(handbook_15());
  NoExamples nowhere_;
  Fold fold_{config_, nowhere_, nullptr};
  std::unique_ptr<Rollback> monitor_ = std::make_unique<Rollback>(config_);
  uint64_t sequence_ = 0, dice_ = 0;
  int64_t now_us_ = 1514764800000000;
  const std::string good_ = std::string(32, 'a'), bad_ = std::string(32, 'b'), other_ = std::string(32, 'c');
};

TEST_F(RollbackTest, ABadModelPushedByHandIsGoneAtOnceAndDoesNotComeBackByItself) {
  take_over(good_, learned(false));
  settle(6000);
  EXPECT_TRUE(close().empty());
  restore();
  take_over(bad_, learned(true), ModelAction::kActivated);
  const auto found = close();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].action, Action::kRollBack);
  EXPECT_EQ(found[0].severity, Severity::kCritical);
  EXPECT_EQ(found[0].target, good_);
  EXPECT_EQ(found[0].subject, bad_);
  EXPECT_EQ(fold_.champion_hash(), good_);
  EXPECT_TRUE(close().empty()) << "the return of the good one is no reason to look again";
  // Answers that fail ask for another: not for the one that was rolled back from.
  answer(1000, 50);
  restore();
  const auto failing = close();
  ASSERT_EQ(failing.size(), 1u);
  EXPECT_EQ(failing[0].action, Action::kRollBack);
  EXPECT_EQ(failing[0].target, fold_.prior_hash());
}

TEST_F(RollbackTest, AModelAsGoodStays) {
  take_over(good_, learned(false));
  settle(6000);
  take_over(other_, learned(false));
  EXPECT_TRUE(close().empty());
  EXPECT_EQ(fold_.champion_hash(), other_);
}

TEST_F(RollbackTest, ACriticalAlertComparesAndSaysSoWhenNoneIsBetter) {
  const learners::ModelPtr model = learned(false);
  take_over(good_, model);
  settle(6000);
  take_over(other_, model);
  close();
  for (int i = 0; i < 20; ++i) settle_control();
  JudgementEvent alert;
  alert.monitor = "performance";
  alert.finding = Finding::kFailed;
  alert.severity = Severity::kWarning;
  monitor_->judged(alert);
  EXPECT_TRUE(close().empty()) << "a warning asks for nothing";
  alert.severity = Severity::kCritical;
  alert.text = "recall has dropped";
  monitor_->judged(alert);
  const auto found = close();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].action, Action::kNone);
  EXPECT_NE(found[0].text.find("recall has dropped"), std::string::npos);
  EXPECT_EQ(fold_.champion_hash(), other_);
}

TEST_F(RollbackTest, WithinTheCooldownOnlyFailingAnswersAct) {
  take_over(good_, learned(false));
  settle(6000);
  take_over(bad_, learned(true), ModelAction::kActivated);
  ASSERT_EQ(close().size(), 1u);
  take_over(bad_, learned(true), ModelAction::kActivated);
  EXPECT_TRUE(close().empty()) << "the operator insists";
  answer(1000, 0);
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(close().empty());
  answer(1000, 3);
  EXPECT_TRUE(close().empty()) << "too few to tell";
  answer(1000, 11);
  const auto found = close();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].target, good_);
}

TEST_F(RollbackTest, WithoutLabelsItGoesToTheNewestEarlierOne) {
  take_over(good_, learned(false));
  take_over(other_, learned(false));
  answer(100, 50);
  const auto found = close();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].target, good_);
  EXPECT_FALSE(monitor_->restore("nonsense"));
}

}  // namespace
}  // namespace shrike::engine
