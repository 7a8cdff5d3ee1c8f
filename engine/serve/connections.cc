#include "engine/serve/connections.h"

#include <fmt/format.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "engine/serve/clocks.h"

namespace shrike::engine {
namespace {

constexpr rlim_t kWanted = 65'536;
constexpr size_t kForFiles = 256;  // tables and logs, opened later than now
constexpr size_t kAtLeast = 4;
constexpr int64_t kLookEveryUs = 20'000;  // for unfinished messages

size_t descriptors_max() {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<size_t>(limit.rlim_cur) : 1024;
}

size_t descriptors_open() {
  std::error_code error;
  size_t count = 0;
  for (auto it = std::filesystem::directory_iterator("/proc/self/fd", error);
       !error && it != std::filesystem::directory_iterator(); it.increment(error))
    ++count;
  return count;
}

// All that ever came over it; 0 when the system does not know.
uint64_t bytes_received(int descriptor) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  const bool known = getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
                     size >= offsetof(tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received);
  return known ? info.tcpi_bytes_received : 0;
}

}  // namespace

Connections::Connections(uint64_t unfinished_max) : unfinished_max_(unfinished_max) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kWanted) return;
  limit.rlim_cur = std::min(kWanted, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

void Connections::watch(zmq::context_t& context, zmq::socket_t& socket) {
  const std::string address = fmt::format("inproc://connections-{}", events_.size());
  // Fails only for a socket that is watched already.
  zmq_socket_monitor(socket.handle(), address.c_str(), ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED);
  events_.emplace_back(context, zmq::socket_type::pair);
  events_.back().set(zmq::sockopt::linger, 0);
  events_.back().connect(address);
}

void Connections::find_bound() {
  const size_t most = descriptors_max(), taken = descriptors_open() + std::min(kForFiles, most / 4);
  bound_ = most > taken + kAtLeast ? most - taken : kAtLeast;
  spdlog::debug("{} connections at most: {} descriptors, of which {} are for files", bound_, most, taken);
}

void Connections::look() {
  for (zmq::socket_t& events : events_) take(events);
}

void Connections::delivered(zmq::message_t& part) {
  const char* descriptor = zmq_msg_gets(part.handle(), "__fd");  // ZMQ_SRCFD
  if (descriptor == nullptr) return;
  if (const auto peer = open_.find(std::atoi(descriptor)); peer != open_.end()) peer->second.delivered = true;
}

void Connections::drained() {
  const int64_t now = now_us();
  if (now < next_look_us_) return;
  next_look_us_ = now + kLookEveryUs;
  for (auto& [descriptor, peer] : open_) {
    const uint64_t bytes = bytes_received(descriptor);
    if (std::exchange(peer.delivered, false)) {
      peer.bytes = bytes;
    } else if (bytes > peer.bytes + unfinished_max_) {
      shutdown(descriptor, SHUT_RDWR);
      spdlog::warn("a peer was cut off: {} bytes of one message had come, and no end", bytes - peer.bytes);
      peer.bytes = bytes;
      ++cut_off_;
    }
  }
}

// Two parts: the event's number (16 bits) and value (32 bits), then its address.
void Connections::take(zmq::socket_t& events) {
  zmq::message_t event, address;
  while (events.recv(event, zmq::recv_flags::dontwait)) {
    if (!event.more() || !events.recv(address, zmq::recv_flags::none)) continue;
    if (event.size() < 6) continue;
    uint16_t what = 0;
    int32_t descriptor = 0;
    std::memcpy(&what, event.data(), sizeof(what));
    std::memcpy(&descriptor, event.data<char>() + sizeof(what), sizeof(descriptor));
    if (what == ZMQ_EVENT_DISCONNECTED) {
      open_.erase(descriptor);
      continue;
    }
    open_[descriptor] = {};
    if (open_.size() <= bound_) continue;
    shutdown(descriptor, SHUT_RDWR);  // ZeroMQ sees it end and closes it
    if (std::has_single_bit(++turned_away_)) {
      spdlog::warn(
          "{} peers are connected, as many as the limit of descriptors leaves room for (`ulimit -n` is {}): "
          "new ones "
          "are turned away, {} so far",
          bound_, descriptors_max(), turned_away_);
    }
  }
}

}  // namespace shrike::engine
