// Checkpoints made beside a running server, from the log alone: the state that they hold is the state there
// was.
#include "engine/serve/checkpointer.h"

#include <gtest/gtest.h>

#include "engine/fold/trainer.h"
#include "engine/lifecycle/lifecycle.h"
#include "engine/log/recovery.h"
#include "storage/store.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

std::string saved(const Fold& fold) {
  std::string all;
  fold.save([&](const char* part, std::string piece) { all += part + piece; });
  return all;
}

TEST(Checkpointer, HoldsTheStateAsOfItsEvent) {
  const ConfigPtr config = must_parse(small_handbook("background", "sync"));
  TempDir dir;
  auto opened = storage::Store::open(dir / "data", {});
  ASSERT_TRUE(opened) << opened.error().reason;
  storage::Store& store = **opened;
  NoExamples nowhere;
  const std::unique_ptr<Fold> live = make_fold(config, nowhere, nullptr);
  Fold& fold = *live;
  TransactionEvent event;
  event.row.resize(config->columns.size());
  constexpr int kEvents = 500, kAt = 300;
  std::string at_checkpoint;
  for (int n = 1; n <= kEvents; ++n) {
    event.transaction = make_transaction(config->schema(), n, n * 60, n % 20, n % 30, n);
    fold.answer(fold.fold(event.transaction, Clock::kOnTime, event.row), event.answer);
    std::string bytes;
    encode(config->schema(), event, bytes);
    const storage::Record record{static_cast<uint64_t>(n), bytes, to_bytes(event.transaction.id)};
    ASSERT_TRUE(store.append({&record, 1}, false));
    if (n == kAt) at_checkpoint = saved(fold);
  }

  zmq::context_t context;
  zmq::socket_t events(context, zmq::socket_type::pub);
  events.bind("inproc://checkpointer");
  Probe probe;
  Journal journal(config, store, probe, std::move(events), 64);
  Checkpointer checkpointer(config, store, journal, probe);
  checkpointer.start();
  checkpointer.reserve();
  EXPECT_FALSE(checkpointer.idle());
  checkpointer.request(kAt, Trainer(config).save());
  for (int i = 0; i < 2000 && !checkpointer.idle(); ++i) usleep(10'000);
  ASSERT_TRUE(checkpointer.idle());
  checkpointer.stop();
  EXPECT_EQ(probe.checkpoints.load(), 1u);
  EXPECT_EQ(probe.divergences.load(), 0u) << "rows come out of the log as they were";

  ModelBook models(store, config);
  const std::unique_ptr<Fold> from_checkpoint = make_fold(config, nowhere, nullptr);
  Fold& restored = *from_checkpoint;
  Trainer trainer(config);
  const auto sequence = restore_checkpoint(store, models, restored, &trainer);
  ASSERT_TRUE(sequence) << sequence.error();
  EXPECT_EQ(*sequence, static_cast<uint64_t>(kAt));
  EXPECT_EQ(restored.next_sequence(), static_cast<uint64_t>(kAt) + 1);
  // But for the epoch that the checkpoint itself marks.
  const std::unique_ptr<Fold> from_log = make_fold(config, nowhere, nullptr);
  Fold& again = *from_log;
  ASSERT_TRUE(fold_log(store, models, again, nullptr, 1, kAt, nullptr));
  EXPECT_EQ(saved(again), at_checkpoint);
  again.mark_epoch(std::nullopt);
  EXPECT_EQ(saved(restored), saved(again));
}

}  // namespace
}  // namespace shrike::engine
