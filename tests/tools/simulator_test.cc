#include "tools/simulator.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace shrike::tools {
namespace {

std::vector<SimulatedTransaction> all_days(const SimulationOptions& options) {
  Simulator simulator(options);
  std::vector<SimulatedTransaction> all, day;
  while (simulator.next_day(day)) all.insert(all.end(), day.begin(), day.end());
  return all;
}

TEST(Simulator, LooksLikeTheHandbook) {
  SimulationOptions options;
  options.days = 60;
  options.seed = 5;
  const auto all = all_days(options);
  const double n = static_cast<double>(all.size());
  // The handbook's quarter: 9,591 a day, 0.85 % fraud, mean amount 53.6.
  EXPECT_NEAR(n / 60, 9590, 300);
  double amount = 0;
  std::map<int, double> scenarios;
  for (const auto& t : all) {
    amount += static_cast<double>(t.amount_cents) / 100;
    ++scenarios[t.scenario];
  }
  EXPECT_NEAR(amount / n, 53.6, 2);
  EXPECT_NEAR((n - scenarios[0]) / n, 0.0085, 0.003);
  EXPECT_GT(scenarios[1], 0);
  EXPECT_GT(scenarios[2], 3 * scenarios[3] / 2);
  EXPECT_EQ(scenarios[4], 0);
}

TEST(Simulator, IsSortedAndItsIdsCount) {
  SimulationOptions options;
  options.days = 5;
  options.customers = 300;
  options.terminals = 600;
  const auto all = all_days(options);
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].id, static_cast<int64_t>(i));
    if (i > 0) {
      EXPECT_GE(all[i].time_s, all[i - 1].time_s);
    }
  }
}

TEST(Simulator, ASeedRepeatsAndAnotherDiffers) {
  SimulationOptions options;
  options.days = 4;
  options.customers = 200;
  options.terminals = 400;
  const auto print = [](const std::vector<SimulatedTransaction>& all) {
    std::string text;
    for (const auto& t : all)
      text += std::to_string(t.time_s) + "," + std::to_string(t.terminal) + "," +
              std::to_string(t.amount_cents) + ";";
    return text;
  };
  const std::string first = print(all_days(options));
  EXPECT_EQ(print(all_days(options)), first);
  options.seed = 2;
  EXPECT_NE(print(all_days(options)), first);
}

TEST(Simulator, DriftBringsANewScenarioAndEndsAnOldOne) {
  SimulationOptions options;
  options.days = 60;
  options.customers = 1000;
  options.terminals = 2000;
  options.new_scenario_from_day = 20;
  options.end_scenario_2_at_day = 20;
  std::map<int, std::set<int64_t>> days;
  for (const auto& t : all_days(options)) days[t.scenario].insert(t.time_s / 86400);
  EXPECT_EQ(*days[4].begin() >= 20, true);
  EXPECT_GT(days[4].size(), 30u);
  EXPECT_EQ(*days[2].rbegin(), 19);
}

TEST(Simulator, AmountsAreWrittenAsTheHandbookDoes) {
  EXPECT_EQ(format_amount(5716), "57.16");
  EXPECT_EQ(format_amount(14600), "146.0");
  EXPECT_EQ(format_amount(5), "0.05");
  EXPECT_EQ(format_amount(50), "0.5");
}

}  // namespace
}  // namespace shrike::tools
