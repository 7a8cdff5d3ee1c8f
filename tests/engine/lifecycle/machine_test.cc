// What the machine does enters as events; judging it needs neither clock nor machine.
#include "engine/lifecycle/machine.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/fold/fold.h"
#include "engine/lifecycle/lifecycle.h"
#include "engine/log/recovery.h"
#include "engine/serve/machine_meter.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr int64_t kMinuteUs = 60'000'000;
constexpr uint64_t kMiB = 1 << 20;

ConfigPtr config(const std::string& lines = "") { return must_parse("[machine]\n" + lines + handbook_15()); }

// A minute in which all was well.
MachineEvent minute(int64_t number) {
  return {.time_us = number * kMinuteUs,
          .period_us = kMinuteUs,
          .answers = 1000,
          .p50_us = 200,
          .p99_us = 2'000,
          .p999_us = 5'000,
          .resident_bytes = 500 * kMiB};
}

class MachineTest : public ::testing::Test {
 protected:
  // SUBJECT SEVERITY, with ! at its end, of what is found; "" for nothing.
  std::string take(const MachineEvent& event) {
    std::vector<JudgementEvent> found;
    machine_->machine(event, found);
    std::string all;
    for (const JudgementEvent& one : found) {
      all += (all.empty() ? "" : ", ") + one.subject + " " + std::string(name(one.severity)) +
             (one.action == Action::kResolve ? "!" : "");
      EXPECT_TRUE(nlohmann::json::parse(one.evidence).is_object());
    }
    return all;
  }
  std::string slow(uint64_t p99_us) {
    MachineEvent event = minute(++minute_);
    event.p99_us = p99_us;
    return take(event);
  }

  ConfigPtr config_ = config();
  std::unique_ptr<Machine> machine_ = std::make_unique<Machine>(config_);
  int64_t minute_ = 0;
};

