// A flipped bit, or a cut, anywhere in any file of a data directory: it is refused, or it harms nothing.
// Never is there silently less, or something else, than was acknowledged.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "storage/marker.h"
#include "storage/store.h"
#include "tests/support/temp_dir.h"

namespace shrike::storage {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kTables = 300, kLogged = 500;  // events in tables, and with those in the write-ahead log

Key key(uint64_t n) {
  Key k{};
  std::memcpy(k.data(), &n, sizeof(n));
  return k;
}
std::string value(uint64_t n) { return "event " + std::to_string(n) + std::string(n % 50, 'x'); }
std::string label(uint64_t n) { return "label " + std::to_string(n); }

void append(Store& store, uint64_t from, uint64_t to) {
  for (uint64_t n = from; n <= to; n += 10) {
    std::vector<std::string> values, labels;
    std::vector<Record> records;
    for (uint64_t i = n; i < n + 10; ++i) values.push_back(value(i)), labels.push_back(label(i));
    for (uint64_t i = 0; i < 10; ++i) {
      records.push_back({n + i, values[i], key(n + i)});
      if ((n + i) % 3 == 0) records.back().label = LabelEntry{key(n + i), labels[i]};
    }
    ASSERT_TRUE(store.append(records, true));
  }
}

void checkpoint(Store& store, uint64_t at) {
  auto writer = store.begin_checkpoint(at);
  ASSERT_TRUE(writer);
  ASSERT_TRUE((*writer)->add("fold", "state at " + std::to_string(at)));
  ASSERT_TRUE((*writer)->add("trainer", std::string(3000, 't')));
  ASSERT_TRUE((*writer)->commit());
}

class Damage : public ::testing::Test {
 protected:
  void SetUp() override {
    // As kill -9 leaves it: copied while the store is open.
    auto store = Store::open((root_ / "made").string(), {});
    ASSERT_TRUE(store);
    append(**store, 1, kTables);
    ASSERT_TRUE((*store)->put_model("aa", "a model"));
    ASSERT_TRUE((*store)->put_meta("config", "text"));
    checkpoint(**store, 200);
    ASSERT_TRUE((*store)->flush());
    append(**store, kTables + 1, kLogged);
    ASSERT_TRUE((*store)->put_model("bb", "another model"));
    checkpoint(**store, 400);
    fs::copy(root_ / "made", root_ / "image");
    for (const auto& file : fs::directory_iterator(root_ / "image")) {
      if (file.is_regular_file() && file.file_size() > 0) files_.push_back(file.path().filename());
    }
    std::sort(files_.begin(), files_.end());
  }

