// shrike replay
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "engine/replay/comparison.h"
#include "engine/replay/replay.h"
#include "engine/wire/event_json.h"
#include "learners/formats/import.h"
#include "tools/commands.h"
#include "tools/comparison_report.h"
#include "tools/data_dir.h"
#include "tools/day_table.h"
#include "tools/json.h"
#include "tools/learned.h"
#include "tools/measure.h"
#include "tools/progress.h"
#include "tools/row_writer.h"

namespace shrike::tools {
namespace {

// A part is not the whole.
void say_coverage(const engine::ReplayReport& report) {
  if (report.first_event <= 1) return;
  fmt::print("of events {} to {}: retention has taken what was before, and with it {} of {} events\n",
             report.first_event, report.last_event, report.first_event - 1, report.last_event);
}

using engine::Answer;
using engine::DayRange;
using engine::Metrics;
using engine::Prequential;
using engine::ReplayReport;
using engine::Transaction;

const std::map<std::string, learners::Kernel> kKernels = {{"auto", learners::Kernel::kAuto},
                                                          {"scalar", learners::Kernel::kScalar},
                                                          {"avx2", learners::Kernel::kAvx2},
                                                          {"avx512", learners::Kernel::kAvx512}};

struct Options {
  std::string input, config, days, compare, scores, answers, rows, json, csv, model,
      kernel = "auto", label_delay, on_error = "stop";
  size_t batch = 256;
  uint64_t restore_at = 0;
  std::optional<double> control;
  bool json_to_stdout = false, quiet = false, learn = false, hide_declined = false, naive = false;
};

size_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<size_t>(usage.ru_maxrss) * 1024;
}

constexpr const char* kRecall = "recall_at_fpr_2pct";

Json swaps_json(const ReplayReport& report) {
  Json swaps = Json::array();
  for (const auto& swap : report.swaps) {
    Json one = {{"row", swap.row}, {"day", swap.day}};
    one.update(model_event_json(swap.event));
    swaps.push_back(std::move(one));
  }
  return swaps;
}

Json judgements_json(const ReplayReport& report) {
  Json judgements = Json::array();
  for (const auto& judged : report.judgements) {
    Json one = {{"row", judged.row}, {"day", judged.day}};
    one.update(engine::judgement_json(judged.event));
    judgements.push_back(std::move(one));
  }
  return judgements;
}

size_t accepted_models(const ReplayReport& report) {
  return static_cast<size_t>(std::count_if(report.swaps.begin(), report.swaps.end(), [](const auto& swap) {
    return engine::takes_over(swap.event.action);
  }));
}

double per_second(const ReplayReport& report) {
  return static_cast<double>(report.rows) / std::max(report.seconds, 1e-9);
}

Json run_json(const ReplayReport& report, DayRange days) {
  return {
      {"rows_replayed", report.rows},
      {"days", report.days},
      {"first_day", days.first},
      {"last_day", std::min(days.last, report.days - 1)},
      {"duplicates", report.duplicates},
      {"refused", report.refused},
      {"skipped", report.skipped},
      {"seconds", report.seconds},
      {"transactions_per_second", std::llround(per_second(report))},
      {"state_bytes", report.state_bytes()},
      {"pending_bytes", report.pending_bytes},
      {"learner_bytes", report.learner_bytes},
      {"peak_resident_bytes", peak_resident_bytes()},
      {"decisions",
       {{"approve", report.decisions[0]}, {"review", report.decisions[1]}, {"decline", report.decisions[2]}}},
      {"labels", report.counters.labels},
      {"matured", report.counters.matured},
      {"corrections", report.counters.corrections},
      {"unknown", report.counters.unknown},
      {"controls", report.counters.controls},
      {"outcomes", report.counters.outcomes}};
}

// What a replay gave, for reports.
struct Outcome {
  const ReplayReport& report;
  const engine::Config& config;
  const Prequential& prequential;
  DayRange days;
  DayTable table;  // of one learner
  std::optional<engine::Comparison> comparison;
};

Json report_json(const Outcome& outcome) {
  const ReplayReport& report = outcome.report;
  Json all = Json::object();
  add_metrics(all, outcome.prequential.overall(outcome.days), kRecall);
  all.update(run_json(report, outcome.days));
  all.update(learned_json(report, outcome.config));
  all.update({{"swaps", accepted_models(report)},
              {"champion", report.champion},
              {"first_event", report.first_event},
              {"last_event", report.last_event},
              {"scores_compared", report.scores_compared},
              {"scores_different", report.scores_different},
              {"models", swaps_json(report)},
              {"judgements", judgements_json(report)},
              {"arms_different", report.arms_different},
              {"judgements_different", report.judgements_different},
              {"monitors", from_text(report.monitors)},
              {"by_day", outcome.table.to_json(0, outcome.days, kRecall)}});
  if (outcome.comparison) all["comparison"] = comparison_json(*outcome.comparison);
  return all;
}

void print_line(const char* what, const std::string& value) { fmt::print("{:<28}{}\n", what, value); }

void print_run(const ReplayReport& report) {
  const size_t accepted = accepted_models(report);
  print_line("transactions", fmt::format("{} over {} days", report.rows, report.days));
  if (report.skipped + report.duplicates + report.refused > 0) {
    print_line("left out", fmt::format("{} bad lines, {} duplicates, {} refused", report.skipped,
                                       report.duplicates, report.refused));
  }
  print_line("throughput",
             fmt::format("{:.0f} transactions/s ({:.2f} s)", per_second(report), report.seconds));
  print_line("labels joined",
             fmt::format("{} given, {} matured by silence, {} corrected", report.counters.labels,
                         report.counters.matured, report.counters.corrections));
  print_line("learned", describe_learned(report));
  print_line("models", fmt::format("{} accepted, {} refused, champion {}", accepted,
                                   report.swaps.size() - accepted, report.champion.substr(0, 12)));
  print_line("decisions", fmt::format("{} approve, {} review, {} decline", report.decisions[0],
                                      report.decisions[1], report.decisions[2]));
}

void print_memory(const ReplayReport& report) {
  const auto mib = [](size_t bytes) { return static_cast<double>(bytes) / 1048576; };
  for (const auto& one : report.features) {
    print_line("state", fmt::format("{}: {} entities, {} events, {:.1f} MiB ({} bytes an entity)", one.name,
                                    one.entities, one.events, mib(one.bytes),
                                    one.entities == 0 ? 0 : one.bytes / one.entities));
  }
  print_line(
      "memory",
      fmt::format("features {:.1f} MiB, pending {:.1f} MiB, learner {:.1f} MiB, peak resident {:.1f} MiB",
                  mib(report.state_bytes()), mib(report.pending_bytes), mib(report.learner_bytes),
                  mib(peak_resident_bytes())));
}

void print_metrics(const Outcome& outcome) {
  const Metrics m = outcome.prequential.overall(outcome.days);
  fmt::print("\ndays {}..{}: {} labelled transactions, {} frauds\n", outcome.days.first,
             std::min(outcome.days.last, outcome.report.days - 1), m.rows, m.frauds);
  print_line("average precision", fmt::format("{:.4f}", m.average_precision));
  print_line("AUC", fmt::format("{:.4f}", m.auc));
  print_line("log loss", fmt::format("{:.5f}", m.log_loss));
  print_line("Brier", fmt::format("{:.6f}", m.brier));
  print_line("card precision at 100", fmt::format("{:.4f}", m.card_precision_100));
  print_line("recall at 2 % FPR", fmt::format("{:.4f}", m.recall_at_fpr));
  fmt::print("\n");
  outcome.table.print(0, outcome.days);
}

void print_report(const Outcome& outcome, bool recorded) {
  const auto& [report, config, prequential, days, table, comparison] = outcome;
  print_run(report);
  print_memory(report);
  print_metrics(outcome);
  if (comparison) print_comparison(*comparison);
  const std::vector<std::string> reasons = why_no_model(report, config);
  if (!reasons.empty()) fmt::print("\n{}:\n", kNoModel);
  for (const std::string& why : reasons) fmt::print("- {}\n", why);
  for (const std::string& remark : remarks(report, config)) fmt::print("\n{}\n", remark);
  if (recorded)
    fmt::print("\nreplay of this run: {} scores, {} differ\n", report.scores_compared,
               report.scores_different);
  say_coverage(report);
}

// --model: a file's, or else the directory's whose hash begins so.
tl::expected<learners::ModelPtr, std::string> read_model(const std::string& name,
                                                         const engine::Config& config,
                                                         const storage::Store* store) {
  const auto wrong = [&](const std::string& reason) {
    return tl::make_unexpected(fmt::format("--model {}: {}", name, reason));
  };
  std::string bytes;
  if (auto file = file_bytes(name)) {
    bytes = std::move(*file);
  } else if (store == nullptr) {
    return wrong("the file cannot be read");
  } else {
    auto kept = model_bytes(*store, name);
    if (!kept) return wrong("it is no file, and " + kept.error());
    bytes = std::move(*kept);
  }
  learners::Notes notes;
  auto model = learners::read_model(bytes, config.columns, &notes);
  if (!model) {
    const auto& [code, field, reason] = model.error();
    return wrong(fmt::format("{}{}{}", field, field.empty() ? "" : ": ", reason));
  }
  for (const std::string& note : notes) remark(fmt::format("--model {}: {}", name, note));
  if ((*model)->columns() != config.columns)
    return wrong("the model is for other features than the configuration declares");
  return *model;
}

class Replay {
 public:
  explicit Replay(Options options) : options_(std::move(options)) {}

