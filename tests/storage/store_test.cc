#include "storage/store.h"

#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/storage/fault_env.h"
#include "tests/support/temp_dir.h"

namespace shrike::storage {
namespace {

namespace fs = std::filesystem;

class StoreTest : public ::testing::Test {
 protected:
  std::unique_ptr<Store> open(rocksdb::Env* env = nullptr) {
    StoreOptions options;
    options.env = env;
    auto store = Store::open(dir_, options);
    EXPECT_TRUE(store) << store.error().reason;
    return store ? std::move(*store) : nullptr;
  }
  static Key key(uint64_t n) {
    Key k{};
    std::memcpy(k.data(), &n, sizeof(n));
    return k;
  }
  static std::string value(uint64_t n) { return "event " + std::to_string(n) + std::string(n % 50, 'x'); }
  // Appends events from..to, each a transaction of its own.
  static Result<void> append(Store& store, uint64_t from, uint64_t to, bool sync = false) {
    std::vector<std::string> values;
    std::vector<Record> records;
    for (uint64_t n = from; n <= to; ++n) values.push_back(value(n));
    for (uint64_t n = from; n <= to; ++n) records.push_back({n, values[n - from], key(n)});
    return store.append(records, sync);
  }
  static void expect_log(const Store& store, uint64_t from, uint64_t to) {
    auto cursor = store.read(0);
    for (uint64_t n = from; n <= to; ++n) {
      auto event = cursor.next();
      ASSERT_TRUE(event) << event.error().reason;
      ASSERT_TRUE(*event) << "the log ends before " << n;
      ASSERT_EQ((*event)->sequence, n);
      ASSERT_EQ((*event)->value, value(n));
    }
    auto end = cursor.next();
    ASSERT_TRUE(end);
    EXPECT_FALSE(*end);
  }
  // Changes a stored value behind the store's back.
  void tamper(const std::string& family, const std::string& at, bool erase) {
    std::vector<std::string> names;
    ASSERT_TRUE(rocksdb::DB::ListColumnFamilies({}, dir_, &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
    for (const auto& name : names) descriptors.emplace_back(name, rocksdb::ColumnFamilyOptions());
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, dir_, descriptors, &handles, &db).ok());
    for (size_t i = 0; i < names.size(); ++i) {
      if (names[i] != family) continue;
      std::string bytes;
      ASSERT_TRUE(db->Get({}, handles[i], at, &bytes).ok());
      bytes.back() ^= 1;
      ASSERT_TRUE((erase ? db->Delete({}, handles[i], at) : db->Put({}, handles[i], at, bytes)).ok());
    }
    for (auto* handle : handles) db->DestroyColumnFamilyHandle(handle);
    delete db;
  }
  static std::string be(uint64_t n) {
    std::string k(8, '\0');
    for (size_t i = 0; i < 8; ++i) k[i] = static_cast<char>(n >> (56 - 8 * i));
    return k;
  }

