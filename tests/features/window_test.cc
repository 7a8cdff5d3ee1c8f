// Every aggregation against the brute-force model, over random streams with late, same-time and
// duplicate-time events, labels that arrive early, late and are corrected, idle entities, saving and
// restoring in the middle.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>

#include "features/feature_store.h"
#include "tests/features/naive.h"

namespace shrike::features {
namespace {

constexpr int64_t kHour = 3'600'000'000;
constexpr int64_t kLateness = 2 * kHour;
constexpr int64_t kMaturity = 12 * kHour;

Schema test_schema() {
  Schema schema;
  schema.fields = {{"id", FieldType::kInteger, 0, 0, 9e15},
                   {"time", FieldType::kTime},
                   {"card", FieldType::kInteger, 0, 0, 9e15},
                   {"amount", FieldType::kNumber, 2, -1e6, 1e6, true},
                   {"kind", FieldType::kInteger, 0, 0, 100}};
  schema.time = 1;
  schema.amount = 3;
  schema.label = "fraud";
  schema.entities = {{"card", {2}, 1000}};
  return schema;
}

struct Column {
  FeatureSpec spec;
  naive::Question question;
  bool filtered = false;
  bool of_kind = false;  // input is `kind`, else `amount`
};

// Every aggregation over several windows, delays, filters, with and without the current event.
std::vector<Column> all_columns() {
  std::vector<Column> columns;
  int serial = 0;
  for (const AggregateInfo& about : aggregates()) {
    if (!about.of_entity) continue;
    const bool run = about.aggregate == Aggregate::kLabelRun || about.aggregate == Aggregate::kLabelRunAge ||
                     about.aggregate == Aggregate::kLabelRunBefore;
    const bool first = about.aggregate == Aggregate::kTimeSinceFirst;
    const bool newest = about.aggregate == Aggregate::kLast || about.aggregate == Aggregate::kTimeSinceLast ||
                        about.aggregate == Aggregate::kChanged || about.aggregate == Aggregate::kIsNew;
    const bool same = about.aggregate == Aggregate::kIsNew || about.aggregate == Aggregate::kCountSame ||
                      about.aggregate == Aggregate::kShareSame || about.aggregate == Aggregate::kEntropy;
    const bool finite = same || first || about.aggregate == Aggregate::kMode;
    const bool since = about.aggregate == Aggregate::kTimeSinceLabel;
    const bool counts_since = about.aggregate == Aggregate::kCountSinceLabel;
    const bool decays = about.aggregate == Aggregate::kDecayedCount ||
                        about.aggregate == Aggregate::kDecayedMean ||
                        about.aggregate == Aggregate::kDecayedStd;
    const bool clips =
        about.aggregate == Aggregate::kClippedMean || about.aggregate == Aggregate::kRatioToClippedMean;
    const std::vector<int64_t> windows = about.windowed
                                             ? std::vector<int64_t>{kHour, 5 * kHour, 24 * kHour, kForever}
                                             : std::vector<int64_t>{kForever};
    for (const int64_t window : windows) {
      for (const int64_t delay : {int64_t{0}, 3 * kHour}) {
        for (const bool filtered : {false, true}) {
          for (const bool include : {true, false}) {
            if (delay > 0 && (include || clips || decays)) continue;
            if (run && (delay > 0 || include || filtered)) continue;
            if (newest && include) continue;
            if ((since || counts_since) && (include || window == kForever)) continue;
            if (finite && window == kForever) continue;
            if (since && delay > 0) continue;
            Column column;
            column.spec.name = "f" + std::to_string(serial++) + "_" + std::string(about.name);
            column.spec.aggregate = about.aggregate;
            column.spec.entity = "card";
            column.of_kind = same || about.aggregate == Aggregate::kDistinct ||
                             about.aggregate == Aggregate::kChanged || about.aggregate == Aggregate::kMode;
            if (about.wants_input) column.spec.input = column.of_kind ? "kind" : "amount";
            if (about.windowed) column.spec.windows_us = {window};
            column.spec.exact_name = true;
            column.spec.delay_us = delay;
            column.spec.include_current = include;
            column.spec.empty = naive::kNaN;
            if (filtered) column.spec.where = "amount > 20 and kind <= 2";
            column.filtered = filtered;
            const bool age = run ? about.aggregate != Aggregate::kLabelRun
                                 : first || since || about.aggregate == Aggregate::kTimeSinceLast;
            column.spec.calendar_days = age && !include && !filtered;
            column.spec.quantile = 0.9;
            if (decays) column.spec.half_life_us = 4 * kHour;
            column.question = {about.aggregate,
                               window,
                               run || (counts_since && delay == 0) ? kMaturity : delay,
                               include,
                               column.of_kind ? 1.0 : 100.0,
                               2.5,
                               4.0 * kHour,
                               column.spec.calendar_days,
                               column.spec.quantile};
            columns.push_back(column);
          }
        }
      }
    }
  }
  return columns;
}

struct Stream {
  explicit Stream(uint32_t seed, bool late) : random(seed), allow_late(late) {}

