// What peers may take. As many may be connected as leave descriptors for the log's files: beyond that the
// newest is turned away, counted and logged, and those that are served stay. And an unfinished message may be
// only so long: parts without an end would take memory without an end. ZeroMQ itself accepts whatever comes.
// The socket thread's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include <zmq.hpp>

namespace shrike::engine {

class Connections {
 public:
  // Raises the process's limit of descriptors as far as it may. `unfinished_max`: bytes of one message, all
  // its parts together, before it ends; looked at every so often.
  explicit Connections(uint64_t unfinished_max);

  // Before the socket binds.
  void watch(zmq::context_t& context, zmq::socket_t& socket);
  // How many of the descriptors are left for peers, now that everything else is open.
  void find_bound();
  // What has happened; call it often. Never waits.
  void look();
  // A whole message came from there.
  void delivered(zmq::message_t& part);
  // All whole messages so far were taken: what a connection has sent since is part of an unfinished one.
  void drained();
  // Becomes readable when there is something to look at.
  std::vector<zmq::socket_t>& events() { return events_; }

  size_t open() const { return open_.size(); }
  size_t bound() const { return bound_; }
  uint64_t turned_away() const { return turned_away_; }
  uint64_t cut_off() const { return cut_off_; }

 private:
  struct Peer {
    uint64_t bytes = 0;      // received when its last message came
    bool delivered = false;  // a message, since the last look
  };
  void take(zmq::socket_t& events);

  uint64_t unfinished_max_;
  std::vector<zmq::socket_t> events_;
  std::unordered_map<int, Peer> open_;  // by descriptor
  int64_t next_look_us_ = 0;
  size_t bound_ = SIZE_MAX;
  uint64_t turned_away_ = 0, cut_off_ = 0;
};

}  // namespace shrike::engine
