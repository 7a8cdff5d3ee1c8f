#include "tools/bench/traffic.h"

#include <chrono>
#include <functional>

#include "engine/wire/wire.h"
#include "tools/labels_csv.h"

namespace shrike::tools::bench {

uint64_t id_tag(int64_t id) { return static_cast<uint64_t>(id); }
uint64_t id_tag(std::string_view id) { return std::hash<std::string_view>()(id); }

Traffic::Traffic(engine::ConfigPtr config, std::unique_ptr<Source> source, const TrafficOptions& options)
    : config_(std::move(config)),
      source_(std::move(source)),
      options_(options),
      labellers_(options.labelling, options.seed),
      thread_([this] { run(); }) {}

Traffic::~Traffic() {
  stopping_ = true;
  bell_.ring();
  thread_.join();
}

bool Traffic::next(Request& request) {
  if (chunk_ != nullptr && item_ == chunk_->items.size()) {
    spare_.push(std::move(chunk_));
    chunk_.reset();
    bell_.ring();
  }
  if (chunk_ == nullptr) {
    if (!ready_.pop(chunk_)) return false;
    item_ = offset_ = 0;
  }
  const Chunk::Item& item = chunk_->items[item_++];
  request = {std::string_view(chunk_->bytes).substr(offset_, item.end - offset_), item.tag, item.label};
  offset_ = item.end;
  return true;
}

bool Traffic::ended() const {
  return done_.load(std::memory_order_acquire) && ready_.empty() &&
         (chunk_ == nullptr || item_ == chunk_->items.size());
}

void Traffic::wait_until_full() const {
  while (ready_.size() < kChunks && !done_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void Traffic::run() {
  bool more = true;
  while (more && !stopping_) {
    ChunkPtr chunk;
    if (!spare_.pop(chunk)) chunk = std::make_unique<Chunk>();
    chunk->bytes.clear();
    chunk->items.clear();
    more = fill(*chunk);
    if (chunk->items.empty()) break;
    while (!stopping_ && !ready_.push(std::move(chunk)))
      bell_.wait([this] { return stopping_ || ready_.size() < kChunks; }, 100);
  }
  done_.store(true, std::memory_order_release);
}

bool Traffic::fill(Chunk& chunk) {
  for (size_t i = 0; i < kChunkTransactions; ++i) {
    int label = -1;
    const auto more = source_->next(transaction_, label);
    if (!more) problem_ = more.error();
    if (!more || !*more) return false;
    add_transaction(chunk, label);
  }
  return true;
}

void Traffic::add_transaction(Chunk& chunk, int label) {
  const features::Schema& schema = config_->schema();
  const int64_t now_us = transaction_.time_us;
  if (first_us_ == INT64_MIN) first_us_ = now_us;
  days_.store(static_cast<double>(now_us - first_us_) / features::kDayUs, std::memory_order_relaxed);
  for (; !due_.empty() && due_.top().time_us <= now_us; due_.pop()) {
    chunk.bytes += due_.top().request;
    chunk.items.push_back({chunk.bytes.size(), 0, true});
  }
  const std::string request = options_.format == engine::Format::kProtobuf
                                  ? engine::score_request_protobuf(schema, transaction_)
                                  : engine::score_request_json(schema, transaction_);
  if (samples_.size() < kSamples) samples_.push_back(request);
  chunk.bytes += request;
  const features::Value& id = transaction_.values[schema.id];
  const bool text = schema.fields[schema.id].type == features::FieldType::kText;
  chunk.items.push_back({chunk.bytes.size(), text ? id_tag(id.text) : id_tag(id.fixed), false});
  if (options_.labels && label == 1) await_labels();
}

void Traffic::await_labels() {
  const features::Schema& schema = config_->schema();
  SimulatedTransaction fraud;
  fraud.time_s = transaction_.time_us / 1'000'000;
  fraud.is_fraud = 1;
  label_holder_ = transaction_;
  // The decision is not known yet: a fraud is told of whatever was decided.
  for (const ComingLabel& coming : labellers_.look_at(fraud, "")) {
    const int64_t at_us = transaction_.time_us + coming.delay_s * 1'000'000;
    label_holder_.values[schema.time].fixed = at_us;
    due_.push({at_us, labels_made_++, label_request(schema, label_holder_, coming.verdict, coming.source)});
  }
}

}  // namespace shrike::tools::bench
