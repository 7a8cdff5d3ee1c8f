#include "engine/fold/event.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <cstring>
#include <span>

#include "engine/fold/answer_record.h"
#include "engine/fold/log.pb.h"

namespace shrike::engine {
namespace {

template <size_t N>
std::string_view pick(const std::string_view (&names)[N], size_t at) {
  return at < N ? names[at] : std::string_view("unknown");
}

TransactionEvent decode(const features::Schema& schema, const proto::TransactionRecord& record,
                        std::string& problem) {
  TransactionEvent event;
  Transaction& transaction = event.transaction;
  transaction.reset(schema);
  int text = 0;
  if (record.fixed_size() != static_cast<int>(schema.fields.size())) {
    problem = fmt::format("{} fields, the schema has {}", record.fixed_size(), schema.fields.size());
    return event;
  }
  for (size_t i = 0; i < schema.fields.size(); ++i) {
    features::Value& value = transaction.values[i];
    value.present = (record.missing() >> i & 1) == 0;
    value.fixed = record.fixed(static_cast<int>(i));
    if (!value.present || schema.fields[i].type != features::FieldType::kText) continue;
    if (text == record.texts_size()) {
      problem = "a text is missing";
      return event;
    }
    value.text = record.texts(text++);
  }
  transaction.id = features::key(schema, transaction, schema.id);
  transaction.time_us = transaction.values[schema.time].fixed;
  event.row = floats_from_bytes(record.row());
  if (!read_answer(record, event.answer)) problem = "the answer has a value that this version does not know";
  return event;
}

}  // namespace

// One table an enum: its names, and how many values a record may hold.
static constexpr std::string_view kDecisionNames[] = {"approve", "review", "decline"};
static constexpr std::string_view kStepNames[] = {"full", "no_reasons", "fallback", "static"};
static constexpr std::string_view kClockNames[] = {"on_time", "ahead", "late"};
static constexpr std::string_view kArmNames[] = {"champion", "canary"};
static constexpr std::string_view kEffectNames[] = {"stored",  "duplicate", "corrected",
                                                    "pending", "expired",   "kept"};
static constexpr std::string_view kModelActionNames[] = {"accepted",   "rejected",  "activated",
                                                         "challenger", "retrained", "tested"};
static constexpr std::string_view kOutcomeNames[] = {"unreported", "approved",         "declined",
                                                     "cancelled",  "challenge_passed", "challenge_failed"};
static constexpr std::string_view kFindingNames[] = {"successful", "failed", "inconclusive"};
static constexpr std::string_view kSeverityNames[] = {"info", "warning", "critical"};
static constexpr std::string_view kActionNames[] = {"none",
                                                    "thresholds",
                                                    "retrain",
                                                    "hold_training",
                                                    "go_on_training",
                                                    "quarantine",
                                                    "release",
                                                    "roll_back",
                                                    "shadow",
                                                    "canary",
                                                    "promote",
                                                    "abort",
                                                    "resolve",
                                                    "hold_rollout",
                                                    "go_on_rollout",
                                                    "sample",
                                                    "challenger_thresholds",
                                                    "drop_feature",
                                                    "restore_feature",
                                                    "conclude"};
static constexpr std::string_view kStrategyNames[] = {"full", "recent", "search"};
static constexpr std::string_view kVerdictNames[] = {"unknown", "legitimate", "fraud", "unsure"};

std::string_view name(Decision decision) { return pick(kDecisionNames, static_cast<size_t>(decision)); }
std::string_view name(Step step) { return pick(kStepNames, static_cast<size_t>(step)); }
std::string_view name(Clock clock) { return pick(kClockNames, static_cast<size_t>(clock)); }
std::string_view name(Arm arm) { return pick(kArmNames, static_cast<size_t>(arm)); }
std::string_view name(Effect outcome) { return pick(kEffectNames, static_cast<size_t>(outcome)); }
std::string_view name(ModelAction action) { return pick(kModelActionNames, static_cast<size_t>(action)); }
std::string_view name(Outcome outcome) { return pick(kOutcomeNames, static_cast<size_t>(outcome)); }
std::string_view name(Verdict verdict) { return pick(kVerdictNames, static_cast<size_t>(verdict)); }
std::string_view name(Finding finding) { return pick(kFindingNames, static_cast<size_t>(finding)); }
std::string_view name(Severity severity) { return pick(kSeverityNames, static_cast<size_t>(severity)); }
std::string_view name(RetrainStrategy strategy) {
  return pick(kStrategyNames, static_cast<size_t>(strategy));
}
std::string_view name(Action action) { return pick(kActionNames, static_cast<size_t>(action)); }

// A newer version's value is not turned into one of ours.
template <typename Enum, size_t N>
static bool read_enum(const std::string_view (&)[N], uint64_t value, Enum& out) {
  if (value >= N) return false;
  out = static_cast<Enum>(value);
  return true;
}

bool from_record(uint64_t value, Decision& out) { return read_enum(kDecisionNames, value, out); }
bool from_record(uint64_t value, Step& out) { return read_enum(kStepNames, value, out); }
bool from_record(uint64_t value, Clock& out) { return read_enum(kClockNames, value, out); }
bool from_record(uint64_t value, Source& out) {
  if (value >= kSources) return false;
  out = static_cast<Source>(value);
  return true;
}
bool from_record(uint64_t value, Effect& out) { return read_enum(kEffectNames, value, out); }
bool from_record(uint64_t value, ModelAction& out) { return read_enum(kModelActionNames, value, out); }
bool from_record(uint64_t value, Arm& out) { return read_enum(kArmNames, value, out); }
bool from_record(uint64_t value, Outcome& out) { return read_enum(kOutcomeNames, value, out); }
bool from_record(uint64_t value, Finding& out) { return read_enum(kFindingNames, value, out); }
bool from_record(uint64_t value, Severity& out) { return read_enum(kSeverityNames, value, out); }
bool from_record(uint64_t value, Action& out) { return read_enum(kActionNames, value, out); }
bool from_record(uint64_t value, Verdict& out) { return read_enum(kVerdictNames, value, out); }

// A name from a request; those before `first` may not be sent.
template <typename Enum, size_t N>
static tl::expected<Enum, std::string> parse_enum(const std::string_view (&names)[N], std::string_view text,
                                                  size_t first = 0) {
  for (size_t i = first; i < N; ++i) {
    if (text == names[i]) return static_cast<Enum>(i);
  }
  return tl::make_unexpected(fmt::format("found \"{}\", allowed are {}", text.substr(0, 40),
                                         fmt::join(std::span(names).subspan(first), ", ")));
}

tl::expected<Outcome, std::string> parse_outcome(std::string_view text) {
  return parse_enum<Outcome>(kOutcomeNames, text, 1);  // unreported is not reported
}

tl::expected<RetrainStrategy, std::string> parse_retrain_strategy(std::string_view text) {
  return parse_enum<RetrainStrategy>(kStrategyNames, text);
}

std::string to_hex(const ModelId& id) {
  std::string hex;
  for (const uint8_t byte : id) hex += fmt::format("{:02x}", byte);
  return hex;
}

ModelId from_hex(std::string_view hex) {
  ModelId id{};
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  if (hex.size() != 32 || hex.find_first_not_of("0123456789abcdef") != std::string_view::npos) return id;
  for (size_t i = 0; i < 16; ++i)
    id[i] = static_cast<uint8_t>(digit(hex[2 * i]) * 16 + digit(hex[2 * i + 1]));
  return id;
}

void note(LabelState& state, Source source, Verdict verdict) {
  const size_t at = static_cast<size_t>(source);
  const uint8_t before = std::exchange(state.rank[at], 0);
  for (uint8_t& rank : state.rank) rank = static_cast<uint8_t>(rank - (before > 0 && rank > before));
  state.rank[at] = static_cast<uint8_t>(*std::max_element(state.rank.begin(), state.rank.end()) + 1);
  state.by_source[at] = verdict;
}

std::string encode(const LabelState& state) {
  std::string bytes;
  for (const Verdict verdict : state.by_source) bytes.push_back(static_cast<char>(verdict));
  for (const uint8_t rank : state.rank) bytes.push_back(static_cast<char>(rank));
  bytes.push_back(static_cast<char>(state.current));
  bytes.push_back(static_cast<char>(state.outcome));
  bytes.append(reinterpret_cast<const char*>(&state.sequence), sizeof(state.sequence));
  bytes.append(reinterpret_cast<const char*>(&state.kpis), sizeof(state.kpis));
  return bytes;
}

namespace {

// As versions before sources were declared wrote it: four sources, and an outcome only where one was
// reported. The source whose verdict counted was the newest.
LabelState decode_four_sources(std::string_view bytes) {
  constexpr size_t kFour = 4, kPlain = kFour + 1 + sizeof(LabelState::sequence);
  LabelState state;
  std::array<Verdict, kFour> said{};
  bool known = bytes.size() == kPlain || from_record(static_cast<uint8_t>(bytes[kPlain]), state.outcome);
  known &= from_record(static_cast<uint8_t>(bytes[kFour]), state.current);
  for (size_t i = 0; i < kFour; ++i) known &= from_record(static_cast<uint8_t>(bytes[i]), said[i]);
  if (!known) return {};
  for (const bool newest : {false, true}) {
    for (size_t i = 0; i < kFour; ++i) {
      if (said[i] != Verdict::kUnknown && (said[i] == state.current) == newest)
        note(state, static_cast<Source>(i), said[i]);
    }
  }
  std::memcpy(&state.sequence, bytes.data() + kFour + 1, sizeof(state.sequence));
  return state;
}

}  // namespace

LabelState decode_label_state(std::string_view bytes) {
  LabelState state;
  constexpr size_t kBytes = 2 * kSources + 2 + sizeof(state.sequence) + sizeof(state.kpis);
  if (bytes.size() == 13 || bytes.size() == 14) return decode_four_sources(bytes);
  if (bytes.size() != kBytes) return state;
  bool known = true;
  for (size_t i = 0; i < kSources; ++i) {
    known &= from_record(static_cast<uint8_t>(bytes[i]), state.by_source[i]);
    state.rank[i] = static_cast<uint8_t>(bytes[kSources + i]);
    known &= state.rank[i] <= kSources;
  }
  known &= from_record(static_cast<uint8_t>(bytes[2 * kSources]), state.current);
  known &= from_record(static_cast<uint8_t>(bytes[2 * kSources + 1]), state.outcome);
  if (!known) return {};
  std::memcpy(&state.sequence, bytes.data() + 2 * kSources + 2, sizeof(state.sequence));
  std::memcpy(&state.kpis, bytes.data() + 2 * kSources + 2 + sizeof(state.sequence), sizeof(state.kpis));
  return state;
}

std::array<uint8_t, 16> to_bytes(const Key& key) {
  std::array<uint8_t, 16> bytes;
  for (size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<uint8_t>(key.high >> (56 - 8 * i));
    bytes[8 + i] = static_cast<uint8_t>(key.low >> (56 - 8 * i));
  }
  return bytes;
}

Key to_key(std::string_view bytes) {
  Key key;
  if (bytes.size() != 16) return key;
  for (size_t i = 0; i < 8; ++i) {
    key.high = key.high << 8 | static_cast<uint8_t>(bytes[i]);
    key.low = key.low << 8 | static_cast<uint8_t>(bytes[8 + i]);
  }
  return key;
}

std::string floats_to_bytes(const std::vector<float>& floats) {
  return {reinterpret_cast<const char*>(floats.data()), floats.size() * sizeof(float)};
}

std::vector<float> floats_from_bytes(std::string_view bytes) {
  std::vector<float> floats(bytes.size() / sizeof(float));
  if (!floats.empty()) std::memcpy(floats.data(), bytes.data(), floats.size() * sizeof(float));
  return floats;
}

uint64_t content_hash(const Transaction& transaction) {
  uint64_t hash = 0;
  for (const features::Value& value : transaction.values) {
    const int64_t fixed[2] = {value.present, value.present ? value.fixed : 0};
    hash = XXH3_64bits_withSeed(fixed, sizeof(fixed), hash);
    if (value.present && !value.text.empty())
      hash = XXH3_64bits_withSeed(value.text.data(), value.text.size(), hash);
  }
  return hash == 0 ? 1 : hash;
}

std::optional<size_t> differing_field(const Transaction& a, const Transaction& b) {
  for (size_t i = 0; i < a.values.size() && i < b.values.size(); ++i) {
    const features::Value &one = a.values[i], &other = b.values[i];
    if (one.present != other.present) return i;
    if (one.present && (one.fixed != other.fixed || one.text != other.text)) return i;
  }
  return std::nullopt;
}

void encode(const features::Schema& schema, const TransactionEvent& event, std::string& out) {
  static thread_local proto::EventRecord record;
  record.Clear();
  proto::TransactionRecord& t = *record.mutable_transaction();
  uint64_t missing = 0;
  for (size_t i = 0; i < schema.fields.size(); ++i) {
    const features::Value& value = event.transaction.values[i];
    t.add_fixed(value.fixed);
    if (!value.present) {
      missing |= uint64_t{1} << i;
    } else if (schema.fields[i].type == features::FieldType::kText) {
      t.add_texts(value.text);
    }
  }
  t.set_missing(missing);
  t.set_row(event.row.data(), event.row.size() * sizeof(float));
  write_answer(event.answer, t);
  record.SerializeToString(&out);
}

void encode(const LabelEvent& event, std::string& out) {
  proto::EventRecord record;
  proto::LabelRecord& label = *record.mutable_label();
  const auto key = to_bytes(event.transaction);
  label.set_transaction(key.data(), key.size());
  label.set_verdict(static_cast<uint32_t>(event.verdict));
  label.set_source(static_cast<uint32_t>(event.source));
  label.set_time_us(event.time_us);
  label.set_transaction_sequence(event.transaction_sequence);
  label.set_outcome(static_cast<uint32_t>(event.outcome));
  label.set_reveals(event.reveals);
  record.SerializeToString(&out);
}

void encode(const ModelEvent& event, std::string& out) {
  proto::EventRecord record;
  proto::ModelRecord& model = *record.mutable_model();
  model.set_action(static_cast<uint32_t>(event.action));
  model.set_candidate(event.candidate);
  model.set_model(event.model);
  model.set_report(event.report);
  model.set_share(event.share);
  record.SerializeToString(&out);
}

void encode(const ConfigEvent& event, std::string& out) {
  proto::EventRecord record;
  record.mutable_config()->set_text(event.text);
  record.mutable_config()->set_plan(event.plan);
  record.SerializeToString(&out);
}

void encode(const RepairEvent& event, std::string& out) {
  proto::EventRecord record;
  record.mutable_repair()->set_watermark_us(event.watermark_us);
  record.SerializeToString(&out);
}

void encode(const OutcomeEvent& event, std::string& out) {
  proto::EventRecord record;
  proto::OutcomeRecord& outcome = *record.mutable_outcome();
  const auto key = to_bytes(event.transaction);
  outcome.set_transaction(key.data(), key.size());
  outcome.set_outcome(static_cast<uint32_t>(event.outcome));
  outcome.set_time_us(event.time_us);
  outcome.set_transaction_sequence(event.transaction_sequence);
  outcome.set_tells(event.tells);
  record.SerializeToString(&out);
}

void write_judgement(const JudgementEvent& event, proto::JudgementRecord& record) {
  record.set_monitor(event.monitor);
  record.set_subject(event.subject);
  record.set_finding(static_cast<uint32_t>(event.finding));
  record.set_severity(static_cast<uint32_t>(event.severity));
  record.set_action(static_cast<uint32_t>(event.action));
  record.set_target(event.target);
  for (const double value : event.values) record.add_values(value);
  record.set_time_us(event.time_us);
  record.set_text(event.text);
  record.set_evidence(event.evidence);
}

bool read_judgement(const proto::JudgementRecord& record, JudgementEvent& event) {
  event.monitor = record.monitor();
  event.subject = record.subject();
  event.target = record.target();
  for (size_t i = 0; i < event.values.size(); ++i)
    event.values[i] = static_cast<int>(i) < record.values_size() ? record.values(static_cast<int>(i)) : 0;
  event.time_us = record.time_us();
  event.text = record.text();
  event.evidence = record.evidence();
  return from_record(record.finding(), event.finding) && from_record(record.severity(), event.severity) &&
         from_record(record.action(), event.action);
}

void encode(const JudgementEvent& event, std::string& out) {
  proto::EventRecord record;
  write_judgement(event, *record.mutable_judgement());
  record.SerializeToString(&out);
}

void encode(const MachineEvent& event, std::string& out) {
  proto::EventRecord record;
  proto::MachineRecord& machine = *record.mutable_machine();
  machine.set_time_us(event.time_us);
  machine.set_period_us(event.period_us);
  machine.set_answers(event.answers);
  machine.set_p50_us(event.p50_us);
  machine.set_p99_us(event.p99_us);
  machine.set_p999_us(event.p999_us);
  machine.set_late(event.late);
  machine.set_refusals(event.refusals);
  machine.set_fallbacks(event.fallbacks);
  machine.set_statics(event.statics);
  machine.set_resident_bytes(event.resident_bytes);
  machine.set_examples_waiting(event.examples_waiting);
  record.SerializeToString(&out);
}

void encode(const StartEvent& event, std::string& out) {
  proto::EventRecord record;
  proto::StartRecord& start = *record.mutable_start();
  start.set_time_us(event.time_us);
  start.set_version(event.version);
  start.set_config(event.config);
  start.set_folded(event.folded);
  record.SerializeToString(&out);
}

void encode(const KpiEvent& event, std::string& out) {
  proto::EventRecord record;
  proto::KpiRecord& kpi = *record.mutable_kpi();
  const auto key = to_bytes(event.transaction);
  kpi.set_transaction(key.data(), key.size());
  kpi.set_name(event.name);
  kpi.set_value(event.value);
  kpi.set_time_us(event.time_us);
  kpi.set_transaction_sequence(event.transaction_sequence);
  kpi.set_transaction_us(event.transaction_us);
  kpi.set_entity(event.entity);
  kpi.set_arm(static_cast<uint32_t>(event.arm));
  kpi.set_step(static_cast<uint32_t>(event.step));
  record.SerializeToString(&out);
}

tl::expected<Event, std::string> decode_event(const features::Schema& schema, std::string_view bytes) {
  proto::EventRecord record;
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return tl::make_unexpected(std::string("the record is not an event"));
  }
  switch (record.kind_case()) {
    case proto::EventRecord::kTransaction: {
      std::string problem;
      TransactionEvent event = decode(schema, record.transaction(), problem);
      if (!problem.empty()) return tl::make_unexpected(problem);
      return Event(std::move(event));
    }
    case proto::EventRecord::kLabel: {
      const proto::LabelRecord& label = record.label();
      LabelEvent event{.transaction = to_key(label.transaction()),
                       .time_us = label.time_us(),
                       .transaction_sequence = label.transaction_sequence(),
                       .reveals = label.reveals()};
      if (!from_record(label.verdict(), event.verdict) || !from_record(label.source(), event.source) ||
          !from_record(label.outcome(), event.outcome)) {
        return tl::make_unexpected(std::string("a label has a value that this version does not know"));
      }
      return Event(event);
    }
    case proto::EventRecord::kModel: {
      const proto::ModelRecord& model = record.model();
      ModelEvent event{.candidate = model.candidate(),
                       .model = model.model(),
                       .report = model.report(),
                       .share = model.share()};
      if (!from_record(model.action(), event.action))
        return tl::make_unexpected(
            std::string("a model event has an action that this version does not know"));
      return Event(std::move(event));
    }
    case proto::EventRecord::kConfig:
      return Event(ConfigEvent{record.config().text(), record.config().plan()});
    case proto::EventRecord::kRepair:
      return Event(RepairEvent{record.repair().watermark_us()});
    case proto::EventRecord::kOutcome: {
      const proto::OutcomeRecord& outcome = record.outcome();
      OutcomeEvent event{.transaction = to_key(outcome.transaction()),
                         .time_us = outcome.time_us(),
                         .transaction_sequence = outcome.transaction_sequence(),
                         .tells = outcome.tells()};
      if (!from_record(outcome.outcome(), event.outcome))
        return tl::make_unexpected(std::string("an outcome has a value that this version does not know"));
      return Event(event);
    }
    case proto::EventRecord::kJudgement: {
      JudgementEvent event;
      if (!read_judgement(record.judgement(), event))
        return tl::make_unexpected(std::string("a judgement has a value that this version does not know"));
      return Event(std::move(event));
    }
    case proto::EventRecord::kMachine: {
      const proto::MachineRecord& machine = record.machine();
      return Event(MachineEvent{.time_us = machine.time_us(),
                                .period_us = machine.period_us(),
                                .answers = machine.answers(),
                                .p50_us = machine.p50_us(),
                                .p99_us = machine.p99_us(),
                                .p999_us = machine.p999_us(),
                                .late = machine.late(),
                                .refusals = machine.refusals(),
                                .fallbacks = machine.fallbacks(),
                                .statics = machine.statics(),
                                .resident_bytes = machine.resident_bytes(),
                                .examples_waiting = machine.examples_waiting()});
    }
    case proto::EventRecord::kStart: {
      const proto::StartRecord& start = record.start();
      return Event(StartEvent{start.time_us(), start.version(), start.config(), start.folded()});
    }
    case proto::EventRecord::kKpi: {
      const proto::KpiRecord& kpi = record.kpi();
      KpiEvent event{.transaction = to_key(kpi.transaction()),
                     .name = kpi.name(),
                     .value = kpi.value(),
                     .time_us = kpi.time_us(),
                     .transaction_sequence = kpi.transaction_sequence(),
                     .transaction_us = kpi.transaction_us(),
                     .entity = kpi.entity()};
      if (!from_record(kpi.arm(), event.arm) || !from_record(kpi.step(), event.step))
        return tl::make_unexpected(std::string("a KPI has a value that this version does not know"));
      return Event(std::move(event));
    }
    default:
      return tl::make_unexpected(std::string("the event is of a kind that this version does not know"));
  }
}

bool transaction_key(const features::Schema& schema, std::string_view bytes, Key& out) {
  auto event = decode_event(schema, bytes);
  if (!event || !std::holds_alternative<TransactionEvent>(*event)) return false;
  out = std::get<TransactionEvent>(*event).transaction.id;
  return true;
}

}  // namespace shrike::engine
