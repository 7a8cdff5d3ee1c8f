#include "features/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

#include "features/aggregates.h"
#include "features/plan_layout.h"

namespace shrike::features {
namespace {

constexpr size_t kFiltersMax = 24;  // flag bits of an event below the two label bits
// Positions have 16 bits in the plan; these are far below, and beyond any use.
constexpr size_t kFeaturesMax = 8192;  // hidden ones too
constexpr size_t kWindowsMax = 1024;   // different ones of an entity kind

tl::unexpected<Error> fail(const FeatureSpec& spec, std::string reason) {
  return tl::make_unexpected(Error{spec.name, std::move(reason)});
}

Result<TimeZone> no_zones(std::string_view name) {
  return tl::make_unexpected(Error{std::string(name), "only UTC is known here"});
}

// Builds a plan spec by spec; each needed column, filter and accumulator is made once.
class Compiler {
 public:
  Compiler(const Schema& schema, const PlanOptions& options)
      : options_(options), program_(schema, options.zones ? options.zones : no_zones) {
    plan_.schema = schema;
    plan_.lateness_us = options.lateness_us;
    for (const EntityKind& kind : schema.entities) {
      EntityPlan entity;
      entity.name = kind.name;
      entity.key_fields = kind.fields;
      entity.entities_max = kind.entities_max;
      entity.events_max = options.events_per_entity_max;
      plan_.entities.push_back(std::move(entity));
    }
  }

  Result<void> add(const FeatureSpec& spec) {
    const AggregateInfo& about = info(spec.aggregate);
    if (about.wants_input && spec.input.empty())
      return fail(spec, fmt::format("{} needs an input", about.name));
    if (about.windowed && spec.windows_us.empty())
      return fail(spec, fmt::format("{} needs a window", about.name));
    if (!about.windowed && !spec.windows_us.empty())
      return fail(spec, fmt::format("{} takes no window", about.name));
    if (!about.of_entity && !spec.entity.empty())
      return fail(spec, fmt::format("{} takes no entity", about.name));
    if (!about.of_entity) return add_plain(spec);
    const auto entity = plan_.schema.find_entity(spec.entity);
    if (!entity) return fail(spec, fmt::format("entity \"{}\" is not declared", spec.entity));
    if (spec.windows_us.size() > kWindowsMax)
      return fail(spec, fmt::format("{} windows; at most {}", spec.windows_us.size(), kWindowsMax));
    std::vector<int64_t> windows = spec.windows_us;
    if (windows.empty()) windows.push_back(kForever);
    for (const int64_t window : windows) {
      if (window <= 0) return fail(spec, "a window must be longer than 0s");
      const std::string name =
          spec.exact_name || !about.windowed ? spec.name : spec.name + "_" + format_duration(window);
      if (auto done = add_over_entity(spec, name, static_cast<uint16_t>(*entity), window); !done) return done;
    }
    return {};
  }

  Result<Plan> finish(const std::vector<FeatureSpec>& specs) {
    for (const Instruction& add : adds_after_) plan_.instructions.push_back(add);
    for (EntityPlan& entity : plan_.entities) lay_out(entity, options_);
    plan_.program = program_.finish();
    plan_.fingerprint = fingerprint(plan_, options_, specs);
    if (plan_.columns.empty()) return tl::make_unexpected(Error{"features", "no feature is declared"});
    return std::move(plan_);
  }

 private:
  // What an input is: a field, a feature or the value of an expression.
  struct Operand {
    ValueType type = ValueType::kNumber;
    int16_t field = -1;
    int16_t feature = -1;
    Register made;                  // of an expression
    std::vector<uint16_t> made_of;  // the features in it
  };

  std::optional<Operand> find(std::string_view name) const {
    // Features shadow fields, so that a feature named as its field can be the input of others.
    for (size_t i = plan_.features.size(); i-- > 0;) {
      if (plan_.features[i].name != name) continue;
      return Operand{
          .type = types_[i], .feature = static_cast<int16_t>(i), .made_of = {static_cast<uint16_t>(i)}};
    }
    if (auto field = plan_.schema.find(name))
      return Operand{.type = type_of(plan_.schema.fields[*field].type),
                     .field = static_cast<int16_t>(*field)};
    return std::nullopt;
  }

  // A text's register is that of the text itself, not of its category.
  Register register_of(const Operand& operand) {
    if (operand.field >= 0) return program_.field(static_cast<size_t>(operand.field));
    if (operand.feature < 0) return operand.made;
    const Feature& feature = plan_.features[static_cast<size_t>(operand.feature)];
    if (operand.type == ValueType::kText) return feature.source;
    return {operand.type, feature.value};
  }

