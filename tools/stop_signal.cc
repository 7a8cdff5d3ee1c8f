#include "tools/stop_signal.h"

#include <pthread.h>

#include <utility>

namespace shrike::tools {

StopSignal::StopSignal() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGTERM);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGUSR2);  // ends the wait when there is nothing more to stop
  pthread_sigmask(SIG_BLOCK, &signals_, &before_);
}

void StopSignal::start(std::function<void()> on_stop) {
  thread_ = std::thread([this, on_stop = std::move(on_stop)] {
    int signal = 0;
    sigwait(&signals_, &signal);
    if (signal != SIGUSR2) on_stop();
  });
}

StopSignal::~StopSignal() {
  if (thread_.joinable()) {
    pthread_kill(thread_.native_handle(), SIGUSR2);
    thread_.join();
  }
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace shrike::tools
