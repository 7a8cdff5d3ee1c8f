// Challengers: who answers, how they are judged, and that a judgement which is made again and again does not
// err more often for it.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <map>
#include <random>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/fold/scoring.h"
#include "engine/lifecycle/lifecycle.h"
#include "engine/lifecycle/rollout.h"
#include "engine/lifecycle/thresholds.h"
#include "engine/log/recovery.h"
#include "learners/numeric/numeric.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kDay = features::kDayUs;
constexpr int64_t kStart = 1514764800000000;

// How many simulated canaries: SHRIKE_CANARIES=2000 for the figures of the documents.
int canaries() {
  const char* asked = std::getenv("SHRIKE_CANARIES");
  return asked == nullptr ? 100 : std::atoi(asked);
}

TEST(PairedTest, WithoutADifferenceFewAreCalledBetterOrWorse) {
  const int runs = 10 * canaries();
  constexpr double kAlpha = 0.05;
  int called = 0;
  std::mt19937_64 random(3);
  for (int run = 0; run < runs; ++run) {
    PairedTest test;
    bool better_or_worse = false;
    for (int i = 0; i < 1500 && !better_or_worse; ++i) {
      const double draw = learners::unit(random());
      test.add(draw < 0.03 ? 1 : draw < 0.06 ? -1 : 0, 1, 1, 0);
      better_or_worse = test.better(kAlpha / 2) || test.worse(kAlpha / 2);  // after every label
    }
    called += better_or_worse;
  }
  fmt::print("{} of {} canaries without a difference were called better or worse\n", called, runs);
  EXPECT_LE(called, kAlpha * runs);
  EXPECT_GT(called, 0) << "the test has no power at all";
}

TEST(PairedTest, FindsALossSoonAndSaysByHowMuch) {
  std::mt19937_64 random(4);
  PairedTest test;
  int labels = 0;
  while (!test.worse(0.01) && labels < 5000) {
    ++labels;
    const double draw = learners::unit(random());
    test.add(draw < 0.02 ? 1 : draw < 0.12 ? -1 : 0, 1, 1, 0.05);
  }
  EXPECT_LT(labels, 1000);
  EXPECT_FALSE(test.good_enough(0.05));
  EXPECT_NEAR(test.mean(), -0.08, test.half_width(0.05));
  PairedTest restored;
  restored.restore(test.save());
  EXPECT_EQ(restored.save(), test.save());
  EXPECT_EQ(restored.worse(0.01), test.worse(0.01));
}

TEST(PairedTest, WhatIsAsGoodIsFoundGoodEnough) {
  std::mt19937_64 random(5);
  PairedTest test;
  int labels = 0;
  while (!test.good_enough(0.05) && labels < 5000) {
    ++labels;
    const double draw = learners::unit(random());
    test.add(draw < 0.02 ? 1 : draw < 0.04 ? -1 : 0, 1, 1, 0.05);
  }
  EXPECT_LT(labels, 400);
}

// A monitor that is fed with scores and labels of simulated days; labels come seven days late.
class Trial {
 public:
  Trial(const ConfigPtr& config, uint64_t seed)
      : config_(config),
        fold_(config, nowhere_, nullptr),
        monitor_(std::make_unique<Rollout>(config)),
        learned_(config),
        thresholds_(fold_.thresholds()),
        random_(seed) {}

  struct Kind {
    double recall_loss = 0;  // share of the frauds that the champion catches and it does not
    double failures = 0;     // share of its scores that are no probability
    double alarms = 0;       // share of the rest that it declines
    double recall_gain = 0;  // share of the frauds that the champion misses and it catches
    double scale = 1;        // of its scores beside the champion's
  };

  void begin() {
    challenger_ = {std::string(32, 'a'), learners::make_prior_model(config_->columns, 0.01), 0};
    challenger_.thresholds = thresholds_;
    for (Monitor* each : monitors()) each->model({ModelAction::kChallenger, 1, challenger_.hash, ""}, fold_);
  }

