// Saving and restoring a Fold: the parts of a checkpoint.
#include <fmt/format.h>

#include <algorithm>

#include "engine/fold/fold.h"
#include "engine/fold/log.pb.h"

namespace shrike::engine {
namespace {

constexpr uint32_t kVersion = 1;

// In a fixed order: the saved form.
template <typename C, typename F>
void each_counter(C& c, F&& f) {
  for (auto* one :
       {&c.transactions, &c.labels, &c.corrections, &c.orphans, &c.orphans_joined, &c.orphans_expired,
        &c.matured, &c.frauds, &c.accepted, &c.rejected, &c.activated, &c.pending_released_early}) {
    f(*one);
  }
}

}  // namespace

// Retention goes by arrival where the server's clock counts: event time that was wrong erases nothing. An
// epoch whose arrival is not known is as old as the first later one where it is.
uint64_t Fold::sequence_to_keep(std::optional<int64_t> now_us) const {
  const int64_t retention_us = config_->storage.retention_us;
  if (retention_us == 0) return 0;
  uint64_t sequence = 0;
  for (const Epoch& epoch : epochs_) {
    const bool old = now_us ? epoch.arrival_us > 0 && epoch.arrival_us < *now_us - retention_us
                            : time_.known() && epoch.watermark_us < time_.watermark_us() - retention_us;
    if (old) sequence = epoch.next_sequence;
  }
  return sequence;
}

void Fold::mark_epoch(std::optional<int64_t> arrival_us) {
  epochs_.push_back({next_sequence_, time_.watermark_us(), arrival_us.value_or(0)});
  // One epoch older than the horizon is enough.
  const uint64_t keep = sequence_to_keep(arrival_us);
  std::erase_if(epochs_, [&](const Epoch& epoch) { return epoch.next_sequence < keep; });
}

void Fold::save(const std::function<void(const char*, std::string)>& sink) const {
  proto::FoldRecord record;
  record.set_version(kVersion);
  record.set_next_sequence(next_sequence_);
  time_.save(record);
  record.set_labels_recent(labels_recent_);
  record.set_transactions_recent(transactions_recent_);
  record.set_examples(examples_);
  record.set_model(champion_hash_);
  for (const auto& [hash, model] : fallbacks_) record.add_fallbacks(hash);
  for (const std::string& hash : rolled_back_) record.add_rolled_back(hash);
  for (const Orphan& orphan : orphans_) {
    if (orphan.sequence == 0) continue;
    proto::OrphanRecord& one = *record.add_orphans();
    const auto key = to_bytes(orphan.transaction);
    one.set_transaction(key.data(), key.size());
    one.set_verdict(static_cast<uint32_t>(orphan.verdict));
    one.set_source(static_cast<uint32_t>(orphan.source));
    one.set_time_us(orphan.time_us);
    one.set_until_us(orphan.until_us);
    one.set_sequence(orphan.sequence);
  }
  for (const Epoch& epoch : epochs_) {
    proto::EpochRecord& saved = *record.add_epochs();
    saved.set_sequence(epoch.next_sequence);
    saved.set_watermark_us(epoch.watermark_us);
    saved.set_arrival_us(epoch.arrival_us);
  }
  for (const Change& change : changes_) {
    proto::ChangeRecord& saved = *record.add_changes();
    const auto key = to_bytes(change.transaction);
    saved.set_transaction(key.data(), key.size());
    saved.set_learned(static_cast<uint32_t>(change.learned));
    saved.set_current(static_cast<uint32_t>(change.current));
    saved.set_row(floats_to_bytes(change.row));
    saved.set_weight(change.weight);
  }
  record.set_settle_at(settle_at_);
  each_counter(counters_, [&](uint64_t value) { record.add_counters(value); });
  record.add_counters(released_);
  record.set_ahead(counters_.ahead);
  record.set_late(counters_.late);
  record.set_unknown(counters_.unknown);
  record.set_controls(counters_.controls);
  record.set_outcomes(counters_.outcomes);
  record.set_kpis(counters_.kpis);
  record.set_judgements(counters_.judgements);
  record.set_hour(hour_);
  delays_.save(*record.mutable_delays());
  if (thresholds_.review != config_->policy.review_score ||
      thresholds_.decline != config_->policy.decline_score) {
    record.set_review_threshold(thresholds_.review);
    record.set_decline_threshold(thresholds_.decline);
  }
  record.set_training_held(training_held_);
  if (retraining_) {
    write_judgement(retraining_->asked, *record.mutable_retraining());
    record.set_retraining_asked(retraining_->sequence);
  }
  record.set_retrained(counters_.retrained);
  record.set_has_served(has_served_);
  if (change_awaited_) write_judgement(*change_awaited_, *record.mutable_change_awaited());
  if (challenger_) {
    record.set_challenger(challenger_.hash);
    record.set_challenger_share(challenger_.share);
    record.set_challenger_review(challenger_.thresholds.review);
    record.set_challenger_decline(challenger_.thresholds.decline);
    record.set_challenger_tested(challenger_.tested);
  }
  if (sampled_share_ < 1) record.set_sampled_share(sampled_share_);
  record.set_spared(counters_.spared);
  for (size_t i = 0; i < kSources; ++i) {
    if (!quarantined_[i]) continue;
    record.add_quarantined(static_cast<uint32_t>(i));
    record.add_suspended(static_cast<uint32_t>(suspended_[i]));
  }
  for (const std::string& column : dropped_.names()) record.add_dropped(column);
  sink("fold", record.SerializeAsString());
  pending_.save([&](std::string piece) { sink("pending", std::move(piece)); });
  features_.save([&](std::string piece) { sink("features", std::move(piece)); });
  if (watch_ != nullptr) watch_->save([&](std::string piece) { sink("lifecycle", std::move(piece)); });
}

tl::expected<void, std::string> Fold::restore(const std::string& part, std::string_view piece,
                                              const ModelLoader& load) {
  if (part == "pending") {
    if (!pending_.restore(piece)) return tl::make_unexpected(std::string("pending transactions are damaged"));
    return {};
  }
  if (part == "features") {
    auto done = features_.restore(piece);
    if (!done) return tl::make_unexpected(fmt::format("{}: {}", done.error().field, done.error().reason));
    return {};
  }
  if (part == "lifecycle" && watch_ != nullptr) return watch_->restore(piece);
  if (part != "fold") return {};
  proto::FoldRecord record;
  if (!record.ParseFromArray(piece.data(), static_cast<int>(piece.size()))) {
    return tl::make_unexpected(std::string("the fold's record is damaged"));
  }
  if (record.version() > kVersion) {
    return tl::make_unexpected(fmt::format("the fold's record has version {}; this Shrike reads up to {}",
                                           record.version(), kVersion));
  }
  next_sequence_ = record.next_sequence();
  time_.restore(record);
  labels_recent_ = record.labels_recent();
  transactions_recent_ = record.transactions_recent();
  examples_ = record.examples();
  if (record.model() != champion_hash_) {
    champion_ = load(record.model());
    if (champion_ == nullptr) return tl::make_unexpected(fmt::format("model {} is missing", record.model()));
    champion_hash_ = record.model();
  }
  rolled_back_.assign(record.rolled_back().begin(), record.rolled_back().end());
  fallbacks_.clear();
  for (const std::string& hash : record.fallbacks()) {
    if (auto model = load(hash)) fallbacks_.emplace_back(hash, std::move(model));
  }
  counters_.retrained = record.retrained();
  has_served_ = record.has_served();
  retraining_.reset();
  if (record.has_retraining()) {
    retraining_ = Retraining{{}, record.retraining_asked()};
    if (!read_judgement(record.retraining(), retraining_->asked))
      return tl::make_unexpected(std::string("a retraining has a value that this version does not know"));
  }
  change_awaited_.reset();
  if (record.has_change_awaited() && !read_judgement(record.change_awaited(), change_awaited_.emplace()))
    return tl::make_unexpected(std::string("a judgement has a value that this version does not know"));
  challenger_ = {};
  if (!record.challenger().empty()) {
    challenger_ = {record.challenger(),
                   load(record.challenger()),
                   record.challenger_share(),
                   {record.challenger_review(), record.challenger_decline()},
                   record.challenger_tested()};
    if (!challenger_)
      return tl::make_unexpected(fmt::format("challenger {} is missing", record.challenger()));
  }
  for (const proto::OrphanRecord& one : record.orphans()) {
    Orphan waiting{.transaction = to_key(one.transaction()),
                   .time_us = one.time_us(),
                   .until_us = one.until_us(),
                   .sequence = one.sequence()};
    if (!from_record(one.verdict(), waiting.verdict) || !from_record(one.source(), waiting.source))
      return tl::make_unexpected(std::string("a waiting label has a value that this version does not know"));
    orphans_.push_back(waiting);
    index_orphan();
  }
  for (const proto::EpochRecord& epoch : record.epochs())
    epochs_.push_back({epoch.sequence(), epoch.watermark_us(), epoch.arrival_us()});
  for (const proto::ChangeRecord& saved : record.changes()) {
    Verdict learned{}, current{};
    if (!from_record(saved.learned(), learned) || !from_record(saved.current(), current) ||
        saved.row().size() != config_->columns.size() * sizeof(float)) {
      return tl::make_unexpected(std::string("a changed label has a value that this version does not know"));
    }
    const std::vector<float> row = floats_from_bytes(saved.row());
    change({to_key(saved.transaction()), current, saved.has_weight() ? saved.weight() : 1, row}, learned);
  }
  settle_at_ = record.settle_at();
  int at = 0;
  const auto next = [&] { return at < record.counters_size() ? record.counters(at++) : 0; };
  each_counter(counters_, [&](uint64_t& value) { value = next(); });
  released_ = next();
  counters_.ahead = record.ahead();
  counters_.late = record.late();
  counters_.unknown = record.unknown();
  counters_.controls = record.controls();
  counters_.outcomes = record.outcomes();
  counters_.kpis = record.kpis();
  counters_.judgements = record.judgements();
  if (!delays_.restore(record.delays()))
    return tl::make_unexpected(std::string("what is known of label delays is damaged"));
  // Thresholds that nobody learned are the configuration's, which may have changed.
  if (record.has_review_threshold()) thresholds_ = {record.review_threshold(), record.decline_threshold()};
  if (record.challenger_decline() <= 0) challenger_.thresholds = thresholds_;  // of an earlier version
  training_held_ = record.training_held();
  sampled_share_ = record.has_sampled_share() ? std::clamp(record.sampled_share(), 0.0, 1.0) : 1;
  counters_.spared = record.spared();
  for (int i = 0; i < record.quarantined_size(); ++i) {
    Source source{};
    if (!from_record(record.quarantined(i), source))
      return tl::make_unexpected(std::string("a quarantined source is not known to this version"));
    quarantined_[static_cast<size_t>(source)] = true;
    const uint32_t kind = i < record.suspended_size() ? record.suspended(i) : 0;
    if (kind > static_cast<uint32_t>(Suspended::kLegitimate))
      return tl::make_unexpected(std::string("a quarantine is of a kind that this version does not know"));
    suspended_[static_cast<size_t>(source)] = static_cast<Suspended>(kind);
  }
  for (const std::string& column : record.dropped()) {
    if (!dropped_.columns_of(column))
      return tl::make_unexpected(fmt::format("the dropped column {} is not known", column));
    dropped_.drop(column);
  }
  hour_ = record.has_hour() ? record.hour() : INT64_MIN;
  return {};
}

}  // namespace shrike::engine
