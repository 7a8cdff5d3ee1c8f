#include "engine/lifecycle/control_group.h"

#include <gtest/gtest.h>

#include <random>

#include <nlohmann/json.hpp>

#include "engine/log/recovery.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

// Three in ten of what would be declined are frauds; a tenth is let through and settles.
class ControlGroupTest : public testing::Test {
 protected:
  void transaction(bool let_through, bool fraud, double amount) {
    answer_ = {};
    answer_.score = 0.4f;
    answer_.wanted = Decision::kDecline;
    answer_.control = let_through;
    monitor_.scored({++sequence_, kNow, {}, answer_, amount});
    if (let_through) settle(fraud, amount, false);
  }
  void settle(bool fraud, double amount, bool corrected) {
    monitor_.settled({sequence_,
                      kNow,
                      kNow,
                      fraud ? Verdict::kFraud : Verdict::kLegitimate,
                      Source::kMatured,
                      corrected,
                      10,
                      {},
                      answer_,
                      amount,
                      0});
  }
  nlohmann::json shown() const { return monitor_.report()["last_30_days"]; }

  static constexpr int64_t kNow = 400 * features::kDayUs;
  ConfigPtr config_ = must_parse(with(handbook_15(), "share = 0 ", "share = 0.1 "));
  ControlGroup monitor_{config_};
  Answer answer_;
  uint64_t sequence_ = 0;
};

TEST_F(ControlGroupTest, SaysWhatItCostsAndWhatIsHidden) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> unit;
  double frauds = 0;
  for (int i = 0; i < 20'000; ++i) {
    const bool let_through = i % 10 == 0, fraud = unit(random) < 0.3;
    frauds += fraud;
    transaction(let_through, fraud, 50);
  }
  const nlohmann::json seen = shown();
  EXPECT_EQ(seen["stopped"], 18'000);
  EXPECT_EQ(seen["let_through"], 2'000);
  EXPECT_DOUBLE_EQ(seen["expected_loss"], 40'000) << "2,000 of 50 at 0.4";
  EXPECT_DOUBLE_EQ(seen["realised_loss"].get<double>(), 50 * seen["frauds"].get<double>());
  const double truth = frauds / 20'000;
  EXPECT_LT(seen["precision_low"].get<double>(), truth);
  EXPECT_GT(seen["precision_high"].get<double>(), truth);
  EXPECT_NEAR(seen["loss_saved_by_stopping"].get<double>(), 50 * 0.9 * frauds, 50 * 0.1 * frauds);
}

TEST_F(ControlGroupTest, TakesBackAVerdictThatHasChanged) {
  transaction(true, true, 80);
  const nlohmann::json before = shown();
  settle(false, 80, true);
  EXPECT_EQ(shown()["frauds"], 0);
  EXPECT_EQ(shown()["realised_loss"], 0);
  EXPECT_EQ(shown()["settled"], 1);
  settle(true, 80, true);
  EXPECT_EQ(shown(), before);
}

TEST_F(ControlGroupTest, IsTheSameThroughACheckpoint) {
  for (int i = 0; i < 100; ++i) transaction(i % 3 == 0, i % 2 == 0, 0.1 * i);
  ControlGroup restored(config_);
  ASSERT_TRUE(restored.restore(monitor_.save()));
  EXPECT_EQ(restored.report(), monitor_.report());
  EXPECT_EQ(restored.save(), monitor_.save());
  EXPECT_FALSE(restored.restore("{}"));
  EXPECT_FALSE(restored.restore(R"({"version":1,"days":[[1,2]]})"));
}

}  // namespace
}  // namespace shrike::engine
