// KPIs by day: what is told of a fall, and what is not.
#include <gtest/gtest.h>

#include <memory>
#include <random>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/kpis.h"
#include "engine/log/recovery.h"
#include "learners/numeric/numeric.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kDay = features::kDayUs, kHour = features::kHourUs;
constexpr int64_t kStart = 1530403200000000;  // 2018-07-01

class KpisTest : public testing::Test {
 protected:
  void SetUp() override { configure("drop = 0.15\n"); }
  void configure(const std::string& settings) {
    config_ = must_parse(with(handbook_15(), "clock = \"live\"", "clock = \"event\"") +
                         "[kpi.bought]\nwithin = \"3h\"\n" + settings);
    fold_ = std::make_unique<Fold>(config_, nowhere_, nullptr);
    monitor_ = std::make_unique<Kpis>(config_);
  }
  // At the newest day's beginning, by the fold's event time.
  void take_over() {
    std::vector<float> row(config_->columns.size());
    const int64_t since_origin_us = kStart - config_->schema().time_origin_us;
    fold_->fold(
        make_transaction(config_->schema(), day_, since_origin_us / 1'000'000 + day_ * 86400, 1, 2, 10),
        Clock::kOnTime, row);
    monitor_->model({ModelAction::kAccepted, 1, "m", ""}, *fold_);
  }
  // A day of transactions of which `rate` are bought; closed by the next one's first.
  void day(double rate, int transactions = 3000) {
    for (int i = 0; i < transactions; ++i) {
      const int64_t time_us = kStart + day_ * kDay + int64_t{i} * kDay / transactions;
      const uint64_t entity = random_() % 1500;
      Answer answer;
      monitor_->scored({++sequence_, time_us, {}, answer, 1, entity});
      if (i == 0) close(time_us);
      if (learners::unit(random_()) < rate)
        monitor_->kpi(
            {{}, "bought", 1, time_us + kHour, sequence_, time_us, entity, Arm::kChampion, Step::kFull});
    }
    ++day_;
  }
  void close(int64_t now_us) {
    std::vector<JudgementEvent> found;
    monitor_->close({{sequence_, now_us, sequence_, *fold_}, true, day_ > 0}, found);
    for (JudgementEvent& event : found) {
      event.time_us = now_us;
      events_.push_back(std::move(event));
    }
  }
  void restore() {
    auto restored = std::make_unique<Kpis>(config_);
    ASSERT_TRUE(restored->restore(monitor_->save()));
    EXPECT_EQ(restored->save(), monitor_->save());
    monitor_ = std::move(restored);
  }

  ConfigPtr config_;
  NoExamples nowhere_;
  std::unique_ptr<Fold> fold_;
  std::unique_ptr<Kpis> monitor_;
  std::mt19937_64 random_{3};
  std::vector<JudgementEvent> events_;
  uint64_t sequence_ = 0;
  int64_t day_ = 0;
};

TEST_F(KpisTest, AFallIsToldOnceAndItsEndToo) {
  for (int i = 0; i < 12; ++i) day(0.1);
  EXPECT_TRUE(events_.empty());
  restore();
  for (int i = 0; i < 4; ++i) day(0.08);
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].subject, "bought");
  EXPECT_EQ(events_[0].finding, Finding::kFailed);
  EXPECT_EQ(events_[0].action, Action::kNone);
  // The day after the fall is the first that is complete.
  EXPECT_LE(events_[0].time_us, kStart + 15 * kDay);
  EXPECT_EQ(monitor_->report()["alerts"].size(), 1u);
  restore();
  for (int i = 0; i < 6; ++i) day(0.1);
  ASSERT_EQ(events_.size(), 2u);
  EXPECT_EQ(events_[1].action, Action::kResolve);
  EXPECT_EQ(events_[1].finding, Finding::kSuccessful);
  EXPECT_TRUE(monitor_->report()["alerts"].empty());
}

TEST_F(KpisTest, ChanceAndSmallFallsRaiseNothing) {
  for (int i = 0; i < 60; ++i) day(0.1, 500);
  for (int i = 0; i < 20; ++i) day(0.096, 3000);
  EXPECT_TRUE(events_.empty()) << events_[0].text;
  configure("");
  day_ = 0;
  for (int i = 0; i < 10; ++i) day(0.1);
  for (int i = 0; i < 3; ++i) day(0.02);
  EXPECT_TRUE(events_.empty()) << "no drop was configured";
}

TEST_F(KpisTest, ADeepFallIsCritical) {
  for (int i = 0; i < 10; ++i) day(0.1);
  for (int i = 0; i < 3; ++i) day(0.05);
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].severity, Severity::kCritical);
}

TEST_F(KpisTest, ATakeoverRenewsTheBaselineUnlessAnAlertIsOn) {
  for (int i = 0; i < 10; ++i) day(0.1, 10'000);
  for (int i = 0; i < 8; ++i) day(0.09, 10'000);
  EXPECT_NEAR(monitor_->report()["baselines"]["bought"].get<double>(), 0.1, 0.003);
  take_over();
  for (int i = 0; i < 3; ++i) day(0.09, 10'000);
  EXPECT_NEAR(monitor_->report()["baselines"]["bought"].get<double>(), 0.09, 0.003);
  EXPECT_TRUE(events_.empty());
  for (int i = 0; i < 3; ++i) day(0.06, 10'000);
  EXPECT_FALSE(events_.empty());
  take_over();
  for (int i = 0; i < 3; ++i) day(0.06, 10'000);
  EXPECT_NEAR(monitor_->report()["baselines"]["bought"].get<double>(), 0.09, 0.003) << "an alert is on";
  for (int i = 0; i < 8; ++i) day(0.06, 10'000);
  EXPECT_NEAR(monitor_->report()["baselines"]["bought"].get<double>(), 0.06, 0.003)
      << "that is what it is now";
  EXPECT_EQ(events_.back().action, Action::kResolve);
  EXPECT_EQ(events_.back().finding, Finding::kInconclusive);
}

TEST_F(KpisTest, ItsReportIsWhatATestIsPlannedBy) {
  for (int i = 0; i < 9; ++i) day(0.1);
  const nlohmann::json metrics = monitor_->report()["metrics"];
  EXPECT_NEAR(metrics["bought"]["value"].get<double>(), 0.1, 0.01);
  EXPECT_NEAR(metrics["bought"]["per_day"].get<double>(), 3000, 1e-9);
  EXPECT_EQ(metrics["bought"]["days"].get<int>(), 7);
  EXPECT_EQ(metrics["bought"]["by_day"].size(), 7u);
  EXPECT_NEAR(metrics["bought"]["variance_of_one"].get<double>(), 0.09, 0.03);
  EXPECT_EQ(metrics["decline_rate"]["value"].get<double>(), 0);
  EXPECT_FALSE(metrics.contains("fraud_rate")) << "no label has come";
  Kpis damaged(config_);
  EXPECT_FALSE(damaged.restore("\x0a\x20no record of ours, at all, by any means"));
}

}  // namespace
}  // namespace shrike::engine
