// Alerts to sinks that fail at times, as they are: an HTTP server, a file, commands.
#include "engine/serve/alerts.h"

#include <gtest/gtest.h>
#include <httplib.h>
#include <netinet/in.h>
#include <openssl/hmac.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <sstream>
#include <thread>

#include <nlohmann/json.hpp>

#include "storage/store.h"
#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr const char* kSecret = "not for the log";

// Quick, so that a test waits for nothing.
AlertPace quick() {
  return {.first_wait_us = 2'000,
          .longest_wait_us = 10'000,
          .tries_max = 1000,
          .attempt_us = 2'000'000,
          .stop_us = 500'000};
}

template <typename Ready>
bool comes_true(Ready&& ready) {
  for (int i = 0; i < 20'000 && !ready(); ++i) usleep(1000);
  return ready();
}

std::string hmac_by_openssl(const std::string& text) {
  unsigned char code[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  HMAC(EVP_sha256(), kSecret, static_cast<int>(strlen(kSecret)),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), code, &size);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", code[i]);
  return "sha256=" + hex;
}

enum class Reaction { kTakes, kFails, kHangsUp };

// A receiver of webhooks that reacts to its requests as it is told, in turn.
class Receiver {
 public:
  explicit Receiver(std::vector<Reaction> reactions = {Reaction::kTakes}, int port = 0)
      : reactions_(std::move(reactions)) {
    server_.Post("/hook/T0KEN", [this](const httplib::Request& request, httplib::Response& response) {
      receive(request, response);
    });
    if (port == 0) {
      port_ = server_.bind_to_any_port("127.0.0.1");
    } else {
      port_ = port;
      EXPECT_TRUE(server_.bind_to_port("127.0.0.1", port));
    }
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    EXPECT_TRUE(comes_true([this] { return server_.is_running(); }));
  }
  ~Receiver() {
    server_.stop();
    thread_.join();
  }
  int port() const { return port_; }
  std::string url() const { return fmt::format("http://127.0.0.1:{}/hook/T0KEN", port_); }
  // Of the alerts that it took, in order.
  std::vector<uint64_t> taken() const {
    const std::lock_guard lock(mutex_);
    return taken_;
  }
  size_t requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  size_t badly_signed() const {
    const std::lock_guard lock(mutex_);
    return badly_signed_;
  }
  nlohmann::json newest() const {
    const std::lock_guard lock(mutex_);
    return newest_;
  }

 private:
  void receive(const httplib::Request& request, httplib::Response& response) {
    const std::lock_guard lock(mutex_);
    const Reaction reaction = reactions_[requests_++ % reactions_.size()];
    const std::string expected =
        hmac_by_openssl(request.get_header_value("X-Shrike-Timestamp") + "." + request.body);
    badly_signed_ += request.get_header_value("X-Shrike-Signature") != expected;
    if (reaction == Reaction::kHangsUp) return hang_up(request.remote_port);
    if (reaction == Reaction::kFails) {
      response.status = 500;
      return;
    }
    newest_ = nlohmann::json::parse(request.body);
    taken_.push_back(newest_["id"].get<uint64_t>());
    EXPECT_EQ(request.get_header_value("X-Shrike-Id"), std::to_string(taken_.back()));
    EXPECT_EQ(request.get_header_value("Content-Type"), "application/json");
  }
  // Of the connections of this process it is the one that leads there.
  static void hang_up(int peer_port) {
    for (int descriptor = 3; descriptor < 1024; ++descriptor) {
      sockaddr_in peer{};
      socklen_t size = sizeof(peer);
      if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
          ntohs(peer.sin_port) == peer_port)
        shutdown(descriptor, SHUT_RDWR);
    }
  }

  std::vector<Reaction> reactions_;
  httplib::Server server_;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<uint64_t> taken_;
  size_t requests_ = 0, badly_signed_ = 0;
  nlohmann::json newest_;
  std::thread thread_;
};

// Accepts, and lets the client wait: each tenth of a second one more byte of a header without an end.
class Dripping {
 public:
  Dripping() {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(at);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    url = fmt::format("http://127.0.0.1:{}/", ntohs(at.sin_port));
    thread_ = std::thread([this] { run(); });
  }
  ~Dripping() {
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  std::string url;

 private:
  void run() {
    while (!stopping_) {
      const int peer = accept(listener_, nullptr, nullptr);
      if (peer < 0) return;
      const std::string head = "HTTP/1.1 200 OK\r\nX-Slow: ";
      bool there = ::send(peer, head.data(), head.size(), MSG_NOSIGNAL) > 0;
      while (!stopping_ && there) {
        usleep(100'000);
        there = ::send(peer, "x", 1, MSG_NOSIGNAL) > 0;
      }
      close(peer);
    }
  }
  int listener_ = -1;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

class AlertsTest : public ::testing::Test {
 protected:
  AlertsTest() {
    std::ofstream(dir_ / "secret") << kSecret << "\n";
    auto opened = storage::Store::open(dir_ / "data", {});
    EXPECT_TRUE(opened);
    store_ = std::move(*opened);
  }
  // `sinks`: lines of [alerts].
  static ConfigPtr config(const std::string& sinks) {
    return must_parse("[alerts]\n" + sinks + handbook_15());
  }
  ConfigPtr webhook(const std::string& url, const std::string& more = "") const {
    return config(
        fmt::format("webhook = \"{}\"\nwebhook_secret_file = \"{}\"\n{}", url, dir_ / "secret", more));
  }
  ConfigPtr to_file() const { return config(fmt::format("file = \"{}\"\n", dir_ / "alerts.log")); }

  std::unique_ptr<Alerts> open(const ConfigPtr& config, const AlertPace& pace = quick()) {
    auto opened = Alerts::open(config, *store_, dir_ / "data", probe_, pace);
    EXPECT_TRUE(opened) << opened.error();
    return std::move(*opened);
  }
  // A judgement of a subject of its own enters the log; its sequence number.
  uint64_t log() {
    JudgementEvent event{.monitor = "drift",
                         .subject = std::to_string(store_->last_sequence() + 1),
                         .finding = Finding::kFailed,
                         .severity = Severity::kWarning,
                         .text = "it drifts",
                         .evidence = R"({"psi":0.3})"};
    events_[store_->last_sequence() + 1] = event;
    std::string bytes;
    encode(event, bytes);
    const storage::Record record{store_->last_sequence() + 1, bytes};
    EXPECT_TRUE(store_->append({&record, 1}, false));
    return record.sequence;
  }
  void log_and_take(Alerts& alerts, int count) {
    for (int i = 0; i < count; ++i) {
      const uint64_t sequence = log();
      EXPECT_TRUE(alerts.take(sequence, events_[sequence]));
      alerts.passed(sequence);
    }
  }
  std::vector<uint64_t> in_file() const {
    std::vector<uint64_t> ids;
    std::istringstream lines(read_file(dir_ / "alerts.log"));
    for (std::string line; std::getline(lines, line);) ids.push_back(nlohmann::json::parse(line)["id"]);
    return ids;
  }
  uint64_t delivered(AlertSinkKind kind) const { return probe_.alerts[static_cast<size_t>(kind)].delivered; }
  uint64_t failed(AlertSinkKind kind) const { return probe_.alerts[static_cast<size_t>(kind)].failed; }
  uint64_t dropped(AlertSinkKind kind) const { return probe_.alerts[static_cast<size_t>(kind)].dropped; }

  TempDir dir_;
  std::unique_ptr<storage::Store> store_;
  std::map<uint64_t, JudgementEvent> events_;
  Probe probe_;
};

std::vector<uint64_t> numbers(uint64_t from, uint64_t to) {
  std::vector<uint64_t> all;
  for (uint64_t n = from; n <= to; ++n) all.push_back(n);
  return all;
}

TEST_F(AlertsTest, AReceiverThatFailsAtTimesGetsAllInOrderAndSigned) {
  Receiver receiver({Reaction::kFails, Reaction::kHangsUp, Reaction::kTakes, Reaction::kTakes,
                     Reaction::kFails, Reaction::kTakes, Reaction::kHangsUp});
  const auto alerts = open(webhook(receiver.url()));
  alerts->start();
  log_and_take(*alerts, 30);
  ASSERT_TRUE(comes_true([&] { return delivered(AlertSinkKind::kWebhook) == 30; }));
  EXPECT_EQ(receiver.taken(), numbers(1, 30));
  EXPECT_GT(receiver.requests(), 60u) << "it failed at times";
  EXPECT_EQ(receiver.badly_signed(), 0u);
  const nlohmann::json newest = receiver.newest();
  EXPECT_EQ(newest["fingerprint"], "drift/30");
  EXPECT_EQ(newest["status"], "firing");
  EXPECT_EQ(newest["severity"], "warning");
  EXPECT_EQ(newest["text"], "it drifts");
  EXPECT_EQ(newest["evidence"]["psi"], 0.3);
  EXPECT_EQ(failed(AlertSinkKind::kWebhook), 0u);
}

TEST_F(AlertsTest, AReceiverThatIsDownHoldsUpNoOtherAndGetsAllWhenItIsBack) {
  auto receiver = std::make_unique<Receiver>();
  const int port = receiver->port();
  const auto alerts = open(webhook(receiver->url(), fmt::format("file = \"{}\"\n", dir_ / "alerts.log")));
  receiver.reset();
  alerts->start();
  log_and_take(*alerts, 5);
  ASSERT_TRUE(comes_true([&] { return delivered(AlertSinkKind::kFile) == 5; }));
  EXPECT_EQ(delivered(AlertSinkKind::kWebhook), 0u);
  receiver = std::make_unique<Receiver>(std::vector{Reaction::kTakes}, port);
  ASSERT_TRUE(comes_true([&] { return delivered(AlertSinkKind::kWebhook) == 5; }));
  EXPECT_EQ(receiver->taken(), numbers(1, 5));
  EXPECT_EQ(in_file(), numbers(1, 5));
}

TEST_F(AlertsTest, ItGivesUpLoudlyAndGoesOnWithTheNext) {
  Receiver receiver({Reaction::kFails, Reaction::kFails, Reaction::kFails, Reaction::kTakes});
  AlertPace pace = quick();
  pace.tries_max = 3;
  testing::internal::CaptureStdout();  // where the log goes
  {
    const auto alerts = open(webhook(receiver.url()), pace);
    alerts->start();
    log_and_take(*alerts, 2);
    EXPECT_TRUE(comes_true([&] { return delivered(AlertSinkKind::kWebhook) == 1; }));
  }
  const std::string said = testing::internal::GetCapturedStdout();
  EXPECT_EQ(receiver.taken(), numbers(2, 2));
  EXPECT_EQ(failed(AlertSinkKind::kWebhook), 1u);
  EXPECT_NE(said.find("alert 1 is given up after 3 attempts at webhook"), std::string::npos) << said;
  EXPECT_EQ(said.find("T0KEN"), std::string::npos) << "a URL's path is often a secret";
  EXPECT_EQ(said.find(kSecret), std::string::npos);
}

TEST_F(AlertsTest, WhatWasNotDeliveredIsSentAfterARestart) {
  auto receiver = std::make_unique<Receiver>();
  const int port = receiver->port();
  const ConfigPtr config = webhook(receiver->url(), fmt::format("file = \"{}\"\n", dir_ / "alerts.log"));
  {
    const auto alerts = open(config);
    alerts->start();
    log_and_take(*alerts, 3);
    ASSERT_TRUE(comes_true([&] { return delivered(AlertSinkKind::kWebhook) == 3; }));
    receiver.reset();
    log_and_take(*alerts, 3);
    ASSERT_TRUE(comes_true([&] { return delivered(AlertSinkKind::kFile) == 6; }));
  }
  log();  // in the log, and killed before it was taken
  {
    const auto alerts = open(config);  // the receiver is away still
    alerts->start();
    ASSERT_TRUE(comes_true([&] { return delivered(AlertSinkKind::kFile) == 7; }));
  }
  receiver = std::make_unique<Receiver>(std::vector{Reaction::kTakes}, port);
  {
    const auto alerts = open(config);
    JudgementEvent again = events_[5];
    again.time_us += 1;
    EXPECT_FALSE(alerts->take(log(), again)) << "it is known that it was told before the start";
    alerts->start();
    ASSERT_TRUE(comes_true([&] { return delivered(AlertSinkKind::kWebhook) == 7; }));
  }
  EXPECT_EQ(receiver->taken(), numbers(4, 7));
  EXPECT_EQ(in_file(), numbers(1, 7)) << "and nothing twice";
}

TEST_F(AlertsTest, ASinkThatIsNewHearsOfWhatComes) {
  for (int i = 0; i < 5; ++i) log();
  {
    const auto alerts = open(to_file());
    alerts->start();
    log_and_take(*alerts, 2);
  }
  EXPECT_EQ(in_file(), numbers(6, 7));
  Receiver receiver;
  {
    const auto alerts = open(webhook(receiver.url(), fmt::format("file = \"{}\"\n", dir_ / "alerts.log")));
    alerts->start();
    log_and_take(*alerts, 1);
  }
  EXPECT_EQ(receiver.taken(), numbers(8, 8));
  EXPECT_EQ(in_file(), numbers(6, 8));
}

TEST_F(AlertsTest, ADamagedFileIsSaidAndHarmsNothing) {
  std::ofstream(dir_ / "data/alerts.json") << "{\"version\":1,\"at\":";
  log();
  const auto alerts = open(to_file());
  alerts->start();
  log_and_take(*alerts, 1);
  EXPECT_TRUE(comes_true([&] { return delivered(AlertSinkKind::kFile) == 1; }));
  EXPECT_EQ(in_file(), numbers(2, 2));
}

TEST_F(AlertsTest, WhatIsTooMuchIsDroppedAndCounted) {
  AlertPace pace = quick();
  pace.first_wait_us = pace.longest_wait_us = 60'000'000;
  pace.stop_us = 0;
  const auto alerts = open(webhook("http://127.0.0.1:1/"), pace);
  alerts->start();
  log_and_take(*alerts, static_cast<int>(Alerts::kWaitingMax) + 50);
  EXPECT_TRUE(comes_true([&] { return dropped(AlertSinkKind::kWebhook) >= 50; }));
  EXPECT_EQ(delivered(AlertSinkKind::kWebhook) + failed(AlertSinkKind::kWebhook), 0u);
}

TEST_F(AlertsTest, AReceiverThatNeverEndsIsLeftInTimeAndNobodyWaitsForIt) {
  const Dripping receiver;
  AlertPace pace = quick();
  pace.attempt_us = 300'000;
  pace.stop_us = 300'000;
  const auto alerts = open(webhook(receiver.url), pace);
  alerts->start();
  const auto began = std::chrono::steady_clock::now();
  log_and_take(*alerts, 100);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(2));
  usleep(100'000);
  alerts->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(8));
  EXPECT_EQ(delivered(AlertSinkKind::kWebhook), 0u);
}

TEST_F(AlertsTest, AFileIsForItsOwnerAndIsAppendedTo) {
  {
    const auto alerts = open(to_file());
    alerts->start();
    log_and_take(*alerts, 2);
  }
  struct stat about {};
  ASSERT_EQ(stat((dir_ / "alerts.log").c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
  {
    const auto alerts = open(to_file());
    alerts->start();
    log_and_take(*alerts, 1);
  }
  EXPECT_EQ(in_file(), numbers(1, 3));
}

TEST_F(AlertsTest, ACommandGetsTheTextOnItsStandardInput) {
  const std::string out = dir_ / "out";
  const auto sink =
      make_command_sink({"/bin/sh", "-c", "cat >> " + out + "; ls -l /proc/self/fd | wc -l >> " + out});
  const std::string text = R"({"id":1,"text":"it's `reboot`; $(reboot) \"$HOME\""})";
  const auto sent = sink->send({1, text}, 5'000'000);
  ASSERT_TRUE(sent) << sent.error();
  const std::string got = read_file(out);
  EXPECT_EQ(got.substr(0, got.find('\n')), text);
  EXPECT_LE(std::stoi(got.substr(got.find('\n'))), 5)
      << "it inherits three descriptors; ls has one of its own";
}

TEST_F(AlertsTest, ACommandThatFailsIsToldAndOneThatStaysIsKilled) {
  const auto error = [](const std::vector<std::string>& argv, int64_t timeout_us) {
    const auto sent = make_command_sink(argv)->send({1, std::string(1 << 20, 'x')}, timeout_us);
    return sent ? std::string() : sent.error();
  };
  EXPECT_EQ(error({"true"}, 5'000'000), "") << "it need not read";
  EXPECT_EQ(error({"sh", "-c", "cat > /dev/null; exit 3"}, 5'000'000), "sh: exit code 3");
  EXPECT_EQ(error({"sh", "-c", "kill -TERM $$"}, 5'000'000), "sh: it was ended by signal 15");
  EXPECT_NE(error({"/nowhere/at-all"}, 5'000'000).find("No such file"), std::string::npos);
  const auto began = std::chrono::steady_clock::now();
  const std::string marker = dir_ / "late";
  EXPECT_NE(error({"sh", "-c", "cat > /dev/null; (sleep 1; touch " + marker + ") & sleep 60"}, 200'000)
                .find("killed"),
            std::string::npos);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
  EXPECT_NE(error({"sleep", "60"}, 200'000).find("killed"), std::string::npos) << "it does not read";
  sleep(2);
  EXPECT_FALSE(std::filesystem::exists(marker)) << "with what it had begun";
}

TEST_F(AlertsTest, WithoutItsSecretNothingStarts) {
  for (const std::string name : {"none", "empty"}) {
    if (name == "empty") std::ofstream(dir_ / name) << "\n";
    const auto opened = Alerts::open(
        config(fmt::format("webhook = \"http://127.0.0.1:1/\"\nwebhook_secret_file = \"{}\"\n", dir_ / name)),
        *store_, dir_ / "data", probe_);
    ASSERT_FALSE(opened);
    EXPECT_NE(opened.error().find("alerts.webhook_secret_file: " + (dir_ / name)), std::string::npos)
        << opened.error();
  }
}

TEST_F(AlertsTest, WithoutSinksTheyAreToldAllTheSame) {
  const auto alerts = open(must_parse(handbook_15()));
  alerts->start();
  log_and_take(*alerts, 2000);
  EXPECT_FALSE(std::filesystem::exists(dir_ / "data/alerts.json"));
}

}  // namespace
}  // namespace shrike::engine