  int run() {
    const auto days = read_days(options_.days);
    if (!days) return complain(days.error(), kBadInput);
    const auto compared = read_compared_days(options_.compare);
    if (!compared) return complain(compared.error(), kBadInput);
    if (auto ready = open(); !ready)
      return ready.error().empty() ? kBadInput : complain(ready.error(), kBadInput);
    if (*compared) comparer_.emplace(config_->columns, (*compared)->first, (*compared)->second);
    Prequential prequential(config_->gate.fpr);
    const auto report = replay(prequential);
    if (!report) return complain(report.error(), kBadInput);
    return publish({.report = *report,
                    .config = *config_,
                    .prequential = prequential,
                    .days = *days,
                    .table = DayTable({prequential.by_day({})}),
                    .comparison = compare(report->days)});
  }

 private:
  struct CloseFile {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  using Done = tl::expected<void, std::string>;

  // What is asked for, before anything runs. An empty error: it has been told.
  Done open() {
    const auto kernel = kKernels.find(options_.kernel);
    if (kernel == kKernels.end() || !learners::use_kernel(kernel->second))
      return tl::make_unexpected(fmt::format(
          "--kernel {}: this machine does not have it; auto takes the widest it has", options_.kernel));
    log_ = std::filesystem::is_directory(options_.input);
    if (log_) {
      auto opened = open_data_dir(options_.input);
      if (!opened) return tl::make_unexpected(opened.error());
      data_ = std::move(*opened);
    }
    if (!log_ && options_.config.empty())
      return tl::make_unexpected(
          std::string("--config is needed to replay a CSV; `shrike replay --help` has an example"));
    config_ = options_.config.empty() ? data_.config : read_config(options_.config);
    if (!config_) return tl::make_unexpected(std::string());
    if (options_.learn && (options_.model.empty() || log_))
      return tl::make_unexpected(std::string("--learn goes with --model and a CSV"));
    if (!options_.model.empty()) {
      auto found = read_model(options_.model, *config_, data_.store.get());
      if (!found) return tl::make_unexpected(found.error());
      model_ = std::move(*found);
    }
    recorded_ = log_ && options_.config.empty() && !model_;
    return open_outputs();
  }

