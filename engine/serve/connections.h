// How many peers may be connected: so many that the log's files can still be opened. Each connection takes a
// descriptor, and idle ones are free to make; beyond the bound the newest is closed at once, counted and
// logged, and those that are served stay. ZeroMQ itself accepts whatever comes. The socket thread's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include <zmq.hpp>

namespace shrike::engine {

class Connections {
 public:
  // Raises the process's limit of descriptors as far as it may.
  Connections();

  // Before the socket binds.
  void watch(zmq::context_t& context, zmq::socket_t& socket);
  // How many of the descriptors are left for peers, now that everything else is open.
  void find_bound();
  // What has happened; call it often. Never waits.
  void look();
  // Becomes readable when there is something to look at.
  std::vector<zmq::socket_t>& events() { return events_; }

  size_t open() const { return open_.size(); }
  size_t bound() const { return bound_; }
  uint64_t turned_away() const { return turned_away_; }

 private:
  void take(zmq::socket_t& events);

  std::vector<zmq::socket_t> events_;
  std::unordered_set<int> open_;  // descriptors
  size_t bound_ = SIZE_MAX;
  uint64_t turned_away_ = 0;
};

}  // namespace shrike::engine
