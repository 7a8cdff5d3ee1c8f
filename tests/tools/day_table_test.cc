// The table of metrics by day: means, ranks and rows, worked out by hand.
#include "tools/day_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/engine/support.h"

namespace shrike::tools {
namespace {

using engine::Prequential;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<Prequential::Day> days(const std::vector<double>& average_precisions) {
  std::vector<Prequential::Day> all;
  for (const double ap : average_precisions) {
    engine::Metrics m;
    m.rows = 100 + all.size();
    m.frauds = 2;
    m.average_precision = ap;
    m.log_loss = ap / 10;
    all.push_back({static_cast<int>(all.size()), m});
  }
  return all;
}

TEST(DayTable, MeansLeaveOutDaysWithoutAValue) {
  const DayTable table({days({0.2, kNaN, 0.4}), days({kNaN, kNaN, kNaN})});
  EXPECT_EQ(table.last_day(), 2);
  EXPECT_NEAR(table.mean(0, Metric::kAveragePrecision, {}), 0.3, 1e-12);
  EXPECT_NEAR(table.mean(0, Metric::kAveragePrecision, {1, 2}), 0.4, 1e-12);
  EXPECT_NEAR(table.mean(0, Metric::kRows, {0, 1}), 100.5, 1e-12);
  EXPECT_TRUE(std::isnan(table.mean(0, Metric::kAveragePrecision, {1, 1})));
  EXPECT_TRUE(std::isnan(table.mean(0, Metric::kAveragePrecision, {7, 9})));
  EXPECT_TRUE(std::isnan(table.mean(1, Metric::kAveragePrecision, {})));
  EXPECT_EQ(DayTable({days({})}).last_day(), -1);
}

TEST(DayTable, RanksShareTies) {
  const DayTable table({days({0.5, 0.3, 0.9}), days({0.5, 0.2, kNaN}), days({0.1, 0.3, 0.9})});
  const auto standings = table.standings({});  // the last day is left out: not all have it
  ASSERT_EQ(standings.size(), 3u);
  EXPECT_NEAR(standings[0].mean_rank, 1.5, 1e-12);
  EXPECT_NEAR(standings[1].mean_rank, 2.25, 1e-12);
  EXPECT_NEAR(standings[2].mean_rank, 2.25, 1e-12);
  EXPECT_EQ(standings[0].days_best, 2u);
  EXPECT_EQ(standings[1].days_best, 1u);
  EXPECT_EQ(standings[2].days_best, 1u);
  EXPECT_TRUE(std::isnan(table.standings({2, 2})[0].mean_rank));
}

TEST(DayTable, RowsAreThoseOfTheDaysAskedFor) {
  const DayTable table({days({0.1, 0.25, kNaN, 0.4})});
  const Json json = table.to_json(0, {1, 2}, "recall_at_fpr");
  EXPECT_EQ(
      to_text(json),
      R"([{"day":1,"rows":101,"frauds":2,"average_precision":0.25,"auc":0.0,"log_loss":0.025,"brier":0.0,)"
      R"("card_precision_100":0.0,"recall_at_fpr":0.0},)"
      R"({"day":2,"rows":102,"frauds":2,"average_precision":null,"auc":0.0,"log_loss":null,"brier":0.0,)"
      R"("card_precision_100":0.0,"recall_at_fpr":0.0}])");
  const TempDir folder;
  const std::string path = folder / "days.csv";
  ASSERT_TRUE(table.write_csv(path, {1, 1}, "recall", {"linear:pairs=1,rate=2"}));
  EXPECT_EQ(engine::read_file(path),
            "learner,day,rows,frauds,average_precision,auc,log_loss,brier,card_precision_100,recall\n"
            "\"linear:pairs=1,rate=2\",1,101,2,0.25,0,0.025,0,0,0\n");
  EXPECT_FALSE(table.write_csv(folder / "no/such/folder.csv", {}, "recall"));
}

TEST(JsonReports, KeepNumbersAndReplaceWhatIsNone) {
  const Json json = {{"z", 0.1}, {"a", kNaN}, {"i", uint64_t{18'446'744'073'709'551'615u}}, {"t", "\xff"}};
  EXPECT_EQ(to_text(json), "{\"z\":0.1,\"a\":null,\"i\":18446744073709551615,\"t\":\"\xef\xbf\xbd\"}");
  EXPECT_EQ(to_text(number(57.16f)), "57.16");
  EXPECT_EQ(to_text(number(std::numeric_limits<float>::infinity())), "null");
  for (const float value : {1.0f / 3, 1e-30f, 16777216.0f, 5.0e-7f})
    EXPECT_EQ(static_cast<float>(number(value).get<double>()), value);
  EXPECT_EQ(from_text("{").is_null(), true);
}

}  // namespace
}  // namespace shrike::tools
