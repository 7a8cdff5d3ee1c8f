// What the log holds: transactions with their answers, labels, models taking over, configurations. Plain data
// and its bytes; no thread, no file.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <tl/expected.hpp>

#include "engine/config/sources.h"
#include "features/feature_store.h"
#include "features/schema.h"

namespace shrike::engine {

using features::Key;
using features::Transaction;
using features::Verdict;

enum class Decision : uint8_t { kApprove, kReview, kDecline };
std::string_view name(Decision decision);

// How much of the work the answer contains: the degradation ladder.
enum class Step : uint8_t {
  kFull,
  kNoReasons,  // little time was left
  kFallback,   // the champion failed on this row; the last good model scored
  kStatic,     // no time or no model worked: the configured decision
};
std::string_view name(Step step);

// How a transaction's time stands to the stream's. What is not on time is scored and logged, and moves
// nothing: no window, no other's maturity, no retention.
enum class Clock : uint8_t { kOnTime, kAhead, kLate };
std::string_view name(Clock clock);

// Which model answered, while a challenger has a share of the entities.
enum class Arm : uint8_t { kChampion, kCanary };
std::string_view name(Arm arm);

std::string_view name(Verdict verdict);

// What a label did.
enum class Effect : uint8_t {
  kStored,
  kDuplicate,  // this source said this before: nothing changed
  kCorrected,  // it contradicts what was known, and wins
  kPending,    // its transaction has not come yet
  kExpired,    // its transaction is past retention: nothing changed, and nothing is logged
  kKept,       // another source's verdict counts for more, or this source's count for nothing
};
std::string_view name(Effect outcome);

// What became of a transaction: our own decision, unless the payment system reports another.
enum class Outcome : uint8_t {
  kUnreported,
  kApproved,  // it went through, whatever was decided
  kDeclined,
  kCancelled,
  kChallengePassed,  // it went through after a further check of its customer
  kChallengeFailed,
};
std::string_view name(Outcome outcome);
tl::expected<Outcome, std::string> parse_outcome(std::string_view text);

enum class ModelAction : uint8_t {
  kAccepted,    // by the gate: it takes over
  kRejected,    // by the gate
  kActivated,   // it takes over: by a person, a rollback, or as the end of a rollout
  kChallenger,  // it is tried beside the champion (see fold/challenger.h)
  kRetrained,   // it was learned anew from the log (see log/retrain.h): the gate's next candidate
  kTested,      // an A/B test begins: it answers a fixed share of the entities (see lifecycle/ab_test.h)
};
std::string_view name(ModelAction action);
inline bool takes_over(ModelAction action) {
  return action == ModelAction::kAccepted || action == ModelAction::kActivated;
}

// Of a judgement: what progressive delivery calls it.
enum class Finding : uint8_t { kSuccessful, kFailed, kInconclusive };
std::string_view name(Finding finding);

enum class Severity : uint8_t { kInfo, kWarning, kCritical };
std::string_view name(Severity severity);

// What a judgement does, once it is in the log.
enum class Action : uint8_t {
  kNone,          // it is told
  kThresholds,    // values: review and decline score from now on
  kRetrain,       // target: the strategy; values: learn from what was known since this event time (0: all)
  kHoldTraining,  // a candidate may not take over, until kGoOnTraining
  kGoOnTraining,
  kQuarantine,  // target: the source whose labels are kept and not learned from, until kRelease; values: a
                // Suspended
  kRelease,
  kRollBack,     // target: the model that takes over
  kShadow,       // target: the challenger, which answers nobody any more
  kCanary,       // target: the challenger; values: the share of entities that it answers from now on
  kPromote,      // target: the challenger, which becomes champion
  kAbort,        // target: the challenger, which is gone
  kResolve,      // an alert of the same monitor and subject is over
  kHoldRollout,  // the challenger's share stays as it is, until kGoOnRollout
  kGoOnRollout,
  kSample,  // values: the share of legitimate examples that is learned from now on; the host's alone
  kChallengerThresholds,  // target: the challenger; values: its own review and decline score from now on
  kDropFeature,  // target: a column, or the field whose columns models see as missing, until kRestoreFeature
  kRestoreFeature,  // (see fold/dropped.h)
  kConclude,        // target: the challenger, whose A/B test is over; the champion answers all entities again
};
std::string_view name(Action action);

// Which verdicts of a source in quarantine count for nothing.
enum class Suspended : uint8_t { kAll, kFrauds, kLegitimate };

// From which probabilities on a transaction is reviewed and declined: the configuration's, or learned ones.
struct Thresholds {
  double review = 0, decline = 0;
};

// Of the challenger that is tried.
inline bool is_of_challenger(Action action) {
  return action == Action::kShadow || action == Action::kCanary || action == Action::kPromote ||
         action == Action::kAbort || action == Action::kHoldRollout || action == Action::kGoOnRollout;
}

// How a learner is learned anew (see log/retrain.h).
enum class RetrainStrategy : uint8_t {
  kFull,    // from everything that the log has
  kRecent,  // from what was known since a time: a change of the data has made older examples wrong
  kSearch,  // recent examples count more (retraining.half_life), and options are chosen (retraining.search)
};
std::string_view name(RetrainStrategy strategy);
tl::expected<RetrainStrategy, std::string> parse_retrain_strategy(std::string_view text);

// Who says that a retraining came to nothing.
inline constexpr std::string_view kRetraining = "retraining";

// The enum's value in a record; false, and `out` as it was, when this version knows none like it.
bool from_record(uint64_t value, Decision& out);
bool from_record(uint64_t value, Step& out);
bool from_record(uint64_t value, Clock& out);
bool from_record(uint64_t value, Source& out);  // whether it is declared is not known here
bool from_record(uint64_t value, Effect& out);
bool from_record(uint64_t value, ModelAction& out);
bool from_record(uint64_t value, Verdict& out);
bool from_record(uint64_t value, Outcome& out);
bool from_record(uint64_t value, Arm& out);
bool from_record(uint64_t value, Finding& out);
bool from_record(uint64_t value, Severity& out);
bool from_record(uint64_t value, Action& out);

using ModelId = std::array<uint8_t, 16>;
std::string to_hex(const ModelId& id);
ModelId from_hex(std::string_view hex);  // zeros when it is not 32 hex digits

inline constexpr size_t kReasonsMax = 4;
inline constexpr float kNoOther = -1;        // there was one model
inline constexpr float kNoProbability = -2;  // the other one gave what is no probability

struct Answer {
  float score = 0;
  double risk = 0;  // probability x amount: the expected loss
  Decision decision = Decision::kReview;
  Decision wanted = Decision::kReview;  // what was decided before the control group let it through
  bool control = false;                 // of the control group: approved, though something else was wanted
  // The chance with which a transaction like this goes through, so that its silence tells: 1 where approval
  // is wanted, the control group's share where it is not, 0 where none is taken.
  float propensity = 1;
  Arm arm = Arm::kChampion;
  float other = kNoOther;  // the score of the arm that did not answer, or of a shadow
  Step step = Step::kFull;
  Clock clock = Clock::kOnTime;
  std::array<uint16_t, kReasonsMax> reasons{};  // columns, strongest first
  uint8_t reason_count = 0;
  ModelId model{};
};

// The champion's score, whoever answered; negative where it gave no probability.
inline float champions_score(const Answer& answer) {
  return answer.arm == Arm::kCanary ? answer.other : answer.score;
}
// The challenger's; kNoOther without one, kNoProbability where it gave none.
inline float challengers_score(const Answer& answer) {
  return answer.arm == Arm::kCanary ? answer.score : answer.other;
}

// What is known of a transaction's label, by source and together.
struct LabelState {
  std::array<Verdict, kSources> by_source{};
  std::array<uint8_t, kSources> rank{};  // of what each said last, the newest highest; 0: it said nothing
  Verdict current = Verdict::kUnknown;   // the one that counts
  Outcome outcome = Outcome::kUnreported;
  uint64_t sequence = 0;  // of the newest label, outcome or KPI event
  uint64_t kpis = 0;      // which were reported, by kpi_bit() of config.h
};
// `source` says this now.
void note(LabelState& state, Source source, Verdict verdict);
std::string encode(const LabelState& state);
LabelState decode_label_state(std::string_view bytes);

struct TransactionEvent {
  Transaction transaction;
  std::vector<float> row;
  Answer answer;
};

struct LabelEvent {
  Key transaction;
  Verdict verdict = Verdict::kUnknown;
  Source source = Source::kAnalyst;
  int64_t time_us = 0;
  uint64_t transaction_sequence = 0;
  Effect outcome = Effect::kStored;
  bool reveals = false;  // the first verdict on what had not gone through, whose silence had told nothing
};

struct ModelEvent {
  ModelAction action = ModelAction::kAccepted;
  uint64_t candidate = 0;
  std::string model;
  std::string report;
  double share = 0;  // kTested: of the entities
};

struct ConfigEvent {
  std::string text;
  uint64_t plan = 0;
};

// Event time was wrong, and is this from here on: by `shrike repair`.
struct RepairEvent {
  int64_t watermark_us = 0;
};

// What became of a transaction, as the payment system reports it.
struct OutcomeEvent {
  Key transaction;
  Outcome outcome = Outcome::kUnreported;
  int64_t time_us = 0;
  uint64_t transaction_sequence = 0;
  bool tells = false;  // it changed what the silence of a transaction past its maturity period tells
};

// A figure of the business about a transaction that is no label: whether it was bought, what it brought in.
// It carries what judging it needs of its transaction, so that a replay looks nothing up.
struct KpiEvent {
  Key transaction;
  std::string name;  // as [kpi.NAME] has it
  double value = 0;
  int64_t time_us = 0;
  uint64_t transaction_sequence = 0;
  int64_t transaction_us = 0;  // the transaction's event time
  uint64_t entity = 0;         // hash of the entity that arms go by
  Arm arm = Arm::kChampion;    // that answered it
  Step step = Step::kFull;     // how far

