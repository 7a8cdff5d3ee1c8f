// Rules over evidence that is made up: each cause by what is typical of it, and two that compete.
#include "engine/diagnosis/causes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace shrike::engine {
namespace {

constexpr int64_t kFirst = 17700;

// Everything was examined, and nothing is wrong.
Evidence well() {
  Evidence e;
  e.reference = {kFirst - 28, kFirst - 1};
  e.period = {kFirst, kFirst + 13};
  e.inputs.found.columns = e.inputs.found.compared = 36;
  e.inputs.found.a_day = {2000, 2010};
  ScoreFigures usual;
  usual.examples = 40'000, usual.frauds = 400, usual.average_precision = 0.8;
  usual.log_loss = 0.014, usual.base_loss = 0.056, usual.fraud_score = 0.7, usual.fraud_score_error = 0.01;
  usual.stopped = 0.012;
  e.performance.found.figures = {usual, usual};
  e.performance.found.settled_until = kFirst + 7;
  for (const Source source : {Source::kChargeback, Source::kCustomer}) {
    SourceFigures& of = e.labels.found.sources[static_cast<size_t>(source)];
    of.name = SourceConfig{}.name(source);
    of.labels = of.frauds = of.judged = {200, 100};
    of.last_day = kFirst + 13;
    of.fraud_score = {0.6, 0.6}, of.fraud_score_error = {0.02, 0.03}, of.delay_days = {3, 3};
  }
  e.labels.found.a_transaction = {0.01, 0.01};
  e.standing.found.champion = "aaaa1111";
  e.standing.found.fallbacks = {"bbbb2222", "cccc3333"};
  e.infrastructure.found.deadline_ms = 100;
  MachineFigures machine;
  machine.periods = 1000, machine.answers = 20'000, machine.p99_ms = 2, machine.worst_p99_ms = 6;
  e.infrastructure.found.machine = {machine, machine};
  e.inputs.failed = e.performance.failed = e.labels.failed = e.models.failed = "";
  e.importance.failed = e.infrastructure.failed = e.told.failed = e.standing.failed = "";
  return e;
}

ColumnChange stuck(const std::string& column, const std::string& value_of, int64_t first, int64_t last) {
  ColumnChange change;
  change.column = column, change.fields = {"amount"}, change.value_of = value_of;
  change.stuck = true, change.psi = 9, change.common = {0.001, 1}, change.importance = 0.2;
  change.first_day = first, change.last_day = last, change.days = last - first + 1;
  return change;
}

void fall(Evidence& e, int64_t day) {
  ScoreFigures& now = e.performance.found.figures[1];
  now.average_precision = 0.5, now.log_loss = 0.035;
  e.performance.found.fell_on = day, e.performance.found.fell_z = 6;
  e.performance.found.skill = {0.75, 0.35};
}

Told told(const std::string& monitor, const std::string& subject, int64_t day) {
  Told one{.sequence = 7, .judgement = {}};
  one.judgement.monitor = monitor, one.judgement.subject = subject, one.judgement.text = subject + " changed";
  one.judgement.severity = Severity::kWarning, one.judgement.finding = Finding::kFailed;
  one.judgement.time_us = day * features::kDayUs;
  return one;
}

Takeover takeover(const Evidence& e) {
  Takeover one;
  one.model = "aaaa1111", one.before = "bbbb2222", one.day = kFirst + 3, one.serves = true;
  one.figures = e.performance.found.figures;
  one.figures[0].frauds = 80, one.figures[1].frauds = 40;
  one.loss_error = 0.002;
  return one;
}

const Cause* find(const std::vector<Cause>& causes, CauseKind kind) {
  const auto found =
      std::find_if(causes.begin(), causes.end(), [&](const Cause& c) { return c.kind == kind; });
  return found == causes.end() ? nullptr : &*found;
}

TEST(Causes, WhereAllIsWellNoneIsProbable) {
  EXPECT_TRUE(diagnose(well()).empty());
  EXPECT_TRUE(diagnose(Evidence()).empty()) << "what was not examined speaks for nothing";
}

TEST(Causes, AStuckFieldIsABrokenFeedAndCanBeDropped) {
  Evidence e = well();
  e.inputs.found.changed = {stuck("amount", "amount", kFirst + 4, kFirst + 13),
                            stuck("customer_mean_amount_1d", "", kFirst + 5, kFirst + 13)};
  fall(e, kFirst + 4);
  e.told.found = {told("drift", "amount", kFirst + 5)};
  const auto causes = diagnose(e);
  ASSERT_FALSE(causes.empty());
  const Cause& first = causes.front();
  EXPECT_EQ(first.kind, CauseKind::kBrokenFeed);
  EXPECT_EQ(first.subject, "field:amount");
  EXPECT_GT(first.score, 0.9);
  EXPECT_EQ(first.first_day, kFirst + 4);
  EXPECT_EQ(first.grounds.size(), 4u) << "stuck, with another column, told, and right before the fall";
  EXPECT_EQ(first.remedy, Remedy::kDropFeature);
  EXPECT_EQ(first.target, "field:amount");
  EXPECT_EQ(first.command.rfind("shrike judge drop_feature field:amount --why", 0), 0u) << first.command;
  EXPECT_EQ(first.undo.rfind("shrike judge restore_feature field:amount --why", 0), 0u) << first.undo;
  double product = 1;
  for (const Ground& ground : first.grounds) product *= 1 - ground.weight;
  EXPECT_DOUBLE_EQ(first.score, 1 - product) << "the score is what its grounds make it";
}

TEST(Causes, WhatIsOverOrDroppedAlreadyIsNotDropped) {
  Evidence e = well();
  e.inputs.found.changed = {stuck("amount", "amount", kFirst + 1, kFirst + 5)};
  auto causes = diagnose(e);
  ASSERT_NE(find(causes, CauseKind::kBrokenFeed), nullptr);
  EXPECT_FALSE(causes.front().goes_on);
  EXPECT_EQ(causes.front().remedy, Remedy::kNone);
  e.inputs.found.changed = {stuck("amount", "amount", kFirst + 1, kFirst + 13)};
  e.standing.found.dropped = {"amount"};
  causes = diagnose(e);
  EXPECT_EQ(causes.front().remedy, Remedy::kNone);
  EXPECT_EQ(causes.front().command.rfind("shrike judge restore_feature", 0), 0u);
}

TEST(Causes, APeriodThatLiesBackIsToldAndNothingIsDoneAboutIt) {
  Evidence e = well();
  e.inputs.found.changed = {stuck("amount", "amount", kFirst + 4, kFirst + 13)};
  e.newest = e.period.last;
  EXPECT_EQ(diagnose(e).front().remedy, Remedy::kDropFeature);
  e.newest = e.period.last + 30;
  const Cause cause = diagnose(e).front();
  EXPECT_EQ(cause.remedy, Remedy::kNone);
  EXPECT_NE(cause.advice.find("30 days before the log"), std::string::npos) << cause.advice;
  EXPECT_FALSE(cause.command.empty()) << "by hand it can be done";
}

TEST(Causes, AnUnusedStuckColumnMattersLess) {
  Evidence e = well();
  e.inputs.found.changed = {stuck("amount", "amount", kFirst + 4, kFirst + 13)};
  const double used = diagnose(e).front().score;
  e.inputs.found.changed[0].importance = 0;
  EXPECT_NEAR(diagnose(e).front().score, used / 2, 1e-12);
}

TEST(Causes, AFieldThatMeansSomethingElseIsToldAndNotDropped) {
  Evidence e = well();
  ColumnChange other_unit = stuck("amount", "amount", kFirst + 4, kFirst + 13);
  other_unit.stuck = false, other_unit.psi = 4, other_unit.common = {0.01, 0.01};
  e.inputs.found.changed = {other_unit};
  fall(e, kFirst + 5);
  const auto causes = diagnose(e);
  EXPECT_EQ(causes.front().kind, CauseKind::kChangedFeed);
  EXPECT_GE(causes.front().score, kProbable);
  EXPECT_EQ(causes.front().remedy, Remedy::kNone);
}

void flood(Evidence& e) {
  SourceFigures& customer = e.labels.found.sources[static_cast<size_t>(Source::kCustomer)];
  customer.labels[1] = customer.frauds[1] = customer.judged[1] = 700;
  customer.fraud_score[1] = 0.15, customer.fraud_score_error[1] = 0.01;
  customer.flood_from = kFirst + 6, customer.frauds_a_day = {7, 90};
}

TEST(Causes, ASourceThatFloodsFraudsNobodyElseSeesIsNoise) {
  Evidence e = well();
  flood(e);
  fall(e, kFirst + 6);
  const auto causes = diagnose(e);
  EXPECT_EQ(causes.front().kind, CauseKind::kLabelNoise);
  EXPECT_EQ(causes.front().subject, "customer");
  EXPECT_EQ(causes.front().first_day, kFirst + 6);
  EXPECT_EQ(causes.front().remedy, Remedy::kQuarantine);
  EXPECT_EQ(find(causes, CauseKind::kLabelNoise)->undo.rfind("shrike judge release customer", 0), 0u);
  EXPECT_EQ(std::count_if(causes.begin(), causes.end(),
                          [](const Cause& c) { return c.kind == CauseKind::kLabelNoise; }),
            1)
      << "the other source is as it was";
}

// Where scores tell nothing, it matters what others report once it would have come from them too.
TEST(Causes, AFloodAloneIsNoiseOnlyOnceOthersWouldHaveSeenIt) {
  Evidence e = well();
  flood(e);
  SourceFigures& customer = e.labels.found.sources[static_cast<size_t>(Source::kCustomer)];
  customer.fraud_score = {0.3, 0.3};
  customer.others_a_day = {10, 10.5}, customer.others_delay_days = 2;
  EXPECT_GE(find(diagnose(e), CauseKind::kLabelNoise)->score, kProbable);
  customer.others_delay_days = 9;
  EXPECT_LT(find(diagnose(e), CauseKind::kLabelNoise)->score, kProbable);
  customer.others_delay_days = 2, customer.others_a_day = {10, 60};
  EXPECT_LT(find(diagnose(e), CauseKind::kLabelNoise)->score, kProbable) << "they do see it";
}

// The same flood, while what others report scores lower too: it is the frauds that have changed.
TEST(Causes, NoiseAndANewKindOfFraudCompete) {
  Evidence e = well();
  flood(e);
  fall(e, kFirst + 6);
  ScoreFigures& now = e.performance.found.figures[1];
  now.frauds = 900, now.fraud_score = 0.3;
  const auto noise_first = diagnose(e);
  ASSERT_GE(noise_first.size(), 2u);
  EXPECT_EQ(noise_first[0].kind, CauseKind::kLabelNoise);
  const Cause* fraud = find(noise_first, CauseKind::kNewFraud);
  ASSERT_NE(fraud, nullptr);
  EXPECT_FALSE(fraud->against.empty()) << "noise explains it";

  SourceFigures& chargeback = e.labels.found.sources[static_cast<size_t>(Source::kChargeback)];
  chargeback.frauds[1] = chargeback.labels[1] = chargeback.judged[1] = 300;
  chargeback.fraud_score[1] = 0.2;
  SourceFigures& customer = e.labels.found.sources[static_cast<size_t>(Source::kCustomer)];
  customer.fraud_score[1] = 0.25;
  const auto fraud_first = diagnose(e);
  EXPECT_EQ(fraud_first[0].kind, CauseKind::kNewFraud);
  EXPECT_EQ(fraud_first[0].remedy, Remedy::kRetrain);
  EXPECT_EQ(fraud_first[0].undo, "shrike models activate aaaa1111");
}

TEST(Causes, AModelThatDoesWorseThanTheOneBeforeIsRolledBack) {
  Evidence e = well();
  fall(e, kFirst + 3);
  e.models.found.takeovers = {takeover(e)};
  e.models.found.takeovers[0].by_hand = true;
  e.models.found.takeovers[0].figures[1].stopped = 0.2;
  const auto causes = diagnose(e);
  EXPECT_EQ(causes.front().kind, CauseKind::kBadModel);
  EXPECT_EQ(causes.front().remedy, Remedy::kRollBack);
  EXPECT_EQ(causes.front().target, "bbbb2222");
  EXPECT_EQ(causes.front().undo, "shrike models activate aaaa1111");
  const Cause* aged = find(causes, CauseKind::kAgedModel);
  EXPECT_TRUE(aged == nullptr || aged->score < 0.3) << "the fall is explained";
}

TEST(Causes, ABrokenFeedExcusesTheModelThatTookOverInIt) {
  Evidence e = well();
  fall(e, kFirst + 3);
  e.models.found.takeovers = {takeover(e)};
  const double alone = find(diagnose(e), CauseKind::kBadModel)->score;
  e.inputs.found.changed = {stuck("amount", "amount", kFirst + 2, kFirst + 13)};
  const auto causes = diagnose(e);
  EXPECT_EQ(causes.front().kind, CauseKind::kBrokenFeed);
  const Cause* model = find(causes, CauseKind::kBadModel);
  ASSERT_NE(model, nullptr);
  EXPECT_LT(model->score, 0.7 * alone);
}

TEST(Causes, AModelThatDoesNoServiceIsNotRolledBackAgain) {
  Evidence e = well();
  fall(e, kFirst + 3);
  e.models.found.takeovers = {takeover(e)};
  e.models.found.takeovers[0].serves = false;
  Told by_monitor = told("rollback", "aaaa1111", kFirst + 3);
  by_monitor.judgement.action = Action::kRollBack;
  e.told.found = {by_monitor};
  const auto causes = diagnose(e);
  EXPECT_EQ(causes.front().kind, CauseKind::kBadModel);
  EXPECT_EQ(causes.front().remedy, Remedy::kNone);
  EXPECT_FALSE(causes.front().goes_on);
}

TEST(Causes, ManyColumnsAndMoreTransactionsAreOtherTraffic) {
  Evidence e = well();
  e.inputs.found.a_day = {2000, 4100};
  for (int i = 0; i < 9; ++i) {
    ColumnChange shifted = stuck("count_" + std::to_string(i), "", kFirst + 6, kFirst + 13);
    shifted.stuck = i < 3, shifted.psi = 0.6, shifted.fields = {"customer_id"};  // some: nothing to aggregate
    e.inputs.found.changed.push_back(shifted);
  }
  const auto causes = diagnose(e);
  EXPECT_EQ(causes.front().kind, CauseKind::kNewTraffic);
  EXPECT_GE(causes.front().score, kProbable);
  EXPECT_EQ(causes.front().remedy, Remedy::kNone);
}

TEST(Causes, AFallThatNothingExplainsIsAge) {
  Evidence e = well();
  fall(e, kFirst + 2);
  e.told.found = {told("performance", "average_precision", kFirst + 9)};
  const auto causes = diagnose(e);
  EXPECT_EQ(causes.front().kind, CauseKind::kAgedModel);
  EXPECT_GE(causes.front().score, kProbable);
  EXPECT_EQ(causes.front().remedy, Remedy::kRetrain);
  EXPECT_EQ(causes.front().target, "search");
}

TEST(Causes, SlowAnswersAndFallbacksAreTheMachine) {
  Evidence e = well();
  MachineFigures& now = e.infrastructure.found.machine[1];
  now.p99_ms = 30, now.worst_p99_ms = 180, now.worst_day = kFirst + 8, now.late = 900, now.fallbacks = 500;
  const auto causes = diagnose(e);
  EXPECT_EQ(causes.front().kind, CauseKind::kMachine);
  EXPECT_GT(causes.front().score, 0.7);
  EXPECT_EQ(causes.size(), 1u);
}

TEST(Causes, UncleanStartsAreCrashes) {
  Evidence e = well();
  e.infrastructure.found.starts = {{kFirst, "0.1", 0},     {kFirst + 2, "0.1", 812}, {kFirst + 3, "0.1", 90},
                                   {kFirst + 4, "0.1", 5}, {kFirst + 4, "0.1", 5},   {kFirst + 5, "0.1", 5}};
  const auto causes = diagnose(e);
  EXPECT_EQ(causes.front().kind, CauseKind::kCrashes);
  EXPECT_GE(causes.front().score, kProbable);
  e.infrastructure.found.starts = {{kFirst, "0.1", 0}, {kFirst + 2, "0.1", 0}};
  EXPECT_TRUE(diagnose(e).empty()) << "a clean restart is none";
}

TEST(Causes, AConfigurationBeforeTheFallIsNamedWithItsKeys) {
  Evidence e = well();
  fall(e, kFirst + 5);
  e.infrastructure.found.configurations = {{kFirst + 5, {"training.every: 2000 -> 50000"}, true}};
  e.infrastructure.found.versions = {"0.1", "0.2"};
  e.infrastructure.found.starts = {{kFirst + 12, "0.2", 0}};
  const auto causes = diagnose(e);
  const Cause* cause = find(causes, CauseKind::kConfiguration);
  ASSERT_NE(cause, nullptr);
  EXPECT_TRUE(std::any_of(cause->grounds.begin(), cause->grounds.end(), [](const Ground& ground) {
    return ground.text.find("training.every: 2000 -> 50000") != std::string::npos;
  }));
  EXPECT_EQ(cause->remedy, Remedy::kNone);
}

TEST(Causes, LabelsThatDoNotComeAndTrainingThatIsHeldAreTold) {
  Evidence e = well();
  SourceFigures& chargeback = e.labels.found.sources[static_cast<size_t>(Source::kChargeback)];
  chargeback.labels[1] = chargeback.frauds[1] = chargeback.judged[1] = 40;
  chargeback.last_day = kFirst + 6;
  e.standing.found.training_held = true;
  const auto causes = diagnose(e);
  const Cause* labels = find(causes, CauseKind::kMissingLabels);
  ASSERT_NE(labels, nullptr);
  EXPECT_EQ(labels->subject, "chargeback");
  EXPECT_EQ(labels->first_day, kFirst + 7);
  EXPECT_GE(labels->score, kProbable);
  const Cause* training = find(causes, CauseKind::kStuckTraining);
  ASSERT_NE(training, nullptr);
  EXPECT_EQ(training->command.rfind("shrike judge go_on_training", 0), 0u);
}

TEST(Causes, EachPartMayFailAndTheOthersAreWeighed) {
  Evidence e = well();
  e.inputs.found.changed = {stuck("amount", "amount", kFirst + 4, kFirst + 13)};
  fall(e, kFirst + 4);
  e.importance.failed = "model x is missing";
  e.performance.failed = "no fraud is known";
  const auto causes = diagnose(e);
  ASSERT_EQ(causes.size(), 1u);
  EXPECT_EQ(causes[0].kind, CauseKind::kBrokenFeed);
  for (const Ground& ground : causes[0].grounds)
    EXPECT_EQ(ground.text.find("does worse"), std::string::npos) << "what was not examined is not used";
}

}  // namespace
}  // namespace shrike::engine
