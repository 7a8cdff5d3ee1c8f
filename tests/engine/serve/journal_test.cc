// A disk that fails under the journal: nothing is acknowledged, nothing is lost, and it goes on when it can.
#include "engine/serve/journal.h"

#include <gtest/gtest.h>

#include <chrono>

#include "engine/serve/alerts.h"
#include "storage/store.h"
#include "tests/engine/support.h"
#include "tests/storage/fault_env.h"

namespace shrike::engine {
namespace {

TEST(Journal, AFailingDiskStopsAcknowledgingAndLosesNothing) {
  const ConfigPtr config = must_parse(handbook_15());
  TempDir dir;
  storage::FaultEnv env;
  storage::StoreOptions options;
  options.env = &env;
  {
    auto store = storage::Store::open(dir / "data", options);
    ASSERT_TRUE(store) << store.error().reason;
    zmq::context_t context;
    zmq::socket_t events(context, zmq::socket_type::pub);
    events.bind("inproc://events");
    Probe probe;
    Journal journal(config, **store, probe, std::move(events), 1024);
    Bell bell;
    journal.start(bell);
    uint64_t sequence = 0;
    const auto push = [&] {
      auto envelope = std::make_unique<Envelope>();
      envelope->sequence = ++sequence;
      TransactionEvent& event = envelope->become<asked::Score>().event;
      event.transaction = make_transaction(config->schema(), static_cast<int64_t>(sequence), 1000, 7, 3, 20);
      event.row.assign(15, 1.0f);
      journal.push(std::move(envelope));
    };
    const auto take = [&] {
      EnvelopePtr envelope;
      for (int i = 0; i < 20'000 && !journal.done().pop(envelope); ++i) usleep(1000);
      EXPECT_TRUE(envelope);
      return envelope;
    };
    for (int i = 0; i < 20; ++i) push();
    for (int i = 0; i < 20; ++i) EXPECT_FALSE(take()->error);
    EXPECT_EQ(journal.committed(), 20u);

    env.fail_after(0, storage::FaultEnv::Fault::kNoSpace);
    push();
    const EnvelopePtr refused = take();
    ASSERT_TRUE(refused->error);
    EXPECT_EQ(refused->error->code, ErrorCode::kStorage);
    EXPECT_TRUE(journal.failed());
    EXPECT_EQ(journal.committed(), 20u);
    // Those on their way when it failed hear of it too, at once.
    for (int i = 0; i < 3; ++i) push();
    for (int i = 0; i < 3; ++i) {
      const EnvelopePtr later = take();
      ASSERT_TRUE(later->error);
      EXPECT_EQ(later->error->code, ErrorCode::kStorage);
    }

    env.fail_after(0, storage::FaultEnv::Fault::kNone);
    for (int i = 0; i < 20'000 && journal.failed(); ++i) usleep(1000);
    EXPECT_FALSE(journal.failed());
    push();
    EXPECT_FALSE(take()->error);
    EXPECT_EQ(journal.committed(), 25u);
    journal.stop();
  }
  const auto store = storage::Store::open(dir / "data", {});
  ASSERT_TRUE(store) << store.error().reason;
  auto cursor = (*store)->read(1);
  for (uint64_t n = 1; n <= 25; ++n) {
    const auto event = cursor.next();
    ASSERT_TRUE(event && *event) << n;
    EXPECT_EQ((*event)->sequence, n)
        << "the event that was refused is there too: its sequence number was taken";
  }
}

// It was folded before the disk failed, so it will not be made again.
TEST(Journal, AJudgementThatWaitedForTheDiskIsToldWhenItIsWritten) {
  TempDir dir;
  const ConfigPtr config = must_parse("[alerts]\nfile = \"" + (dir / "alerts.log") + "\"\n" + handbook_15());
  storage::FaultEnv env;
  storage::StoreOptions options;
  options.env = &env;
  auto store = storage::Store::open(dir / "data", options);
  ASSERT_TRUE(store) << store.error().reason;
  zmq::context_t context;
  zmq::socket_t events(context, zmq::socket_type::pub);
  Probe probe;
  auto alerts = Alerts::open(config, **store, dir / "data", probe);
  ASSERT_TRUE(alerts) << alerts.error();
  Journal journal(config, **store, probe, std::move(events), 1024, alerts->get());
  Bell bell;
  (*alerts)->start();
  journal.start(bell);
  env.fail_after(0, storage::FaultEnv::Fault::kNoSpace);
  auto envelope = std::make_unique<Envelope>();
  envelope->sequence = 1;
  envelope->request = asked::Internal{JudgementEvent{.monitor = "drift", .severity = Severity::kCritical}};
  journal.push(std::move(envelope));
  for (int i = 0; i < 20'000 && !journal.failed(); ++i) usleep(1000);
  ASSERT_TRUE(journal.failed());
  const auto& delivered = probe.alerts[static_cast<size_t>(AlertSinkKind::kFile)].delivered;
  EXPECT_EQ(delivered, 0u) << "it is not in the log";
  env.fail_after(0, storage::FaultEnv::Fault::kNone);
  for (int i = 0; i < 20'000 && delivered == 0; ++i) usleep(1000);
  EXPECT_EQ(delivered, 1u);
  EXPECT_NE(read_file(dir / "alerts.log").find("\"fingerprint\":\"drift/\""), std::string::npos);
  journal.stop();
  (*alerts)->stop();
}

}  // namespace
}  // namespace shrike::engine
