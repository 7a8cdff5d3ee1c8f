#include "engine/serve/engine.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "engine/lifecycle/ab_test_plan.h"
#include "engine/serve/clocks.h"
#include "engine/serve/status.h"
#include "engine/threads/placement.h"
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

void Engine::start(Bell& room) {
  room_ = &room;
  loop_.start({.name = "shrike-engine",
               .begin =
                   [this] {
                     pin_thread(parts_.config->threads.engine_cpu, "engine");
                     begin();
                   },
               .turn = [this] { return turn(); },
               .waiting =
                   [this] {
                     return !inbound_.empty() || parts_.training.has_proposal() ||
                            parts_.retrainer.has_outcome();
                   },
               .look_every_ms = 1000,
               .busy = parts_.config->threads.polling == ThreadConfig::Polling::kBusy});
}

void Engine::handle(EnvelopePtr envelope) {
  [[maybe_unused]] const bool queued = inbound_.push(std::move(envelope));
  turn();
}

bool Engine::submit(EnvelopePtr envelope) {
  if (!inbound_.push(std::move(envelope))) return false;
  loop_.ring();
  return true;
}

// Everything that waits is one micro-batch, a batch of one when idle. No timer, no added wait.
bool Engine::turn() {
  // What recovery found: a change of models that was decided, judgements that were made, and neither written.
  if (parts_.fold->change_awaited()) follow(JudgementEvent(*parts_.fold->change_awaited()));
  take_judgements(0);
  take_proposals();
  look_after_retraining();
  keep_pace();
  measure_machine();
  EnvelopePtr envelope;
  while (batch_.size() < parts_.config->sockets.batch_max && inbound_.pop(envelope))
    batch_.push_back(std::move(envelope));
  if (batch_.empty()) return false;
  const auto refused =
      std::count_if(batch_.begin(), batch_.end(), [](const auto& one) { return one->error.has_value(); });
  taken_.fetch_add(batch_.size() - static_cast<size_t>(refused), std::memory_order_release);
  if (wake_when_taken_.exchange(false)) room_->ring();
  process();
  batch_.clear();
  checkpoint_when_due();
  return true;
}

void Engine::process() {
  handed_ = 0;
  // The server's clock has a say in marks, which are in the log: replays need no clock.
  clock_.server_us = server_time_us(*parts_.config);
  const int64_t taken_us = now_us();
  for (EnvelopePtr& envelope : batch_) envelope->taken_us = taken_us;
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
    } else if (auto* figure = envelope.as<asked::Kpi>()) {
      kpi(envelope, *figure);
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
  const int64_t stream_us = event_time_us();
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
  reasons_.begin(now_us());
  scoring_.score(
      *parts_.fold,
      [&](size_t i) {
        const int64_t now = now_us();
        return Scoring::Time(unscored_[i]->deadline_us - now,
                             reasons_.may(now, i + 1 < unscored_.size() || !inbound_.empty()));
      },
      [&](size_t i, std::span<const float>, const Answer& answer) {
        unscored_[i]->event.answer = answer;
        if (answer.reason_count > 0) reasons_.given(now_us());
        parts_.probe.steps[static_cast<size_t>(answer.step)].fetch_add(1, std::memory_order_relaxed);
      });
  unscored_.clear();
}

