#include "engine/lifecycle/alert_book.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "features/schema.h"

namespace shrike::engine {
namespace {

constexpr int64_t kHourUs = features::kDayUs / 24;

JudgementEvent judgement(const std::string& subject, Severity severity, int64_t hour,
                         Action action = Action::kNone) {
  return {.monitor = "drift",
          .subject = subject,
          .finding = action == Action::kResolve ? Finding::kSuccessful : Finding::kFailed,
          .severity = severity,
          .action = action,
          .time_us = hour * kHourUs};
}

AlertBook book(Severity least = Severity::kWarning) { return {least, features::kDayUs}; }

TEST(AlertBook, TheSameIsToldOnceADayAndASevererOneAtOnce) {
  AlertBook alerts = book();
  const auto first = alerts.judged(11, judgement("amount", Severity::kWarning, 0));
  ASSERT_TRUE(first);
  EXPECT_EQ(first->id, 11u);
  EXPECT_EQ(first->fingerprint, "drift/amount");
  EXPECT_FALSE(first->resolved);
  EXPECT_FALSE(alerts.judged(12, judgement("amount", Severity::kWarning, 23)));
  EXPECT_TRUE(alerts.judged(13, judgement("score", Severity::kWarning, 23))) << "another subject";
  EXPECT_TRUE(alerts.judged(14, judgement("amount", Severity::kCritical, 23)));
  EXPECT_FALSE(alerts.judged(15, judgement("amount", Severity::kWarning, 24))) << "less than was told";
  EXPECT_FALSE(alerts.judged(16, judgement("amount", Severity::kCritical, 46)));
  EXPECT_TRUE(alerts.judged(17, judgement("amount", Severity::kCritical, 47))) << "a day after it was told";
  EXPECT_TRUE(alerts.judged(18, judgement("amount", Severity::kCritical, 1))) << "event time was set back";
}

TEST(AlertBook, AnAlertIsResolvedOnceAndThenNewAgain) {
  AlertBook alerts = book();
  EXPECT_FALSE(alerts.judged(1, judgement("amount", Severity::kInfo, 0, Action::kResolve)))
      << "nothing was told";
  ASSERT_TRUE(alerts.judged(2, judgement("amount", Severity::kCritical, 1)));
  const auto over = alerts.judged(3, judgement("amount", Severity::kInfo, 2, Action::kResolve));
  ASSERT_TRUE(over);
  EXPECT_TRUE(over->resolved);
  EXPECT_EQ(over->severity, Severity::kCritical) << "as it was told";
  EXPECT_FALSE(alerts.judged(4, judgement("amount", Severity::kInfo, 2, Action::kResolve)));
  EXPECT_TRUE(alerts.judged(5, judgement("amount", Severity::kWarning, 3)));
  EXPECT_EQ(alerts.open(), 1u);
}

TEST(AlertBook, BelowTheSeverityNothingIsTold) {
  AlertBook alerts = book(Severity::kCritical);
  EXPECT_FALSE(alerts.judged(1, judgement("amount", Severity::kWarning, 0)));
  EXPECT_FALSE(alerts.judged(2, judgement("amount", Severity::kInfo, 0, Action::kResolve)));
  EXPECT_TRUE(alerts.judged(3, judgement("amount", Severity::kCritical, 0)));
  AlertBook all = book(Severity::kInfo);
  JudgementEvent moved = judgement("", Severity::kInfo, 0, Action::kThresholds);
  moved.finding = Finding::kSuccessful;
  EXPECT_TRUE(all.judged(4, moved));
  moved.time_us += 30 * kHourUs;
  const auto again = all.judged(5, moved);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->resolved) << "a success that is told is not the end of another";
}

TEST(AlertBook, WhatAPersonReleasesIsOver) {
  AlertBook alerts = book();
  JudgementEvent quarantine = judgement("customer", Severity::kCritical, 0, Action::kQuarantine);
  quarantine.monitor = "sources";
  quarantine.target = "customer";
  ASSERT_TRUE(alerts.judged(1, quarantine));
  JudgementEvent release{.monitor = std::string(kOperator),
                         .subject = "analyst",
                         .severity = Severity::kWarning,
                         .action = Action::kRelease,
                         .target = "analyst"};
  auto told = alerts.judged(2, release);
  ASSERT_TRUE(told);
  EXPECT_FALSE(told->resolved) << "of another source";
  release.subject = release.target = "customer";
  told = alerts.judged(3, release);
  ASSERT_TRUE(told);
  EXPECT_TRUE(told->resolved);
  EXPECT_EQ(told->fingerprint, "sources/customer");
  EXPECT_TRUE(alerts.judged(4, quarantine)) << "quarantined anew within the day";
}

TEST(AlertBook, TrainingThatGoesOnWhileDataStillWarnEndsNothing) {
  AlertBook alerts = book();
  JudgementEvent data = judgement("", Severity::kCritical, 0, Action::kHoldTraining);
  ASSERT_TRUE(alerts.judged(1, data));
  data.severity = Severity::kWarning;
  data.action = Action::kGoOnTraining;
  data.finding = Finding::kInconclusive;
  const auto goes_on = alerts.judged(2, data);
  ASSERT_TRUE(goes_on) << "it does something else than was told";
  EXPECT_FALSE(goes_on->resolved);
  data.severity = Severity::kInfo;
  data.action = Action::kResolve;
  data.finding = Finding::kSuccessful;
  const auto over = alerts.judged(3, data);
  ASSERT_TRUE(over);
  EXPECT_TRUE(over->resolved);
}

TEST(AlertBook, ASavedBookGoesOnAndDamageIsNone) {
  AlertBook alerts = book();
  ASSERT_TRUE(alerts.judged(1, judgement("amount", Severity::kWarning, 0)));
  ASSERT_TRUE(alerts.judged(2, judgement("score", Severity::kCritical, 0)));
  const nlohmann::json saved = alerts.save();
  AlertBook other = book();
  ASSERT_TRUE(other.restore(saved));
  EXPECT_EQ(other.save(), saved);
  EXPECT_FALSE(other.judged(3, judgement("amount", Severity::kWarning, 1)));
  EXPECT_TRUE(other.judged(4, judgement("score", Severity::kInfo, 1, Action::kResolve)));
  for (const char* damaged :
       {"[]", "3", R"({"a":1})", R"({"a":{"severity":1}})",
        R"({"a":{"severity":99,"action":0,"target":"","told_us":0,"failing":true}})",
        R"({"a":{"severity":1,"action":0,"target":"","told_us":"x","failing":true}})"}) {
    EXPECT_FALSE(other.restore(nlohmann::json::parse(damaged))) << damaged;
    EXPECT_EQ(other.open(), 1u) << "as it was";
  }
}

TEST(AlertBook, ItIsBounded) {
  AlertBook alerts = book();
  for (uint64_t i = 0; i < AlertBook::kOpenMax + 10; ++i) {
    ASSERT_TRUE(
        alerts.judged(i, judgement(std::to_string(i), Severity::kWarning, static_cast<int64_t>(i) / 1000)));
  }
  EXPECT_EQ(alerts.open(), AlertBook::kOpenMax);
}

}  // namespace
}  // namespace shrike::engine
