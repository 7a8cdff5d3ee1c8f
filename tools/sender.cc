#include "tools/sender.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "engine/replay/csv.h"
#include "engine/wire/wire.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/labels_csv.h"
#include "tools/progress.h"

namespace shrike::tools {
namespace {

using engine::CsvReader;
using engine::TextInput;

constexpr std::string_view kBlank = " \t\r\n";
constexpr uint64_t kSkippedShownMax = 10;

// A reply that is no text came to a request that the server took for Protobuf.
bool is_text(std::string_view reply) {
  return !reply.empty() && reply[0] == '{' &&
         std::none_of(reply.begin(), reply.end(), [](unsigned char c) { return c < 0x20 && c != '\t'; });
}

std::string malformed(const std::string& reason) {
  return fmt::format(R"({{"error":{{"code":"malformed","field":"","reason":"{}"}}}})",
                     engine::json_escape(reason));
}

// Why a line of JSON lines is not sent; "" when it is.
std::string why_not(std::string_view line, uint64_t number, const std::string& file) {
  if (line[0] == '[')
    return fmt::format("line {} begins a JSON array; send one object a line: jq -c '.[]' {}", number, file);
  if (line == "{")
    return fmt::format("line {} begins an object of several lines; send one object a line: jq -c . {}",
                       number, file);
  return "";
}

class Sender {
 public:
  Sender(const SendOptions& options, bool labels)
      : options_(options), labels_(labels), progress_("requests") {}

  int run() {
    auto input = TextInput::open(options_.input, "JSON lines or a CSV file");
    if (!input) return complain(input.error(), kBadInput);
    try {
      client_ = std::make_unique<Client>(
          options_.endpoint, [this](uint64_t tag, std::string_view reply, int64_t) { show(tag, reply); });
    } catch (const zmq::error_t& error) {
      return complain(
          fmt::format("{}: {}; expected tcp://ADDRESS:PORT or ipc://PATH", options_.endpoint, error.what()),
          kBadInput);
    }
    const int code = !is_csv(**input) ? send_lines(**input)
                     : labels_        ? send_labels(std::move(*input))
                                      : send_transactions(std::move(*input));
    if (code == kFailed) return code;
    // What was sent before a line that ends it all is answered all the same.
    if (!client_->drain(0, options_.timeout_ms)) return silent();
    return code != 0 ? code : conclude();
  }

 private:
  // What begins as JSON does is no CSV, whatever its name.
  bool is_csv(TextInput& input) const {
    size_t first;
    while ((first = input.ahead().find_first_not_of(kBlank)) == std::string_view::npos && input.more()) {
    }
    if (first != std::string_view::npos && (input.ahead()[first] == '{' || input.ahead()[first] == '['))
      return false;
    return options_.input.find(".csv") != std::string::npos || !options_.config.empty();
  }

  void show(uint64_t tag, std::string_view reply) {
    ++replies_;
    if (!is_text(reply)) {
      ++errors_;
      fmt::print("{}\n", malformed(fmt::format(
                             "the server took request {} for Protobuf, for it is no JSON; its reply of "
                             "{} bytes is not shown",
                             tag + 1, reply.size())));
      return;
    }
    errors_ += reply.rfind("{\"error\"", 0) == 0;
    fmt::print("{}\n", reply);
  }

  int silent() const {
    return complain(fmt::format("{} does not answer ({} requests sent, {} answered); is `shrike serve` "
                                "running, and is this its endpoint?",
                                options_.endpoint, sent_, replies_),
                    kFailed);
  }

  int conclude() const {
    if (skipped_ > 0)
      complain(fmt::format("{} lines were refused and not sent{}", skipped_,
                           skipped_ > kSkippedShownMax
                               ? fmt::format("; the first {} are named above", size_t{kSkippedShownMax})
                               : std::string()),
               0);
    if (errors_ > 0) complain(fmt::format("{} of {} requests were refused", errors_, replies_), 0);
    return errors_ + skipped_ > 0 ? kNotAllWell : 0;
  }

