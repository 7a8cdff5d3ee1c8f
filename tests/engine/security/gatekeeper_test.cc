// Servers with keys, as clients that may and may not talk to them see it.
#include "engine/security/gatekeeper.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "engine/serve/server.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

TEST(Keys, AreKeptForThisUserAloneAndReadAgain) {
  TempDir dir;
  const KeyPair pair = make_key_pair();
  EXPECT_TRUE(is_key(pair.public_key));
  EXPECT_NE(pair.public_key, make_key_pair().public_key);
  EXPECT_FALSE(is_key("short"));
  EXPECT_FALSE(is_key(std::string(40, '"')));
  const std::string path = dir / "pos.key";
  ASSERT_TRUE(write_key_file(path, {"pos", pair, make_key_pair().public_key}));
  struct stat about {};
  ASSERT_EQ(stat(path.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
  EXPECT_FALSE(write_key_file(path, {"pos", make_key_pair(), ""})) << "over one that exists";
  const auto read = read_key_file(path);
  ASSERT_TRUE(read) << read.error();
  EXPECT_EQ(read->own.secret_key, pair.secret_key);
  EXPECT_EQ(read->name, "pos");
  chmod(path.c_str(), 0644);
  ASSERT_FALSE(read_key_file(path));
  EXPECT_NE(read_key_file(path).error().find("chmod 600"), std::string::npos);
  EXPECT_EQ(read_key_file(path).error().find(pair.secret_key), std::string::npos);
}

TEST(Clients, AreTheSameFromTheirFileAndWrongOnesAreNamed) {
  TempDir dir;
  const std::string keys = dir / "keys";
  std::filesystem::create_directories(keys);
  EXPECT_TRUE(read_clients(keys)->clients.empty());
  ClientList list;
  list.clients.push_back({"pos", make_key_pair().public_key, {Role::kScore}, {}, 0});
  list.clients.push_back(
      {"bank", make_key_pair().public_key, {Role::kFeedback, Role::kEvents}, {"chargeback"}, 2.5});
  ASSERT_TRUE(write_clients(keys, list));
  const auto read = read_clients(keys);
  ASSERT_TRUE(read) << read.error();
  ASSERT_EQ(read->clients.size(), 2u);
  const ClientRecord* bank = read->by_name("bank");
  ASSERT_NE(bank, nullptr);
  EXPECT_EQ(bank->labels_per_second, 2.5);
  EXPECT_TRUE(bank->may(Role::kEvents));
  EXPECT_FALSE(bank->may(Role::kAdmin));
  EXPECT_TRUE(bank->may_speak_for("chargeback"));
  EXPECT_FALSE(bank->may_speak_for("analyst"));
  EXPECT_EQ(read->by_key(list.clients[0].public_key)->name, "pos");
  list.clients.push_back(list.clients[0]);
  ASSERT_TRUE(write_clients(keys, list));
  ASSERT_FALSE(read_clients(keys));
  EXPECT_NE(read_clients(keys).error().find("pos"), std::string::npos);
}

class Guarded : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(keys_);
    server_keys_ = make_key_pair();
    ASSERT_TRUE(write_key_file(server_key_path(keys_), {"server", server_keys_, ""}));
    add("pos", {Role::kScore});
    add("bank", {Role::kFeedback}, {"chargeback"});
    add("slow", {Role::kFeedback}, {}, 0.1);
    add("operator", {Role::kAdmin});
    // A busy machine refuses nobody.
    config_ =
        must_parse(with(small_handbook("background", "sync"), "default = \"100ms\"", "default = \"1h\""));
    auto opened = Server::open(config_, dir_ / "data", {.keys_dir = keys_});
    ASSERT_TRUE(opened) << opened.error();
    server_ = std::move(*opened);
    thread_ = std::thread([this] { server_->run(); });
  }
  void TearDown() override {
    if (!thread_.joinable()) return;
    server_->request_stop();
    thread_.join();
  }
  void add(const std::string& name, std::vector<Role> roles, std::vector<std::string> sources = {},
           double labels_per_second = 0) {
    pairs_[name] = make_key_pair();
    clients_.clients.push_back(
        {name, pairs_[name].public_key, std::move(roles), std::move(sources), labels_per_second});
    ASSERT_TRUE(write_clients(keys_, clients_));
  }

  class Peer {
   public:
    Peer(const std::string& endpoint, const KeyPair* own, const std::string& server_key)
        : socket_(context_, zmq::socket_type::dealer) {
      socket_.set(zmq::sockopt::linger, 0);
      if (own != nullptr) {
        socket_.set(zmq::sockopt::curve_serverkey, server_key);
        socket_.set(zmq::sockopt::curve_publickey, own->public_key);
        socket_.set(zmq::sockopt::curve_secretkey, own->secret_key);
      }
      socket_.connect(endpoint);
    }
    // "" when nothing comes.
    std::string ask(const std::string& request, int timeout_ms = 10'000) {
      socket_.set(zmq::sockopt::rcvtimeo, timeout_ms);
      socket_.send(zmq::buffer(request), zmq::send_flags::dontwait);
      zmq::message_t reply;
      return socket_.recv(reply) ? reply.to_string() : std::string();
    }

   private:
    zmq::context_t context_;
    zmq::socket_t socket_;
  };
  Peer score(const std::string& name) {
    return {server_->endpoints().score, &pairs_.at(name), server_keys_.public_key};
  }
  Peer feedback(const std::string& name) {
    return {server_->endpoints().feedback, &pairs_.at(name), server_keys_.public_key};
  }
  static std::string transaction(int id) {
    return R"({"transaction_id":)" + std::to_string(id) +
           R"(,"time":1000,"customer_id":7,"terminal_id":3,"amount":20})";
  }
  static std::string label(int id, const std::string& source) {
    return R"({"transaction_id":)" + std::to_string(id) + R"(,"is_fraud":1,"time":2000,"source":")" + source +
           "\"}";
  }
  static bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  TempDir dir_;
  std::string keys_ = dir_ / "keys";
  KeyPair server_keys_;
  std::map<std::string, KeyPair> pairs_;
  ClientList clients_;
  ConfigPtr config_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