  void day(const Kind& kind) {
    constexpr int kFrauds = 80, kLegitimate = 2000;
    for (int i = 0; i < kFrauds + kLegitimate; ++i) one(kind, i < kFrauds, i, kFrauds + kLegitimate);
    ++day_;
  }

  void until_done(const Kind& kind, int days) {
    for (int i = 0; i < days && !done(); ++i) day(kind);
  }

  void judge(const JudgementEvent& event) {
    if (event.action == Action::kCanary) challenger_.share = event.values[0];
    if (event.action == Action::kAbort || event.action == Action::kPromote) challenger_ = {};
    if (event.action == Action::kThresholds) thresholds_ = {event.values[0], event.values[1]};
    if (event.action == Action::kChallengerThresholds)
      challenger_.thresholds = {event.values[0], event.values[1]};
    for (Monitor* each : monitors()) each->judged(event);
    if (event.action == Action::kPromote)
      monitor_->model({ModelAction::kActivated, 0, event.target, ""}, fold_);
  }

  // Goes on with another one that was restored.
  void restore() {
    auto restored = std::make_unique<Rollout>(config_);
    ASSERT_TRUE(restored->restore(monitor_->save()));
    EXPECT_EQ(restored->save(), monitor_->save());
    monitor_ = std::move(restored);
  }

  bool done() const { return !judgements.empty() && !challenger_; }
  Action last() const { return judgements.empty() ? Action::kNone : judgements.back().action; }
  double share() const { return challenger_.share; }
  const Rollout& monitor() const { return *monitor_; }
  int64_t now_us() const { return kStart + day_ * kDay; }

  std::vector<JudgementEvent> judgements;
  double most = 0;  // share that it reached

 private:
  struct Waiting {
    uint64_t sequence;
    int64_t due_us, time_us;
    bool fraud;
    Answer answer;
  };

  void one(const Kind& kind, bool fraud, int i, int of) {
    const auto unit = [&] { return learners::unit(random_()); };
    const int64_t time_us = kStart + day_ * kDay + int64_t{i} * kDay / of;
    // What both see, and what each sees alone; a threshold at 0.5.
    const double latent = fraud ? 1.6 * unit() : unit() < 0.97 ? 0.05 * unit() : 0.505 * unit();
    const auto seen = [&] {
      return static_cast<float>(std::min(0.99, std::max(0.001, latent * (0.97 + 0.06 * unit()) * 0.95)));
    };
    const float champion = seen();
    float challenger = seen();
    if (fraud && champion >= 0.5f && unit() < kind.recall_loss) challenger = 0.05f;
    if (!fraud && unit() < kind.alarms) challenger = 0.9f;
    if (fraud && champion < 0.5f && unit() < kind.recall_gain) challenger = 0.9f;
    challenger *= static_cast<float>(kind.scale);
    if (unit() < kind.failures) challenger = kNoProbability;
    ++sequence_;
    Answer answer;
    answer.arm = challenger >= 0 ? challenger_.arm(random_() % 500) : Arm::kChampion;
    answer.score = answer.arm == Arm::kCanary ? challenger : champion;
    answer.other = answer.arm == Arm::kCanary ? champion : challenger;
    if (!challenger_) answer.other = kNoOther;
    decide(config_->policy, answer.arm == Arm::kCanary ? challenger_.thresholds : thresholds_, 1, answer);
    let_through(*config_, features::key_of(static_cast<int64_t>(sequence_)), 1, answer);
    const std::vector<float> row;
    for (Monitor* each : monitors()) each->scored({sequence_, time_us, row, answer, 1, 0});
    waiting_.push_back({sequence_, time_us + 7 * kDay, time_us, fraud, answer});
    for (; !waiting_.empty() && waiting_.front().due_us <= time_us; waiting_.pop_front()) {
      const Waiting& due = waiting_.front();
      if (!went_through(due.answer, Outcome::kUnreported)) continue;
      monitor_->settled({due.sequence, due.time_us, time_us,
                         due.fraud ? Verdict::kFraud : Verdict::kLegitimate, Source::kMatured, false, 1, row,
                         due.answer, 1, 0});
      close(time_us);
    }
    if (i == 0) close(time_us);
  }