  bool send(std::string_view request) {
    client_->send(request, sent_++);
    client_->poll(0);
    progress_.update(0, sent_);
    return client_->drain(options_.window - 1, options_.timeout_ms);
  }

  int send_lines(TextInput& input) {
    size_t length = 0;
    bool ended = false;
    for (uint64_t number = 1; input.find_line(0, length, ended); ++number) {
      std::string_view line = input.ahead().substr(0, length);
      input.take(length + (ended ? 1 : 0));
      if (line.rfind("\xEF\xBB\xBF", 0) == 0) line.remove_prefix(3);
      const size_t first = line.find_first_not_of(kBlank);
      if (first == std::string_view::npos) continue;
      line = line.substr(first, line.find_last_not_of(kBlank) + 1 - first);
      if (const std::string reason = why_not(line, number, input.file()); !reason.empty()) {
        if (!client_->drain(0, options_.timeout_ms)) return silent();
        ++replies_, ++errors_;
        fmt::print("{}\n", malformed(reason));
        if (sent_ == 0) return 0;  // so is the rest of the file
        continue;
      }
      if (!send(line)) return silent();
    }
    return input.problem().empty()
               ? 0
               : complain(fmt::format("{}: {}", input.name(), input.problem()), kBadInput);
  }

  // Whether to go on behind a line that was refused.
  bool skip(const std::string& error) {
    if (options_.on_error == "stop") {
      complain(error + " (--on-error skip goes on without such lines)", 0);
      return false;
    }
    if (skipped_++ < kSkippedShownMax) fmt::print(stderr, "skipped: {}\n", error);
    return true;
  }

  int send_transactions(std::unique_ptr<TextInput> input) {
    const engine::ConfigPtr config = read_config(options_.config);
    if (!config) return kBadInput;
    auto records = engine::CsvRecords::open(std::move(input));
    if (!records) return complain(records.error(), kBadInput);
    auto reader = CsvReader::open(std::move(*records), config->schema(), false);
    if (!reader) return complain(reader.error(), kBadInput);
    for (const std::string& note : (*reader)->notes()) fmt::print(stderr, "note: {}\n", note);
    features::Transaction transaction;
    int label = -1;
    for (CsvReader::Line line; (line = (*reader)->next(transaction, label)) != CsvReader::Line::kEnd;) {
      if (line == CsvReader::Line::kBroken) return complain((*reader)->error(), kBadInput);
      if (line == CsvReader::Line::kBad) {
        if (!skip((*reader)->error())) return kBadInput;
        continue;
      }
      if (!send(engine::score_request_json(config->schema(), transaction))) return silent();
    }
    return 0;
  }

  int send_labels(std::unique_ptr<TextInput> input) {
    const engine::ConfigPtr config = read_config(options_.config);
    if (!config) return kBadInput;
    auto records = engine::CsvRecords::open(std::move(input));
    if (!records) return complain(records.error(), kBadInput);
    auto labels = LabelsCsv::open(std::move(*records), *config, options_.source);
    if (!labels) return complain(labels.error(), kBadInput);
    for (const std::string& note : (*labels)->notes()) fmt::print(stderr, "note: {}\n", note);
    std::string request;
    for (LabelsCsv::Read read; (read = (*labels)->next(request)) != LabelsCsv::Read::kEnd;) {
      if (read == LabelsCsv::Read::kBroken) return complain((*labels)->error(), kBadInput);
      if (read == LabelsCsv::Read::kBad) {
        if (!skip((*labels)->error())) return kBadInput;
        continue;
      }
      if (!send(request)) return silent();
    }
    if ((*labels)->unlabelled() > 0)
      fmt::print(stderr, "note: {} lines without a label were passed over\n", (*labels)->unlabelled());
    return 0;
  }

  const SendOptions& options_;
  bool labels_;
  Progress progress_;
  std::unique_ptr<Client> client_;
  uint64_t sent_ = 0, replies_ = 0, errors_ = 0, skipped_ = 0;
};

}  // namespace

int send_transactions(const SendOptions& options) { return Sender(options, false).run(); }
int send_labels(const SendOptions& options) { return Sender(options, true).run(); }

}  // namespace shrike::tools
