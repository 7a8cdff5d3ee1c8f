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

constexpr int kFeatureDecimals = 6;  // of a feature that is the input of another
constexpr size_t kFiltersMax = 24;   // flag bits of an event below the two label bits
// Positions have 16 bits in the plan; these are far below, and beyond any use.
constexpr size_t kFeaturesMax = 8192;  // hidden ones too
constexpr size_t kWindowsMax = 1024;   // different ones of an entity kind

tl::unexpected<Error> fail(const FeatureSpec& spec, std::string reason) {
  return tl::make_unexpected(Error{spec.name, std::move(reason)});
}

// Builds a plan spec by spec; each needed column, filter and accumulator is made once.
class Compiler {
 public:
  Compiler(const Schema& schema, const PlanOptions& options) : options_(options) {
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
    plan_.fingerprint = fingerprint(plan_, options_, specs);
    if (plan_.columns.empty()) return tl::make_unexpected(Error{"features", "no feature is declared"});
    return std::move(plan_);
  }

 private:
  struct Operand {
    bool is_feature = false;
    uint16_t index = 0;
  };

  std::optional<Operand> find(const std::string& name) const {
    // Features shadow fields, so that a feature named as its field can be the input of others.
    for (size_t i = plan_.features.size(); i-- > 0;) {
      if (plan_.features[i].name == name) return Operand{true, static_cast<uint16_t>(i)};
    }
    if (auto field = plan_.schema.find(name)) return Operand{false, static_cast<uint16_t>(*field)};
    return std::nullopt;
  }

  Result<Operand> operand(const FeatureSpec& spec, const std::string& name, bool text_allowed) const {
    const auto found = find(name);
    if (!found) {
      return fail(spec, fmt::format("\"{}\" is neither a field nor a feature declared before", name));
    }
    if (!found->is_feature && !text_allowed) {
      const FieldType type = plan_.schema.fields[found->index].type;
      if (type == FieldType::kText)
        return fail(spec, fmt::format("\"{}\" is a text; a number is needed", name));
      if (type == FieldType::kTime) return fail(spec, fmt::format("\"{}\" is the event time", name));
    }
    return *found;
  }

  Result<void> publish(const FeatureSpec& spec, Feature feature) {
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
    plan_.instructions.push_back({OpCode::kEvaluate, feature.entity, index, 0});
    plan_.features.push_back(std::move(feature));
    return {};
  }

  Result<void> add_plain(const FeatureSpec& spec) {
    Feature feature;
    feature.name = spec.name;
    feature.aggregate = spec.aggregate;
    feature.state = "no state";
    if (spec.aggregate == Aggregate::kCategory) {
      feature.categorical = true;
      if (auto entity = plan_.schema.find_entity(spec.input)) {
        feature.input_is_feature = true;  // here: an entity
        feature.input = static_cast<int16_t>(*entity);
        return publish(spec, std::move(feature));
      }
    }
    if (info(spec.aggregate).wants_input) {
      const auto input = operand(spec, spec.input, spec.aggregate == Aggregate::kCategory);
      if (!input) return tl::make_unexpected(input.error());
      feature.input_is_feature = input->is_feature;
      feature.input = static_cast<int16_t>(input->index);
    }
    if (spec.aggregate == Aggregate::kQuotient) {
      const auto divisor = operand(spec, spec.divisor, false);
      if (!divisor) return tl::make_unexpected(divisor.error());
      feature.divisor_is_feature = divisor->is_feature;
      feature.divisor = static_cast<int16_t>(divisor->index);
    }
    return publish(spec, std::move(feature));
  }

  uint16_t window(EntityPlan& entity, int64_t length_us, int64_t delay_us) {
    for (size_t i = 0; i < entity.windows.size(); ++i) {
      if (entity.windows[i].length_us == length_us && entity.windows[i].delay_us == delay_us)
        return static_cast<uint16_t>(i);
    }
    entity.windows.push_back({length_us, delay_us, {}});
    return static_cast<uint16_t>(entity.windows.size() - 1);
  }

