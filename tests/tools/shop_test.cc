// The shop: its stream, and the whole life of examples/ecommerce.toml behind a server: click-through falls,
// the learner is learned anew from the last 7 days, models are put to an A/B test, and a replay finds the
// same.
#include "tools/shop.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <unistd.h>
#include <thread>

#include <nlohmann/json.hpp>

#include "engine/replay/replay.h"
#include "engine/serve/server.h"
#include "storage/store.h"
#include "tests/tools/running.h"
#include "tests/tools/support.h"
#include "tools/ab_tests.h"
#include "tools/client.h"
#include "tools/json.h"
#include "tools/shop_live.h"

namespace shrike::tools {
namespace {

using engine::JudgementEvent;
using engine::ModelAction;
using engine::ModelEvent;

// Clicks and impressions of `days` from day `from` on, shown in the shop's own order or the reverse.
std::pair<double, double> click_through(ShopOptions options, int from, bool reversed = false) {
  Shop shop(options);
  std::vector<Visit> day;
  double clicks = 0, shown = 0;
  for (int d = 0; shop.next_day(day); ++d) {
    if (d < from) continue;
    for (const Visit& visit : day) {
      for (size_t i = 0; i < Visit::kOffers; ++i) {
        clicks += shop.react(visit, i, reversed ? Visit::kOffers - 1 - i : i).clicked;
        ++shown;
      }
    }
  }
  return {clicks, shown};
}

TEST(Shop, ClicksFallWhenTastesChangeAndOrderMatters) {
  ShopOptions options;
  options.days = 10;
  const auto before = click_through(options, 0);
  const double rate = before.first / before.second;
  EXPECT_NEAR(before.second / 10, 3000 * 0.2 * 6, 150);
  EXPECT_GT(rate, 0.06);
  EXPECT_LT(rate, 0.2);
  const auto reversed = click_through(options, 0, true);
  EXPECT_LT(reversed.first / reversed.second, 0.97 * rate) << "what appeals is further down";
  options.change_day = 5;
  const auto after = click_through(options, 5);
  EXPECT_LT(after.first / after.second, 0.85 * rate);
  options.change_day = 0;
  options.seed = 2;
  EXPECT_LT(click_through(options, 0).first / click_through(options, 0).second, 0.85 * rate)
      << "with any seed";
}

TEST(Shop, ASeedRepeatsAndAChangeLeavesTheDaysBeforeAsTheyWere) {
  const auto print = [](const ShopOptions& options) {
    Shop shop(options);
    std::vector<Visit> day;
    std::string text;
    while (shop.next_day(day)) {
      for (const Visit& visit : day) {
        for (size_t i = 0; i < Visit::kOffers; ++i) {
          text += impression_json(visit, i);
          text += shop.react(visit, i, 0).clicked ? '1' : '0';
        }
      }
    }
    return text;
  };
  ShopOptions options;
  options.days = 2;
  options.visitors = 300;
  const std::string once = print(options);
  EXPECT_TRUE(print(options) == once);
  options.change_day = 2;
  EXPECT_TRUE(print(options) == once);
  options.change_day = 1;
  EXPECT_TRUE(print(options) != once);
  options.change_day = -1;
  options.seed = 2;
  EXPECT_TRUE(print(options) != once);
}

// Day of event time, from the configuration's origin on.
double day_of(const engine::Config& config, double time_us) {
  return (time_us - static_cast<double>(config.schema().time_origin_us)) / 86.4e9;
}

class ShopServer : public CommandTest {
 protected:
  static std::string ecommerce() {
    std::string text = engine::example("ecommerce.toml");
    text = engine::with(text, "mode = \"background\"", "mode = \"awaited\"");  // the same in every run
    while (text.find("127.0.0.1:740") != std::string::npos)
      text = engine::with(text, "127.0.0.1:740", "127.0.0.1:*\" # ");
    return text;
  }
  static Json ask(const Running& server, const std::string& command, const std::string& argument = "") {
    const auto reply =
        Client::ask(server.at().feedback, to_text({{"command", command}, {"argument", argument}}), 10'000);
    EXPECT_TRUE(reply) << reply.error();
    return reply ? from_text(*reply) : Json();
  }
  // Retraining has time of its own, the simulated shop has not.
  static void await_retraining(const Running& server) {
    for (int i = 0; i < 2000 && ask(server, "status")["retraining"] == true; ++i) usleep(5000);
  }
  static void play(const Running& server, ShopLive& live, int days) {
    ShopLive::Day day;
    for (int d = 0; d < days; ++d) {
      const auto played = live.next_day(day);
      ASSERT_TRUE(played) << played.error();
      ASSERT_TRUE(*played);
      await_retraining(server);
    }
  }
  // The old champion serves again, and the new one is put to the test, by the command.
  void begin_test(const Running& server, const std::string& old_champion, const std::string& new_champion) {
    ask(server, "activate", old_champion);
    std::vector<std::string> declared = {"models",
                                         "test",
                                         new_champion.substr(0, 10),
                                         "-m",
                                         "ctr",
                                         "--share",
                                         "0.5",
                                         "--effect",
                                         "0.2",
                                         "--guard",
                                         "bought=0.9",
                                         "--endpoint",
                                         server.at().feedback};
    std::vector<std::string> too_short = declared;
    too_short.insert(too_short.end(), {"--days", "0.5"});
    EXPECT_EQ(run(add_models, too_short), kNotAllWell);
    EXPECT_NE(err.find("--anyway"), std::string::npos) << err;
    EXPECT_EQ(ask(server, "status")["challenger"], "") << "refused";
    EXPECT_EQ(run(add_models, declared), 0) << err;
    EXPECT_NE(out.find("observations needed"), std::string::npos) << out;
    EXPECT_NE(out.find("has begun"), std::string::npos) << out;
    EXPECT_EQ(run(add_models, declared), kNotAllWell) << "one at a time";
    const Json moved = ask(server, "judge", R"({"action":"canary","values":[0.9],"why":"more"})");
    EXPECT_EQ(moved["error"]["field"], "action") << "its share is declared";
  }
  // By its hash, while the server runs.
  static std::string newest_retrained(const engine::Config& config, const std::string& data);
  struct Log;
  static void expect_retraining(const engine::Config& config, const Log& log, int change_day);
  static void expect_verdict(const Log& log, const std::string& tested);

  struct Log {
    std::vector<std::pair<uint64_t, ModelEvent>> models;
    std::vector<std::pair<uint64_t, JudgementEvent>> judgements;
    uint64_t kpis = 0;
    const JudgementEvent* judgement(const std::string& monitor, engine::Action action) const {
      for (const auto& [sequence, one] : judgements) {
        if (one.monitor == monitor && one.action == action) return &one;
      }
      return nullptr;
    }
    const ModelEvent* model(ModelAction action) const {
      for (const auto& [sequence, one] : models) {
        if (one.action == action) return &one;
      }
      return nullptr;
    }
  };
  static Log read(const engine::Config& config, storage::Store& store) {
    Log log;
    auto cursor = store.read(1);
    for (auto next = cursor.next(); next && *next; next = cursor.next()) {
      const auto event = engine::decode_event(config.schema(), (*next)->value);
      EXPECT_TRUE(event);
      if (const auto* model = std::get_if<ModelEvent>(&*event))
        log.models.emplace_back((*next)->sequence, *model);
      if (const auto* one = std::get_if<JudgementEvent>(&*event))
        log.judgements.emplace_back((*next)->sequence, *one);
      log.kpis += std::holds_alternative<engine::KpiEvent>(*event);
    }
    return log;
  }
};

std::string ShopServer::newest_retrained(const engine::Config& config, const std::string& data) {
  auto store = storage::Store::open_read_only(data);
  EXPECT_TRUE(store);
  const Log log = read(config, **store);
  std::string newest;
  for (const auto& [sequence, one] : log.models) {
    if (one.action == ModelAction::kRetrained) newest = one.model;
  }
  return newest;
}

// An alert once the first day after the change is complete; learned anew from the 7 days before; judged by
// the gate.
void ShopServer::expect_retraining(const engine::Config& config, const Log& log, int change_day) {
  const JudgementEvent* alert = log.judgement("kpi", engine::Action::kNone);
  ASSERT_NE(alert, nullptr);
  EXPECT_EQ(alert->subject, "ctr");
  const double alert_day = day_of(config, static_cast<double>(alert->time_us));
  EXPECT_GE(alert_day, change_day + 1);
  EXPECT_LT(alert_day, change_day + 3.1);
  EXPECT_GT(from_text(alert->evidence)["drop"].get<double>(), 0.15);
  const ModelEvent* retrained = log.model(ModelAction::kRetrained);
  ASSERT_NE(retrained, nullptr);
  const Json report = from_text(retrained->report);
  const JudgementEvent* asked = nullptr;
  for (const auto& [sequence, one] : log.judgements) {
    if (sequence == report["asked_by"].get<uint64_t>()) asked = &one;
  }
  ASSERT_NE(asked, nullptr);
  EXPECT_EQ(asked->monitor, "triggers");
  EXPECT_EQ(asked->target, "recent");
  EXPECT_EQ(asked->text.rfind("ctr is ", 0), 0u) << asked->text;
  EXPECT_NEAR(static_cast<double>(asked->time_us) - asked->values[0], 7 * 86.4e9, 1);
  EXPECT_EQ(report["since_us"].get<double>(), asked->values[0]);
  EXPECT_NEAR(report["examples"].get<double>(), 7 * 1500 * 0.2 * Visit::kOffers, 1000) << "those of 7 days";
  bool judged = false;  // it, or the one that came after it before the gate was free
  for (const auto& [sequence, one] : log.models) {
    const bool by_gate = one.action == ModelAction::kAccepted || one.action == ModelAction::kRejected;
    for (const auto& [before, other] : log.models)
      judged |=
          by_gate && before < sequence && other.action == ModelAction::kRetrained && other.model == one.model;
  }
  EXPECT_TRUE(judged) << "a candidate of the gate";
}

void ShopServer::expect_verdict(const Log& log, const std::string& tested) {
  const ModelEvent* begun = log.model(ModelAction::kTested);
  ASSERT_NE(begun, nullptr);
  EXPECT_EQ(begun->model, tested);
  EXPECT_EQ(begun->share, 0.5);
  const JudgementEvent* verdict = log.judgement("ab_test", engine::Action::kConclude);
  ASSERT_NE(verdict, nullptr);
  EXPECT_EQ(verdict->finding, engine::Finding::kSuccessful) << verdict->text;
  const Json evidence = from_text(verdict->evidence);
  EXPECT_GT(evidence["challenger"]["value"].get<double>(), evidence["champion"]["value"].get<double>());
  EXPECT_GT(evidence["interval"][0].get<double>(), 0);
  EXPECT_EQ(evidence["guards"][0]["violated"], false);
}

TEST_F(ShopServer, ClickThroughFallsTheLearnerIsLearnedAnewAndAnABTestTells) {
  // What is put to the test is that a person insists on the old model: nothing goes back by itself.
  const engine::ConfigPtr config = engine::must_parse(ecommerce() + "\n[rollback]\non = false\n");
  ASSERT_TRUE(config);
  const std::string data = folder_ / "data";
  constexpr int kChangeDay = 9, kTestDay = 16;
  ShopOptions options;
  options.days = 60;
  options.visitors = 1500;
  options.change_day = kChangeDay;
  ShopLive live(options);
  std::string old_champion, new_model;
  {
    Running server(config, data);
    live.connect(server.at().score, server.at().feedback);
    play(server, live, kChangeDay);
    old_champion = ask(server, "status")["champion"].get<std::string>();
    play(server, live, kTestDay - kChangeDay);
    // Once more, by hand: the last 7 days are all of the new tastes.
    ask(server, "judge", R"({"action":"retrain","target":"recent","why":"the change is a week old"})");
    await_retraining(server);
    new_model = newest_retrained(*config, data);
    ASSERT_NE(new_model, old_champion);
    begin_test(server, old_champion, new_model);
    play(server, live, 1);
  }
  // A stop in between changes nothing: the test goes on with the next server.
  {
    Running server(config, data);
    live.connect(server.at().score, server.at().feedback);
    EXPECT_EQ(ask(server, "status")["challenger_tested"], true);
    for (int days = 0; days < 20 && ask(server, "status")["challenger_tested"] == true; ++days)
      play(server, live, 1);
    EXPECT_EQ(ask(server, "status")["challenger"], "");
  }
  EXPECT_EQ(live.errors(), 0u) << live.first_errors()[0];
  auto store = storage::Store::open_read_only(data);
  ASSERT_TRUE(store);
  const Log log = read(*config, **store);
  EXPECT_GT(log.kpis, 100u);
  expect_retraining(*config, log, kChangeDay);
  expect_verdict(log, new_model);
  const auto replayed = engine::replay_recorded(config, **store, nullptr, nullptr);
  ASSERT_TRUE(replayed) << replayed.error();
  EXPECT_EQ(replayed->scores_different, 0u);
  EXPECT_EQ(replayed->judgements_different, 1u) << "the one by hand";
  EXPECT_EQ(run(add_models, {"models", "tests", "--data", data}), 0) << err;
  EXPECT_NE(out.find("successful"), std::string::npos) << out;
  EXPECT_NE(out.find("guard bought"), std::string::npos) << out;
  EXPECT_EQ(run(add_models, {"models", "tests", "--data", data, "--json"}), 0) << err;
  EXPECT_EQ(from_text(out)["tests"][0]["verdict"], "successful");
  EXPECT_EQ(run(add_timeline, {"timeline", data, "--monitor", "ab_test"}), 0) << err;
  EXPECT_NE(out.find("-> conclude"), std::string::npos) << out;
}

}  // namespace
}  // namespace shrike::tools