  // The next event: mostly in order, at times at the same moment, at times late.
  naive::Event next() {
    const uint32_t dice = random() % 10;
    if (dice < 7) newest += static_cast<int64_t>(random() % (kHour / 2));
    if (dice == 9 && random() % 8 == 0) newest += 30 * kHour;
    int64_t time = newest;
    if (allow_late && dice == 8) time -= static_cast<int64_t>(random() % kLateness);
    naive::Event event{time, order++, static_cast<int64_t>(random() % 3),
                       static_cast<int64_t>(random() % 9000)};
    if (random() % 12 == 0) event.fixed = -500;
    event.present = random() % 10 != 0;
    kind = static_cast<int64_t>(random() % 5);
    event.passes = event.present && event.fixed > 2000 && kind <= 2;
    return event;
  }

  std::mt19937 random;
  bool allow_late;
  int64_t newest = 100 * 24 * kHour;
  uint64_t order = 0;
  int64_t kind = 0;
};

Transaction to_transaction(const Schema& schema, const naive::Event& event, int64_t kind) {
  Transaction t;
  t.reset(schema);
  EXPECT_TRUE(set_integer(schema, 0, static_cast<int64_t>(event.order), t));
  EXPECT_TRUE(set_integer(schema, 1, event.time_us / 1'000'000, t));
  t.values[1].fixed = event.time_us;
  EXPECT_TRUE(set_integer(schema, 2, event.entity, t));
  if (event.present) {
    EXPECT_TRUE(set_number(schema, 3, static_cast<double>(event.fixed) / 100, t));
  }
  EXPECT_TRUE(set_integer(schema, 4, kind, t));
  EXPECT_TRUE(finish(schema, t));
  return t;
}

std::shared_ptr<const Plan> make_plan(const std::vector<Column>& columns, size_t entities_max = 1000) {
  Schema schema = test_schema();
  schema.entities[0].entities_max = entities_max;
  std::vector<FeatureSpec> specs;
  for (const Column& column : columns) specs.push_back(column.spec);
  auto plan = compile(
      schema, specs, {.lateness_us = kLateness, .maturity_us = kMaturity, .forget_after_us = 10'000 * kHour});
  EXPECT_TRUE(plan) << plan.error().field << ": " << plan.error().reason;
  return std::make_shared<const Plan>(std::move(*plan));
}

void compare_streams(uint32_t seed, bool late, int events) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  const std::vector<Column> columns = all_columns();
  const auto plan = make_plan(columns);
  auto store = std::make_unique<FeatureStore>(plan);
  Stream stream(seed, late);
  std::vector<naive::Event> all, all_of_kind;
  std::vector<Subject> subjects;
  std::vector<float> row(plan->columns.size());
  for (int i = 0; i < events; ++i) {
    const naive::Event event = stream.next();
    naive::Event of_kind = event;
    of_kind.fixed = stream.kind;
    of_kind.present = true;
    all.push_back(event);
    all_of_kind.push_back(of_kind);
    const Transaction transaction = to_transaction(plan->schema, event, stream.kind);
    store->apply(transaction, event.order, row);
    Subject subject;
    store->subject(transaction, event.order, subject);
    subjects.push_back(subject);
    for (size_t c = 0; c < columns.size(); ++c) {
      std::vector<naive::Event> seen = columns[c].of_kind ? all_of_kind : all;
      naive::Event now = seen.back();
      if (!columns[c].filtered) {
        for (naive::Event& e : seen) e.passes = true;
        now.passes = true;
      }
      const double expected = naive::answer(columns[c].question, seen, now);
      const bool rounds = columns[c].question.aggregate == Aggregate::kDecayedCount ||
                          columns[c].question.aggregate == Aggregate::kDecayedMean ||
                          columns[c].question.aggregate == Aggregate::kDecayedStd ||
                          columns[c].question.aggregate == Aggregate::kEntropy ||
                          columns[c].question.aggregate == Aggregate::kSlope;
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(row[c])) << columns[c].spec.name << " event " << i << " is " << row[c];
      } else if (rounds) {
        ASSERT_NEAR(row[c], expected, 1e-5 * (1 + std::fabs(expected)))
            << columns[c].spec.name << " event " << i;
      } else {
        ASSERT_FLOAT_EQ(row[c], static_cast<float>(expected)) << columns[c].spec.name << " event " << i;
      }
    }
    // Labels: at any age, at times corrected.
    while (stream.random() % 2 == 0) {
      const size_t at = all.size() - 1 - stream.random() % std::min<size_t>(all.size(), 60);
      // A label whose event may have left the ring changes nothing there; keep to what the ring holds.
      if (stream.newest - all[at].time_us > 20 * kHour) break;
      const int verdict = static_cast<int>(stream.random() % 5);
      if (verdict > 1) {  // nothing is known of it, and at times silence tells nothing
        all[at].label = all_of_kind[at].label = verdict == 4 ? -1 : naive::kHidden;
        verdict == 4 ? store->label(subjects[at], Verdict::kUnknown) : store->hide(subjects[at]);
        continue;
      }
      all[at].label = all_of_kind[at].label = verdict;
      store->label(subjects[at], verdict == 1 ? Verdict::kFraud : Verdict::kLegitimate);
    }
    if (i % 97 == 96) {  // through a save and a restore
      std::vector<std::string> pieces;
      store->save([&](std::string piece) { pieces.push_back(std::move(piece)); });
      auto restored = std::make_unique<FeatureStore>(plan);
      for (const std::string& piece : pieces) ASSERT_TRUE(restored->restore(piece));
      store = std::move(restored);
    }
  }
}

TEST(Window, EveryAggregationEqualsBruteForceInOrder) {
  for (uint32_t seed = 1; seed <= 3; ++seed) compare_streams(seed, false, 250);
}

TEST(Window, EveryAggregationEqualsBruteForceWhenEventsArriveLate) {
  for (uint32_t seed = 11; seed <= 14; ++seed) compare_streams(seed, true, 250);
}

RC_GTEST_PROP(Window, EqualsBruteForceForAnySeed, (uint32_t seed)) {
  compare_streams(seed, seed % 2 == 0, 12);
  RC_ASSERT(!::testing::Test::HasFailure());
}

TEST(Window, AFeatureOfAFeatureIsFrozenAtItsEvent) {
  FeatureSpec ratio{.name = "ratio",
                    .aggregate = Aggregate::kRatioToMean,
                    .entity = "card",
                    .input = "amount",
                    .windows_us = {kForever},
                    .exact_name = true};
  FeatureSpec top{.name = "top",
                  .aggregate = Aggregate::kMax,
                  .entity = "card",
                  .input = "ratio",
                  .windows_us = {24 * kHour},
                  .exact_name = true};
  FeatureSpec often{.name = "often",
                    .aggregate = Aggregate::kCount,
                    .entity = "card",
                    .windows_us = {24 * kHour},
                    .exact_name = true,
                    .where = "ratio > 2.3"};
  const std::vector<Column> columns = {{ratio, {}}, {top, {}}, {often, {}}};
  const auto plan = make_plan(columns);
  FeatureStore store(plan);
  std::vector<float> row(3);
  const double amounts[] = {10, 10, 40, 10, 90};
  const double ratios[] = {naive::kNaN, 1, 4, 0.5, 90 / 17.5};
  double best = 0;
  int above = 0;
  for (int i = 0; i < 5; ++i) {
    naive::Event event{(1000 + i) * kHour, static_cast<uint64_t>(i), 1,
                       static_cast<int64_t>(amounts[i] * 100)};
    store.apply(to_transaction(plan->schema, event, 1), event.order, row);
    if (i > 0) {
      best = std::max(best, ratios[i]);
      above += ratios[i] > 2.3;
      EXPECT_NEAR(row[0], ratios[i], 1e-6);
      EXPECT_NEAR(row[1], best, 1e-6);
      EXPECT_EQ(row[2], above);
    }
  }
}

TEST(Window, AtTheBoundTheEntityIdleForLongestIsForgotten) {
  FeatureSpec count{.name = "n",
                    .aggregate = Aggregate::kCount,
                    .entity = "card",
                    .windows_us = {kForever},
                    .exact_name = true};
  const auto plan = make_plan({{count, {}}}, 2);
  FeatureStore store(plan);
  float row[1];
  const int64_t cards[] = {1, 2, 1, 3, 1, 2};
  const float expected[] = {1, 1, 2, 1, 3, 1};  // 3 pushes out 2; 2 comes back as new
  for (size_t i = 0; i < 6; ++i) {
    naive::Event event{1000 * kHour + static_cast<int64_t>(i), i, cards[i], 100};
    store.apply(to_transaction(plan->schema, event, 1), i, row);
    EXPECT_EQ(row[0], expected[i]) << i;
  }
  EXPECT_EQ(store.stats()[0].entities, 2u);
  EXPECT_EQ(store.stats()[0].forgotten_at_bound, 2u);
}

TEST(Window, AnIdleEntityIsDroppedOnceItsWindowsAreEmpty) {
  FeatureSpec count{.name = "n",
                    .aggregate = Aggregate::kCount,
                    .entity = "card",
                    .windows_us = {kHour},
                    .exact_name = true};
  const auto plan = make_plan({{count, {}}});
  FeatureStore store(plan);
  float row[1];
  for (size_t i = 0; i < 100; ++i) {
    naive::Event event{1000 * kHour + static_cast<int64_t>(i) * kHour, i, static_cast<int64_t>(i), 100};
    store.apply(to_transaction(plan->schema, event, 1), i, row);
  }
  EXPECT_LE(store.stats()[0].entities, 5u);
}

std::string saved(const FeatureStore& store) {
  std::string all;
  store.save([&](std::string piece) { all += piece; });
  return all;
}

TEST(Window, APeekLeavesNoTrace) {
  const std::vector<Column> columns = all_columns();
  const auto plan = make_plan(columns);
  for (uint32_t seed = 21; seed <= 23; ++seed) {
    FeatureStore store(plan), untouched(plan);
    Stream stream(seed, true);
    std::vector<float> row(columns.size()), other(columns.size()), peeked(columns.size());
    for (int i = 0; i < 300; ++i) {
      const naive::Event event = stream.next();
      const Transaction transaction = to_transaction(plan->schema, event, stream.kind);
      store.apply(transaction, event.order, row);
      untouched.apply(transaction, event.order, other);
      ASSERT_EQ(0, std::memcmp(row.data(), other.data(), row.size() * sizeof(float))) << i;
      naive::Event stray = event;
      stray.entity = static_cast<int64_t>(stream.random() % 5);  // two of them never seen
      stray.time_us = stream.newest + (i % 2 == 0 ? 400 * kHour : -400 * kHour);
      store.peek(to_transaction(plan->schema, stray, stream.kind), stream.newest, i % 2 == 0, peeked);
      if (i % 4 != 0) continue;
      Subject subject;
      store.subject(transaction, event.order, subject);
      store.label(subject, Verdict::kFraud);
      untouched.label(subject, Verdict::kFraud);
    }
    EXPECT_EQ(saved(store), saved(untouched));
  }
}

TEST(Window, APeekSeesWhatAnEventNowWouldSee) {
  const std::vector<Column> columns = all_columns();
  const auto plan = make_plan(columns);
  FeatureStore store(plan);
  Stream stream(31, true);
  std::vector<float> row(columns.size()), peeked(columns.size());
  for (int i = 0; i < 300; ++i) {
    naive::Event event = stream.next();
    event.time_us = stream.newest;
    const Transaction transaction = to_transaction(plan->schema, event, stream.kind);
    naive::Event stray = event;
    stray.time_us -= 300 * kHour;
    store.peek(to_transaction(plan->schema, stray, stream.kind), stream.newest, false, peeked);
    store.apply(transaction, event.order, row);
    ASSERT_EQ(0, std::memcmp(row.data(), peeked.data(), row.size() * sizeof(float))) << i;
  }
}

// A card with thousands of events in its windows, some of which come late by hundreds or thousands of others,
// beside the same stream in order: between, labels of any age, and saving and restoring.
void compare_crowded(uint32_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  const auto plan = make_plan(all_columns());
  auto late = std::make_unique<FeatureStore>(plan);
  FeatureStore in_order(plan);
  std::mt19937 random(seed);
  std::vector<float> row(plan->columns.size()), expected(row.size());
  std::vector<Subject> subjects;
  int64_t time = 2000 * kHour;
  uint64_t order = 0;
  for (int segment = 0; segment < 12; ++segment) {
    time += static_cast<int64_t>(random() % (16 * kHour / 1000)) * 1000;
    std::vector<Transaction> all, held;
    const size_t length = 50 + random() % (FeatureStore::kExactEvents - 50);
    const int64_t step = kLateness / static_cast<int64_t>(length) - 1;
    const uint32_t hold = 200 + random() % 2000;
    for (size_t i = 0; i < length; ++i, ++order) {
      time += 1 + static_cast<int64_t>(random()) % step;
      const naive::Event event{time, order, 1, static_cast<int64_t>(random() % 9000) - 500,
                               random() % 10 != 0};
      all.push_back(to_transaction(plan->schema, event, static_cast<int64_t>(random() % 5)));
      Subject& subject = subjects.emplace_back();
      late->subject(all.back(), order, subject);
      in_order.apply(all.back(), order, expected);
      if (i + 1 < length && (i == 0 || random() % hold == 0)) {
        held.push_back(all.back());
      } else {
        late->apply(all.back(), order, row);
      }
    }
    std::shuffle(held.begin(), held.end(), random);
    const uint64_t first = order - length;
    for (const Transaction& transaction : held) {
      const auto id = static_cast<uint64_t>(transaction.values[0].fixed);
      ASSERT_GE(id, first);
      late->apply(transaction, id, row);
    }
    for (int i = 0; i < 300; ++i) {
      const Subject& subject =
          subjects[subjects.size() - 1 - random() % std::min<size_t>(subjects.size(), 9000)];
      const uint32_t verdict = random() % 6;
      for (FeatureStore* store : {late.get(), &in_order}) {
        if (verdict == 5) {
          store->hide(subject);
        } else {
          store->label(subject, verdict < 3   ? Verdict::kLegitimate
                                : verdict < 4 ? Verdict::kFraud
                                              : Verdict::kUnknown);
        }
      }
    }
    if (segment % 5 == 4) {
      auto restored = std::make_unique<FeatureStore>(plan);
      late->save([&](std::string piece) { ASSERT_TRUE(restored->restore(piece)); });
      late = std::move(restored);
    }
    const naive::Event next{++time, order, 1, 4000};
    const Transaction transaction = to_transaction(plan->schema, next, 1);
    in_order.apply(transaction, order, expected);
    late->apply(transaction, order, row);
    late->subject(transaction, order++, subjects.emplace_back());
    for (size_t c = 0; c < row.size(); ++c) {
      ASSERT_EQ(0, std::memcmp(&row[c], &expected[c], sizeof(float)))
          << plan->columns[c] << " segment " << segment << ": " << row[c] << ", not " << expected[c];
    }
    ASSERT_EQ(saved(*late), saved(in_order)) << "segment " << segment;
  }
}

TEST(Window, LateToACrowdedEntityEqualsInOrder) {
  for (uint32_t seed = 1; seed <= 3; ++seed) compare_crowded(seed);
}

// One card with more events than may be newer than a late one.
class Crowded : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int i = 0; i < kEvents; ++i) apply(i, kStart + i * kStep);
  }
  void apply(int id, int64_t time_us) {
    const naive::Event event{time_us, static_cast<uint64_t>(id), 1, 100 * (id * 7919 % 1000)};
    transaction_ = to_transaction(plan_->schema, event, id % 5);
    store_.apply(transaction_, event.order, row_);
  }
  float column(Aggregate aggregate, int64_t window_us) const {
    for (size_t c = 0; c < columns_.size(); ++c) {
      const Column& column = columns_[c];
      if (column.spec.aggregate == aggregate && column.question.window_us == window_us &&
          column.question.delay_us == 0 && column.question.include && !column.filtered)
        return row_[c];
    }
    return NAN;
  }

  static constexpr int kEvents = 3 * static_cast<int>(FeatureStore::kExactEvents);
  static constexpr int64_t kStart = 2000 * kHour, kStep = kHour / 3600;
  const std::vector<Column> columns_ = all_columns();
  std::shared_ptr<const Plan> plan_ = make_plan(columns_);
  FeatureStore store_{plan_};
  std::vector<float> row_ = std::vector<float>(columns_.size());
  Transaction transaction_;
};

