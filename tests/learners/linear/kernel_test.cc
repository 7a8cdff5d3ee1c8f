// The vector kernel equals the scalar reference to the bit, on every instruction set that this machine has.
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "learners/linear/model.h"
#include "learners/numeric/numeric.h"

namespace shrike::learners {
namespace {

LinearModel random_model(std::mt19937& random) {
  LinearModel model;
  const size_t columns = 1 + random() % 20;
  const uint32_t hash_bits = 1 + random() % 12;
  const auto real = [&](float low, float high) {
    return low + (high - low) * static_cast<float>(random() % 100000) / 100000.0f;
  };
  for (size_t c = 0; c < columns; ++c) {
    const bool categorical = random() % 4 == 0;
    model.columns_.push_back(
        {"c" + std::to_string(c), categorical ? ColumnKind::kCategorical : ColumnKind::kNumeric});
    std::vector<float> cuts;
    if (!categorical) {
      float at = real(-100, 0);
      for (size_t n = random() % 70; n > 0; --n) cuts.push_back(at += real(0.001f, 5));
    }
    model.column_cuts_.push_back(cuts);
  }
  std::vector<LinearPair> pairs;
  const size_t wanted = columns < 2 || random() % 3 == 0 ? 0 : random() % (LinearPair::kPairsMax + 1);
  while (pairs.size() < wanted) {
    const LinearPair pair = {static_cast<uint32_t>(random() % columns),
                             static_cast<uint32_t>(random() % columns)};
    if (pair.a != pair.b) pairs.push_back(pair);
  }
  model.layout_ = LinearLayout(model.columns_, model.column_cuts_, hash_bits, std::move(pairs));
  for (size_t i = 0; i < model.layout_.weights(); ++i) model.weights_.push_back(real(-3, 3));
  model.means_.assign(columns + model.layout_.pairs.size(), 0);
  model.bias_ = real(-5, 1);
  model.slope_ = real(0.2f, 3);
  model.shift_ = real(-2, 2);
  return model;
}

std::vector<float> random_rows(std::mt19937& random, const LinearModel& model, size_t n) {
  std::vector<float> rows;
  for (size_t i = 0; i < n; ++i) {
    for (size_t c = 0; c < model.columns_.size(); ++c) {
      const uint32_t dice = random() % 20;
      float value = static_cast<float>(random() % 200000) / 500.0f - 150.0f;
      if (model.columns_[c].kind == ColumnKind::kCategorical)
        value = static_cast<float>(random() % (1 << 24));
      if (dice == 0) value = std::numeric_limits<float>::quiet_NaN();
      if (dice == 1) value = std::numeric_limits<float>::infinity();
      if (dice == 2) value = -std::numeric_limits<float>::infinity();
      if (dice == 3) value = -0.0f;
      if (dice == 4 && !model.column_cuts_[c].empty())
        value = model.column_cuts_[c][random() % model.column_cuts_[c].size()];
      rows.push_back(value);
    }
  }
  return rows;
}

TEST(LinearKernel, EqualsTheScalarReferenceToTheBitOnEveryTarget) {
  const auto all = static_cast<uint32_t>(hwy::SupportedTargets());
  size_t targets = 0;
  for (uint32_t target = 1; target != 0; target <<= 1) {
    if ((all & target) == 0) continue;
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(target));
    ++targets;
    std::mt19937 random(42);
    for (int round = 0; round < 60; ++round) {
      const LinearModel model = random_model(random);
      for (size_t n = 1; n <= 40; ++n) {
        const std::vector<float> rows = random_rows(random, model, n);
        const MatrixView matrix(rows, model.columns_.size());
        std::vector<float> out(n);
        model.score(matrix, out);
        for (size_t i = 0; i < n; ++i) {
          const float expected = model.score_row(matrix.row(i).data());
          ASSERT_EQ(std::bit_cast<uint32_t>(out[i]), std::bit_cast<uint32_t>(expected))
              << "row " << i << " of " << n;
          ASSERT_TRUE(expected > 0 && expected < 1);
        }
      }
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  EXPECT_GE(targets, 1u);
}

TEST(Numeric, LogisticFloatIsAccurate) {
  for (float x = -15; x <= 15; x += 0.01f) {
    const double expected = 1 / (1 + std::exp(-static_cast<double>(x)));
    ASSERT_NEAR(logistic_float(x) / expected, 1, 3e-6) << x;
  }
  EXPECT_EQ(logistic_float(1000), logistic_float(15));
}

TEST(Numeric, ExpAndLogAreAccurate) {
  for (double x = -700; x < 700; x += 0.37) ASSERT_NEAR(exact_exp(x) / std::exp(x), 1, 2e-15) << x;
  for (double x = 1e-300; x < 1e300; x *= 3.7)
    ASSERT_NEAR(exact_log(x), std::log(x), 2e-15 * std::max(1.0, std::fabs(std::log(x)))) << x;
}

}  // namespace
}  // namespace shrike::learners
