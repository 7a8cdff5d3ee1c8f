#include "tools/client.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "engine/security/keys.h"
#include "tools/commands.h"

namespace shrike::tools {

int64_t clock_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

namespace {

// Of the command's --key; process-wide, as the option is.
std::optional<engine::KeyFile> key;

}  // namespace

tl::expected<void, std::string> use_key(const std::string& path) {
  auto file = engine::read_key_file(path);
  if (!file) return tl::make_unexpected(file.error());
  if (file->server.empty())
    return tl::make_unexpected(
        fmt::format("{} is the server's own; a client has a file of `shrike clients add`", path));
  key = std::move(*file);
  return {};
}

void secure(zmq::socket_t& socket) {
  if (!key) return;
  socket.set(zmq::sockopt::curve_serverkey, key->server);
  socket.set(zmq::sockopt::curve_publickey, key->own.public_key);
  socket.set(zmq::sockopt::curve_secretkey, key->own.secret_key);
}

Client::Client(const std::string& endpoint, OnReply on_reply)
    : socket_(context_, zmq::socket_type::dealer), on_reply_(std::move(on_reply)) {
  socket_.set(zmq::sockopt::linger, 0);
  socket_.set(zmq::sockopt::sndhwm, 0);
  socket_.set(zmq::sockopt::rcvhwm, 0);
  secure(socket_);
  socket_.connect(endpoint);
}

void Client::send(std::string_view request, uint64_t tag) {
  sent_.push_back({tag, clock_us()});
  socket_.send(zmq::buffer(request));
}

void Client::poll(int timeout_ms) {
  zmq::pollitem_t item{socket_.handle(), 0, ZMQ_POLLIN, 0};
  if (sent_.empty() || zmq::poll(&item, 1, std::chrono::milliseconds(timeout_ms)) == 0) return;
  zmq::message_t reply;
  while (!sent_.empty() && socket_.recv(reply, zmq::recv_flags::dontwait)) {
    const Sent sent = sent_.front();
    sent_.pop_front();
    on_reply_(sent.tag, reply.to_string_view(), clock_us() - sent.at_us);
  }
}

bool Client::drain(size_t left, int timeout_ms) {
  while (sent_.size() > left) {
    const size_t before = sent_.size();
    poll(timeout_ms);
    if (sent_.size() == before) return false;
  }
  return true;
}

tl::expected<std::string, std::string> Client::ask(const std::string& endpoint, std::string_view request,
                                                   int timeout_ms) {
  std::string answer;
  try {
    Client client(endpoint, [&](uint64_t, std::string_view reply, int64_t) { answer = reply; });
    client.send(request, 0);
    if (!client.drain(0, timeout_ms)) {
      return tl::make_unexpected(fmt::format(
          "{} does not answer; is `shrike serve` running, is this its endpoint, and{} of a client of it?",
          endpoint, key ? " is the key that" : ", if it has keys, is --key the file"));
    }
  } catch (const zmq::error_t& error) {
    return tl::make_unexpected(
        fmt::format("{}: {}; expected tcp://ADDRESS:PORT or ipc://PATH", endpoint, error.what()));
  }
  return answer;
}

int ask_and_print(const std::string& endpoint, std::string_view request) {
  const auto reply = Client::ask(endpoint, request, 10'000);
  if (!reply) return complain(reply.error(), kFailed);
  fmt::print("{}\n", *reply);
  return reply->rfind("{\"error\"", 0) == 0 ? kNotAllWell : 0;
}

}  // namespace shrike::tools
