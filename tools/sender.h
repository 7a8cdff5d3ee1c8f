// Sends a file of transactions or labels to a running server and prints its replies, in order. One thread.
#pragma once

#include <string>

namespace shrike::tools {

struct SendOptions {
  std::string input = "-";  // JSON lines, or a CSV; - is standard input
  std::string endpoint;
  std::string config;  // "" for the embedded one; a schema is needed for a CSV alone
  std::string source = "analyst", on_error = "stop";
  size_t window = 64;
  int timeout_ms = 10'000;
};

// Returns the exit code: 1 when any line was refused, here or by the server.
int send_transactions(const SendOptions& options);
int send_labels(const SendOptions& options);

}  // namespace shrike::tools
