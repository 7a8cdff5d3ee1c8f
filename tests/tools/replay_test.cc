// What `replay`, `evaluate` and `check-config` print, and their exit codes.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "storage/store.h"
#include "tests/tools/support.h"
#include "tools/json.h"

namespace shrike::tools {
namespace {

class ReplayCommand : public CommandTest {
 protected:
  std::string config_ = file("config.toml", kSmallConfig);
};

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(ReplayCommand, SaysWhyNoModelTookOver) {
  const std::string shorter = file("shorter.csv", stream(100, 60));
  EXPECT_EQ(run(add_replay, {"replay", shorter, "--config", config_}), 0) << err;
  EXPECT_TRUE(holds(out, "no model that learned from labels took over")) << out;
  EXPECT_TRUE(holds(out, "10 labels would have come after its end")) << out;
  EXPECT_TRUE(holds(out, "0 examples, 0 of them frauds")) << out;
  // 60 examples are learned: enough for bins and a candidate, too few for the gate.
  const std::string trial = file("trial.csv", stream(84, 3600));
  EXPECT_EQ(run(add_replay, {"replay", trial, "--config", config_, "--json"}), 0) << err;
  EXPECT_TRUE(holds(out, R"("learned":{"examples":60,"frauds":6,)")) << out;
  EXPECT_TRUE(holds(out, "a candidate is on trial still")) << out;
  EXPECT_TRUE(holds(out, R"("corrections":0)")) << out;
  const std::string few = file("few.csv", stream(60, 3600));
  const std::string json = folder_ / "e.json";
  EXPECT_EQ(run(add_evaluate, {"evaluate", few, "--config", config_, "--learner", "linear", "--json", json}),
            0);
  EXPECT_TRUE(holds(out, "its bins are cut at 50 examples, 36 came")) << out;
  EXPECT_TRUE(
      holds(engine::read_file(json), R"("why_no_model":["the learner has seen too little: its bins)"));
  EXPECT_EQ(run(add_evaluate, {"evaluate", few, "--config", config_, "--learner", "linear", "--live"}), 0);
  EXPECT_TRUE(holds(out, "it has not begun")) << out;
}

TEST_F(ReplayCommand, SkippingEndsWithOneAndSaysWhatWasSkipped) {
  std::string text = stream(30, 60);
  for (int i = 0; i < 12; ++i) text += "1,2\n";
  const std::string path = file("bad.csv", text);
  EXPECT_EQ(run(add_replay, {"replay", path, "--config", config_, "-q"}), kBadInput);
  EXPECT_TRUE(holds(err, "bad.csv:32: found 2 columns")) << err;
  EXPECT_EQ(run(add_replay, {"replay", path, "--config", config_, "--on-error", "skip", "-q"}), kNotAllWell);
  EXPECT_TRUE(holds(err, "bad.csv:41: found 2 columns")) << err;
  EXPECT_FALSE(holds(err, "bad.csv:42")) << err;
  EXPECT_TRUE(holds(err, "12 rows were refused and left out; the first 10 are named above")) << err;
  EXPECT_EQ(
      run(add_evaluate, {"evaluate", path, "--config", config_, "--learner", "linear", "--on-error", "skip"}),
      kNotAllWell);
}

TEST_F(ReplayCommand, AnIdThatIsNoneIsSaid) {
  std::string text = "id,time,card,amount,is_fraud\n";
  for (int i = 0; i < 30; ++i) text += std::to_string(i % 3) + ",1700000000,c,5,0\n";
  EXPECT_EQ(run(add_replay, {"replay", file("ids.csv", text), "--config", config_}), 0) << err;
  EXPECT_TRUE(holds(out, "27 of 30 rows have an id that came before")) << out;
  EXPECT_TRUE(holds(out, "let schema.id name a column")) << out;
}

TEST_F(ReplayCommand, ComparesSpansOfDays) {
  std::string text = "id,time,card,amount,is_fraud\n";
  for (int i = 0; i < 400; ++i) {  // 100 a day; amounts are ten times as large from the third day on
    text += std::to_string(i) + "," + std::to_string(1'700'006'400 + i * 864) + ",c" + std::to_string(i % 7) +
            "," + std::to_string((i < 200 ? 1 : 10) * (i % 50 + 1)) + "," + (i % 10 == 0 ? "1" : "0") + "\n";
  }
  const std::string path = file("drift.csv", text);
  EXPECT_EQ(run(add_replay, {"replay", path, "--config", config_, "--compare", "0..1,2..3"}), 0) << err;
  EXPECT_TRUE(holds(out, "days 0..1 against 2..3: 200 and 200 transactions, of which 200 and 200")) << out;
  EXPECT_TRUE(holds(out, "frauds by score; expected calibration error")) << out;
  EXPECT_EQ(run(add_replay, {"replay", path, "--config", config_, "--compare", "0..1,2..3", "--json"}), 0);
  const Json json = Json::parse(out).at("comparison");
  EXPECT_EQ(json.at("spans").at(1).at("first_day"), 2);
  EXPECT_EQ(json.at("spans").at(0).at("sampled"), 200);
  EXPECT_EQ(json.at("columns").size(), 3u);  // two features and the score
  EXPECT_EQ(json.at("columns").at(0).at("column"), "amount");
  EXPECT_EQ(json.at("columns").at(0).at("reading"), "large");
  EXPECT_NEAR(json.at("columns").at(0).at("mean").at(1).get<double>(), 255, 1e-9);
  EXPECT_EQ(run(add_replay, {"replay", path, "--config", config_, "--compare", "0..1,9..", "-q"}), 0);
  EXPECT_TRUE(holds(err, "--compare: days 9.. have no transaction; the stream's days are 0..3")) << err;
  for (const char* wrong : {"0..1", "0..1;2..3", "0..1,3..2", "0..1,2..3,4"}) {
    EXPECT_EQ(run(add_replay, {"replay", path, "--config", config_, "--compare", wrong}), kBadInput);
    EXPECT_TRUE(holds(err, "expected FIRST..LAST,FIRST..LAST such as 30..59,60..90")) << err;
  }
}

TEST_F(ReplayCommand, LearnersAreRankedByDay) {
  const std::string path = file("days.csv", stream(200, 3600));
  const std::string json = folder_ / "e.json", csv = folder_ / "e.csv";
  EXPECT_EQ(run(add_evaluate, {"evaluate", path, "--config", config_, "--learner", "linear", "--learner",
                               "linear", "--json", json, "--csv", csv}),
            0)
      << err;
  const Json results = Json::parse(engine::read_file(json));
  ASSERT_EQ(results.size(), 2u);
  for (const Json& one : results) {
    EXPECT_EQ(one.at("mean_daily_rank"), 1.5);  // they are equal
    EXPECT_GT(one.at("days_best"), 0);
    EXPECT_EQ(one.at("by_day").at(1).at("day"), 1);
  }
  EXPECT_TRUE(holds(engine::read_file(csv), "\nlinear,1,24,")) << engine::read_file(csv);
}

TEST_F(ReplayCommand, AModelThatIsSeveralIsRefused) {
  {
    auto store = storage::Store::open(folder_ / "data", {});
    ASSERT_TRUE(store);
    ASSERT_TRUE((*store)->put_meta("config", kSmallConfig));
    for (const char* hash : {"3f2a", "3f2b"}) ASSERT_TRUE((*store)->put_model(hash, "bytes"));
  }
  EXPECT_EQ(run(add_replay, {"replay", folder_ / "data", "--model", "3f"}), kBadInput);
  EXPECT_TRUE(holds(err, "2 models begin with \"3f\": 3f2a, 3f2b")) << err;
  EXPECT_EQ(run(add_models, {"models", "show", "3f", "--data", folder_ / "data"}), kBadInput);
  EXPECT_TRUE(holds(err, "2 models begin with \"3f\": 3f2a, 3f2b")) << err;
}

TEST_F(ReplayCommand, ColumnsOfCheckConfigAreAsWideAsNames) {
  const std::string name(60, 'n');
  const std::string text = std::string(kSmallConfig) + "\n[[features]]\nname = \"" + name +
                           "\"\naggregate = \"ratio_to_clipped_mean\"\ninput = \"amount\"\nentity = "
                           "\"card\"\nwindows = [\"1h\"]\n";
  EXPECT_EQ(run(add_check_config, {"check-config", file("long.toml", text)}), 0) << err;
  EXPECT_TRUE(holds(out, name + "_1h  ratio_to_clipped_mean  ")) << out;
}

}  // namespace
}  // namespace shrike::tools
