#include "engine/serve/engine.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "engine/serve/clocks.h"
#include "engine/wire/event_json.h"
#include "engine/wire/wire.h"

namespace shrike::engine {

Engine::Engine(Parts parts)
    : parts_(std::move(parts)),
      inbound_(parts_.capacity),
      scoring_(parts_.config, *parts_.fold),
      next_checkpoint_(parts_.fold->next_sequence() + parts_.config->storage.checkpoint_every),
      meter_(parts_.probe, parts_.config->machine.every_us) {
  scoring_.give_reasons(true);
  // A look-up in the log must see what the fold has let go of, even if the journal is not there yet.
  parts_.history.before_look_up = [this] {
    if (parts_.fold->released() > parts_.journal.committed())
      parts_.journal.wait_for(parts_.fold->released());
  };
}

void Engine::start() {
  loop_.start({.begin =
                   [this] {
                     if (parts_.config_is_new) log_config();
                   },
               .turn = [this] { return turn(); },
               .waiting = [this] { return !inbound_.empty() || parts_.training.has_proposal(); },
               .look_every_ms = 1000});
}

bool Engine::submit(EnvelopePtr envelope) {
  if (!inbound_.push(std::move(envelope))) return false;
  loop_.ring();
  return true;
}

// Everything that waits is one micro-batch, a batch of one when idle. No timer, no added wait.
bool Engine::turn() {
  take_judgements(0);  // that recovery found unwritten
  take_proposals();
  measure_machine();
  EnvelopePtr envelope;
  while (batch_.size() < parts_.config->sockets.batch_max && inbound_.pop(envelope))
    batch_.push_back(std::move(envelope));
  if (batch_.empty()) return false;
  process();
  batch_.clear();
  checkpoint_when_due();
  return true;
}

void Engine::process() {
  handed_ = 0;
  // The server's clock has a say in marks, which are in the log: replays need no clock.
  clock_.server_us = server_time_us(*parts_.config);
  parts_.probe.batches.fetch_add(1, std::memory_order_relaxed);
  for (size_t i = 0; i < batch_.size(); ++i) {
    Envelope& envelope = *batch_[i];
    if (envelope.error) continue;  // refused by the socket thread; it keeps its place in the order of replies
    if (auto* asked = envelope.as<asked::Score>()) {
      transaction(envelope, *asked);
    } else if (auto* said = envelope.as<asked::Label>()) {
      label(envelope, *said);
    } else if (auto* reported = envelope.as<asked::Outcome>()) {
      outcome(envelope, *reported);
    } else if (auto* wanted = envelope.as<asked::Control>()) {
      hand_over(i);
      if (auto done = control(*wanted); !done) envelope.error = done.error();
    }
    // At a fixed number of examples a new model may take over: what is folded so far is the old one's.
    if (parts_.fold->take_boundary() && parts_.config->training.mode == TrainingMode::kAwaited) {
      hand_over(i + 1);
      parts_.training.await();
      take_proposals();
    }
    if (parts_.fold->closes_period()) hand_over(i + 1);
    take_judgements(i + 1);
  }
  hand_over(batch_.size());
  take_judgements(batch_.size());
  parts_.training.send();
}

bool Engine::refused_by_storage(Envelope& envelope) const {
  if (!parts_.journal.failed()) return false;
  envelope.error =
      Error{ErrorCode::kStorage, "", "the log cannot be written; nothing is acknowledged until it can"};
  return true;
}

// 1. Admission, sequence and features. The row joins the batch that the champion will score.
void Engine::transaction(Envelope& envelope, asked::Score& score) {
  if (refused_by_storage(envelope)) return;
  const Transaction& incoming = score.event.transaction;
  if (parts_.fold->needs_answers(incoming)) score_batch();
  auto seen = scoring_.take(*parts_.fold, incoming, clock_);
  if (seen && *seen) {  // the first answer again
    score_batch();      // the first may be in this very batch
    seen = parts_.fold->admit(incoming);
  }
  if (!seen) {
    envelope.error = std::move(seen.error());
    return;
  }
  if (*seen) {
    parts_.probe.duplicates.fetch_add(1, std::memory_order_relaxed);
    envelope.duplicate = true;
    envelope.sequence = (*seen)->sequence;
    score.event.answer = (*seen)->event.answer;
    return;
  }
  const Folded& folded = scoring_.newest();
  if (folded.clock != Clock::kOnTime) tell_of_clock(incoming, folded.clock);
  envelope.sequence = folded.sequence;
  score.event.row.assign(scoring_.newest_row().begin(), scoring_.newest_row().end());
  score.labels = parts_.fold->label_state(folded);
  unscored_.push_back(&score);
}

// The first of a kind and their doubles, so that a stream of them fills no log.
void Engine::tell_of_clock(const Transaction& transaction, Clock clock) const {
  const Counters& counters = parts_.fold->counters();
  const uint64_t count = clock == Clock::kAhead ? counters.ahead : counters.late;
  if (!std::has_single_bit(count)) return;
  const features::Schema& schema = parts_.config->schema();
  const int64_t stream_us = parts_.fold->watermark_us() == INT64_MIN ? 0 : parts_.fold->watermark_us();
  spdlog::warn("{} {} is dated {} s {} the stream's time ({} such so far): scored, and no window has it. {}",
               schema.fields[schema.id].name, features::text(schema, transaction, schema.id),
               std::abs(transaction.time_us - stream_us) / 1'000'000,
               clock == Clock::kAhead ? "ahead of" : "behind", count,
               clock == Clock::kAhead ? "Is the sender's clock right, and its time in the schema's unit? "
                                        "Where the stream's own time runs "
                                        "(a backfill, a simulator), say limits.clock = \"event\""
                                      : "limits.lateness says how late a transaction may come");
}

// 2. The champion scores the whole batch and 3. the policy decides: see fold/scoring.h.
void Engine::score_batch() {
  if (unscored_.empty()) return;
  const int64_t now = now_us();
  scoring_.score(
      *parts_.fold, [&](size_t i) { return unscored_[i]->deadline_us - now; },
      [&](size_t i, std::span<const float>, const Answer& answer) {
        unscored_[i]->event.answer = answer;
        parts_.probe.steps[static_cast<size_t>(answer.step)].fetch_add(1, std::memory_order_relaxed);
      });
  unscored_.clear();
}

// 4. Hands on, in order of sequence: to the journal, or first to the socket.
void Engine::hand_over(size_t until) {
  score_batch();
  for (; handed_ < until; ++handed_) parts_.hand_on(std::move(batch_[handed_]));
}

void Engine::label(Envelope& envelope, asked::Label& label) {
  if (refused_by_storage(envelope)) return;
  // Back-pressure goes to where examples come from: scoring never waits or refuses because training is
  // behind.
  if (parts_.training.overloaded()) {
    envelope.error = Error{ErrorCode::kOverloaded, "",
                           "training is behind (training.queue_examples_max); send the label again later"};
    return;
  }
  const std::optional<int64_t>& dated_us = label.request.time_us;
  if (clock_.server_us && dated_us && *dated_us > *clock_.server_us + parts_.config->limits.ahead_us &&
      *dated_us > parts_.fold->watermark_us()) {
    envelope.error =
        Error{ErrorCode::kTooEarly, "time",
              fmt::format("the label is dated {} s ahead of the server's clock. Is it in the schema's unit?",
                          (*dated_us - *clock_.server_us) / 1'000'000)};
    return;
  }
  score_batch();  // answers before what follows from them
  auto folded = parts_.fold->label(label.request);
  if (!folded) {
    envelope.error = std::move(folded.error());
    return;
  }
  label.result = *folded;
  const Effect effect = label.result.event.outcome;
  envelope.duplicate = effect == Effect::kDuplicate;
  envelope.sequence = label.result.sequence;
  if (envelope.duplicate) parts_.probe.duplicate_labels.fetch_add(1, std::memory_order_relaxed);
  if (envelope.sequence != 0 && !envelope.duplicate && effect != Effect::kPending) {
    parts_.history.remember(label.request.transaction, label.result.state, envelope.sequence,
                            parts_.journal.committed());
  }
}

void Engine::outcome(Envelope& envelope, asked::Outcome& outcome) {
  if (refused_by_storage(envelope)) return;
  score_batch();
  auto folded = parts_.fold->outcome(outcome.request);
  if (!folded) {
    envelope.error = std::move(folded.error());
    return;
  }
  outcome.result = *folded;
  envelope.duplicate = outcome.result.duplicate;
  envelope.sequence = outcome.result.sequence;
  if (!envelope.duplicate) {
    parts_.history.remember(outcome.request.transaction, outcome.result.state, envelope.sequence,
                            parts_.journal.committed());
  }
}

// By an operator's hand.
Result<void> Engine::judge(asked::Control& control) {
  auto judgement = judgement_by_hand(control.argument);
  if (!judgement) return tl::make_unexpected(judgement.error());
  judgement->time_us = parts_.fold->watermark_us() == INT64_MIN ? 0 : parts_.fold->watermark_us();
  if (judgement->action == Action::kRollBack) {
    const auto& earlier = parts_.fold->fallbacks();
    const auto found = std::find_if(earlier.begin(), earlier.end(), [&](const auto& one) {
      return one.first.starts_with(judgement->target);
    });
    if (found == earlier.end())
      return refuse(ErrorCode::kNotFound, "target",
                    "none of the last champions begins so; `activate` takes any kept model");
    judgement->target = judgement->subject = found->first;
  }
  const uint64_t sequence = parts_.fold->judgement(*judgement);
  log(*judgement, sequence);
  if (judgement->action == Action::kRollBack) roll_back(*judgement);
  control.text = fmt::format(R"({{"judged":"{}","seq":{}}})", name(judgement->action), sequence);
  return {};
}

// To an earlier champion, which is still in memory.
void Engine::roll_back(const JudgementEvent& judgement) {
  for (const auto& [hash, model] : std::vector(parts_.fold->fallbacks())) {
    if (hash == judgement.target) return swap(rollback_event(judgement), model);
  }
  spdlog::error("model {} is no earlier champion any more; the present one stays", judgement.target);
}

// What monitors found at the end of a period enters the log before anything else does.
void Engine::take_judgements(size_t until) {
  while (const JudgementEvent* made = parts_.fold->next_judgement()) {
    hand_over(until);
    const JudgementEvent judgement = *made;
    spdlog::log(judgement.severity == Severity::kInfo ? spdlog::level::info : spdlog::level::warn, "{}: {}",
                judgement.monitor, judgement.text);
    log(judgement, parts_.fold->judgement(judgement));
    if (judgement.action == Action::kRollBack) roll_back(judgement);
  }
}

void Engine::take_proposals() {
  Proposal proposal;
  while (parts_.training.take_proposal(proposal)) {
    const ModelEvent event = as_permitted(proposal.event, parts_.fold->training_held());
    if (event.action == ModelAction::kAccepted) {
      spdlog::info("model {} takes over: {}", event.model, event.report);
    } else {
      spdlog::info("candidate {} refused: {}", event.model, event.report);
    }
    swap(event, proposal.model);
  }
}

// Between two requests: every request is scored wholly by one model, and the log says when it changed.
void Engine::swap(const ModelEvent& event, learners::ModelPtr model) {
  const uint64_t sequence = parts_.fold->model(event, model);
  parts_.training.model_event(event, parts_.fold->champion());
  scoring_.models_changed(*parts_.fold);
  log(event, sequence);
}

// Between two batches: what clocks and memory say becomes an event, and what follows from it needs neither.
void Engine::measure_machine() {
  if (parts_.journal.failed()) return;
  const std::optional<MachineEvent> measured = meter_.take();
  if (!measured) return;
  log(*measured, parts_.fold->machine(*measured));
  take_judgements(0);
}

void Engine::log_config() {
  log(ConfigEvent{parts_.config->text, parts_.config->plan->fingerprint}, parts_.fold->skip());
}

void Engine::log(std::variant<ModelEvent, ConfigEvent, JudgementEvent, MachineEvent> event,
                 uint64_t sequence) {
  auto envelope = std::make_unique<Envelope>();
  envelope->request = asked::Internal{std::move(event)};
  envelope->sequence = sequence;
  parts_.hand_on(std::move(envelope));
}

void Engine::checkpoint_when_due() {
  if (parts_.fold->next_sequence() < next_checkpoint_ || !parts_.checkpointer.idle()) return;
  next_checkpoint_ = parts_.fold->next_sequence() + parts_.config->storage.checkpoint_every;
  parts_.checkpointer.reserve();
  parts_.training.checkpoint(parts_.fold->next_sequence() - 1);
}

Result<void> Engine::control(asked::Control& control) {
  switch (control.command) {
    case Command::kStatus:
      control.text = status();
      break;
    case Command::kActivate:
      swap({ModelAction::kActivated, 0, control.argument, ""}, control.model);
      control.text =
          fmt::format(R"({{"activated":"{}","seq":{}}})", control.argument, parts_.fold->next_sequence() - 1);
      break;
    case Command::kJudge:
      if (auto judged = judge(control); !judged) return judged;
      break;
  }
  return {};
}

std::string Engine::status() const {
  const Counters& c = parts_.fold->counters();
  std::string errors;
  for (size_t i = 0; i < kErrorCodes; ++i) {
    errors += fmt::format(R"({}"{}":{})", i == 0 ? "" : ",", name(static_cast<ErrorCode>(i)),
                          parts_.probe.errors[i].load());
  }
  std::string steps;
  for (size_t i = 0; i < parts_.probe.steps.size(); ++i) {
    steps += fmt::format(R"({}"{}":{})", i == 0 ? "" : ",", name(static_cast<Step>(i)),
                         parts_.probe.steps[i].load());
  }
  std::string alerts;
  for (size_t i = 0; i < kAlertSinkKinds; ++i) {
    const AlertCounts& counts = parts_.probe.alerts[i];
    alerts += fmt::format(R"({}"{}":{{"delivered":{},"failed":{},"dropped":{}}})", i == 0 ? "" : ",",
                          name(static_cast<AlertSinkKind>(i)), counts.delivered.load(), counts.failed.load(),
                          counts.dropped.load());
  }
  std::string unknown;
  for (const std::string& field : parts_.probe.unknown_names.all())
    unknown += fmt::format(R"({}"{}")", unknown.empty() ? "" : ",", json_escape(field));
  return fmt::format(
      R"({{"next_seq":{},"committed_seq":{},"storage":"{}","champion":"{}","transactions":{},"duplicates":{},)"
      R"("labels":{},"duplicate_labels":{},"corrections":{},"labels_pending":{},"labels_expired":{},"matured":{},)"
      R"("examples":{},"fraud_examples":{},"examples_waiting":{},"models_accepted":{},"models_rejected":{},)"
      R"("models_activated":{},"pending_transactions":{},"pending_bytes":{},"checkpoints":{},"row_divergences":{},)"
      R"("trial":{{"examples":{},"examples_min":{},"frauds":{},"frauds_min":{}}},)"
      R"("clock_ahead":{},"clock_late":{},"unknown_outcomes":{},"controls":{},"outcomes":{},"judgements":{},"unknown_fields":{},"unknown_field_names":[{}],"dropped_replies":{},)"
      R"("requests":{},"late_replies":{},"latency_us":{{"p50":{},"p99":{},"p999":{}}},"steps":{{{}}},"errors":{{{}}},"alerts":{{{}}}}})",
      parts_.fold->next_sequence(), parts_.journal.committed(), parts_.journal.failed() ? "failing" : "ok",
      parts_.fold->champion_hash(), c.transactions, parts_.probe.duplicates.load(), c.labels,
      parts_.probe.duplicate_labels.load(), c.corrections, c.orphans - c.orphans_joined - c.orphans_expired,
      c.orphans_expired, c.matured, parts_.fold->examples(), c.frauds, parts_.probe.examples_waiting.load(),
      c.accepted, c.rejected, c.activated, parts_.fold->pending_size(), parts_.fold->pending_bytes(),
      parts_.probe.checkpoints.load(), parts_.probe.divergences.load(), parts_.probe.trial_examples.load(),
      parts_.config->gate.examples_min, parts_.probe.trial_frauds.load(), parts_.config->gate.frauds_min,
      c.ahead, c.late, c.unknown, c.controls, c.outcomes, c.judgements, parts_.probe.unknown_fields.load(),
      unknown, parts_.probe.dropped_replies.load(), parts_.probe.requests.load(),
      parts_.probe.late_replies.load(), parts_.probe.latency.quantile(0.5),
      parts_.probe.latency.quantile(0.99), parts_.probe.latency.quantile(0.999), steps, errors, alerts);
}

}  // namespace shrike::engine
