// A whole server behind its sockets, as clients see it.
#include "engine/serve/server.h"
#include "engine/serve/retraining.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <simdjson.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "engine/replay/replay.h"
#include "engine/wire/wire.h"
#include "engine/wire/wire.pb.h"
#include "storage/store.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

class Running {
 public:
  Running(const ConfigPtr& config, const std::string& data) {
    auto opened = Server::open(config, data);
    EXPECT_TRUE(opened) << opened.error();
    server_ = std::move(*opened);
    thread_ = std::thread([this] { server_->run(); });
  }
  ~Running() { stop(); }
  void stop() {
    if (!thread_.joinable()) return;
    server_->request_stop();
    thread_.join();
    server_.reset();
  }
  const Endpoints& at() const { return server_->endpoints(); }

 private:
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

class Peer {
 public:
  Peer(const std::string& endpoint, zmq::socket_type type = zmq::socket_type::dealer)
      : socket_(context_, type) {
    socket_.set(zmq::sockopt::linger, 0);
    socket_.set(zmq::sockopt::rcvtimeo, 20'000);
    socket_.connect(endpoint);
  }
  void send(const std::vector<std::string>& frames) {
    for (size_t i = 0; i < frames.size(); ++i) {
      socket_.send(zmq::buffer(frames[i]),
                   i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
    }
  }
  std::vector<std::string> receive() {
    std::vector<std::string> frames;
    zmq::message_t part;
    do {
      if (!socket_.recv(part)) {
        ADD_FAILURE() << "no reply";
        return {""};
      }
      frames.push_back(part.to_string());
    } while (part.more());
    return frames;
  }
  std::string ask(const std::string& request) {
    send({request});
    return receive().back();
  }
  zmq::socket_t& socket() { return socket_; }

 private:
  zmq::context_t context_;
  zmq::socket_t socket_;
};

std::string field(const std::string& json, const char* key) {
  simdjson::dom::parser parser;
  simdjson::dom::element value;
  if (parser.parse(json).at_key(key).get(value)) return "(none: " + json + ")";
  std::string_view text;
  return value.get(text) ? simdjson::minify(value) : std::string(text);
}

std::string error_code(const std::string& json) {
  simdjson::dom::parser parser;
  std::string_view code;
  return parser.parse(json)["error"]["code"].get(code) ? "(none: " + json + ")" : std::string(code);
}

std::string transaction(int id, int time_s = 1000, double amount = 20) {
  return R"({"transaction_id":)" + std::to_string(id) + R"(,"time":)" + std::to_string(time_s) +
         R"(,"customer_id":7,"terminal_id":3,"amount":)" + std::to_string(amount) + "}";
}

std::string label(int id, int is_fraud, const std::string& source = "analyst", int time_s = 2'000'000) {
  return R"({"transaction_id":)" + std::to_string(id) + R"(,"is_fraud":)" + std::to_string(is_fraud) +
         R"(,"source":")" + source + R"(","time":)" + std::to_string(time_s) + "}";
}

class ServerTest : public ::testing::TestWithParam<const char*> {
 protected:
  ConfigPtr config() const { return must_parse(small_handbook("background", GetParam())); }
  TempDir dir_;
};

TEST_P(ServerTest, EveryKindOfClientIsAnswered) {
  Running server(config(), dir_ / "data");
  Peer dealer(server.at().score), raw(server.at().score), req(server.at().score, zmq::socket_type::req);
  const std::string reply = dealer.ask(transaction(1));
  for (const char* key : {"transaction_id", "score", "risk", "decision", "reasons", "model", "seq", "step"}) {
    EXPECT_EQ(field(reply, key).rfind("(none", 0), std::string::npos) << key << " in " << reply;
  }
  EXPECT_EQ(field(reply, "step"), "full");
  EXPECT_EQ(field(req.ask(transaction(2)), "transaction_id"), "2");
  raw.send({"", transaction(3)});
  const auto frames = raw.receive();
  ASSERT_EQ(frames.size(), 2u);
  EXPECT_EQ(frames[0], "");
  EXPECT_EQ(field(frames[1], "transaction_id"), "3");
}

TEST_P(ServerTest, ProtobufAndJsonShareASocket) {
  const ConfigPtr c = config();
  Running server(c, dir_ / "data");
  Peer peer(server.at().score), feedback(server.at().feedback);
  const std::string request =
      score_request_protobuf(c->schema(), make_transaction(c->schema(), 5, 1000, 7, 3, 20));
  wire::Reply reply;
  ASSERT_TRUE(reply.ParseFromString(peer.ask(request)));
  EXPECT_EQ(reply.score().transaction_id().integer(), 5);
  EXPECT_EQ(reply.score().step(), "full");
  EXPECT_EQ(field(peer.ask(transaction(5)), "seq"), std::to_string(reply.score().seq()))
      << "a duplicate in the other form";
  wire::LabelRequest given;
  given.mutable_transaction_id()->set_integer(5);
  given.set_is_fraud(true);
  given.set_source("customer");
  ASSERT_TRUE(reply.ParseFromString(feedback.ask(given.SerializeAsString())));
  EXPECT_EQ(reply.label().status(), "stored");
  ASSERT_TRUE(reply.ParseFromString(peer.ask("\x01\x02\x03")));
  EXPECT_EQ(reply.error().code(), "malformed");
}

TEST_P(ServerTest, BadInputIsAnsweredAndHarmsNothing) {
  Running server(config(), dir_ / "data");
  Peer peer(server.at().score), feedback(server.at().feedback);
  int id = 100;
  const auto next_is_served = [&] { EXPECT_EQ(field(peer.ask(transaction(++id)), "step"), "full"); };
  EXPECT_EQ(error_code(peer.ask("{")), "malformed");
  next_is_served();
  EXPECT_EQ(error_code(peer.ask(transaction(1, 1000, -3))), "invalid_value");
  next_is_served();
  EXPECT_EQ(error_code(peer.ask(std::string("{") + std::string(3 << 20, ' '))), "too_large");
  next_is_served();
  peer.send({"a", "b", "c"});
  EXPECT_EQ(error_code(peer.receive().back()), "bad_frames");
  next_is_served();
  EXPECT_EQ(field(peer.ask(transaction(3, 86400 * 2)), "step"), "full");
  const std::string late = peer.ask(transaction(4, 1000));
  EXPECT_EQ(field(late, "step"), "full") << "a payment is not refused a score for its time";
  EXPECT_EQ(field(late, "clock"), "late");
  EXPECT_EQ(error_code(feedback.ask(R"({"command":"dance"})")), "invalid_value");
  EXPECT_EQ(error_code(feedback.ask(label(3, 1, "analyst", 5))), "invalid_value")
      << "older than its transaction";
  const std::string status = feedback.ask(R"({"command":"status"})");
  EXPECT_EQ(field(field(status, "errors"), "too_large"), "1");
}

TEST_P(ServerTest, RepliesKeepTheOrderOfRequestsBadOnesToo) {
  Running server(config(), dir_ / "data");
  Peer peer(server.at().score);
  for (int i = 0; i < 300; ++i) peer.send({i % 7 == 3 ? std::string("{bad") : transaction(i)});
  for (int i = 0; i < 300; ++i) {
    const std::string reply = peer.receive().back();
    if (i % 7 == 3) {
      ASSERT_EQ(error_code(reply), "malformed");
    } else {
      ASSERT_EQ(field(reply, "transaction_id"), std::to_string(i));
    }
  }
}

TEST_P(ServerTest, ADuplicateGetsTheFirstAnswerAgain) {
  const std::string data = dir_ / "data";
  std::string first;
  {
    Running server(config(), data);
    Peer peer(server.at().score);
    first = peer.ask(transaction(1));
    first.insert(first.size() - 1, R"(,"duplicate":true)");
    EXPECT_EQ(peer.ask(transaction(1)), first);
    peer.send({transaction(2)});
    peer.send({transaction(2)});
    std::string second = peer.receive().back();
    second.insert(second.size() - 1, R"(,"duplicate":true)");
    EXPECT_EQ(peer.receive().back(), second);
  }
  Running server(config(), data);
  Peer peer(server.at().score);
  EXPECT_EQ(peer.ask(transaction(1)), first) << "after a restart";
  // Long after it has matured and left memory.
  EXPECT_EQ(field(peer.ask(transaction(3, 40 * 86400)), "step"), "full");
  EXPECT_EQ(field(peer.ask(transaction(4, 41 * 86400)), "step"), "full");
  EXPECT_EQ(peer.ask(transaction(1)), first) << "from the log";
}

TEST_P(ServerTest, AnIdWithOtherContentIsAConflictThatNamesTheField) {
  const std::string data = dir_ / "data";
  const auto conflicting = [](const std::string& reply) {
    EXPECT_EQ(error_code(reply), "conflict");
    EXPECT_EQ(field(reply, "transaction_id"), "1");
    return field(field(reply, "error"), "field");
  };
  {
    Running server(config(), data);
    Peer peer(server.at().score), feedback(server.at().feedback);
    peer.ask(transaction(1));
    // What an asynchronous journal has not yet written is told from the time alone.
    EXPECT_EQ(conflicting(peer.ask(transaction(1, 1001))), "time");
    peer.send({transaction(2)});
    peer.send({transaction(2, 1000, 30)});
    EXPECT_EQ(field(peer.receive().back(), "step"), "full");
    EXPECT_EQ(error_code(peer.receive().back()), "conflict") << "in one batch";
    EXPECT_EQ(field(field(feedback.ask(R"({"command":"status"})"), "errors"), "conflict"), "2");
  }
  Running server(config(), data);
  Peer peer(server.at().score);
  EXPECT_EQ(conflicting(peer.ask(transaction(1, 1000, 999))), "amount") << "after a restart";
  peer.ask(transaction(3, 40 * 86400));
  peer.ask(transaction(4, 41 * 86400));
  EXPECT_EQ(conflicting(peer.ask(transaction(1, 1000, 999))), "amount") << "from the log";
}

TEST_P(ServerTest, AWrongClockMovesNothing) {
  const std::string data = dir_ / "data";
  const ConfigPtr live =
      must_parse(with(small_handbook("background", GetParam()), "clock = \"event\"", "clock = \"live\""));
  const std::string wrong =
      R"({"transaction_id":1,"time":1764000000000,"customer_id":1,"terminal_id":1,"amount":5})";
  const auto is_on_time = [](const std::string& reply) {
    EXPECT_EQ(field(reply, "step"), "full");
    EXPECT_EQ(reply.find("clock"), std::string::npos) << reply;
  };
  for (int run = 0; run < 2; ++run) {
    Running server(live, data);
    Peer peer(server.at().score), feedback(server.at().feedback);
    // Milliseconds for seconds, in a new directory: what comes after it is not too late.
    const std::string reply = peer.ask(wrong);
    EXPECT_EQ(field(reply, "clock"), "ahead");
    EXPECT_EQ(field(reply, "duplicate") == "true", run == 1) << "known after a restart";
    is_on_time(peer.ask(transaction(10 * run + 2, 1000 + run)));
    EXPECT_EQ(field(peer.ask(transaction(10 * run + 3, 1000 + 59 * 86400)), "clock"), "ahead");
    is_on_time(peer.ask(transaction(10 * run + 4, 1001 + run)));
    const std::string status = feedback.ask(R"({"command":"status"})");
    EXPECT_EQ(field(status, "clock_ahead"), std::to_string(2 + run));
    EXPECT_EQ(field(status, "matured"), "0");
    EXPECT_EQ(field(feedback.ask(label(10 * run + 3, 1, "analyst", 5000)), "status"), "stored");
  }
  // What was marked comes out of the log alike.
  auto store = storage::Store::open_read_only(data);
  ASSERT_TRUE(store);
  const auto replayed = replay_recorded(live, **store, nullptr, nullptr);
  ASSERT_TRUE(replayed) << replayed.error();
  EXPECT_EQ(replayed->scores_different, 0u);
  EXPECT_EQ(replayed->counters.ahead, 3u);
}

TEST_P(ServerTest, EveryReplyCarriesTheId) {
  Running server(config(), dir_ / "data");
  Peer peer(server.at().score), feedback(server.at().feedback);
  EXPECT_EQ(field(peer.ask(transaction(9, 1000, -3)), "transaction_id"), "9");
  EXPECT_EQ(field(feedback.ask(label(9, 1)), "transaction_id"), "9");
  EXPECT_EQ(field(peer.ask(R"({"amount":"x","transaction_id":12})"), "transaction_id"), "12");
}

// A peer that speaks ZMTP 3.0 by hand, as a client library would not.
class HandMade {
 public:
  explicit HandMade(const std::string& endpoint) : file_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(std::stoi(endpoint.substr(endpoint.rfind(':') + 1))));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(file_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
    using namespace std::string_literals;
    send("\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL"s + std::string(16 + 1 + 31, '\0'));
    const std::string ready =
        "\x05READY\x0bSocket-Type\0\0\0\x06"
        "DEALER\x08Identity\0\0\0\0"s;
    send("\x04"s + static_cast<char>(ready.size()) + ready);
  }
  ~HandMade() { close(file_); }
  // False when the other end has cut it off.
  bool send(const std::string& bytes) {
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t sent = ::send(file_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      at += static_cast<size_t>(sent);
    }
    return true;
  }

 private:
  int file_;
};

TEST_P(ServerTest, APeerWhoseMessageHasNoEndIsCutOff) {
  const ConfigPtr c = config();
  Running server(c, dir_ / "data");
  Peer honest(server.at().score);
  EXPECT_EQ(field(honest.ask(transaction(1)), "step"), "full");
  HandMade endless(server.at().score);
  using namespace std::string_literals;
  const std::string part = "\x03\0\0\0\0\0\x01\0\0"s + std::string(1 << 16, 'x');  // more follow
  size_t sent = 0;
  while (sent < size_t{2} << 30 && endless.send(part)) sent += part.size();
  EXPECT_LT(sent, 200 * c->sockets.message_bytes_max);
  EXPECT_EQ(field(honest.ask(transaction(2)), "step"), "full");
}

TEST_P(ServerTest, ABurstBeyondTheQueueIsRefusedInOrder) {
  const ConfigPtr c = must_parse(with(small_handbook("background", GetParam()), "queue_requests_max = 16384",
                                      "queue_requests_max = 64"));
  Running server(c, dir_ / "data");
  Peer peer(server.at().score);
  constexpr int kBurst = 3000;
  peer.socket().set(zmq::sockopt::sndtimeo, 20'000);
  int sent = 0, answered = 0;
  while (answered < kBurst) {
    while (sent < kBurst && sent - answered < 900) peer.send({transaction(++sent)});
    ASSERT_EQ(field(peer.receive().back(), "transaction_id"), std::to_string(++answered));
  }
}

TEST_P(ServerTest, ACleanStopLeavesNothingToFoldAgain) {
  const ConfigPtr c = config();
  const std::string data = dir_ / "data";
  {
    Running server(c, data);
    Peer peer(server.at().score);
    for (int i = 1; i <= 50; ++i) peer.ask(transaction(i, 1000 + i));
  }
  auto store = storage::Store::open_read_only(data);
  ASSERT_TRUE(store);
  const auto checkpoint = (*store)->latest_checkpoint();
  ASSERT_TRUE(checkpoint && *checkpoint);
  EXPECT_EQ((*checkpoint)->sequence, (*store)->last_sequence());
}

TEST_P(ServerTest, AfterRetentionAnotherLearnerBeginsAnewAndTheModelServesOn) {
  const std::string data = dir_ / "data";
  const std::string text = with(
      with(small_handbook("background", GetParam()), "checkpoint_every = 1000", "checkpoint_every = 500"),
      "retention = \"400d\"", "retention = \"2d\"");
  std::string champion;
  {
    Running server(must_parse(text), data);
    Peer score(server.at().score), feedback(server.at().feedback);
    const auto status = [&](const char* what) {
      return field(feedback.ask(R"({"command":"status"})"), what);
    };
    for (int from = 0; from < 4000; from += 500) {
      for (int id = from; id < from + 500; ++id) score.send({transaction(id, 1000 + id * 300)});
      for (int id = from; id < from + 500; ++id) score.receive();
      // Each checkpoint is one epoch; retention goes by them.
      const std::string made = std::to_string(from / 500 + 1);
      for (int tries = 0; tries < 200 && status("checkpoints") < made; ++tries) usleep(10'000);
    }
    champion = status("champion");
  }
  {
    auto store = storage::Store::open_read_only(data);
    ASSERT_TRUE(store);
    ASSERT_GT((*store)->first_sequence(), 1u);
    const auto replayed = replay_recorded(must_parse(text), **store, nullptr, nullptr);
    ASSERT_TRUE(replayed) << replayed.error();
    EXPECT_GT(replayed->first_event, 1u) << "it says which part it covers";
    EXPECT_EQ(replayed->scores_different, 0u);
  }
  Running server(must_parse(with(text, "bin_sample = 400", "bin_sample = 300")), data);
  Peer score(server.at().score), feedback(server.at().feedback);
  EXPECT_EQ(field(score.ask(transaction(9000, 1000 + 4000 * 300)), "step"), "full");
  EXPECT_EQ(field(feedback.ask(R"({"command":"status"})"), "champion"), champion);
}

TEST_P(ServerTest, LabelsThatCameFirstAreKnownForEver) {
  const std::string data = dir_ / "data";
  Running server(config(), data);
  Peer score(server.at().score), feedback(server.at().feedback);
  const auto counted = [&](const char* what) { return field(feedback.ask(R"({"command":"status"})"), what); };
  score.ask(transaction(1));
  for (const int id : {2, 3}) {
    EXPECT_EQ(field(feedback.ask(label(id, 1, "chargeback")), "status"), "pending");
    score.ask(transaction(id));
  }
  score.ask(transaction(4, 20 * 86400));
  score.ask(transaction(5, 41 * 86400));  // the first have matured and left memory
  const std::string learned = counted("fraud_examples");
  EXPECT_EQ(learned, "2");
  EXPECT_EQ(field(feedback.ask(label(2, 1, "chargeback")), "status"), "duplicate");
  EXPECT_EQ(counted("fraud_examples"), learned) << "not learned twice";
  const std::string examples = counted("examples");
  EXPECT_EQ(field(feedback.ask(label(3, 0, "analyst", 41 * 86400)), "status"), "corrected");
  // A change is learned once it has stood for a while.
  for (int id = 1000; id < 2100; ++id) score.send({transaction(id, 41 * 86400)});
  for (int id = 1000; id < 2100; ++id) score.receive();
  EXPECT_EQ(counted("examples"), std::to_string(std::stoi(examples) + 1)) << "the withdrawal is learned";
}

TEST_P(ServerTest, LabelsAreIdempotentAndCorrectionsWin) {
  const std::string data = dir_ / "data";
  {
    Running server(config(), data);
    Peer score(server.at().score), feedback(server.at().feedback);
    score.ask(transaction(1));
    const std::string stored = feedback.ask(label(1, 1));
    EXPECT_EQ(field(stored, "status"), "stored");
    const std::string again = feedback.ask(label(1, 1));
    EXPECT_EQ(field(again, "status"), "duplicate");
    EXPECT_EQ(field(again, "seq"), field(stored, "seq"));
    EXPECT_EQ(field(feedback.ask(label(1, 1, "customer")), "status"), "stored");
    EXPECT_EQ(field(feedback.ask(label(1, 0, "chargeback")), "status"), "corrected");
  }
  Running server(config(), data);
  Peer score(server.at().score), feedback(server.at().feedback);
  EXPECT_EQ(field(feedback.ask(label(1, 0, "chargeback")), "status"), "duplicate") << "after a restart";
  score.ask(transaction(2, 40 * 86400));
  score.ask(transaction(3, 41 * 86400));
  EXPECT_EQ(field(feedback.ask(label(1, 0, "chargeback")), "status"), "duplicate") << "from the log";
  EXPECT_EQ(field(feedback.ask(label(1, 1, "analyst", 41 * 86400)), "status"), "duplicate");
  EXPECT_EQ(field(feedback.ask(label(1, 1, "chargeback", 41 * 86400)), "status"), "corrected");
  EXPECT_EQ(field(feedback.ask(label(1, 1, "chargeback", 41 * 86400)), "status"), "duplicate");
}

// Everything is declined but for the control group: what the payment system reports, and what it does not.
TEST_P(ServerTest, OutcomesAndControlsGoThroughTheLog) {
  std::string text = small_handbook("background", GetParam());
  text = with(text, "review_score = 0.1", "review_score = 0.001");
  text = with(text, "decline_score = 0.5", "decline_score = 0.002");
  text = with(text, "share = 0 ", "share = 0.5 ");
  const ConfigPtr c = must_parse(text);
  const std::string data = dir_ / "data";
  int controls = 0, declined = 0;
  const auto outcome = [](int id, const std::string& what) {
    return R"({"transaction_id":)" + std::to_string(id) + R"(,"outcome":")" + what + "\"}";
  };
  {
    Running server(c, data);
    Peer score(server.at().score), feedback(server.at().feedback);
    for (int id = 1; id <= 40; ++id) {
      const std::string reply = score.ask(transaction(id, 1000 + id));
      const bool control = reply.find(R"("control":true)") != std::string::npos;
      EXPECT_EQ(field(reply, "decision"), control ? "approve" : "decline");
      controls += control;
      if (!control && declined++ == 0) {
        EXPECT_EQ(field(feedback.ask(outcome(id, "approved")), "status"), "stored");
        EXPECT_EQ(field(feedback.ask(outcome(id, "approved")), "status"), "duplicate");
        EXPECT_EQ(field(feedback.ask(outcome(id, "cancelled")), "status"), "stored") << "it may change";
      }
    }
    EXPECT_GT(controls, 8);
    EXPECT_GT(declined, 8);
    EXPECT_EQ(error_code(feedback.ask(outcome(999, "approved"))), "not_found");
    EXPECT_EQ(error_code(feedback.ask(outcome(1, "lost"))), "invalid_value");
    EXPECT_EQ(error_code(feedback.ask(R"({"transaction_id":1,"outcome":"approved","is_fraud":1})")),
              "invalid_value");
  }
  {
    Running server(c, data);
    Peer score(server.at().score), feedback(server.at().feedback);
    const bool control = score.ask(transaction(100, 9 * 86400)).find("control") != std::string::npos;
    ++(control ? controls : declined);
    score.ask(transaction(101, 40 * 86400));  // all before have left memory
    const std::string status = feedback.ask(R"({"command":"status"})");
    EXPECT_EQ(field(status, "unknown_outcomes"), std::to_string(declined)) << status;
    EXPECT_EQ(field(status, "examples"), std::to_string(controls));
    EXPECT_EQ(field(feedback.ask(outcome(1, "challenge_failed")), "status"), "stored") << "from the log";
    EXPECT_EQ(field(feedback.ask(outcome(1, "challenge_failed")), "status"), "duplicate");
    EXPECT_EQ(field(score.ask(transaction(102, 40 * 86400 + 60)), "step"), "full");
    EXPECT_EQ(field(feedback.ask(R"({"command":"status"})"), "row_divergences"), "0");
  }
  auto store = storage::Store::open_read_only(data);
  ASSERT_TRUE(store);
  const auto report = replay_recorded(c, **store, nullptr, nullptr);
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->scores_different, 0u);
  EXPECT_EQ(report->rows_different, 0u);
  EXPECT_EQ(report->judgements_different, 0u);
}

// A challenger by hand: it answers its entities, the same ones after a restart, and after its end nobody.
TEST_P(ServerTest, AChallengerAnswersItsEntitiesAndNoneAfterItsEnd) {
  const ConfigPtr c = config();
  const std::string data = dir_ / "data";
  const std::string bytes = learners::serialize(*learners::make_prior_model(c->columns, 0.25));
  const std::string challenger = learners::content_hash(bytes);
  int id = 0;
  const auto of_customer = [&](int customer) {
    ++id;
    return with(transaction(id, 1000 + id), R"("customer_id":7)",
                R"("customer_id":)" + std::to_string(customer));
  };
  const auto judge = [](const std::string& action, const std::string& more = "") {
    return R"({"command":"judge","argument":"{\"action\":\")" + action + R"(\",\"why\":\"w\")" + more +
           "}\"}";
  };
  std::map<int, bool> by_canary;
  const auto ask = [&](Peer& score, int customer) {
    const std::string reply = score.ask(of_customer(customer));
    const bool canary = reply.find(R"("arm":"canary")") != std::string::npos;
    EXPECT_EQ(field(reply, "model") == challenger, canary) << reply;
    EXPECT_EQ(field(reply, "score"), canary ? "0.25" : "0.00999999978") << reply;
    return canary;
  };
  {
    Running server(c, data);
    Peer score(server.at().score);
    EXPECT_FALSE(ask(score, 1));
  }
  {
    auto store = storage::Store::open(data, {});
    ASSERT_TRUE(store) << store.error().reason;
    ASSERT_TRUE((*store)->put_model(challenger, bytes));
  }
  {
    Running server(c, data);
    Peer score(server.at().score), feedback(server.at().feedback);
    EXPECT_EQ(error_code(feedback.ask(judge("abort"))), "not_found");
    EXPECT_EQ(field(feedback.ask(R"({"command":"challenge","argument":")" + challenger.substr(0, 8) + "\"}"),
                    "challenger"),
              challenger);
    EXPECT_EQ(error_code(feedback.ask(R"({"command":"challenge","argument":")" + challenger + "\"}")),
              "invalid_value");
    for (int customer = 0; customer < 10; ++customer) EXPECT_FALSE(ask(score, customer)) << "in the shadow";
    EXPECT_EQ(error_code(feedback.ask(judge("canary", R"(,\"values\":[2])"))), "invalid_value");
    EXPECT_EQ(field(feedback.ask(judge("canary", R"(,\"values\":[0.5])")), "judged"), "canary");
    for (int customer = 0; customer < 40; ++customer) by_canary[customer] = ask(score, customer);
    EXPECT_EQ(field(feedback.ask(R"({"command":"status"})"), "challenger"), challenger);
  }
  {
    Running server(c, data);
    Peer score(server.at().score), feedback(server.at().feedback);
    int canary = 0;
    for (const auto& [customer, before] : by_canary) {
      EXPECT_EQ(ask(score, customer), before) << customer << " after a restart";
      canary += before;
    }
    EXPECT_GT(canary, 8);
    EXPECT_LT(canary, 32);
    EXPECT_EQ(field(feedback.ask(judge("abort")), "judged"), "abort");
    for (const auto& [customer, before] : by_canary) EXPECT_FALSE(ask(score, customer)) << customer;
  }
  auto store = storage::Store::open_read_only(data);
  ASSERT_TRUE(store);
  const auto report = replay_recorded(c, **store, nullptr, nullptr);
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->scores_different, 0u);
  EXPECT_EQ(report->arms_different, 0u);
}

