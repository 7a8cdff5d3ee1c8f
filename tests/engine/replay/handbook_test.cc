// The handbook's 15 features, through configuration, CSV, fold and delayed labels, against a brute-force
// computation that knows nothing of windows; and replays that must agree to the bit. On our own simulation
// always, and on the shared quarter when it is there (SHRIKE_HANDBOOK, or shared/ beside the project).
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <random>
#include <unordered_map>

#include "engine/log/recovery.h"
#include "engine/replay/csv.h"
#include "engine/replay/replay.h"
#include "tests/engine/support.h"
#include "tools/simulator.h"

namespace shrike::engine {
namespace {

constexpr int64_t kDay = 86'400;

struct Row {
  int64_t time, customer, terminal;
  double amount;
  int fraud;
};

// By definition, over the whole history of the customer and the terminal. Labels are known 7 days later.
std::vector<double> brute(const std::vector<Row>& rows, const std::vector<size_t>& of_customer,
                          const std::vector<size_t>& of_terminal, size_t now) {
  const Row& r = rows[now];
  std::vector<double> f = {r.amount};
  const int64_t days = r.time / kDay;
  f.push_back((days + 6) % 7 >= 5 ? 1 : 0);  // 2018-04-01 was a Sunday
  f.push_back(r.time % kDay < 7 * 3600 ? 1 : 0);
  std::vector<double> counts, means, terminal_counts, risks;
  for (const int64_t w : {1, 7, 30}) {
    double n = 0, sum = 0, tn = 0, frauds = 0;
    for (const size_t i : of_customer) {
      if (i > now || rows[i].time <= r.time - w * kDay) continue;
      ++n;
      sum += std::round(rows[i].amount * 100);
    }
    for (const size_t i : of_terminal) {
      const int64_t t = rows[i].time;
      if (i >= now || t > r.time - 7 * kDay || t <= r.time - 7 * kDay - w * kDay) continue;
      ++tn;
      frauds += rows[i].fraud;
    }
    counts.push_back(n);
    means.push_back(sum / n / 100);
    terminal_counts.push_back(tn);
    risks.push_back(tn == 0 ? 0 : frauds / tn);
  }
  for (const auto& group : {counts, means, terminal_counts, risks})
    f.insert(f.end(), group.begin(), group.end());
  return f;
}

// Compares a sample of rows; returns how many.
size_t compare(const std::string& path, size_t rows_max, size_t sample) {
  const ConfigPtr config = must_parse(handbook_15());
  auto reader = CsvReader::open(path, config->schema(), true);
  EXPECT_TRUE(reader) << reader.error();
  NoExamples nowhere;
  Fold fold(config, nowhere, nullptr);
  std::vector<Row> rows;
  std::vector<std::vector<float>> features;
  std::deque<std::pair<int64_t, Key>> due;
  std::unordered_map<int64_t, std::vector<size_t>> by_customer, by_terminal;
  Transaction t;
  int label = -1;
  while (rows.size() < rows_max && (*reader)->next(t, label) == CsvReader::Line::kRow) {
    while (!due.empty() && due.front().first <= t.time_us) {
      EXPECT_TRUE(fold.label({due.front().second, Verdict::kFraud, Source::kChargeback, due.front().first}));
      due.pop_front();
    }
    std::vector<float> row(15);
    EXPECT_TRUE(fold.admit(t));
    fold.fold(t, Clock::kOnTime, row);
    if (label == 1) due.emplace_back(t.time_us + 7 * kDay * 1'000'000, t.id);
    by_customer[t.values[2].fixed].push_back(rows.size());
    by_terminal[t.values[3].fixed].push_back(rows.size());
    const int64_t time_s = (t.time_us - config->schema().time_origin_us) / 1'000'000;
    rows.push_back({time_s, t.values[2].fixed, t.values[3].fixed, number(config->schema(), t, 4), label});
    features.push_back(std::move(row));
  }
  std::mt19937 random(1);
  size_t compared = 0;
  for (size_t k = 0; k < sample; ++k) {
    const size_t i = rows.size() < sample ? k % rows.size() : random() % rows.size();
    const auto expected = brute(rows, by_customer[rows[i].customer], by_terminal[rows[i].terminal], i);
    for (size_t c = 0; c < 15; ++c) {
      EXPECT_FLOAT_EQ(features[i][c], static_cast<float>(expected[c]))
          << "row " << i << ", " << config->columns[c].name;
      if (::testing::Test::HasFailure()) return compared;
    }
    ++compared;
  }
  return compared;
}

std::string simulated(const TempDir& dir, int days, int customers) {
  const std::string path = dir / "stream.csv.gz";
  tools::SimulationOptions options;
  options.days = days;
  options.customers = customers;
  options.terminals = customers;
  options.radius = 8;
  options.seed = 3;
  EXPECT_TRUE(tools::write_csv(path, options, nullptr));
  return path;
}

std::string shared_quarter() {
  if (const char* given = std::getenv("SHRIKE_HANDBOOK")) return given;
  const std::string beside = SHRIKE_SOURCE_DIR "/../shared/data/handbook-2018-q2.csv.gz";
  return std::filesystem::exists(beside) ? beside : "";
}

TEST(Handbook, The15FeaturesEqualBruteForce) {
  TempDir dir;
  EXPECT_EQ(compare(simulated(dir, 50, 500), SIZE_MAX, 20'000), 20'000u);
}

TEST(Handbook, The15FeaturesEqualBruteForceOnTheSharedQuarter) {
  const std::string path = shared_quarter();
  if (path.empty()) GTEST_SKIP() << "the shared quarter is not here; set SHRIKE_HANDBOOK to its path";
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "too slow with the sanitizer";
#endif
  EXPECT_EQ(compare(path, SIZE_MAX, 20'000), 20'000u);
}

struct Scores {
  std::vector<std::pair<uint64_t, float>> all;
  std::vector<std::string> models;
};

Scores replay(const std::string& family, const std::string& path, size_t batch,
              std::optional<uint64_t> restore_at, learners::Kernel kernel, const std::string& features = "") {
  learners::use_kernel(kernel);
  CsvReplayOptions options;
  options.batch = batch;
  options.restore_at = restore_at;
  options.label_delay_us = 7 * kDay * 1'000'000;
  Scores scores;
  std::string text =
      with(small_handbook("awaited", "sync"), "family = \"linear\"", "family = \"" + family + "\"");
  if (family == "tails") text = with(text, "bin_sample = 400", "");
  if (family == "half_space") text = with(text, "bin_sample = 400", "window = 500");
  if (family == "ensemble") {
    text = with(text, "bin_sample = 400",
                "linear_bin_sample = 400\nboosting_bin_sample = 400\nforest_bin_sample = 400\nrefresh = 500");
  }
  const ConfigPtr config = must_parse(text + features);
  if (!config) return scores;
  const auto report = replay_csv(config, path, options, [&](const Transaction& t, const Answer& answer, int) {
    scores.all.emplace_back(t.id.low, answer.score);
  });
  EXPECT_TRUE(report) << report.error();
  for (const Swap& swap : report->swaps) scores.models.push_back(swap.event.model);
  learners::use_kernel(learners::Kernel::kAuto);
  return scores;
}

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const learners::FamilyInfo& family : learners::families()) names.push_back(family.name);
  return names;
}

class HandbookFamilies : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Families, HandbookFamilies, ::testing::ValuesIn(family_names()),
                         [](const auto& one) { return one.param; });

void expect_equal(const Scores& again, const Scores& first, size_t batch) {
  ASSERT_EQ(again.all.size(), first.all.size());
  for (size_t i = 0; i < first.all.size(); ++i) {
    ASSERT_EQ(again.all[i].first, first.all[i].first);
    ASSERT_EQ(std::memcmp(&again.all[i].second, &first.all[i].second, sizeof(float)), 0)
        << "row " << i << ", batch " << batch;
  }
  EXPECT_EQ(again.models, first.models);
}

TEST_P(HandbookFamilies, ReplaysAgreeToTheBitWhateverBatchKernelOrRestore) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a replay has one thread";
#endif
  TempDir dir;
  const std::string path = simulated(dir, 35, 400);
  const Scores first = replay(GetParam(), path, 1, std::nullopt, learners::Kernel::kAuto);
  EXPECT_GT(first.all.size(), 20'000u);
  EXPECT_GT(first.models.size(), 3u);
  for (const auto& [batch, restore, kernel] :
       std::vector<std::tuple<size_t, std::optional<uint64_t>, learners::Kernel>>{
           {7, std::nullopt, learners::Kernel::kScalar},
           {512, 12'345, learners::Kernel::kAuto},
           {64, 1, learners::Kernel::kScalar}}) {
    expect_equal(replay(GetParam(), path, batch, restore, kernel), first, batch);
  }
}

TEST(Handbook, ExpressionsAndWhatIsAggregatedOfThemReplayToTheBit) {
  const std::string features = R"toml(
[[features]]
name = "local_hour"
expression = "hour(time, 'Europe/Paris') + weekday(time, 'Europe/Paris') / 8"
[[features]]
name = "curve"
expression = "exp(-amount / 100) * log(1 + amount) + pow(amount, 0.3) + distance_km(amount / 9, 2, 48, customer_id % 90)"
[[features]]
name = "dear"
expression = "if(amount > 1.5 * customer_mean_amount_30d, upper('dear'), 'cheap')"
[[features]]
name = "dear_often"
aggregate = "share_same"
input = "lower(dear)"
entity = "customer"
window = "30d"
[[features]]
name = "dear_runs"
aggregate = "changed"
input = "dear"
entity = "terminal"
[[features]]
name = "trend"
aggregate = "slope"
input = "log(1 + amount)"
entity = "terminal"
window = "7d"
where = "dear == 'cheap' or local_hour < 7"
[[features]]
name = "spread"
aggregate = "decayed_std"
input = "curve"
entity = "customer"
half_life = "3d"
[[features]]
name = "usual"
aggregate = "quantile"
quantile = 0.8
input = "amount"
entity = "customer"
windows = ["14d", "all"]
[[features]]
name = "hours"
aggregate = "entropy"
input = "floor(local_hour)"
entity = "customer"
window = "14d"
)toml";
  TempDir dir;
  const std::string path = simulated(dir, 35, 400);
  const Scores first = replay("linear", path, 1, std::nullopt, learners::Kernel::kAuto, features);
  const Scores without = replay("linear", path, 1, std::nullopt, learners::Kernel::kAuto);
  EXPECT_GT(first.models.size(), 3u);
  EXPECT_NE(first.models, without.models) << "they are learned from";
  for (const auto& [batch, restore] :
       std::vector<std::pair<size_t, std::optional<uint64_t>>>{{7, std::nullopt}, {512, 12'345}, {64, 1}})
    expect_equal(replay("linear", path, batch, restore, learners::Kernel::kScalar, features), first, batch);
}

void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

TEST(Csv, BadLinesAreNumberedAndSkippedOrStopTheReplay) {
  TempDir dir;
  const std::string head = "transaction_id,time,customer_id,terminal_id,amount,is_fraud,scenario\n";
  const std::string path = dir / "bad.csv";
  write(path, head +
                  "1,10,1,1,5.5,0,0\n2,11,1,1,abc,0,0\n3,12,1,1,7,0\n\"4\",13,1,1,\"8.25\",1,0\n4,14,1,1,9,0,"
                  "0\n5,2,x,1,9,0,0\n");
  CsvReplayOptions options;
  std::vector<std::string> notices;
  options.notice = [&](const std::string& text) { notices.push_back(text); };
  const ConfigPtr config = must_parse(handbook_15());
  auto stopped = replay_csv(config, path, options, nullptr);
  ASSERT_FALSE(stopped);
  EXPECT_NE(stopped.error().find("bad.csv:3: amount: found \"abc\""), std::string::npos) << stopped.error();
  notices.clear();
  options.stop_on_error = false;
  const auto skipped = replay_csv(config, path, options, nullptr);
  ASSERT_TRUE(skipped) << skipped.error();
  EXPECT_EQ(skipped->rows, 2u);
  EXPECT_EQ(skipped->skipped, 3u);
  EXPECT_EQ(skipped->duplicates, 1u);
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_NE(notices[0].find("scenario"), std::string::npos);
  const std::vector<std::string>& refusals = skipped->refusals;
  ASSERT_EQ(refusals.size(), 3u);
  EXPECT_NE(refusals[1].find("bad.csv:4: found 6 columns, the header has 7"), std::string::npos)
      << refusals[1];
}

TEST(Csv, BrokenFilesAreSaidSo) {
  TempDir dir;
  const ConfigPtr config = must_parse(handbook_15());
  const auto error = [&](const std::string& path) {
    const auto report = replay_csv(config, path, {}, nullptr);
    EXPECT_FALSE(report);
    return report ? std::string() : report.error();
  };
  EXPECT_NE(error(dir / "none.csv").find("No such file"), std::string::npos);
  write(dir / "empty.csv", "");
  EXPECT_NE(error(dir / "empty.csv").find("empty"), std::string::npos);
  write(dir / "columns.csv", "transaction_id,time,amount,is_fraud\n");
  EXPECT_NE(error(dir / "columns.csv").find("lacks the columns customer_id, terminal_id"), std::string::npos);
  const std::string whole = read_file(simulated(dir, 3, 100));
  write(dir / "cut.csv.gz", whole.substr(0, whole.size() / 2));
  EXPECT_NE(error(dir / "cut.csv.gz").find("truncated"), std::string::npos) << error(dir / "cut.csv.gz");
}

}  // namespace
}  // namespace shrike::engine