  std::vector<std::string> all_names() const {
    std::vector<std::string> all;
    for (const Field& field : plan_.schema.fields) all.push_back(field.name);
    for (const Feature& feature : plan_.features) all.push_back(feature.name);
    return all;
  }

  // The value of what stands in the configuration under `key`.
  Result<Operand> expression(const FeatureSpec& spec, std::string_view key, const std::string& text,
                             bool condition) {
    const Names names{[&](std::string_view name) -> std::optional<ValueType> {
                        const auto found = find(name);
                        return found ? std::optional(found->type) : std::nullopt;
                      },
                      [&] { return all_names(); }};
    const auto parsed = condition ? parse_condition(text, names) : parse_expression(text, names);
    if (!parsed) return fail(spec, fmt::format("{}, {}", key, parsed.error().reason));
    Operand made{.type = parsed->type};
    const uint16_t begin = program_.steps();
    const auto compiled = program_.add(*parsed, text, [&](std::string_view name) {
      const Operand found = *find(name);
      made.made_of.insert(made.made_of.end(), found.made_of.begin(), found.made_of.end());
      return register_of(found);
    });
    if (!compiled) return fail(spec, fmt::format("{}, {}", key, compiled.error().reason));
    made.made = *compiled;
    run_from(begin);
    return made;
  }

  // The steps made since are run here.
  void run_from(uint16_t begin) {
    if (program_.steps() == begin) return;
    Instruction* last = plan_.instructions.empty() ? nullptr : &plan_.instructions.back();
    if (last != nullptr && last->code == OpCode::kRun) {
      last->source = program_.steps();
    } else {
      plan_.instructions.push_back({OpCode::kRun, 0, begin, program_.steps()});
    }
  }

  // A name as it stands, whatever is in it; else an expression.
  Result<Operand> value(const FeatureSpec& spec, std::string_view key, const std::string& text) {
    if (auto named = find(text)) return *named;
    return expression(spec, key, text, false);
  }

  Result<Operand> operand(const FeatureSpec& spec, std::string_view key, const std::string& text,
                          bool identity) {
    auto found = value(spec, key, text);
    if (!found) return found;
    if (found->type == ValueType::kText && !identity)
      return fail(spec, fmt::format("\"{}\" is a text; a number is needed", text));
    if (found->type == ValueType::kTime && !(identity && found->field >= 0)) {
      return fail(spec, found->field >= 0
                            ? fmt::format("\"{}\" is the event time", text)
                            : fmt::format("\"{}\" is a time; a number is needed: its hour(), or the seconds "
                                          "between two, a - b",
                                          text));
    }
    return found;
  }

  // `type` is that of its name in expressions.
  Result<void> publish(const FeatureSpec& spec, Feature feature, ValueType type = ValueType::kNumber,
                       bool is_derived = false) {
    for (const Feature& other : plan_.features) {
      if (other.name == feature.name)
        return fail(spec, fmt::format("the name \"{}\" is used twice", feature.name));
    }
    if (plan_.features.size() == kFeaturesMax)
      return fail(spec, fmt::format("there are more than {} features", kFeaturesMax));
    if (spec.calendar_days && !row_of(spec.aggregate).age)
      return fail(spec, "unit = \"days\" is for ages: time_since_…, label_run_age, label_run_before");
    feature.transform = spec.transform;
    feature.calendar_days = spec.calendar_days;
    feature.at_least = spec.at_least.value_or(-std::numeric_limits<double>::infinity());
    feature.at_most = spec.at_most.value_or(std::numeric_limits<double>::infinity());
    feature.empty = spec.empty.value_or(
        row_of(spec.aggregate).zero_when_empty ? 0 : std::numeric_limits<double>::quiet_NaN());
    if (!spec.hidden) {
      feature.output = static_cast<int16_t>(plan_.columns.size());
      plan_.columns.push_back(feature.name);
      plan_.categorical.push_back(feature.categorical);
    }
    const auto index = static_cast<uint16_t>(plan_.features.size());
    // The value of an expression, unchanged, is where it was computed.
    const bool as_it_is = feature.aggregate == Aggregate::kField && spec.transform == Transform::kNone &&
                          !spec.empty && !spec.at_least && !spec.at_most;
    feature.value = as_it_is ? feature.source.at : program_.reserve(ValueType::kNumber).at;
    if (!program_.fits()) return fail(spec, "there are too many expressions");
    if (!as_it_is) plan_.instructions.push_back({OpCode::kEvaluate, feature.entity, index, 0});
    plan_.features.push_back(std::move(feature));
    types_.push_back(type);
    derived_.push_back(is_derived);
    return {};
  }

