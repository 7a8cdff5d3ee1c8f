// Where alerts go outside of the process: a file, a command, a webhook. A sink makes one attempt, bounded in
// time, and says how it ended; when to try again is Alerts' business (alerts.h). One thread each.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "engine/config/config.h"
#include "engine/lifecycle/alert_book.h"
#include "engine/threads/probe.h"

namespace shrike::engine {

// {"id","fingerprint","status","severity","monitor","subject","finding","action","time_us","text","evidence"}
// on one line; status is "firing" or "resolved".
std::string alert_text(const Alert& alert);

// An alert as it is sent: its number and its text.
struct AlertMessage {
  uint64_t id = 0;
  std::string body;
};

class AlertSink {
 public:
  virtual ~AlertSink() = default;
  AlertSink() = default;
  AlertSink(const AlertSink&) = delete;
  AlertSink& operator=(const AlertSink&) = delete;

  virtual AlertSinkKind kind() const = 0;
  // One attempt, given up after about `timeout_us` (names are resolved at the system's own pace). The error
  // is a sentence for the log; it holds no secret and no path of a URL.
  virtual tl::expected<void, std::string> send(const AlertMessage& message, int64_t timeout_us) = 0;
};

// Appends the text as a line and has it on the disk. The file is made when absent, for its owner alone.
std::unique_ptr<AlertSink> make_file_sink(std::string path);
// Runs argv without a shell, with the text and a line break on its standard input. Anything but exit code 0
// in time is a failure; what runs over time is killed with its process group.
std::unique_ptr<AlertSink> make_command_sink(std::vector<std::string> argv);
// POSTs the text; any answer 2xx is a success. With a secret file, which is read at each attempt, the request
// is signed (docs/wire.md).
std::unique_ptr<AlertSink> make_webhook_sink(std::string url, std::string secret_file);

// Those of the configuration, the quickest first. An error when the secret cannot be read.
tl::expected<std::vector<std::unique_ptr<AlertSink>>, std::string> make_alert_sinks(
    const AlertConfig& config);

// The content of a secret's file without the line break at its end; the error says what to do.
tl::expected<std::string, std::string> read_secret(const std::string& path);
// What X-Shrike-Signature says: "sha256=" and HMAC-SHA256 over "TIMESTAMP.BODY" in hex.
std::string alert_signature(std::string_view secret, std::string_view timestamp, std::string_view body);

}  // namespace shrike::engine
