// The configuration: one TOML file, validated wholly before anything starts. Plain data once loaded;
// immutable and shared by all threads. What stands here is what a key is when the file leaves it out;
// examples/*.toml comment every key.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "engine/config/sources.h"
#include "features/plan.h"
#include "learners/learner.h"

namespace shrike::engine {

enum class Durability {
  kSync,   // a reply leaves after its event is on disk
  kAsync,  // before: kill -9 or a power cut may lose the last milliseconds of transactions (never of labels)
};

enum class TrainingMode {
  kBackground,  // no request ever waits for training; when a model takes over is recorded in the log
  kAwaited,     // at every `training.every` examples the engine waits: nothing depends on a thread's timing
};

// When a label is learned. Where legitimate examples come from silence, they come at maturity; frauds learned
// earlier than their neighbours would be told apart by their age, so kAuto waits for them. Where most
// transactions get a label of their own there is nothing to wait for.
enum class LearnWhen { kAuto, kAtOnce, kAtMaturity };

struct TrainingConfig {
  std::string family = "linear";
  learners::Options options;
  uint64_t seed = 1;
  TrainingMode mode = TrainingMode::kBackground;
  uint64_t every = 2000;                       // examples between two looks at candidate and gate
  int64_t maturity_us = 7 * features::kDayUs;  // silence for this long makes a transaction legitimate
  LearnWhen learn = LearnWhen::kAuto;
  double prior = 0.01;  // probability answered before there is a model
  uint64_t queue_examples_max = 200'000;
  size_t threads = 0;  // to learn on; 0: the machine's in a replay, one in a server. Does not change a score.
};

struct GateConfig {
  uint64_t examples_min = 6000;  // labelled transactions that neither model has trained on
  uint64_t frauds_min = 30;
  uint64_t examples_max = 20'000;  // not better by then, and with twice frauds_min frauds: refused
  double confidence = 0.6;         // least share of bootstrap rounds won on average precision
  double recall_loss_max = 0.02;   // absolute, of recall at `fpr`
  double log_loss_ratio_max = 1.05;
  double calibration_error_max = 0.05;
  double fpr = 0.02;
  uint64_t bootstrap_rounds = 200;
};

// Would-be declines of which a share is let through, so that what is learned and reported speaks of all
// traffic.
struct ControlConfig {
  double share = 0;
  bool reviews = false;   // would-be reviews too
  double amount_max = 0;  // never above this amount; 0: whatever it is
  uint64_t seed = 1;
  double weight_max = 50;  // the most transactions that one of them stands for
};

// Thresholds that are learned: the decline threshold is where the share of legitimate transactions declined
// is `fpr`, or where frauds let through and legitimate ones declined cost least together; the review
// threshold is where `reviews_per_day` are reviewed (see lifecycle/thresholds.h).
struct ThresholdConfig {
  enum class Aim : uint8_t { kFalsePositiveRate, kCost };
  bool learn = false;
  Aim aim = Aim::kFalsePositiveRate;
  double fpr = 0.02;           // of legitimate transactions, at most so many are declined
  double contact_cost = 5;     // kCost: of a legitimate transaction declined, in the amount's currency
  double reviews_per_day = 0;  // 0: the review threshold stays below the decline threshold as configured
  double move_min = 0.02;      // relative; a smaller move is none
};

struct PolicyConfig {
  double review_score = 0.1;  // at least this probability: review
  double decline_score = 0.5;
  double review_loss = 0;  // at least this probability x amount: review; 0 turns it off
  double decline_loss = 0;
  std::string static_decision = "review";  // when there is no time to score
  size_t reasons_max = 4;
  // Decisions after which silence tells nothing: what did not go through gets no chargeback.
  bool decline_hides = true, review_hides = true;
  std::vector<std::pair<std::string, std::string>> reason_codes;  // column name, or its prefix, to code
};

// When a shift of what comes in, of the score, of labels or of the loss is told (see lifecycle/drift.h).
struct DriftConfig {
  bool on = true;
  uint64_t reference_rows = 20'000;             // that a reference has at least,
  int64_t reference_us = 7 * features::kDayUs;  // and the days that it covers at least
  int64_t window_us = features::kDayUs;         // the same of what is compared with it
  uint64_t window_rows = 2'000;
  double threshold = 0.1;   // how large a shift of a distribution must be
  double alpha = 0.05;      // the expected share of false ones among columns found significant
  double share = 0.05;      // critical once columns with this share of importance have drifted
  double rate_ratio = 1.5;  // by which the rate of frauds rises or falls
  double loss_ratio = 1.5;  // by which the log loss rises
};

// What a day's transactions must be like (see lifecycle/quality.h). Shares are of the day's transactions.
struct QualityConfig {
  bool on = true;
  int64_t reference_us = 7 * features::kDayUs;  // days from which is learned what is usual
  uint64_t rows = 500;                          // fewer in a day tell nothing
  double missing = 0.05;  // of a field; of a column, and of an optional field, above what is usual
  double unreadable = 0.01;
  double outside = 0.01;  // beyond what the field allows, or the reference had
  double duplicates = 0.01;
  double shift = 0.25;                     // PSI of a column
  double unseen = 0.05;                    // categories that were never seen, above what is usual
  int64_t silence_us = features::kHourUs;  // without a transaction; longer where that is usual at the hour
  bool fail_stops_training = false;
};

// When the champion's performance has dropped, in per cent of its baseline (see lifecycle/performance.h).
struct PerformanceConfig {
  double accuracy_drop = 5, precision_drop = 8, recall_drop = 8, f1_drop = 7, auc_drop = 6,
         average_precision_drop = 8;
  double standard_errors = 3.5;  // by so many a drop must exceed its threshold: chance raises nothing
  double seen_min = 0.5;         // of what is declined so much must get a verdict, or nothing is judged
};

// How a candidate that has passed the gate takes over: at once, or tried beside the champion first (see
// lifecycle/rollout.h).
struct RolloutConfig {
  bool on = false;
  std::string entity;      // by which a canary is sticky; the schema's first one when empty
  size_t entity_kind = 0;  // its place in the schema
  double start = 0.05;     // share of entities that a canary answers at first,
  double step = 0.1;       // and by how much it grows
  int64_t step_min_us = features::kDayUs / 4;   // each share is held at least so long, the shadow too
  int64_t step_max_us = 21 * features::kDayUs;  // not shown to be good enough by then: back
  double recall_margin = 0.05;                  // absolute: how much worse a challenger may be
  double fpr_margin = 0.005;                    // absolute
  double log_loss_margin = 0.15;                // relative
  double alarm_margin = 0.01;                   // absolute: of all transactions, more declined or reviewed
  double alpha = 0.05;     // chance that one without a difference is called better or worse
  double weight_max = 20;  // the most transactions that one stands for whose like are mostly hidden
};

// When it goes back to an earlier champion by itself (see lifecycle/rollback.h).
struct RollbackConfig {
  bool on = true;
  uint64_t rows = 4000;    // newest labelled transactions by which models are compared, and
  uint64_t frauds = 400;   // newest frauds
  double gain_min = 0.02;  // by which an earlier champion must be better, of average precision
  double failures = 0.01;  // share of answers without a probability, that is an error spike
  int64_t cooldown_us = features::kDayUs;  // between two
};

// When a learner is learned anew from the log, beside the one that goes on learning (see
// lifecycle/triggers.h, log/retrain.h).
struct RetrainingConfig {
  bool on = false;
  bool performance = true;  // at an alert of the champion's performance
  bool drift = true;        // when columns, the rate of frauds or the loss have drifted
  bool kpi = true;          // at an alert of a KPI (kpi.*.drop), from what was known in the last
  int64_t kpi_window_us = 7 * features::kDayUs;
  enum class Schedule : uint8_t {
    kNotScheduled,
    kDaily,
    kWeekly,
    kMonthly
  } schedule = Schedule::kNotScheduled;
  uint64_t labels = 0;                           // after so many labels by people; 0: never
  int64_t cooldown_us = 3 * features::kDayUs;    // between two
  int64_t half_life_us = 30 * features::kDayUs;  // at an alert of performance examples count half for each
  uint64_t rows = 400'000;                       // legitimate examples kept in memory; of more, a sample
  uint64_t examples_min = 5'000;                 // fewer teach nothing
  uint64_t frauds_min = 50;
  std::vector<learners::Options> search;  // options that are tried over the learner's own
  uint64_t tries = 3;
};

// A figure of the business that models are to move (see lifecycle/kpis.h): of each transaction it is 0 until
// it is reported, or its label says otherwise.
struct KpiConfig {
  enum class From : uint8_t { kMessages, kLabel };  // the label itself: 1 where it is positive
  enum class Kind : uint8_t { kRate, kValue };      // yes or no; an amount
  std::string name;
  From from = From::kMessages;
  Kind kind = Kind::kRate;
  bool more_is_better = true;
  int64_t within_us = features::kDayUs;  // what comes later than this after its transaction does not count
  double drop = 0;                       // an alert when it worsens by this share of its baseline; 0: none
};

// What an A/B test is where its declaration does not say (see lifecycle/ab_test.h).
struct AbTestConfig {
  double share = 0.1;          // of the entities that the challenger answers
  double significance = 0.05;  // chance that a test without a difference finds one, either way
  double power = 0.8;          // chance that a difference as large as `effect` is found
  double effect = 0.1;         // the least difference of interest, as a share of the metric's present value
  int64_t longest_us = 28 * features::kDayUs;
};

// Which judgements are told, and where (see lifecycle/alert_book.h, serve/alerts.h). "" and none: not there.
struct AlertConfig {
  enum class Least : uint8_t { kInfo, kWarning, kCritical } severity = Least::kWarning;  // as fold's Severity
  int64_t repeat_us = features::kDayUs;  // event time in which the same alert is told once
  std::string webhook;                   // http:// or https://
  std::string webhook_secret_file;
  std::string file;
  std::vector<std::string> command;  // argv
};

// What the server measures of itself and when that is alarming (see lifecycle/machine.h).
struct MachineConfig {
  int64_t every_us = 60'000'000;    // of the server's clock; 0: never
  uint64_t periods = 3;             // in a row beyond a limit, or within half of it
  double p99 = 0.5;                 // of answers' latency, as a share of deadline.default
  double errors = 0.05;             // share of requests refused or answered late
  double memory_growth_mib = 1024;  // within a day
};

struct DeadlineConfig {
  int64_t default_us = 100'000;
  int64_t no_reasons_below_us = 2'000;  // with less time left, reasons are left out
  int64_t static_below_us = 0;          // with less, the static decision answers
};

struct SocketConfig {
  std::string score = "tcp://127.0.0.1:7201";
  std::string feedback = "tcp://127.0.0.1:7202";
  std::string events = "tcp://127.0.0.1:7203";
  size_t message_bytes_max = 1 << 20;
  size_t queue_requests_max = 1 << 14;  // above it requests are refused as overloaded
  int64_t queue_wait_us = 50'000;  // and one that would wait longer than this for those of its own client
  size_t batch_max = 256;
  bool refuse_unknown_fields = false;  // of a transaction in JSON; else they are counted and left out
};

// How threads wait and where they run. What is not said is the machine's choice.
struct ThreadConfig {
  enum class Polling : uint8_t {
    kBlocking,  // sleep at once: a core for others, some ten microseconds more for each answer
    kAdaptive,  // look for another request for a moment, then sleep
    kBusy,      // never sleep: two cores for the socket's and the engine's thread alone
  };
  Polling polling = Polling::kAdaptive;
  int64_t socket_cpu = -1, engine_cpu = -1;  // to be pinned to; -1: to none
  bool lock_memory = false;                  // no page of it is ever swapped out or first touched late
};

struct StorageConfig {
  Durability durability = Durability::kSync;
  uint64_t checkpoint_every = 200'000;  // events
  int64_t retention_us = 0;             // of events, by event time; 0 keeps all
  size_t cache_bytes = 64 << 20;
};

struct LimitConfig {
  // Whether a server's own clock has a say in what the stream's time is (see fold/event_time.h).
  enum class Clock : uint8_t { kLive, kEvent } clock = Clock::kLive;
  int64_t lateness_us = features::kHourUs;  // a transaction may be this much older than the newest
  // Live: what is dated further ahead of the server's clock moves nothing; 0: it does.
  int64_t ahead_us = features::kHourUs / 12;
  int64_t orphan_keep_us = features::kDayUs;  // a label waits this long for its transaction
  size_t orphans_max = 100'000;
  size_t pending_max = 20'000'000;  // transactions waiting for maturity
};

struct Config {
  std::string path;  // "" for an embedded one
  std::string text;  // as read
  std::shared_ptr<const features::Plan> plan;
  std::vector<learners::Column> columns;  // the plan's, as learners see them
  TrainingConfig training;
  GateConfig gate;
  PolicyConfig policy;
  ControlConfig control;
  ThresholdConfig thresholds;
  SourceConfig sources;
  DriftConfig drift;
  QualityConfig quality;
  PerformanceConfig performance;
  RolloutConfig rollout;
  RollbackConfig rollback;
  RetrainingConfig retraining;
  std::vector<KpiConfig> kpis;  // by name
  AbTestConfig ab_test;
  AlertConfig alerts;
  MachineConfig machine;
  DeadlineConfig deadline;
  SocketConfig sockets;
  ThreadConfig threads;
  StorageConfig storage;
  LimitConfig limits;
  std::vector<std::string> notes;  // what its author should know, though it is valid

  const features::Schema& schema() const { return plan->schema; }
};

using ConfigPtr = std::shared_ptr<const Config>;

// The place of a KPI of this name among those that the log says were reported of a transaction. No two of a
// configuration have the same one, so KPIs may come and go.
uint64_t kpi_bit(std::string_view name);
// Null when there is none of this name.
const KpiConfig* find_kpi(const Config& config, std::string_view name);

// Reads and validates. On failure every problem is listed, one a line: FILE:LINE: KEY: what was found, what
// is allowed.
tl::expected<ConfigPtr, std::vector<std::string>> load_config(const std::string& path);
tl::expected<ConfigPtr, std::vector<std::string>> parse_config(std::string_view text,
                                                               const std::string& path);

}  // namespace shrike::engine
