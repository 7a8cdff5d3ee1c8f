// A `shrike serve` of our own to load: this very program as a child, on a directory and ports of its own. It
// ends with us, however we end. One thread.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>

#include <tl/expected.hpp>

#include "engine/config/config.h"

namespace shrike::tools::bench {

class ServerProcess {
 public:
  // `dir`: the data directory, kept; "": a temporary one, removed at the end. `durability`: sync, async, or
  // "" as configured. Returns once it answers; an error has the server's own words.
  static tl::expected<std::unique_ptr<ServerProcess>, std::string> start(const engine::Config& config,
                                                                         const std::string& durability,
                                                                         const std::string& dir);
  // Asks it to stop, waits for its last checkpoint, and after a minute kills it.
  ~ServerProcess();

  const std::string& score() const { return score_; }
  const std::string& feedback() const { return feedback_; }
  // Of processor time, by all its threads so far.
  double cpu_s() const;

 private:
  ServerProcess() = default;
  tl::expected<void, std::string> spawn();
  tl::expected<void, std::string> await_ready(int from_child);
  std::string last_words() const;

  std::filesystem::path scratch_;  // its configuration and what it says; removed at the end
  std::filesystem::path data_;
  pid_t pid_ = -1;
  std::string score_, feedback_;
};

// The configuration with all sockets on free ports of the loopback, alerts told to nobody outside, and
// `durability` when it is not "".
std::string config_for_child(const engine::Config& config, const std::string& durability);

}  // namespace shrike::tools::bench
