// Replays of a data directory's log.
#include <fmt/format.h>

#include <bit>
#include <chrono>
#include <unordered_map>

#include "engine/fold/policy.h"
#include "engine/lifecycle/lifecycle.h"
#include "engine/log/history.h"
#include "engine/log/recovery.h"
#include "engine/replay/replay.h"
#include "storage/store.h"

namespace shrike::engine {
namespace {

// What the log's end knows of a transaction.
struct Known {
  Verdict verdict = Verdict::kUnknown;
  Outcome outcome = Outcome::kUnreported;
};

// Each transaction's label as the log's end knows it: those that went through, matured by then and never
// labelled are legitimate.
class LabelAtEnd {
 public:
  explicit LabelAtEnd(const Config& config) : maturity_us_(config.training.maturity_us) {}

  void see(const Event& event) {
    if (const auto* label = std::get_if<LabelEvent>(&event))
      known_[label->transaction].verdict = label->verdict;
    if (const auto* outcome = std::get_if<OutcomeEvent>(&event))
      known_[outcome->transaction].outcome = outcome->outcome;
    const auto* t = std::get_if<TransactionEvent>(&event);
    if (t != nullptr && t->answer.clock == Clock::kOnTime)
      newest_us_ = std::max(newest_us_, t->transaction.time_us);
    if (const auto* repair = std::get_if<RepairEvent>(&event)) newest_us_ = repair->watermark_us;
  }

  // `answer`: as it was recorded.
  int operator()(const Transaction& transaction, const Answer& answer) const {
    const auto found = known_.find(transaction.id);
    const Known known = found == known_.end() ? Known{} : found->second;
    if (known.verdict != Verdict::kUnknown) return known.verdict == Verdict::kFraud ? 1 : 0;
    const bool tells = went_through(answer, known.outcome);
    return tells && transaction.time_us <= newest_us_ - maturity_us_ ? 0 : -1;
  }