  std::array<Monitor*, 2> monitors() { return {&learned_, monitor_.get()}; }

  void close(int64_t now_us) {
    std::vector<JudgementEvent> found;
    const bool new_day = std::exchange(closed_us_, now_us) / kDay != now_us / kDay;
    if (config_->thresholds.learn)
      learned_.close({{sequence_, now_us, sequence_, fold_}, true, new_day}, found);
    monitor_->close({{sequence_, now_us, sequence_, fold_}, true, true}, found);
    for (JudgementEvent& event : found) {
      event.time_us = now_us;
      judgements.push_back(event);
      judge(event);
      most = std::max(most, challenger_.share);
    }
  }

  ConfigPtr config_;
  NoExamples nowhere_;
  Fold fold_;
  std::unique_ptr<Rollout> monitor_;
  ThresholdMonitor learned_;
  Thresholds thresholds_;
  int64_t closed_us_ = 0;
  std::mt19937_64 random_;
  Challenger challenger_;
  std::deque<Waiting> waiting_;
  uint64_t sequence_ = 0;
  int64_t day_ = 0;
};

std::string all_labels_come() {
  return with(handbook_15(), "hides_labels = [\"review\", \"decline\"]", "hides_labels = []");
}
ConfigPtr all_labels() { return must_parse(all_labels_come()); }

TEST(Rollout, AChallengerAsGoodBecomesChampionInSteps) {
  Trial trial(all_labels(), 1);
  trial.begin();
  trial.until_done({}, 60);
  ASSERT_EQ(trial.last(), Action::kPromote) << (trial.judgements.empty() ? "" : trial.judgements.back().text);
  ASSERT_EQ(trial.judgements.size(), 12u);  // 5 %, 15 % ... 95 %, 100 %, champion
  for (size_t i = 0; i < 11; ++i) {
    EXPECT_EQ(trial.judgements[i].action, Action::kCanary);
    EXPECT_EQ(trial.judgements[i].finding, Finding::kSuccessful);
    EXPECT_NEAR(trial.judgements[i].values[0], std::min(0.05 + 0.1 * static_cast<double>(i), 1.0), 1e-9);
  }
  for (size_t i = 1; i < 12; ++i)
    EXPECT_GE(trial.judgements[i].time_us - trial.judgements[i - 1].time_us, kDay / 4);
  // Nobody waits for labels that cannot have come.
  EXPECT_GE(trial.judgements[0].time_us, kStart + 7 * kDay);
}

TEST(Rollout, ALossOfATenthOfRecallIsStoppedBeforeHalf) {
  const int runs = canaries() / 4;
  int stopped = 0, promoted_without = 0;
  for (int run = 0; run < runs; ++run) {
    Trial worse(all_labels(), static_cast<uint64_t>(1000 + run)),
        same(all_labels(), static_cast<uint64_t>(run));
    worse.begin();
    worse.until_done({.recall_loss = 0.1}, 40);
    stopped += worse.last() != Action::kPromote && worse.most < 0.5;
    same.begin();
    same.until_done({}, 40);
    promoted_without += same.last() == Action::kPromote;
  }
  fmt::print(
      "of {} canaries that lose a tenth of recall {} were stopped before half of the entities; of as many "
      "without a difference {} became champion\n",
      runs, stopped, promoted_without);
  EXPECT_GE(stopped, 0.8 * runs);
  EXPECT_GE(promoted_without, 0.9 * runs);
}