  std::string content(const fs::path& file) const {
    std::ifstream in(root_ / "image" / file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  // What is wrong and nobody said so; "" when it is refused or harmless.
  std::string with_damage(const fs::path& file, const std::string* damaged) {
    const fs::path dir = root_ / "try";
    fs::remove_all(dir);
    fs::copy(root_ / "image", dir);
    fs::remove(dir / file);
    if (damaged != nullptr) std::ofstream(dir / file, std::ios::binary) << *damaged;
    auto opened = Store::open(dir.string(), {});
    if (!opened) {
      ++refused_;
      return opened.error().reason.empty() ? "refused without a word" : "";
    }
    const std::string wrong = read_all(**opened);
    wrong.empty() ? ++harmless_ : 0;
    return wrong;
  }

  // A read that fails says so; one that succeeds gives what was written.
  static std::string read_all(const Store& store) {
    if (store.last_sequence() != kLogged) return "it ends at " + std::to_string(store.last_sequence());
    if (store.first_sequence() != 1) return "it begins at " + std::to_string(store.first_sequence());
    auto cursor = store.read(1);
    for (uint64_t n = 1; n <= kLogged; ++n) {
      const auto event = cursor.next();
      if (!event) break;
      if (!*event || (*event)->sequence != n || (*event)->value != value(n))
        return "event " + std::to_string(n) + " is not what was written";
    }
    for (uint64_t n = 1; n <= kLogged; ++n) {
      const auto found = store.find_transaction(key(n));
      if (found && *found != n) return "transaction " + std::to_string(n) + " is not found";
      const auto known = store.find_label(key(n));
      if (known && *known != (n % 3 == 0 ? std::optional(label(n)) : std::nullopt))
        return "label " + std::to_string(n) + " is not what was written";
    }
    for (const auto& [hash, bytes] : {std::pair("aa", "a model"), {"bb", "another model"}}) {
      const auto model = store.get_model(hash);
      if (model ? *model != bytes : model.error().code == ErrorCode::kNotFound)
        return std::string("model ") + hash + " is not what was written";
    }
    const auto config = store.get_meta("config");
    if (config && *config != "text") return "the configuration is not what was written";
    const auto newest = store.latest_checkpoint();
    if (!newest) return "";
    if (!*newest) return "there is no checkpoint";
    const bool said = (*newest)->sequence == 400 || !(*newest)->note.empty();
    if (!said) return "an older checkpoint, without a word";
    if ((*newest)->parts[0].second[0] != "state at " + std::to_string((*newest)->sequence))
      return "the checkpoint is not what was written";
    return "";
  }

  TempDir folder_;
  const fs::path root_ = folder_.path();
  std::vector<fs::path> files_;
  int refused_ = 0, harmless_ = 0;
};

TEST_F(Damage, AFlippedBitAnywhereIsRefusedOrHarmless) {
  constexpr int kPositions = 500;
  std::mt19937 random(17);
  for (int i = 0; i < kPositions; ++i) {
    const fs::path& file = files_[static_cast<size_t>(i) % files_.size()];
    std::string bytes = content(file);
    const size_t at = random() % bytes.size();
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    EXPECT_EQ(with_damage(file, &bytes), "") << file << " byte " << at << " of " << bytes.size();
  }
  EXPECT_GT(refused_, 50) << harmless_;
  EXPECT_GT(harmless_, 50) << refused_;
}

TEST_F(Damage, ACutAnywhereIsRefusedOrHarmless) {
  std::mt19937 random(18);
  for (const fs::path& file : files_) {
    const std::string bytes = content(file);
    for (int i = 0; i < 500 / static_cast<int>(files_.size()); ++i) {
      const std::string cut = bytes.substr(0, i == 0 ? bytes.size() - 1 : random() % bytes.size());
      EXPECT_EQ(with_damage(file, &cut), "") << file << " cut at " << cut.size() << " of " << bytes.size();
    }
    EXPECT_EQ(with_damage(file, nullptr), "") << file << " gone";
  }
}

TEST_F(Damage, WhatIsMissingIsNamedAndCanBeAccepted) {
  fs::path log;
  for (const fs::path& file : files_) {
    if (file.extension() == ".log" && content(file).size() > 1000) log = file;
  }
  const fs::path dir = root_ / "image";
  ASSERT_TRUE(fs::remove(dir / log));
  const auto refused = Store::open(dir.string(), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
  const auto accepted = Store::open(dir.string(), {.accept_loss = true});
  if (!accepted) GTEST_SKIP() << "RocksDB itself refuses: " << accepted.error().reason;
  EXPECT_LT((*accepted)->last_sequence(), kLogged);
}

TEST_F(Damage, VerifyFindsIt) {
  const auto problems_in = [&](const fs::path& dir) {
    std::vector<std::string> problems;
    auto store = Store::open_read_only(dir.string());
    if (!store) return std::vector<std::string>{store.error().reason};
    const auto sound = [](auto&&...) { return std::string(); };
    const Verification found =
        (*store)->verify({sound, sound, sound}, [&](std::string problem) { problems.push_back(problem); });
    if (problems.empty()) {
      EXPECT_EQ(found.events, kLogged);
      EXPECT_EQ(found.transactions, kLogged);
      EXPECT_EQ(found.labels, kLogged / 3);
      EXPECT_EQ(found.models, 2u);
      EXPECT_EQ(found.checkpoints, 2u);
    }
    return problems;
  };
  EXPECT_EQ(problems_in(root_ / "image"), std::vector<std::string>{});
  std::mt19937 random(19);
  int tables = 0;
  for (const fs::path& file : files_) {
    if (file.extension() != ".sst") continue;
    const std::string whole = content(file);
    for (int i = 0; i < 5; ++i) {
      std::string bytes = whole;
      bytes[random() % (bytes.size() / 2)] ^= 1;  // data blocks come first
      std::ofstream(root_ / "image" / file, std::ios::binary) << bytes;
      EXPECT_FALSE(problems_in(root_ / "image").empty()) << file;
    }
    std::ofstream(root_ / "image" / file, std::ios::binary) << whole;
    ++tables;
  }
  EXPECT_GT(tables, 0);
}

}  // namespace
}  // namespace shrike::storage
