// When learners are learned anew.
#include <gtest/gtest.h>

#include <memory>

#include "engine/fold/fold.h"
#include "engine/lifecycle/triggers.h"
#include "engine/log/recovery.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kDay = features::kDayUs;
constexpr int64_t kMonday = 1514764800000000;  // 2018-01-01

class TriggersTest : public testing::Test {
 protected:
  void configure(const std::string& settings) {
    config_ = must_parse(handbook_15() + "\n[retraining]\non = true\n" + settings);
    fold_ = std::make_unique<Fold>(config_, nowhere_, nullptr);
    fold_->model({ModelAction::kAccepted, 1, "m", ""}, learners::make_prior_model(config_->columns, 0.02));
    monitor_ = std::make_unique<Triggers>(config_);
  }
  std::vector<JudgementEvent> close(int64_t now_us) {
    std::vector<JudgementEvent> found;
    monitor_->close({{1, now_us, 1, *fold_}, true, true}, found);
    for (JudgementEvent& event : found) {
      event.time_us = now_us;
      event.monitor = "triggers";
      fold_->judgement(event);
      monitor_->judged(event);
    }
    return found;
  }
  void done() {
    fold_->model({ModelAction::kRetrained, 5, "r", "{}"}, learners::make_prior_model(config_->columns, 0.03));
  }
  void judge(const std::string& monitor, Severity severity, int64_t time_us, const std::string& subject = "",
             Finding finding = Finding::kFailed) {
    JudgementEvent event;
    event.monitor = monitor;
    event.subject = subject;
    event.finding = finding;
    event.severity = severity;
    event.time_us = time_us;
    event.text = monitor + " says so";
    monitor_->judged(event);
  }
  void labels(int count, Source source = Source::kAnalyst) {
    for (int i = 0; i < count; ++i) {
      LabelEvent event;
      event.source = source;
      monitor_->labelled({event, LabelState{}});
    }
  }

  ConfigPtr config_;
  NoExamples nowhere_;
  std::unique_ptr<Fold> fold_;
  std::unique_ptr<Triggers> monitor_;
};

TEST_F(TriggersTest, AScheduleIsMetOnceAWeekOrMonth) {
  configure("schedule = \"weekly\"\ncooldown = \"1d\"\n");
  std::vector<int64_t> asked;
  for (int64_t hour = 0; hour < 24 * 30; ++hour) {
    const int64_t now_us = kMonday + 3 * kDay + hour * kDay / 24;
    if (!close(now_us).empty()) {
      asked.push_back((now_us - kMonday) / kDay);
      done();
    }
  }
  EXPECT_EQ(asked, (std::vector<int64_t>{7, 14, 21, 28}));
  configure("schedule = \"monthly\"\n");
  EXPECT_TRUE(close(kMonday + 20 * kDay).empty());
  EXPECT_TRUE(close(kMonday + 30 * kDay).empty());
  const auto found = close(kMonday + 31 * kDay);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].action, Action::kRetrain);
  EXPECT_EQ(found[0].target, "full");
}

TEST_F(TriggersTest, TheMostPressingIsTakenAndOneIsUnderWayAtATime) {
  configure("labels = 100\ncooldown = \"2d\"\n");
  labels(150);
  labels(50, Source::kMatured);
  judge("performance", Severity::kWarning, kMonday);
  auto found = close(kMonday);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].target, "search");
  EXPECT_EQ(found[0].text, "performance says so");
  ASSERT_TRUE(fold_->retraining());
  labels(150);
  EXPECT_TRUE(close(kMonday + 5 * kDay).empty()) << "one is under way";
  done();
  EXPECT_FALSE(fold_->retraining());
  EXPECT_TRUE(close(kMonday + kDay).empty()) << "it cools down";
  auto restored = std::make_unique<Triggers>(config_);
  ASSERT_TRUE(restored->restore(monitor_->save()));
  monitor_ = std::move(restored);
  found = close(kMonday + 5 * kDay);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].target, "full");
  EXPECT_NE(found[0].text.find("150 labels"), std::string::npos);
}

TEST_F(TriggersTest, DriftIsLearnedFromItsOwnTimeOnceThereIsEnoughOfIt) {
  configure("");
  judge("drift", Severity::kWarning, kMonday);
  EXPECT_TRUE(close(kMonday + 40 * kDay).empty()) << "not critical";
  judge("drift", Severity::kCritical, kMonday + 50 * kDay);
  EXPECT_TRUE(close(kMonday + 51 * kDay).empty());
  const auto found = close(kMonday + 80 * kDay);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].target, "recent");
  EXPECT_EQ(static_cast<int64_t>(found[0].values[0]), kMonday + 50 * kDay - config_->drift.window_us);
}

TEST_F(TriggersTest, AKpiThatFallsIsAnsweredWithTheLastDays) {
  configure("kpi_window = \"7d\"\n");
  judge("kpi", Severity::kWarning, kMonday + 20 * kDay, "ctr");
  auto restored = std::make_unique<Triggers>(config_);
  ASSERT_TRUE(restored->restore(monitor_->save()));
  monitor_ = std::move(restored);
  const auto found = close(kMonday + 20 * kDay + kDay / 24);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].action, Action::kRetrain);
  EXPECT_EQ(found[0].target, "recent");
  EXPECT_EQ(found[0].text, "kpi says so");
  EXPECT_EQ(static_cast<int64_t>(found[0].values[0]), kMonday + 13 * kDay + kDay / 24);
  done();
  EXPECT_TRUE(close(kMonday + 40 * kDay).empty()) << "once";
  // What comes to nothing is asked for again while the alert is on.
  JudgementEvent nothing;
  nothing.monitor = kRetraining;
  nothing.finding = Finding::kFailed;
  monitor_->judged(nothing);
  EXPECT_EQ(close(kMonday + 41 * kDay).size(), 1u);
  done();
  JudgementEvent over;
  over.monitor = "kpi";
  over.finding = Finding::kSuccessful;
  over.action = Action::kResolve;
  monitor_->judged(over);
  monitor_->judged(nothing);
  EXPECT_TRUE(close(kMonday + 60 * kDay).empty());
  configure("kpi = false\n");
  judge("kpi", Severity::kCritical, kMonday);
  EXPECT_TRUE(close(kMonday).empty());
}

TEST_F(TriggersTest, FailingDataAreNotLearnedFrom) {
  configure("labels = 10\n");
  labels(20);
  judge("quality", Severity::kCritical, kMonday);
  EXPECT_TRUE(close(kMonday).empty());
  judge("quality", Severity::kInfo, kMonday, "", Finding::kSuccessful);
  EXPECT_EQ(close(kMonday).size(), 1u);
}

TEST_F(TriggersTest, NothingIsAskedForWhereItIsOffOrNothingHasLearnedYet) {
  config_ = must_parse(handbook_15());
  fold_ = std::make_unique<Fold>(config_, nowhere_, nullptr);
  monitor_ = std::make_unique<Triggers>(config_);
  judge("performance", Severity::kCritical, kMonday);
  EXPECT_TRUE(close(kMonday).empty());
  EXPECT_FALSE(monitor_->restore("nonsense"));
}

}  // namespace
}  // namespace shrike::engine