  bool operator==(const KpiEvent&) const = default;
};

// The monitor of judgements by hand.
inline constexpr std::string_view kOperator = "operator";

// What a monitor found (see lifecycle/monitor.h), with its evidence and what follows from it.
struct JudgementEvent {
  std::string monitor;
  std::string subject;  // of what: a feature, a metric, a source, a model; "" for the whole
  Finding finding = Finding::kInconclusive;
  Severity severity = Severity::kInfo;
  Action action = Action::kNone;
  std::string target;
  std::array<double, 2> values{};
  int64_t time_us = 0;   // event time
  std::string text;      // a sentence for a person
  std::string evidence;  // JSON object

  bool operator==(const JudgementEvent&) const = default;
};

// What the server measured of itself in a period, so that judging the machine needs no clock.
struct MachineEvent {
  int64_t time_us = 0;                           // the server's clock, since 1970: the period's end
  int64_t period_us = 0;                         // how long it was
  uint64_t answers = 0;                          // to transactions,
  uint64_t p50_us = 0, p99_us = 0, p999_us = 0;  // and how long they took, within 19 %
  uint64_t late = 0;                             // answers past their deadline
  uint64_t refusals = 0;                         // of requests of all kinds
  uint64_t fallbacks = 0;                        // answers for which the champion gave no probability
  uint64_t statics = 0;                          // answers for which no model was asked or worked
  uint64_t resident_bytes = 0;
  uint64_t examples_waiting = 0;  // for training, at the end

