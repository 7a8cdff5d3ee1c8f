#include "engine/serve/embedded.h"

#include <google/protobuf/stubs/logging.h>

#include "engine/serve/clocks.h"
#include "engine/serve/composition.h"
#include "engine/serve/machine_meter.h"
#include "engine/serve/model_loader.h"
#include "engine/serve/received.h"

namespace shrike::engine {

Embedded::Embedded(ConfigPtr config)
    : config_(std::move(config)), decoder_(config_), free_(queue_capacity(*config_)) {}

tl::expected<std::unique_ptr<Embedded>, std::string> Embedded::open(ConfigPtr config,
                                                                    const std::string& data_dir) {
  google::protobuf::SetLogHandler(nullptr);  // what a caller gets wrong, the caller is told
  std::unique_ptr<Embedded> embedded(new Embedded(std::move(config)));
  Embedded* const e = embedded.get();
  auto parts = Composition::open(e->config_, data_dir, zmq::socket_t(),
                                 [e](EnvelopePtr envelope) { e->handed_.push_back(std::move(envelope)); });
  if (!parts) return tl::make_unexpected(parts.error());
  e->parts_ = std::move(*parts);
  e->loader_ = std::make_unique<ModelLoader>(e->config_, *e->parts_->store, 1);
  e->loop_.start({.name = "shrike-returns",
                  .turn = [e] { return e->take_back(); },
                  .waiting = [e] { return !e->parts_->journal->done().empty(); }});
  e->parts_->start_here(e->loop_.bell());
  for (EnvelopePtr& envelope : e->handed_) e->parts_->journal->push(std::move(envelope));
  e->handed_.clear();
  return embedded;
}

Embedded::~Embedded() {
  if (parts_ == nullptr) return;
  parts_->stopping.store(true);
  parts_->engine->stop();
  parts_->stop_behind_engine();
  loop_.stop();
  parts_->checkpoint_at_end();
}

// What nobody waits for is used again; there is room for all there can be.
bool Embedded::take_back() {
  bool any = false;
  EnvelopePtr envelope;
  while (parts_->journal->done().pop(envelope)) {
    any = true;
    if (envelope->as<asked::Internal>() != nullptr) continue;
    if (envelope->replied) {
      free_.push(std::move(envelope));
      continue;
    }
    const std::lock_guard lock(returns_);
    const Envelope* const key = envelope.get();
    written_[key] = std::move(envelope);
    returned_.notify_all();
  }
  return any;
}

EnvelopePtr Embedded::wait_for(const Envelope* envelope) {
  std::unique_lock lock(returns_);
  returned_.wait(lock, [&] { return written_.contains(envelope); });
  auto node = written_.extract(envelope);
  return std::move(node.mapped());
}

EnvelopePtr Embedded::fresh(bool feedback) {
  EnvelopePtr envelope;
  if (!free_.pop(envelope)) envelope = std::make_unique<Envelope>();
  begin(*envelope, *config_, feedback);
  return envelope;
}

Embedded::Said Embedded::told(const Envelope& envelope, std::string* reply) const {
  note_reply(parts_->probe, envelope, now_us());
  if (reply != nullptr) encode_reply(*config_, envelope, *reply);
  Said said{.duplicate = envelope.duplicate, .sequence = envelope.sequence};
  if (envelope.error) {
    said.refused = true;
    said.error = envelope.error->code;
  } else if (const auto* score = envelope.as<asked::Score>()) {
    const Answer& answer = score->event.answer;
    said.score = answer.score;
    said.risk = answer.risk;
    said.decision = answer.decision;
    said.step = answer.step;
  }
  return said;
}

Embedded::Said Embedded::ask(EnvelopePtr envelope, std::unique_lock<std::mutex>& lock, std::string* reply) {
  const bool answered_first =
      envelope->as<asked::Score>() != nullptr && config_->storage.durability == Durability::kAsync;
  const Envelope* const asked = envelope.get();
  parts_->probe.requests.fetch_add(1, std::memory_order_relaxed);
  parts_->engine->handle(std::move(envelope));
  Said said;
  for (EnvelopePtr& handed : handed_) {
    if (handed.get() == asked && answered_first) {
      said = told(*handed, reply);
      handed->replied = true;
    }
    parts_->journal->push(std::move(handed));
  }
  handed_.clear();
  lock.unlock();
  if (answered_first) return said;
  const EnvelopePtr written = wait_for(asked);
  return told(*written, reply);
}

Embedded::Said Embedded::score(std::string_view request, std::string* reply) {
  std::unique_lock lock(calls_);
  EnvelopePtr envelope = fresh(false);
  uint32_t deadline_ms = 0;
  if (const auto decoded = decoder_.score_request(request, *envelope, deadline_ms); !decoded)
    envelope->error = decoded.error();
  set_deadline(*envelope, *config_, deadline_ms);
  return ask(std::move(envelope), lock, reply);
}

Embedded::Said Embedded::feedback(std::string_view request, std::string* reply) {
  std::unique_lock lock(calls_);
  EnvelopePtr envelope = fresh(true);
  if (const auto decoded = decoder_.feedback_request(request, *envelope); !decoded) {
    envelope->error = decoded.error();
  } else if (ModelLoader::is_for(*envelope)) {
    if (auto loaded = loader_->load(*envelope->as<asked::Control>()); !loaded)
      envelope->error = loaded.error();
  }
  return ask(std::move(envelope), lock, reply);
}

}  // namespace shrike::engine
