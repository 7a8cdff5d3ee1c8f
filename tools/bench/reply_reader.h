// What a reply on the score socket says, read only as far as a load test asks. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "engine/config/config.h"

namespace shrike::tools::bench {

struct Reply {
  enum class Kind : uint8_t { kAnswer, kRefusal, kUnreadable };
  Kind kind = Kind::kUnreadable;
  uint64_t tag = 0;      // of the transaction's id (traffic.h); 0 when it is not told
  bool has_tag = false;  // false of a refusal that could not read the id
  bool duplicate = false;
  bool off_clock = false;  // its time was ahead or late for the server
  uint64_t sequence = 0;
  std::string_view word;  // of an answer its step, of a refusal its code; valid until the next read
};

// Tells JSON from Protobuf by itself, as the server does.
class ReplyReader {
 public:
  explicit ReplyReader(engine::ConfigPtr config);
  ~ReplyReader();
  Reply read(std::string_view bytes);
  // Whether a reply on the feedback socket (JSON) is an error.
  static bool refused(std::string_view label_reply) { return label_reply.starts_with("{\"error\""); }

 private:
  struct State;
  Reply read_json(std::string_view bytes);
  Reply read_protobuf(std::string_view bytes);
  engine::ConfigPtr config_;
  std::unique_ptr<State> state_;
};

}  // namespace shrike::tools::bench
