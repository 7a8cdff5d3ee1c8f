#include "tools/bench/reply_reader.h"

#include <simdjson.h>

#include "engine/wire/wire.pb.h"
#include "tools/bench/traffic.h"

namespace shrike::tools::bench {

struct ReplyReader::State {
  wire::Reply reply;
  simdjson::dom::parser parser;
  simdjson::padded_string padded;
};

namespace {

void take_id(const wire::Value& id, Reply& out) {
  out.has_tag = id.kind_case() == wire::Value::kInteger || id.kind_case() == wire::Value::kText;
  if (out.has_tag)
    out.tag = id.kind_case() == wire::Value::kInteger ? id_tag(id.integer()) : id_tag(id.text());
}

}  // namespace

ReplyReader::ReplyReader(engine::ConfigPtr config)
    : config_(std::move(config)), state_(std::make_unique<State>()) {}
ReplyReader::~ReplyReader() = default;

Reply ReplyReader::read(std::string_view bytes) {
  return bytes.starts_with('{') ? read_json(bytes) : read_protobuf(bytes);
}

Reply ReplyReader::read_protobuf(std::string_view bytes) {
  Reply out;
  wire::Reply& reply = state_->reply;
  if (!reply.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return out;
  if (reply.has_score()) {
    out.kind = Reply::Kind::kAnswer;
    out.duplicate = reply.score().duplicate();
    out.off_clock = !reply.score().clock().empty();
    out.sequence = reply.score().seq();
    out.word = reply.score().step();
    take_id(reply.score().transaction_id(), out);
  } else if (reply.has_error()) {
    out.kind = Reply::Kind::kRefusal;
    out.word = reply.error().code();
    take_id(reply.error().transaction_id(), out);
  }
  return out;
}

Reply ReplyReader::read_json(std::string_view bytes) {
  Reply out;
  simdjson::dom::object root;
  if (state_->parser.parse(bytes.data(), bytes.size()).get(root)) return out;
  const features::Schema& schema = config_->schema();
  int64_t number = 0;
  std::string_view text;
  if (auto id = root[schema.fields[schema.id].name]; !id.get(number)) {
    out.tag = id_tag(number);
    out.has_tag = true;
  } else if (!id.get(text)) {
    out.tag = id_tag(text);
    out.has_tag = true;
  }
  if (!root["error"]["code"].get(out.word)) {
    out.kind = Reply::Kind::kRefusal;
    return out;
  }
  if (root["step"].get(out.word)) return out;
  out.kind = Reply::Kind::kAnswer;
  if (root["duplicate"].get(out.duplicate)) out.duplicate = false;
  out.off_clock = !root["clock"].get(text);
  if (root["seq"].get(out.sequence)) out.sequence = 0;
  return out;
}

}  // namespace shrike::tools::bench