  bool operator==(const MachineEvent&) const = default;
};

// A server began on this log. It changes nothing; it tells restarts, crashes and versions apart afterwards.
struct StartEvent {
  int64_t time_us = 0;  // the server's clock, since 1970
  std::string version;  // of Shrike
  uint64_t config = 0;  // a hash of the configuration's text
  uint64_t folded = 0;  // events that the newest checkpoint did not have: 0 after a clean stop

  bool operator==(const StartEvent&) const = default;
};

using Event = std::variant<TransactionEvent, LabelEvent, ModelEvent, ConfigEvent, RepairEvent, OutcomeEvent,
                           JudgementEvent, MachineEvent, StartEvent, KpiEvent>;

std::array<uint8_t, 16> to_bytes(const Key& key);
Key to_key(std::string_view bytes);

// Of all its fields: equal for a request sent again, other for another transaction under the same id. Never
// 0.
uint64_t content_hash(const Transaction& transaction);
// The first field that differs, or nothing.
std::optional<size_t> differing_field(const Transaction& a, const Transaction& b);

// Appends the event's bytes to `out` after clearing it.
void encode(const features::Schema& schema, const TransactionEvent& event, std::string& out);
void encode(const LabelEvent& event, std::string& out);
void encode(const ModelEvent& event, std::string& out);
void encode(const ConfigEvent& event, std::string& out);
void encode(const RepairEvent& event, std::string& out);
void encode(const OutcomeEvent& event, std::string& out);
void encode(const JudgementEvent& event, std::string& out);
void encode(const MachineEvent& event, std::string& out);
void encode(const StartEvent& event, std::string& out);
void encode(const KpiEvent& event, std::string& out);

// A judgement as it lies in records, those of the log and those of checkpoints.
namespace proto {
class JudgementRecord;
}
void write_judgement(const JudgementEvent& event, proto::JudgementRecord& record);
// False when it has a value that this version does not know.
[[nodiscard]] bool read_judgement(const proto::JudgementRecord& record, JudgementEvent& event);

// Bytes that do not fit the schema are errors, with a reason.
tl::expected<Event, std::string> decode_event(const features::Schema& schema, std::string_view bytes);

// The key of the transaction in an event's bytes, for retention; false when it is another kind of event.
bool transaction_key(const features::Schema& schema, std::string_view bytes, Key& out);

std::string floats_to_bytes(const std::vector<float>& floats);
std::vector<float> floats_from_bytes(std::string_view bytes);

}  // namespace shrike::engine
