// What a diagnosis rests on: a period of a log beside the reference before it. Each part is examined by
// itself, so that one that cannot be examined leaves the others as they are. Plain data; numbers of a pair
// are of the reference and of the period.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "engine/fold/event.h"

namespace shrike::engine {

// Whole days of event time (UTC), counted from 1970; both ends belong to it.
struct Days {
  int64_t first = 0, last = -1;

  int64_t count() const { return last < first ? 0 : last - first + 1; }
  bool has(int64_t day) const { return first <= day && day <= last; }
};
inline constexpr int64_t kNoDay = INT64_MIN;
inline int64_t day_of(int64_t time_us) {
  return time_us / features::kDayUs - (time_us % features::kDayUs < 0 ? 1 : 0);
}
std::string day_name(int64_t day);  // "2018-06-30"
// A day as people write it; the error says what is allowed.
tl::expected<int64_t, std::string> parse_day(const std::string& text);

using Pair = std::array<double, 2>;

// A part of the evidence, or why there is none.
template <typename T>
struct Examined {
  T found = {};
  std::string failed = "not examined";

  explicit operator bool() const { return failed.empty(); }
};

// A column whose values are not what they were, day by day against the same weekdays of the reference.
struct ColumnChange {
  std::string column;
  std::vector<std::string> fields;  // what it is computed from
  std::string value_of;             // the field whose plain value it is; "" when it is computed
  double importance = 0;            // of the champion's contributions in the reference, its share
  double psi = 0;      // of its worst day, what chance makes taken off; 0 where it is not compared
  bool stuck = false;  // missing, or one value, in far more transactions than before
  Pair missing{};      // share of transactions; of the worst day
  Pair common{};       // share of the value that is most frequent on that day
  float common_value = 0;
  int64_t first_day = kNoDay, last_day = kNoDay, days = 0;  // on which it was so
};

struct InputEvidence {
  std::vector<ColumnChange> changed;  // the strongest first
  std::vector<std::string> fields;    // of which columns are compared
  size_t columns = 0, compared = 0;   // those whose windows had filled
  Pair a_day{};                       // transactions
  double changed_importance = 0;      // share of the champion's contributions that changed columns have
};

// Of settled transactions, each standing for its inverse propensity.
struct ScoreFigures {
  double examples = 0, frauds = 0;
  double average_precision = 0, log_loss = 0;  // NaN without a fraud
  double base_loss = 0;                        // the log loss of saying the rate of frauds always
  double fraud_score = 0;                      // mean score of frauds, on the scale of the square root
  double fraud_score_error = 0;                // its standard error
  double stopped = 0;  // share of all transactions that were to be reviewed or declined
  double rate() const { return examples > 0 ? frauds / examples : 0; }
  // The share of the base rate's loss that scores take off: 1 is perfect, 0 says nothing, less does harm.
  double skill() const { return base_loss > 0 ? 1 - log_loss / base_loss : 0; }
};

struct PerformanceEvidence {
  std::array<ScoreFigures, 2> figures;
  int64_t settled_until = kNoDay;  // the newest day whose silence tells
  int64_t fell_on = kNoDay;        // the day from which the skill is lower, beyond chance
  double fell_z = 0;               // its deviate
  Pair skill{};                    // before and from that day on
};

// What a source of labels said in the days of each.
struct SourceFigures {
  std::string name;
  Pair labels{}, frauds{};
  int64_t last_day = kNoDay;  // of its newest label
  Pair judged{};  // frauds that had been approved: they alone say how many a source finds, and how they score
  Pair fraud_score{}, fraud_score_error{};  // as in ScoreFigures, by the champion's score when it answered
  Pair contradicted{};                      // share of its labels that another source contradicts
  Pair delay_days{};                        // median, from the transaction to the label
  // The first day of the period with far more frauds than the reference has a day; how many a day the source
  // reports at the reference's rate and from then on, and all others together; of what had been approved.
  int64_t flood_from = kNoDay;
  Pair frauds_a_day{}, others_a_day{};
  double others_delay_days = 0;  // median: by then a fraud would have come from them too
};

struct LabelEvidence {
  std::array<SourceFigures, kSources> sources;
  Pair a_transaction{};  // labels by people for each transaction
  Pair unknown{};        // share of transactions of age that nothing is known of
};

// A takeover in the period, with what came before it and after it.
struct Takeover {
  std::string model, before;
  uint64_t sequence = 0;
  int64_t day = 0;
  bool by_hand = false;
  std::string reason;                   // as the log has it; may be empty
  bool serves = false;                  // at the end of the log
  std::array<ScoreFigures, 2> figures;  // of up to 14 days before it, and until the next takeover
  double loss_error = 0;                // standard error of the difference of the log losses
};

struct ModelEvidence {
  std::vector<Takeover> takeovers;
  uint64_t accepted = 0, rejected = 0, retrained = 0;
  std::string newest_refusal;
};

struct ImportanceEvidence {
  struct One {
    std::string column;
    Pair share{};
  };
  std::array<std::string, 2> model;
  std::vector<One> columns;  // by falling change
  double distance = 0;       // half the sum of all changes: 0 alike, 1 nothing in common
};

// Of what servers measured of themselves.
struct MachineFigures {
  uint64_t periods = 0, answers = 0, late = 0, refusals = 0, fallbacks = 0, statics = 0;
  double p99_ms = 0, worst_p99_ms = 0;  // median and largest of the periods'
  double resident_mib = 0;              // largest
  int64_t worst_day = kNoDay;
};

struct Start {
  int64_t day = kNoDay;
  std::string version;
  uint64_t folded = 0;  // events that were in no checkpoint: it had not ended cleanly
};

struct ConfigChange {
  int64_t day = kNoDay;
  std::vector<std::string> keys;  // "policy.decline_score: 0.5 -> 0.3"
  bool known = true;              // false: the one before it is not within reach
};

struct InfrastructureEvidence {
  std::array<MachineFigures, 2> machine;
  std::vector<Start> starts;          // in the period
  std::vector<std::string> versions;  // that served, oldest first; of the reference's newest on
  std::vector<ConfigChange> configurations;
  double deadline_ms = 0;
};

// A judgement of the period, of those that say that something is wrong.
struct Told {
  uint64_t sequence = 0;
  JudgementEvent judgement;
};

// What is in force at the end of the log.
struct Standing {
  std::string champion;
  std::vector<std::string> fallbacks;  // earlier champions, newest first
  std::vector<std::string> quarantined, dropped;
  bool training_held = false, retraining = false;
  double sampled_share = 1;
};

struct Evidence {
  Days reference, period;
  int64_t begun = kNoDay;   // the log's first day; kNoDay when retention has taken it
  int64_t newest = kNoDay;  // the log's last day; kNoDay when the period's is
  uint64_t events = 0;      // that were read
  std::string log_problem;  // why reading ended early; "" when it did not
  Examined<InputEvidence> inputs;
  Examined<PerformanceEvidence> performance;
  Examined<LabelEvidence> labels;
  Examined<ModelEvidence> models;
  Examined<ImportanceEvidence> importance;
  Examined<InfrastructureEvidence> infrastructure;
  Examined<std::vector<Told>> told;
  Examined<Standing> standing;
};

}  // namespace shrike::engine
