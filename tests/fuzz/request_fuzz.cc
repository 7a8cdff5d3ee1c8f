// Score and feedback requests, JSON and Protobuf, under a schema with every type of field.
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string_view>

#include "engine/wire/wire.h"

using namespace shrike::engine;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const ConfigPtr kConfig = [] {
    std::ifstream file(SHRIKE_SOURCE_DIR "/examples/clicks.toml");
    std::ostringstream text;
    text << file.rdbuf();
    return *parse_config(text.str(), "clicks.toml");
  }();
  static Decoder decoder(kConfig);
  static Envelope envelope;
  const std::string_view message(reinterpret_cast<const char*>(data), size);
  uint32_t deadline_ms = 0;
  std::string reply;
  envelope.reset();
  if (auto done = decoder.score_request(message, envelope, deadline_ms); !done) {
    if (done.error().reason.empty()) std::abort();
    envelope.error = done.error();
  } else {  // what was understood reads back the same
    const auto& values = envelope.transaction()->values;
    const std::string again = score_request_protobuf(kConfig->schema(), *envelope.transaction());
    Envelope second;
    if (!decoder.score_request(again, second, deadline_ms)) std::abort();
    for (size_t i = 0; i < kConfig->schema().fields.size(); ++i) {
      if (second.transaction()->values[i].fixed != values[i].fixed) std::abort();
      if (second.transaction()->values[i].text != values[i].text) std::abort();
    }
  }
  encode_reply(*kConfig, envelope, reply);
  envelope.reset();
  if (auto done = decoder.feedback_request(message, envelope); !done) envelope.error = done.error();
  encode_reply(*kConfig, envelope, reply);
  (void)decode_event(kConfig->schema(), message);
  return 0;
}