  Result<void> add_plain(const FeatureSpec& spec) {
    Feature feature;
    feature.name = spec.name;
    feature.aggregate = spec.aggregate;
    feature.state = "no state";
    if (spec.aggregate == Aggregate::kCategory) {
      if (auto entity = plan_.schema.find_entity(spec.input)) {
        feature.categorical = true;
        feature.key_of = static_cast<int16_t>(*entity);
        return publish(spec, std::move(feature));
      }
    }
    if (!info(spec.aggregate).wants_input) return publish(spec, std::move(feature));
    if (spec.aggregate == Aggregate::kQuotient) return add_quotient(spec, std::move(feature));
    return add_value(spec, std::move(feature));
  }

  Result<void> add_quotient(const FeatureSpec& spec, Feature feature) {
    const auto input = operand(spec, "input", spec.input, false);
    if (!input) return tl::make_unexpected(input.error());
    const auto divisor = operand(spec, "divisor", spec.divisor, false);
    if (!divisor) return tl::make_unexpected(divisor.error());
    feature.made_of = input->made_of;
    feature.made_of.insert(feature.made_of.end(), divisor->made_of.begin(), divisor->made_of.end());
    const uint16_t begin = program_.steps();
    feature.source = program_.divide(register_of(*input), register_of(*divisor));
    run_from(begin);
    return publish(spec, std::move(feature));
  }

  // The value of a field or an expression, or its identity.
  Result<void> add_value(const FeatureSpec& spec, Feature feature) {
    const bool named = find(spec.input).has_value();
    const auto input = value(spec, "expression", spec.input);
    if (!input) return tl::make_unexpected(input.error());
    feature.made_of = input->made_of;
    feature.field = input->field;
    feature.source = register_of(*input);
    if (!named) feature.state = fmt::format("{}: {}", name(input->type), spec.input);
    if (feature.source.is_text()) feature.aggregate = Aggregate::kCategory;
    feature.categorical = feature.aggregate == Aggregate::kCategory;
    const bool time = input->type == ValueType::kTime;
    if (time && !feature.categorical && (input->field >= 0 || !spec.hidden))
      return fail(spec, fmt::format("\"{}\" is {}time; take its hour() or the seconds between two, a - b{}",
                                    spec.input, input->field >= 0 ? "the event " : "a ",
                                    input->field >= 0 ? "" : ", or hide it, for others to use"));
    const bool changed = spec.transform != Transform::kNone || spec.at_least || spec.at_most || spec.empty;
    if ((feature.source.is_text() || time) && changed)
      return fail(spec, "transform, at_least, at_most and empty are for numbers");
    const bool keeps_type = feature.source.is_text() || (!feature.categorical && !changed);
    return publish(spec, std::move(feature), keeps_type ? input->type : ValueType::kNumber, !named);
  }

  uint16_t window(EntityPlan& entity, int64_t length_us, int64_t delay_us) {
    for (size_t i = 0; i < entity.windows.size(); ++i) {
      if (entity.windows[i].length_us == length_us && entity.windows[i].delay_us == delay_us)
        return static_cast<uint16_t>(i);
    }
    entity.windows.push_back({length_us, delay_us, {}});
    return static_cast<uint16_t>(entity.windows.size() - 1);
  }

  // Whether it is the value of an expression. Aggregations of others are told apart by their fixed point, as
  // ever.
  bool derived(const Operand& input) const {
    return input.feature < 0 || derived_[static_cast<size_t>(input.feature)];
  }

