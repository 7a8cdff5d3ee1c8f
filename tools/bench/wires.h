// A load generator's connections: many DEALER sockets of one ZeroMQ context, each a connection of its own to
// the server, waited for together through one epoll (zmq_poll looks at every socket every time). One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>
#include <zmq.hpp>

namespace shrike::tools::bench {

class Wires {
 public:
  // Room for `most` connections; raises the process's limit of descriptors as far as it may.
  explicit Wires(int most);
  ~Wires();
  Wires(const Wires&) = delete;
  Wires& operator=(const Wires&) = delete;

  // One connection more; wires are numbered from 0. It is made in the background and what is sent before
  // waits for it. An error names the endpoint and the remedy.
  // `secured`: with the keys of --key, if they were given.
  tl::expected<void, std::string> connect(const std::string& endpoint, bool secured);
  size_t size() const { return sockets_.size(); }

  // Never waits; a message that the server does not take yet is kept in memory.
  void send(size_t wire, std::string_view message);
  using OnReply = std::function<void(size_t wire, std::string_view reply)>;
  // Takes the replies that are there; waits at most `wait_ns` for the first.
  void receive(int64_t wait_ns, const OnReply& on_reply);

 private:
  bool take(size_t wire, const OnReply& on_reply);

  zmq::context_t context_{1};
  std::vector<zmq::socket_t> sockets_;
  std::vector<size_t> touched_;  // wires that were sent on since they were last looked at
  zmq::message_t reply_;
  int epoll_;
};

int64_t clock_ns();

}  // namespace shrike::tools::bench
