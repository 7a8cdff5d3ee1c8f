#include "engine/lifecycle/importance.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "engine/lifecycle/shifts.pb.h"
#include "learners/learner.h"
#include "learners/numeric/numeric.h"

namespace shrike::engine {
namespace {

constexpr size_t kColumns = 4, kRows = 256;

// Fraud where the second column is high, and a little where the third one is.
struct Trained {
  Trained() {
    std::vector<learners::Column> columns;
    for (size_t c = 0; c < kColumns; ++c) columns.push_back({.name = "c" + std::to_string(c)});
    auto learner = learners::make_learner("linear", {{"bin_sample", int64_t{500}}}, columns, 1).value();
    std::mt19937_64 random(7);
    constexpr size_t kExamples = 20'000;
    std::vector<float> all(kExamples * kColumns), labels(kExamples), weights(kExamples, 1);
    std::vector<uint64_t> keys(kExamples);
    std::iota(keys.begin(), keys.end(), 0);
    for (float& value : all) value = static_cast<float>(learners::unit(random()));
    for (size_t i = 0; i < kExamples; ++i) {
      const double p =
          0.02 + (all[i * kColumns + 1] > 0.8f ? 0.6 : 0) + (all[i * kColumns + 2] > 0.8f ? 0.1 : 0);
      labels[i] = learners::unit(random()) < p ? 1 : 0;
    }
    learner->partial_fit({all, kColumns}, labels, weights, keys);
    model = learner->snapshot();
    rows.assign(all.begin(), all.begin() + kRows * kColumns);
  }
  learners::ModelPtr model;
  std::vector<float> rows;
};

TEST(Importance, IsOfTheColumnsThatTheModelGoesBy) {
  const Trained trained;
  ASSERT_NE(trained.model, nullptr);
  Importance importance(kColumns);
  importance.begin(trained.rows);
  const std::vector<double> before = importance.shares();
  for (size_t c = 0; c < kColumns; ++c) {
    EXPECT_EQ(importance.shares(), before) << "in force once all are weighed";
    importance.step(*trained.model);
  }
  const std::vector<double>& shares = importance.shares();
  EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), 1, 1e-9);
  EXPECT_GT(shares[1], 1.5 * shares[2]);
  EXPECT_GT(shares[2], shares[0]);
  EXPECT_GT(shares[2], shares[3]);
  const std::vector<double> after = shares;
  importance.step(*trained.model);
  EXPECT_EQ(importance.shares(), after) << "done";
}

TEST(Importance, IsTheSameThroughACheckpointInTheMiddle) {
  const Trained trained;
  Importance straight(kColumns), resumed(kColumns);
  straight.begin(trained.rows);
  straight.step(*trained.model);
  straight.step(*trained.model);
  proto::ImportanceRecord record;
  straight.save(record);
  ASSERT_TRUE(resumed.restore(record));
  for (Importance* each : {&straight, &resumed}) {
    each->step(*trained.model);
    each->step(*trained.model);
  }
  EXPECT_EQ(straight.shares(), resumed.shares());
  record.add_shares(1);
  EXPECT_FALSE(resumed.restore(record));
}

}  // namespace
}  // namespace shrike::engine
