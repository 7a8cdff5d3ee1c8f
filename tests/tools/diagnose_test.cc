// `shrike diagnose` on two months of the simulator's stream with a fault put in: is the fault ranked first?
#include <gtest/gtest.h>

#include <algorithm>
#include <queue>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/serve/server.h"
#include "learners/learner.h"
#include "tests/tools/recorder.h"
#include "tests/tools/support.h"
#include "tools/client.h"
#include "tools/json.h"
#include "tools/simulator.h"

namespace shrike::tools {
namespace {

using engine::Decision;
using engine::Source;

constexpr int64_t kDayS = 86400;
constexpr int kDays = 58, kFaultDay = 51, kModelDay = 47;

enum class Fault { kNone, kBrokenAmount, kPoisonedCustomers, kBadModel };

std::string config_text(const std::string& more = "") {
  std::string text = engine::small_handbook("awaited", "async");
  text = engine::with(text, "[policy]", "[rollback]\non = false\n" + more + "[policy]");
  return engine::with(text, "[learner]", "[machine]\nevery = \"0s\"\n[learner]");
}

// A linear model of labels turned round: what is small is fraud.
learners::ModelPtr turned_round(const engine::ConfigPtr& config) {
  auto learner = learners::make_learner("linear", config->training.options, config->columns, 3);
  EXPECT_TRUE(learner);
  const size_t width = config->columns.size();
  Random random(9);
  for (uint64_t i = 0; i < 5000; ++i) {
    std::vector<float> row(width, 0);
    row[0] = static_cast<float>(random.uniform(1, 150));
    const float label = row[0] < 40 ? 1 : 0, weight = 1;
    (*learner)->partial_fit({row, width}, {&label, 1}, {&weight, 1}, {&i, 1});
  }
  return (*learner)->snapshot();
}

// What people say of a transaction, and when.
struct Said {
  int64_t time_us;
  engine::Key transaction;
  bool fraud;
  Source source;
  bool operator<(const Said& other) const { return time_us > other.time_us; }
};

// Frauds that go through come back as chargebacks, a third from customers; reviewers say what they find.
std::optional<Said> say(const SimulatedTransaction& t, const engine::Transaction& sent, Decision decision,
                        Fault fault, Random& random) {
  const double dice = random.uniform(), wait = -std::log(1 - random.uniform());
  const auto after = [&](double days) {
    return sent.time_us + static_cast<int64_t>(days * wait * static_cast<double>(features::kDayUs));
  };
  const bool lies = fault == Fault::kPoisonedCustomers && t.time_s >= kFaultDay * kDayS && dice < 0.02;
  if (decision != Decision::kApprove) return Said{after(0.5), sent.id, t.is_fraud != 0, Source::kAnalyst};
  if (t.is_fraud != 0)
    return dice < 0.33 ? Said{after(0.5), sent.id, true, Source::kCustomer}
                       : Said{after(2), sent.id, true, Source::kChargeback};
  if (lies) return Said{after(0.5), sent.id, true, Source::kCustomer};
  return std::nullopt;
}

void record(const engine::ConfigPtr& config, const std::string& dir, Fault fault) {
  Recorder recorder(config, dir);
  Simulator simulator({.days = kDays, .seed = 4, .customers = 500, .terminals = 1000});
  Random random(5);
  std::priority_queue<Said> waiting;
  std::vector<SimulatedTransaction> day;
  recorder.event(engine::StartEvent{.time_us = 1, .version = "0.1", .config = 1, .folded = 0});
  for (int64_t d = 0; simulator.next_day(day); ++d) {
    if (d == kModelDay && fault == Fault::kBadModel) {
      recorder.activate(turned_round(config));
      recorder.stop_training();
    }
    for (const SimulatedTransaction& t : day) {
      const bool broken = fault == Fault::kBrokenAmount && d >= kFaultDay;
      const engine::Transaction sent =
          engine::make_transaction(config->schema(), t.id, t.time_s, t.customer, t.terminal,
                                   broken ? 0 : static_cast<double>(t.amount_cents) / 100);
      while (!waiting.empty() && waiting.top().time_us <= sent.time_us) {
        const Said said = waiting.top();
        waiting.pop();
        recorder.label(said.transaction, said.fraud, said.source, said.time_us);
      }
      const engine::Answer answer = recorder.transact(sent);
      if (const auto said = say(t, sent, answer.decision, fault, random)) waiting.push(*said);
    }
  }
}

class DiagnoseCommand : public CommandTest {
 protected:
  // The report in JSON; `code` of the command.
  Json diagnose(const std::string& dir, std::vector<std::string> more, int* code = nullptr) {
    std::vector<std::string> arguments = {"diagnose", dir, "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const int got = run(add_diagnose, arguments);
    if (code != nullptr) *code = got;
    const Json report = from_text(out.substr(out.find("{\"from\"")));  // the log's lines come before
    EXPECT_TRUE(report.is_object()) << out << err;
    return report;
  }
  std::string recorded(Fault fault) {
    const std::string dir = folder_ / "data";
    record(engine::must_parse(config_text()), dir, fault);
    return dir;
  }
  static std::string names(const Json& report) {
    std::string all;
    for (const Json& cause : report["causes"])
      all += fmt::format("{} {} {:.2f}; ", cause["kind"].get<std::string>(),
                         cause["subject"].get<std::string>(), cause["score"].get<double>());
    return all;
  }
};

TEST_F(DiagnoseCommand, NothingIsProbableWhereNothingIsWrong) {
  int code = -1;
  const Json report = diagnose(recorded(Fault::kNone), {}, &code);
  EXPECT_EQ(code, 0) << names(report);
  for (const Json& cause : report["causes"]) EXPECT_FALSE(cause["probable"].get<bool>()) << cause;
  for (const char* part :
       {"inputs", "performance", "labels", "models", "importance", "infrastructure", "monitors", "in_force"})
    EXPECT_TRUE(report[part]["examined"].get<bool>()) << part << report[part];
  EXPECT_EQ(report["from"], "2018-05-15");
  EXPECT_EQ(report["to"], "2018-05-28");
}

TEST_F(DiagnoseCommand, ABrokenFeedIsFirstAndDroppedAndRestoredOnARunningServer) {
  const std::string dir = recorded(Fault::kBrokenAmount);
  int code = -1;
  const Json report = diagnose(dir, {}, &code);
  EXPECT_EQ(code, kNotAllWell);
  ASSERT_FALSE(report["causes"].empty());
  const Json& first = report["causes"][0];
  EXPECT_EQ(first["kind"], "broken_feed") << names(report);
  EXPECT_EQ(first["subject"], "field:amount");
  EXPECT_EQ(first["first_day"], "2018-05-22");
  EXPECT_TRUE(first["goes_on"].get<bool>());

  // Without a server each remedy that is not done is told, and the diagnosis stands.
  const Json alone = diagnose(dir, {"--fix", "--endpoint", "ipc://" + (folder_ / "nobody")}, &code);
  EXPECT_EQ(code, kFailed);
  ASSERT_FALSE(alone["fixes"].empty());
  EXPECT_FALSE(alone["fixes"][0]["done"].get<bool>());

  auto server = engine::Server::open(engine::must_parse(config_text()), dir);
  ASSERT_TRUE(server) << server.error();
  std::thread serving([&] { (*server)->run(); });
  const std::string feedback = (*server)->endpoints().feedback;
  const auto dropped = [&] {
    return from_text(*Client::ask(feedback, R"({"command":"status"})", 10'000))["dropped"];
  };
  EXPECT_TRUE(dropped().empty());
  const Json fixed = diagnose(dir, {"--fix", "--endpoint", feedback}, &code);
  ASSERT_FALSE(fixed["fixes"].empty());
  EXPECT_TRUE(fixed["fixes"][0]["done"].get<bool>()) << fixed["fixes"];
  EXPECT_EQ(dropped(), Json({"amount", "customer_mean_amount_1d", "customer_mean_amount_7d",
                             "customer_mean_amount_30d"}));
  EXPECT_EQ(
      fixed["fixes"][0]["undo"].get<std::string>().rfind("shrike judge restore_feature field:amount", 0), 0u);
  EXPECT_EQ(run(add_judge, {"judge", "drop_feature", "amuont", "--why", "w", "--endpoint", feedback}),
            kNotAllWell);
  EXPECT_NE(out.find("did you mean \\\"amount\\\""), std::string::npos) << out;
  EXPECT_EQ(
      run(add_judge, {"judge", "restore_feature", "field:amount", "--why", "w", "--endpoint", feedback}), 0);
  EXPECT_TRUE(dropped().empty());
  (*server)->request_stop();
  serving.join();
  server->reset();
  const Json after = diagnose(dir, {});
  EXPECT_EQ(after["infrastructure"]["starts"].size(), 1u) << "this server's start is in the log";
}

TEST_F(DiagnoseCommand, APoisonedSourceIsFirst) {
  const Json report = diagnose(recorded(Fault::kPoisonedCustomers), {});
  ASSERT_FALSE(report["causes"].empty());
  const Json& first = report["causes"][0];
  EXPECT_EQ(first["kind"], "label_noise") << names(report);
  EXPECT_EQ(first["subject"], "customer");
  EXPECT_TRUE(first["probable"].get<bool>()) << report["causes"] << report["labels"] << report["performance"];
}

TEST_F(DiagnoseCommand, ABadModelIsFirstAndRolledBack) {
  const std::string dir = recorded(Fault::kBadModel);
  const Json report = diagnose(dir, {});
  ASSERT_FALSE(report["causes"].empty());
  const Json& first = report["causes"][0];
  EXPECT_EQ(first["kind"], "bad_model") << names(report) << report["models"];
  EXPECT_EQ(first["first_day"], "2018-05-17") << "before the first transaction of the next day";
  EXPECT_EQ(first["command"].get<std::string>().rfind("shrike judge roll_back ", 0), 0u) << first;
  EXPECT_EQ(run(add_diagnose, {"diagnose", dir}), kNotAllWell);
  EXPECT_NE(out.find("activated by hand"), std::string::npos) << out;
}

TEST_F(DiagnoseCommand, APartThatCannotBeExaminedSaysSoAndTheOthersGoOn) {
  const std::string dir = recorded(Fault::kBrokenAmount);
  {
    auto store = storage::Store::open(dir, {});
    ASSERT_TRUE(store);
    const auto models = (*store)->list_models();
    ASSERT_TRUE(models && !models->empty());
    for (const storage::ModelInfo& model : *models) ASSERT_TRUE((*store)->erase_model(model.hash));
  }
  int code = -1;
  const Json report = diagnose(dir, {}, &code);
  EXPECT_EQ(code, kNotAllWell);
  EXPECT_FALSE(report["importance"]["examined"].get<bool>());
  EXPECT_NE(report["importance"]["why"].get<std::string>().find("is missing"), std::string::npos);
  EXPECT_FALSE(report["in_force"]["examined"].get<bool>());
  EXPECT_TRUE(report["inputs"]["examined"].get<bool>());
  EXPECT_EQ(report["causes"][0]["kind"], "broken_feed") << names(report);
}

TEST_F(DiagnoseCommand, DaysThatAreNoneAreRefused) {
  const std::string dir = folder_ / "data";
  { Recorder recorder(engine::must_parse(config_text()), dir); }
  EXPECT_EQ(run(add_diagnose, {"diagnose", dir}), kBadInput);
  EXPECT_NE(err.find("the log has no transaction yet"), std::string::npos) << err;
  EXPECT_EQ(run(add_diagnose, {"diagnose", dir, "--from", "soon"}), kBadInput);
  EXPECT_NE(err.find("\"soon\" is no day"), std::string::npos) << err;
  EXPECT_EQ(run(add_diagnose, {"diagnose", folder_ / "nothing"}), kBadInput);
}

}  // namespace
}  // namespace shrike::tools
