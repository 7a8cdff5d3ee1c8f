// `backup` and `restore`, beside a store that is written to.
#include <gtest/gtest.h>

#include "storage/store.h"
#include "tests/tools/recorder.h"
#include "tests/tools/support.h"

namespace shrike::tools {
namespace {

class BackupCommand : public CommandTest {
 protected:
  // As many transactions, every fifth with a label of one before it.
  void record(Recorder& recorder, int until) {
    for (; next_ < until; ++next_) {
      engine::Transaction transaction;
      transaction.reset(config_->schema());
      transaction.id = features::key_of(static_cast<int64_t>(next_));
      transaction.time_us = 1'700'000'000'000'000 + next_ * 60'000'000ll;
      transaction.values[0] = {true, next_, ""};
      transaction.values[1] = {true, transaction.time_us, ""};
      transaction.values[2] = {true, 0, "card" + std::to_string(next_ % 7)};
      transaction.values[3] = {true, 10'000 * (next_ % 90), ""};
      recorder.transact(transaction);
      if (next_ % 5 == 4)
        recorder.label(features::key_of(static_cast<int64_t>(next_ - 3)), next_ % 10 == 9,
                       engine::Source::kAnalyst, transaction.time_us);
    }
    recorder.flush();
  }
  // Every event and what the indexes say of its transaction.
  static std::vector<std::string> content(const std::string& dir) {
    std::vector<std::string> all;
    const auto store = storage::Store::open_read_only(dir);
    EXPECT_TRUE(store) << store.error().reason;
    auto cursor = (*store)->read((*store)->first_sequence());
    for (;;) {
      const auto event = cursor.next();
      EXPECT_TRUE(event) << event.error().reason;
      if (!event || !*event) break;
      all.push_back(std::to_string((*event)->sequence) + std::string((*event)->value));
    }
    for (int64_t id = 0; id < 3000; ++id) {
      const storage::Key key = engine::to_bytes(features::key_of(id));
      all.push_back(std::to_string((*store)->find_transaction(key)->value_or(0)) + " " +
                    (*store)->find_label(key)->value_or("none"));
    }
    const auto models = (*store)->list_models();
    EXPECT_TRUE(models);
    for (const storage::ModelInfo& model : *models) all.push_back(model.hash);
    return all;
  }
  int backup() { return run(add_backup, {"backup", data_, copy_}); }

  engine::ConfigPtr config_ = engine::must_parse(kSmallConfig);
  std::string data_ = folder_ / "data", copy_ = folder_ / "copy";
  int next_ = 0;
};

TEST_F(BackupCommand, CopiesBesideAWriterAndGoesOnWhereItEnded) {
  Recorder recorder(config_, data_);
  record(recorder, 1000);
  ASSERT_EQ(backup(), 0) << err;
  EXPECT_EQ(content(copy_), content(data_));
  EXPECT_GT(content(copy_).size(), 4000u);
  record(recorder, 2500);
  EXPECT_NE(content(copy_), content(data_));
  ASSERT_EQ(backup(), 0) << err;
  EXPECT_NE(out.find(" from "), std::string::npos) << out;
  EXPECT_EQ(content(copy_), content(data_));
  ASSERT_EQ(backup(), 0) << err;
  EXPECT_NE(out.find(" 0 events"), std::string::npos) << out;
  EXPECT_EQ(run(add_verify, {"verify", copy_}), 0) << out << err;
}

TEST_F(BackupCommand, IsRestoredToWhatAServerGoesOnFrom) {
  {
    Recorder recorder(config_, data_);
    record(recorder, 1500);
  }
  ASSERT_EQ(backup(), 0) << err;
  const std::string restored = folder_ / "restored";
  ASSERT_EQ(run(add_restore, {"restore", copy_, restored}), 0) << err;
  EXPECT_EQ(content(restored), content(data_));
  EXPECT_EQ(run(add_replay, {"replay", restored, "-q"}), 0) << out << err;
  EXPECT_EQ(run(add_restore, {"restore", copy_, restored}), kBadInput) << "never over what is there";
}

TEST_F(BackupCommand, NeverMixesTwoLogs) {
  {
    Recorder recorder(config_, data_);
    record(recorder, 600);
  }
  ASSERT_EQ(backup(), 0) << err;
  const std::string other = folder_ / "other";
  {
    Recorder recorder(config_, other);
    next_ = 1000;
    record(recorder, 2000);
  }
  EXPECT_EQ(run(add_backup, {"backup", other, copy_}), kFailed);
  EXPECT_NE(err.find("another log"), std::string::npos) << err;
  EXPECT_EQ(run(add_backup, {"backup", folder_ / "nowhere", copy_}), kFailed);
}

}  // namespace
}  // namespace shrike::tools
