#include "engine/serve/reasons_budget.h"

#include <gtest/gtest.h>

namespace shrike::engine {
namespace {

// Answers with reasons take 300 us, others 20.
int64_t with_reasons(int64_t answers, bool others_wait, int64_t& now_us) {
  ReasonsBudget budget;
  budget.begin(now_us);
  int64_t given = 0;
  for (int64_t i = 0; i < answers; ++i) {
    const bool may = budget.may(now_us, others_wait);
    now_us += may ? 300 : 20;
    if (!may) continue;
    budget.given(now_us);
    ++given;
  }
  return given;
}

TEST(ReasonsBudget, TakesItsShareOfTheTimeWhileOthersWait) {
  int64_t now_us = 1'000'000;
  const int64_t given = with_reasons(100'000, true, now_us);
  const double share = 300 * static_cast<double>(given) / static_cast<double>(now_us - 1'000'000);
  EXPECT_NEAR(share, ReasonsBudget::kShare, 0.01);
}

TEST(ReasonsBudget, IsNoneWhileNobodyWaits) {
  int64_t now_us = 1'000'000;
  EXPECT_EQ(with_reasons(1'000, false, now_us), 1'000);
}

}  // namespace
}  // namespace shrike::engine