  // The value column that keeps the input of an aggregation.
  Result<int16_t> column(const FeatureSpec& spec, uint16_t entity_index) {
    const bool identity = row_of(spec.aggregate).identity;
    const auto input = operand(spec, "input", spec.input, identity);
    if (!input) return tl::make_unexpected(input.error());
    const bool is_field = input->field >= 0;
    const Register from = is_field ? Register{} : register_of(*input);
    const auto source = is_field ? static_cast<uint16_t>(input->field) : from.at;
    const OpCode code = is_field                      ? OpCode::kColumnFromField
                        : from.is_text()              ? OpCode::kColumnFromText
                        : identity && derived(*input) ? OpCode::kColumnFromIdentity
                                                      : OpCode::kColumnFromNumber;
    const auto key = std::make_tuple(entity_index, code, source, is_field ? 0 : spec.decimals);
    if (auto found = columns_.find(key); found != columns_.end()) return found->second;
    EntityPlan& entity = plan_.entities[entity_index];
    const auto made = static_cast<int16_t>(entity.column_scales.size());
    double scale = static_cast<double>(scale_of(spec.decimals));
    if (is_field) {
      const Field& field = plan_.schema.fields[source];
      scale = field.type == FieldType::kNumber ? static_cast<double>(scale_of(field.decimals)) : 1;
      const double bound = static_cast<double>(Schema::kFixedMax) / scale;
      if (!identity && field.type == FieldType::kInteger &&
          (field.maximum > bound || field.minimum < -bound)) {
        return fail(
            spec,
            fmt::format("field \"{}\" may be as large as {}; to aggregate it, give it min and max within {}",
                        field.name, field.maximum, bound));
      }
    }
    entity.column_scales.push_back(scale);
    columns_[key] = made;
    plan_.instructions.push_back({code, entity_index, static_cast<uint16_t>(made), source});
    return made;
  }

  Result<int16_t> filter(const FeatureSpec& spec, uint16_t entity_index) {
    if (spec.where.empty()) return int16_t{-1};
    const auto condition = expression(spec, "where", spec.where, true);
    if (!condition) return tl::make_unexpected(condition.error());
    const uint16_t source = condition->made.at;
    const auto key = std::make_pair(entity_index, source);
    if (auto found = filters_.find(key); found != filters_.end()) return found->second;
    EntityPlan& entity = plan_.entities[entity_index];
    if (entity.filters.size() == kFiltersMax) {
      return fail(spec,
                  fmt::format("entity \"{}\" has more than {} different filters", entity.name, kFiltersMax));
    }
    const auto index = static_cast<int16_t>(entity.filters.size());
    entity.filters.push_back(source);
    entity.has_flags = true;
    filters_[key] = index;
    plan_.instructions.push_back({OpCode::kFilter, entity_index, static_cast<uint16_t>(index), source});
    return index;
  }

  int16_t accumulator(uint16_t entity_index, Accumulator wanted) {
    EntityPlan& entity = plan_.entities[entity_index];
    for (size_t i = 0; i < entity.accumulators.size(); ++i) {
      const Accumulator& have = entity.accumulators[i];
      const bool same_kind = have.kind == wanted.kind || (have.kind == AccumulatorKind::kMoments2 &&
                                                          wanted.kind == AccumulatorKind::kMoments);
      if (same_kind && have.window == wanted.window && have.filter == wanted.filter &&
          have.column == wanted.column && have.after == wanted.after && have.parameter == wanted.parameter) {
        return static_cast<int16_t>(i);
      }
    }
    const auto index = static_cast<uint16_t>(entity.accumulators.size());
    if (wanted.kind == AccumulatorKind::kClipped) {
      wanted.clipped_column = static_cast<int16_t>(entity.column_scales.size());
      entity.column_scales.push_back(wanted.scale);
    }
    Window& over = entity.windows[wanted.window];
    over.accumulators.push_back(index);
    wanted.unbounded = over.length_us == kForever;
    entity.accumulators.push_back(wanted);
    if (over.delay_us == 0) {  // with a delay, events join when they are old enough
      const Instruction add{OpCode::kAdd, entity_index, index, 0};
      (wanted.after ? adds_after_ : plan_.instructions).push_back(add);
    }
    return static_cast<int16_t>(index);
  }

  // How a spec's events are chosen, once the defaults are filled in.
  struct Choice {
    int64_t delay_us;    // the window ends this long before the event
    int64_t settled_us;  // the age from which silence counts as legitimate
    bool include;        // the current event
  };

  Choice choose(const FeatureSpec& spec) const {
    const AggregateRow& row = row_of(spec.aggregate);
    const int64_t settled_us = spec.delay_us == 0 ? options_.maturity_us : spec.delay_us;
    const int64_t delay_us = row.kin == Kin::kLabelRun          ? settled_us
                             : row.kin == Kin::kCountSinceLabel ? 0
                                                                : spec.delay_us;
    return {delay_us, settled_us, spec.include_current.value_or(delay_us == 0 && row.includes_current)};
  }