  using File = std::unique_ptr<std::FILE, CloseFile>;

  static Done open_output(const char* option, const std::string& path, const char* header, File& file) {
    if (path.empty()) return {};
    file.reset(std::fopen(path.c_str(), "w"));
    if (!file) return tl::make_unexpected(fmt::format("{} {}: the file cannot be written", option, path));
    fmt::print(file.get(), "{}\n", header);
    return {};
  }

  Done open_outputs() {
    if (auto done = open_output("--scores", options_.scores, "transaction_id,score", scores_); !done)
      return done;
    if (auto done =
            open_output("--answers", options_.answers,
                        "transaction_id,time,amount,score,decision,control,propensity,label", answers_);
        !done) {
      return done;
    }
    if (!options_.rows.empty()) {
      if (log_)
        return tl::make_unexpected(std::string("--rows: only the rows of a CSV's replay are written"));
      auto opened = RowWriter::open(options_.rows, config_);
      if (!opened) return tl::make_unexpected(fmt::format("--rows {}", opened.error()));
      rows_ = std::move(*opened);
    }
    return {};
  }

  tl::expected<ReplayReport, std::string> replay(Prequential& prequential) {
    Progress progress("transactions");
    const auto show = [&](double share, uint64_t rows) { progress.update(share, rows); };
    const auto& schema = config_->schema();
    const auto on_score = [&](const Transaction& transaction, const Answer& answer, int label) {
      prequential.add(transaction.time_us, answer.score, label, card_of(*config_, transaction), answer.clock);
      if (comparer_)
        comparer_->add(transaction.id, transaction.time_us, row_, answer.score, label, answer.clock);
      if (answers_) {
        const double amount = schema.amount ? features::number(schema, transaction, *schema.amount) : 0;
        fmt::print(answers_.get(), "{},{},{},{:.9g},{},{},{:.6g},{}\n",
                   features::text(schema, transaction, schema.id), transaction.time_us / 1'000'000, amount,
                   answer.score, engine::name(answer.decision), answer.control ? 1 : 0, answer.propensity,
                   label);
      }
      if (!scores_) return;
      fmt::print(scores_.get(), "{},{:.9g}\n", features::text(schema, transaction, schema.id), answer.score);
    };
    engine::Replayer::OnRow on_row;
    if (rows_ || comparer_) {
      on_row = [&](const Transaction& transaction, std::span<const float> row, int label) {
        if (rows_) rows_->add(transaction, row, label);
        row_.assign(row.begin(), row.end());
      };
    }
    if (recorded_) return engine::replay_recorded(config_, *data_.store, show, on_score, on_row);
    if (log_)
      return engine::replay_log(data_.config, config_, *data_.store, options_.batch, model_, show, on_score,
                                on_row);
    engine::CsvReplayOptions csv;
    csv.batch = options_.batch;
    const auto delay = read_label_delay(options_.label_delay, *config_);
    if (!delay) return tl::make_unexpected(delay.error());
    csv.label_delay_us = delay->mean_us;
    csv.exponential_delay = delay->exponential;
    csv.hide_declined = options_.hide_declined;
    csv.naive = options_.naive;
    csv.stop_on_error = options_.on_error == "stop";
    if (options_.restore_at > 0) csv.restore_at = options_.restore_at;
    (options_.learn ? csv.first_model : csv.fixed_model) = model_;
    csv.on_row = on_row;
    csv.progress = show;
    csv.notice = [](const std::string& text) { fmt::print(stderr, "note: {}\n", text); };
    if (options_.control) {
      auto changed = std::make_shared<engine::Config>(*config_);
      changed->control.share = *options_.control;
      config_ = changed;
    }
    return engine::replay_csv(config_, options_.input, csv, on_score);
  }