 private:
  int64_t maturity_us_;
  int64_t newest_us_ = INT64_MIN / 2;
  std::unordered_map<Key, Known, features::KeyHash> known_;
};

tl::expected<LabelAtEnd, std::string> labels_at_end(const Config& config, const storage::Store& store) {
  LabelAtEnd labels(config);
  auto cursor = store.read(1);
  while (true) {
    auto next = cursor.next();
    if (!next) return tl::make_unexpected(next.error().reason);
    if (!*next) return labels;
    auto event = decode_event(config.schema(), (*next)->value);
    if (!event) return tl::make_unexpected(event.error());
    labels.see(*event);
  }
}

}  // namespace

tl::expected<ReplayReport, std::string> replay_recorded(ConfigPtr config, storage::Store& store,
                                                        const std::function<void(double, uint64_t)>& progress,
                                                        const Replayer::OnScore& on_score,
                                                        const Replayer::OnRow& on_row) {
  const auto labels = labels_at_end(*config, store);
  if (!labels) return tl::make_unexpected(labels.error());
  const auto started = std::chrono::steady_clock::now();
  ReplayReport report;
  NoExamples nowhere;
  StoreHistory history(store, config->plan);
  const std::unique_ptr<Fold> folding = make_fold(config, nowhere, &history);
  Fold& fold = *folding;
  ModelBook models(store, config);
  // After retention the log no longer begins at its beginning: the oldest state there is, is a checkpoint's.
  uint64_t from = 1;
  if (store.first_sequence() > 1) {
    const auto restored = restore_oldest_checkpoint(store, models, fold);
    if (!restored) return tl::make_unexpected(restored.error());
    if (*restored == 0)
      return tl::make_unexpected(std::string("the log's beginning is gone and no checkpoint is left"));
    from = fold.next_sequence();
  }
  report.first_event = from;
  report.last_event = store.last_sequence();
  StreamDays days;
  const uint64_t last = store.last_sequence();
  const auto observe = [&](uint64_t sequence, const Event& event) {
    if (progress && sequence % 4096 == 0)
      progress(static_cast<double>(sequence) / static_cast<double>(last), report.rows);
    if (const auto* model = std::get_if<ModelEvent>(&event)) {
      report.swaps.push_back({report.rows, report.days - 1, *model});
      return;
    }
    if (const auto* judgement = std::get_if<JudgementEvent>(&event)) {
      report.judgements.push_back({report.rows, report.days - 1, *judgement});
      return;
    }
    const auto* transaction = std::get_if<TransactionEvent>(&event);
    if (transaction == nullptr) return;
    days.see(transaction->transaction.time_us, transaction->answer.clock);
    report.days = days.count();
    ++report.rows;
    ++report.decisions[static_cast<size_t>(transaction->answer.decision)];
    const Answer& answer = transaction->answer;
    if (answer.step != Step::kStatic) {
      ++report.scores_compared;
      const learners::ModelPtr model = models.load(to_hex(answer.model));
      float score = -1;
      if (model) model->score(learners::MatrixView(transaction->row, config->columns.size()), {&score, 1});
      report.scores_different += std::bit_cast<uint32_t>(score) != std::bit_cast<uint32_t>(answer.score);
    }
    const int label = (*labels)(transaction->transaction, answer);
    if (on_row) on_row(transaction->transaction, transaction->row, label);
    if (on_score) on_score(transaction->transaction, answer, label);
  };
  const auto folded = fold_log(store, models, fold, nullptr, from, UINT64_MAX, observe);
  if (!folded) return tl::make_unexpected(folded.error());
  // A row that came out differently was scored differently too, had it been served now.
  report.rows_different = folded->row_differences;
  report.scores_different += folded->row_differences;
  report.arms_different = folded->arms_different;
  report.monitors = fold.watch_report();
  report.judgements_different = folded->judgements_different;
  report.counters = fold.counters();
  report.features = fold.feature_stats();
  report.pending_bytes = fold.pending_bytes();
  report.champion = fold.champion_hash();
  report.learned.by = Learned::By::kLog;
  report.learned.examples = fold.examples();
  report.learned.frauds = fold.counters().frauds;
  report.learned.stream_us = days.length_us(fold.watermark_us());
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return report;
}

tl::expected<ReplayReport, std::string> replay_log(ConfigPtr recorded, ConfigPtr config,
                                                   storage::Store& store, size_t batch,
                                                   learners::ModelPtr fixed_model,
                                                   const std::function<void(double, uint64_t)>& progress,
                                                   const Replayer::OnScore& on_score,
                                                   Replayer::OnRow on_row) {
  if (recorded->schema().fingerprint() != config->schema().fingerprint()) {
    return tl::make_unexpected(
        std::string("the configuration has another schema than the log; features and all else may differ, "
                    "fields may not"));
  }
  const auto labels = labels_at_end(*recorded, store);
  if (!labels) return tl::make_unexpected(labels.error());
  const auto started = std::chrono::steady_clock::now();
  constexpr int64_t kKeepUs = int64_t{90} * features::kDayUs;
  Replayer replayer(config, {.batch = batch, .keep_us = kKeepUs, .fixed_model = std::move(fixed_model)},
                    on_score);
  replayer.show_rows(std::move(on_row));
  ReplayReport& report = replayer.report();
  const auto refuse = [&](uint64_t sequence, const tl::expected<void, std::string>& done) {
    if (done) return;
    ++report.refused;
    report.add_refusal(fmt::format("event {}: {}", sequence, done.error()));
  };
  auto cursor = store.read(1);
  const uint64_t last = store.last_sequence();
  while (true) {
    auto next = cursor.next();
    if (!next) return tl::make_unexpected(next.error().reason);
    if (!*next) break;
    auto event = decode_event(config->schema(), (*next)->value);
    if (!event) return tl::make_unexpected(event.error());
    if (progress && (*next)->sequence % 4096 == 0)
      progress(static_cast<double>((*next)->sequence) / static_cast<double>(last), report.rows);
    if (const auto* t = std::get_if<TransactionEvent>(&*event)) {
      refuse((*next)->sequence,
             replayer.transaction(t->transaction, (*labels)(t->transaction, t->answer), t->answer.clock));
    } else if (const auto* label = std::get_if<LabelEvent>(&*event)) {
      refuse((*next)->sequence,
             replayer.label({label->transaction, label->verdict, label->source, label->time_us}));
    } else if (const auto* outcome = std::get_if<OutcomeEvent>(&*event)) {
      refuse((*next)->sequence, replayer.outcome({outcome->transaction, outcome->outcome, outcome->time_us}));
    } else if (const auto* kpi = std::get_if<KpiEvent>(&*event)) {
      // What another configuration no longer declares is left out.
      const KpiConfig* declared = find_kpi(*config, kpi->name);
      if (declared != nullptr && declared->from == KpiConfig::From::kMessages)
        refuse((*next)->sequence, replayer.kpi({kpi->transaction, kpi->name, kpi->value, kpi->time_us}));
    } else if (const auto* repair = std::get_if<RepairEvent>(&*event)) {
      replayer.repair(*repair);
    }
  }
  replayer.finish();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return std::move(report);
}

}  // namespace shrike::engine
