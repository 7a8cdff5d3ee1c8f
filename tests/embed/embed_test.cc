// libshrike through its C face, as a program of somebody else's has it.
#include <gtest/gtest.h>
#include <shrike.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

class Embed : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    dir_ = std::filesystem::temp_directory_path() / ("shrike-embed-" + std::to_string(getpid()));
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    std::ifstream from(SHRIKE_SOURCE_DIR "/examples/handbook.toml");
    std::string text((std::istreambuf_iterator<char>(from)), {});
    const std::string was = "durability = \"sync\"";
    text.replace(text.find(was), was.size(), std::string("durability = \"") + GetParam() + "\"");
    config_ = dir_ / "config.toml";
    std::ofstream(config_) << text;
    engine_ = open();
  }
  void TearDown() override {
    shrike_close(engine_);
    std::filesystem::remove_all(dir_);
  }

  shrike_engine* open() {
    shrike_text error{};
    shrike_engine* engine = shrike_open(config_.c_str(), (dir_ / "data").c_str(), &error);
    EXPECT_NE(engine, nullptr) << std::string(error.data, error.size);
    return engine;
  }
  static std::string transaction(int id, double amount = 20) {
    return R"({"transaction_id":)" + std::to_string(id) + R"(,"time":1000,"customer_id":)" +
           std::to_string(id % 50) + R"(,"terminal_id":3,"amount":)" + std::to_string(amount) + "}";
  }
  int score(const std::string& request, shrike_answer* answer, std::string* reply = nullptr) {
    shrike_text text{};
    const int status = shrike_score(engine_, request.data(), request.size(), answer, &text);
    if (reply != nullptr) reply->assign(text.data, text.size);
    return status;
  }
  std::string feedback(const std::string& request, int* status = nullptr) {
    shrike_text text{};
    const int said = shrike_feedback(engine_, request.data(), request.size(), &text);
    if (status != nullptr) *status = said;
    return {text.data, text.size};
  }

  std::filesystem::path dir_, config_;
  shrike_engine* engine_ = nullptr;
};

TEST_P(Embed, ScoresLearnsAndSaysWhatIsWrong) {
  shrike_answer answer{};
  std::string reply;
  ASSERT_EQ(score(transaction(1), &answer, &reply), SHRIKE_OK) << reply;
  EXPECT_NEAR(answer.score, 0.01, 1e-6) << "the prior: there is no model yet";
  EXPECT_NEAR(answer.risk, 0.2, 1e-6);
  EXPECT_EQ(answer.decision, SHRIKE_APPROVE);
  EXPECT_NE(reply.find("\"transaction_id\":1,"), std::string::npos) << reply;
  const uint64_t seq = answer.seq;
  ASSERT_EQ(score(transaction(1), &answer), SHRIKE_OK);
  EXPECT_EQ(answer.seq, seq);
  EXPECT_EQ(answer.duplicate, 1);
  EXPECT_EQ(score(transaction(1, 5000), &answer, &reply), SHRIKE_CONFLICT) << reply;
  EXPECT_EQ(answer.seq, 0u);
  EXPECT_EQ(score("[]", &answer), SHRIKE_MALFORMED);
  EXPECT_EQ(score(R"({"transaction_id":5})", &answer, &reply), SHRIKE_MISSING_FIELD) << reply;
  EXPECT_EQ(score(transaction(2), nullptr), SHRIKE_OK);
  int status = 0;
  EXPECT_NE(feedback(R"({"transaction_id":1,"is_fraud":1,"source":"chargeback","time":90000})", &status)
                .find("\"stored\""),
            std::string::npos);
  EXPECT_EQ(status, SHRIKE_OK);
  EXPECT_NE(feedback(R"({"command":"status"})").find("\"labels\":1"), std::string::npos);
  feedback(R"({"command":"activate","argument":"beef"})", &status);
  EXPECT_NE(status, SHRIKE_OK);
}

TEST_P(Embed, WhatWasAcknowledgedIsThereAfterItWasClosed) {
  shrike_answer first{}, again{};
  for (int id = 1; id <= 300; ++id) ASSERT_EQ(score(transaction(id), &first), SHRIKE_OK);
  shrike_close(engine_);
  engine_ = open();
  ASSERT_EQ(score(transaction(300), &again), SHRIKE_OK);
  EXPECT_EQ(again.seq, first.seq);
  EXPECT_EQ(again.duplicate, 1);
  EXPECT_EQ(again.score, first.score);
}

TEST_P(Embed, ManyThreadsMayCallAndEachHasItsOwnReply) {
  constexpr int kThreads = 4, kEach = 500;
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const int id = 1 + t * kEach + i;
        std::string reply;
        shrike_answer answer{};
        if (i % 10 == 9) {
          reply = feedback(R"({"transaction_id":)" + std::to_string(id - 1) +
                           R"(,"is_fraud":0,"source":"analyst","time":90000})");
          wrong += reply.find("\"transaction_id\":" + std::to_string(id - 1) + ",\"status\":\"stored\"") ==
                   std::string::npos;
          continue;
        }
        wrong += score(transaction(id), &answer, &reply) != SHRIKE_OK;
        wrong += reply.find("\"transaction_id\":" + std::to_string(id) + ",") == std::string::npos;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_NE(feedback(R"({"command":"status"})").find("\"transactions\":1800,"), std::string::npos);
}

TEST_P(Embed, WhatCannotBeOpenedSaysWhy) {
  shrike_text error{};
  EXPECT_EQ(shrike_open("/nowhere.toml", (dir_ / "data").c_str(), &error), nullptr);
  EXPECT_NE(std::string(error.data, error.size).find("/nowhere.toml"), std::string::npos);
  EXPECT_EQ(shrike_open(config_.c_str(), (dir_ / "data").c_str(), &error), nullptr) << "it is open already";
  EXPECT_GT(error.size, 0u);
  EXPECT_EQ(shrike_open(nullptr, nullptr, nullptr), nullptr);
  shrike_close(nullptr);
  EXPECT_EQ(shrike_abi(), static_cast<uint32_t>(SHRIKE_ABI));
}

INSTANTIATE_TEST_SUITE_P(Durability, Embed, testing::Values("sync", "async"),
                         [](const auto& about) { return std::string(about.param); });

}  // namespace
