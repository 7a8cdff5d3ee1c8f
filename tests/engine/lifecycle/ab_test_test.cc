// A/B tests: that looking all along finds no difference where there is none more often than is declared, and
// one that is there as often; that guards, time and people end a test; that a plan is what textbooks say.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <random>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/ab_test.h"
#include "engine/lifecycle/clustered_ratio.h"
#include "engine/lifecycle/planned_test.h"
#include "engine/log/recovery.h"
#include "learners/numeric/numeric.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kHour = features::kHourUs, kDay = features::kDayUs;
constexpr int64_t kStart = 1514764800000000;

// How many simulated tests: SHRIKE_AB_TESTS=4000 for the figures of the documents.
int ab_tests() {
  const char* asked = std::getenv("SHRIKE_AB_TESTS");
  return asked == nullptr ? 200 : std::atoi(asked);
}

TEST(PlannedTest, BoundsAreThoseOfTheBooks) {
  EXPECT_NEAR(normal_quantile(0.975), 1.959964, 1e-6);
  EXPECT_NEAR(normal_below(-1.959964), 0.025, 1e-7);
  EXPECT_NEAR(planned_critical(0.05), 2.241403, 1e-6);
  EXPECT_NEAR(fixed_drift(0.05, 0.8), 1.959964 + 0.841621, 1e-5);
  const auto cost = [](double looks) {
    return std::pow(planned_drift(planned_critical(0.05), 0.8, looks) / fixed_drift(0.05, 0.8), 2);
  };
  EXPECT_NEAR(cost(1e9), 1.06, 0.01) << "of looking all along";
  EXPECT_NEAR(cost(1), std::pow((2.241403 + 0.841621) / 2.801585, 2), 1e-4);
  EXPECT_LT(cost(100), cost(10));
}

// The drift at which a Brownian motion of 1,000 steps leaves the bounds with the power.
TEST(PlannedTest, ABrownianMotionLeavesItsBoundsAsOftenAsIsSaid) {
  const double critical = planned_critical(0.05), drift = planned_drift(critical, 0.8, 300);
  std::mt19937_64 random(5);
  const int runs = 10 * ab_tests(), steps = 300;
  int without = 0, with = 0;
  for (int run = 0; run < runs; ++run) {
    double at = 0;
    bool left = false, left_with = false;
    for (int i = 1; i <= steps; ++i) {
      const double u = learners::unit(random()), v = learners::unit(random());
      at += std::sqrt(-2 * std::log(1 - u) / steps) * std::cos(2 * 3.14159265358979 * v);
      left |= std::fabs(at) >= critical;
      left_with |= at + drift * i / steps >= critical;
    }
    without += left;
    with += left_with;
  }
  EXPECT_LE(without, 0.05 * runs + 3 * std::sqrt(0.05 * 0.95 * runs));
  EXPECT_GT(without, 0.025 * runs);
  EXPECT_NEAR(static_cast<double>(with) / runs, 0.8, 0.05);
}

TEST(ClusteredRatio, ItsErrorIsThatAmongEntities) {
  // Each entity clicks always or never, 50 times: 50 observations tell no more than one.
  std::mt19937_64 random(7);
  double squares = 0, told = 0;
  constexpr int kRuns = 400, kEntities = 300, kTimes = 50;
  for (int run = 0; run < kRuns; ++run) {
    ClusteredRatio ratio;
    for (int e = 0; e < kEntities; ++e) {
      const uint64_t entity = random();
      const bool clicks = learners::unit(random()) < 0.2;
      for (int i = 0; i < kTimes; ++i) ratio.add(entity, clicks ? 1 : 0, 1);
    }
    squares += std::pow(ratio.value() - 0.2, 2);
    told += ratio.variance();
  }
  EXPECT_NEAR(told / squares, 1, 0.15);
  EXPECT_NEAR(squares / kRuns, 0.2 * 0.8 / kEntities, 0.2 * 0.2 * 0.8 / kEntities);
}

