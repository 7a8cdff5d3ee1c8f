// Comparisons of spans of days: PSI, KS and reliability against values worked out by hand, and the sample.
#include "engine/replay/comparison.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace shrike::engine {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kDayUs = 86'400'000'000;

std::vector<float> numbers(int from, int to) {
  std::vector<float> all;
  for (int i = from; i <= to; ++i) all.push_back(static_cast<float>(i));
  return all;
}

std::vector<float> repeat(float value, size_t count) { return std::vector<float>(count, value); }

std::vector<float> operator+(std::vector<float> a, const std::vector<float>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(PopulationStability, EqualSamplesHaveNone) {
  EXPECT_EQ(population_stability(numbers(1, 100), numbers(1, 100)), 0);
  EXPECT_EQ(population_stability(repeat(kMissing, 5), repeat(kMissing, 9)), 0);
  EXPECT_EQ(population_stability(repeat(7, 5), repeat(7, 9)), 0);
  // Twice each value is the same distribution.
  EXPECT_EQ(population_stability(numbers(1, 100), numbers(1, 100) + numbers(1, 100)), 0);
}

TEST(PopulationStability, SharesOfTwoValues) {
  // 5 of 10 against 8 of 10: (0.8 - 0.5) ln 1.6 + (0.2 - 0.5) ln 0.4.
  const double expected = 0.3 * std::log(1.6) - 0.3 * std::log(0.4);
  EXPECT_NEAR(population_stability(repeat(1, 5) + repeat(2, 5), repeat(1, 8) + repeat(2, 2)), expected,
              1e-12);
  EXPECT_NEAR(expected, 0.415888, 1e-6);
}

TEST(PopulationStability, DecilesOfTheFirst) {
  // All ten deciles hold a tenth of 1..100; 11..110 has none in the first and two tenths above the ninth.
  const double expected = (0.005 - 0.1) * std::log(0.005 / 0.1) + (0.2 - 0.1) * std::log(2.0);
  EXPECT_NEAR(population_stability(numbers(1, 100), numbers(11, 110)), expected, 1e-12);
  EXPECT_NEAR(expected, 0.353909, 1e-6);
}

TEST(PopulationStability, WhatIsMissingIsABin) {
  // A tenth missing against a half, the rest alike.
  const double expected = 0.4 * std::log(0.5 / 0.1) + (0.5 - 0.9) * std::log(0.5 / 0.9);
  EXPECT_NEAR(population_stability(repeat(3, 9) + repeat(kMissing, 1), repeat(3, 5) + repeat(kMissing, 5)),
              expected, 1e-12);
}

TEST(PopulationStability, AConstantThatBecomesAnotherIsLargeWhicheverWay) {
  for (const float other : {6.0f, 8.0f, kMissing}) {
    const double psi = population_stability(repeat(7, 100), repeat(other, 100));
    EXPECT_NEAR(psi, 2 * 0.995 * std::log(1 / 0.005), 1e-12) << other;
    EXPECT_EQ(read_psi(psi), "large");
  }
}

TEST(PopulationStability, CategoriesAreBinsOfTheirOwn) {
  std::vector<float> first, second;
  for (int category = 0; category < 20; ++category) {
    first = first + repeat(static_cast<float>(category * 1000), 5);
    second = second + repeat(static_cast<float>(category * 1000 + (category == 3 ? 1 : 0)), 5);
  }
  const auto kind = learners::ColumnKind::kCategorical;
  EXPECT_EQ(population_stability(first, first, kind), 0);
  // One category of twenty has become one that was not there.
  EXPECT_NEAR(population_stability(first, second, kind), 2 * 0.045 * std::log(10.0), 1e-12);
}

TEST(PopulationStability, NothingAgainstSomethingIsUnknown) {
  EXPECT_TRUE(std::isnan(population_stability({}, numbers(1, 3))));
  EXPECT_TRUE(std::isnan(population_stability(numbers(1, 3), {})));
  EXPECT_EQ(read_psi(kMissing), "-");
}

TEST(PopulationStability, IsReadAsUsual) {
  EXPECT_EQ(read_psi(0), "stable");
  EXPECT_EQ(read_psi(0.0999), "stable");
  EXPECT_EQ(read_psi(0.1), "moderate");
  EXPECT_EQ(read_psi(0.25), "moderate");
  EXPECT_EQ(read_psi(0.2501), "large");
}

TEST(KolmogorovSmirnov, IsTheLargestDifference) {
  EXPECT_EQ(kolmogorov_smirnov(numbers(1, 100), numbers(1, 100)), 0);
  EXPECT_NEAR(kolmogorov_smirnov(numbers(1, 100), numbers(11, 110)), 0.1, 1e-12);
  EXPECT_EQ(kolmogorov_smirnov(numbers(1, 5), numbers(6, 7)), 1);
  EXPECT_EQ(kolmogorov_smirnov(numbers(6, 7), numbers(1, 5)), 1);
  // Ties are one step: F1(2) = 2/3, F2(2) = 1.
  EXPECT_NEAR(kolmogorov_smirnov({{1, 2, 3}}, {{2, 2}}), 1.0 / 3, 1e-12);
  EXPECT_EQ(kolmogorov_smirnov({{1, kMissing}}, {{kMissing, kMissing, 1}}), 0);
  EXPECT_TRUE(std::isnan(kolmogorov_smirnov({{kMissing}}, {{1}})));
}

TEST(ReliabilityTable, ExpectedAgainstObserved) {
  Reliability table;
  table.add(0.2f, 1);
  table.add(0.2f, 0);
  table.add(0.2f, -1);
  table.add(0.0f, 0);
  table.add(1.0f, 1);
  const auto& bins = table.bins();
  EXPECT_EQ(bins.front().rows, 1u);
  EXPECT_EQ(bins.back().rows, 1u);
  EXPECT_EQ(bins.back().frauds, 1u);
  const auto middle =
      std::find_if(bins.begin(), bins.end(), [](const auto& bin) { return bin.from == 0.1f; });
  ASSERT_NE(middle, bins.end());
  EXPECT_EQ(middle->rows, 2u);
  EXPECT_NEAR(middle->expected(), 0.2, 1e-6);
  EXPECT_EQ(middle->observed(), 0.5);
  EXPECT_EQ(table.rows(), 4u);
  EXPECT_NEAR(table.calibration_error(), 2 * 0.3 / 4, 1e-6);
  EXPECT_TRUE(std::isnan(Reliability().calibration_error()));
}

TEST(ReliabilityTable, AnEdgeBelongsToTheBinAboveIt) {
  Reliability table;
  table.add(0.5f, 0);
  for (const auto& bin : table.bins()) EXPECT_EQ(bin.rows, bin.from == 0.5f ? 1u : 0u) << bin.from;
}

TEST(RowSample, IsThatOfTheTransactionsInWhateverOrder) {
  RowSample forward(2, 50), backward(2, 50), all(2, 500);
  for (int i = 0; i < 400; ++i) {
    for (auto [sample, id] : {std::pair(&forward, i), std::pair(&backward, 399 - i), std::pair(&all, i)}) {
      const auto value = static_cast<float>(id);
      sample->add(features::key_of(id), {&value, 1}, value + 0.5f);
    }
  }
  ASSERT_EQ(forward.rows(), 50u);
  EXPECT_EQ(all.rows(), 400u);
  const auto ids = [](const RowSample& sample) {
    std::vector<float> values;
    for (size_t r = 0; r < sample.rows(); ++r) {
      values.push_back(sample.values()[2 * r]);
      EXPECT_EQ(sample.values()[2 * r + 1], values.back() + 0.5f);
    }
    std::sort(values.begin(), values.end());
    return values;
  };
  EXPECT_EQ(ids(forward), ids(backward));
  EXPECT_LT(ids(forward).front(), 50);
  EXPECT_GT(ids(forward).back(), 350);
}

TEST(Comparer, TellsWhatHasShiftedAndWhatHasNot) {
  Comparer comparer({{"still"}, {"shifted"}, {"rare"}}, {0, 4}, {5, 9}, 1000);
  int64_t id = 0;
  for (int day = 0; day < 10; ++day) {
    for (int i = 0; i < 100; ++i) {
      const std::array<float, 3> row{static_cast<float>(i), static_cast<float>(day < 5 ? i : i + 10),
                                     day >= 5 && i < 20 ? kMissing : 1.0f};
      comparer.add(features::key_of(id++), day * kDayUs + i, row, day < 5 ? 0.2f : 0.8f, i % 5 == 0 ? 1 : 0);
    }
  }
  const Comparison result = comparer.compare();
  ASSERT_EQ(result.columns.size(), 4u);
  EXPECT_TRUE(result.columns[0].is_score);
  EXPECT_EQ(result.columns[0].column, "score");
  EXPECT_EQ(result.columns[1].column, "rare");
  EXPECT_EQ(result.columns[1].missing[0], 0);
  EXPECT_NEAR(result.columns[1].missing[1], 0.2, 1e-12);
  EXPECT_EQ(result.columns[1].ks, 0);
  EXPECT_EQ(result.columns[2].column, "shifted");
  EXPECT_NEAR(result.columns[2].ks, 0.1, 1e-12);
  EXPECT_NEAR(result.columns[2].mean[1] - result.columns[2].mean[0], 10, 1e-9);
  EXPECT_EQ(result.columns[3].column, "still");
  EXPECT_EQ(result.columns[3].psi, 0);
  EXPECT_EQ(result.columns[3].ks, 0);
  for (const auto& span : result.spans) {
    EXPECT_EQ(span.rows, 500u);
    EXPECT_EQ(span.sampled, 500u);
  }
  EXPECT_NEAR(result.spans[0].reliability.calibration_error(), 0, 1e-6);
  EXPECT_NEAR(result.spans[1].reliability.calibration_error(), 0.6, 1e-6);
}

TEST(Comparer, ASpanWithoutRowsIsUnknownNotEqual) {
  Comparer comparer({{"amount"}}, {0, 0}, {5, 9});
  const float amount = 3;
  comparer.add(features::key_of(1), 0, {&amount, 1}, 0.5f, 0);
  const Comparison result = comparer.compare();
  EXPECT_EQ(result.spans[1].rows, 0u);
  for (const Shift& shift : result.columns) {
    EXPECT_TRUE(std::isnan(shift.psi));
    EXPECT_TRUE(std::isnan(shift.missing[1]));
    EXPECT_TRUE(std::isnan(shift.mean[1]));
  }
}

}  // namespace
}  // namespace shrike::engine