  // What each kin cannot have.
  Result<void> check(const FeatureSpec& spec, const Choice& choice, int64_t window_us) const {
    const Kin kin = row_of(spec.aggregate).kin;
    const bool since = kin == Kin::kSinceLabel || kin == Kin::kCountSinceLabel;
    if (choice.include && choice.delay_us > 0)
      return fail(spec, "include_current makes no sense with a delay");
    if (kin == Kin::kLabelRun && choice.delay_us == 0)
      return fail(spec, "a label run needs a delay: the age from which silence counts as legitimate");
    const bool finite = since || kin == Kin::kFinite || kin == Kin::kBefore;
    if (finite && window_us == kForever) return fail(spec, "it needs a finite window");
    if (kin == Kin::kBefore && choice.include)
      return fail(spec, "what was before this event cannot include it");
    if (since && (choice.delay_us > 0 || choice.include))
      return fail(spec, "a fraud counts from the moment its label is known: no delay, no current event");
    if (kin == Kin::kCountSinceLabel && choice.settled_us == 0)
      return fail(spec, "it needs a delay: the age from which silence counts as legitimate");
    if (kin == Kin::kLabelRun && !spec.where.empty()) return fail(spec, "a label run takes no filter");
    if (kin == Kin::kNewest && choice.include)
      return fail(spec, "the newest event before this one cannot include it");
    if (kin == Kin::kClipped && choice.delay_us > 0) return fail(spec, "a clipped mean takes no delay");
    if (kin == Kin::kClipped && !(spec.clip_factor > 1))
      return fail(spec, fmt::format("clip_factor is {}; it must exceed 1", spec.clip_factor));
    if (kin == Kin::kDecayed && (spec.half_life_us <= 0 || choice.delay_us > 0))
      return fail(spec, "a decayed aggregation needs a half_life and takes no delay");
    return {};
  }

  Result<void> add_over_entity(const FeatureSpec& spec, const std::string& name, uint16_t entity_index,
                               int64_t window_us) {
    const AggregateRow& row = row_of(spec.aggregate);
    EntityPlan& entity = plan_.entities[entity_index];
    if (entity.windows.size() + 2 > kWindowsMax) {
      return fail(spec,
                  fmt::format("entity \"{}\" has more than {} different windows", entity.name, kWindowsMax));
    }
    const Choice choice = choose(spec);
    if (auto fits = check(spec, choice, window_us); !fits) return fits;
    Feature feature;
    feature.name = name;
    feature.aggregate = spec.aggregate;
    feature.entity = entity_index;
    feature.quantile = spec.quantile;
    Accumulator wanted{.kind = row.first};
    if (row.info.wants_input) {
      const auto made = column(spec, entity_index);
      if (!made) return tl::make_unexpected(made.error());
      feature.input = *made;
      wanted.column = row.of_events ? int16_t{-1} : *made;
      wanted.scale = entity.column_scales[static_cast<size_t>(*made)];
      feature.scale = wanted.scale;
    }
    const auto flag = filter(spec, entity_index);
    if (!flag) return tl::make_unexpected(flag.error());
    wanted.filter = *flag;
    wanted.window = window(entity, window_us, choice.delay_us);
    wanted.after = !choice.include && choice.delay_us == 0;
    wanted.parameter = row.kin == Kin::kClipped   ? spec.clip_factor
                       : row.kin == Kin::kDecayed ? static_cast<double>(spec.half_life_us)
                                                  : 0;
    if (row.kin >= Kin::kLabels) entity.has_labels = entity.has_flags = true;
    feature.first = accumulator(entity_index, wanted);
    if (row.second) {
      wanted.kind = *row.second;
      if (row.kin == Kin::kCountSinceLabel) {  // of the events that count as legitimate
        wanted.window = window(entity, window_us, choice.settled_us);
        wanted.filter = -1;
        wanted.after = false;
      }
      feature.second = accumulator(entity_index, wanted);
    }
    feature.state =
        fmt::format("{} ring{}{}{}{}", entity.name,
                    window_us == kForever ? ", whole history" : ", window " + format_duration(window_us),
                    choice.delay_us > 0 ? ", delay " + format_duration(choice.delay_us) : "",
                    spec.input.empty() || find(spec.input) ? "" : ", of " + spec.input,
                    *flag >= 0 ? ", where " + spec.where : "");
    return publish(spec, std::move(feature));
  }

