#include "engine/fold/fold.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace shrike::engine {
namespace {

// Decay, at each transaction, of the counts that tell whether most transactions get labels.
constexpr double kRecent = 1 - 1.0 / 8192;

// In place of an event time while none is known.
constexpr int64_t kNotYet = INT64_MAX / 2;

// So many events after the first of them, changes of what was learned are learned: a label that flips costs
// learning as little as one that changes once.
constexpr uint64_t kSettleAfter = 1024;

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
      time_(config_),
      champion_(learners::make_prior_model(config_->columns, config_->training.prior)),
      champion_hash_(learners::content_hash(learners::serialize(*champion_))) {}

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
    examples_sink_->observe(transaction.id, row);
  } else {
    const int64_t now_us = time_.known() ? time_.watermark_us() : transaction.time_us;
    features_.peek(transaction, now_us, clock == Clock::kAhead, row);
  }
  if (is_cold_look(counters_.transactions)) boundary_ = true;
  features_.subject(transaction, sequence, subject_);
  // It waits for its label from when it came.
  if (!on_time) subject_.time_us = time_.known() ? time_.watermark_us() : kNotYet;
  const uint64_t position = pending_.end();
  Pending::Entry& entry = pending_.push(subject_, transaction.id, content_hash(transaction), row);
  entry.answer.clock = clock;
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

void Fold::answer(const Folded& folded, const Answer& answer) {
  if (pending_entry(folded) != nullptr) pending_.at(folded.position).answer = answer;
}

LabelState Fold::label_state(const Folded& folded) const {
  const Pending::Entry* entry = pending_entry(folded);
  return entry == nullptr ? LabelState{} : entry->labels;
}