TEST_P(ServerTest, AnOperatorJudgesAndTheLogKeepsIt) {
  const std::string data = dir_ / "data";
  const auto judge = [](const std::string& what) {
    std::string escaped;
    for (const char c : what) escaped += c == '"' ? std::string("\\\"") : std::string(1, c);
    return R"({"command":"judge","argument":")" + escaped + "\"}";
  };
  {
    Running server(config(), data);
    Peer score(server.at().score), feedback(server.at().feedback);
    EXPECT_EQ(field(score.ask(transaction(1)), "decision"), "approve");
    EXPECT_EQ(error_code(feedback.ask(judge("release"))), "invalid_value");
    EXPECT_EQ(error_code(feedback.ask(judge(R"({"action":"release","target":"nobody","why":"w"})"))),
              "invalid_value");
    EXPECT_EQ(error_code(feedback.ask(judge(R"({"action":"hold_training"})"))), "invalid_value") << "no why";
    EXPECT_EQ(error_code(feedback.ask(judge(R"({"action":"roll_back","target":"ff","why":"w"})"))),
              "not_found");
    EXPECT_EQ(
        field(feedback.ask(judge(R"({"action":"thresholds","values":[0.001,0.002],"why":"w"})")), "judged"),
        "thresholds");
    EXPECT_EQ(field(score.ask(transaction(2)), "decision"), "decline");
    EXPECT_EQ(
        field(feedback.ask(judge(R"({"action":"quarantine","target":"customer","why":"w"})")), "judged"),
        "quarantine");
    EXPECT_EQ(field(feedback.ask(label(1, 1, "customer")), "status"), "kept");
  }
  Running server(config(), data);
  Peer score(server.at().score), feedback(server.at().feedback);
  EXPECT_EQ(field(score.ask(transaction(3)), "decision"), "decline") << "after a restart";
  EXPECT_EQ(field(feedback.ask(R"({"command":"status"})"), "fraud_examples"), "0") << "and not learned from";
}

