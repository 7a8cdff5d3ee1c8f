// `shrike bench` against a server, as a user runs it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/tools/running.h"
#include "tests/tools/support.h"
#include "tools/bench/report.h"
#include "tools/bench/server_process.h"
#include "tools/json.h"

namespace shrike::tools {
namespace {

const char* const kFreePorts =
    "[sockets]\nscore = \"tcp://127.0.0.1:*\"\nfeedback = \"tcp://127.0.0.1:*\"\nevents = "
    "\"tcp://127.0.0.1:*\"\nqueue_wait = \"1h\"\n[storage]\ndurability = \"async\"\n[deadline]\ndefault = "
    "\"1h\"\n";

// The embedded configuration without a disk to wait for, and with time for everybody: a busy machine refuses
// nobody.
engine::ConfigPtr patient() {
  std::string text = engine::with(kEmbeddedConfig, "durability = \"sync\"", "durability = \"async\"");
  text = engine::with(text, "default = \"100ms\"", "default = \"1h\"");
  return engine::must_parse(engine::with(text, "[sockets]", "[sockets]\nqueue_wait = \"1h\""));
}

class BenchCommand : public CommandTest {
 protected:
  // A busy machine makes the generator late, which is no fault of what is tested here.
  int bench(std::vector<std::string> more) {
    const std::pair<const char*, const char*> usual[] = {
        {"--warm-up", "0.2s"}, {"--echo", "0"}, {"--lag-max-ms", "60000"}};
    for (const auto& [option, value] : usual) {
      if (std::find(more.begin(), more.end(), option) == more.end()) more.insert(more.end(), {option, value});
    }
    more.insert(more.begin(), "bench");
    return run(add_bench, more);
  }
  static std::string at(const Running& server) { return server.at().score + "," + server.at().feedback; }
  Json report() { return from_text(engine::read_file(folder_ / "report.json")); }
  std::string report_path_ = folder_ / "report.json";
};

TEST_F(BenchCommand, WhatIsAnsweredInEitherFormIsInTheServersLog) {
  Running server(patient(), folder_ / "data");
  for (const char* format : {"protobuf", "json"}) {
    ASSERT_EQ(bench({"--server", at(server), "--rate", "500", "--duration", "1s", "--format", format,
                     "--json", report_path_, "--echo", "0.2s"}),
              0)
        << out << err;
    const Json json = report();
    EXPECT_EQ(json["leg"]["arrivals"], 500);
    EXPECT_EQ(json["leg"]["answered"], 500) << out;
    EXPECT_EQ(json["leg"]["mismatched"], 0);
    EXPECT_EQ(json["leg"]["duplicates"], 0);
    EXPECT_EQ(json["server_counted"]["transactions"], 600);  // the warm-up's too
    EXPECT_GE(json["server_status"]["committed_seq"], json["leg"]["sequence_max"]);
    EXPECT_EQ(json["echo"]["answered"], 100);
    EXPECT_NE(out.find("99.900%"), std::string::npos);
  }
}

TEST_F(BenchCommand, LabelsOfAFileFollowAtTheirDelayAndARecordedLogIsSentAgain) {
  const std::string config = file("config.toml", std::string(kSmallConfig) + kFreePorts);
  const std::string data = folder_ / "data";
  {
    Running server(read_config(config), data);
    // 300 rows ten minutes apart, every tenth a fraud, known two hours later.
    ASSERT_EQ(bench({"--server", at(server), "--config", config, "--csv", file("s.csv", stream(300, 600)),
                     "--label-delay", "2h", "--rate", "1000", "--duration", "10s", "--warm-up", "0", "--json",
                     report_path_}),
              0)
        << out << err;
    const Json leg = report()["leg"];
    EXPECT_TRUE(leg["stream_ended"]);
    EXPECT_EQ(leg["answered"], 300);
    EXPECT_EQ(leg["labels"]["sent"], 29);  // the last one's comes after the end
    EXPECT_EQ(leg["labels"]["taken"], 29);
  }
  Running second(read_config(config), folder_ / "second");
  ASSERT_EQ(bench({"--server", at(second), "--config", config, "--log", data, "--rate", "1000", "--warm-up",
                   "0", "--json", report_path_}),
            0)
      << out << err;
  EXPECT_EQ(report()["leg"]["answered"], 300);
  EXPECT_GT(report()["leg"]["labels"]["taken"], 0);
}

TEST_F(BenchCommand, APromiseIsAGate) {
  Running server(patient(), folder_ / "data");
  const std::string easy = file("easy.toml", "rate = 200\n[percentiles_ms]\n50 = 3600000\n");
  EXPECT_EQ(bench({"--server", at(server), "--sla", easy, "--duration", "0.5s"}), 0) << out << err;
  EXPECT_NE(out.find("SLA held"), std::string::npos);
  const std::string hard = file("hard.toml", "rate = 200\n[percentiles_ms]\n50 = 0.000001\n100 = 3600000\n");
  EXPECT_EQ(bench({"--server", at(server), "--sla", hard, "--duration", "0.5s"}), kNotAllWell) << out << err;
  EXPECT_NE(out.find("SLA broken"), std::string::npos);
  const size_t broken = out.find("BROKEN");
  ASSERT_NE(broken, std::string::npos);
  EXPECT_NE(out.rfind("50 %", broken), std::string::npos);
  EXPECT_EQ(out.find("BROKEN", broken + 1), std::string::npos) << out;  // and no other line
}

TEST_F(BenchCommand, ASearchForARateWhereNoneHoldsEndsAtTheLeastAndSaysSo) {
  Running server(patient(), folder_ / "data");
  const std::string hard = file("hard.toml", "rate = 4\n[percentiles_ms]\n50 = 0.000001\n");
  EXPECT_EQ(bench({"--server", at(server), "--sla", hard, "--find-max", "--tries", "1", "--duration", "0.5s",
                   "--warm-up", "0.1s", "--json", report_path_}),
            kNotAllWell)
      << out << err;
  for (const char* rate : {" 4/s ", " 2/s ", " 1/s "}) EXPECT_NE(out.find(rate), std::string::npos) << out;
  EXPECT_NE(out.find("holds " + hard + ": 0/s"), std::string::npos) << out;
  EXPECT_EQ(report()["highest_rate"], 0);
}

TEST_F(BenchCommand, BadUsageIsToldBeforeAnythingStarts) {
  EXPECT_EQ(bench({}), kBadInput);
  EXPECT_NE(err.find("--rate is needed"), std::string::npos) << err;
  EXPECT_EQ(bench({"--rate", "10", "--duration", "soon"}), kBadInput);
  EXPECT_NE(err.find("expected a time such as 30s"), std::string::npos) << err;
  EXPECT_EQ(bench({"--rate", "10", "--find-max"}), kBadInput);
  EXPECT_NE(err.find("--find-max needs --sla"), std::string::npos) << err;
  EXPECT_EQ(bench({"--sla", folder_ / "none.toml"}), kBadInput);
  EXPECT_NE(err.find("no such file"), std::string::npos) << err;
  const std::string config = file("config.toml", std::string(kSmallConfig) + kFreePorts);
  EXPECT_EQ(bench({"--rate", "10", "--server", "tcp://127.0.0.1:1", "--config", config}), kBadInput);
  EXPECT_NE(err.find("the simulator has nothing for the schema's field \"card\""), std::string::npos) << err;
}

TEST(BenchServer, ItsConfigurationDiffersInSocketsDurabilityAndWhoIsTold) {
  const engine::ConfigPtr before =
      engine::must_parse(engine::with(engine::example("handbook.toml"), "[alerts]\n",
                                      "[alerts]\nfile = \"/tmp/alerts.jsonl\"\ncommand = [\"/bin/page\"]\n"));
  EXPECT_FALSE(before->alerts.command.empty());
  const engine::ConfigPtr after = engine::must_parse(bench::config_for_child(*before, "async"));
  EXPECT_EQ(after->sockets.score, "tcp://127.0.0.1:*");
  EXPECT_EQ(after->sockets.events, "tcp://127.0.0.1:*");
  EXPECT_EQ(after->storage.durability, engine::Durability::kAsync);
  EXPECT_TRUE(after->alerts.command.empty());
  EXPECT_EQ(after->alerts.file, "");
  EXPECT_EQ(after->alerts.repeat_us, before->alerts.repeat_us);
  EXPECT_EQ(after->storage.checkpoint_every, before->storage.checkpoint_every);
  EXPECT_EQ(after->schema().fingerprint(), before->schema().fingerprint());
  EXPECT_EQ(after->schema().time_origin_us, before->schema().time_origin_us);
  EXPECT_EQ(after->plan->fingerprint, before->plan->fingerprint);
  EXPECT_EQ(engine::must_parse(bench::config_for_child(*before, ""))->storage.durability,
            before->storage.durability);
}

TEST(BenchReport, CountersAreComparedAndTimesAreNot) {
  const Json before = from_text(R"({"a":1,"steps":{"full":5},"latency_us":{"p50":7}})");
  const Json after = from_text(R"({"a":4,"steps":{"full":5,"static":2},"latency_us":{"p50":9},"text":"x"})");
  EXPECT_EQ(to_text(bench::growth(before, after)), R"({"a":3,"steps":{"static":2}})");
}

TEST(BenchReport, TheChartShowsEverySeriesWithinItsDecades) {
  bench::HdrHistogram fast = bench::times(), slow = bench::times();
  fast.record(20'000, 100);
  slow.record(30'000'000, 100);
  const std::string chart = bench::text_chart({{"fast", 'f', &fast}, {"slow", 's', &slow}});
  EXPECT_NE(chart.find(std::string(61, 's')), std::string::npos) << chart;
  EXPECT_NE(chart.find(std::string(61, 'f')), std::string::npos) << chart;
  EXPECT_NE(chart.find("10.0 us"), std::string::npos) << chart;
  EXPECT_NE(chart.find("100.00 ms"), std::string::npos) << chart;
  const std::string svg = bench::svg_chart({{"fast", 'f', &fast}, {"slow", 's', &slow}}, "title");
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  EXPECT_NE(svg.find(">slow</text>"), std::string::npos);
}

}  // namespace
}  // namespace shrike::tools