// Silence for the maturity period makes a transaction legitimate. In order of sequence, so that a late event
// waits for those before it.
void Fold::mature() {
  next_mature_ = std::max(next_mature_, pending_.begin());
  for (; next_mature_ < pending_.end(); ++next_mature_) {
    Pending::Entry& entry = pending_.at(next_mature_);
    if (entry.time_us + config_->training.maturity_us > time_.watermark_us()) break;
    entry.matured = true;
    ++counters_.matured;
    if (entry.labels.current == Verdict::kUnknown) emit(entry.id, Verdict::kLegitimate, pending_.row(entry));
    if (entry.held) emit(entry.id, entry.labels.current, pending_.row(entry));
    entry.held = false;
  }
  release();
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

void Fold::emit(const Key& transaction, Verdict verdict, std::span<const float> row) {
  ++examples_;
  counters_.frauds += verdict == Verdict::kFraud;
  if (examples_ % config_->training.every == 0) boundary_ = true;
  examples_sink_->learn(transaction, verdict, row);
}

bool Fold::learn_at_once() const {
  if (config_->training.learn != LearnWhen::kAuto) return config_->training.learn == LearnWhen::kAtOnce;
  return labels_recent_ >= 0.5 * transactions_recent_;
}

// What a label does to its transaction, which is present with its logged row: `entry` holds it, or is null
// when it has left memory. The features see it at once; the learner now, or when the transaction matures (see
// LearnWhen).
Outcome Fold::apply_label(LabelState& state, Pending::Entry* entry, const LabelEvent& event,
                          uint64_t sequence, const features::Subject& subject, std::span<const float> row) {
  const bool matured = entry == nullptr || entry->matured;
  if (!matured && state.current == Verdict::kUnknown) labels_recent_ += 1;
  const Verdict known = state.current == Verdict::kUnknown && matured ? Verdict::kLegitimate : state.current;
  state.by_source[static_cast<size_t>(event.source)] = event.verdict;
  state.current = event.verdict;
  state.sequence = sequence;
  features_.label(subject, event.verdict);
  if (known == event.verdict) return Outcome::kStored;
  const bool hold = !matured && !learn_at_once();
  if (entry != nullptr) entry->held = hold;
  const bool corrects = known != Verdict::kUnknown;
  if (!hold && !corrects) emit(event.transaction, event.verdict, row);
  if (!hold && corrects) change(event.transaction, known, event.verdict, row);
  return corrects ? Outcome::kCorrected : Outcome::kStored;
}

void Fold::change(const Key& transaction, Verdict learned, Verdict current, std::span<const float> row) {
  const auto [at, added] = change_of_.try_emplace(transaction, changes_.size());
  if (!added) {
    changes_[at->second].current = current;
    return;
  }
  if (changes_.empty()) settle_at_ = next_sequence_ + kSettleAfter;
  changes_.push_back({transaction, learned, current, {row.begin(), row.end()}});
}

void Fold::settle_changes() {
  if (changes_.empty() || next_sequence_ < settle_at_) return;
  for (const Change& change : changes_) {
    if (change.current != change.learned) emit(change.transaction, change.current, change.row);
  }
  changes_.clear();
  change_of_.clear();
}

const Fold::Orphan* Fold::find_orphan(const LabelRequest& request) const {
  const auto waiting = orphan_keys_.find(request.transaction);
  if (waiting == orphan_keys_.end()) return nullptr;
  const Orphan* found = nullptr;  // the newest from this source counts
  for (const uint64_t serial : waiting->second) {
    if (orphan(serial).source == request.source) found = &orphan(serial);
  }
  return found != nullptr && found->verdict == request.verdict ? found : nullptr;
}

Result<LabelResult> Fold::label(const LabelRequest& request) {
  LabelResult result;
  LabelEvent& event = result.event;
  event.transaction = request.transaction;
  event.verdict = request.verdict;
  event.source = request.source;
  event.time_us = request.time_us.value_or(time_.watermark_us());
  std::optional<Recorded> recorded;
  Pending::Entry* entry = pending_.find(request.transaction);
  if (entry == nullptr) {
    auto found = look_up(request.transaction);
    if (!found) return tl::make_unexpected(found.error());
    recorded = std::move(*found);
  }
  const auto already = [&](const LabelState& state) {
    return state.by_source[static_cast<size_t>(request.source)] == request.verdict;
  };
  const auto duplicate = [&](const LabelState& state) {
    event.outcome = Outcome::kDuplicate;
    result.sequence = state.sequence;
    result.state = state;
    return result;
  };
  const auto before_transaction = [&](int64_t transaction_us) {
    return refuse(ErrorCode::kInvalid, "time",
                  fmt::format("the label is {} s older than its transaction",
                              (transaction_us - event.time_us) / 1'000'000));
  };
  if (entry != nullptr) {
    if (already(entry->labels)) return duplicate(entry->labels);
    if (entry->answer.clock == Clock::kOnTime && event.time_us < entry->time_us)
      return before_transaction(entry->time_us);
    event.transaction_sequence = entry->sequence;
    result.sequence = next_sequence_++;
    pending_.subject(*entry, subject_);
    event.outcome = apply_label(entry->labels, entry, event, result.sequence, subject_, pending_.row(*entry));
    result.state = entry->labels;
  } else if (recorded && recorded->expired) {
    event.outcome = Outcome::kExpired;
    return result;
  } else if (recorded) {
    if (already(recorded->labels)) return duplicate(recorded->labels);
    const Transaction& transaction = recorded->event.transaction;
    if (recorded->event.answer.clock == Clock::kOnTime && event.time_us < transaction.time_us)
      return before_transaction(transaction.time_us);
    event.transaction_sequence = recorded->sequence;
    result.sequence = next_sequence_++;
    features_.subject(transaction, recorded->sequence, subject_);
    event.outcome =
        apply_label(recorded->labels, nullptr, event, result.sequence, subject_, recorded->event.row);
    result.state = recorded->labels;
  } else {
    if (const Orphan* orphan = find_orphan(request)) {
      event.outcome = Outcome::kDuplicate;
      result.sequence = orphan->sequence;
      return result;
    }
    // Each source has its share, so that one that floods does not lock the others out.
    const size_t share = (config_->limits.orphans_max + kSources - 1) / kSources;
    if (orphans_of_[static_cast<size_t>(request.source)] >= share) {
      return refuse(
          ErrorCode::kOverloaded, config_->schema().fields[config_->schema().id].name,
          fmt::format("the transaction is unknown and {} labels of source {} already wait for theirs "
                      "(limits.orphans_max is {} for all {} sources)",
                      share, name(request.source), config_->limits.orphans_max, kSources));
    }
    event.outcome = Outcome::kPending;
    result.sequence = next_sequence_++;
    keep_orphan(event, result.sequence);
    return result;
  }
  ++counters_.labels;
  counters_.corrections += event.outcome == Outcome::kCorrected;
  settle_changes();
  return result;
}

Result<void> Fold::replay_label(const LabelEvent& event) {
  const uint64_t sequence = next_sequence_++;
  if (event.outcome == Outcome::kPending) {
    keep_orphan(event, sequence);
    return {};
  }
  ++counters_.labels;
  counters_.corrections += event.outcome == Outcome::kCorrected;
  if (Pending::Entry* entry = pending_.find(event.transaction)) {
    pending_.subject(*entry, subject_);
    apply_label(entry->labels, entry, event, sequence, subject_, pending_.row(*entry));
    settle_changes();
    return {};
  }
  const auto found = look_up(event.transaction);
  if (!found) return tl::make_unexpected(found.error());
  const std::optional<Recorded>& recorded = *found;
  if (!recorded || recorded->expired) return {};
  // The record's label state may already hold what comes later in the log; the event says what it did here.
  features_.subject(recorded->event.transaction, recorded->sequence, subject_);
  features_.label(subject_, event.verdict);
  if (event.outcome == Outcome::kCorrected) {
    const Verdict learned = event.verdict == Verdict::kFraud ? Verdict::kLegitimate : Verdict::kFraud;
    change(event.transaction, learned, event.verdict, recorded->event.row);
  }
  settle_changes();
  return {};
}

void Fold::keep_orphan(const LabelEvent& event, uint64_t sequence) {
  ++counters_.orphans;
  const int64_t until_us = time_.known() ? time_.watermark_us() + config_->limits.orphan_keep_us : kNotYet;
  orphans_.push_back({event.transaction, event.verdict, event.source, event.time_us, until_us, sequence});
  index_orphan();
}

void Fold::index_orphan() {
  orphan_keys_[orphans_.back().transaction].push_back(first_orphan_ + orphans_.size() - 1);
  ++orphans_of_[static_cast<size_t>(orphans_.back().source)];
}

void Fold::join_orphans(Pending::Entry& entry) {
  const auto waiting = orphan_keys_.find(entry.id);
  if (waiting == orphan_keys_.end()) return;
  for (const uint64_t serial : waiting->second) {
    Orphan& joining = orphan(serial);
    LabelEvent event{joining.transaction, joining.verdict, joining.source,
                     joining.time_us,     entry.sequence,  Outcome::kStored};
    pending_.subject(entry, subject_);
    const Outcome outcome =
        apply_label(entry.labels, &entry, event, joining.sequence, subject_, pending_.row(entry));
    ++counters_.labels;
    ++counters_.orphans_joined;
    counters_.corrections += outcome == Outcome::kCorrected;
    joining.sequence = 0;
  }
  orphan_keys_.erase(waiting);
}

void Fold::expire_orphans() {
  while (!orphans_.empty() &&
         (orphans_.front().sequence == 0 || orphans_.front().until_us < time_.watermark_us())) {
    const Orphan& oldest = orphans_.front();
    if (oldest.sequence != 0) {
      ++counters_.orphans_expired;
      const auto waiting = orphan_keys_.find(oldest.transaction);
      std::erase(waiting->second, first_orphan_);
      if (waiting->second.empty()) orphan_keys_.erase(waiting);
    }
    --orphans_of_[static_cast<size_t>(oldest.source)];
    orphans_.pop_front();
    ++first_orphan_;
  }
}

uint64_t Fold::model(const ModelEvent& event, learners::ModelPtr model) {
  const uint64_t sequence = next_sequence_++;
  if (event.action == ModelAction::kRejected) {
    ++counters_.rejected;
    return sequence;
  }
  assert(model != nullptr);
  ++(event.action == ModelAction::kAccepted ? counters_.accepted : counters_.activated);
  fallbacks_.insert(fallbacks_.begin(), {champion_hash_, champion_});
  if (fallbacks_.size() > kFallbacksMax) fallbacks_.pop_back();
  champion_ = std::move(model);
  champion_hash_ = event.model;
  return sequence;
}

}  // namespace shrike::engine