TEST_P(ServerTest, AFeatureIsDroppedThroughARestartAndTheLogReplaysToTheBit) {
  const ConfigPtr c = config();
  const std::string data = dir_ / "data";
  const auto judge = [](const char* action, const char* target) {
    return fmt::format(
        R"({{"command":"judge","argument":"{{\"action\":\"{}\",\"target\":\"{}\",\"why\":\"w\"}}"}})", action,
        target);
  };
  int id = 0;
  const auto transact = [&](Peer& score) {
    for (int i = 0; i < 50; ++i, ++id) score.ask(transaction(id, 1000 + id * 60, 10 + id % 90));
  };
  {
    Running server(c, data);
    Peer score(server.at().score), feedback(server.at().feedback);
    transact(score);
    const std::string unknown = feedback.ask(judge("drop_feature", "amuont"));
    EXPECT_EQ(error_code(unknown), "not_found");
    EXPECT_NE(unknown.find("did you mean"), std::string::npos) << unknown;
    EXPECT_EQ(error_code(feedback.ask(judge("restore_feature", "amount"))), "invalid_value");
    EXPECT_EQ(field(feedback.ask(judge("drop_feature", "amount")), "judged"), "drop_feature");
    transact(score);
  }
  {
    Running server(c, data);
    Peer score(server.at().score), feedback(server.at().feedback);
    EXPECT_EQ(field(feedback.ask(R"({"command":"status"})"), "dropped"), R"(["amount"])")
        << "after a restart";
    transact(score);
    EXPECT_EQ(field(feedback.ask(judge("restore_feature", "field:amount")), "judged"), "restore_feature");
    transact(score);
  }
  auto store = storage::Store::open_read_only(data);
  ASSERT_TRUE(store);
  std::vector<bool> missing;
  std::vector<StartEvent> starts;
  for (auto cursor = (*store)->read(1);;) {
    const auto next = cursor.next();
    ASSERT_TRUE(next);
    if (!*next) break;
    const auto event = decode_event(c->schema(), (*next)->value);
    ASSERT_TRUE(event) << event.error();
    if (const auto* start = std::get_if<StartEvent>(&*event)) starts.push_back(*start);
    if (const auto* one = std::get_if<TransactionEvent>(&*event)) missing.push_back(std::isnan(one->row[0]));
  }
  ASSERT_EQ(missing.size(), 200u);
  for (size_t i = 0; i < missing.size(); ++i) EXPECT_EQ(missing[i], 50 <= i && i < 150) << i;
  ASSERT_EQ(starts.size(), 2u);
  EXPECT_FALSE(starts[0].version.empty());
  EXPECT_EQ(starts[1].folded, 0u) << "it had ended cleanly";
  const auto report = replay_recorded(c, **store, nullptr, nullptr);
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->rows_different, 0u);
  EXPECT_EQ(report->scores_different, 0u);
  EXPECT_EQ(report->judgements_different, 2u) << "those by hand";
}

