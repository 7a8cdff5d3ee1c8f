#include "engine/serve/journal.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <iterator>

#include <nlohmann/json.hpp>

#include "engine/serve/alerts.h"
#include "engine/serve/clocks.h"
#include "engine/wire/event_json.h"
#include "engine/wire/wire.h"
#include "storage/store.h"

namespace shrike::engine {
namespace {

constexpr size_t kGroupMax = 1024;
constexpr auto kRetryEvery = std::chrono::milliseconds(200);
constexpr auto kRetryAtLeastEvery = std::chrono::seconds(4);

// The bytes of an envelope's event, if it has one.
void encode_record(const features::Schema& schema, Envelope& envelope) {
  envelope.record.clear();
  if (envelope.sequence == 0 || envelope.error || envelope.duplicate) return;
  if (const auto* score = envelope.as<asked::Score>()) {
    encode(schema, score->event, envelope.record);
  } else if (const auto* label = envelope.as<asked::Label>()) {
    encode(label->result.event, envelope.record);
  } else if (const auto* outcome = envelope.as<asked::Outcome>()) {
    encode(outcome->result.event, envelope.record);
  } else if (const auto* kpi = envelope.as<asked::Kpi>()) {
    encode(kpi->result.event, envelope.record);
  } else if (const auto* internal = envelope.as<asked::Internal>()) {
    std::visit([&](const auto& event) { encode(event, envelope.record); }, internal->event);
  }
}

// What append() needs of it, once more.
EnvelopePtr copy_for_log(const Envelope& envelope) {
  auto copy = std::make_unique<Envelope>();
  if (const auto* score = envelope.as<asked::Score>()) {
    auto& kept = copy->become<asked::Score>();
    kept.event.transaction.id = score->event.transaction.id;
    kept.labels = score->labels;
  } else if (const auto* label = envelope.as<asked::Label>()) {
    copy->request = asked::Label{.named = {}, .request = label->request, .result = label->result};
  } else if (const auto* outcome = envelope.as<asked::Outcome>()) {
    copy->request = asked::Outcome{.named = {}, .request = outcome->request, .result = outcome->result};
  } else if (const auto* kpi = envelope.as<asked::Kpi>()) {
    copy->request = asked::Kpi{.named = {}, .request = kpi->request, .result = kpi->result};
  } else {
    copy->request = *envelope.as<asked::Internal>();
  }
  copy->sequence = envelope.sequence;
  copy->record = envelope.record;
  return copy;
}

}  // namespace

Journal::Journal(ConfigPtr config, storage::Store& store, Probe& probe, zmq::socket_t events, size_t capacity,
                 Alerts* alerts)
    : config_(std::move(config)),
      store_(store),
      probe_(probe),
      events_(std::move(events)),
      start_(fmt::format("{:x}", std::chrono::system_clock::now().time_since_epoch().count())),
      alerts_(alerts),
      queue_(capacity),
      done_(capacity),
      committed_(store.last_sequence()) {}

void Journal::push(EnvelopePtr envelope) {
  // The capacity exceeds the number of envelopes there are, so this waits only for the engine's own events.
  while (!queue_.push(std::move(envelope))) std::this_thread::yield();
  loop_.ring();
}

void Journal::start(Bell& done_bell) {
  done_bell_ = &done_bell;
  loop_.start({.name = "shrike-journal",
               .turn = [this] { return turn(); },
               .waiting = [this] { return !queue_.empty(); }});
}

void Journal::wait_for(uint64_t sequence) const {
  while (committed() < sequence && !failed()) std::this_thread::sleep_for(std::chrono::microseconds(50));
}

bool Journal::turn() {
  EnvelopePtr envelope;
  while (group_.size() < kGroupMax && queue_.pop(envelope)) group_.push_back(std::move(envelope));
  if (failed()) retry();
  if (group_.empty()) return false;
  write(group_);
  group_.clear();
  return true;
}

void Journal::write(std::vector<EnvelopePtr>& group) {
  for (EnvelopePtr& one : group) encode_record(config_->schema(), *one);
  if (failed() || !append(group)) {
    keep(group);
    return;
  }
  probe_.groups.fetch_add(1, std::memory_order_relaxed);
  const int64_t written_us = now_us();
  for (EnvelopePtr& one : group) {
    one->written_us = written_us;
    if (one->sequence != 0 && !one->record.empty())
      committed_.store(one->sequence, std::memory_order_release);
    announce(*one);
    hand_on(std::move(one));
  }
  if (alerts_ != nullptr) alerts_->passed(committed());
}

// The clients hear now; their events are kept, in order, and written when the disk allows, so that a repeated
// request finds its first answer. The engine refuses new ones from here on, so what is kept is bounded by
// what was in flight.
void Journal::keep(std::vector<EnvelopePtr>& group) {
  if (!failed()) next_retry_ = std::chrono::steady_clock::now() + kRetryEvery;
  failed_.store(true, std::memory_order_release);
  probe_.storage_failures.fetch_add(1, std::memory_order_relaxed);
  for (EnvelopePtr& one : group) {
    if (!one->record.empty()) kept_.push_back(copy_for_log(*one));
    const bool acknowledges = one->as<asked::Control>() == nullptr;
    if (acknowledges && !one->error) {
      one->error = Error{ErrorCode::kStorage, "",
                         "the log cannot be written; nothing is acknowledged until it can. Free disk space "
                         "or check the device"};
    }
    hand_on(std::move(one));
  }
}

void Journal::retry() {
  const auto began = std::chrono::steady_clock::now();
  if (began < next_retry_ && !loop_.stopping()) return;
  if (auto resumed = store_.resume(); !resumed) spdlog::debug("resume: {}", resumed.error().reason);
  // Opening the store anew reads its write-ahead log, and refusals wait meanwhile: a tenth of the time at
  // most.
  const auto ended = std::chrono::steady_clock::now();
  next_retry_ = ended + std::clamp<std::chrono::steady_clock::duration>(9 * (ended - began), kRetryEvery,
                                                                        kRetryAtLeastEvery);
  if (!append(kept_)) return;
  spdlog::info("the log can be written again");
  alert("the log can be written again");
  if (!kept_.empty()) committed_.store(kept_.back()->sequence, std::memory_order_release);
  // Whoever hears of judgements hears of these too; answers were refused, and are found by asking again.
  for (const EnvelopePtr& one : kept_) {
    if (one->as<asked::Internal>() != nullptr) announce(*one);
  }
  if (alerts_ != nullptr) alerts_->passed(committed());
  kept_.clear();
  failed_.store(false, std::memory_order_release);
}

bool Journal::append(const std::vector<EnvelopePtr>& group) {
  std::vector<storage::Record> records;
  records.reserve(group.size());
  std::vector<std::string> states;
  states.reserve(group.size());
  bool sync = config_->storage.durability == Durability::kSync;
  for (const EnvelopePtr& one : group) {
    if (one->record.empty()) continue;
    storage::Record record{.sequence = one->sequence, .value = one->record};
    const auto label_of = [&](const Key& transaction, const LabelState& state) {
      states.push_back(encode(state));
      record.label = storage::LabelEntry{to_bytes(transaction), states.back()};
    };
    if (const auto* score = one->as<asked::Score>()) {
      const Key& id = score->event.transaction.id;
      record.transaction = to_bytes(id);
      if (score->labels.sequence != 0) label_of(id, score->labels);
    } else {
      sync = true;
      if (const auto* label = one->as<asked::Label>())
        label_of(label->request.transaction, label->result.state);
      if (const auto* outcome = one->as<asked::Outcome>())
        label_of(outcome->request.transaction, outcome->result.state);
      if (const auto* kpi = one->as<asked::Kpi>()) label_of(kpi->request.transaction, kpi->result.state);
    }
    records.push_back(std::move(record));
  }
  if (records.empty()) return true;
  auto written = store_.append(records, sync);
  if (!written && !failed()) {
    spdlog::error("the log cannot be written: {}", written.error().reason);
    alert("the log cannot be written: " + written.error().reason);
  }
  return written.has_value();
}

void Journal::announce(const Envelope& envelope) {
  if (envelope.error && envelope.error->code == ErrorCode::kConflict) {
    const auto& schema = config_->schema();
    alert(fmt::format("{} {} was sent again with another {}", schema.fields[schema.id].name,
                      features::text(schema, *envelope.transaction(), schema.id), envelope.error->field));
  }
  if (envelope.record.empty()) return;
  const bool heard = static_cast<bool>(events_);
  const auto* internal = envelope.as<asked::Internal>();
  if (const auto* score = envelope.as<asked::Score>()) {
    if (!heard) return;
    encode_answer_json(*config_, score->event, envelope.sequence, false, text_);
    publish(Topic::kDecision, text_);
  } else if (internal != nullptr && std::holds_alternative<ModelEvent>(internal->event)) {
    text_ = model_event_text(envelope.sequence, std::get<ModelEvent>(internal->event));
    publish(Topic::kModel, text_);
  } else if (internal != nullptr && std::holds_alternative<JudgementEvent>(internal->event)) {
    announce_judgement(envelope.sequence, std::get<JudgementEvent>(internal->event));
  }
}

void Journal::announce_judgement(uint64_t sequence, const JudgementEvent& event) {
  text_ = judgement_text(sequence, event);
  publish(Topic::kJudgement, text_);
  const std::optional<Alert> told = alerts_ == nullptr ? std::nullopt : alerts_->take(sequence, event);
  if (!told) return;
  text_ = alert_text(*told);
  text_.replace(0, 1, fmt::format(R"({{"alert":"{}",)", json_escape(event.text)));
  publish(Topic::kAlert, text_);
}

void Journal::alert(const std::string& text) {
  std::string message = fmt::format(R"({{"alert":"{}"}})", json_escape(text));
  publish(Topic::kAlert, message);
}

// Numbered within its topic, so that a subscriber of any of them sees what it missed.
void Journal::publish(Topic topic, std::string& json) {
  if (!events_) return;
  constexpr std::string_view kTopics[] = {"decision", "model", "judgement", "alert"};
  const auto which = static_cast<size_t>(topic);
  json.back() = ',';  // of the object's brace
  fmt::format_to(std::back_inserter(json), R"("n":{},"start":"{}"}})", ++published_[which], start_);
  events_.send(zmq::buffer(kTopics[which]), zmq::send_flags::sndmore | zmq::send_flags::dontwait);
  events_.send(zmq::buffer(json), zmq::send_flags::dontwait);
}

void Journal::hand_on(EnvelopePtr envelope) {
  while (!done_.push(std::move(envelope))) std::this_thread::yield();
  done_bell_->ring();
}

}  // namespace shrike::engine
