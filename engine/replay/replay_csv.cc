// Replays of a CSV, with each fraud's label a delay after its transaction.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <deque>

#include "engine/replay/csv.h"
#include "engine/replay/replay.h"

namespace shrike::engine {
namespace {

// All ids of a replay, so that a duplicate gets the first answer however old it is.
class SeenIds {
 public:
  // The row of the first transaction with this id; kNone when it is new, which is then noted.
  uint64_t find_or_add(const Key& id) {
    const uint64_t row = index_.find(id);
    if (row == features::KeyIndex::kNone) index_.insert(id, next_++);
    return row;
  }

 private:
  features::KeyIndex index_;
  uint64_t next_ = 0;
};

class CsvReplay {
 public:
  CsvReplay(const Config& config, const CsvReplayOptions& options, CsvReader& reader,
            const Replayer::OnScore& on_score)
      : options_(options),
        reader_(reader),
        replayer_(as_told(config, options),
                  {.batch = options.hide_declined ? 1 : options.batch,  // a label depends on the decision
                   .keep_us = options.label_delay_us * (options.exponential_delay ? 6 : 1),
                   .fixed_model = options.fixed_model,
                   .first_model = options.first_model,
                   .live = options.live,
                   .time_calls = options.time_calls},
                  [this, on_score](const Transaction& transaction, const Answer& answer, int label) {
                    answer_ = answer;
                    if (on_score) on_score(transaction, answer, label);
                  }) {
    replayer_.show_rows(options.on_row);
  }

  tl::expected<ReplayReport, std::string> run() {
    const auto started = std::chrono::steady_clock::now();
    Transaction transaction;
    int label = -1;
    for (CsvReader::Line line; (line = reader_.next(transaction, label)) != CsvReader::Line::kEnd;) {
      if (line == CsvReader::Line::kBroken) return tl::make_unexpected(reader_.error());
      auto taken = line == CsvReader::Line::kBad ? refuse(report().skipped, reader_.error())
                                                 : take(transaction, label);
      if (!taken) return tl::make_unexpected(taken.error());
    }
    replayer_.finish();
    report().learned.label_delay_us = options_.label_delay_us;
    report().learned.labels_outstanding = due_.size();
    report().seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    return std::move(report());
  }

 private:
  using Done = tl::expected<void, std::string>;
  struct DueLabel {
    int64_t due_us;
    Key transaction;
    Verdict verdict;
    Source source;
  };

  // Where a file tells every label, whatever would have been decided, each transaction went through.
  static ConfigPtr as_told(const Config& config, const CsvReplayOptions& options) {
    auto told = std::make_shared<Config>(config);
    if (!options.hide_declined || options.naive) {
      told->policy.decline_hides = told->policy.review_hides = false;
      told->control.share = 0;
    }
    return told;
  }

  ReplayReport& report() { return replayer_.report(); }

  // An error unless the replay goes on without such lines.
  Done refuse(uint64_t& count, const std::string& why) {
    if (options_.stop_on_error)
      return tl::make_unexpected(why + " (--on-error skip goes on without such lines)");
    ++count;
    report().add_refusal(why);
    return {};
  }

  Done take(const Transaction& transaction, int label) {
    give_labels_until(transaction.time_us);
    if (seen_.find_or_add(transaction.id) != features::KeyIndex::kNone) {
      ++report().duplicates;
      return {};
    }
    if (auto done = replayer_.transaction(transaction, label); !done)
      return refuse(report().refused, fmt::format("{}: {}", reader_.place(), done.error()));
    if (label >= 0) expect_label(transaction, label == 1);
    ++rows_;
    if (options_.progress && rows_ % 8192 == 0) options_.progress(reader_.progress(), rows_);
    if (options_.restore_at && rows_ == *options_.restore_at) return replayer_.save_and_restore();
    return {};
  }

  // Every label that is due by now comes before the transaction in hand.
  void give_labels_until(int64_t time_us) {
    for (; !due_.empty() && due_.front().due_us <= time_us; due_.pop_front()) {
      const DueLabel& due = due_.front();
      // Its transaction is known and its label new: nothing can refuse it.
      (void)replayer_.label({due.transaction, due.verdict, due.source, due.due_us});
    }
  }

  void expect_label(const Transaction& transaction, bool fraud) {
    const bool reviewed = options_.hide_declined && answer_.decision == Decision::kReview;
    if (options_.hide_declined && answer_.decision == Decision::kDecline) return;
    if (!fraud && !reviewed) return;  // silence tells
    expect_label({transaction.time_us + delay_us(transaction.id), transaction.id,
                  fraud ? Verdict::kFraud : Verdict::kLegitimate,
                  reviewed ? Source::kAnalyst : Source::kChargeback});
  }

  int64_t delay_us(const Key& transaction) const {
    if (!options_.exponential_delay) return options_.label_delay_us;
    const uint64_t draw = features::scramble(features::mix(transaction) ^ 0x64656c6179ull);
    return static_cast<int64_t>(-std::log((static_cast<double>(draw >> 11) + 0.5) * 0x1p-53) *
                                static_cast<double>(options_.label_delay_us));
  }

  void expect_label(const DueLabel& expected) {
    auto at = due_.end();
    while (at != due_.begin() && std::prev(at)->due_us > expected.due_us) --at;
    due_.insert(at, expected);
  }

  const CsvReplayOptions& options_;
  CsvReader& reader_;
  Replayer replayer_;
  SeenIds seen_;
  Answer answer_;             // the newest
  std::deque<DueLabel> due_;  // labels on their way; silence tells of the rest
  uint64_t rows_ = 0;
};

}  // namespace

tl::expected<ReplayReport, std::string> replay_csv(ConfigPtr config, const std::string& path,
                                                   const CsvReplayOptions& options,
                                                   const Replayer::OnScore& on_score) {
  auto reader = CsvReader::open(path, config->schema(), true);
  if (!reader) return tl::make_unexpected(reader.error());
  if (options.notice) {
    for (const std::string& note : (*reader)->notes()) options.notice(note);
  }
  return CsvReplay(*config, options, **reader, on_score).run();
}

}  // namespace shrike::engine
