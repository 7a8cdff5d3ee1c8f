// shrike alerts: tries the sinks of a configuration, and prints what a server announces.
#include <fmt/format.h>

#include <cstdio>
#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <zmq.hpp>

#include "engine/serve/alert_sinks.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/json.h"

namespace shrike::tools {
namespace {

constexpr int64_t kAttemptUs = 10'000'000;

struct Options {
  std::string config, endpoint = "tcp://127.0.0.1:7203";
  std::vector<std::string> topics{"alert"};
  uint64_t count = 0;
  bool json = false;
};

engine::Alert test_alert() {
  engine::Alert alert{.fingerprint = "test/"};
  alert.severity = alert.judgement.severity = engine::Severity::kWarning;
  alert.judgement.monitor = "test";
  alert.judgement.time_us = static_cast<int64_t>(std::time(nullptr)) * 1'000'000;
  alert.judgement.text = "a test by `shrike alerts test`: nothing has happened";
  alert.judgement.evidence = "{}";
  return alert;
}

int test(const Options& options) {
  const engine::ConfigPtr config = read_config(options.config);
  if (!config) return kBadInput;
  const auto sinks = engine::make_alert_sinks(config->alerts);
  if (!sinks) return complain(sinks.error(), kBadInput);
  if (sinks->empty())
    return complain("alerts go nowhere: give webhook, file or command in [alerts]", kBadInput);
  const engine::AlertMessage message{0, engine::alert_text(test_alert())};
  int exit_code = 0;
  Json all = Json::array();
  for (const auto& sink : *sinks) {
    const int64_t began_us = clock_us();
    const auto sent = sink->send(message, kAttemptUs);
    const int64_t ms = (clock_us() - began_us) / 1000;
    if (!sent) exit_code = kNotAllWell;
    if (options.json) {
      all.push_back({{"sink", name(sink->kind())}, {"delivered", sent.has_value()}, {"ms", ms}});
      if (!sent) all.back()["error"] = sent.error();
    } else {
      fmt::print("{:<8}  {} ({} ms)\n", name(sink->kind()), sent ? "delivered" : "failed: " + sent.error(),
                 ms);
    }
  }
  if (options.json) fmt::print("{}\n", to_text({{"sinks", std::move(all)}}));
  return exit_code;
}

// What a subscriber has missed, by the numbers of the messages.
class Gaps {
 public:
  // A remark when messages of the topic are missing before this one, or the server is another run; else "".
  std::string see(const std::string& topic, const Json& message) {
    if (!message.is_object() || !message.contains("n") || !message["n"].is_number_unsigned() ||
        !message.contains("start") || !message["start"].is_string())
      return "";
    const Seen now{message["start"].get<std::string>(), message["n"].get<uint64_t>()};
    const auto [it, first] = seen_.try_emplace(topic, now);
    const Seen before = std::exchange(it->second, now);
    if (first) return "";
    if (before.start != now.start)
      return fmt::format("the server has started anew, and {} of its messages \"{}\" are missing", now.n - 1,
                         topic);
    return now.n > before.n + 1 ? fmt::format("{} messages \"{}\" are missing", now.n - before.n - 1, topic)
                                : "";
  }

 private:
  struct Seen {
    std::string start;
    uint64_t n = 0;
  };
  std::map<std::string, Seen> seen_;  // by topic
};

int watch(const Options& options) {
  Gaps gaps;
  try {
    zmq::context_t context;
    zmq::socket_t socket(context, zmq::socket_type::sub);
    socket.set(zmq::sockopt::linger, 0);
    for (const std::string& topic : options.topics) socket.set(zmq::sockopt::subscribe, topic);
    secure(socket);
    socket.connect(options.endpoint);
    for (uint64_t seen = 0; options.count == 0 || seen < options.count; ++seen) {
      zmq::message_t topic, text;
      if (!socket.recv(topic) || !topic.more() || !socket.recv(text)) continue;
      const std::string remarks = gaps.see(topic.to_string(), from_text(text.to_string()));
      if (!remarks.empty()) remark(remarks);
      fmt::print("{}\n", text.to_string_view());
      std::fflush(stdout);
    }
  } catch (const zmq::error_t& error) {
    return complain(
        fmt::format("{}: {}; expected tcp://ADDRESS:PORT or ipc://PATH", options.endpoint, error.what()),
        kFailed);
  }
  return 0;
}

}  // namespace

void add_alerts(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* alerts =
      app.add_subcommand("alerts",
                         "Alerts of monitors: whether they arrive, and what a server tells.\n\n"
                         "  shrike alerts test --config handbook.toml\n"
                         "  shrike alerts watch --endpoint tcp://127.0.0.1:7203\n");
  alerts->require_subcommand(1);
  CLI::App* one = alerts->add_subcommand(
      "test",
      "sends a test alert to every sink of [alerts], once, and says how it went; exit code 1 when one "
      "failed");
  one->add_option("--config,-c", options->config, "TOML")->required();
  one->add_flag("--json", options->json, "for machines");
  one->callback([options, &exit_code] { exit_code = test(*options); });
  one = alerts->add_subcommand("watch",
                               "prints what a running server announces, one JSON object a line, and says on "
                               "standard error what was missed");
  one->add_option("--endpoint,-e", options->endpoint, "the server's events socket")->capture_default_str();
  one->add_option("--topic", options->topics, "alert, judgement, model or decision; several may be given")
      ->check(CLI::IsMember({"alert", "judgement", "model", "decision"}))
      ->capture_default_str();
  one->add_option("--count", options->count, "end after so many; 0: never")->capture_default_str();
  one->callback([options, &exit_code] { exit_code = watch(*options); });
}

}  // namespace shrike::tools