// In life what is declined gets no label: the loss shows where the canary answers.
TEST(Rollout, ALossIsFoundWhereDecisionsHideLabels) {
  int found = 0, same_promoted = 0;
  constexpr int kRuns = 6;
  for (int run = 0; run < kRuns; ++run) {
    const ConfigPtr config = must_parse(
        with(handbook_15(), "hides_labels = [\"review\", \"decline\"]", "hides_labels = [\"decline\"]") +
        "[rollout]\nstep_max = \"60d\"\nstart = 0.2\nstep = 0.2\n");
    Trial worse(config, static_cast<uint64_t>(run)), same(config, static_cast<uint64_t>(run));
    worse.begin();
    worse.until_done({.recall_loss = 0.2}, 90);
    found += worse.last() == Action::kAbort && worse.most < 0.5;
    same.begin();
    same.until_done({}, 90);
    same_promoted += same.last() == Action::kPromote;
  }
  EXPECT_GE(found, 5);
  EXPECT_GE(same_promoted, 5);
}

// What reviewers say at once is of what was reviewed, and like nothing else: it waits for its neighbours.
TEST(Rollout, AVerdictCountsOnceItsTransactionIsOfAge) {
  const ConfigPtr config = all_labels();
  NoExamples nowhere;
  Fold fold(config, nowhere, nullptr);
  Rollout monitor(config);
  monitor.model({ModelAction::kChallenger, 1, std::string(32, 'a'), ""}, fold);
  const std::vector<float> row;
  Answer answer;
  answer.score = 0.6f;
  answer.other = 0.7f;
  const auto settle = [&](uint64_t sequence, Verdict verdict, bool corrected, int64_t known_us) {
    monitor.settled({sequence, kStart, known_us, verdict, Source::kAnalyst, corrected, 1, row, answer, 1, 0});
  };
  const auto seen = [&](const char* metric) { return monitor.report()[metric]["transactions"].get<int>(); };
  const auto close = [&](int64_t now_us) {
    std::vector<JudgementEvent> found;
    monitor.close({{9, now_us, 9, fold}, true, true}, found);
  };
  settle(1, Verdict::kLegitimate, false, kStart + kDay);
  settle(1, Verdict::kFraud, true, kStart + 2 * kDay);
  settle(2, Verdict::kLegitimate, false, kStart + 3 * kDay);
  close(kStart + 6 * kDay);
  EXPECT_EQ(seen("log_loss"), 0);
  Rollout restored(config);
  ASSERT_TRUE(restored.restore(monitor.save()));
  EXPECT_EQ(restored.save(), monitor.save());
  close(kStart + 7 * kDay);
  EXPECT_EQ(seen("recall"), 1) << "it had changed its mind";
  EXPECT_EQ(seen("false_positive_rate"), 1);
  settle(2, Verdict::kFraud, true, kStart + 8 * kDay);
  close(kStart + 9 * kDay);
  EXPECT_EQ(seen("log_loss"), 2) << "as it was first";
}

TEST(Rollout, WhatIsSeenAtOnceNeedsNoLabel) {
  Trial failing(all_labels(), 1);
  failing.begin();
  failing.until_done({.failures = 0.02}, 2);
  EXPECT_EQ(failing.last(), Action::kAbort);
  EXPECT_NE(failing.judgements.back().text.find("no probability"), std::string::npos);
  Trial alarming(all_labels(), 1);
  alarming.begin();
  alarming.until_done({.alarms = 0.05}, 5);
  EXPECT_TRUE(alarming.judgements.empty()) << "in the shadow it hinders nobody, and does not leave it";
  JudgementEvent canary;
  canary.action = Action::kCanary;
  canary.target = std::string(32, 'a');
  canary.values[0] = 0.2;
  canary.time_us = alarming.now_us();
  alarming.judge(canary);
  alarming.until_done({.alarms = 0.05}, 2);
  EXPECT_EQ(alarming.last(), Action::kAbort);
  EXPECT_EQ(alarming.judgements.back().finding, Finding::kFailed);
  EXPECT_NE(alarming.judgements.back().text.find("declines or reviews"), std::string::npos);
}

