// The sink that POSTs to a webhook.
#include <fmt/format.h>
#include <httplib.h>
#include <sodium.h>

#include <chrono>
#include <condition_variable>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/serve/alert_sinks.h"
#include "engine/serve/no_sigpipe.h"

namespace shrike::engine {
namespace {

constexpr size_t kSecretBytesMax = 1 << 16;

// Ends a request that takes too long as a whole: the library's own limits are for each read.
class Limit {
 public:
  Limit(httplib::Client& client, std::chrono::microseconds most)
      : thread_([this, &client, most] {
          std::unique_lock lock(mutex_);
          if (changed_.wait_for(lock, most, [this] { return over_; })) return;
          // Again and again: while a name is resolved there is nothing to stop yet.
          do client.stop();
          while (!changed_.wait_for(lock, std::chrono::milliseconds(50), [this] { return over_; }));
        }) {}
  ~Limit() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

class WebhookSink final : public AlertSink {
 public:
  WebhookSink(std::string url, std::string secret_file) : secret_file_(std::move(secret_file)) {
    const size_t path = url.find('/', url.find("://") + 3);
    path_ = path == std::string::npos ? "/" : url.substr(path);
    origin_ = url.substr(0, path);
  }
  AlertSinkKind kind() const override { return AlertSinkKind::kWebhook; }

  tl::expected<void, std::string> send(const AlertMessage& message, int64_t timeout_us) override {
    httplib::Request request;
    request.method = "POST";
    request.path = path_;
    request.body = message.body;
    request.headers = {{"Content-Type", "application/json"}, {"X-Shrike-Id", std::to_string(message.id)}};
    if (auto is_signed = sign(request); !is_signed) return is_signed;
    int status = 0;
    // What it answers besides is not read.
    request.response_handler = [&](const httplib::Response& response) {
      status = response.status;
      return false;
    };
    const NoSigpipe no_sigpipe;
    const std::chrono::microseconds most(timeout_us);
    httplib::Client client(origin_);
    client.set_connection_timeout(most);
    client.set_read_timeout(most);
    client.set_write_timeout(most);
    const Limit limit(client, most);
    const httplib::Result result = client.send(request);
    if (result) status = result->status;
    if (status >= 200 && status < 300) return {};
    return tl::make_unexpected(
        status != 0 ? fmt::format("{} answers {}", origin_, status)
                    : fmt::format("{} gives no answer ({})", origin_, httplib::to_string(result.error())));
  }

 private:
  tl::expected<void, std::string> sign(httplib::Request& request) const {
    const std::string timestamp = std::to_string(
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
            .count());
    request.set_header("X-Shrike-Timestamp", timestamp);
    if (secret_file_.empty()) return {};
    const auto secret = read_secret(secret_file_);
    if (!secret) return tl::make_unexpected(secret.error());
    request.set_header("X-Shrike-Signature", alert_signature(*secret, timestamp, request.body));
    return {};
  }

  std::string origin_, path_, secret_file_;
};

}  // namespace

std::unique_ptr<AlertSink> make_webhook_sink(std::string url, std::string secret_file) {
  return std::make_unique<WebhookSink>(std::move(url), std::move(secret_file));
}

tl::expected<std::string, std::string> read_secret(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string secret(kSecretBytesMax + 1, '\0');
  file.read(secret.data(), static_cast<std::streamsize>(secret.size()));
  secret.resize(static_cast<size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  if (!file.is_open() || file.bad())
    return tl::make_unexpected(fmt::format("{} cannot be read; check its path and permissions", path));
  while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) secret.pop_back();
  if (secret.empty() || secret.size() > kSecretBytesMax) {
    return tl::make_unexpected(
        fmt::format("{} must hold the secret, at most {} bytes", path, kSecretBytesMax));
  }
  return secret;
}

std::string alert_signature(std::string_view secret, std::string_view timestamp, std::string_view body) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  };
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, bytes(secret), secret.size());
  for (const std::string_view part : {timestamp, std::string_view("."), body})
    crypto_auth_hmacsha256_update(&state, bytes(part), part.size());
  std::array<unsigned char, crypto_auth_hmacsha256_BYTES> code;
  crypto_auth_hmacsha256_final(&state, code.data());
  std::string hex(2 * code.size() + 1, '\0');
  sodium_bin2hex(hex.data(), hex.size(), code.data(), code.size());
  hex.pop_back();
  return "sha256=" + hex;
}

}  // namespace shrike::engine
