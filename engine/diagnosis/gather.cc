#include "engine/diagnosis/gather.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <numeric>

#include "engine/diagnosis/infrastructure.h"
#include "engine/diagnosis/inputs.h"
#include "engine/diagnosis/ledger.h"
#include "engine/lifecycle/lifecycle.h"
#include "engine/log/history.h"
#include "engine/log/recovery.h"
#include "storage/store.h"

namespace shrike::engine {
namespace {

constexpr size_t kExplainedRows = 512;  // of each side
constexpr uint64_t kBlock = 512;        // events, to within which a day's begin is looked for

// The event time of the first transaction that is on time from this event on, up to `end`; nothing where
// there is none, or where the log cannot be read.
std::optional<int64_t> time_from(const storage::Store& store, const Config& config, uint64_t from,
                                 uint64_t end) {
  auto cursor = store.read(from);
  while (true) {
    const auto next = cursor.next();
    if (!next || !*next || (*next)->sequence > end) return std::nullopt;
    const auto event = decode_event(config.schema(), (*next)->value);
    const auto* transaction = event ? std::get_if<TransactionEvent>(&*event) : nullptr;
    if (transaction != nullptr && transaction->answer.clock == Clock::kOnTime)
      return transaction->transaction.time_us;
  }
}

// An event a little before the first of a day: times hardly go back.
uint64_t first_event_of(const storage::Store& store, const Config& config, int64_t day) {
  const int64_t wanted_us = (day * features::kDayUs) - config.plan->lateness_us;
  uint64_t low = store.first_sequence(), high = store.last_sequence();
  while (high - low > kBlock) {
    const uint64_t middle = low + (high - low) / 2;
    const auto time_us = time_from(store, config, middle, high);
    (time_us && *time_us < wanted_us ? low : high) = middle;
  }
  return low;
}

// Runs a part that can fail; whatever goes wrong is its own matter.
template <typename T, typename F>
void examine(Examined<T>& part, F&& f) {
  try {
    tl::expected<T, std::string> found = f();
    if (!found) {
      part.failed = found.error();
      return;
    }
    part.found = std::move(*found);
    part.failed.clear();
  } catch (const std::exception& error) {
    part.failed = error.what();
  }
}

class Reader {
 public:
  Reader(storage::Store& store, const Gathering& gathering)
      : store_(store),
        of_(gathering),
        inputs_(of_.config, of_.reference, of_.period, of_.log.complete ? of_.log.first : kNoDay),
        ledger_(of_.config, of_.reference, of_.period),
        infrastructure_(of_.config, of_.reference, of_.period) {}

  Evidence read() {
    evidence_.reference = of_.reference;
    evidence_.period = of_.period;
    evidence_.newest = of_.log.last;
    evidence_.begun = of_.log.complete ? of_.log.first : kNoDay;
    read_log();
    const int64_t now_us = now_us_ == INT64_MIN ? 0 : now_us_;
    examine(evidence_.inputs, [&] { return inputs_.changes(); });
    examine(evidence_.performance, [&] { return ledger_.performance(now_us); });
    examine(evidence_.labels, [&] { return ledger_.labels(now_us); });
    examine(evidence_.models,
            [&] { return tl::expected<ModelEvidence, std::string>(ledger_.models(now_us)); });
    examine(evidence_.infrastructure, [&] { return infrastructure_.evidence(); });
    examine(evidence_.told, [&] { return tl::expected<std::vector<Told>, std::string>(told_); });
    examine(evidence_.standing, [&] { return standing(); });
    examine(evidence_.importance, [&] { return importance(); });
    weigh_inputs();
    return std::move(evidence_);
  }

 private:
  void read_log();
  void take(uint64_t sequence, const Event& event);
  void take(uint64_t sequence, const JudgementEvent& judgement);
  tl::expected<Standing, std::string> standing();
  tl::expected<ImportanceEvidence, std::string> importance();
  void weigh_inputs();

