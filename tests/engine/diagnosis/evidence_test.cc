// How days are read, which days are compared, and what differs between two configurations.
#include "engine/diagnosis/evidence.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/diagnosis/gather.h"
#include "engine/diagnosis/infrastructure.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

TEST(Days, AreReadAndWrittenAsPeopleDo) {
  EXPECT_EQ(parse_day("1970-01-02").value(), 1);
  EXPECT_EQ(day_name(17'622), "2018-04-01");
  EXPECT_EQ(parse_day(day_name(17'622)).value(), 17'622);
  EXPECT_EQ(day_of(-1), -1);
  EXPECT_EQ(day_of(features::kDayUs - 1), 0);
  for (const char* bad : {"", "yesterday", "2018-13-01", "2018-04-01T00", "14"}) {
    const auto day = parse_day(bad);
    ASSERT_FALSE(day) << bad;
    EXPECT_NE(day.error().find("2018-06-30"), std::string::npos) << day.error();
  }
}

TEST(Days, ThePeriodIsTheLastFortnightOrTheLastThirdOfAYoungLog) {
  const LogDays old{100, 199, true}, young{100, 111, true};
  EXPECT_EQ(period_of(old, {}).value().first, 186);
  EXPECT_EQ(period_of(young, {}).value().first, 108);
  EXPECT_EQ(reference_of(old, {186, 199}, 28).first, 158);
  EXPECT_EQ(reference_of(young, {108, 111}, 28).first, 100) << "no day before the log";
  EXPECT_EQ(period_of(old, {.from = 120, .to = 126}).value().count(), 7);
  EXPECT_EQ(period_of(old, {.from = std::nullopt, .to = 150}).value().first, 137);
  EXPECT_FALSE(period_of(old, {.from = 130, .to = 120}));
  EXPECT_FALSE(period_of(old, {.from = 300, .to = 310}));
  const auto nothing_before = period_of(old, {.from = 100, .to = 110});
  ASSERT_FALSE(nothing_before);
  EXPECT_NE(nothing_before.error().find(day_name(101)), std::string::npos) << nothing_before.error();
}

TEST(ChangedKeys, AreThoseWithAnotherValueAndNoComment) {
  const std::string text = handbook_15();
  EXPECT_TRUE(changed_keys(text, "# a comment\n" + text).value().empty());
  const auto changed = changed_keys(text, with(text, "decline_score = 0.5", "decline_score = 0.3"));
  ASSERT_TRUE(changed);
  EXPECT_EQ(*changed, std::vector<std::string>{"policy.decline_score: 0.5 -> 0.3"});
  const auto fewer = changed_keys(text, with(text, "review_loss = 40", ""));
  ASSERT_EQ(fewer.value().size(), 1u);
  EXPECT_EQ((*fewer)[0].rfind("policy.review_loss: 40 -> -", 0), 0u) << (*fewer)[0];
  EXPECT_FALSE(changed_keys(text, "[policy\n"));
}

}  // namespace
}  // namespace shrike::engine