std::string config_text() {
  return handbook_15() +
         "[kpi.bought]\nkind = \"rate\"\nwithin = \"1h\"\n[kpi.revenue]\nkind = \"value\"\nwithin = \"1h\"\n";
}

// What the monitor "kpi" would say of a metric.
std::string report_of(const std::string& metric, double value, double variance_of_one, double per_day) {
  return nlohmann::json{
      {"kpi",
       {{"metrics",
         {{metric,
           {{"value", value}, {"variance_of_one", variance_of_one}, {"per_day", per_day}, {"days", 7}}}}}}}}
      .dump();
}

// Visitors, each with a rate of its own at which they buy, and a monitor that is told what they do.
class Visitors {
 public:
  struct Kind {
    double champion = 0.1, challenger = 0.1;  // share that buys
    double declined_champion = 0.02, declined_challenger = 0.02;
    double failures = 0;  // of the challenger's scores
  };

  Visitors(const ConfigPtr& config, uint64_t seed, int entities = 1000)
      : config_(config),
        fold_(config, nowhere_, nullptr),
        monitor_(std::make_unique<AbTest>(config)),
        random_(seed),
        seed_(seed),
        entities_(entities) {}

  void begin(const std::string& declaration, double variance_of_one = 0.1 * 0.9 * 1.1) {
    const auto asked = parse_ab_test(*config_, declaration);
    ASSERT_TRUE(asked) << asked.error().field << ": " << asked.error().reason;
    const auto plan = plan_ab_test(*config_, asked->declaration,
                                   report_of(asked->declaration.metric, 0.1, variance_of_one, 24'000));
    ASSERT_TRUE(plan) << plan.error().reason;
    plan_ = *plan;
    // Another model in every run: other arms for the same visitors.
    const std::string hash = fmt::format("{:032x}", seed_ + 1);
    challenger_ = {hash, learners::make_prior_model(config_->columns, 0.01), plan->declaration.share, true};
    monitor_->model({ModelAction::kTested, 0, hash, declaration_text(*plan), plan->declaration.share}, fold_);
  }

  void hour(const Kind& kind, int transactions = 500) {
    for (int i = 0; i < transactions; ++i)
      one(kind, kStart + hour_ * kHour + int64_t{i} * kHour / transactions);
    ++hour_;
    close(kStart + hour_ * kHour);
  }
  void until_done(const Kind& kind, int hours) {
    for (int i = 0; i < hours && judgements.empty(); ++i) hour(kind);
  }
  void judge(JudgementEvent event) {
    event.target = challenger_.hash;
    monitor_->judged(event);
  }
  void close(int64_t now_us) {
    std::vector<JudgementEvent> found;
    monitor_->close({{sequence_, now_us, sequence_, fold_}, true, false}, found);
    for (JudgementEvent& event : found) {
      event.monitor = monitor_->name();
      monitor_->judged(event);
      judgements.push_back(std::move(event));
    }
  }
  void restore() {
    auto restored = std::make_unique<AbTest>(config_);
    ASSERT_TRUE(restored->restore(monitor_->save()));
    EXPECT_EQ(restored->save(), monitor_->save());
    monitor_ = std::move(restored);
  }
  nlohmann::json evidence() const { return nlohmann::json::parse(judgements.at(0).evidence); }
  AbTest& monitor() { return *monitor_; }
  const Fold& fold() const { return fold_; }

  std::vector<JudgementEvent> judgements;
  AbTestPlan plan_;

 private:
  double unit() { return learners::unit(random_()); }

  void one(const Kind& kind, int64_t time_us) {
    const uint64_t entity = learners::mix(seed_ * 1'000'003 + random_() % static_cast<uint64_t>(entities_));
    Answer answer;
    answer.arm = challenger_.arm(entity);
    const bool tested = answer.arm == Arm::kCanary;
    answer.score = 0.1f;
    answer.other = 0.1f;
    if (!tested && unit() < kind.failures) answer.other = kNoProbability;
    if (unit() < (tested ? kind.declined_challenger : kind.declined_champion))
      answer.wanted = answer.decision = Decision::kDecline;
    else
      answer.wanted = answer.decision = Decision::kApprove;
    monitor_->scored({++sequence_, time_us, {}, answer, 1, entity});
    // What visitors like differs: from half of the rate to one and a half.
    const double rate =
        (tested ? kind.challenger : kind.champion) * (0.5 + learners::unit(learners::mix(entity ^ 77)));
    if (unit() >= rate) return;
    monitor_->kpi(
        {{}, "bought", 1, time_us + kHour / 2, sequence_, time_us, entity, answer.arm, Step::kFull});
    if (unit() < 0.1)  // too late to count
      monitor_->kpi(
          {{}, "revenue", 5, time_us + 2 * kHour, sequence_, time_us, entity, answer.arm, Step::kFull});
  }

  ConfigPtr config_;
  NoExamples nowhere_;
  Fold fold_;
  std::unique_ptr<AbTest> monitor_;
  std::mt19937_64 random_;
  uint64_t seed_;
  int entities_;
  Challenger challenger_;
  uint64_t sequence_ = 0;
  int64_t hour_ = 0;
};

class AbTests : public testing::Test {
 protected:
  ConfigPtr config_ = must_parse(config_text());
};

TEST_F(AbTests, APlanIsWhatTheBooksSay) {
  const auto asked = parse_ab_test(*config_, R"({"metric":"bought","share":0.5,"effect":0.1})");
  ASSERT_TRUE(asked);
  const auto plan =
      plan_ab_test(*config_, asked->declaration, report_of("bought", 0.05, 0.05 * 0.95, 10'000));
  ASSERT_TRUE(plan);
  // 5 % against 5.5 %, two-sided 5 %, power 80 %: 31,231 in each group (Fleiss, without correction).
  EXPECT_NEAR(plan->needed_fixed / 2, 31'231, 40);
  EXPECT_GT(plan->needed / plan->needed_fixed, 1.06);
  EXPECT_LT(plan->needed / plan->needed_fixed, 1.13) << "150 looks";
  EXPECT_NEAR(plan->days, plan->needed / 10'000 + 1.0 / 24, 1e-9);
  EXPECT_TRUE(plan->fits());
  // Nine times as many outside of a test group of a tenth; more in all.
  const auto small = parse_ab_test(*config_, R"({"metric":"bought"})");
  ASSERT_TRUE(small);
  EXPECT_EQ(small->declaration.share, 0.1);
  const auto longer =
      plan_ab_test(*config_, small->declaration, report_of("bought", 0.05, 0.05 * 0.95, 1000));
  ASSERT_TRUE(longer);
  const double more = 0.055 * 0.945 / (0.05 * 0.95);  // of the variance, at the rate to be found
  EXPECT_NEAR(longer->needed / plan->needed, (more / 0.1 + 1 / 0.9) / (2 * more + 2), 0.05 * 2.8);
  EXPECT_FALSE(longer->fits());
  EXPECT_NE(longer->why_not().find("--days"), std::string::npos);
  // The event says all that judging needs.
  const auto read = read_declaration(declaration_text(*plan));
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(to_text(*read), to_text(*plan));
  EXPECT_FALSE(read_declaration(R"({"reason":"by hand"})"));
}

TEST_F(AbTests, WhatCannotBeTestedIsRefusedWithTheField) {
  const auto field = [&](const std::string& json) {
    const auto asked = parse_ab_test(*config_, json);
    return asked ? std::string("none") : asked.error().field;
  };
  EXPECT_EQ(field("[]"), "argument");
  EXPECT_EQ(field("{}"), "metric");
  EXPECT_EQ(field(R"({"metric":"bougth"})"), "metric");
  EXPECT_NE(parse_ab_test(*config_, R"({"metric":"bougth"})").error().reason.find("did you mean \"bought\""),
            std::string::npos);
  EXPECT_EQ(field(R"({"metric":"recall"})"), "metric") << "declined transactions have no verdict";
  EXPECT_EQ(field(R"({"metric":"bought","share":0.9})"), "share");
  EXPECT_EQ(field(R"({"metric":"bought","power":"high"})"), "power");
  EXPECT_EQ(field(R"({"metric":"bought","guards":{"decline_rate":0}})"), "guards");
  EXPECT_EQ(field(R"({"metric":"bought","guards":{"clicks":0.1}})"), "guards");
  EXPECT_EQ(field(R"({"metric":"bought","on_success":"party"})"), "on_success");
  EXPECT_EQ(field(R"({"metric":"bought","effct":0.1})"), "effct");
  EXPECT_EQ(field(R"({"metric":"bought","guards":{"decline_rate":0.1},"on_success":"promote"})"), "none");
  const auto asked = parse_ab_test(*config_, R"({"metric":"bought"})");
  EXPECT_EQ(plan_ab_test(*config_, asked->declaration, "{}").error().field, "metric") << "no day yet";
  EXPECT_EQ(plan_ab_test(*config_, asked->declaration, report_of("bought", 0, 0, 100)).error().field,
            "metric");
  const ConfigPtr seen =
      must_parse(with(config_text(), "[control]\nshare = 0", "[control]\nshare = 0.02\n#"));
  EXPECT_TRUE(parse_ab_test(*seen, R"({"metric":"recall"})"));
  EXPECT_EQ(model_of_ab_test(R"({"model":"3f2a","metric":"x"})"), "3f2a");
  EXPECT_EQ(model_of_ab_test("no"), "");
}

// Looked at each hour, with visitors who differ and come again.
TEST_F(AbTests, WithoutADifferenceFewTestsFindOne) {
  const int runs = ab_tests();
  int found = 0, over = 0;
  for (int run = 0; run < runs; ++run) {
    Visitors visitors(config_, static_cast<uint64_t>(run), 400);
    visitors.begin(R"({"metric":"bought","share":0.5,"effect":0.3,"days":3})");
    visitors.until_done({}, 72);
    ASSERT_EQ(visitors.judgements.size(), 1u);
    found += visitors.judgements[0].finding != Finding::kInconclusive;
    over += visitors.judgements[0].text.find("all planned observations") != std::string::npos;
  }
  fmt::print("{} of {} A/B tests without a difference found one\n", found, runs);
  EXPECT_LE(found, 0.05 * runs + 2 * std::sqrt(0.05 * 0.95 * runs));
  EXPECT_GT(over, runs / 2) << "they end as planned";
}

TEST_F(AbTests, ADifferenceAsDeclaredIsFoundWithThePower) {
  const int runs = ab_tests();
  int found = 0;
  double hours = 0;
  for (int run = 0; run < runs; ++run) {
    Visitors visitors(config_, static_cast<uint64_t>(run) + 10'000, 1000);
    visitors.begin(R"({"metric":"bought","share":0.5,"effect":0.3,"days":5})");
    visitors.until_done({.challenger = 0.13}, 120);
    ASSERT_EQ(visitors.judgements.size(), 1u);
    found += visitors.judgements[0].finding == Finding::kSuccessful;
    hours += visitors.evidence()["scored"].get<double>() / 500;
  }
  fmt::print("{} of {} A/B tests of the declared difference found it, after {:.0f} hours on average\n", found,
             runs, hours / runs);
  EXPECT_GE(found, 0.8 * runs - 1.5 * std::sqrt(0.8 * 0.2 * runs));
}

TEST_F(AbTests, ASuccessIsToldWithItsFiguresOrPromotes) {
  Visitors visitors(config_, 3);
  visitors.begin(R"({"metric":"bought","share":0.5,"effect":0.2})");
  visitors.until_done({.challenger = 0.16}, 100);
  ASSERT_EQ(visitors.judgements.size(), 1u);
  const JudgementEvent& told = visitors.judgements[0];
  EXPECT_EQ(told.finding, Finding::kSuccessful);
  EXPECT_EQ(told.severity, Severity::kInfo);
  EXPECT_EQ(told.action, Action::kConclude);
  const nlohmann::json e = visitors.evidence();
  EXPECT_NEAR(e["champion"]["value"].get<double>(), 0.1, 0.02);
  EXPECT_NEAR(e["challenger"]["value"].get<double>(), 0.16, 0.03);
  EXPECT_GT(e["interval"][0].get<double>(), 0);
  EXPECT_LT(e["one_look"]["p"].get<double>(), 0.05);
  EXPECT_LT(e["one_look"]["interval"][1].get<double>(), e["interval"][1].get<double>())
      << "one look is surer";
  EXPECT_LT(e["information"].get<double>(), 1) << "so large a difference is found before the end";
  visitors.hour({});
  EXPECT_EQ(visitors.judgements.size(), 1u) << "it is over";
  EXPECT_TRUE(visitors.monitor().report()["challenger"].is_null());

  Visitors promoting(config_, 4);
  promoting.begin(R"({"metric":"bought","share":0.5,"effect":0.2,"on_success":"promote"})");
  promoting.until_done({.challenger = 0.16}, 100);
  ASSERT_EQ(promoting.judgements.size(), 1u);
  EXPECT_EQ(promoting.judgements[0].action, Action::kPromote);
}

TEST_F(AbTests, WorseFailsAndIsGone) {
  Visitors visitors(config_, 5);
  visitors.begin(R"({"metric":"bought","share":0.5,"effect":0.2,"on_success":"promote"})");
  visitors.until_done({.challenger = 0.05}, 100);
  ASSERT_EQ(visitors.judgements.size(), 1u);
  EXPECT_EQ(visitors.judgements[0].finding, Finding::kFailed);
  EXPECT_EQ(visitors.judgements[0].severity, Severity::kWarning);
  EXPECT_EQ(visitors.judgements[0].action, Action::kConclude);
}

TEST_F(AbTests, GuardsEndItAndHoldWhereNothingIsWrong) {
  const std::string declaration =
      R"({"metric":"bought","share":0.5,"effect":0.1,"guards":{"decline_rate":0.1,"revenue":0.9}})";
  Visitors harmful(config_, 6);
  harmful.begin(declaration);
  harmful.until_done({.declined_challenger = 0.05}, 200);
  ASSERT_EQ(harmful.judgements.size(), 1u);
  EXPECT_EQ(harmful.judgements[0].finding, Finding::kFailed);
  EXPECT_NE(harmful.judgements[0].text.find("guard decline_rate"), std::string::npos);
  EXPECT_TRUE(harmful.evidence()["guards"][0]["violated"].get<bool>());
  EXPECT_LT(harmful.evidence()["scored"].get<int>(), 20'000) << "at once, with no label";

  Visitors failing(config_, 7);
  failing.begin(declaration);
  failing.until_done({.failures = 0.01}, 10);
  ASSERT_EQ(failing.judgements.size(), 1u);
  EXPECT_NE(failing.judgements[0].text.find("no probability"), std::string::npos);

  int stopped = 0;
  for (uint64_t run = 0; run < 40; ++run) {
    Visitors harmless(config_, 100 + run);
    harmless.begin(declaration);
    harmless.until_done({}, 48);
    stopped += !harmless.judgements.empty() && harmless.judgements[0].finding == Finding::kFailed;
  }
  EXPECT_LE(stopped, 4);
}

TEST_F(AbTests, TimePeopleAndOtherModelsEndItWithoutAVerdict) {
  Visitors late(config_, 8);
  late.begin(R"({"metric":"bought","share":0.1,"effect":0.02,"days":1})");
  late.until_done({}, 48);
  ASSERT_EQ(late.judgements.size(), 1u);
  EXPECT_EQ(late.judgements[0].finding, Finding::kInconclusive);
  EXPECT_NE(late.judgements[0].text.find("its time is over"), std::string::npos);

  Visitors aborted(config_, 9);
  aborted.begin(R"({"metric":"bought","share":0.5,"effect":0.02})");
  for (int i = 0; i < 4; ++i) aborted.hour({});
  JudgementEvent by_hand;
  by_hand.monitor = kOperator;
  by_hand.action = Action::kAbort;
  by_hand.text = "the shop closes";
  aborted.judge(by_hand);
  aborted.restore();
  aborted.hour({});
  ASSERT_EQ(aborted.judgements.size(), 1u);
  EXPECT_EQ(aborted.judgements[0].finding, Finding::kInconclusive);
  EXPECT_EQ(aborted.judgements[0].action, Action::kNone);
  EXPECT_NE(aborted.judgements[0].text.find("the shop closes"), std::string::npos);
  EXPECT_TRUE(aborted.evidence().contains("difference")) << "what was known by then";

  Visitors overtaken(config_, 10);
  overtaken.begin(R"({"metric":"bought","share":0.5,"effect":0.02})");
  overtaken.monitor().model({ModelAction::kActivated, 0, std::string(32, 'f'), ""}, overtaken.fold());
  overtaken.hour({});
  ASSERT_EQ(overtaken.judgements.size(), 1u);
  EXPECT_NE(overtaken.judgements[0].text.find("took over"), std::string::npos);
}

TEST_F(AbTests, ARestoredTestGoesOnToTheSameJudgement) {
  const auto run = [&](bool restored) {
    Visitors visitors(config_, 11);
    visitors.begin(R"({"metric":"bought","share":0.3,"effect":0.2,"guards":{"decline_rate":0.5}})");
    for (int i = 0; i < 100 && visitors.judgements.empty(); ++i) {
      if (restored && i % 3 == 0) visitors.restore();
      visitors.hour({.challenger = 0.13});
    }
    return visitors.judgements;
  };
  const auto once = run(false);
  ASSERT_EQ(once.size(), 1u);
  EXPECT_EQ(run(true), once);
  AbTest damaged(config_);
  EXPECT_FALSE(damaged.restore("\x0a\x20no record of ours, at all, by any means"));
}

// Verdicts that come early are those of frauds: a label's metric waits until its transactions are of age, and
// a verdict that changes its mind is taken back.
TEST_F(AbTests, LabelsCountAtTheirAge) {
  AbMetric metric{AbMetric::Kind::kFraudRate, "fraud_rate", false, true, 7 * kDay};
  Answer answer;
  const auto settled = [&](Verdict verdict, bool corrected) {
    return at_settling(metric,
                       Settled{1, kStart, kStart, verdict, Source::kAnalyst, corrected, 2.0, {}, answer});
  };
  EXPECT_EQ(settled(Verdict::kFraud, false).numerator, 2);
  EXPECT_EQ(settled(Verdict::kFraud, false).denominator, 2);
  EXPECT_EQ(settled(Verdict::kLegitimate, true).numerator, -2);
  EXPECT_EQ(settled(Verdict::kLegitimate, true).denominator, 0);
  metric.kind = AbMetric::Kind::kPrecision;
  answer.wanted = Decision::kDecline;
  EXPECT_EQ(settled(Verdict::kLegitimate, true).numerator, -2);
  metric.kind = AbMetric::Kind::kFalsePositives;
  EXPECT_EQ(settled(Verdict::kLegitimate, true).denominator, 2);
  EXPECT_EQ(settled(Verdict::kFraud, true).numerator, -2);
  answer.step = Step::kStatic;
  EXPECT_FALSE(settled(Verdict::kFraud, false)) << "no model answered it";
}

}  // namespace
}  // namespace shrike::engine