  storage::Store& store_;
  const Gathering& of_;
  InputReader inputs_;
  Ledger ledger_;
  InfrastructureReader infrastructure_;
  std::vector<Told> told_;
  std::array<std::string, 2> champion_;  // at the end of the reference, and of the period
  int64_t now_us_ = INT64_MIN;
  Evidence evidence_;
};

// Labels that come after the period tell of it too: the log is read to its end.
void Reader::read_log() {
  const uint64_t first = first_event_of(store_, *of_.config, of_.reference.first);
  const uint64_t last = store_.last_sequence();
  auto cursor = store_.read(first);
  while (true) {
    const auto next = cursor.next();
    if (!next) {
      evidence_.log_problem = next.error().reason;
      return;
    }
    if (!*next) return;
    const uint64_t sequence = (*next)->sequence;
    const auto event = decode_event(of_.config->schema(), (*next)->value);
    if (!event) {
      if (evidence_.log_problem.empty())
        evidence_.log_problem = fmt::format("event {}, which is left out: {}", sequence, event.error());
      continue;
    }
    take(sequence, *event);
    ++evidence_.events;
    if (of_.progress && sequence % 8192 == 0)
      of_.progress(static_cast<double>(sequence - first) /
                   static_cast<double>(std::max(last - first, uint64_t{1})));
  }
}

void Reader::take(uint64_t sequence, const Event& event) {
  const int64_t day = now_us_ == INT64_MIN ? of_.log.first : day_of(now_us_);
  if (const auto* transaction = std::get_if<TransactionEvent>(&event)) {
    const Answer& answer = transaction->answer;
    if (answer.clock == Clock::kOnTime) now_us_ = std::max(now_us_, transaction->transaction.time_us);
    const int64_t of_day = day_of(transaction->transaction.time_us);
    const bool by_champion = answer.arm == Arm::kChampion && answer.step != Step::kStatic;
    if (by_champion && of_day <= of_.period.last)
      champion_[of_day >= of_.period.first ? 1 : 0] = to_hex(answer.model);
    inputs_.see(*transaction);
    ledger_.see(*transaction);
  } else if (const auto* label = std::get_if<LabelEvent>(&event)) {
    ledger_.see(*label, now_us_);
  } else if (const auto* outcome = std::get_if<OutcomeEvent>(&event)) {
    ledger_.see(*outcome);
  } else if (const auto* model = std::get_if<ModelEvent>(&event)) {
    ledger_.see(sequence, *model, now_us_);
  } else if (const auto* judgement = std::get_if<JudgementEvent>(&event)) {
    take(sequence, *judgement);
  } else if (const auto* machine = std::get_if<MachineEvent>(&event)) {
    infrastructure_.see(*machine, day);
  } else if (const auto* start = std::get_if<StartEvent>(&event)) {
    infrastructure_.see(*start, day);
  } else if (const auto* config = std::get_if<ConfigEvent>(&event)) {
    infrastructure_.see(*config, day);
  } else if (const auto* repair = std::get_if<RepairEvent>(&event)) {
    now_us_ = repair->watermark_us;
  }
}

void Reader::take(uint64_t sequence, const JudgementEvent& judgement) {
  ledger_.see(judgement);
  const int64_t day = day_of(judgement.time_us);
  if (judgement.action == Action::kDropFeature) inputs_.dropped(judgement.target, day);
  if (judgement.action == Action::kRestoreFeature) inputs_.restored(judgement.target, day);
  if (of_.period.has(day) && judgement.severity != Severity::kInfo &&
      judgement.finding != Finding::kSuccessful)
    told_.push_back({sequence, judgement});
}

tl::expected<Standing, std::string> Reader::standing() {
  NoExamples nowhere;
  StoreHistory history(store_, of_.config->plan);
  const auto fold = make_fold(of_.config, nowhere, &history);
  ModelBook models(store_, of_.config);
  if (const auto folded = restore_and_fold(store_, models, *fold, UINT64_MAX); !folded)
    return tl::make_unexpected(folded.error());
  Standing standing;
  standing.champion = fold->champion_hash();
  for (const auto& [hash, model] : fold->fallbacks()) standing.fallbacks.push_back(hash);
  for (size_t i = 0; i < kSources; ++i) {
    if (fold->quarantined(static_cast<Source>(i)))
      standing.quarantined.push_back(of_.config->sources.name(static_cast<Source>(i)));
  }
  standing.dropped = fold->dropped().names();
  standing.training_held = fold->training_held();
  standing.retraining = fold->retraining().has_value();
  standing.sampled_share = fold->sampled_share();
  return standing;
}

// What each column adds to the champion's margins, of the rows of each side.
tl::expected<ImportanceEvidence, std::string> Reader::importance() {
  ImportanceEvidence evidence;
  evidence.model = champion_;
  ModelBook models(store_, of_.config);
  const size_t width = of_.config->columns.size();
  std::array<std::vector<double>, 2> shares;
  for (const size_t side : {0, 1}) {
    const Days days = side == 0 ? of_.reference : of_.period;
    const std::vector<float> rows = inputs_.rows(days, kExplainedRows);
    if (rows.empty())
      return tl::make_unexpected(
          fmt::format("no transaction came from {} to {}", day_name(days.first), day_name(days.last)));
    const auto model = models.load(champion_[side]);
    if (model == nullptr)
      return tl::make_unexpected(fmt::format("model {} is missing or cannot be read", champion_[side]));
    std::vector<double>& share = shares[side];
    share.assign(width, 0);
    std::vector<double> parts(width);
    for (size_t at = 0; at < rows.size(); at += width) {
      model->explain({&rows[at], width}, parts);
      for (size_t c = 0; c < width; ++c) share[c] += std::isfinite(parts[c]) ? std::fabs(parts[c]) : 0;
    }
    const double all = std::accumulate(share.begin(), share.end(), 0.0);
    for (double& one : share) one = all > 0 ? one / all : 0;
  }
  for (size_t c = 0; c < width; ++c) {
    evidence.columns.push_back({of_.config->columns[c].name, {shares[0][c], shares[1][c]}});
    evidence.distance += std::fabs(shares[1][c] - shares[0][c]) / 2;
  }
  std::stable_sort(evidence.columns.begin(), evidence.columns.end(), [](const auto& a, const auto& b) {
    return std::fabs(a.share[1] - a.share[0]) > std::fabs(b.share[1] - b.share[0]);
  });
  return evidence;
}

void Reader::weigh_inputs() {
  if (!evidence_.importance) return;
  for (ColumnChange& change : evidence_.inputs.found.changed) {
    for (const ImportanceEvidence::One& one : evidence_.importance.found.columns) {
      if (one.column == change.column) change.importance = one.share[0];
    }
    evidence_.inputs.found.changed_importance += change.importance;
  }
}

}  // namespace

Evidence gather(storage::Store& store, const Gathering& gathering) { return Reader(store, gathering).read(); }

tl::expected<LogDays, std::string> days_of(const storage::Store& store, const Config& config) {
  LogDays days;
  const uint64_t first = store.first_sequence(), last = store.last_sequence();
  days.complete = first <= 1;
  const auto begun_us = first == 0 ? std::nullopt : time_from(store, config, first, last);
  if (!begun_us) return tl::make_unexpected(std::string("the log has no transaction yet"));
  days.first = days.last = day_of(*begun_us);
  // The newest time stands near the end, before which there may be labels alone.
  for (uint64_t back = 1024;; back *= 8) {
    const uint64_t from = last > back ? std::max(first, last - back) : first;
    bool found = false;
    for (uint64_t at = from; at <= last;) {
      auto cursor = store.read(at);
      const auto next = cursor.next();
      if (!next || !*next) break;
      const auto event = decode_event(config.schema(), (*next)->value);
      const auto* t = event ? std::get_if<TransactionEvent>(&*event) : nullptr;
      if (t != nullptr && t->answer.clock == Clock::kOnTime) {
        found = true;
        days.last = std::max(days.last, day_of(t->transaction.time_us));
      }
      at = (*next)->sequence + std::max<uint64_t>(back / 1024, 1);
    }
    if (found || from == first) return days;
  }
}

tl::expected<Days, std::string> period_of(const LogDays& log, const Asked& asked) {
  const int64_t all = log.last - log.first + 1;
  Days period{0, asked.to.value_or(log.last)};
  period.first = asked.from.value_or(period.last - std::clamp<int64_t>(all / 3, 1, kPeriodDays) + 1);
  if (period.count() == 0)
    return tl::make_unexpected(
        fmt::format("--from {} is after --to {}", day_name(period.first), day_name(period.last)));
  if (period.first > log.last || period.last < log.first)
    return tl::make_unexpected(fmt::format("the log has {} to {}", day_name(log.first), day_name(log.last)));
  if (period.first <= log.first)
    return tl::make_unexpected(fmt::format(
        "the log begins on {}, and a day before the period is needed to compare with: --from {} or later",
        day_name(log.first), day_name(log.first + 1)));
  return period;
}

Days reference_of(const LogDays& log, const Days& period, int64_t days) {
  return {std::max(log.first, period.first - days), period.first - 1};
}

}  // namespace shrike::engine
