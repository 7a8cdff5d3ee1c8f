#include "engine/serve/engine.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <limits>

#include "engine/wire/wire.h"

namespace shrike::engine {

int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Engine::Engine(ConfigPtr config, std::unique_ptr<Fold> fold, StoreHistory& history, TrainingThread& training,
               Checkpointer& checkpointer, const Journal& journal, Probe& probe, size_t capacity,
               HandOn hand_on, bool config_is_new)
    : config_(std::move(config)),
      fold_(std::move(fold)),
      history_(history),
      training_(training),
      checkpointer_(checkpointer),
      journal_(journal),
      probe_(probe),
      hand_on_(std::move(hand_on)),
      inbound_(capacity),
      config_is_new_(config_is_new),
      next_checkpoint_(fold_->next_sequence() + config_->storage.checkpoint_every) {
  // A look-up in the log must see what the fold has let go of, even if the journal is not there yet.
  history_.before_look_up = [this] {
    if (fold_->released() > journal_.committed()) journal_.wait_for(fold_->released());
  };
}

Engine::~Engine() { stop(); }

void Engine::start() {
  thread_ = std::thread([this] { run(); });
}

void Engine::stop() {
  stopping_.store(true);
  bell_.ring();
  if (thread_.joinable()) thread_.join();
}

bool Engine::submit(EnvelopePtr envelope) {
  if (!inbound_.push(std::move(envelope))) return false;
  bell_.ring();
  return true;
}

// The loop: everything that waits is one micro-batch, a batch of one when idle. No timer, no added wait.
void Engine::run() {
  champion_ = {from_hex(fold_->champion_hash()), fold_->champion()};
  for (const auto& [hash, model] : fold_->fallbacks()) fallbacks_.push_back({from_hex(hash), model});
  if (config_is_new_) log_config();
  std::vector<EnvelopePtr> batch;
  while (true) {
    take_proposals();
    EnvelopePtr envelope;
    while (batch.size() < config_->sockets.batch_max && inbound_.pop(envelope))
      batch.push_back(std::move(envelope));
    if (batch.empty()) {
      if (stopping_.load()) return;
      bell_.wait([&] { return !inbound_.empty() || training_.has_proposal() || stopping_.load(); }, 1000);
      continue;
    }
    process(batch);
    batch.clear();
    checkpoint_when_due();
  }
}

void Engine::process(std::vector<EnvelopePtr>& batch) {
  handed_ = 0;
  probe_.batches.fetch_add(1, std::memory_order_relaxed);
  for (size_t i = 0; i < batch.size(); ++i) {
    Envelope& envelope = *batch[i];
    if (envelope.error) continue;  // refused by the socket thread; it keeps its place in the order of replies
    switch (envelope.kind) {
      case Envelope::Kind::kTransaction:
        transaction(envelope);
        break;
      case Envelope::Kind::kLabel:
        label(envelope);
        break;
      case Envelope::Kind::kControl:
        hand_over(batch, i);
        control(envelope);
        break;
      case Envelope::Kind::kInternal:
        break;
    }
    // At a fixed number of examples a new model may take over: what is folded so far is the old one's.
    if (fold_->take_boundary() && config_->training.mode == TrainingMode::kAwaited) {
      hand_over(batch, i + 1);
      training_.await();
      take_proposals();
    }
  }
  hand_over(batch, batch.size());
  training_.send();
}

// 1. Sequence and features. The row joins the batch that the champion will score.
void Engine::transaction(Envelope& envelope) {
  if (journal_.failed()) {
    envelope.error =
        Error{ErrorCode::kStorage, "", "the log cannot be written; nothing is acknowledged until it can"};
    return;
  }
  if (training_.overloaded()) {
    envelope.error = Error{ErrorCode::kOverloaded, "", "training is behind; try again"};
    return;
  }
  const Transaction& incoming = envelope.event.transaction;
  auto admitted = fold_->admit(incoming);
  if (!admitted) {
    envelope.error = std::move(admitted.error());
    return;
  }
  if (*admitted) {  // seen before: the first answer again
    score_batch();  // the first may be in this very batch
    admitted = fold_->admit(incoming);
    probe_.duplicates.fetch_add(1, std::memory_order_relaxed);
    envelope.duplicate = true;
    envelope.sequence = (*admitted)->sequence;
    envelope.event.answer = (*admitted)->event.answer;
    return;
  }
  const size_t columns = config_->columns.size();
  envelope.event.row.resize(columns);
  envelope.sequence = fold_->fold(incoming, envelope.event.row);
  rows_.insert(rows_.end(), envelope.event.row.begin(), envelope.event.row.end());
  unscored_.push_back(&envelope);
}

// 2. The champion scores the whole batch; 3. the policy decides; the answer is remembered for duplicates and
// labels.
void Engine::score_batch() {
  if (unscored_.empty()) return;
  const size_t columns = config_->columns.size();
  scores_.resize(unscored_.size());
  champion_.model->score(learners::MatrixView(rows_, columns), scores_);
  const int64_t now = now_us();
  for (size_t i = 0; i < unscored_.size(); ++i) {
    Envelope& envelope = *unscored_[i];
    answer(envelope, std::span(rows_).subspan(i * columns, columns), scores_[i], now);
    fold_->answer(envelope.sequence, envelope.event.answer);
    probe_.steps[static_cast<size_t>(envelope.event.answer.step)].fetch_add(1, std::memory_order_relaxed);
  }
  unscored_.clear();
  rows_.clear();
}

// The degradation ladder: with less time, less answer; never late if it can be helped.
void Engine::answer(Envelope& envelope, std::span<const float> row, float score, int64_t now) {
  Answer& answer = envelope.event.answer;
  const auto& amount_field = config_->schema().amount;
  const double amount = amount_field
                            ? features::number(config_->schema(), envelope.event.transaction, *amount_field)
                            : std::numeric_limits<double>::quiet_NaN();
  const int64_t left_us = envelope.deadline_us - now;
  if (left_us < config_->deadline.static_below_us) {
    answer_statically(*config_, amount, answer);
    return;
  }
  answer.score = score;
  answer.step = Step::kFull;
  answer.model = champion_.id;
  answer.reason_count = 0;
  if (!is_probability(score) && !score_by_fallback(fallbacks_, row, row.size(), answer)) {
    answer_statically(*config_, amount, answer);
    return;
  }
  decide(config_->policy, amount, answer);
  if (answer.step != Step::kFull || answer.decision == Decision::kApprove) return;
  if (left_us < config_->deadline.no_reasons_below_us) {
    answer.step = Step::kNoReasons;
    return;
  }
  give_reasons(config_->policy, *champion_.model, row, answer, contributions_);
}

// 4. Hands on, in order of sequence: to the journal, or first to the socket.
void Engine::hand_over(std::vector<EnvelopePtr>& batch, size_t until) {
  score_batch();
  for (; handed_ < until; ++handed_) hand_on_(std::move(batch[handed_]));
}

void Engine::label(Envelope& envelope) {
  if (journal_.failed()) {
    envelope.error =
        Error{ErrorCode::kStorage, "", "the log cannot be written; nothing is acknowledged until it can"};
    return;
  }
  auto folded = fold_->label(envelope.label);
  if (!folded) {
    envelope.error = std::move(folded.error());
    return;
  }
  envelope.labelled = std::move(*folded);
  envelope.duplicate = envelope.labelled.event.outcome == Outcome::kDuplicate;
  envelope.sequence = envelope.labelled.sequence;
  if (envelope.duplicate) probe_.duplicate_labels.fetch_add(1, std::memory_order_relaxed);
  if (!envelope.duplicate && envelope.labelled.event.outcome != Outcome::kPending) {
    history_.remember(envelope.label.transaction, envelope.labelled.state, envelope.sequence,
                      journal_.committed());
  }
}

void Engine::take_proposals() {
  Proposal proposal;
  while (training_.take_proposal(proposal)) {
    if (proposal.event.action == ModelAction::kAccepted) {
      spdlog::info("model {} takes over: {}", proposal.event.model, proposal.event.report);
    } else {
      spdlog::info("candidate {} refused: {}", proposal.event.model, proposal.event.report);
    }
    swap(proposal.event, proposal.model);
  }
}

// Between two requests: every request is scored wholly by one model, and the log says when it changed.
void Engine::swap(const ModelEvent& event, learners::ModelPtr model) {
  auto envelope = std::make_unique<Envelope>();
  envelope->kind = Envelope::Kind::kInternal;
  envelope->model_event = event;
  envelope->sequence = fold_->model(event, model);
  training_.model_event(event, fold_->champion());
  champion_ = {from_hex(fold_->champion_hash()), fold_->champion()};
  fallbacks_.clear();
  for (const auto& [hash, one] : fold_->fallbacks()) fallbacks_.push_back({from_hex(hash), one});
  hand_on_(std::move(envelope));
}

void Engine::log_config() {
  auto envelope = std::make_unique<Envelope>();
  envelope->kind = Envelope::Kind::kInternal;
  envelope->is_config = true;
  envelope->config = {config_->text, config_->plan->fingerprint};
  envelope->sequence = fold_->skip();
  hand_on_(std::move(envelope));
}

void Engine::checkpoint_when_due() {
  if (fold_->next_sequence() < next_checkpoint_ || !checkpointer_.idle()) return;
  next_checkpoint_ = fold_->next_sequence() + config_->storage.checkpoint_every;
  checkpointer_.reserve();
  training_.checkpoint(fold_->next_sequence() - 1);
}

void Engine::control(Envelope& envelope) {
  if (envelope.command == "status") {
    envelope.text = status();
  } else if (envelope.command == "activate") {  // the socket thread has loaded the model
    const ModelEvent event{ModelAction::kActivated, 0, envelope.argument, ""};
    swap(event, envelope.model);
    envelope.text =
        fmt::format(R"({{"activated":"{}","seq":{}}})", envelope.argument, fold_->next_sequence() - 1);
  } else {
    envelope.error = Error{ErrorCode::kInvalid, "command", "allowed are status, activate"};
  }
}

std::string Engine::status() const {
  const Counters& c = fold_->counters();
  std::string errors;
  for (size_t i = 0; i < kErrorCodes; ++i) {
    errors += fmt::format(R"({}"{}":{})", i == 0 ? "" : ",", name(static_cast<ErrorCode>(i)),
                          probe_.errors[i].load());
  }
  std::string steps;
  for (size_t i = 0; i < probe_.steps.size(); ++i) {
    steps +=
        fmt::format(R"({}"{}":{})", i == 0 ? "" : ",", name(static_cast<Step>(i)), probe_.steps[i].load());
  }
  return fmt::format(
      R"({{"next_seq":{},"committed_seq":{},"storage":"{}","champion":"{}","transactions":{},"duplicates":{},)"
      R"("labels":{},"duplicate_labels":{},"corrections":{},"labels_pending":{},"labels_expired":{},"matured":{},)"
      R"("examples":{},"fraud_examples":{},"examples_waiting":{},"models_accepted":{},"models_rejected":{},)"
      R"("models_activated":{},"pending_transactions":{},"pending_bytes":{},"checkpoints":{},"row_divergences":{},)"
      R"("requests":{},"late_replies":{},"latency_us":{{"p50":{},"p99":{},"p999":{}}},"steps":{{{}}},"errors":{{{}}}}})",
      fold_->next_sequence(), journal_.committed(), journal_.failed() ? "failing" : "ok",
      fold_->champion_hash(), c.transactions, probe_.duplicates.load(), c.labels,
      probe_.duplicate_labels.load(), c.corrections, c.orphans - c.orphans_joined - c.orphans_expired,
      c.orphans_expired, c.matured, fold_->examples(), c.frauds, probe_.examples_waiting.load(), c.accepted,
      c.rejected, c.activated, fold_->pending_size(), fold_->pending_bytes(), probe_.checkpoints.load(),
      probe_.divergences.load(), probe_.requests.load(), probe_.late_replies.load(),
      probe_.latency.quantile(0.5), probe_.latency.quantile(0.99), probe_.latency.quantile(0.999), steps,
      errors);
}

}  // namespace shrike::engine
