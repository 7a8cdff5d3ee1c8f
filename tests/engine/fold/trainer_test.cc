// How soon a trainer proposes a model, and what it says of bytes that it cannot go on from.
#include "engine/fold/trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

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

// Three in ten are frauds; the row's first column tells, when anything does.
class SmallStream {
 public:
  SmallStream(const Config& config, bool tells) : tells_(tells), row_(config.columns.size(), 1) {}

  // The trainer learns the next example; a proposal is answered as an engine does.
  void teach(Trainer& trainer) {
    const float value = static_cast<float>(random_() % 100);
    const auto dice = static_cast<float>(random_() % 100);
    const bool fraud = dice < (!tells_ ? 30 : value < 50 ? 5 : 55);
    row_[0] = value;
    for (size_t c = 1; c < row_.size(); ++c) row_[c] = static_cast<float>(random_() % 100);
    trainer.learn({.transaction = features::key_of(static_cast<int64_t>(++count_)),
                   .verdict = fraud ? Verdict::kFraud : Verdict::kLegitimate,
                   .row = row_});
    if (!trainer.proposal()) return;
    const Proposal proposal = *trainer.proposal();
    if (proposal.event.action == ModelAction::kAccepted) {
      if (accepted_at_ == 0) accepted_at_ = count_;
      trainer.model_event(proposal.event, proposal.model);
    } else {
      trainer.model_event(proposal.event, nullptr);
    }
  }
  uint64_t accepted_at() const { return accepted_at_; }  // 0: never

 private:
  bool tells_;
  std::vector<float> row_;
  std::mt19937 random_{17};
  uint64_t count_ = 0, accepted_at_ = 0;
};

TEST(Trainer, AModelTakesOverWithinTheFirstFiveHundredExamples) {
  const ConfigPtr config = must_parse(handbook_15());
  Trainer trainer(config);
  SmallStream stream(*config, true);
  for (int i = 0; i < 1000; ++i) stream.teach(trainer);
  EXPECT_GT(stream.accepted_at(), 0u);
  EXPECT_LT(stream.accepted_at(), 500u);
}

TEST(Trainer, OfAStreamThatTellsNothingNoModelTakesOver) {
  const ConfigPtr config = must_parse(handbook_15());
  Trainer trainer(config);
  SmallStream stream(*config, false);
  for (int i = 0; i < 1500; ++i) stream.teach(trainer);
  EXPECT_EQ(stream.accepted_at(), 0u);
}

TEST(Trainer, ARestoredOneDecidesAsTheUninterrupted) {
  const ConfigPtr config = must_parse(handbook_15());
  for (const int middle : {73, 260, 611}) {
    Trainer whole(config), restored(config);
    SmallStream stream(*config, true);
    for (int i = 0; i < middle; ++i) stream.teach(whole);
    ASSERT_TRUE(restored.restore(whole.save()));
    SmallStream same = stream;
    for (int i = middle; i < 1000; ++i) {
      stream.teach(whole);
      same.teach(restored);
    }
    EXPECT_EQ(whole.save(), restored.save());
  }
}

}  // namespace
}  // namespace shrike::engine