  TempDir folder_;
  const fs::path root_ = folder_.path();
  const std::string dir_ = folder_ / "data";
};

TEST_F(StoreTest, WhatIsAppendedIsReadBackAlsoAfterReopening) {
  {
    auto store = open();
    EXPECT_EQ(store->last_sequence(), 0u);
    ASSERT_TRUE(append(*store, 1, 500));
    ASSERT_TRUE(append(*store, 501, 700, true));
    expect_log(*store, 1, 700);
  }
  auto store = open();
  EXPECT_EQ(store->first_sequence(), 1u);
  EXPECT_EQ(store->last_sequence(), 700u);
  expect_log(*store, 1, 700);
  EXPECT_EQ(*store->get_event(77), value(77));
  EXPECT_EQ(**store->find_transaction(key(321)), 321u);
  EXPECT_FALSE(*store->find_transaction(key(9999)));
  EXPECT_EQ(store->get_event(9999).error().code, ErrorCode::kNotFound);
}

TEST_F(StoreTest, ALabelReplacesTheOneBefore) {
  auto store = open();
  EXPECT_FALSE(*store->find_label(key(1)));
  ASSERT_TRUE(store->append(std::vector<Record>{{1, "a", std::nullopt, LabelEntry{key(1), "fraud"}}}, true));
  ASSERT_TRUE(
      store->append(std::vector<Record>{{2, "b", std::nullopt, LabelEntry{key(1), "legitimate"}}}, true));
  EXPECT_EQ(**store->find_label(key(1)), "legitimate");
}

TEST_F(StoreTest, AppendingTheSameAgainChangesNothing) {
  auto store = open();
  ASSERT_TRUE(append(*store, 1, 10));
  ASSERT_TRUE(append(*store, 6, 10));
  expect_log(*store, 1, 10);
}

TEST_F(StoreTest, ASecondInstanceIsRefused) {
  auto first = open();
  const auto second = Store::open(dir_, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::kLocked) << second.error().reason;
}

TEST_F(StoreTest, ReadOnlySeesWhatARunningServerHasWritten) {
  auto store = open();
  ASSERT_TRUE(append(*store, 1, 100));
  ASSERT_TRUE(store->put_model("abc", "bytes"));
  const auto reader = Store::open_read_only(dir_);
  ASSERT_TRUE(reader) << reader.error().reason;
  expect_log(**reader, 1, 100);
  EXPECT_EQ(*(*reader)->get_model("abc"), "bytes");
  ASSERT_TRUE(append(*store, 101, 110));
}

TEST_F(StoreTest, ADamagedEventIsReportedWithItsNumber) {
  {
    auto store = open();
    ASSERT_TRUE(append(*store, 1, 20));
  }
  tamper("events", be(7), false);
  auto store = open();
  auto cursor = store->read(1);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(cursor.next());
  const auto damaged = cursor.next();
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(damaged.error().reason.find("event 7"), std::string::npos);
}

TEST_F(StoreTest, AGapIsReportedWithItsNumber) {
  {
    auto store = open();
    ASSERT_TRUE(append(*store, 1, 20));
  }
  tamper("events", be(7), true);
  auto store = open();
  auto cursor = store->read(1);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(cursor.next());
  const auto gap = cursor.next();
  ASSERT_FALSE(gap);
  EXPECT_NE(gap.error().reason.find("event 7 is missing"), std::string::npos);
}

TEST_F(StoreTest, ACheckpointIsThereWhollyOrNotAtAll) {
  {
    auto store = open();
    auto writer = store->begin_checkpoint(10);
    ASSERT_TRUE((*writer)->add("fold", "one"));
    ASSERT_TRUE((*writer)->add("features", "two"));
    ASSERT_TRUE((*writer)->add("features", "three"));
    EXPECT_FALSE(*store->latest_checkpoint());
    ASSERT_TRUE((*writer)->commit());
    writer = store->begin_checkpoint(20);
    ASSERT_TRUE((*writer)->add("fold", "never committed"));
  }
  auto store = open();
  const auto checkpoint = store->latest_checkpoint();
  ASSERT_TRUE(checkpoint && *checkpoint);
  EXPECT_EQ((*checkpoint)->sequence, 10u);
  ASSERT_EQ((*checkpoint)->parts.size(), 2u);
  EXPECT_EQ((*checkpoint)->parts[1].first, "features");
  EXPECT_EQ((*checkpoint)->parts[1].second, (std::vector<std::string>{"two", "three"}));
}

TEST_F(StoreTest, ADamagedCheckpointFallsBackToTheOneBefore) {
  {
    auto store = open();
    for (const uint64_t n : {10, 20, 30}) {
      auto writer = store->begin_checkpoint(n);
      ASSERT_TRUE((*writer)->add("fold", "state at " + std::to_string(n)));
      ASSERT_TRUE((*writer)->commit());
    }
  }
  tamper("checkpoints", "p" + be(30) + be(0), false);
  auto store = open();
  const auto checkpoint = store->latest_checkpoint();
  ASSERT_TRUE(checkpoint && *checkpoint);
  EXPECT_EQ((*checkpoint)->sequence, 20u);
  EXPECT_NE((*checkpoint)->note.find("30"), std::string::npos);
}

TEST_F(StoreTest, RetentionNeverPassesTheNewestCheckpoint) {
  auto store = open();
  ASSERT_TRUE(append(*store, 1, 100));
  const auto key_of = [](std::string_view event) -> std::optional<Key> {
    return key(std::stoull(std::string(event.substr(6))));
  };
  ASSERT_TRUE(store->trim_before(50, key_of));
  EXPECT_EQ(store->first_sequence(), 1u) << "without a checkpoint nothing may go";
  auto writer = store->begin_checkpoint(40);
  ASSERT_TRUE((*writer)->commit());
  ASSERT_TRUE(store->trim_before(90, key_of));
  EXPECT_EQ(store->first_sequence(), 40u);
  expect_log(*store, 40, 100);
  EXPECT_TRUE(*store->find_transaction(key(39))) << "its event is gone, that it was is known";
  EXPECT_FALSE(store->get_event(39));
  EXPECT_TRUE(*store->find_transaction(key(40)));
}

TEST_F(StoreTest, TheIndexForgetsWhatIsLongGone) {
  auto store = open();
  const auto key_of = [](std::string_view event) -> std::optional<Key> {
    return key(std::stoull(std::string(event.substr(6))));
  };
  for (uint64_t n = 1; n <= 2000; n += 100) {
    ASSERT_TRUE(append(*store, n, n + 99));
    auto writer = store->begin_checkpoint(n + 99);
    ASSERT_TRUE((*writer)->commit());
    if (n > 200) {
      ASSERT_TRUE(store->trim_before(n - 100, key_of));
    }
  }
  uint64_t known = 0;
  for (uint64_t n = 1; n <= 2000; ++n) known += store->find_transaction(key(n))->has_value();
  EXPECT_GE(known, 400u) << "what is there, and about as much again";
  EXPECT_LE(known, 600u);
}

TEST_F(StoreTest, DirectoriesThatWillNotDoAreRefusedClearly) {
  std::ofstream(root_ / "file") << "x";
  EXPECT_EQ(Store::open((root_ / "file").string(), {}).error().code, ErrorCode::kNotADataDirectory);
  fs::create_directory(root_ / "other");
  std::ofstream(root_ / "other" / "letter.txt") << "x";
  EXPECT_EQ(Store::open((root_ / "other").string(), {}).error().code, ErrorCode::kNotADataDirectory);
  EXPECT_EQ(Store::open_read_only((root_ / "nothing").string()).error().code, ErrorCode::kNotADataDirectory);
  EXPECT_EQ(Store::open("/proc/shrike", {}).error().code, ErrorCode::kUnwritable);
}

TEST_F(StoreTest, AFullDiskStopsAcknowledgingAndLosesNothing) {
  for (const auto fault : {FaultEnv::Fault::kNoSpace, FaultEnv::Fault::kIo}) {
    std::mt19937 random(9);
    for (int round = 0; round < 6; ++round) {
      fs::remove_all(dir_);
      FaultEnv env;
      uint64_t acknowledged = 0;
      {
        auto store = open(&env);
        env.fail_after(static_cast<int>(random() % 40), fault);
        for (uint64_t n = 1; n <= 400; n += 10) {
          const auto done = append(*store, n, n + 9, true);
          if (!done) {
            EXPECT_EQ(done.error().code,
                      fault == FaultEnv::Fault::kNoSpace ? ErrorCode::kNoSpace : ErrorCode::kIo);
            EXPECT_FALSE(store->healthy());
            break;
          }
          acknowledged = n + 9;
        }
        env.fail_after(0, FaultEnv::Fault::kNone);
      }
      auto store = open();
      EXPECT_GE(store->last_sequence(), acknowledged);
      expect_log(*store, 1, store->last_sequence());
    }
  }
}

TEST_F(StoreTest, AfterAFullDiskWritingGoesOn) {
  FaultEnv env;
  {
    auto store = open(&env);
    ASSERT_TRUE(append(*store, 1, 10, true));
    env.fail_after(0, FaultEnv::Fault::kNoSpace);
    ASSERT_FALSE(append(*store, 11, 20, true));
    ASSERT_FALSE(append(*store, 11, 20, true));
    env.fail_after(0, FaultEnv::Fault::kNone);
    // RocksDB looks for space by itself every few seconds; the journal asks and tries again, as here.
    Result<void> again = tl::make_unexpected(Error{});
    for (int tries = 0; tries < 100 && !again; ++tries) {
      usleep(200'000);
      (void)store->resume();
      again = append(*store, 11, 20, true);
    }
    ASSERT_TRUE(again) << again.error().reason;
    EXPECT_TRUE(store->healthy());
  }
  auto store = open();
  expect_log(*store, 1, 20);
}

TEST_F(StoreTest, ResumeTriesOnWhenTheDirectoryCouldNotBeOpened) {
  FaultEnv env;
  auto store = open(&env);
  ASSERT_TRUE(append(*store, 1, 10, true));
  env.fail_after(0, FaultEnv::Fault::kNoSpace);
  EXPECT_FALSE(append(*store, 11, 20, true));
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(store->resume()) << "there is still no room";
  env.fail_after(0, FaultEnv::Fault::kNone);
  bool again = false;
  for (int i = 0; i < 20 && !again; ++i) again = store->resume() && append(*store, 11, 20, true);
  EXPECT_TRUE(again);
  expect_log(*store, 1, 20);
}

// A server killed after synced writes leaves a write-ahead log. Damage within it is refused, or harms
// nothing.
TEST_F(StoreTest, DamageInTheWriteAheadLogIsNeverLessWithoutAWord) {
  constexpr uint64_t kEvents = 400;
  const fs::path image = root_ / "image";
  {
    auto store = open();
    for (uint64_t n = 1; n <= kEvents; n += 20) ASSERT_TRUE(append(*store, n, n + 19, true));
    fs::copy(dir_, image);
  }
  fs::path log;
  for (const auto& file : fs::directory_iterator(image)) {
    if (file.path().extension() == ".log" && file.file_size() > 0) log = file.path();
  }
  ASSERT_FALSE(log.empty());
  std::ifstream in(log, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  const auto opened_with = [&](const std::string& content) -> std::optional<uint64_t> {
    fs::remove_all(dir_);
    fs::copy(image, dir_);
    std::ofstream(fs::path(dir_) / log.filename(), std::ios::binary) << content;
    auto store = Store::open(dir_, {});
    if (!store) return std::nullopt;
    return (*store)->last_sequence();
  };
  EXPECT_EQ(opened_with(bytes), kEvents);
  std::mt19937 random(7);
  int refused = 0, whole = 0;
  for (int i = 0; i < 120; ++i) {
    const size_t at = random() % (bytes.size() * 9 / 10);
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    const auto last = opened_with(damaged);
    if (!last) {
      ++refused;
    } else if (*last == kEvents) {
      ++whole;
    } else {
      ADD_FAILURE() << "a flipped bit at byte " << at << " of " << bytes.size() << " leaves " << *last
                    << " of " << kEvents;
    }
  }
  EXPECT_GT(refused, 100) << whole;
}

TEST_F(StoreTest, AfterAFlushTheWriteAheadLogIsNotNeeded) {
  {
    auto store = open();
    ASSERT_TRUE(append(*store, 1, 300, true));
    ASSERT_TRUE(store->flush());
  }
  EXPECT_EQ(fs::status(dir_).permissions(), fs::perms::owner_all);
  for (const auto& file : fs::directory_iterator(dir_)) {
    if (file.path().extension() != ".log") continue;
    std::string zeros(file.file_size(), '\0');
    std::ofstream(file.path(), std::ios::binary) << zeros;
  }
  auto store = open();
  expect_log(*store, 1, 300);
}

TEST_F(StoreTest, WhatIsAcknowledgedSurvivesKill) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the thread sanitizer cannot fork a process that has threads";
#endif
  std::mt19937 random(11);
  for (const bool sync : {true, false}) {
    for (int round = 0; round < 4; ++round) {
      fs::remove_all(dir_);
      int ends[2];
      ASSERT_EQ(pipe(ends), 0);
      const pid_t child = fork();
      ASSERT_GE(child, 0);
      if (child == 0) {
        close(ends[0]);
        auto store = Store::open(dir_, {});
        for (uint64_t n = 1;; n += 5) {
          if (!append(**store, n, n + 4, sync)) _exit(1);
          const uint64_t last = n + 4;
          if (write(ends[1], &last, sizeof(last)) < 0) _exit(1);
        }
      }
      close(ends[1]);
      uint64_t acknowledged = 0, last = 0;
      const uint64_t until = 5 + random() % 600;
      while (acknowledged < until && read(ends[0], &last, sizeof(last)) == sizeof(last)) acknowledged = last;
      kill(child, SIGKILL);
      while (read(ends[0], &last, sizeof(last)) == sizeof(last)) acknowledged = last;
      close(ends[0]);
      waitpid(child, nullptr, 0);
      auto store = open();
      EXPECT_GE(store->last_sequence(), acknowledged);
      EXPECT_GE(acknowledged, until);
      expect_log(*store, 1, store->last_sequence());
    }
  }
}

}  // namespace
}  // namespace shrike::storage
