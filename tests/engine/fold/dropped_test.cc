// Columns that are dropped from scoring, and restored: what models, learners and monitors see of them.
#include "engine/fold/dropped.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/fold/fold.h"
#include "engine/fold/scoring.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kDay = 86400;

std::vector<std::string> columns_of(const ConfigPtr& config, std::string_view target) {
  const DroppedColumns dropped(config);
  std::vector<std::string> names;
  const auto columns = dropped.columns_of(target);
  EXPECT_TRUE(columns) << target;
  if (!columns) return names;
  for (const size_t c : *columns) names.push_back(config->columns[c].name);
  return names;
}

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

TEST(DroppedColumns, AFieldIsAllThatIsComputedFromItThroughFiltersAndKeysToo) {
  const ConfigPtr config = must_parse(example("handbook.toml"));
  EXPECT_EQ(columns_of(config, "amount"), std::vector<std::string>{"amount"});
  const auto amount = columns_of(config, "field:amount");
  for (const char* name :
       {"amount", "customer_mean_amount_7d", "customer_amount_ratio", "customer_ratio_max_14d",
        "customer_high_3d", "customer_high_fraud_14d", "terminal_plain_fraud_28d"})
    EXPECT_TRUE(has(amount, name)) << name;
  for (const char* name : {"customer_count_7d", "terminal_risk_1d", "is_night", "terminal_fraud_run"})
    EXPECT_FALSE(has(amount, name)) << name;
  const auto customer = columns_of(config, "field:customer_id");
  EXPECT_TRUE(has(customer, "customer_count_1d") && has(customer, "customer_amount_ratio"));
  EXPECT_FALSE(has(customer, "amount") || has(customer, "terminal_count_1d"));
  EXPECT_TRUE(has(columns_of(config, "field:time"), "is_night"));
}

TEST(DroppedColumns, WhatIsNotKnownIsRefusedWithTheNearestName) {
  const ConfigPtr config = must_parse(handbook_15());
  DroppedColumns dropped(config);
  const auto misspelt = dropped.check("custmer_count_1d", true);
  ASSERT_FALSE(misspelt);
  EXPECT_EQ(misspelt.error().code, ErrorCode::kNotFound);
  EXPECT_NE(misspelt.error().reason.find("did you mean \"customer_count_1d\""), std::string::npos)
      << misspelt.error().reason;
  EXPECT_FALSE(dropped.check("field:transaction_id", true)) << "nothing is computed from it";
  EXPECT_FALSE(dropped.check("amount", false)) << "it is not dropped";
  EXPECT_TRUE(dropped.check("amount", true));
  dropped.drop("amount");
  EXPECT_FALSE(dropped.check("amount", true)) << "it is dropped already";
  EXPECT_TRUE(dropped.check("field:amount", true)) << "not all of it is";
  for (size_t c = 1; c + 1 < config->columns.size(); ++c) dropped.drop(config->columns[c].name);
  const auto last = dropped.check(config->columns.back().name, true);
  ASSERT_FALSE(last);
  EXPECT_NE(last.error().reason.find("no column would be left"), std::string::npos);
  dropped.restore("no_such_column");
  dropped.restore("field:amount");
  EXPECT_FALSE(has(dropped.names(), "amount"));
}

// Its first column is the amount.
struct Seen : ExampleSink {
  std::vector<float> observed, learned, later;  // the first column; and of another one
  void learn(const Example& example) override {
    learned.push_back(example.row[0]);
    later.push_back(example.row[3]);
  }
  void observe(const Key&, std::span<const float> row) override { observed.push_back(row[0]); }
};

struct Arrivals : Watch {
  std::vector<float>* amounts;
  explicit Arrivals(std::vector<float>* into) : amounts(into) {}
  void arrived(const Arrived& one) override { amounts->push_back(one.row[0]); }
  void scored(const Scored&) override {}
  void settled(const Settled&) override {}
  void labelled(const Labelled&) override {}
  void model(const ModelEvent&, const Fold&) override {}
  void close(const Moment&) override {}
  const JudgementEvent* next() const override { return nullptr; }
  void judged(const JudgementEvent&) override {}
  void save(const std::function<void(std::string)>&) const override {}
  tl::expected<void, std::string> restore(std::string_view) override { return {}; }
};

JudgementEvent by_hand(Action action, const std::string& target) {
  JudgementEvent event;
  event.monitor = kOperator;
  event.action = action;
  event.target = target;
  return event;
}

