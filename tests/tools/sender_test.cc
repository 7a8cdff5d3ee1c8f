// `score` and `feedback` against a socket that answers as the test says.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>
#include <zmq.hpp>

#include "tests/tools/support.h"

namespace shrike::tools {
namespace {

// Answers each request by `answer`, and keeps it.
class Answering {
 public:
  explicit Answering(std::function<std::string(const std::string&)> answer) : answer_(std::move(answer)) {
    socket_.bind("tcp://127.0.0.1:*");
    endpoint = socket_.get(zmq::sockopt::last_endpoint);
    thread_ = std::thread([this] { run(); });
  }
  ~Answering() { stop(); }
  const std::vector<std::string>& stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
    return requests_;
  }
  std::string endpoint;

 private:
  void run() {
    while (!stopping_) {
      zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
      if (zmq::poll(&item, 1, std::chrono::milliseconds(20)) == 0) continue;
      zmq::message_t address, request;
      (void)socket_.recv(address);
      (void)socket_.recv(request);
      requests_.push_back(request.to_string());
      socket_.send(address, zmq::send_flags::sndmore);
      socket_.send(zmq::buffer(answer_(requests_.back())));
    }
  }
  std::function<std::string(const std::string&)> answer_;
  zmq::context_t context_;
  zmq::socket_t socket_{context_, zmq::socket_type::router};
  std::atomic<bool> stopping_ = false;
  std::vector<std::string> requests_;
  std::thread thread_;
};

std::string fine(const std::string&) { return R"({"id":1})"; }
using Lines = std::vector<std::string>;

class SenderTest : public CommandTest {
 protected:
  // The requests that came.
  Lines send(void (*add)(CLI::App&, int&), const char* command, const std::string& path, int expected,
             std::vector<std::string> more = {},
             std::function<std::string(const std::string&)> answer = fine) {
    Answering server(std::move(answer));
    std::vector<std::string> all = {command, path, "--endpoint", server.endpoint};
    all.insert(all.end(), more.begin(), more.end());
    EXPECT_EQ(run(add, all), expected) << err;
    return server.stop();
  }
  Lines labels(const std::string& text, int expected, std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--config", config_});
    return send(add_feedback, "feedback", file("labels.csv", text), expected, std::move(more));
  }
  std::string config_ = file("config.toml", kSmallConfig);
};

TEST_F(SenderTest, AFileOfLabelsGivesTheirTimesAndSources) {
  EXPECT_EQ(labels("id,is_fraud,time,source\n21,1,1700000500,chargeback\n22,0,,\n23,,,\n", 0),
            (Lines{R"({"id":21,"is_fraud":1,"source":"chargeback","time":1700000500})",
                   R"({"id":22,"is_fraud":0,"source":"analyst"})"}));
  EXPECT_NE(err.find("1 lines without a label"), std::string::npos) << err;
  EXPECT_EQ(labels("IS_FRAUD;transaction_id\n1;21\n", 0, {"--source", "customer"}),
            (Lines{R"({"id":21,"is_fraud":1,"source":"customer"})"}));
}

TEST_F(SenderTest, WholeTransactionsGiveNoLabelATime) {
  EXPECT_EQ(labels("id,time,card,amount,is_fraud\n21,1700000000,a,5,1\n", 0),
            (Lines{R"({"id":21,"is_fraud":1,"source":"analyst"})"}));
  EXPECT_NE(err.find("has whole transactions"), std::string::npos) << err;
}

TEST_F(SenderTest, LabelsThatCannotBeReadAreRefused) {
  EXPECT_TRUE(labels("id,transaction_id,is_fraud\n1,1,1\n", kBadInput).empty());
  EXPECT_NE(err.find("are both the id"), std::string::npos) << err;
  EXPECT_TRUE(labels("id,label\n1,1\n", kBadInput).empty());
  EXPECT_NE(err.find("A file of labels has the columns id, is_fraud and, where known, time and source"),
            std::string::npos)
      << err;
  const std::string bad = "id,is_fraud,source\n1,1,\n2,maybe,\n3,1,rumour\n,1,\n4,0,\n";
  EXPECT_EQ(labels(bad, kBadInput).size(), 1u);
  EXPECT_EQ(labels(bad, kNotAllWell, {"--on-error", "skip"}).size(), 2u);
  EXPECT_NE(err.find("3 lines were refused and not sent"), std::string::npos) << err;
}

TEST_F(SenderTest, AByteOrderMarkIsNoPartOfALine) {
  const std::string bom = "\xEF\xBB\xBF";
  EXPECT_EQ(send(add_score, "score", file("a.jsonl", bom + "{\"id\":1}\r\n\n" + bom + "{\"id\":2}"), 0),
            (Lines{R"({"id":1})", R"({"id":2})"}));
}

TEST_F(SenderTest, AnArrayIsAnsweredWithTheRemedy) {
  for (const char* text : {"[{\"id\":1}]\n", "[\n{\"id\":1},\n{\"id\":2}\n]\n", "{\n\"id\":1\n}\n"}) {
    EXPECT_TRUE(send(add_score, "score", file("a.jsonl", text), kNotAllWell).empty());
    EXPECT_EQ(out.find("{\"error\":"), 0u) << out;
    EXPECT_NE(out.find("jq -c"), std::string::npos) << out;
  }
  using namespace std::string_view_literals;
  EXPECT_TRUE(send(add_score, "score", file("b.jsonl", "\xff\xfe{\0}\0"sv), kBadInput).empty());
  EXPECT_NE(err.find("iconv -f UTF-16 -t UTF-8"), std::string::npos) << err;
}

TEST_F(SenderTest, RefusedRequestsAreCountedAndBytesNeverShown) {
  const auto refuse = [](const std::string& request) -> std::string {
    if (request == "x") return std::string("\x0a\x02\x08\x01\0", 5);
    return request == "y" ? R"({"error":{"code":"malformed"}})" : R"({"id":1})";
  };
  send(add_score, "score", file("a.jsonl", "x\n{}\ny\n"), kNotAllWell, {}, refuse);
  EXPECT_NE(err.find("2 of 3 requests were refused"), std::string::npos) << err;
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 3);
  EXPECT_EQ(out.find_first_of(std::string_view("\0\x01\x02\x08", 4)), std::string::npos);
}

}  // namespace
}  // namespace shrike::tools