TEST_P(ServerTest, AlertsGoOutAndMessagesAreNumbered) {
  const ConfigPtr c = must_parse("[alerts]\nfile = \"" + (dir_ / "alerts.log") + "\"\n" +
                                 small_handbook("background", GetParam()));
  const auto hold = R"({"command":"judge","argument":"{\"action\":\"hold_training\",\"why\":\"w\"}"})";
  const auto go_on = R"({"command":"judge","argument":"{\"action\":\"go_on_training\",\"why\":\"w\"}"})";
  std::string start;
  for (int round = 0; round < 2; ++round) {
    Running server(c, dir_ / "data");
    Peer score(server.at().score), feedback(server.at().feedback),
        events(server.at().events, zmq::socket_type::sub);
    for (const char* topic : {"decision", "judgement", "alert"})
      events.socket().set(zmq::sockopt::subscribe, topic);
    // Until it is subscribed; what it missed before shows by the number.
    events.socket().set(zmq::sockopt::rcvtimeo, 50);
    zmq::message_t first;
    int id = 1000 * round;
    do score.ask(transaction(++id));
    while (!events.socket().recv(first));
    events.socket().set(zmq::sockopt::rcvtimeo, 20'000);
    std::string newest = events.receive().back();
    while (field(newest, "transaction_id") != std::to_string(id)) newest = events.receive().back();
    EXPECT_EQ(field(newest, "n"), std::to_string(id - 1000 * round));
    EXPECT_NE(field(newest, "start"), start) << "another start, another name";
    start = field(newest, "start");
    feedback.ask(hold);
    feedback.ask(hold);
    feedback.ask(go_on);
    const std::vector<std::pair<std::string, std::string>> expected = {
        {"judgement", "1"}, {"alert", "1"}, {"judgement", "2"}, {"judgement", "3"}, {"alert", "2"}};
    for (const auto& [topic, n] : expected) {
      const auto message = events.receive();
      EXPECT_EQ(message.front(), topic);
      EXPECT_EQ(field(message.back(), "n"), n) << message.back();
      EXPECT_EQ(field(message.back(), "start"), start);
      if (topic == "alert") {
        EXPECT_EQ(field(message.back(), "alert"), "w");
        EXPECT_EQ(field(message.back(), "status"), n == "1" ? "firing" : "resolved");
      }
    }
    server.stop();
  }
  std::istringstream lines(read_file(dir_ / "alerts.log"));
  std::vector<std::string> statuses;
  for (std::string line; std::getline(lines, line);) statuses.push_back(field(line, "status"));
  EXPECT_EQ(statuses, (std::vector<std::string>{"firing", "resolved", "firing", "resolved"}));
  Running server(c, dir_ / "data");
  Peer feedback(server.at().feedback);
  feedback.ask(hold);
  std::string delivered;
  for (int i = 0; i < 5000 && delivered != "1"; ++i, usleep(1000)) {
    delivered = field(field(field(feedback.ask(R"({"command":"status"})"), "alerts"), "file"), "delivered");
  }
  EXPECT_EQ(delivered, "1");
}