// 4. Hands on, in order of sequence: to the journal, or first to the socket.
void Engine::hand_over(size_t until) {
  score_batch();
  if (handed_ >= until) return;
  const int64_t handed_us = now_us();
  for (; handed_ < until; ++handed_) {
    batch_[handed_]->handed_us = handed_us;
    parts_.hand_on(std::move(batch_[handed_]));
  }
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
  if (auto fine = check_date(label.request.time_us); !fine) {
    envelope.error = std::move(fine.error());
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

// Of a label or a KPI.
Result<void> Engine::check_date(const std::optional<int64_t>& dated_us) const {
  if (!clock_.server_us || !dated_us || *dated_us <= *clock_.server_us + parts_.config->limits.ahead_us ||
      *dated_us <= parts_.fold->watermark_us())
    return {};
  return refuse(ErrorCode::kTooEarly, "time",
                fmt::format("it is dated {} s ahead of the server's clock. Is it in the schema's unit?",
                            (*dated_us - *clock_.server_us) / 1'000'000));
}

void Engine::kpi(Envelope& envelope, asked::Kpi& kpi) {
  if (refused_by_storage(envelope)) return;
  if (auto fine = check_date(kpi.request.time_us); !fine) {
    envelope.error = std::move(fine.error());
    return;
  }
  score_batch();
  auto folded = parts_.fold->kpi(kpi.request);
  if (!folded) {
    envelope.error = std::move(folded.error());
    return;
  }
  kpi.result = *folded;
  envelope.duplicate = kpi.result.duplicate;
  envelope.sequence = kpi.result.sequence;
  if (!envelope.duplicate) {
    parts_.history.remember(kpi.request.transaction, kpi.result.state, envelope.sequence,
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

// 0 before the first transaction.
int64_t Engine::event_time_us() const {
  const int64_t us = parts_.fold->watermark_us();
  return us == INT64_MIN ? 0 : us;
}

// By an operator's hand.
Result<void> Engine::judge(asked::Control& control) {
  auto judgement = judgement_by_hand(*parts_.config, control.argument);
  if (!judgement) return tl::make_unexpected(judgement.error());
  judgement->time_us = event_time_us();
  if (judgement->action == Action::kRollBack) {
    judgement->target = parts_.fold->earlier_champion(judgement->target);
    if (judgement->target.empty())
      return refuse(ErrorCode::kNotFound, "target",
                    "not one of the last champions begins so; `activate` takes any kept model");
    judgement->subject = judgement->target;
  } else if (judgement->action == Action::kDropFeature || judgement->action == Action::kRestoreFeature) {
    const bool drop = judgement->action == Action::kDropFeature;
    if (auto may = parts_.fold->dropped().check(judgement->target, drop); !may) return may;
  } else if (is_of_challenger(judgement->action)) {
    const std::string& challenger = parts_.fold->challenger().hash;
    if (challenger.empty())
      return refuse(ErrorCode::kNotFound, "action",
                    "no challenger is tried; `shrike models challenge` begins with one");
    if (!challenger.starts_with(judgement->target))
      return refuse(ErrorCode::kNotFound, "target", fmt::format("the challenger is {}", challenger));
    if (parts_.fold->challenger().tested && judgement->action != Action::kPromote &&
        judgement->action != Action::kAbort)
      return refuse(ErrorCode::kInvalid, "action",
                    "an A/B test keeps its share until it ends; `promote` and `abort` end it");
    judgement->target = judgement->subject = challenger;
  }
  if (judgement->action == Action::kRetrain && judgement->target == name(RetrainStrategy::kRecent)) {
    const int64_t since_us = judgement->time_us - parts_.config->retraining.kpi_window_us;
    judgement->values[0] = static_cast<double>(std::max<int64_t>(since_us, 0));
  }
  const uint64_t sequence = parts_.fold->judgement(*judgement);
  log(*judgement, sequence);
  follow(*judgement);
  control.text = fmt::format(R"({{"judged":"{}","seq":{}}})", name(judgement->action), sequence);
  return {};
}

// Plans an A/B test by what the monitors know of the metric, and begins it unless only the plan is wanted.
Result<void> Engine::test(asked::Control& control) {
  const Fold& fold = *parts_.fold;
  const auto asked = parse_ab_test(*parts_.config, control.argument);
  if (!asked) return tl::make_unexpected(asked.error());
  const auto plan = plan_ab_test(*parts_.config, asked->declaration, fold.watch_report());
  if (!plan) return tl::make_unexpected(plan.error());
  if (asked->plan_only) {
    control.text = fmt::format(R"({{"plan":{}}})", to_text(*plan));
    return {};
  }
  if (control.model == nullptr) return refuse(ErrorCode::kMissing, "model", "name the model that is tested");
  if (fold.challenger()) {
    return refuse(
        ErrorCode::kInvalid, "model",
        fmt::format("challenger {} is tried already; `shrike judge abort` ends it", fold.challenger().hash));
  }
  if (control.hash == fold.champion_hash())
    return refuse(ErrorCode::kInvalid, "model", "it is the champion, which would be tested against itself");
  if (!plan->fits() && !asked->anyway) return refuse(ErrorCode::kInvalid, "longest", plan->why_not());
  swap({ModelAction::kTested, 0, control.hash, declaration_text(*plan), plan->declaration.share},
       control.model);
  control.text = fmt::format(R"({{"tested":"{}","seq":{},"plan":{}}})", control.hash,
                             parts_.fold->next_sequence() - 1, to_text(*plan));
  return {};
}

// The swap that a judgement asks for follows it in the log.
void Engine::follow(const JudgementEvent& judgement) {
  if (const auto change = parts_.fold->change_by(judgement)) return swap(change->event, change->model);
  if (judgement.action == Action::kRollBack || judgement.action == Action::kPromote)
    spdlog::error("model {} is not there any more; the present one stays", judgement.target);
}

// What monitors found at the end of a period enters the log before anything else does.
void Engine::take_judgements(size_t until) {
  while (const JudgementEvent* made = parts_.fold->next_judgement()) {
    hand_over(until);
    const JudgementEvent judgement = *made;
    write_down(judgement);
    follow(judgement);
  }
}

void Engine::write_down(const JudgementEvent& judgement) {
  spdlog::log(judgement.severity == Severity::kInfo ? spdlog::level::info : spdlog::level::warn, "{}: {}",
              judgement.monitor, judgement.text);
  log(judgement, parts_.fold->judgement(judgement));
}

// Training that is behind is spared legitimate examples, by a judgement of our own: recovery, checkpoints and
// replays then learn the same.
void Engine::keep_pace() {
  const double before = parts_.fold->sampled_share();
  const double share = parts_.training.affordable_share(before);
  if (share == before) return;
  const uint64_t waiting = parts_.training.waiting();
  JudgementEvent judgement;
  judgement.monitor = "training";
  judgement.finding = share < 1 ? Finding::kFailed : Finding::kSuccessful;
  judgement.severity = share < 1 ? Severity::kWarning : Severity::kInfo;
  judgement.action = Action::kSample;
  judgement.values = {share, 0};
  judgement.time_us = event_time_us();
  judgement.text = share < 1 ? fmt::format(
                                   "training is behind by {} examples: of legitimate ones {} % are learned, "
                                   "with weights to match",
                                   waiting, 100 * share)
                             : std::string("training has caught up: every example is learned again");
  judgement.evidence =
      fmt::format(R"({{"examples_waiting":{},"queue_examples_max":{},"spared":{}}})", waiting,
                  parts_.config->training.queue_examples_max, parts_.fold->counters().spared);
  write_down(judgement);
}

void Engine::take_proposals() {
  Proposal proposal;
  while (parts_.training.take_proposal(proposal)) {
    const ModelEvent event = parts_.fold->permitted(proposal.event);
    if (event.action == ModelAction::kAccepted) {
      spdlog::info("model {} takes over: {}", event.model, event.report);
    } else if (event.action == ModelAction::kChallenger) {
      spdlog::info("model {} passed the gate and is tried beside the champion: {}", event.model,
                   event.report);
    } else {
      spdlog::info("candidate {} refused: {}", event.model, event.report);
    }
    swap(event, proposal.model);
  }
}

// Begins what was asked for, now or before a restart, and logs what came of it.
void Engine::look_after_retraining() {
  Retrainer::Outcome outcome;
  while (parts_.retrainer.take(outcome)) {
    if (auto* retrained = std::get_if<Retrained>(&outcome)) {
      spdlog::info("model {} was retrained and is the gate's next candidate: {}", retrained->event.model,
                   retrained->event.report);
      swap(retrained->event, retrained->model);
    } else {
      auto& failed = std::get<JudgementEvent>(outcome);
      failed.time_us = event_time_us();
      write_down(failed);
    }
  }
  if (parts_.fold->retraining() && !parts_.retrainer.busy())
    parts_.retrainer.begin(*parts_.fold->retraining());
}

// Between two requests: every request is scored wholly by one model, and the log says when it changed.
void Engine::swap(const ModelEvent& event, learners::ModelPtr model) {
  const uint64_t sequence = parts_.fold->model(event, model);
  parts_.training.model_event(event, std::move(model));
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

void Engine::begin() {
  if (parts_.config_is_new)
    log(ConfigEvent{parts_.config->text, parts_.config->plan->fingerprint}, parts_.fold->skip());
  log(parts_.start, parts_.fold->skip());
}

void Engine::log(std::variant<ModelEvent, ConfigEvent, JudgementEvent, MachineEvent, StartEvent> event,
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
      control.text = status_text(*parts_.config, *parts_.fold, parts_.journal, parts_.probe);
      break;
    case Command::kActivate:
      if (control.hash == parts_.fold->champion_hash()) {
        control.text = fmt::format(R"({{"activated":"{}","unchanged":true}})", control.hash);
        break;
      }
      if (!control.anyway && parts_.fold->was_rolled_back(control.hash)) {
        return refuse(
            ErrorCode::kInvalid, "argument",
            fmt::format("model {} was rolled back from, for it was worse (`shrike timeline --monitor "
                        "rollback`); `shrike models activate {} --anyway` brings it back",
                        control.hash.substr(0, 12), control.hash.substr(0, 12)));
      }
      swap({ModelAction::kActivated, 0, control.hash, ""}, control.model);
      control.text =
          fmt::format(R"({{"activated":"{}","seq":{}}})", control.hash, parts_.fold->next_sequence() - 1);
      break;
    case Command::kChallenge:
      if (parts_.fold->challenger()) {
        return refuse(ErrorCode::kInvalid, "argument",
                      fmt::format("challenger {} is tried already; `shrike judge abort` ends it",
                                  parts_.fold->challenger().hash));
      }
      swap({ModelAction::kChallenger, 0, control.hash, R"({"reason":"by hand"})"}, control.model);
      control.text =
          fmt::format(R"({{"challenger":"{}","seq":{}}})", control.hash, parts_.fold->next_sequence() - 1);
      break;
    case Command::kTest:
      if (auto begun = test(control); !begun) return begun;
      break;
    case Command::kJudge:
      if (auto judged = judge(control); !judged) return judged;
      break;
  }
  return {};
}

}  // namespace shrike::engine