TEST_F(Crowded, AnEventThatIsTooLateJoinsAsTheNewest) {
  const float before = column(Aggregate::kCount, kHour);
  apply(kEvents, kStart + (kEvents - 5000) * kStep);
  EXPECT_EQ(column(Aggregate::kCount, kHour), before + 1);
  Subject subject;
  store_.subject(transaction_, kEvents, subject);
  apply(kEvents + 1, kStart + kEvents * kStep);
  EXPECT_EQ(column(Aggregate::kCount, kHour), before + 1);  // one second has left
  // A label finds it where it joined.
  float frauds = 0;
  const auto count_frauds = [&] {
    for (size_t c = 0; c < columns_.size(); ++c) {
      if (columns_[c].spec.aggregate == Aggregate::kLabelCount &&
          columns_[c].question.window_us == 24 * kHour && columns_[c].question.delay_us == 0 &&
          !columns_[c].question.include && !columns_[c].filtered)
        frauds = row_[c];
    }
  };
  count_frauds();
  EXPECT_EQ(frauds, 0);
  store_.label(subject, Verdict::kFraud);
  apply(kEvents + 2, kStart + (kEvents + 1) * kStep);
  count_frauds();
  EXPECT_EQ(frauds, 1);
}

TEST_F(Crowded, APeekLeavesNoTrace) {
  const std::string before = saved(store_);
  std::vector<float> peeked(columns_.size());
  naive::Event stray{1, 1, 1, 5000};
  store_.peek(to_transaction(plan_->schema, stray, 2), kStart + 2 * kEvents * kStep, false, peeked);
  EXPECT_EQ(saved(store_), before);
  // Windows too, which are not saved.
  FeatureStore restored(plan_);
  store_.save([&](std::string piece) { EXPECT_TRUE(restored.restore(piece)); });
  std::vector<float> row(columns_.size());
  apply(kEvents, kStart + kEvents * kStep);
  restored.apply(transaction_, kEvents, row);
  EXPECT_EQ(0, std::memcmp(row.data(), row_.data(), row.size() * sizeof(float)));
}

