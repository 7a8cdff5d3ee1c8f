// `alerts test` and `alerts watch`, as people run them.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <zmq.hpp>

#include "tests/tools/support.h"

namespace shrike::tools {
namespace {

class AlertsCommand : public CommandTest {
 protected:
  std::string config(const std::string& sinks) {
    return file("test.toml", std::string("[alerts]\n") + sinks + kSmallConfig);
  }
};

TEST_F(AlertsCommand, TestSaysWhatEverySinkDid) {
  const std::string log = folder_ / "alerts.log";
  const std::string good =
      config("file = \"" + log + "\"\ncommand = [\"sh\", \"-c\", \"cat > " + (folder_ / "got") + "\"]\n");
  EXPECT_EQ(run(add_alerts, {"alerts", "test", "--config", good}), 0) << err;
  EXPECT_NE(out.find("file      delivered"), std::string::npos) << out;
  EXPECT_NE(out.find("command   delivered"), std::string::npos) << out;
  EXPECT_NE(engine::read_file(log).find("\"fingerprint\":\"test/\""), std::string::npos);
  EXPECT_EQ(engine::read_file(log), engine::read_file(folder_ / "got"));
  const std::string bad =
      config("file = \"" + log + "\"\nwebhook = \"http://127.0.0.1:1/T0KEN\"\ncommand = [\"false\"]\n");
  EXPECT_EQ(run(add_alerts, {"alerts", "test", "--config", bad, "--json"}), kNotAllWell);
  EXPECT_NE(out.find(R"({"sink":"file","delivered":true)"), std::string::npos) << out;
  EXPECT_NE(out.find("false: exit code 1"), std::string::npos) << out;
  EXPECT_NE(out.find("http://127.0.0.1:1 gives no answer"), std::string::npos) << out;
  EXPECT_EQ(out.find("T0KEN"), std::string::npos) << out;
  EXPECT_EQ(run(add_alerts, {"alerts", "test", "--config", config("")}), kBadInput);
  EXPECT_NE(err.find("alerts go nowhere"), std::string::npos) << err;
}

TEST_F(AlertsCommand, WatchSaysWhatWasMissed) {
  zmq::context_t context;
  zmq::socket_t socket(context, zmq::socket_type::xpub);
  socket.bind("tcp://127.0.0.1:*");
  const std::string endpoint = socket.get(zmq::sockopt::last_endpoint);
  std::thread server([&] {
    zmq::message_t subscription;
    for (int i = 0; i < 2; ++i) (void)socket.recv(subscription);
    const auto publish = [&](const std::string& topic, const std::string& text) {
      socket.send(zmq::buffer(topic), zmq::send_flags::sndmore);
      socket.send(zmq::buffer(text));
    };
    publish("alert", R"({"alert":"a","n":7,"start":"x"})");
    publish("model", R"({"n":1,"start":"x"})");
    publish("alert", R"({"alert":"b","n":8,"start":"x"})");
    publish("alert", R"({"alert":"c","n":11,"start":"x"})");
    publish("alert", R"({"alert":"d","n":3,"start":"y"})");
  });
  EXPECT_EQ(run(add_alerts, {"alerts", "watch", "-e", endpoint, "--topic", "alert", "model", "--count", "5"}),
            0);
  server.join();
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 5) << out;
  EXPECT_EQ(err,
            "shrike: note: 2 messages \"alert\" are missing\n"
            "shrike: note: the server has started anew, and 2 of its messages \"alert\" are missing\n");
}

}  // namespace
}  // namespace shrike::tools