  std::optional<engine::Comparison> compare(int stream_days) const {
    if (!comparer_) return std::nullopt;
    engine::Comparison comparison = comparer_->compare();
    for (const engine::Comparison::Span& span : comparison.spans) {
      if (span.rows == 0)
        remark(fmt::format("--compare: days {} have no transaction; the stream's days are 0..{}",
                           engine::to_text(span.days), stream_days - 1));
    }
    return comparison;
  }

  // Empty, or why it could not be written.
  std::string write_files(const Outcome& outcome, const Json& json) {
    if (scores_ && std::fflush(scores_.get()) != 0)
      return fmt::format("--scores {}: the disk is full", options_.scores);
    if (rows_ && !rows_->close()) return fmt::format("--rows {}: the disk is full", options_.rows);
    if (!options_.json.empty() && !write_json(options_.json, json))
      return fmt::format("--json {}: the file cannot be written", options_.json);
    if (!options_.csv.empty() && !outcome.table.write_csv(options_.csv, outcome.days, kRecall))
      return fmt::format("--csv {}: the file cannot be written", options_.csv);
    return "";
  }

  int publish(const Outcome& outcome) {
    const ReplayReport& report = outcome.report;
    const Json json = report_json(outcome);
    if (const std::string wrong = write_files(outcome, json); !wrong.empty())
      return complain(wrong, kBadInput);
    if (options_.json_to_stdout) {
      fmt::print("{}\n", to_text(json));
    } else if (!options_.quiet) {
      print_report(outcome, recorded_);
    } else if (recorded_) {
      fmt::print("replay of this run: {} scores, {} differ\n", report.scores_compared,
                 report.scores_different);
      say_coverage(report);
    }
    const bool refusals = complain_of_refusals(report);
    return refusals || (recorded_ && report.scores_different > 0) ? kNotAllWell : 0;
  }

