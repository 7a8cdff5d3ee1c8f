// Waits for SIGTERM or SIGINT on a thread of its own: all others have them blocked, so no system call is
// interrupted. Construct it before any other thread starts.
#pragma once

#include <csignal>
#include <functional>
#include <thread>

namespace shrike::tools {

class StopSignal {
 public:
  StopSignal();
  // Ends the wait, and lets the signals through as before.
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  // `on_stop` is called once, on that thread, when a signal comes; not when the wait ends without one.
  void start(std::function<void()> on_stop);

 private:
  sigset_t signals_, before_;
  std::thread thread_;
};

}  // namespace shrike::tools