TEST(Window, AWholeHistoryDoesNotGrow) {
  FeatureSpec median{.name = "median",
                     .aggregate = Aggregate::kMedian,
                     .entity = "card",
                     .input = "amount",
                     .windows_us = {kForever},
                     .exact_name = true};
  FeatureSpec distinct{.name = "distinct",
                       .aggregate = Aggregate::kDistinct,
                       .entity = "card",
                       .input = "amount",
                       .windows_us = {kForever},
                       .exact_name = true};
  const auto plan = make_plan({{median, {}}, {distinct, {}}});
  FeatureStore store(plan);
  float row[2];
  size_t after_half_a_year = 0;
  for (int i = 0; i < 365 * 24; ++i) {
    naive::Event event{(1000 + i) * kHour, static_cast<uint64_t>(i), 1, 100 * (i * 7919 % 2000)};
    store.apply(to_transaction(plan->schema, event, 1), event.order, row);
    if (i == 183 * 24) after_half_a_year = store.stats()[0].bytes;
    if (i < 512) {
      EXPECT_EQ(row[1], static_cast<float>(i + 1));
    }
    if (i % 1000 != 999) continue;
    // Saved and restored it goes on to the same bits.
    FeatureStore restored(plan);
    store.save([&](std::string piece) { ASSERT_TRUE(restored.restore(piece)); });
    EXPECT_EQ(saved(restored), saved(store));
  }
  EXPECT_LE(store.stats()[0].bytes, after_half_a_year);
  EXPECT_LE(store.stats()[0].bytes, 40'000u);
  EXPECT_NEAR(row[0], 1000, 250);
  EXPECT_NEAR(row[1], 2000, 400);
}

TEST(Window, TooManyWindowsAreRefused) {
  FeatureSpec count{.name = "n", .aggregate = Aggregate::kCount, .entity = "card"};
  for (int64_t i = 1; i <= 70'000; ++i) count.windows_us.push_back(i * 1'000'000);
  EXPECT_FALSE(compile(test_schema(), {count}, {.lateness_us = kLateness}));
  std::vector<FeatureSpec> specs;
  for (int i = 0; i < 9000; ++i)
    specs.push_back({.name = "n" + std::to_string(i), .aggregate = Aggregate::kHourOfDay});
  const auto plan = compile(test_schema(), specs, {.lateness_us = kLateness});
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().reason.find("features"), std::string::npos);
}

TEST(Window, DamagedStateIsRefused) {
  const auto plan = make_plan(all_columns());
  FeatureStore store(plan);
  std::vector<float> row(plan->columns.size());
  Stream stream(5, false);
  for (int i = 0; i < 50; ++i) {
    const naive::Event event = stream.next();
    store.apply(to_transaction(plan->schema, event, stream.kind), event.order, row);
  }
  std::string piece;
  store.save([&](std::string bytes) { piece = std::move(bytes); });
  EXPECT_FALSE(FeatureStore(plan).restore(piece.substr(0, piece.size() / 2)));
  EXPECT_FALSE(FeatureStore(plan).restore("nonsense"));
  FeatureSpec other{.name = "n", .aggregate = Aggregate::kCount, .entity = "card", .windows_us = {kHour}};
  EXPECT_FALSE(FeatureStore(make_plan({{other, {}}})).restore(piece));
}

}  // namespace
}  // namespace shrike::features