TEST(Rollout, WhatCatchesMuchMoreMayCostALittle) {
  Trial pays(all_labels(), 1), costs(all_labels(), 1);
  pays.begin();
  pays.until_done({.alarms = 0.006, .recall_gain = 1}, 60);
  EXPECT_EQ(pays.last(), Action::kPromote) << (pays.judgements.empty() ? "" : pays.judgements.back().text);
  costs.begin();
  costs.until_done({.alarms = 0.006}, 60);
  EXPECT_EQ(costs.last(), Action::kAbort);
  EXPECT_NE(costs.judgements.back().text.find("false_positive_rate is worse"), std::string::npos);
}

// The same ranking at a tenth of the champion's scores: with thresholds as given it would decline nobody.
TEST(Rollout, AChallengerIsJudgedAtThresholdsOfItsOwn) {
  Trial given(all_labels(), 1), learned(must_parse(all_labels_come() + "[thresholds]\nlearn = true\n"), 1);
  given.begin();
  given.until_done({.scale = 0.9}, 60);
  EXPECT_EQ(given.last(), Action::kAbort);
  learned.day({});
  learned.day({});
  learned.begin();
  learned.until_done({.scale = 0.9}, 60);
  std::string all;
  for (const JudgementEvent& event : learned.judgements) all += event.text + "\n";
  EXPECT_EQ(learned.last(), Action::kPromote) << all;
  const auto own =
      std::ranges::find(learned.judgements, Action::kChallengerThresholds, &JudgementEvent::action);
  ASSERT_NE(own, learned.judgements.end());
  const auto canary = std::ranges::find(learned.judgements, Action::kCanary, &JudgementEvent::action);
  EXPECT_LT(own, canary) << "it answers nobody before";
}

TEST(Rollout, InconclusiveMeansBack) {
  const ConfigPtr config =
      must_parse(all_labels_come() + "[rollout]\nstep_max = \"8d\"\nrecall_margin = 0.001\n");
  Trial trial(config, 1);
  trial.begin();
  trial.until_done({}, 12);
  EXPECT_EQ(trial.last(), Action::kAbort);
  EXPECT_EQ(trial.judgements.back().finding, Finding::kInconclusive);
}

TEST(Rollout, AHandHoldsGoesOnAndDecides) {
  Trial trial(all_labels(), 1);
  trial.begin();
  JudgementEvent hold;
  hold.action = Action::kHoldRollout;
  hold.target = std::string(32, 'a');
  trial.judge(hold);
  for (int i = 0; i < 15; ++i) trial.day({});
  EXPECT_TRUE(trial.judgements.empty());
  trial.restore();
  JudgementEvent half = hold;
  half.action = Action::kCanary;
  half.values[0] = 0.5;
  half.time_us = trial.now_us();
  trial.judge(half);
  EXPECT_NEAR(trial.monitor().report()["share"].get<double>(), 0.5, 1e-9);
  trial.day({});
  EXPECT_TRUE(trial.judgements.empty()) << "it is still held";
  hold.action = Action::kGoOnRollout;
  trial.judge(hold);
  trial.day({});
  ASSERT_FALSE(trial.judgements.empty());
  EXPECT_NEAR(trial.judgements.front().values[0], 0.6, 1e-9);
  trial.restore();
  trial.until_done({}, 10);
  EXPECT_EQ(trial.last(), Action::kPromote);
}

TEST(Rollout, RestoredInTheMiddleItJudgesTheSame) {
  Trial one(all_labels(), 7), other(all_labels(), 7);
  one.begin();
  other.begin();
  for (int i = 0; i < 25; ++i) {
    one.day({});
    other.day({});
    other.restore();
  }
  EXPECT_GE(one.judgements.size(), 10u);
  EXPECT_EQ(one.judgements, other.judgements);
  Rollout damaged(all_labels());
  EXPECT_FALSE(damaged.restore("nonsense"));
}

