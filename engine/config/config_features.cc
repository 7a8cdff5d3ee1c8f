#include "engine/config/config_features.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <sstream>

// GCC 12 does not see that from_stream() has read the seconds it uses.
#pragma GCC diagnostic push
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <date/date.h>
#pragma GCC diagnostic pop

#include "features/nearest.h"

namespace shrike::engine {
namespace {

using features::Field;
using features::FieldType;
using features::Schema;

constexpr size_t kFieldsMax = 64;
constexpr size_t kEntityFieldsMax = 8;

std::vector<std::string> field_names(const Schema& schema) {
  std::vector<std::string> names;
  for (const Field& field : schema.fields) names.push_back(field.name);
  return names;
}

constexpr const char* kMoments =
    "a date such as 2018-04-01, or one with a time of day such as 2018-04-01T06:30:00Z or "
    "2018-04-01 06:30+02:00 (UTC when it has no offset)";

using Moment = date::sys_time<std::chrono::microseconds>;

// What people write for kMoments in quotes.
std::optional<Moment> parse_moment(std::string text) {
  if (const size_t between = text.find_first_of("t "); between != std::string::npos) text[between] = 'T';
  if (text.ends_with('z')) text.back() = 'Z';
  for (const char* format :
       {"%F", "%FT%TZ", "%FT%T", "%FT%T %Ez", "%FT%T %z", "%FT%RZ", "%FT%R", "%FT%R %Ez", "%FT%R %z"}) {
    std::istringstream in(text);
    Moment moment;
    if (date::from_stream(in, format, moment) && in.peek() == std::istringstream::traits_type::eof())
      return moment;
  }
  return std::nullopt;
}

// A TOML date or date-time; nothing when there is no such day.
std::optional<Moment> moment_of(const toml::date& day, const toml::time& time, int offset_minutes) {
  const date::year_month_day ymd{date::year{day.year}, date::month{day.month}, date::day{day.day}};
  if (!ymd.ok()) return std::nullopt;
  return date::sys_days{ymd} + std::chrono::hours{time.hour} +
         std::chrono::minutes{time.minute - offset_minutes} + std::chrono::seconds{time.second} +
         std::chrono::microseconds{time.nanosecond / 1000};
}

// Microseconds since 1970-01-01 UTC of kMoments, in quotes or without.
int64_t read_origin(TomlReader& table) {
  const toml::node* node = table.raw().get("origin");
  table.knows("origin");
  if (node == nullptr) return 0;
  std::optional<Moment> moment;
  std::string found;
  if (const auto date = node->value_exact<toml::date>()) {
    moment = moment_of(*date, {}, 0);
  } else if (const auto both = node->value_exact<toml::date_time>()) {
    moment = moment_of(both->date, both->time, both->offset ? both->offset->minutes : 0);
  } else if (const auto text = node->value_exact<std::string>()) {
    moment = parse_moment(*text);
    found = fmt::format("found \"{}\", ", *text);
  }
  if (moment) return moment->time_since_epoch().count();
  table.problem("origin", fmt::format("{}expected {}", found, kMoments));
  return 0;
}

Field read_field(TomlReader& table, Schema& schema, size_t position) {
  Field field;
  field.name = table.required_text("name");
  field.type = table.choice("type", field.type,
                            {{"integer", FieldType::kInteger},
                             {"number", FieldType::kNumber},
                             {"text", FieldType::kText},
                             {"boolean", FieldType::kBoolean},
                             {"time", FieldType::kTime}});
  field.optional = table.boolean("optional", field.optional);
  if (field.type == FieldType::kNumber) {
    field.decimals = table.integer("decimals", field.decimals, 0, 6);
    const double bound =
        static_cast<double>(Schema::kFixedMax) / static_cast<double>(features::scale_of(field.decimals));
    field.minimum = table.number("min", -bound, -bound, bound);
    field.maximum = table.number("max", bound, -bound, bound);
  } else if (field.type == FieldType::kInteger) {
    field.minimum = table.number("min", -9.2e18, -9.2e18, 9.2e18);
    field.maximum = table.number("max", 9.2e18, -9.2e18, 9.2e18);
  } else if (field.type == FieldType::kTime) {
    schema.time_unit_us = table.choice(
        "unit", schema.time_unit_us,
        {{"s", 1'000'000}, {"ms", 1'000}, {"us", 1}, {"h", features::kHourUs}, {"d", features::kDayUs}});
    schema.time_origin_us = read_origin(table);
    schema.time = position;
  }
  if (field.minimum > field.maximum) table.problem("min", "it is larger than max");
  table.finish();
  return field;
}

// The value of a feature said by `expression`: it is `input` of the aggregation "field".
void read_expression(TomlReader& table, features::FeatureSpec& spec) {
  if (!table.has("expression")) return;
  if (table.raw().contains("aggregate") || table.raw().contains("input")) {
    table.problem("expression", "it stands alone; to aggregate one, write it as input");
  }
  spec.input = table.required_text("expression");
}

}  // namespace

Schema read_schema(TomlReader& root) {
  Schema schema;
  TomlReader table = root.table("schema");
  size_t times = 0;
  for (TomlReader& one : table.tables("fields")) {
    Field field = read_field(one, schema, schema.fields.size());
    times += field.type == FieldType::kTime;
    if (schema.find(field.name))
      one.problem("name", fmt::format("the field \"{}\" is declared twice", field.name));
    schema.fields.push_back(std::move(field));
  }
  if (schema.fields.empty())
    table.problem("fields", "no field is declared; write [[schema.fields]] with name and type");
  if (schema.fields.size() > kFieldsMax)
    table.problem("fields", fmt::format("at most {} fields are allowed", kFieldsMax));
  if (times != 1)
    table.problem("fields", fmt::format("found {} fields of type \"time\", exactly one is needed", times));
  const auto position = [&](const char* key, const std::string& name) -> size_t {
    if (const auto found = schema.find(name)) return *found;
    const std::string near = features::nearest(name, field_names(schema));
    table.problem(key, fmt::format("\"{}\" is not a field{}", name,
                                   near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
    return 0;
  };
  schema.id = position("id", table.required_text("id"));
  if (!schema.fields.empty() && (schema.fields[schema.id].optional || schema.fields[schema.time].optional)) {
    table.problem("id", "the id and the time cannot be optional");
  }
  if (table.has("amount")) schema.amount = position("amount", table.text("amount", ""));
  schema.label = table.text("label", schema.label);
  if (schema.find(schema.label)) table.problem("label", "the label cannot be a field of the transaction");
  table.finish();

  TomlReader entities = root.table("entities");
  for (const auto& [key, node] : entities.raw()) {
    const std::string name(key.str());
    entities.knows(name);
    TomlReader one = entities.table(name.c_str());
    features::EntityKind kind;
    kind.name = name;
    for (const std::string& field : one.texts("fields")) {
      if (const auto found = schema.find(field)) {
        kind.fields.push_back(*found);
      } else {
        const std::string near = features::nearest(field, field_names(schema));
        one.problem("fields", fmt::format("\"{}\" is not a field{}", field,
                                          near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
      }
    }
    if (kind.fields.empty()) one.problem("fields", "name at least one field");
    if (kind.fields.size() > kEntityFieldsMax)
      one.problem("fields", fmt::format("at most {} fields are allowed", kEntityFieldsMax));
    kind.entities_max = one.integer("max", kind.entities_max, 1, 1'000'000'000);
    one.finish();
    schema.entities.push_back(std::move(kind));
  }
  return schema;
}

std::vector<FeatureAt> read_features(TomlReader& root) {
  std::vector<FeatureAt> all;
  std::vector<std::string> names;
  for (const features::AggregateInfo& about : features::aggregates()) names.emplace_back(about.name);
  for (TomlReader& table : root.tables("features")) {
    features::FeatureSpec spec;
    spec.name = table.required_text("name");
    const std::string aggregate = table.text("aggregate", std::string(features::info(spec.aggregate).name));
    if (const auto* about = features::find_aggregate(aggregate)) {
      spec.aggregate = about->aggregate;
      spec.input = table.text("input", about->wants_input && !about->of_entity ? spec.name : "");
    } else {
      table.knows("input");
      const std::string near = features::nearest(aggregate, names);
      table.problem("aggregate",
                    fmt::format("found \"{}\", allowed are {}{}", aggregate, fmt::join(names, ", "),
                                near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near)));
    }
    read_expression(table, spec);
    spec.entity = table.text("entity", spec.entity);
    spec.divisor = table.text("divisor", spec.divisor);
    if (table.has("window") && table.has("windows"))
      table.problem("windows", "give either window or windows");
    spec.windows_us = table.durations("windows");
    if (table.has("window")) {
      spec.windows_us = {table.duration("window", features::kForever)};
      spec.exact_name = true;
    }
    spec.delay_us = table.duration("delay", spec.delay_us);
    if (table.has("include_current")) spec.include_current = table.boolean("include_current", true);
    spec.where = table.text("where", spec.where);
    spec.half_life_us = table.duration("half_life", spec.half_life_us);
    spec.clip_factor = table.number("clip_factor", spec.clip_factor, 1.000001, 1e6);
    spec.decimals = table.integer("decimals", spec.decimals, 0, 6);
    if (table.has("quantile")) spec.quantile = table.number("quantile", spec.quantile, 0, 1);
    if (table.has("empty")) spec.empty = table.number("empty", 0, -1e12, 1e12);
    spec.transform = table.choice("transform", spec.transform,
                                  {{"none", features::Transform::kNone}, {"log", features::Transform::kLog}});
    spec.calendar_days = table.choice("unit", spec.calendar_days, {{"s", false}, {"days", true}});
    if (table.has("at_least")) spec.at_least = table.number("at_least", 0, -1e12, 1e12);
    if (table.has("at_most")) spec.at_most = table.number("at_most", 0, -1e12, 1e12);
    spec.hidden = table.boolean("hidden", spec.hidden);
    table.finish();
    all.push_back({std::move(spec), table.raw().source().begin.line});
  }
  return all;
}

std::shared_ptr<const features::Plan> compile_features(const Schema& schema,
                                                       const std::vector<FeatureAt>& declared,
                                                       const features::PlanOptions& options,
                                                       TomlReader::Problems& problems) {
  std::vector<features::FeatureSpec> specs;
  for (const FeatureAt& one : declared) specs.push_back(one.spec);
  auto plan = features::compile(schema, specs, options);
  if (plan) return std::make_shared<const features::Plan>(std::move(*plan));
  size_t line = 0;
  for (const FeatureAt& one : declared) {
    if (one.spec.name == plan.error().field) line = one.line;
  }
  problems.lines.push_back(fmt::format("{}:{}: features: \"{}\": {}", problems.file, line, plan.error().field,
                                       plan.error().reason));
  return nullptr;
}

}  // namespace shrike::engine
