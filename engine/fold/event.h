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

enum class Source : uint8_t { kAnalyst, kChargeback, kCustomer, kMatured };
inline constexpr size_t kSources = 4;
std::string_view name(Source source);
tl::expected<Source, std::string> parse_source(std::string_view text);

// What a label did.
enum class Outcome : uint8_t {
  kStored,
  kDuplicate,  // this source said this before: nothing changed
  kCorrected,  // it contradicts what was known, and wins
  kPending,    // its transaction has not come yet
  kExpired,    // its transaction is past retention: nothing changed, and nothing is logged
};
std::string_view name(Outcome outcome);

enum class ModelAction : uint8_t { kAccepted, kRejected, kActivated };
std::string_view name(ModelAction action);

// The enum's value in a record; false, and `out` as it was, when this version knows none like it.
bool from_record(uint64_t value, Decision& out);
bool from_record(uint64_t value, Step& out);
bool from_record(uint64_t value, Clock& out);
bool from_record(uint64_t value, Source& out);
bool from_record(uint64_t value, Outcome& out);
bool from_record(uint64_t value, ModelAction& out);
bool from_record(uint64_t value, Verdict& out);

using ModelId = std::array<uint8_t, 16>;
std::string to_hex(const ModelId& id);
ModelId from_hex(std::string_view hex);  // zeros when it is not 32 hex digits

inline constexpr size_t kReasonsMax = 4;

struct Answer {
  float score = 0;
  double risk = 0;  // probability x amount: the expected loss
  Decision decision = Decision::kReview;
  Step step = Step::kFull;
  Clock clock = Clock::kOnTime;
  std::array<uint16_t, kReasonsMax> reasons{};  // columns, strongest first
  uint8_t reason_count = 0;
  ModelId model{};
};

// What is known of a transaction's label, by source and together.
struct LabelState {
  std::array<Verdict, kSources> by_source{};
  Verdict current = Verdict::kUnknown;
  uint64_t sequence = 0;  // of the newest label event
};
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
  Outcome outcome = Outcome::kStored;
};

struct ModelEvent {
  ModelAction action = ModelAction::kAccepted;
  uint64_t candidate = 0;
  std::string model;
  std::string report;
};

struct ConfigEvent {
  std::string text;
  uint64_t plan = 0;
};

// Event time was wrong, and is this from here on: by `shrike repair`.
struct RepairEvent {
  int64_t watermark_us = 0;
};

using Event = std::variant<TransactionEvent, LabelEvent, ModelEvent, ConfigEvent, RepairEvent>;

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

// Bytes that do not fit the schema are errors, with a reason.
tl::expected<Event, std::string> decode_event(const features::Schema& schema, std::string_view bytes);

// The key of the transaction in an event's bytes, for retention; false when it is another kind of event.
bool transaction_key(const features::Schema& schema, std::string_view bytes, Key& out);

std::string floats_to_bytes(const std::vector<float>& floats);
std::vector<float> floats_from_bytes(std::string_view bytes);

}  // namespace shrike::engine
