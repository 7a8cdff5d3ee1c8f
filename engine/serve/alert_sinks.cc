#include "engine/serve/alert_sinks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <nlohmann/json.hpp>

#include "engine/wire/event_json.h"

namespace shrike::engine {
namespace {

class FileSink final : public AlertSink {
 public:
  explicit FileSink(std::string path) : path_(std::move(path)) {}
  AlertSinkKind kind() const override { return AlertSinkKind::kFile; }

  tl::expected<void, std::string> send(const AlertMessage& message, int64_t) override {
    const auto failed = [&](const char* what, int file) {
      std::string text = fmt::format("{} cannot be {}: {}", path_, what, strerror(errno));
      if (file >= 0) close(file);
      return tl::make_unexpected(std::move(text));
    };
    // Opened each time, so that whoever rotates it needs no signal; a pipe without a reader does not hold us.
    const int file =
        open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, S_IRUSR | S_IWUSR);
    if (file < 0) return failed("opened", file);
    struct stat before {};
    if (fstat(file, &before) != 0) return failed("read", file);
    const std::string line = message.body + "\n";
    const ssize_t written = write(file, line.data(), line.size());
    if (written != static_cast<ssize_t>(line.size())) {
      if (written >= 0) errno = ENOSPC;
      const int reason = errno;
      // Half a line would spoil the next.
      if (S_ISREG(before.st_mode) && ftruncate(file, before.st_size) != 0)
        return failed("cut back after a short write", file);
      errno = reason;
      return failed("written", file);
    }
    if (S_ISREG(before.st_mode) && fdatasync(file) != 0) return failed("synced", file);
    close(file);
    return {};
  }

 private:
  std::string path_;
};

}  // namespace

std::string alert_text(const Alert& alert) {
  nlohmann::ordered_json json = {{"id", alert.id},
                                 {"fingerprint", alert.fingerprint},
                                 {"status", alert.resolved ? "resolved" : "firing"}};
  json.update(judgement_json(alert.judgement));
  json["severity"] = name(alert.severity);
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::unique_ptr<AlertSink> make_file_sink(std::string path) {
  return std::make_unique<FileSink>(std::move(path));
}

tl::expected<std::vector<std::unique_ptr<AlertSink>>, std::string> make_alert_sinks(
    const AlertConfig& config) {
  std::vector<std::unique_ptr<AlertSink>> sinks;
  if (!config.file.empty()) sinks.push_back(make_file_sink(config.file));
  if (!config.command.empty()) sinks.push_back(make_command_sink(config.command));
  if (config.webhook.empty()) return sinks;
  if (!config.webhook_secret_file.empty()) {
    if (auto secret = read_secret(config.webhook_secret_file); !secret)
      return tl::make_unexpected(fmt::format("alerts.webhook_secret_file: {}", secret.error()));
  }
  sinks.push_back(make_webhook_sink(config.webhook, config.webhook_secret_file));
  return sinks;
}

}  // namespace shrike::engine