// 90 days of transactions of which every 20th is a fraud by its amount, with labels, and a first champion.
class RetrainingTest : public ServerTest {
 protected:
  ConfigPtr retraining_config() const {
    return must_parse(small_handbook("background", GetParam()) +
                      "[retraining]\nexamples_min = 500\nfrauds_min = 20\n");
  }
  static std::string ask_for(const std::string& strategy) {
    return R"({"command":"judge","argument":"{\"action\":\"retrain\",\"target\":\")" + strategy +
           R"(\",\"why\":\"a test\"}"})";
  }
  void feed(Running& server) {
    Peer score(server.at().score), feedback(server.at().feedback);
    constexpr int kAll = 4000, kAtOnce = 100;
    for (int from = 0; from < kAll; from += kAtOnce) {
      for (int id = from; id < from + kAtOnce; ++id)
        score.send({transaction(id, 1000 + id * 1900, id % 20 == 0 ? 300 + id % 100 : 10 + id % 50)});
      for (int id = from; id < from + kAtOnce; ++id) score.receive();
      for (int id = from; id < from + kAtOnce; id += 20)
        EXPECT_NE(field(feedback.ask(label(id, 1, "chargeback", 1000 + id * 1900 + 3600)), "status"), "");
    }
  }
  static std::string await_retraining(Peer& feedback) {
    std::string status;
    for (int tries = 0; tries < 3000; ++tries, usleep(10'000)) {
      status = feedback.ask(R"({"command":"status"})");
      if (field(status, "retraining") == "false") return status;
    }
    ADD_FAILURE() << "retraining does not end: " << status;
    return status;
  }
  static std::vector<ModelEvent> retrained(const ConfigPtr& config, const std::string& data) {
    std::vector<ModelEvent> events;
    auto store = storage::Store::open_read_only(data);
    EXPECT_TRUE(store);
    auto cursor = (*store)->read(1);
    for (auto next = cursor.next(); next && *next; next = cursor.next()) {
      const auto event = decode_event(config->schema(), (*next)->value);
      const auto* model = event ? std::get_if<ModelEvent>(&*event) : nullptr;
      if (model != nullptr && model->action == ModelAction::kRetrained) events.push_back(*model);
    }
    return events;
  }
};

