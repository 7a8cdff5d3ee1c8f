#include "engine/lifecycle/quality.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "tests/engine/lifecycle/monitor_support.h"

namespace shrike::engine {
namespace {

ConfigPtr config(const std::string& more = "") { return must_parse(wide_config() + "\n[quality]\n" + more); }

int day_of(const JudgementEvent& event) {
  return static_cast<int>((event.time_us - WideStream::kStartUs) / features::kDayUs);
}

struct Course {
  Course(uint64_t seed, size_t rows_a_day, const ConfigPtr& with = config())
      : stream(seed, rows_a_day), quality(with), feeder(with, quality) {}
  using Change = std::function<bool(int day, WideStream& stream, WideRow& row)>;
  void days(int from, int to, const Change& change = {}) {
    for (int day = from; day < to; ++day) {
      stream.day(day, [&](WideRow& row) {
        if (!change || change(day, stream, row)) feeder.take(row);
      });
    }
  }
  const Quality::Check& check(std::string_view name) const {
    return *std::find_if(quality.checks().begin(), quality.checks().end(),
                         [&](const auto& one) { return one.name == name; });
  }
  WideStream stream;
  Quality quality;
  Feeder feeder;
};

// The day after which a verdict was told, with what the worst check was.
std::vector<std::pair<int, std::string>> told(const Course& course) {
  std::vector<std::pair<int, std::string>> all;
  for (const JudgementEvent& event : course.feeder.events) {
    const auto checks = nlohmann::json::parse(event.evidence)["checks"];
    std::string what = event.finding == Finding::kSuccessful ? "PASS" : event.text.substr(0, 4);
    for (const auto& check : checks)
      what += " " + check["check"].get<std::string>() + ":" + check["subject"].get<std::string>();
    all.emplace_back(day_of(event), what);
  }
  return all;
}

TEST(Quality, HalfAYearOfNothingNewTellsAtMostOneVerdict) {
  Course course(11, 2000);
  course.days(0, 184);
  EXPECT_LE(course.feeder.events.size(), 2u) << nlohmann::json(told(course)).dump(1);
  EXPECT_EQ(course.quality.grade(), Grade::kPass) << course.quality.report().dump(2);
  for (const Quality::Check& check : course.quality.checks()) EXPECT_TRUE(check.judged) << check.name;
  EXPECT_EQ(course.quality.score(), 1);
}

TEST(Quality, ABrokenSourceFailsItsDayOnceAndIsResolved) {
  Course course(12, 2000);
  course.days(0, 30, [](int day, WideStream&, WideRow& row) {
    if (day == 20 || day == 21) row.columns[12] = 0;
    if (day == 24) row.columns[7] = std::nanf("");
    if (day == 27) row.columns[kColumns - 4] = 123'456;
    return true;
  });
  const auto all = told(course);
  ASSERT_EQ(all.size(), 6u) << nlohmann::json(all).dump(1) << course.quality.report().dump(1);
  EXPECT_EQ(all[0], std::pair(21, std::string("FAIL shift:x12")));
  EXPECT_EQ(all[1], std::pair(23, std::string("PASS")));
  EXPECT_EQ(all[2], std::pair(25, std::string("FAIL missing:x7 shift:x7")));
  EXPECT_EQ(all[3], std::pair(26, std::string("PASS")));
  EXPECT_EQ(all[4], std::pair(28, std::string("FAIL shift:c0 categories:c0")));
  EXPECT_EQ(all[5], std::pair(29, std::string("PASS")));
  for (const JudgementEvent& event : course.feeder.events)
    EXPECT_EQ(event.action, event.finding == Finding::kFailed ? Action::kNone : Action::kResolve);
}

TEST(Quality, DoublesSilenceAndRangesAreSeen) {
  Course course(13, 2000);
  WideRow last;
  course.days(0, 30, [&](int day, WideStream& stream, WideRow& row) {
    const double hour = static_cast<double>(row.time_us % features::kDayUs) / 3.6e9;
    if (day == 20 && hour > 9 && hour < 14) return false;
    if (day == 23 && stream.unit() < 0.05) row.columns[6] = 5000;  // beyond what it ever was
    if (day == 26 && stream.unit() < 0.05 && last.id != 0) {
      const uint64_t id = row.id;
      row = last;
      row.id = id;
    }
    last = row;
    return true;
  });
  const auto all = told(course);
  ASSERT_EQ(all.size(), 6u) << nlohmann::json(all).dump(1);
  EXPECT_EQ(all[0].first, 21);
  EXPECT_NE(all[0].second.find("FAIL freshness"), std::string::npos) << all[0].second;
  EXPECT_EQ(all[2].first, 24);
  EXPECT_NE(all[2].second.find("ranges:x6"), std::string::npos) << all[2].second;
  EXPECT_EQ(all[4], std::pair(27, std::string("FAIL duplicates:")));
}

TEST(Quality, HoldsTrainingWhileDaysFailWhereToldTo) {
  const auto change = [](int day, WideStream&, WideRow& row) {
    if (day == 20) row.columns[12] = 0;
    return true;
  };
  Course course(14, 2000, config("fail_stops_training = true"));
  course.days(0, 24, change);
  ASSERT_EQ(course.feeder.events.size(), 2u) << nlohmann::json(told(course)).dump(1);
  EXPECT_EQ(course.feeder.events[0].action, Action::kHoldTraining);
  EXPECT_EQ(course.feeder.events[0].severity, Severity::kCritical);
  EXPECT_EQ(course.feeder.events[1].action, Action::kGoOnTraining);
}

TEST(Quality, AChangeThatStaysBecomesUsual) {
  Course course(15, 2000);
  course.days(0, 60, [](int day, WideStream&, WideRow& row) {
    if (day >= 30) row.columns[12] += 3;
    return true;
  });
  EXPECT_EQ(course.quality.grade(), Grade::kPass);
  ASSERT_GE(course.feeder.events.size(), 2u);
  EXPECT_EQ(day_of(course.feeder.events.front()), 31);
  EXPECT_LE(day_of(course.feeder.events.back()), 31 + 17);
}

TEST(Quality, GoesOnFromWhatWasSavedToTheSameJudgements) {
  const auto change = [](int day, WideStream& stream, WideRow& row) {
    if (day == 17) row.columns[6] = 0;
    if (day == 19 && stream.unit() < 0.5) row.columns[kColumns - 3] = 77;
    return true;
  };
  for (const int at : {3, 16, 18}) {
    Course whole(16, 2000), cut(16, 2000);
    whole.days(0, 24, change);
    cut.days(0, at, change);
    Quality second(config());
    const auto restored = second.restore(cut.quality.save());
    ASSERT_TRUE(restored) << restored.error();
    EXPECT_EQ(second.save(), cut.quality.save());
    cut.feeder.go_on(second);
    cut.days(at, 24, change);
    EXPECT_EQ(whole.feeder.events, cut.feeder.events) << at;
    EXPECT_EQ(whole.quality.report(), second.report());
    EXPECT_GE(whole.feeder.events.size(), 2u);
  }
}

TEST(Quality, DamagedStateIsAnError) {
  Course course(17, 2000);
  course.days(0, 10);
  const std::string whole = course.quality.save();
  for (size_t cut = 0; cut < whole.size(); cut += whole.size() / 50 + 1) {
    Quality quality(config());
    (void)quality.restore(std::string_view(whole).substr(0, cut));
    std::string bent = whole;
    bent[cut] = static_cast<char>(bent[cut] ^ 0x55);
    Quality other(config());
    if (other.restore(bent)) (void)other.save();
  }
  Quality narrow(must_parse(handbook_15()));
  EXPECT_FALSE(narrow.restore(whole));
}

}  // namespace
}  // namespace shrike::engine
