// From score and amount to a decision, and what answers when models fail.
#include "engine/fold/policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

Decision decision(const PolicyConfig& policy, float score, double amount) {
  Answer answer;
  answer.score = score;
  decide(policy, amount, answer);
  return answer.decision;
}

TEST(Policy, EitherTheScoreOrTheExpectedLossDecides) {
  const PolicyConfig policy{
      .review_score = 0.1, .decline_score = 0.5, .review_loss = 100, .decline_loss = 1000};
  EXPECT_EQ(decision(policy, 0.09f, 10), Decision::kApprove);
  EXPECT_EQ(decision(policy, 0.1f, 10), Decision::kReview);
  EXPECT_EQ(decision(policy, 0.5f, 10), Decision::kDecline);
  EXPECT_EQ(decision(policy, 0.01f, 9999), Decision::kApprove) << "a loss of 99.99";
  EXPECT_EQ(decision(policy, 0.02f, 9999), Decision::kReview);
  EXPECT_EQ(decision(policy, 0.02f, 99'999), Decision::kDecline);
  const double missing = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(decision(policy, 0.02f, missing), Decision::kApprove) << "without an amount the score alone";
}

TEST(Policy, ZeroTurnsALossOff) {
  const PolicyConfig policy{.review_score = 0.1, .decline_score = 0.5};
  EXPECT_EQ(decision(policy, 0.09f, 1e12), Decision::kApprove);
}

// Gives the same score to every row.
class Constant : public learners::Model {
 public:
  explicit Constant(learners::ModelPtr like, float score) : like_(std::move(like)), score_(score) {}
  std::string_view family() const override { return like_->family(); }
  const std::vector<learners::Column>& columns() const override { return like_->columns(); }
  void score(learners::MatrixView, std::span<float> out) const override {
    for (float& value : out) value = score_;
  }
  double margin(std::span<const float>) const override { return 0; }
  double explain(std::span<const float> row, std::span<double> out) const override {
    for (size_t c = 0; c < row.size(); ++c) out[c] = static_cast<double>(row[c]);
    return 0;
  }
  std::string payload() const override { return {}; }

 private:
  learners::ModelPtr like_;
  float score_;
};

TEST(Policy, TheNewestModelThatGivesAProbabilityAnswers) {
  const ConfigPtr config = must_parse(handbook_15());
  const auto prior = learners::make_prior_model(config->columns, 0.01);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  ModelId broken{}, wild{}, good{};
  broken[0] = 1, wild[0] = 2, good[0] = 3;
  const std::vector<NamedModel> models = {{broken, std::make_shared<Constant>(prior, nan)},
                                          {wild, std::make_shared<Constant>(prior, 1.5f)},
                                          {good, std::make_shared<Constant>(prior, 0.25f)}};
  const std::vector<float> row(config->columns.size(), 1.0f);
  Answer answer;
  ASSERT_TRUE(score_by_fallback(models, row, row.size(), answer));
  EXPECT_EQ(answer.score, 0.25f);
  EXPECT_EQ(answer.model, good);
  EXPECT_EQ(answer.step, Step::kFallback);
  EXPECT_FALSE(score_by_fallback(std::span(models).first(2), row, row.size(), answer));
}

TEST(Policy, ReasonsAreTheStrongestThatRaiseTheScore) {
  const ConfigPtr config = must_parse(handbook_15());
  const Constant model(learners::make_prior_model(config->columns, 0.01), 0.9f);
  std::vector<float> row(config->columns.size(), -1.0f);
  row[3] = 2;
  row[7] = 5;
  Answer answer;
  std::vector<double> scratch;
  give_reasons(config->policy, model, row, answer, scratch);
  ASSERT_EQ(answer.reason_count, 2) << "what lowers it is no reason";
  EXPECT_EQ(answer.reasons[0], 7);
  EXPECT_EQ(answer.reasons[1], 3);
}

TEST(Policy, WithoutTimeTheConfiguredDecisionAnswers) {
  for (const auto& [text, expected] : {std::pair("approve", Decision::kApprove),
                                       {"review", Decision::kReview},
                                       {"decline", Decision::kDecline}}) {
    Config config = *must_parse(handbook_15());
    config.policy.static_decision = text;
    Answer answer;
    answer_statically(config, 10, answer);
    EXPECT_EQ(answer.decision, expected);
    EXPECT_EQ(answer.step, Step::kStatic);
    EXPECT_EQ(answer.score, static_cast<float>(config.training.prior));
  }
}

}  // namespace
}  // namespace shrike::engine
