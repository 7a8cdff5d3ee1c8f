#include "tools/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace shrike::tools {

Progress::Progress(const char* unit)
    : unit_(unit),
      terminal_(isatty(STDERR_FILENO) != 0),
      started_(std::chrono::steady_clock::now()),
      last_(started_) {}

Progress::~Progress() {
  if (shown_) fmt::print(stderr, "\r\033[K");
}

void Progress::update(double share, uint64_t done) {
  if (!terminal_) return;
  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - started_).count();
  if (seconds < 2 || now - last_ < std::chrono::milliseconds(200)) return;
  last_ = now;
  shown_ = true;
  const double rate = static_cast<double>(done) / seconds;
  if (share > 0) {
    constexpr int kWidth = 30;
    const int full = static_cast<int>(share * kWidth);
    fmt::print(stderr, "\r[{:#<{}}{: <{}}] {:3.0f}%  {} {}  {:.0f}/s  {:.0f} s left\033[K", "", full, "",
               kWidth - full, share * 100, done, unit_, rate, seconds / share - seconds);
  } else {
    fmt::print(stderr, "\r{} {}  {:.0f}/s\033[K", done, unit_, rate);
  }
  std::fflush(stderr);
}

}  // namespace shrike::tools