TEST_F(MachineTest, SlowAnswersAreToldAfterThreeMinutesAndOverAfterThreeGoodOnes) {
  EXPECT_EQ(slow(60'000), "");
  EXPECT_EQ(slow(60'000), "");
  EXPECT_EQ(slow(40'000), "") << "three in a row";
  for (int i = 0; i < 2; ++i) EXPECT_EQ(slow(60'000), "");
  EXPECT_EQ(slow(60'000), "latency warning");
  EXPECT_EQ(slow(60'000), "") << "once";
  for (int i = 0; i < 2; ++i) EXPECT_EQ(slow(130'000), "");
  EXPECT_EQ(slow(130'000), "latency critical");
  for (int i = 0; i < 10; ++i) EXPECT_EQ(slow(40'000), "") << "below the limit, and not within half of it";
  for (int i = 0; i < 2; ++i) EXPECT_EQ(slow(10'000), "");
  EXPECT_EQ(slow(10'000), "latency info!");
  EXPECT_EQ(slow(10'000), "");
}

TEST_F(MachineTest, RefusalsAndLateAnswersAreErrorsAndFewRequestsTellNothing) {
  MachineEvent event = minute(1);
  event.refusals = 40;
  event.late = 40;
  for (int i = 0; i < 2; ++i) EXPECT_EQ(take(event), "");
  EXPECT_EQ(take(event), "errors warning");
  event.answers = 10;
  event.refusals = 50;
  event.p99_us = 10'000'000;
  for (int i = 0; i < 5; ++i) EXPECT_EQ(take(event), "");
}

TEST_F(MachineTest, MemoryThatGrowsWithinADayIsTold) {
  MachineEvent event = minute(0);
  std::string all;
  for (int64_t m = 0; m < 3 * 1440; ++m) {  // 700 MiB a day
    event.time_us = m * kMinuteUs;
    event.resident_bytes = (500 + static_cast<uint64_t>(m) * 700 / 1440) * kMiB;
    all += take(event);
  }
  EXPECT_EQ(all, "") << "slow growth is what new customers bring";
  for (int64_t m = 0; m < 600; ++m) {  // 2.4 GiB in ten hours
    event.time_us += kMinuteUs;
    event.resident_bytes += 4 * kMiB;
    all += take(event);
  }
  EXPECT_EQ(all, "memory warningmemory critical");
  all.clear();
  for (int64_t m = 0; m < 1600; ++m) {  // it stays there
    event.time_us += kMinuteUs;
    all += take(event);
  }
  EXPECT_EQ(all, "memory info!");
}

TEST_F(MachineTest, ASavedMonitorGoesOnAndDamageIsAnError) {
  for (int i = 0; i < 2; ++i) slow(60'000);
  Machine other(config_);
  ASSERT_TRUE(other.restore(machine_->save()));
  EXPECT_EQ(other.save(), machine_->save());
  EXPECT_EQ(other.report(), machine_->report());
  std::vector<JudgementEvent> found;
  MachineEvent event = minute(3);
  event.p99_us = 60'000;
  other.machine(event, found);
  EXPECT_EQ(found.size(), 1u);
  for (
      const std::string damaged :
      {"", "x", "[]", R"({"version":1})", R"({"version":2,"standings":[],"least":[]})",
       R"({"version":1,"standings":[[1],[1],[1]],"least":[]})",
       R"({"version":1,"standings":[[0,0,0,false,false,0.5],[0,0,0,false,false,0.5],[0,0,0,false,"x",0.5]],"least":[]})"})
    EXPECT_FALSE(other.restore(damaged)) << damaged;
}

TEST(MachineEvents, GoThroughTheirRecord) {
  const MachineEvent event{1'700'000'000'000'000, 60'000'001, 7, 1, 2, 3, 4, 5, 6, 8, 9, 10};
  std::string bytes;
  encode(event, bytes);
  const auto decoded = decode_event(config()->schema(), bytes);
  ASSERT_TRUE(decoded) << decoded.error();
  ASSERT_TRUE(std::holds_alternative<MachineEvent>(*decoded));
  EXPECT_EQ(std::get<MachineEvent>(*decoded), event);
}

// Number, monitors and a checkpoint, as the fold has them.
TEST(MachineEvents, TheFoldNumbersThemAndItsMonitorsJudgeAtOnce) {
  const ConfigPtr c = config("periods = 2\n");
  NoExamples nowhere;
  auto fold = make_fold(c, nowhere, nullptr);
  const Transaction t = make_transaction(c->schema(), 1, 1000, 1, 1, 10);
  std::vector<float> row(c->columns.size());
  fold->answer(fold->fold(t, Clock::kOnTime, row), {});
  MachineEvent event = minute(1);
  event.p99_us = 60'000;
  EXPECT_EQ(fold->machine(event), 2u);
  std::vector<std::pair<std::string, std::string>> parts;
  fold->save([&](const char* part, std::string piece) { parts.emplace_back(part, std::move(piece)); });
  auto restored = make_fold(c, nowhere, nullptr);
  for (const auto& [part, piece] : parts)
    ASSERT_TRUE(restored->restore(part, piece, [](const std::string&) { return nullptr; })) << part;
  for (Fold* one : {fold.get(), restored.get()}) {
    EXPECT_EQ(one->machine(event), 3u);
    ASSERT_NE(one->next_judgement(), nullptr);
    EXPECT_EQ(one->next_judgement()->monitor, "machine");
    EXPECT_EQ(one->next_judgement()->subject, "latency");
    EXPECT_EQ(one->next_judgement()->time_us, t.time_us) << "event time";
  }
  EXPECT_EQ(*fold->next_judgement(), *restored->next_judgement());
}

TEST(MachineMeter, AnEventHasWhatCameInItsPeriod) {
  Probe probe;
  probe.late_replies = 5;
  for (int i = 0; i < 1000; ++i) probe.latency.add(1'000'000);
  MachineMeter meter(probe, 1000);
  usleep(2000);
  EXPECT_FALSE(meter.take()) << "nobody asked";
  for (int i = 0; i < 100; ++i) probe.latency.add(100);
  probe.late_replies = 7;
  probe.errors[1] = 3;
  probe.errors[2] = 1;
  probe.steps[static_cast<size_t>(Step::kFallback)] = 2;
  probe.examples_waiting = 11;
  usleep(2000);
  const auto event = meter.take();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->answers, 100u);
  EXPECT_GE(event->p999_us, 100u);
  EXPECT_LE(event->p999_us, 119u) << "what came before is not in it";
  EXPECT_EQ(event->late, 2u);
  EXPECT_EQ(event->refusals, 4u);
  EXPECT_EQ(event->fallbacks, 2u);
  EXPECT_EQ(event->examples_waiting, 11u);
  EXPECT_GT(event->resident_bytes, kMiB);
  EXPECT_GE(event->period_us, 1000);
  EXPECT_GT(event->time_us, 1'700'000'000'000'000);
  MachineMeter off(probe, 0);
  probe.latency.add(1);
  usleep(2000);
  EXPECT_FALSE(off.take());
}

}  // namespace
}  // namespace shrike::engine