  PlanOptions options_;
  Plan plan_;
  ProgramBuilder program_;
  std::vector<ValueType> types_;  // of the features, as others see them
  std::vector<bool> derived_;     // whether they are values of expressions
  std::map<std::tuple<uint16_t, OpCode, uint16_t, int>, int16_t> columns_;
  std::map<std::pair<uint16_t, uint16_t>, int16_t> filters_;
  std::vector<Instruction> adds_after_;
};

}  // namespace

Result<Plan> compile(const Schema& schema, const std::vector<FeatureSpec>& specs,
                     const PlanOptions& options) {
  Compiler compiler(schema, options);
  for (const FeatureSpec& spec : specs) {
    if (auto added = compiler.add(spec); !added) return tl::make_unexpected(added.error());
  }
  return compiler.finish(specs);
}

namespace {

// The fields that each register comes from, instruction by instruction.
class FieldsOf {
 public:
  explicit FieldsOf(const Plan& plan)
      : plan_(plan), numbers_(plan.program.numbers), texts_(plan.program.texts) {
    for (const Program::Load& load : plan.program.loads) of(load.to) = bit(load.field);
  }

  void follow(const Instruction& one) {
    switch (one.code) {
      case OpCode::kRun:
        for (size_t i = one.index; i < one.source; ++i) follow(plan_.program.steps[i]);
        break;
      case OpCode::kColumnFromField:
        columns_[{one.entity, one.index}] = bit(one.source);
        break;
      case OpCode::kColumnFromNumber:
      case OpCode::kColumnFromIdentity:
        columns_[{one.entity, one.index}] = numbers_[one.source];
        break;
      case OpCode::kColumnFromText:
        columns_[{one.entity, one.index}] = texts_[one.source];
        break;
      case OpCode::kEvaluate:
        numbers_[plan_.features[one.index].value] = of(plan_.features[one.index]);
        break;
      case OpCode::kFilter:
      case OpCode::kAdd:
        break;
    }
  }
  uint64_t number(uint16_t at) const { return numbers_[at]; }

 private:
  static uint64_t bit(size_t field) { return uint64_t{1} << field; }
  uint64_t& of(Register at) { return at.is_text() ? texts_[at.at] : numbers_[at.at]; }

  void follow(const Step& step) {
    const OperandKinds kinds = operands_of(step.operation);
    uint64_t bits = 0;
    const uint16_t operands[] = {step.a, step.b, step.c, step.d};
    for (size_t i = 0; i < kinds.operands.size(); ++i) {
      if (kinds.operands[i] == 'n') bits |= numbers_[operands[i]];
      if (kinds.operands[i] == 't') bits |= texts_[operands[i]];
    }
    (kinds.makes_text ? texts_ : numbers_)[step.to] = bits;
  }

  uint64_t of(const Feature& feature) {
    if (info(feature.aggregate).of_entity) {
      uint64_t bits = entity(feature.entity);
      for (const int16_t at : {feature.first, feature.second})
        if (at >= 0) bits |= accumulator(feature.entity, static_cast<size_t>(at));
      if (feature.input >= 0) bits |= columns_[{feature.entity, static_cast<uint16_t>(feature.input)}];
      return bits;
    }
    if (feature.key_of >= 0) return entity(static_cast<size_t>(feature.key_of));
    return info(feature.aggregate).wants_input ? of(feature.source) : bit(plan_.schema.time);
  }
  uint64_t entity(size_t kind) const {
    uint64_t bits = 0;
    for (const size_t field : plan_.entities[kind].key_fields) bits |= bit(field);
    return bits;
  }
  uint64_t accumulator(uint16_t kind, size_t at) {
    const EntityPlan& entity = plan_.entities[kind];
    const Accumulator& accumulator = entity.accumulators[at];
    uint64_t bits = accumulator.column >= 0 ? columns_[{kind, static_cast<uint16_t>(accumulator.column)}] : 0;
    if (accumulator.filter >= 0) bits |= numbers_[entity.filters[static_cast<size_t>(accumulator.filter)]];
    return bits;
  }

  const Plan& plan_;
  std::vector<uint64_t> numbers_, texts_;                      // by register
  std::map<std::pair<uint16_t, uint16_t>, uint64_t> columns_;  // of rings
};

}  // namespace

std::vector<uint64_t> fields_of_columns(const Plan& plan) {
  std::vector<uint64_t> all(plan.columns.size(), 0);
  FieldsOf fields(plan);
  for (const Instruction& one : plan.instructions) fields.follow(one);
  for (const Feature& feature : plan.features) {
    if (feature.output >= 0) all[static_cast<size_t>(feature.output)] = fields.number(feature.value);
  }
  return all;
}

}  // namespace shrike::features
