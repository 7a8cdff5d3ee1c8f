// The fold's labels and outcomes: what they do to their transactions, and those that wait for theirs.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "engine/fold/fold.h"
#include "engine/fold/policy.h"

namespace shrike::engine {
namespace {

// So many events after the first of them, changes of what was learned are learned: a label that flips costs
// learning as little as one that changes once.
constexpr uint64_t kSettleAfter = 1024;
constexpr double kKpiMost = 1e12;  // of a value, either way

// What has left memory is.
template <typename Labelling>
bool is_of_age(const Labelling& of) {
  return of.entry == nullptr || of.entry->matured;
}

}  // namespace

// Whether a source that says so is listened to.
bool Fold::counts(Source source, Verdict verdict) const {
  const size_t at = static_cast<size_t>(source);
  if (verdict == Verdict::kUnknown || config_->sources.of(source).trust == DeclaredSource::Trust::kNone)
    return false;
  if (!quarantined_[at]) return true;
  const Suspended suspended = suspended_[at];
  return suspended != Suspended::kAll &&
         (verdict == Verdict::kFraud) == (suspended == Suspended::kLegitimate);
}

// The source whose verdict counts: of those that are trusted the one of the highest precedence, of equal ones
// the newest. One that is unsure counts only where nobody knows.
std::optional<Source> Fold::in_force(const LabelState& state) const {
  std::optional<Source> best;
  const auto standing = [&](size_t i) {
    const DeclaredSource& source = config_->sources.of(static_cast<Source>(i));
    return std::tuple(state.by_source[i] != Verdict::kUnsure, source.precedence, state.rank[i]);
  };
  for (size_t i = 0; i < kSources; ++i) {
    const Source source = static_cast<Source>(i);
    if (!counts(source, state.by_source[i])) continue;
    if (!best || standing(i) > standing(static_cast<size_t>(*best))) best = source;
  }
  return best;
}

void Fold::decide(LabelState& state) const {
  const auto source = in_force(state);
  state.current = source ? state.by_source[static_cast<size_t>(*source)] : Verdict::kUnknown;
}

bool Fold::silence_tells(const Answer& answer, const LabelState& state) const {
  return silence_tells_ && state.current != Verdict::kUnsure && went_through(answer, state.outcome);
}

// What a transaction is known to be: by a verdict, or by its silence.
Verdict Fold::known(const Labelling& of) const {
  const Verdict verdict = of.state.current;
  if (verdict == Verdict::kFraud || verdict == Verdict::kLegitimate) return verdict;
  const bool matured = is_of_age(of);
  return matured && silence_tells(of.answer, of.state) ? Verdict::kLegitimate : Verdict::kUnknown;
}

// The features see the verdict that counts now.
void Fold::show(const Labelling& of) {
  const Verdict verdict = of.state.current;
  const bool matured = is_of_age(of);
  const bool hidden = verdict == Verdict::kUnsure ||
                      (verdict == Verdict::kUnknown && matured && !silence_tells(of.answer, of.state));
  hidden ? features_.hide(of.subject) : features_.label(of.subject, verdict);
}

Example Fold::example(const Labelling& of, const Key& transaction, Verdict verdict) const {
  const auto source = in_force(of.state);
  const double weight = source ? config_->sources.of(*source).weight : 1;
  return {transaction, verdict, weight_of(of.answer) * static_cast<float>(weight), of.row};
}

// What a label does to its transaction, which is present with its logged row. The features see it at once;
// the learner now, or when the transaction matures (see LearnWhen).
void Fold::apply_label(const Labelling& of, LabelEvent& event, uint64_t sequence) {
  LabelState& state = of.state;
  const Verdict said = state.current, before = known(of);
  const bool matured = is_of_age(of);
  note(state, event.source, event.verdict);
  state.sequence = sequence;
  decide(state);
  event.outcome = state.current == event.verdict ? Effect::kStored : Effect::kKept;
  if (state.current == said) return;
  if (!matured && said == Verdict::kUnknown) labels_recent_ += 1;
  const Verdict after = known(of);
  event.reveals = matured && before == Verdict::kUnknown && after != Verdict::kUnknown;
  show(of);
  if (before != after) note_delay(of.subject, event, of.answer);
  if (before == after || after == Verdict::kUnknown) return;
  const bool corrects = before != Verdict::kUnknown;
  if (corrects) event.outcome = Effect::kCorrected;
  counters_.corrections += corrects;
  const bool hold = !matured && !learn_at_once(event.source);
  if (of.entry != nullptr) of.entry->held = hold;
  const Example learned = example(of, event.transaction, after);
  if (!hold && corrects) change(learned, before);
  if (!hold && !corrects) emit(learned);
  if (of.entry != nullptr) settle(*of.entry, after, event.source);
}

// A source is trusted no more, or again: what it said is taken back, or counts, where it made a difference to
// what is in memory. What was learned of it is learned anew, once.
void Fold::trust(Source source, bool trusted, Suspended suspended) {
  const size_t at = static_cast<size_t>(source);
  quarantined_[at] = !trusted;
  suspended_[at] = suspended;
  pending_.each([&](Pending::Entry& entry) {
    if (entry.labels.by_source[at] == Verdict::kUnknown) return;
    pending_.subject(entry, subject_);
    const Labelling of{entry.labels, &entry, entry.answer, subject_, pending_.row(entry)};
    const Verdict said = entry.labels.current, before = known(of);
    decide(entry.labels);
    if (entry.labels.current == said) return;
    show(of);
    const Verdict after = known(of);
    if (before == after) return;
    if (after == Verdict::kUnknown) {
      // Most of what such a source calls fraud is none; what was told of it stands corrected.
      if (entry.settled == Verdict::kFraud) settle(entry, Verdict::kLegitimate, source);
      entry.held = false;
      return;
    }
    if (entry.held) return;
    if (before == Verdict::kUnknown && !entry.matured && !learn_at_once(source)) {
      entry.held = true;
    } else {
      change(example(of, entry.id, after), before);
    }
    settle(entry, after, source);
  });
}

// Only what went through by our own decision gets its label as chargebacks come.
void Fold::note_delay(const features::Subject& subject, const LabelEvent& event, const Answer& answer) {
  if (event.verdict == Verdict::kFraud && went_through(answer, Outcome::kUnreported))
    delays_.add(subject.time_us, event.time_us, time_.watermark_us());
}

void Fold::change(const Example& example, Verdict learned) {
  const auto [at, added] = change_of_.try_emplace(example.transaction, changes_.size());
  if (!added) {
    changes_[at->second].current = example.verdict;
    return;
  }
  if (changes_.empty()) settle_at_ = next_sequence_ + kSettleAfter;
  changes_.push_back({example.transaction,
                      learned,
                      example.verdict,
                      example.weight,
                      {example.row.begin(), example.row.end()}});
}

void Fold::settle_changes() {
  if (changes_.empty() || next_sequence_ < settle_at_) return;
  for (const Change& change : changes_) {
    if (change.current != change.learned)
      emit({change.transaction, change.current, change.weight, change.row});
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
    event.outcome = Effect::kDuplicate;
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
    apply_label({entry->labels, entry, entry->answer, subject_, pending_.row(*entry)}, event,
                result.sequence);
    result.state = entry->labels;
  } else if (recorded && recorded->expired) {
    event.outcome = Effect::kExpired;
    return result;
  } else if (recorded) {
    if (already(recorded->labels)) return duplicate(recorded->labels);
    const Transaction& transaction = recorded->event.transaction;
    if (recorded->event.answer.clock == Clock::kOnTime && event.time_us < transaction.time_us)
      return before_transaction(transaction.time_us);
    event.transaction_sequence = recorded->sequence;
    result.sequence = next_sequence_++;
    features_.subject(transaction, recorded->sequence, subject_);
    apply_label({recorded->labels, nullptr, recorded->event.answer, subject_, recorded->event.row}, event,
                result.sequence);
    result.state = recorded->labels;
  } else {
    if (const Orphan* orphan = find_orphan(request)) {
      event.outcome = Effect::kDuplicate;
      result.sequence = orphan->sequence;
      return result;
    }
    // Each source has its share, so that one that floods does not lock the others out.
    const size_t sources = config_->sources.declared.size();
    const size_t share = (config_->limits.orphans_max + sources - 1) / sources;
    if (orphans_of_[static_cast<size_t>(request.source)] >= share) {
      return refuse(
          ErrorCode::kOverloaded, config_->schema().fields[config_->schema().id].name,
          fmt::format("the transaction is unknown and {} labels of source {} already wait for theirs "
                      "(limits.orphans_max is {} for all {} sources)",
                      share, config_->sources.name(request.source), config_->limits.orphans_max, sources));
    }
    event.outcome = Effect::kPending;
    result.sequence = next_sequence_++;
    keep_orphan(event, result.sequence);
    return result;
  }
  ++counters_.labels;
  if (watch_ != nullptr)
    watch_->labelled(
        {event, result.state, entry != nullptr ? &entry->answer : &recorded->event.answer, subject_.time_us});
  settle_changes();
  return result;
}

Result<void> Fold::replay_label(const LabelEvent& event) {
  const uint64_t sequence = next_sequence_++;
  if (event.outcome == Effect::kPending) {
    keep_orphan(event, sequence);
    return {};
  }
  ++counters_.labels;
  if (Pending::Entry* entry = pending_.find(event.transaction)) {
    pending_.subject(*entry, subject_);
    LabelEvent label = event;
    apply_label({entry->labels, entry, entry->answer, subject_, pending_.row(*entry)}, label, sequence);
    if (watch_ != nullptr) watch_->labelled({label, entry->labels, &entry->answer, entry->time_us});
    settle_changes();
    return {};
  }
  const auto found = look_up(event.transaction);
  if (!found) return tl::make_unexpected(found.error());
  const std::optional<Recorded>& recorded = *found;
  if (!recorded || recorded->expired) return {};
  if (event.outcome == Effect::kKept) {
    settle_changes();
    return {};
  }
  // The record's label state may already hold what comes later in the log; the event says what it did here.
  features_.subject(recorded->event.transaction, recorded->sequence, subject_);
  event.verdict == Verdict::kUnsure ? features_.hide(subject_) : features_.label(subject_, event.verdict);
  if (event.outcome == Effect::kCorrected || event.reveals)
    note_delay(subject_, event, recorded->event.answer);
  counters_.corrections += event.outcome == Effect::kCorrected;
  const Answer& answer = recorded->event.answer;
  const Example example{event.transaction, event.verdict,
                        weight_of(answer) * static_cast<float>(config_->sources.of(event.source).weight),
                        recorded->event.row};
  if (event.outcome == Effect::kCorrected)
    change(example, event.verdict == Verdict::kFraud ? Verdict::kLegitimate : Verdict::kFraud);
  if (event.reveals) emit(example);
  if (watch_ != nullptr) {
    LabelState state = recorded->labels;
    note(state, event.source, event.verdict);
    state.current = event.verdict;
    watch_->labelled({event, state, &answer, subject_.time_us});
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
                     joining.time_us,     entry.sequence,  Effect::kStored};
    pending_.subject(entry, subject_);
    apply_label({entry.labels, &entry, entry.answer, subject_, pending_.row(entry)}, event, joining.sequence);
    ++counters_.labels;
    ++counters_.orphans_joined;
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

// A transaction of which we hear late that it went through has been silent for as long. What was learned of
// the silence of one that did not stays learned, and is not learned again.
void Fold::apply_outcome(const Labelling& of, OutcomeEvent& event, uint64_t sequence) {
  const bool matured = is_of_age(of);
  const bool before = went_through(of.answer, of.state.outcome),
             after = went_through(of.answer, event.outcome);
  of.state.outcome = event.outcome;
  of.state.sequence = sequence;
  event.tells = matured && silence_tells_ && before != after && of.state.current == Verdict::kUnknown;
  if (!event.tells) return;
  show_or_hide(of.subject, after);
  if (!after) return;
  if (of.entry != nullptr && of.entry->settled == Verdict::kLegitimate) return;
  emit({event.transaction, Verdict::kLegitimate, weight_of(of.answer), of.row});
  if (of.entry != nullptr) settle(*of.entry, Verdict::kLegitimate, Source::kMatured);
}

void Fold::show_or_hide(const features::Subject& subject, bool shown) {
  shown ? features_.label(subject, Verdict::kUnknown) : features_.hide(subject);
}

Result<OutcomeResult> Fold::outcome(const OutcomeRequest& request) {
  OutcomeResult result;
  result.event = {request.transaction, request.outcome, request.time_us.value_or(time_.watermark_us()), 0};
  const auto take = [&](const Labelling& of, uint64_t transaction_sequence) {
    result.duplicate = of.state.outcome == request.outcome;
    if (!result.duplicate) {
      ++counters_.outcomes;
      result.event.transaction_sequence = transaction_sequence;
      result.sequence = next_sequence_++;
      apply_outcome(of, result.event, result.sequence);
      settle_changes();
    }
    result.state = of.state;
    return result;
  };
  if (Pending::Entry* entry = pending_.find(request.transaction)) {
    pending_.subject(*entry, subject_);
    return take({entry->labels, entry, entry->answer, subject_, pending_.row(*entry)}, entry->sequence);
  }
  auto recorded = look_up(request.transaction);
  if (!recorded) return tl::make_unexpected(recorded.error());
  if (!*recorded || (*recorded)->expired) {
    return refuse(ErrorCode::kNotFound, config_->schema().fields[config_->schema().id].name,
                  *recorded ? "retention has taken this transaction"
                            : "no transaction has this id; an outcome follows its transaction's answer");
  }
  Recorded& found = **recorded;
  features_.subject(found.event.transaction, found.sequence, subject_);
  return take({found.labels, nullptr, found.event.answer, subject_, found.event.row}, found.sequence);
}

Result<void> Fold::check_kpi(const KpiRequest& request) const {
  const KpiConfig* kpi = find_kpi(*config_, request.name);
  if (kpi == nullptr || kpi->from != KpiConfig::From::kMessages) {
    std::vector<std::string> known;
    for (const KpiConfig& one : config_->kpis) {
      if (one.from == KpiConfig::From::kMessages) known.push_back(one.name);
    }
    return refuse(ErrorCode::kUnknownField, request.name.substr(0, 64),
                  kpi != nullptr ? std::string("this KPI is the label's rate: send labels")
                  : known.empty()
                      ? std::string("the configuration declares no KPI that is reported; add [kpi.NAME]")
                      : fmt::format("no such KPI; the configuration has {}", fmt::join(known, ", ")));
  }
  const bool is_rate = kpi->kind == KpiConfig::Kind::kRate;
  if (is_rate ? request.value != 0 && request.value != 1 : !(std::fabs(request.value) <= kKpiMost))
    return refuse(ErrorCode::kInvalid, "value",
                  is_rate
                      ? fmt::format("found {}; {} is a rate: 1 for yes, 0 for no", request.value, kpi->name)
                      : fmt::format("expected a number of at most {:g}", kKpiMost));
  return {};
}

Result<KpiResult> Fold::kpi(const KpiRequest& request) {
  if (auto fine = check_kpi(request); !fine) return tl::make_unexpected(fine.error());
  KpiResult result;
  KpiEvent& event = result.event;
  event = {.transaction = request.transaction,
           .name = request.name,
           .value = request.value,
           .time_us = request.time_us.value_or(time_.watermark_us())};
  const auto take = [&](LabelState& state, const Answer& answer) -> Result<KpiResult> {
    if (answer.clock == Clock::kOnTime && event.time_us < event.transaction_us) {
      return refuse(ErrorCode::kInvalid, "time",
                    fmt::format("the KPI is {} s older than its transaction",
                                (event.transaction_us - event.time_us) / 1'000'000));
    }
    result.duplicate = (state.kpis & kpi_bit(request.name)) != 0;
    if (!result.duplicate) {
      event.arm = answer.arm;
      event.step = answer.step;
      state.kpis |= kpi_bit(request.name);
      state.sequence = result.sequence = next_sequence_++;
      ++counters_.kpis;
      if (watch_ != nullptr) watch_->kpi(event);
      settle_changes();
    }
    result.state = state;
    return result;
  };
  if (Pending::Entry* entry = pending_.find(request.transaction)) {
    event.transaction_sequence = entry->sequence;
    event.transaction_us = entry->time_us;
    event.entity = rollout_entity(*entry);
    return take(entry->labels, entry->answer);
  }
  auto recorded = look_up(request.transaction);
  if (!recorded) return tl::make_unexpected(recorded.error());
  if (!*recorded || (*recorded)->expired) {
    return refuse(ErrorCode::kNotFound, config_->schema().fields[config_->schema().id].name,
                  *recorded ? "retention has taken this transaction"
                            : "no transaction has this id; a KPI follows its transaction's answer");
  }
  Recorded& found = **recorded;
  features_.subject(found.event.transaction, found.sequence, subject_);
  event.transaction_sequence = found.sequence;
  event.transaction_us = found.event.transaction.time_us;
  const size_t kind = config_->rollout.entity_kind;
  event.entity = kind < subject_.entities.size() ? features::mix(subject_.entities[kind])
                                                 : features::mix(request.transaction);
  return take(found.labels, found.event.answer);
}

// What the transaction's state in the log's index says of it may already hold what comes later.
void Fold::replay_kpi(const KpiEvent& event) {
  const uint64_t sequence = next_sequence_++;
  ++counters_.kpis;
  if (Pending::Entry* entry = pending_.find(event.transaction)) {
    entry->labels.kpis |= kpi_bit(event.name);
    entry->labels.sequence = sequence;
  }
  if (watch_ != nullptr) watch_->kpi(event);
  settle_changes();
}

Result<void> Fold::replay_outcome(const OutcomeEvent& event) {
  const uint64_t sequence = next_sequence_++;
  ++counters_.outcomes;
  if (Pending::Entry* entry = pending_.find(event.transaction)) {
    pending_.subject(*entry, subject_);
    OutcomeEvent reported = event;
    apply_outcome({entry->labels, entry, entry->answer, subject_, pending_.row(*entry)}, reported, sequence);
  } else if (event.tells) {
    const auto found = look_up(event.transaction);
    if (!found) return tl::make_unexpected(found.error());
    const std::optional<Recorded>& recorded = *found;
    if (recorded && !recorded->expired) {
      // As with labels, the record's state may already hold what comes later in the log.
      const Answer& answer = recorded->event.answer;
      const bool shown = went_through(answer, event.outcome);
      features_.subject(recorded->event.transaction, recorded->sequence, subject_);
      show_or_hide(subject_, shown);
      if (shown) emit({event.transaction, Verdict::kLegitimate, weight_of(answer), recorded->event.row});
    }
  }
  settle_changes();
  return {};
}

}  // namespace shrike::engine