TEST_P(RetrainingTest, WhatWasRetrainedIsTheGatesNextCandidateAndAStopInBetweenLosesNothing) {
  const ConfigPtr c = retraining_config();
  const std::string data = dir_ / "data";
  {
    Running server(c, data);
    feed(server);
    Peer feedback(server.at().feedback);
    EXPECT_EQ(error_code(feedback.ask(ask_for("magic"))), "invalid_value");
    EXPECT_EQ(field(feedback.ask(ask_for("full")), "judged"), "retrain");
    const std::string status = await_retraining(feedback);
    EXPECT_EQ(field(status, "models_retrained"), "1") << status;
    EXPECT_EQ(field(feedback.ask(ask_for("search")), "judged"), "retrain");
  }
  {
    Running server(c, data);
    Peer feedback(server.at().feedback), score(server.at().score);
    EXPECT_EQ(field(await_retraining(feedback), "models_retrained"), "2")
        << "begun by one server, ended by another";
    EXPECT_EQ(field(score.ask(transaction(100'000, 8'000'000)), "decision"), "approve");
  }
  const auto events = retrained(c, data);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(field(events[0].report, "strategy"), "full");
  EXPECT_EQ(field(events[1].report, "strategy"), "search");
  EXPECT_EQ(field(events[0].report, "data"), field(events[1].report, "data")) << "nothing came in between";
  auto store = storage::Store::open_read_only(data);
  ASSERT_TRUE(store);
  const auto report = replay_recorded(c, **store, nullptr, nullptr);
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->scores_different, 0u);
  EXPECT_EQ(report->judgements_different, 2u) << "those by hand";
}

TEST_P(RetrainingTest, FailuresAreTriedAgainDifferentlyAndThenToldLoudly) {
  const ConfigPtr c = retraining_config();
  const std::string data = dir_ / "data";
  {
    Running server(c, data);
    feed(server);
  }
  auto store = storage::Store::open(data, {});
  ASSERT_TRUE(store);
  Fold::Retraining asked;
  asked.asked.target = "full";
  asked.sequence = (*store)->last_sequence();
  const std::atomic<bool> stop{false}, stopped{true};
  const auto first = retrain(c, **store, asked, 1, stop), again = retrain(c, **store, asked, 1, stop);
  ASSERT_TRUE(first) << first.error().reason;
  ASSERT_TRUE(again);
  EXPECT_EQ(first->event.model, again->event.model);
  EXPECT_EQ(first->event.report, again->event.report);
  EXPECT_EQ(retrain(c, **store, asked, 1, stopped).error().failure, RetrainFailure::kStopped);
  Fold::Retraining early = asked;
  early.sequence = 50;
  EXPECT_EQ(retrain(c, **store, early, 1, stop).error().failure, RetrainFailure::kValidation);

  RetrainFaults memory{{}, [](uint64_t attempt, std::vector<float>&) {
                         if (attempt == 1) throw std::bad_alloc();
                       }};
  EXPECT_EQ(retrain(c, **store, asked, 1, stop, memory).error().failure, RetrainFailure::kMemory);
  EXPECT_TRUE(retrain(c, **store, asked, 2, stop, memory));
  RetrainFaults diverges{{}, [](uint64_t, std::vector<float>& rows) {
                           for (float& value : rows) value = std::numeric_limits<float>::infinity();
                         }};
  const auto diverged = retrain(c, **store, asked, 1, stop, diverges);
  ASSERT_FALSE(diverged) << diverged->event.report;

  Probe probe;
  zmq::context_t context;
  Journal journal(c, **store, probe, zmq::socket_t(context, zmq::socket_type::pub), 64, nullptr);
  Bell bell;
  int tries = 0;
  bool heals = false;
  RetrainFaults data_fault{[&](uint64_t attempt) -> tl::expected<void, RetrainError> {
                             ++tries;
                             if (heals && attempt == 3) return {};
                             return tl::make_unexpected(RetrainError{RetrainFailure::kData, "a torn page"});
                           },
                           {}};
  Retrainer retrainer(
      c, **store, journal, [](const Retrained&) { return true; }, data_fault, 1);
  retrainer.start(bell);
  const auto outcome = [&] {
    retrainer.begin(asked);
    Retrainer::Outcome out;
    for (int i = 0; i < 3000 && !retrainer.take(out); ++i) usleep(10'000);
    return out;
  };
  const Retrainer::Outcome given_up = outcome();
  ASSERT_TRUE(std::holds_alternative<JudgementEvent>(given_up));
  EXPECT_EQ(tries, 3);
  EXPECT_EQ(std::get<JudgementEvent>(given_up).severity, Severity::kCritical);
  EXPECT_NE(std::get<JudgementEvent>(given_up).text.find("a torn page"), std::string::npos);
  heals = true;
  const Retrainer::Outcome healed = outcome();
  ASSERT_TRUE(std::holds_alternative<Retrained>(healed));
  EXPECT_EQ(std::get<Retrained>(healed).event.model, first->event.model);
}

INSTANTIATE_TEST_SUITE_P(Durability, RetrainingTest, ::testing::Values("sync"),
                         [](const auto& of) { return std::string(of.param); });

// The machine's doings are in the log, and so is what is judged of them: a replay comes to the same without.
TEST_P(ServerTest, ItLogsWhatItMeasuresOfItselfAndReplaysJudgeTheSame) {
  const ConfigPtr c = must_parse("[machine]\nevery = \"1s\"\nperiods = 1\np99 = 0.000001\n" +
                                 small_handbook("background", GetParam()));
  const std::string data = dir_ / "data";
  int id = 0;
  for (int round = 0; round < 2; ++round) {
    Running server(c, data);
    Peer score(server.at().score), events(server.at().events, zmq::socket_type::sub);
    events.socket().set(zmq::sockopt::subscribe, "judgement");
    const auto began = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - began < std::chrono::milliseconds(1500)) {
      for (int i = 0; i < 50; ++i, ++id) score.send({transaction(id, 1000 + id)});
      for (int i = 0; i < 50; ++i) score.receive();
    }
    if (round == 0) {
      EXPECT_EQ(field(events.receive().back(), "monitor"), "machine");
    }
  }
  auto store = storage::Store::open_read_only(data);
  ASSERT_TRUE(store);
  uint64_t measured = 0, answers = 0, judged = 0;
  auto cursor = (*store)->read(1);
  for (auto next = cursor.next(); next && *next; next = cursor.next()) {
    const auto event = decode_event(c->schema(), (*next)->value);
    ASSERT_TRUE(event);
    if (const auto* machine = std::get_if<MachineEvent>(&*event)) {
      ++measured;
      answers += machine->answers;
      EXPECT_GT(machine->p99_us, 0u);
      EXPECT_GT(machine->resident_bytes, 1u << 20);
    }
    const auto* judgement = std::get_if<JudgementEvent>(&*event);
    // A busy machine may be late besides.
    judged += judgement != nullptr && judgement->monitor == "machine" && judgement->subject == "latency";
  }
  EXPECT_GE(measured, 2u);
  EXPECT_LE(answers, static_cast<uint64_t>(id));
  EXPECT_EQ(judged, 1u) << "raised once, through a restart";
  const auto report = replay_recorded(c, **store, nullptr, nullptr);
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(report->judgements_different, 0u);
  EXPECT_EQ(report->scores_different, 0u);
}

TEST_P(ServerTest, ALabelMayOvertakeItsTransaction) {
  const std::string data = dir_ / "data";
  {
    Running server(config(), data);
    Peer score(server.at().score), feedback(server.at().feedback);
    score.ask(transaction(1));
    EXPECT_EQ(field(feedback.ask(label(2, 1)), "status"), "pending");
    EXPECT_EQ(field(feedback.ask(label(2, 1)), "status"), "duplicate");
  }
  Running server(config(), data);
  Peer score(server.at().score), feedback(server.at().feedback);
  score.ask(transaction(2));
  EXPECT_EQ(field(feedback.ask(label(2, 1)), "status"), "duplicate");
  EXPECT_EQ(field(feedback.ask(R"({"command":"status"})"), "labels"), "1");
}

TEST_P(ServerTest, ASecondInstanceIsRefused) {
  const std::string data = dir_ / "data";
  Running server(config(), data);
  const auto second = Server::open(config(), data);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().find("in use"), std::string::npos) << second.error();
}

TEST_P(ServerTest, AnotherFeatureSetOnTheSameDataIsRefused) {
  const std::string data = dir_ / "data";
  { Running server(config(), data); }
  const auto other =
      Server::open(must_parse(with(small_handbook("background", GetParam()),
                                   "windows = [\"1d\", \"7d\", \"30d\"]", "windows = [\"1d\", \"7d\"]")),
                   data);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().find("another schema, feature set"), std::string::npos) << other.error();
}

TEST_P(ServerTest, ItLearnsSwapsModelsAndTheLogReplaysToTheBit) {
  const ConfigPtr c = config();
  const std::string data = dir_ / "data";
  std::string hash;
  {
    Running server(c, data);
    Peer score(server.at().score), feedback(server.at().feedback),
        events(server.at().events, zmq::socket_type::sub);
    events.socket().set(zmq::sockopt::subscribe, "model");
    int id = 0;
    for (int day = 0; day < 25; ++day) {
      for (int i = 0; i < 120; ++i) {
        const bool fraud = i % 15 == 0;
        score.send({transaction(++id, day * 86400 + i * 700, fraud ? 300 + i : 10 + i % 50)});
        EXPECT_EQ(field(score.receive().back(), "step"), "full");
        if (fraud) {
          EXPECT_EQ(field(feedback.ask(label(id, 1, "analyst", day * 86400 + i * 700 + 60)), "status"),
                    "stored");
        }
      }
    }
    const auto announced = events.receive();
    ASSERT_EQ(announced.size(), 2u);
    EXPECT_EQ(announced[0], "model");
    const std::string status = feedback.ask(R"({"command":"status"})");
    EXPECT_NE(field(status, "models_accepted"), "0") << status;
    EXPECT_EQ(field(status, "row_divergences"), "0");
    hash = field(announced[1], "model");
    if (field(announced[1], "action") == "accepted") {
      EXPECT_EQ(field(feedback.ask(R"({"command":"activate","argument":")" + hash.substr(0, 8) + "\"}"),
                      "activated"),
                hash);
      EXPECT_EQ(field(score.ask(transaction(++id, 25 * 86400)), "model"), hash);
    }
    EXPECT_EQ(error_code(feedback.ask(R"({"command":"activate","argument":"ffffffffffff"})")), "not_found");
  }
  auto store = storage::Store::open_read_only(data);
  ASSERT_TRUE(store);
  const auto report = replay_recorded(c, **store, nullptr, nullptr);
  ASSERT_TRUE(report) << report.error();
  EXPECT_GE(report->scores_compared, 3000u);
  EXPECT_EQ(report->scores_different, 0u);
  EXPECT_EQ(report->rows_different, 0u);
}