TEST(Challenger, AnEntityKeepsItsArmWhileTheShareGrows) {
  Challenger first{std::string(32, '1'), learners::make_prior_model({}, 0.01), 0},
      second{std::string(32, '2'), first.model, 0.5};
  EXPECT_EQ(first.arm(7), Arm::kChampion);
  std::map<uint64_t, Arm> before;
  for (const double share : {0.05, 0.15, 0.5, 1.0}) {
    first.share = share;
    int canary = 0;
    for (uint64_t entity = 0; entity < 10'000; ++entity) {
      const Arm arm = first.arm(learners::mix(entity));
      canary += arm == Arm::kCanary;
      const auto found = before.find(entity);
      EXPECT_TRUE(found == before.end() || found->second != Arm::kCanary || arm == Arm::kCanary);
      before[entity] = arm;
    }
    EXPECT_NEAR(canary, 10'000 * share, 150);
  }
  first.share = 0.5;
  int both = 0;
  for (uint64_t entity = 0; entity < 10'000; ++entity)
    both +=
        first.arm(learners::mix(entity)) == Arm::kCanary && second.arm(learners::mix(entity)) == Arm::kCanary;
  EXPECT_NEAR(both, 2500, 200) << "another challenger is tried on others";
}

// A fold with a champion of 0.01 and a challenger of 0.3, and a stream through the scoring path.
class ChallengedFold : public testing::Test {
 protected:
  ChallengedFold() : scoring_(config_, fold_) { transaction_.reset(config_->schema()); }

  Answer score(int64_t customer) {
    transaction_.id = features::key_of(++id_);
    transaction_.time_us = kStart + id_ * 1'000'000;
    for (size_t i = 0; i < config_->schema().fields.size(); ++i) transaction_.values[i] = {true, 1, ""};
    for (const features::EntityKind& kind : config_->schema().entities) {
      for (const size_t field : kind.fields) transaction_.values[field].fixed = customer;
    }
    transaction_.values[config_->schema().id].fixed = id_;
    EXPECT_TRUE(scoring_.take(fold_, transaction_, {}));
    Answer given;
    scoring_.score(
        fold_, [](size_t) { return Scoring::kNoDeadline; },
        [&](size_t, std::span<const float>, const Answer& answer) { given = answer; });
    return given;
  }
  void judge(Action action, double share = 0) {
    JudgementEvent event;
    event.action = action;
    event.target = hash_;
    event.values[0] = share;
    fold_.judgement(event);
  }
  void challenge() {
    fold_.model({ModelAction::kChallenger, 3, hash_, ""}, learners::make_prior_model(config_->columns, 0.3));
  }

  ConfigPtr config_ = must_parse(handbook_15() + "[rollout]\non = true\nentity = \"customer\"\n");
  NoExamples nowhere_;
  Fold fold_{config_, nowhere_, nullptr};
  Scoring scoring_;
  Transaction transaction_;
  int64_t id_ = 0;
  const std::string hash_ = std::string(32, 'c');
};

TEST_F(ChallengedFold, InTheShadowItScoresAndAnswersNobody) {
  EXPECT_EQ(score(1).other, kNoOther);
  challenge();
  const Answer answer = score(1);
  EXPECT_EQ(answer.arm, Arm::kChampion);
  EXPECT_FLOAT_EQ(answer.score, 0.01f);
  EXPECT_FLOAT_EQ(answer.other, 0.3f);
}

TEST_F(ChallengedFold, ACanaryAnswersItsEntitiesAlwaysAndAfterItsEndNobody) {
  challenge();
  judge(Action::kCanary, 0.5);
  std::map<int64_t, Arm> arms;
  int canary = 0;
  for (int i = 0; i < 600; ++i) {
    const int64_t customer = i % 60;
    const Answer answer = score(customer);
    const bool by_canary = answer.arm == Arm::kCanary;
    canary += by_canary;
    EXPECT_FLOAT_EQ(answer.score, by_canary ? 0.3f : 0.01f);
    EXPECT_FLOAT_EQ(answer.other, by_canary ? 0.01f : 0.3f);
    EXPECT_EQ(to_hex(answer.model), by_canary ? hash_ : fold_.champion_hash());
    const auto [found, first] = arms.emplace(customer, answer.arm);
    EXPECT_EQ(found->second, answer.arm) << customer;
  }
  EXPECT_GT(canary, 150);
  EXPECT_LT(canary, 450);
  // Restored, the same entities have the same arms.
  Fold restored(config_, nowhere_, nullptr);
  fold_.save([&](const char* part, const std::string& piece) {
    ASSERT_TRUE(restored.restore(part, piece, [&](const std::string& hash) {
      return hash == hash_ ? fold_.challenger().model : nullptr;
    }));
  });
  EXPECT_EQ(restored.challenger().hash, hash_);
  EXPECT_EQ(restored.challenger().share, 0.5);
  judge(Action::kAbort);
  for (int i = 0; i < 200; ++i) {
    const Answer answer = score(i % 60);
    EXPECT_EQ(answer.arm, Arm::kChampion);
    EXPECT_EQ(answer.other, kNoOther);
  }
}

TEST_F(ChallengedFold, APromotedOneIsChampion) {
  challenge();
  judge(Action::kCanary, 1);
  JudgementEvent promote;
  promote.action = Action::kPromote;
  promote.target = hash_;
  promote.monitor = "rollout";
  const auto change = fold_.change_by(promote);
  ASSERT_TRUE(change);
  // A server that ends after the judgement and before the swap leaves the next one to do it.
  fold_.judgement(promote);
  Fold restored(config_, nowhere_, nullptr);
  fold_.save([&](const char* part, const std::string& piece) {
    ASSERT_TRUE(restored.restore(part, piece, [&](const std::string&) { return fold_.challenger().model; }));
  });
  ASSERT_TRUE(restored.change_awaited());
  EXPECT_EQ(*restored.change_awaited(), promote);
  EXPECT_TRUE(restored.change_by(*restored.change_awaited()));
  fold_.model(change->event, change->model);
  scoring_.models_changed(fold_);
  EXPECT_EQ(fold_.champion_hash(), hash_);
  EXPECT_FALSE(fold_.change_awaited());
  EXPECT_FALSE(fold_.challenger());
  EXPECT_FLOAT_EQ(score(1).score, 0.3f);
  EXPECT_FALSE(fold_.change_by(promote)) << "it is no challenger any more";
}

TEST_F(ChallengedFold, WhatPassesTheGateIsTriedFirst) {
  const ModelEvent accepted{ModelAction::kAccepted, 5, "m", "{}"};
  EXPECT_EQ(fold_.permitted(accepted).action, ModelAction::kAccepted) << "there is no champion yet";
  fold_.model({ModelAction::kAccepted, 0, "cold", "{}"}, learners::make_prior_model(config_->columns, 0.02));
  EXPECT_EQ(fold_.permitted(accepted).action, ModelAction::kAccepted) << "that one has seen no label";
  fold_.model(accepted, learners::make_prior_model(config_->columns, 0.02));
  EXPECT_EQ(fold_.permitted(accepted).action, ModelAction::kChallenger);
  challenge();
  EXPECT_EQ(fold_.permitted(accepted).action, ModelAction::kRejected) << "one is tried already";
  judge(Action::kAbort);
  EXPECT_EQ(fold_.permitted(accepted).action, ModelAction::kChallenger);
  JudgementEvent hold;
  hold.action = Action::kHoldTraining;
  fold_.judgement(hold);
  EXPECT_EQ(fold_.permitted(accepted).action, ModelAction::kRejected);
}

}  // namespace
}  // namespace shrike::engine
