#include "engine/fold/fold.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "engine/fold/policy.h"
#include "learners/widening.h"

namespace shrike::engine {
namespace {

// Decay, at each transaction, of the counts that tell whether most transactions get labels.
constexpr double kRecent = 1 - 1.0 / 8192;

// A period that monitors judge ends at every so many transactions, and at each hour of event time.
constexpr uint64_t kCloseEvery = 1024;

using features::Schema;

tl::unexpected<Error> conflict(const std::string& field) {
  return refuse(ErrorCode::kConflict, field,
                "this id was sent before with other content; a transaction sent again must be the same");
}

}  // namespace

Fold::Fold(ConfigPtr config, ExampleSink& examples, History* history, int64_t keep_us)
    : config_(std::move(config)),
      examples_sink_(&examples),
      history_(history),
      keep_us_(std::max(keep_us, config_->training.maturity_us)),
      features_(config_->plan),
      pending_(config_->columns.size(), config_->schema().entities.size()),
      thresholds_{config_->policy.review_score, config_->policy.decline_score},
      dropped_(config_),
      time_(config_),
      silence_tells_(config_->sources.silence_tells()),
      silence_precedence_(config_->sources.silence_precedence()),
      delays_(config_->training.maturity_us, config_->sources.delay_us()),
      champion_(learners::make_prior_model(config_->columns, config_->training.prior)),
      champion_hash_(learners::content_hash(learners::serialize(*champion_))),
      prior_(champion_hash_, champion_) {}

Result<std::optional<Recorded>> Fold::look_up(const Key& transaction) {
  if (history_ == nullptr) return std::nullopt;
  return history_->find(transaction);
}

Result<std::optional<Recorded>> Fold::admit(const Transaction& transaction) {
  if (const Pending::Entry* entry = pending_.find(transaction.id)) {
    if (auto same = check_same(*entry, transaction); !same) return tl::make_unexpected(same.error());
    Recorded recorded;
    recorded.sequence = entry->sequence;
    recorded.event.answer = entry->answer;
    return recorded;
  }
  auto recorded = look_up(transaction.id);
  if (!recorded) return recorded;
  if (*recorded && !(*recorded)->expired) {
    if (auto same = check_same(**recorded, transaction); !same) return tl::make_unexpected(same.error());
    return recorded;
  }
  return std::nullopt;
}

// The same request again? When it is not, the field is named where the log can still tell.
Result<void> Fold::check_same(const Pending::Entry& entry, const Transaction& transaction) {
  const Schema& schema = config_->schema();
  if (entry.content == content_hash(transaction)) return {};
  if (const auto before = look_up(transaction.id); before && *before && !(*before)->expired)
    return check_same(**before, transaction);
  if (entry.content == 0 && entry.time_us == transaction.time_us) return {};
  return conflict(schema.fields[entry.time_us == transaction.time_us ? schema.id : schema.time].name);
}

Result<void> Fold::check_same(const Recorded& before, const Transaction& transaction) const {
  const auto field = differing_field(before.event.transaction, transaction);
  if (field) return conflict(config_->schema().fields[*field].name);
  return {};
}

const Pending::Entry* Fold::pending_entry(const Folded& folded) const {
  if (folded.position < pending_.begin() || folded.position >= pending_.end()) return nullptr;
  const Pending::Entry& entry = pending_.at(folded.position);
  return entry.sequence == folded.sequence ? &entry : nullptr;
}

Folded Fold::fold(const Transaction& transaction, Clock clock, std::span<float> row) {
  const uint64_t sequence = next_sequence_++;
  ++counters_.transactions;
  transactions_recent_ = transactions_recent_ * kRecent + 1;
  labels_recent_ *= kRecent;
  const bool on_time = clock == Clock::kOnTime;
  if (on_time) {
    const EventTime::Step step = time_.advance(transaction);
    if (step == EventTime::Step::kFirst) begin_time();
    if (step == EventTime::Step::kBack) step_back(transaction.time_us);
  } else {
    ++(clock == Clock::kAhead ? counters_.ahead : counters_.late);
    time_.note(transaction);
  }
  settle_changes();
  mature();
  expire_orphans();
  if (on_time) {
    features_.apply(transaction, sequence, row);
  } else {
    const int64_t now_us = time_.known() ? time_.watermark_us() : transaction.time_us;
    features_.peek(transaction, now_us, clock == Clock::kAhead, row);
  }
  if (watch_ != nullptr) {
    watch_->arrived({sequence, transaction, row, clock});
    end_period(sequence);
  }
  dropped_.hide(row);
  if (on_time && sampled(transaction.id)) examples_sink_->observe(transaction.id, row);
  if (is_cold_look(counters_.transactions)) boundary_ = true;
  features_.subject(transaction, sequence, subject_);
  // It waits for its label from when it came.
  if (!on_time) subject_.time_us = time_.known() ? time_.watermark_us() : kNotYet;
  const uint64_t position = pending_.end();
  Pending::Entry& entry = pending_.push(subject_, transaction.id, content_hash(transaction), row);
  entry.answer.clock = clock;
  if (config_->schema().amount)
    entry.amount = features::number(config_->schema(), transaction, *config_->schema().amount);
  if (!orphan_keys_.empty()) join_orphans(entry);
  return {sequence, position, clock};
}

// What came before the first transaction that is on time has waited since then.
void Fold::begin_time() {
  const int64_t now_us = time_.watermark_us();
  pending_.each([&](Pending::Entry& entry) { entry.time_us = std::min(entry.time_us, now_us); });
  for (Orphan& orphan : orphans_) {
    if (orphan.until_us == kNotYet) orphan.until_us = now_us + config_->limits.orphan_keep_us;
  }
}

void Fold::step_back(int64_t watermark_us) {
  time_.set(watermark_us);
  features_.forget_after(watermark_us);
  pending_.each([&](Pending::Entry& entry) { entry.time_us = std::min(entry.time_us, watermark_us); });
  const int64_t until_us = watermark_us + config_->limits.orphan_keep_us;
  for (Orphan& orphan : orphans_) orphan.until_us = std::min(orphan.until_us, until_us);
}

uint64_t Fold::repair(const RepairEvent& event) {
  step_back(event.watermark_us);
  return next_sequence_++;
}

// Does this transaction end a period? It is closed with its answer.
void Fold::end_period(uint64_t sequence) {
  const int64_t hour = time_.known() ? time_.watermark_us() / features::kHourUs : INT64_MIN;
  if (hour != hour_ || counters_.transactions % kCloseEvery == 0) close_at_ = sequence;
  hour_ = hour;
}

void Fold::answer(const Folded& folded, const Answer& answer) {
  counters_.controls += answer.control;
  if (pending_entry(folded) != nullptr) {
    Pending::Entry& entry = pending_.at(folded.position);
    entry.answer = answer;
    entry.answered = true;
    if (watch_ != nullptr) {
      watch_->scored({folded.sequence, entry.time_us, pending_.row(entry), entry.answer, entry.amount,
                      rollout_entity(entry)});
    }
  }
  if (folded.sequence != close_at_) return;
  close_at_ = 0;
  watch_->close({next_sequence_ - 1, time_.watermark_us(), counters_.transactions, *this});
}

// The entity by which a canary is sticky; the transaction itself where the schema has none.
uint64_t Fold::rollout_entity(const Pending::Entry& entry) const {
  const size_t kind = config_->rollout.entity_kind;
  return kind < config_->schema().entities.size() ? pending_.entity(entry, kind) : features::mix(entry.id);
}

Arm Fold::arm(const Folded& folded) const {
  const Pending::Entry* entry = challenger_ ? pending_entry(folded) : nullptr;
  return entry == nullptr ? Arm::kChampion : challenger_.arm(rollout_entity(*entry));
}

bool Fold::needs_answers(const Transaction& transaction) const {
  const uint64_t position = std::max(next_mature_, pending_.begin());
  if (position >= pending_.end() || pending_.at(position).answered) return false;
  return pending_.at(position).time_us + config_->training.maturity_us <=
         std::max(time_.watermark_us(), transaction.time_us);
}

std::string Fold::earlier_champion(std::string_view prefix) const {
  std::string found;
  const auto look = [&](const std::string& hash) {
    if (!hash.starts_with(prefix) || hash == found) return true;
    if (!found.empty()) return false;
    found = hash;
    return true;
  };
  if (prefix.empty() || !look(prior_.first)) return "";
  for (const auto& [hash, model] : fallbacks_) {
    if (!look(hash)) return "";
  }
  return found;
}

bool Fold::was_rolled_back(const std::string& hash) const {
  return std::find(rolled_back_.begin(), rolled_back_.end(), hash) != rolled_back_.end();
}

std::optional<ModelChange> Fold::change_by(const JudgementEvent& judgement) const {
  const auto activated = [&](const char* how) {
    return ModelEvent{ModelAction::kActivated, 0, judgement.target,
                      fmt::format(R"({{"reason":"{} by {}"}})", how, judgement.monitor)};
  };
  if (judgement.action == Action::kPromote && challenger_ && challenger_.hash == judgement.target)
    return ModelChange{activated("promoted"), challenger_.model};
  if (judgement.action != Action::kRollBack) return std::nullopt;
  for (const auto& [hash, model] : fallbacks_) {
    if (hash == judgement.target) return ModelChange{activated("rolled back"), model};
  }
  if (judgement.target == prior_.first) return ModelChange{activated("rolled back"), prior_.second};
  return std::nullopt;
}

ModelEvent Fold::permitted(const ModelEvent& proposed) const {
  if (proposed.action != ModelAction::kAccepted) return proposed;
  ModelEvent event = proposed;
  if (training_held_) {
    event.action = ModelAction::kRejected;
    event.report = R"({"reason":"it passed the gate while a judgement holds training"})";
  } else if (challenger_) {
    event.action = ModelAction::kRejected;
    event.report = R"({"reason":"it passed the gate while an earlier challenger is tried"})";
  } else if (config_->rollout.on && has_served_) {  // there is one worth being tried beside
    event.action = ModelAction::kChallenger;
  }
  return event;
}

namespace {

Suspended suspended(const JudgementEvent& quarantine) {
  return quarantine.values[0] == 1   ? Suspended::kFrauds
         : quarantine.values[0] == 2 ? Suspended::kLegitimate
                                     : Suspended::kAll;
}

}  // namespace

uint64_t Fold::judgement(const JudgementEvent& event) {
  ++counters_.judgements;
  if (event.monitor == kRetraining) retraining_.reset();
  if (change_by(event)) change_awaited_ = event;
  if (event.action == Action::kRollBack && event.monitor != kOperator && !was_rolled_back(champion_hash_)) {
    rolled_back_.push_back(champion_hash_);
    if (rolled_back_.size() > kRolledBackMax) rolled_back_.erase(rolled_back_.begin());
  }
  switch (event.action) {
    case Action::kThresholds:
      thresholds_ = {event.values[0], event.values[1]};
      break;
    case Action::kHoldTraining:
    case Action::kGoOnTraining:
      training_held_ = event.action == Action::kHoldTraining;
      break;
    case Action::kQuarantine:
    case Action::kRelease:
      if (const auto source = config_->sources.find(event.target))
        trust(*source, event.action == Action::kRelease, suspended(event));
      break;
    case Action::kShadow:
    case Action::kCanary:
      if (challenger_.hash == event.target)
        challenger_.share = event.action == Action::kCanary ? event.values[0] : 0;
      break;
    case Action::kChallengerThresholds:
      if (challenger_.hash == event.target) challenger_.thresholds = {event.values[0], event.values[1]};
      break;
    case Action::kAbort:
    case Action::kConclude:
      if (challenger_.hash == event.target) challenger_ = {};
      break;
    case Action::kRetrain:
      if (!retraining_) retraining_ = Retraining{event, next_sequence_};
      break;
    case Action::kDropFeature:
      dropped_.drop(event.target);
      break;
    case Action::kRestoreFeature:
      dropped_.restore(event.target);
      break;
    case Action::kSample:
      sampled_share_ = std::clamp(event.values[0], 0.0, 1.0);
      break;
    default:
      break;
  }
  if (watch_ != nullptr) watch_->judged(event);
  return next_sequence_++;
}

uint64_t Fold::machine(const MachineEvent& event) {
  const uint64_t sequence = next_sequence_++;
  const int64_t now_us = time_.known() ? time_.watermark_us() : 0;
  if (watch_ != nullptr) watch_->machine(event, {sequence, now_us, counters_.transactions, *this});
  return sequence;
}

LabelState Fold::label_state(const Folded& folded) const {
  const Pending::Entry* entry = pending_entry(folded);
  return entry == nullptr ? LabelState{} : entry->labels;
}

// Silence for the maturity period makes a transaction legitimate if it went through. In order of sequence, so
// that a late event waits for those before it.
void Fold::mature() {
  next_mature_ = std::max(next_mature_, pending_.begin());
  for (; next_mature_ < pending_.end(); ++next_mature_) {
    Pending::Entry& entry = pending_.at(next_mature_);
    if (entry.time_us + config_->training.maturity_us > time_.watermark_us()) break;
    come_of_age(entry);
  }
  release();
}

void Fold::come_of_age(Pending::Entry& entry) {
  entry.matured = true;
  ++counters_.matured;
  const Labelling of{entry.labels, &entry, entry.answer, subject_, pending_.row(entry)};
  const Verdict verdict = known(of);
  if (verdict == Verdict::kUnknown) {
    ++counters_.unknown;
    pending_.subject(entry, subject_);
    features_.hide(subject_);
    return;
  }
  const bool silent = entry.labels.current == Verdict::kUnknown;
  if (silent) {
    const double told =
        delays_.weight_of_silence(static_cast<double>(entry.answer.score), time_.watermark_us());
    emit({entry.id, Verdict::kLegitimate, weight_of(entry.answer) * static_cast<float>(told),
          pending_.row(entry)});
  } else if (entry.held) {
    emit(example(of, entry.id, verdict));
  }
  if (silent || entry.held) settle(entry, verdict, Source::kMatured);
  entry.held = false;
}

void Fold::release() {
  while (pending_.size() > 0) {
    const Pending::Entry& entry = pending_.at(pending_.begin());
    const bool done = entry.matured && entry.time_us + keep_us_ <= time_.watermark_us();
    if (!done && pending_.size() < config_->limits.pending_max) break;
    if (!entry.matured) ++counters_.pending_released_early;
    released_ = entry.sequence;
    pending_.pop_front();
  }
}

// Whether it is among those that are learned, by its id alone: the same in every run, and, while the share
// falls, of fewer and fewer of the same.
bool Fold::sampled(const Key& transaction) const {
  constexpr uint64_t kDraw = 0x7472'6169'6E69'6E67;  // other than those of control groups and learners
  return sampled_share_ >= 1 || draw(transaction, kDraw) < sampled_share_;
}

void Fold::emit(Example example) {
  if (example.verdict != Verdict::kFraud) {
    if (!sampled(example.transaction)) {
      ++counters_.spared;
      return;
    }
    example.weight /= static_cast<float>(sampled_share_);
  }
  ++examples_;
  counters_.frauds += example.verdict == Verdict::kFraud;
  if (learners::is_look(examples_, config_->training.every)) boundary_ = true;
  if (dropped_.any()) {  // what it was before, or is in a broken feed: models will not see it
    example_row_.assign(example.row.begin(), example.row.end());
    dropped_.hide(example_row_);
    example.row = example_row_;
  }
  examples_sink_->learn(example);
}

// Tells the watch what its verdict, or its silence, makes of a transaction, unless it was told so before.
void Fold::settle(Pending::Entry& entry, Verdict verdict, Source source) {
  const Verdict before = std::exchange(entry.settled, verdict);
  if (watch_ == nullptr || before == verdict) return;
  const bool corrected = before != Verdict::kUnknown;
  watch_->settled({entry.sequence, entry.time_us, time_.watermark_us(), verdict, source, corrected,
                   static_cast<double>(weight_of(entry.answer)), pending_.row(entry), entry.answer,
                   entry.amount, rollout_entity(entry)});
}

// How many transactions like it one stands for that was let through although something else was wanted.
float Fold::weight_of(const Answer& answer) const {
  if (!answer.control || !(answer.propensity > 0)) return 1;
  return std::min(1 / answer.propensity, static_cast<float>(config_->control.weight_max));
}

// A verdict that a source whose silence tells may still overrule waits for it.
bool Fold::learn_at_once(Source source) const {
  if (config_->training.learn != LearnWhen::kAuto) return config_->training.learn == LearnWhen::kAtOnce;
  if (config_->sources.of(source).precedence < silence_precedence_) return false;
  return labels_recent_ >= 0.5 * transactions_recent_;
}

uint64_t Fold::model(const ModelEvent& event, learners::ModelPtr model) {
  const uint64_t sequence = next_sequence_++;
  if (event.action == ModelAction::kRejected) {
    ++counters_.rejected;
    if (watch_ != nullptr) watch_->model(event, *this);
    return sequence;
  }
  assert(model != nullptr);
  if (event.action == ModelAction::kRetrained) {
    ++counters_.retrained;
    retraining_.reset();
    if (watch_ != nullptr) watch_->model(event, *this);
    return sequence;
  }
  if (event.action == ModelAction::kChallenger || event.action == ModelAction::kTested) {
    challenger_ = {event.model, std::move(model), event.share, thresholds_,
                   event.action == ModelAction::kTested};
    if (watch_ != nullptr) watch_->model(event, *this);
    return sequence;
  }
  if (challenger_ && challenger_.hash == event.model) thresholds_ = challenger_.thresholds;
  challenger_ = {};  // it was tried beside another champion
  change_awaited_.reset();
  has_served_ |= event.action == ModelAction::kActivated || event.candidate > 0;
  ++(event.action == ModelAction::kAccepted ? counters_.accepted : counters_.activated);
  std::erase(rolled_back_, event.model);
  std::erase_if(fallbacks_,
                [&](const auto& one) { return one.first == champion_hash_ || one.first == event.model; });
  if (champion_hash_ != event.model) fallbacks_.insert(fallbacks_.begin(), {champion_hash_, champion_});
  if (fallbacks_.size() > kFallbacksMax) fallbacks_.pop_back();
  champion_ = std::move(model);
  champion_hash_ = event.model;
  if (watch_ != nullptr) watch_->model(event, *this);
  return sequence;
}

}  // namespace shrike::engine