// A learner that is slower than traffic: nobody waits for it and nothing is refused, it learns a share.
TEST_P(ServerTest, TrainingThatIsBehindLearnsAShareAndTheLogSaysWhich) {
  std::string text = small_handbook("background", GetParam());
  text = with(text, "bin_sample = 400\nfamily = \"linear\"",
              "family = \"forest\"\ntrees = 1000\nlambda = 20\nbin_sample = 10");
  text = with(text, "maturity = \"7d\"", "queue_examples_max = 10\nmaturity = \"1h\"");
  text = with(text, "default = \"100ms\"", "default = \"1m\"");  // a static decision would be another one
  const ConfigPtr c = must_parse(text);
  const std::string data = dir_ / "data";
  const std::string ask_status = R"({"command":"status"})";
  std::string status;
  {
    Running server(c, data);
    Peer score(server.at().score), feedback(server.at().feedback);
    constexpr int kAll = 4000, kAtOnce = 200;
    for (int id = 0; id < kAll; id += kAtOnce) {
      for (int i = id; i < id + kAtOnce; ++i) score.send({transaction(i, 600 * i)});
      for (int i = id; i < id + kAtOnce; ++i) ASSERT_NE(field(score.receive().back(), "decision"), "") << i;
    }
    for (int tries = 0; tries < 600; ++tries) {
      status = feedback.ask(ask_status);
      if (field(status, "sampled_share") == "1.0" && field(status, "examples_waiting") == "0") break;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    EXPECT_EQ(field(status, "sampled_share"), "1.0") << "it has caught up: " << status;
    EXPECT_NE(field(status, "examples_spared"), "0") << status;
    EXPECT_EQ(std::stoi(field(status, "examples")) + std::stoi(field(status, "examples_spared")),
              std::stoi(field(status, "matured")));
  }
  auto store = storage::Store::open_read_only(data);
  ASSERT_TRUE(store);
  const auto report = replay_recorded(c, **store, nullptr, nullptr);
  ASSERT_TRUE(report) << report.error();
  EXPECT_EQ(std::to_string(report->learned.examples), field(status, "examples"));
  EXPECT_EQ(report->judgements_different, 0u);
  ASSERT_FALSE(report->judgements.empty());
  EXPECT_EQ(report->judgements.back().event.monitor, "training");
}

TEST_P(ServerTest, ADeadlineThatHasPassedGetsTheStaticDecision) {
  const ConfigPtr c = must_parse(
      with(small_handbook("background", GetParam()), "static_below = \"0s\"", "static_below = \"1d\""));
  Running server(c, dir_ / "data");
  Peer peer(server.at().score);
  const std::string reply = peer.ask(transaction(1));
  EXPECT_EQ(field(reply, "step"), "static");
  EXPECT_EQ(field(reply, "decision"), "review");
}

INSTANTIATE_TEST_SUITE_P(Durability, ServerTest, ::testing::Values("sync", "async"),
                         [](const auto& about) { return std::string(about.param); });

}  // namespace
}  // namespace shrike::engine
