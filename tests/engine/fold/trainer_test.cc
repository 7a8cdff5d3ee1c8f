// What a trainer says of bytes that it cannot go on from.
#include "engine/fold/trainer.h"

#include <gtest/gtest.h>

#include "engine/fold/log.pb.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

TEST(Trainer, ARecordWithADamagedLearnerIsRefusedInOneSentence) {
  const ConfigPtr config = must_parse(handbook_15());
  proto::TrainerRecord record;
  ASSERT_TRUE(record.ParseFromString(Trainer(config).save()));
  record.set_learner("noise");
  const auto done = Trainer(config).restore(record.SerializeAsString());
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), "the bytes are not a model or learner of Shrike");
}

}  // namespace
}  // namespace shrike::engine
