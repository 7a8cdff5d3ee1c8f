// A client of a running server, over its sockets: keeps many requests in flight and matches replies to them
// (the server answers one client's requests of one socket in order). One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include <tl/expected.hpp>
#include <zmq.hpp>

namespace shrike::tools {

// From here on this process talks to servers as the client whose keys these are (--key, SHRIKE_KEY).
tl::expected<void, std::string> use_key(const std::string& path);
// Of any socket, before it connects.
void secure(zmq::socket_t& socket);

class Client {
 public:
  // `reply` is JSON; `us` the time from sending to receiving; `tag` what send() was given.
  using OnReply = std::function<void(uint64_t tag, std::string_view reply, int64_t us)>;

  Client(const std::string& endpoint, OnReply on_reply);

  void send(std::string_view request, uint64_t tag);
  // Takes the replies that are there, waiting at most `timeout_ms` for the first.
  void poll(int timeout_ms);
  size_t in_flight() const { return sent_.size(); }
  // Until at most `left` requests are in flight; false when the server has not answered any for `timeout_ms`.
  bool drain(size_t left, int timeout_ms);

  // One request, one reply. An error when none comes in time.
  static tl::expected<std::string, std::string> ask(const std::string& endpoint, std::string_view request,
                                                    int timeout_ms);

 private:
  struct Sent {
    uint64_t tag;
    int64_t at_us;
  };
  zmq::context_t context_{1};
  zmq::socket_t socket_;
  std::deque<Sent> sent_;
  OnReply on_reply_;
};

int64_t clock_us();

// Asks the server at `endpoint` once and prints what it answers; the exit code: kNotAllWell when it refused,
// kFailed when it did not answer.
int ask_and_print(const std::string& endpoint, std::string_view request);

}  // namespace shrike::tools
