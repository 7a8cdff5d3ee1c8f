// shrike score, shrike feedback, shrike status
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/client.h"
#include "tools/commands.h"
#include "tools/sender.h"

namespace shrike::tools {
namespace {

void add_sender(CLI::App& app, const char* name, const char* help, const char* endpoint, bool feedback,
                int& exit_code) {
  auto options = std::make_shared<SendOptions>();
  options->endpoint = endpoint;
  CLI::App* command = app.add_subcommand(name, help);
  command->add_option("input", options->input, "JSON lines, or a CSV; plain or gz; - is standard input")
      ->capture_default_str();
  command
      ->add_option("--endpoint,-e", options->endpoint, "the server's socket, as its `ready` line prints it")
      ->capture_default_str();
  command->add_option(
      "--config,-c", options->config,
      "the schema of a CSV (the embedded quickstart's when absent); what does not begin as JSON does is then "
      "a CSV, whatever its name");
  if (feedback)
    command->add_option("--source", options->source, "of labels from a CSV whose line names none")
        ->check(CLI::IsMember({"analyst", "chargeback", "customer", "matured"}))
        ->capture_default_str();
  command->add_option("--window", options->window, "requests in flight")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_option("--timeout-ms", options->timeout_ms, "give up when no reply comes for this long")
      ->capture_default_str();
  command->add_option("--on-error", options->on_error, "at a bad line of a CSV: stop, or skip it")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str();
  command->add_flag_function(
      "--json", [](int64_t) {}, "replies are JSON lines in any case; for symmetry with other commands");
  command->callback([options, feedback, &exit_code] {
    exit_code = feedback ? send_labels(*options) : send_transactions(*options);
  });
}

using StatusLines = std::vector<std::pair<std::string, std::string>>;

void list_status(const simdjson::dom::object& object, const std::string& prefix, StatusLines& lines) {
  for (const auto& [key, value] : object) {
    const std::string name = prefix + std::string(key);
    simdjson::dom::object inner;
    if (!value.get(inner)) {
      list_status(inner, name + ".", lines);
    } else {
      std::string text = simdjson::minify(value);
      if (text.size() > 1 && text.front() == '"') text = text.substr(1, text.size() - 2);
      lines.emplace_back(name, text);
    }
  }
}

void print_status(const simdjson::dom::object& object) {
  StatusLines lines;
  list_status(object, "", lines);
  size_t width = 30;
  for (const auto& [name, text] : lines) width = std::max(width, name.size());
  for (const auto& [name, text] : lines) fmt::print("{:<{}}  {}\n", name, width, text);
}

}  // namespace

void add_score(CLI::App& app, int& exit_code) {
  add_sender(
      app, "score",
      "Sends transactions to a running server and prints its replies, one JSON object a line, in order.\n\n"
      "  echo '{\"transaction_id\":1,\"time\":100,\"customer_id\":7,\"terminal_id\":3,\"amount\":25.5}' | "
      "shrike score\n"
      "  shrike score stream.csv.gz --config handbook.toml --endpoint tcp://127.0.0.1:7201\n\n"
      "Exit code 1 when any line was refused, here or by the server.",
      "tcp://127.0.0.1:7201", false, exit_code);
}

void add_feedback(CLI::App& app, int& exit_code) {
  add_sender(
      app, "feedback",
      "Sends labels to a running server; each is on disk before its reply is printed. Sending one "
      "twice changes nothing.\n\n"
      "  echo '{\"transaction_id\":1,\"is_fraud\":1,\"source\":\"analyst\",\"time\":90000}' | shrike "
      "feedback\n"
      "  shrike feedback labels.csv --config handbook.toml --source chargeback\n\n"
      "A CSV of labels has a header: the id (under the schema's name, id or transaction_id), the label "
      "and, where known, the label's time and source. Of whole transactions the labels are taken, not "
      "the time.\n\n"
      "Exit code 1 when any line was refused, here or by the server.",
      "tcp://127.0.0.1:7202", true, exit_code);
}

void add_status(CLI::App& app, int& exit_code) {
  auto endpoint = std::make_shared<std::string>("tcp://127.0.0.1:7202");
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand(
      "status",
      "What a running server has done: requests, labels, models, latency, errors by kind.\n\n"
      "  shrike status --endpoint tcp://127.0.0.1:7202");
  command->add_option("--endpoint,-e", *endpoint, "the server's feedback socket")->capture_default_str();
  command->add_flag("--json", *json, "for machines");
  command->callback([endpoint, json, &exit_code] {
    const auto reply = Client::ask(*endpoint, R"({"command":"status"})", 5000);
    simdjson::dom::parser parser;
    simdjson::dom::object status;
    if (!reply) {
      exit_code = complain(reply.error(), kFailed);
    } else if (parser.parse(*reply).get(status)) {
      exit_code = complain(fmt::format("what answers at {} is no server of Shrike's", *endpoint), kFailed);
    } else {
      simdjson::dom::element error;
      if (!status["error"].get(error)) exit_code = kNotAllWell;
      if (*json) {
        fmt::print("{}\n", *reply);
      } else {
        print_status(status);
      }
    }
  });
}

}  // namespace shrike::tools
