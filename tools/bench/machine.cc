#include "tools/bench/machine.h"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>

#include "tools/bench/tally.h"
#include "tools/bench/wires.h"

namespace shrike::tools::bench {

Echo::Echo(size_t reply_bytes) : socket_(context_, zmq::socket_type::router), reply_(reply_bytes, 'e') {
  socket_.set(zmq::sockopt::linger, 0);
  socket_.set(zmq::sockopt::sndhwm, 0);
  socket_.set(zmq::sockopt::rcvhwm, 0);
  socket_.set(zmq::sockopt::rcvtimeo, 50);
  socket_.bind("tcp://127.0.0.1:*");
  endpoint_ = socket_.get(zmq::sockopt::last_endpoint);
  thread_ = std::thread([this] { run(); });
}

Echo::~Echo() {
  stopping_ = true;
  thread_.join();
}

void Echo::run() {
  zmq::message_t from, body;
  while (!stopping_) {
    if (!socket_.recv(from) || !socket_.recv(body)) continue;
    socket_.send(from, zmq::send_flags::sndmore);
    socket_.send(zmq::buffer(reply_), zmq::send_flags::none);
  }
}

Hiccups::Hiccups()
    : over_(times()), thread_([this] {
        constexpr int64_t kSleepNs = 1'000'000;
        prctl(PR_SET_TIMERSLACK, 1);
        while (!stopping_) {
          const int64_t before = clock_ns();
          std::this_thread::sleep_for(std::chrono::nanoseconds(kSleepNs));
          over_.record_corrected(std::max<int64_t>(clock_ns() - before - kSleepNs, 0), kSleepNs);
        }
      }) {}

Hiccups::~Hiccups() { stop(); }

const HdrHistogram& Hiccups::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
  return over_;
}

}  // namespace shrike::tools::bench
