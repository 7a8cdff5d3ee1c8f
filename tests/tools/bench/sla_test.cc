#include "tools/bench/sla.h"

#include <gtest/gtest.h>

#include "tests/tools/support.h"

namespace shrike::tools::bench {
namespace {

constexpr const char* kText = R"(
rate = 5000
arrivals = "burst"
error_budget = 0.01
[percentiles_ms]
50 = 2
"99.9" = 10.5
)";

TEST(Sla, SaysRatePercentilesAndBudget) {
  const auto sla = parse_sla(kText, "sla.toml");
  ASSERT_TRUE(sla);
  EXPECT_EQ(sla->rate, 5000);
  EXPECT_EQ(sla->arrivals, Pattern::kBurst);
  EXPECT_EQ(sla->error_budget, 0.01);
  EXPECT_EQ(sla->percentiles_ms, (std::vector<std::pair<double, double>>{{50, 2}, {99.9, 10.5}}));
}

TEST(Sla, TheExampleIsOne) {
  const auto sla = read_sla(std::string(SHRIKE_SOURCE_DIR) + "/examples/sla.toml");
  ASSERT_TRUE(sla) << sla.error()[0];
  EXPECT_FALSE(sla->percentiles_ms.empty());
}

TEST(Sla, EveryProblemIsNamedWithTheRemedy) {
  const auto told = [](const std::string& text) {
    const auto sla = parse_sla(text, "sla.toml");
    std::string all;
    if (!sla) {
      for (const std::string& line : sla.error()) all += line + "\n";
    }
    return all;
  };
  EXPECT_NE(told("[percentiles_ms]\n50 = 1\n").find("how many transactions a second"), std::string::npos);
  EXPECT_NE(told("rate = 5\n").find("nothing would be promised"), std::string::npos);
  EXPECT_NE(told("rate = 5\n[percentiles_ms]\n\"101\" = 1\n").find("no percentile"), std::string::npos);
  EXPECT_NE(told("rate = 5\nrates = 6\n[percentiles_ms]\n50 = 1\n").find("rates"), std::string::npos);
  EXPECT_NE(told("rate = \n").find("sla.toml:1"), std::string::npos);
  EXPECT_NE(told("rate = 5\narrivals = \"steady\"\n[percentiles_ms]\n50 = 1\n").find("steady"),
            std::string::npos);
}

Leg leg_of(int64_t answers_ms, uint64_t refused, int64_t lag_us) {
  Leg leg;
  leg.seconds = 1;
  leg.lag_max_us = 1000;
  leg.tally.latency.record(answers_ms * 1'000'000, 1000 - refused);
  leg.tally.lag.record(lag_us * 1000, 1000);
  leg.tally.arrivals = 1000;
  leg.tally.answered = 1000 - refused;
  leg.tally.refused = refused;
  return leg;
}

std::vector<std::string> broken(const Leg& leg) {
  std::vector<std::string> names;
  for (const Clause& clause : judge(*parse_sla(kText, "sla.toml"), leg)) {
    if (!clause.held) names.push_back(clause.name);
  }
  return names;
}

TEST(Sla, IsHeldOnlyWhenEveryLineIs) {
  EXPECT_EQ(broken(leg_of(1, 10, 10)), std::vector<std::string>{});
  EXPECT_EQ(broken(leg_of(3, 10, 10)), std::vector<std::string>{"50 %"});
  EXPECT_EQ(broken(leg_of(20, 0, 10)), (std::vector<std::string>{"50 %", "99.9 %"}));
  EXPECT_EQ(broken(leg_of(1, 11, 10)), std::vector<std::string>{"errors"});
}

TEST(Sla, ALegWhoseGeneratorCouldNotKeepUpHoldsNothing) {
  EXPECT_EQ(broken(leg_of(1, 0, 5000)), std::vector<std::string>{"generator lag 99 %"});
}

TEST(Sla, WhatWasDroppedOrNeverAnsweredIsInTheBudgetToo) {
  Leg leg = leg_of(1, 0, 10);
  leg.tally.dropped = 6;
  leg.tally.unanswered = 5;
  EXPECT_EQ(broken(leg), std::vector<std::string>{"errors"});
}

TEST(FindHighest, EndsWithinTheToleranceBelowTheLimitFromAnyStart) {
  for (const double limit : {3.0, 777.0, 12'345.0}) {
    for (const double start : {1.0, 1000.0, 100'000.0}) {
      int legs = 0;
      const double found = find_highest(start, 0.05, [&](double rate) {
        ++legs;
        return std::optional(rate <= limit);
      });
      EXPECT_LE(found, limit);
      EXPECT_GE(found * 1.05, limit * 0.999);
      EXPECT_LE(legs, 30);
    }
  }
}

TEST(FindHighest, IsNothingWhereNoRateHoldsAndWhatHeldWhereItIsStopped) {
  EXPECT_EQ(find_highest(100, 0.05, [](double) { return std::optional(false); }), 0);
  int left = 3;
  EXPECT_EQ(find_highest(100, 0.05,
                         [&](double) { return left-- > 0 ? std::optional(true) : std::optional<bool>(); }),
            400);
}

}  // namespace
}  // namespace shrike::tools::bench
