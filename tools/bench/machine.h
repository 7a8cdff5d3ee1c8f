// What a load test is measured beside: a bare ZeroMQ echo, which does nothing but pass messages back, and the
// hiccups of the machine itself. Each has a thread of its own, from construction to stop or destruction.
#pragma once

#include <atomic>
#include <string>
#include <thread>

#include <zmq.hpp>

#include "tools/bench/hdr_histogram.h"

namespace shrike::tools::bench {

// A ROUTER on a free port of the loopback that answers every message with `reply_bytes` bytes.
class Echo {
 public:
  explicit Echo(size_t reply_bytes);
  ~Echo();
  const std::string& endpoint() const { return endpoint_; }

 private:
  void run();
  zmq::context_t context_{1};
  zmq::socket_t socket_;
  std::string endpoint_, reply_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// Sleeps a millisecond at a time and records by how much it overslept, as jHiccup does: what any thread of
// this machine may have to wait for through no fault of the program. A long one also stands for the sleeps
// that would have begun meanwhile.
class Hiccups {
 public:
  Hiccups();
  ~Hiccups();
  // Nanoseconds. Ends the thread.
  const HdrHistogram& stop();

 private:
  std::atomic<bool> stopping_{false};
  HdrHistogram over_;
  std::thread thread_;
};

}  // namespace shrike::tools::bench
