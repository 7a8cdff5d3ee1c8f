// Progress of long work: a bar on a terminal, once it has taken two seconds; nothing elsewhere. One thread.
#pragma once

#include <chrono>
#include <cstdint>

namespace shrike::tools {

class Progress {
 public:
  explicit Progress(const char* unit);
  ~Progress();
  // `share` in 0..1; 0 when it is not known.
  void update(double share, uint64_t done);

 private:
  const char* unit_;
  bool shown_ = false, terminal_;
  std::chrono::steady_clock::time_point started_, last_;
};

}  // namespace shrike::tools