  Options options_;
  DataDir data_;
  engine::ConfigPtr config_;
  learners::ModelPtr model_;  // null: without --model
  bool log_ = false;          // the input is a data directory
  bool recorded_ = false;     // and is replayed as it was recorded
  File scores_, answers_;
  std::unique_ptr<RowWriter> rows_;
  std::optional<engine::Comparer> comparer_;
  std::vector<float> row_;  // of the transaction in hand, where rows are compared
};

}  // namespace

void add_replay(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "replay",
      "Scores a recorded stream as if it were live: each transaction before its label is known, learning as "
      "labels come.\n"
      "Metrics are prequential (test, then train). The same input gives the same bits, whatever the batch "
      "size or CPU.\n\n"
      "  shrike replay handbook-2018-q2.csv.gz --config handbook.toml --days 60..90 --scores scores.csv\n"
      "  shrike replay handbook-2018-q2.csv.gz --config handbook.toml --compare 30..59,60..90\n"
      "  shrike replay ./shrike-data                          a server's log as recorded: do all scores come "
      "out again?\n"
      "  shrike replay ./shrike-data --config other.toml      what another configuration would have said\n"
      "  shrike replay ./shrike-data --model 3f2a             what one model would have said throughout");
  command
      ->add_option("input", options->input, "a CSV (plain or gz, - for standard input) or a data directory")
      ->required();
  command->add_option("--config,-c", options->config,
                      "TOML; for a data directory the recorded one is the default");
  command->add_option("--days", options->days,
                      "the days to measure, FIRST..LAST, counted from the first transaction's day (0)");
  command->add_option(
      "--compare", options->compare,
      "FIRST..LAST,FIRST..LAST: what has shifted between two spans of days, of the score and of every "
      "feature "
      "column: PSI (below 0.1 stable, above 0.25 large), KS, missing values, means; and how well the score "
      "held as a probability in each");
  command->add_option("--scores", options->scores, "write transaction_id,score here");
  command->add_option("--answers", options->answers,
                      "write transaction_id, time in seconds, amount, score, decision, control (1 or 0), "
                      "propensity and label here");
  command->add_option(
      "--rows", options->rows,
      "write what learners see here, for other programs: transaction_id,time,label and every feature column; "
      "time in seconds since the first transaction's day began, NaN is empty; .gz compresses (CSV only)");
  command
      ->add_option("--json", options->json,
                   "write the report here as JSON; without a file name: to standard output")
      ->expected(0, 1)
      ->default_str("-");
  command->add_option("--csv", options->csv, "write the metrics per day here");
  command->add_option("--model", options->model,
                      "score with this model throughout (a file of ours or of XGBoost, or a hash in the data "
                      "directory); nothing is learned");
  command->add_flag(
      "--learn", options->learn,
      "with --model: it is only the first champion, and learning goes on (from it, if it was made "
      "elsewhere and the learner can)");
  command->add_option(
      "--label-delay", options->label_delay,
      "how long after a transaction its fraud label comes (CSV only; default: training.maturity); "
      "exponential:14d: by an exponential distribution of that mean");
  command->add_flag(
      "--hide-declined", options->hide_declined,
      "as in life: what is declined gets no label unless it is of the control group, and reviewers "
      "give their verdict (CSV only; else the file's labels all come, whatever was decided)");
  command->add_flag(
      "--naive", options->naive,
      "with --hide-declined: take silence after a decline for legitimate, to see what that does");
  command
      ->add_option(
          "--control", options->control,
          "with --hide-declined: this share of would-be declines is let through, instead of control.share")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--batch", options->batch, "transactions scored together; does not change a score")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--kernel", options->kernel, "scoring kernel; does not change a score")
      ->check(CLI::IsMember(kKernels))
      ->capture_default_str();
  command->add_option("--restore-at", options->restore_at,
                      "save and restore all state after this many rows; does not change a score (CSV only)");
  command->add_option("--on-error", options->on_error, "at a bad line: stop, or skip it (exit code 1)")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str();
  command->add_flag("--quiet,-q", options->quiet, "print no report");
  command->callback([options, &exit_code] {
    if (options->json == "-") {
      options->json_to_stdout = true;
      options->json.clear();
    }
    exit_code = Replay(*options).run();
  });
}

}  // namespace shrike::tools
