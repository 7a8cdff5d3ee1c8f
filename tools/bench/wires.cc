#include "tools/bench/wires.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "tools/client.h"

namespace shrike::tools::bench {

int64_t clock_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Wires::Wires(int most) : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  context_.set(zmq::ctxopt::max_sockets, most + 16);
  sockets_.reserve(static_cast<size_t>(most));
}

Wires::~Wires() { close(epoll_); }

tl::expected<void, std::string> Wires::connect(const std::string& endpoint, bool secured) {
  try {
    zmq::socket_t socket(context_, zmq::socket_type::dealer);
    socket.set(zmq::sockopt::linger, 0);
    // The generator bounds what is in flight; ZeroMQ must not drop or block before.
    socket.set(zmq::sockopt::sndhwm, 0);
    socket.set(zmq::sockopt::rcvhwm, 0);
    if (secured) secure(socket);
    socket.connect(endpoint);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = sockets_.size();
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, socket.get(zmq::sockopt::fd), &event) != 0)
      return tl::make_unexpected(std::string("no descriptors are left: raise `ulimit -n`"));
    touched_.push_back(sockets_.size());
    sockets_.push_back(std::move(socket));
  } catch (const zmq::error_t& error) {
    return tl::make_unexpected(fmt::format(
        "connection {} to {}: {}; expected tcp://ADDRESS:PORT or ipc://PATH, and two descriptors for each "
        "connection (`ulimit -n`)",
        sockets_.size() + 1, endpoint, error.what()));
  }
  return {};
}

void Wires::send(size_t wire, std::string_view message) {
  sockets_[wire].send(zmq::buffer(message), zmq::send_flags::dontwait);
  if (touched_.empty() || touched_.back() != wire) touched_.push_back(wire);
}

bool Wires::take(size_t wire, const OnReply& on_reply) {
  // Not to the last one of a connection that never runs dry, lest the others wait.
  constexpr int kOfOneMax = 256;
  int taken = 0;
  while (taken < kOfOneMax && sockets_[wire].recv(reply_, zmq::recv_flags::dontwait)) {
    ++taken;
    on_reply(wire, reply_.to_string_view());
  }
  if (taken == kOfOneMax) touched_.push_back(wire);
  return taken > 0;
}

void Wires::receive(int64_t wait_ns, const OnReply& on_reply) {
  // ZeroMQ's descriptor tells of a change once. Sending takes notice of it too, so a socket that was sent on
  // may have replies and a silent descriptor.
  bool some = false;
  std::vector<size_t> touched;
  touched.swap(touched_);
  for (const size_t wire : touched) some |= take(wire, on_reply);
  if (some || !touched_.empty()) wait_ns = 0;
  std::array<epoll_event, 256> events;
  const timespec wait{std::max<int64_t>(wait_ns, 0) / 1'000'000'000,
                      std::max<int64_t>(wait_ns, 0) % 1'000'000'000};
  const int ready = epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &wait, nullptr);
  for (int i = 0; i < ready; ++i)
    take(static_cast<size_t>(events[static_cast<size_t>(i)].data.u64), on_reply);
}

}  // namespace shrike::tools::bench
