#include "engine/lifecycle/drift.h"

#include <algorithm>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "tests/engine/lifecycle/monitor_support.h"

namespace shrike::engine {
namespace {

ConfigPtr config() {
  static const ConfigPtr kConfig = must_parse(wide_config());
  return kConfig;
}

bool raised(const JudgementEvent& event) { return event.finding == Finding::kFailed; }
int day_of(const JudgementEvent& event) {
  return static_cast<int>((event.time_us - WideStream::kStartUs) / features::kDayUs);
}

// A stream with its changes from a day on: all frauds at 1 %, scored as such.
struct Course {
  Course(uint64_t seed, size_t rows_a_day)
      : stream(seed, rows_a_day), drift(config()), feeder(config(), drift) {}
  using Change = std::function<void(int day, WideStream& stream, WideRow& row)>;
  void days(int from, int to, const Change& change = {}) {
    for (int day = from; day < to; ++day) {
      if (day == 1) feeder.model();
      stream.day(day, [&](WideRow& row) {
        if (change) change(day, stream, row);
        const double score =
            std::clamp(0.01 * std::exp(0.5 * static_cast<double>(row.columns[0])), 0.001, 0.5);
        feeder.take(row, score);
        feeder.settle(row, stream.unit() < fraud_factor * score, score);
      });
    }
  }
  double fraud_factor = 1;
  WideStream stream;
  Drift drift;
  Feeder feeder;
};

std::vector<std::string> subjects_raised(const Feeder& feeder) {
  std::vector<std::string> all;
  for (const JudgementEvent& event : feeder.events) {
    if (raised(event)) all.push_back(event.subject);
  }
  return all;
}

TEST(Drift, HalfAYearOfNothingNewRaisesAtMostOneAlarm) {
  Course course(1, 3000);
  course.days(0, 184);
  EXPECT_LE(subjects_raised(course.feeder).size(), 1u) << course.drift.report().dump(2);
  EXPECT_TRUE(course.drift.report()["has_reference"].get<bool>());
}

// A detector that alarms by chance, as often as ours where nothing happens, does not find what ours does.
TEST(Drift, WhatIsNewIsToldWithinTwoDaysAndNotByChance) {
  const std::map<size_t, int> truth = {{6, 30}, {13, 41}, {20, 52}, {9, 63}, {kColumns - 4, 74}};
  Course course(2, 3000);
  course.days(0, 85, [&](int day, WideStream& stream, WideRow& row) {
    float* x = row.columns.data();
    if (day >= 30) x[6] += 0.5F;                                      // the mean moves by half a deviation
    if (day >= 41) x[13] *= 2;                                        // another currency, say
    if (day >= 52) x[20] = std::floor(x[20] / 2);                     // counts are halved
    if (day >= 63 && stream.unit() < 0.3) x[9] = std::nanf("");       // missing more often
    if (day >= 74 && stream.unit() < 0.3) x[kColumns - 4] = 999'999;  // a new category
  });
  std::map<size_t, int> found;
  size_t false_alarms = 0;
  for (const JudgementEvent& event : course.feeder.events) {
    if (!raised(event)) continue;
    const auto& columns = config()->columns;
    const auto at = std::find_if(columns.begin(), columns.end(),
                                 [&](const auto& column) { return column.name == event.subject; });
    const auto column = static_cast<size_t>(at - columns.begin());
    const auto expected = truth.find(column);
    if (expected != truth.end() && day_of(event) > expected->second) {
      EXPECT_TRUE(found.emplace(column, day_of(event)).second) << event.subject << " is told twice";
    } else {
      ++false_alarms;
    }
  }
  EXPECT_LE(false_alarms, 1u);
  for (const auto& [column, day] : truth) {
    ASSERT_TRUE(found.count(column)) << config()->columns[column].name;
    EXPECT_LE(found[column], day + 2) << config()->columns[column].name;
  }
  // By chance: one alarm in half a year over 40 columns, a hundred times over.
  size_t by_chance = 0;
  for (int round = 0; round < 100; ++round) {
    for (const auto& [column, day] : truth) {
      for (int d = day + 1; d <= day + 2; ++d) by_chance += course.stream.unit() < 1.0 / (184 * kColumns);
    }
  }
  EXPECT_LT(static_cast<double>(by_chance) / 100, 0.5);  // of the five
}

TEST(Drift, ABrokenSourceIsToldWithinTheDayAndResolvedWhenItIsMended) {
  Course course(3, 3000);
  course.days(0, 30, [](int day, WideStream&, WideRow& row) {
    if (day == 20) row.columns[12] = 0;             // was normal
    if (day == 20) row.columns[11] = 0;             // was zero but for 3 %
    if (day == 22) row.columns[7] = std::nanf("");  // heavy tails
    if (day == 24) row.columns[kColumns - 2] = 0;   // a Thursday: what it is anyway
    if (day == 27) row.columns[kColumns - 2] = 0;   // a Sunday that does not know it
  });
  std::vector<std::pair<std::string, int>> told, over;
  for (const JudgementEvent& event : course.feeder.events)
    (raised(event) ? told : over).emplace_back(event.subject, day_of(event));
  const std::vector<std::pair<std::string, int>> expected = {
      {"x11", 21}, {"x12", 21}, {"x7", 23}, {"is_weekend", 28}};
  const std::vector<std::pair<std::string, int>> mended = {
      {"x11", 22}, {"x12", 22}, {"x7", 24}, {"is_weekend", 29}};
  EXPECT_EQ(told, expected);
  EXPECT_EQ(over, mended);
  for (const JudgementEvent& event : course.feeder.events) {
    EXPECT_EQ(event.action, raised(event) ? Action::kNone : Action::kResolve);
    EXPECT_TRUE(nlohmann::json::parse(event.evidence).contains("psi")) << event.evidence;
  }
}

TEST(Drift, ScoresLabelsAndLossAreWatched) {
  Course course(4, 3000);
  course.days(0, 20);
  EXPECT_TRUE(subjects_raised(course.feeder).empty());
  course.fraud_factor = 3;  // scores do not know of it
  course.days(20, 26);
  const auto told = subjects_raised(course.feeder);
  EXPECT_EQ(std::count(told.begin(), told.end(), "labels"), 1);
  EXPECT_EQ(std::count(told.begin(), told.end(), "concept"), 1);
  EXPECT_EQ(std::count(told.begin(), told.end(), "score"), 0);
  EXPECT_LE(day_of(course.feeder.events.back()), 23);

  Course other(5, 3000);
  other.days(0, 24, [](int day, WideStream&, WideRow& row) {
    if (day >= 20) row.columns[0] += 1;
  });
  const std::set<std::string> subjects = [&] {
    const auto all = subjects_raised(other.feeder);
    return std::set<std::string>(all.begin(), all.end());
  }();
  EXPECT_TRUE(subjects.count("score"));
  EXPECT_TRUE(subjects.count("x0"));
}

TEST(Drift, AnotherModelBringsAnotherReference) {
  Course course(6, 3000);
  const auto change = [](int day, WideStream&, WideRow& row) {
    if (day >= 20) row.columns[6] += 2;
  };
  course.days(0, 24, change);
  ASSERT_EQ(subjects_raised(course.feeder), std::vector<std::string>{"x6"});
  course.feeder.model();
  course.days(24, 45, change);
  EXPECT_EQ(subjects_raised(course.feeder), std::vector<std::string>{"x6"});
  EXPECT_EQ(course.feeder.events.back().action, Action::kResolve);
  EXPECT_EQ(course.feeder.events.back().subject, "x6");
}

TEST(Drift, GoesOnFromWhatWasSavedToTheSameJudgements) {
  const auto change = [](int day, WideStream& stream, WideRow& row) {
    if (day >= 17) row.columns[6] += 0.5F;
    if (day >= 19 && stream.unit() < 0.5) row.columns[kColumns - 3] = 77;
  };
  for (const int at : {3, 16, 18}) {
    Course whole(7, 3000), cut(7, 3000);
    whole.days(0, 24, change);
    cut.days(0, at, change);
    Drift second(config());
    const auto restored = second.restore(cut.drift.save());
    ASSERT_TRUE(restored) << restored.error();
    EXPECT_EQ(second.save(), cut.drift.save());
    cut.feeder.go_on(second);
    cut.days(at, 24, change);
    EXPECT_EQ(whole.feeder.events, cut.feeder.events) << at;
    EXPECT_EQ(whole.drift.report()["subjects"], second.report()["subjects"]);
    EXPECT_FALSE(whole.feeder.events.empty());
  }
}

TEST(Drift, DamagedStateIsAnError) {
  Course course(8, 3000);
  course.days(0, 12);
  const std::string whole = course.drift.save();
  for (size_t cut = 0; cut < whole.size(); cut += whole.size() / 50 + 1) {
    Drift drift(config());
    (void)drift.restore(std::string_view(whole).substr(0, cut));
    std::string bent = whole;
    bent[cut] = static_cast<char>(bent[cut] ^ 0x55);
    Drift other(config());
    if (other.restore(bent)) (void)other.save();
  }
  Drift narrow(must_parse(handbook_15()));
  EXPECT_FALSE(narrow.restore(whole));
}

}  // namespace
}  // namespace shrike::engine