  // The value column that keeps the input of an aggregation.
  Result<int16_t> column(const FeatureSpec& spec, uint16_t entity_index) {
    const bool identity = spec.aggregate == Aggregate::kDistinct;
    const auto input = operand(spec, spec.input, identity);
    if (!input) return tl::make_unexpected(input.error());
    const auto key = std::make_tuple(entity_index, input->is_feature, input->index);
    if (auto found = columns_.find(key); found != columns_.end()) return found->second;
    EntityPlan& entity = plan_.entities[entity_index];
    const auto made = static_cast<int16_t>(entity.column_scales.size());
    double scale = static_cast<double>(scale_of(kFeatureDecimals));
    if (!input->is_feature) {
      const Field& field = plan_.schema.fields[input->index];
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
    plan_.instructions.push_back({input->is_feature ? OpCode::kColumnFromFeature : OpCode::kColumnFromField,
                                  entity_index, static_cast<uint16_t>(made), input->index});
    return made;
  }

  Result<int16_t> filter(const FeatureSpec& spec, uint16_t entity_index) {
    if (spec.where.empty()) return int16_t{-1};
    const auto key = std::make_pair(entity_index, spec.where);
    if (auto found = filters_.find(key); found != filters_.end()) return found->second;
    auto conditions = parse_where(spec.where);
    if (!conditions) return fail(spec, "where: " + conditions.error().reason);
    Filter made;
    for (const Condition& condition : *conditions) {
      const auto found = operand(spec, condition.operand, false);
      if (!found) return tl::make_unexpected(found.error());
      made.tests.push_back({found->is_feature, found->index, condition.comparison, condition.value});
    }
    EntityPlan& entity = plan_.entities[entity_index];
    if (entity.filters.size() == kFiltersMax) {
      return fail(spec,
                  fmt::format("entity \"{}\" has more than {} different filters", entity.name, kFiltersMax));
    }
    const auto index = static_cast<int16_t>(entity.filters.size());
    entity.filters.push_back(std::move(made));
    entity.has_flags = true;
    filters_[key] = index;
    plan_.instructions.push_back({OpCode::kFilter, entity_index, static_cast<uint16_t>(index), 0});
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
    if ((since || kin == Kin::kFirst) && window_us == kForever) return fail(spec, "it needs a finite window");
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
        fmt::format("{} ring{}{}{}", entity.name,
                    window_us == kForever ? ", whole history" : ", window " + format_duration(window_us),
                    choice.delay_us > 0 ? ", delay " + format_duration(choice.delay_us) : "",
                    *flag >= 0 ? ", where " + spec.where : "");
    return publish(spec, std::move(feature));
  }

  PlanOptions options_;
  Plan plan_;
  std::map<std::tuple<uint16_t, bool, uint16_t>, int16_t> columns_;
  std::map<std::pair<uint16_t, std::string>, int16_t> filters_;
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

// What a feature is made of, given what those before it are made of.
class FieldsOf {
 public:
  explicit FieldsOf(const Plan& plan) : plan_(plan) {}

  uint64_t feature(const Feature& feature) {
    uint64_t bits = 0;
    if (info(feature.aggregate).of_entity) {
      bits = entity(feature.entity);
      for (const int16_t at : {feature.first, feature.second})
        if (at >= 0) bits |= accumulator(feature.entity, static_cast<size_t>(at));
      if (feature.input >= 0) bits |= column(feature.entity, feature.input);
    } else if (feature.aggregate == Aggregate::kCategory && feature.input_is_feature) {
      bits = entity(static_cast<size_t>(feature.input));
    } else {
      bits = operand(feature.input_is_feature, feature.input) |
             operand(feature.divisor_is_feature, feature.divisor);
      if (!info(feature.aggregate).wants_input) bits |= uint64_t{1} << plan_.schema.time;
    }
    known_.push_back(bits);
    return bits;
  }

 private:
  uint64_t operand(bool is_feature, int index) const {
    if (index < 0) return 0;
    return is_feature ? known_[static_cast<size_t>(index)] : uint64_t{1} << index;
  }
  uint64_t entity(size_t kind) const {
    uint64_t bits = 0;
    for (const size_t field : plan_.entities[kind].key_fields) bits |= uint64_t{1} << field;
    return bits;
  }
  uint64_t accumulator(size_t kind, size_t at) const {
    const EntityPlan& entity = plan_.entities[kind];
    const Accumulator& accumulator = entity.accumulators[at];
    uint64_t bits = accumulator.column >= 0 ? column(kind, accumulator.column) : 0;
    if (accumulator.filter < 0) return bits;
    for (const Filter::Test& test : entity.filters[static_cast<size_t>(accumulator.filter)].tests)
      bits |= operand(test.is_feature, test.index);
    return bits;
  }
  // Of a ring's column, by the instruction that fills it.
  uint64_t column(size_t kind, int column) const {
    uint64_t bits = 0;
    for (const Instruction& one : plan_.instructions) {
      const bool fills = one.code == OpCode::kColumnFromField || one.code == OpCode::kColumnFromFeature;
      if (fills && one.entity == kind && one.index == column)
        bits |= operand(one.code == OpCode::kColumnFromFeature, one.source);
    }
    return bits;
  }

  const Plan& plan_;
  std::vector<uint64_t> known_;  // by feature
};

}  // namespace

std::vector<uint64_t> fields_of_columns(const Plan& plan) {
  std::vector<uint64_t> all(plan.columns.size(), 0);
  FieldsOf fields(plan);
  for (const Feature& feature : plan.features) {
    const uint64_t bits = fields.feature(feature);
    if (feature.output >= 0) all[static_cast<size_t>(feature.output)] = bits;
  }
  return all;
}

}  // namespace shrike::features
