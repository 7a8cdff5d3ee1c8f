// shrike score, shrike feedback, shrike status
#include <fmt/format.h>
#include <simdjson.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>

#include "engine/replay/csv.h"
#include "engine/wire/wire.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/progress.h"

namespace shrike::tools {
namespace {

struct Options {
  std::string input = "-", endpoint, config, source = "analyst", on_error = "stop";
  size_t window = 64;
  int timeout_ms = 10'000;
  bool json = false;
};

// Sends JSON lines as they are and CSV rows as JSON; prints replies in order. Returns the exit code.
class Sender {
 public:
  explicit Sender(Options options) : options_(std::move(options)), progress_("requests") {}

  int run(bool feedback) {
    try {
      client_ =
          std::make_unique<Client>(options_.endpoint, [this](uint64_t, std::string_view reply, int64_t) {
            ++replies_;
            errors_ += reply.rfind("{\"error\"", 0) == 0;
            fmt::print("{}\n", reply);
          });
    } catch (const zmq::error_t& error) {
      return complain(
          fmt::format("{}: {}; expected tcp://ADDRESS:PORT or ipc://PATH", options_.endpoint, error.what()),
          kBadInput);
    }
    const int code = is_csv() ? send_csv(feedback) : send_lines();
    if (code != 0) return code;
    if (!client_->drain(0, options_.timeout_ms)) return silent();
    return errors_ > 0 ? kNotAllWell : 0;
  }

 private:
  bool is_csv() const {
    const std::string& name = options_.input;
    return name.find(".csv") != std::string::npos || !options_.config.empty();
  }

  int silent() const {
    return complain(fmt::format("{} does not answer ({} requests sent, {} answered); is `shrike serve` "
                                "running, and is this its endpoint?",
                                options_.endpoint, sent_, replies_),
                    kFailed);
  }

  bool send(std::string_view request) {
    client_->send(request, sent_++);
    client_->poll(0);
    progress_.update(0, sent_);
    return client_->drain(options_.window - 1, options_.timeout_ms);
  }

  int send_lines() {
    std::ifstream file;
    if (options_.input != "-") {
      file.open(options_.input);
      if (!file) return complain(fmt::format("{}: the file cannot be read", options_.input), kBadInput);
    }
    std::istream& in = options_.input == "-" ? std::cin : file;
    for (std::string line; std::getline(in, line);) {
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      if (!send(line)) return silent();
    }
    return 0;
  }

  int send_csv(bool feedback) {
    const engine::ConfigPtr config = read_config(options_.config);
    if (!config) return kBadInput;
    auto opened = engine::CsvReader::open(options_.input, config->schema(), feedback);
    if (!opened) return complain(opened.error(), kBadInput);
    engine::CsvReader& reader = **opened;
    if (!feedback && !reader.ignored_columns().empty()) {
      fmt::print(stderr, "note: columns that the schema does not name are left out: {}\n",
                 fmt::join(reader.ignored_columns(), ", "));
    }
    const auto& schema = config->schema();
    features::Transaction transaction;
    int label = -1;
    for (engine::CsvReader::Line line;
         (line = reader.next(transaction, label)) != engine::CsvReader::Line::kEnd;) {
      if (line == engine::CsvReader::Line::kBroken) return complain(reader.error(), kBadInput);
      if (line == engine::CsvReader::Line::kBad) {
        if (options_.on_error == "stop")
          return complain(reader.error() + " (--on-error skip goes on without such lines)", kBadInput);
        fmt::print(stderr, "skipped: {}\n", reader.error());
        continue;
      }
      if (feedback && label < 0) continue;
      if (!send(feedback ? label_json(schema, transaction, label)
                         : engine::score_request_json(schema, transaction)))
        return silent();
    }
    return 0;
  }

  std::string label_json(const features::Schema& schema, const features::Transaction& transaction,
                         int label) const {
    const std::string id = features::text(schema, transaction, schema.id);
    const bool quoted = schema.fields[schema.id].type == features::FieldType::kText;
    return fmt::format(R"({{"transaction_id":{}{}{},"{}":{},"source":"{}","time":{}}})", quoted ? "\"" : "",
                       quoted ? engine::json_escape(id) : id, quoted ? "\"" : "", schema.label, label,
                       options_.source, features::text(schema, transaction, schema.time));
  }

  Options options_;
  Progress progress_;
  std::unique_ptr<Client> client_;
  uint64_t sent_ = 0, replies_ = 0, errors_ = 0;
};

void add_sender(CLI::App& app, const char* name, const char* help, const char* endpoint, bool feedback,
                int& exit_code) {
  auto options = std::make_shared<Options>();
  options->endpoint = endpoint;
  CLI::App* command = app.add_subcommand(name, help);
  command->add_option("input", options->input, "JSON lines, or a CSV (plain or gz); - is standard input")
      ->capture_default_str();
  command
      ->add_option("--endpoint,-e", options->endpoint, "the server's socket, as its `ready` line prints it")
      ->capture_default_str();
  command->add_option(
      "--config,-c", options->config,
      "the schema of a CSV (the embedded quickstart's when absent); makes standard input a CSV");
  if (feedback)
    command->add_option("--source", options->source, "of labels from a CSV")
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
  command->add_flag("--json", options->json,
                    "replies are JSON lines in any case; for symmetry with other commands");
  command->callback([options, feedback, &exit_code] { exit_code = Sender(*options).run(feedback); });
}

void print_status(const simdjson::dom::object& object, const std::string& prefix) {
  for (const auto& [key, value] : object) {
    const std::string name = prefix + std::string(key);
    simdjson::dom::object inner;
    if (!value.get(inner)) {
      print_status(inner, name + ".");
    } else {
      std::string text = simdjson::minify(value);
      if (text.size() > 1 && text.front() == '"') text = text.substr(1, text.size() - 2);
      fmt::print("{:<32}{}\n", name, text);
    }
  }
}

}  // namespace

void add_score(CLI::App& app, int& exit_code) {
  add_sender(
      app, "score",
      "Sends transactions to a running server and prints its replies, one JSON object a line, in order.\n\n"
      "  echo '{\"transaction_id\":1,\"time\":100,\"customer_id\":7,\"terminal_id\":3,\"amount\":25.5}' | "
      "shrike score\n"
      "  shrike score stream.csv.gz --config handbook.toml --endpoint tcp://127.0.0.1:7201\n\n"
      "Exit code 1 when any reply is an error.",
      "tcp://127.0.0.1:7201", false, exit_code);
}

void add_feedback(CLI::App& app, int& exit_code) {
  add_sender(app, "feedback",
             "Sends labels to a running server; each is on disk before its reply is printed. Sending one "
             "twice changes nothing.\n\n"
             "  echo '{\"transaction_id\":1,\"is_fraud\":1,\"source\":\"analyst\",\"time\":90000}' | shrike "
             "feedback\n"
             "  shrike feedback labels.csv --config handbook.toml --source chargeback\n\n"
             "Exit code 1 when any reply is an error.",
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
    if (!reply) {
      exit_code = complain(reply.error(), kFailed);
    } else if (*json) {
      fmt::print("{}\n", *reply);
    } else {
      simdjson::dom::parser parser;
      print_status(parser.parse(*reply), "");
    }
  });
}

}  // namespace shrike::tools