TEST(DroppedColumns, ModelsAndLearnersSeeThemAsMissingAndMonitorsAsTheyCame) {
  const ConfigPtr config = must_parse(with(handbook_15(), "learn = \"auto\"", "learn = \"at_maturity\""));
  ASSERT_EQ(config->columns[0].name, "amount");
  Seen sink;
  std::vector<float> arrived, rows;
  Fold fold(config, sink, nullptr);
  fold.watch(std::make_unique<Arrivals>(&arrived));
  std::vector<float> row(config->columns.size());
  Answer approved;
  approved.decision = approved.wanted = Decision::kApprove;
  for (int64_t day = 0; day < 30; ++day) {
    if (day == 10) fold.judgement(by_hand(Action::kDropFeature, "amount"));
    if (day == 20) fold.judgement(by_hand(Action::kRestoreFeature, "amount"));
    const Transaction t =
        make_transaction(config->schema(), day, day * kDay, 1, 1, 10.0 + static_cast<double>(day));
    fold.answer(fold.fold(t, Clock::kOnTime, row), approved);
    rows.push_back(row[0]);
    EXPECT_FALSE(std::isnan(row[3])) << "no other column is touched";
  }
  for (size_t day = 0; day < 30; ++day) {
    const bool dropped = 10 <= day && day < 20;
    EXPECT_EQ(arrived[day], 10.0f + static_cast<float>(day));
    EXPECT_EQ(std::isnan(rows[day]), dropped) << day;
    EXPECT_EQ(std::isnan(sink.observed[day]), dropped) << day;
  }
  // Day i is learned on day i + 7: missing if it was so then, or when it was scored.
  ASSERT_EQ(sink.learned.size(), 23u);
  for (size_t i = 0; i < sink.learned.size(); ++i) {
    EXPECT_EQ(std::isnan(sink.learned[i]), (10 <= i && i < 20) || (10 <= i + 7 && i + 7 < 20)) << i;
    EXPECT_FALSE(std::isnan(sink.later[i]));
  }
}

// Scores by the amount alone; 0.25 where it is missing.
class ByAmount : public learners::Model {
 public:
  explicit ByAmount(const ConfigPtr& config) : columns_(config->columns) {}
  std::string_view family() const override { return "by_amount"; }
  const std::vector<learners::Column>& columns() const override { return columns_; }
  void score(learners::MatrixView rows, std::span<float> out) const override {
    for (size_t i = 0; i < rows.rows(); ++i) {
      const float amount = rows.row(i)[0];
      out[i] = std::isnan(amount) ? 0.25f : (1 + amount) / 200;
    }
  }
  double explain(std::span<const float>, std::span<double> out) const override {
    std::fill(out.begin(), out.end(), 0);
    return 0;
  }
  double margin(std::span<const float>) const override { return 0; }
  std::string payload() const override { return "by amount"; }

 private:
  std::vector<learners::Column> columns_;
};

TEST(DroppedColumns, ScoresChangeAndACheckpointOnTheWayChangesNothing) {
  const ConfigPtr config = must_parse(handbook_15());
  const learners::ModelPtr model = std::make_shared<ByAmount>(config);
  const std::string hash = learners::content_hash(learners::serialize(*model));
  struct Nowhere : ExampleSink {
    void learn(const Example&) override {}
  } nowhere;
  std::array<std::vector<float>, 3> scores;  // never dropped; dropped; dropped, by a checkpoint
  for (size_t run = 0; run < scores.size(); ++run) {
    auto fold = std::make_unique<Fold>(config, nowhere, nullptr);
    fold->model({ModelAction::kActivated, 0, hash, ""}, model);
    auto scoring = std::make_unique<Scoring>(config, *fold);
    for (int64_t id = 0; id < 300; ++id) {
      if (id == 100 && run > 0) fold->judgement(by_hand(Action::kDropFeature, "field:amount"));
      if (id == 200 && run > 0) fold->judgement(by_hand(Action::kRestoreFeature, "field:amount"));
      if (id == 150 && run == 2) {
        auto restored = std::make_unique<Fold>(config, nowhere, nullptr);
        fold->save([&](const char* part, const std::string& piece) {
          ASSERT_TRUE(restored->restore(
              part, piece, [&](const std::string& wanted) { return wanted == hash ? model : nullptr; }));
        });
        EXPECT_EQ(restored->dropped().names(), fold->dropped().names());
        EXPECT_EQ(restored->dropped().names().size(), 4u);
        fold = std::move(restored);
        scoring = std::make_unique<Scoring>(config, *fold);
      }
      const Transaction t =
          make_transaction(config->schema(), id, id * 600, id % 7, id % 5, static_cast<double>(id % 100));
      ASSERT_TRUE(scoring->take(*fold, t, {}));
      scoring->score(
          *fold, [](size_t) { return Scoring::kNoDeadline; },
          [&](size_t, std::span<const float>, const Answer& answer) { scores[run].push_back(answer.score); });
    }
  }
  EXPECT_EQ(scores[1], scores[2]);
  for (size_t i = 0; i < 300; ++i) {
    const float seen = (1 + static_cast<float>(i % 100)) / 200;
    EXPECT_EQ(scores[0][i], seen);
    EXPECT_EQ(scores[1][i], 100 <= i && i < 200 ? 0.25f : seen) << i;
  }
}

}  // namespace
}  // namespace shrike::engine