TEST_F(Guarded, EachClientMayDoWhatItsRolesSay) {
  Peer pos = score("pos"), bank = feedback("bank"), op = feedback("operator");
  const std::string answer = pos.ask(transaction(1));
  EXPECT_TRUE(has(answer, "\"step\":\"full\"")) << answer;
  const std::string stored = bank.ask(label(1, "chargeback"));
  EXPECT_TRUE(has(stored, "\"stored\"")) << stored;
  const std::string other = bank.ask(label(1, "analyst"));
  EXPECT_TRUE(has(other, "\"forbidden\"") && has(other, "analyst")) << other;
  EXPECT_TRUE(has(bank.ask(R"({"command":"activate","argument":"ab"})"), "\"forbidden\""));
  EXPECT_TRUE(has(bank.ask(R"({"command":"status"})"), "\"next_seq\""));
  EXPECT_TRUE(has(op.ask(R"({"command":"activate","argument":"ab"})"), "\"not_found\""));
  EXPECT_TRUE(has(op.ask(label(1, "chargeback")), "\"forbidden\""));
}

TEST_F(Guarded, StrangersWrongKeysAndPlaintextGetNothing) {
  const KeyPair stranger = make_key_pair();
  Peer unknown(server_->endpoints().score, &stranger, server_keys_.public_key);
  EXPECT_EQ(unknown.ask(transaction(1), 700), "");
  Peer wrong(server_->endpoints().score, &pairs_.at("pos"), make_key_pair().public_key);
  EXPECT_EQ(wrong.ask(transaction(1), 700), "") << "it takes another for the server";
  Peer plain(server_->endpoints().score, nullptr, "");
  EXPECT_EQ(plain.ask(transaction(1), 700), "");
  Peer bank = score("bank");
  EXPECT_EQ(bank.ask(transaction(1), 700), "") << "a client, of another socket";
  EXPECT_TRUE(has(feedback("operator").ask(R"({"command":"status"})"), "\"transactions\":0,"));
}

TEST_F(Guarded, WhoIsRevokedGetsNothingMoreOverTheConnectionItHas) {
  Peer pos = score("pos");
  EXPECT_TRUE(has(pos.ask(transaction(1)), "\"step\""));
  std::erase_if(clients_.clients, [](const ClientRecord& one) { return one.name == "pos"; });
  ASSERT_TRUE(write_clients(keys_, clients_));
  std::string reply;
  for (int id = 2; id < 200 && !has(reply, "\"forbidden\""); ++id) {
    reply = pos.ask(transaction(id));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_TRUE(has(reply, "\"forbidden\"")) << reply;
  EXPECT_EQ(score("pos").ask(transaction(900), 700), "");
  const KeyPair other = pairs_["pos"] = make_key_pair();
  clients_.clients.push_back({"pos", other.public_key, {Role::kScore}, {}, 0});
  ASSERT_TRUE(write_clients(keys_, clients_));
  EXPECT_TRUE(has(pos.ask(transaction(901)), "\"forbidden\"")) << "the name is another key's now";
}

TEST_F(Guarded, LabelsOfAClientHaveARate) {
  Peer slow = feedback("slow");
  EXPECT_TRUE(has(slow.ask(label(1, "analyst")), "\"pending\""));
  const std::string reply = slow.ask(label(2, "analyst"));
  EXPECT_TRUE(has(reply, "\"overloaded\"") && has(reply, "retry_after_ms")) << reply;
}

TEST(Access, SocketsThatOthersReachNeedKeysOrWords) {
  TempDir dir;
  const ConfigPtr config = must_parse(with(small_handbook("background", "sync"),
                                           "score = \"tcp://127.0.0.1:*\"", "score = \"tcp://0.0.0.0:*\""));
  const auto refused = Server::open(config, dir / "data");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().find("shrike keygen"), std::string::npos) << refused.error();
  EXPECT_TRUE(Server::open(config, dir / "data", {.keys_dir = "", .plaintext_anywhere = true}));
  EXPECT_FALSE(Server::open(config, dir / "data2", {.keys_dir = dir / "none"}));
}

}  // namespace
}  // namespace shrike::engine
