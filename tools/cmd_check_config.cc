// shrike check-config
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include <nlohmann/json.hpp>

#include "engine/config/time_zones.h"
#include "features/entity_state.h"
#include "tools/commands.h"
#include "tools/data_dir.h"
#include "tools/json.h"

namespace shrike::tools {
namespace {

std::string show(const learners::OptionValue& value) {
  return std::visit([](const auto& v) { return fmt::format("{}", v); }, value);
}

// The bytes that one event and one entity of this kind cost.
struct Cost {
  size_t event_bytes, entity_bytes;
};
Cost cost(const features::EntityPlan& plan) {
  const size_t words = 1 + (plan.has_labels ? 1 : 0) + (plan.has_flags ? 1 : 0) + plan.column_scales.size();
  return {words * 8, sizeof(features::EntityState) + plan.fixed_bytes + plan.unbounded_bytes +
                         plan.windows.size() * 16 + plan.deques * sizeof(features::MonotonicDeque) +
                         plan.maps * sizeof(features::CountMap) +
                         plan.sorted * sizeof(features::SortedValues) +
                         plan.frequencies * sizeof(features::Frequencies) +
                         2 * plan.sketches * sizeof(features::DistinctSketch) +
                         2 * plan.samples * sizeof(features::ValueSample)};
}

void print_options(const learners::FamilyInfo& family, const learners::Options& set) {
  const auto value = [&](const learners::OptionInfo& option) {
    const auto found = set.find(option.name);
    return show(found == set.end() ? option.default_value : found->second);
  };
  size_t first = 27, second = 9;
  for (const learners::OptionInfo& option : family.options) {
    first = std::max(first, option.name.size());
    second = std::max(second, value(option).size());
  }
  for (const learners::OptionInfo& option : family.options) {
    fmt::print("  {:<{}} {:<{}} {} ({})\n", option.name, first, value(option), second, option.help,
               option.allowed);
  }
}

void print_text(const engine::Config& config) {
  const features::Plan& plan = *config.plan;
  fmt::print("schema {:016x}: {} fields, label \"{}\"\n\n", plan.schema.fingerprint(),
             plan.schema.fields.size(), plan.schema.label);
  const auto number = [](const features::Feature& feature) {
    return feature.output < 0 ? std::string("-") : fmt::format("{}", feature.output);
  };
  size_t first = 2, second = 30, third = 18;
  for (const features::Feature& feature : plan.features) {
    first = std::max(first, number(feature).size());
    second = std::max(second, feature.name.size());
    third = std::max(third, std::string_view(features::info(feature.aggregate).name).size());
  }
  const auto row = [&](std::string_view position, std::string_view name, std::string_view aggregate,
                       std::string_view state) {
    fmt::print("{:<{}}  {:<{}}  {:<{}}  {}\n", position, first, name, second, aggregate, third, state);
  };
  row("#", "feature", "aggregate", "state");
  for (const features::Feature& feature : plan.features)
    row(number(feature), feature.name, features::info(feature.aggregate).name, feature.state);
  fmt::print("\n");
  for (const features::EntityPlan& entity : plan.entities) {
    if (entity.windows.empty()) continue;
    const Cost c = cost(entity);
    fmt::print("{}: events stay {}, {} bytes an event; {} bytes an entity besides; at most {} entities\n",
               entity.name, features::format_duration(entity.retention_us), c.event_bytes, c.entity_bytes,
               entity.entities_max);
  }
  const features::Program& program = plan.program;
  if (!program.steps.empty()) {
    std::vector<std::string> zones;
    for (const features::TimeZone& zone : program.zones)
      zones.push_back(fmt::format("{} ({} offsets)", zone.name, zone.offsets.size()));
    fmt::print("expressions: {} steps over {} fields{}{}\n", program.steps.size(), program.loads.size(),
               zones.empty() ? "" : "; time zones ", fmt::join(zones, ", "));
  }
  fmt::print("\nlearner {}:\n", config.training.family);
  for (const learners::FamilyInfo& family : learners::families()) {
    if (family.name == config.training.family) print_options(family, config.training.options);
  }
}

std::string_view type_of(const features::Feature& feature) {
  return feature.categorical ? "category" : "number";
}

void print_json(const engine::Config& config) {
  const features::Plan& plan = *config.plan;
  Json features = Json::array(), entities = Json::array(), zones = Json::object();
  for (const features::TimeZone& zone : plan.program.zones) zones[zone.name] = features::format_offsets(zone);
  for (const features::Feature& feature : plan.features) {
    features.push_back({{"name", feature.name},
                        {"aggregate", features::info(feature.aggregate).name},
                        {"column", feature.output},
                        {"state", feature.state},
                        {"type", type_of(feature)}});
  }
  for (const features::EntityPlan& entity : plan.entities) {
    const Cost c = cost(entity);
    entities.push_back({{"name", entity.name},
                        {"bytes_per_event", c.event_bytes},
                        {"bytes_per_entity", c.entity_bytes},
                        {"retention_seconds", entity.retention_us / 1'000'000}});
  }
  const Json all = {{"schema", fmt::format("{:016x}", plan.schema.fingerprint())},
                    {"plan", fmt::format("{:016x}", plan.fingerprint)},
                    {"features", std::move(features)},
                    {"entities", std::move(entities)},
                    {"expression_steps", plan.program.steps.size()},
                    {"time_zones", std::move(zones)}};
  fmt::print("{}\n", to_text(all));
}

// Of a file, or of a data directory. Null, and said why, when there is none.
engine::ConfigPtr read_any(const std::string& path) {
  if (!std::filesystem::is_directory(path)) return read_config(path);
  const auto data = open_data_dir(path);
  if (data) return data->config;
  fmt::print(stderr, "{}\n", data.error());
  return nullptr;
}

}  // namespace

void add_check_config(CLI::App& app, int& exit_code) {
  auto path = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false), zones = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand(
      "check-config",
      "Validates a configuration and prints the compiled features with the state each one needs.\n\n"
      "  shrike check-config handbook.toml\n"
      "  shrike check-config ./shrike-data --time-zones >>handbook.toml    hours stay, whatever tzdata says");
  command->add_option("file", *path, "TOML, or a data directory for the configuration it was written with")
      ->required();
  command->add_flag("--json", *json, "for machines");
  command->add_flag("--time-zones", *zones, "the section [time_zones] of what its expressions use");
  command->callback([path, json, zones, &exit_code] {
    const engine::ConfigPtr config = read_any(*path);
    if (!config) {
      exit_code = kBadInput;
    } else if (*zones) {
      fmt::print("{}", engine::time_zones_section(*config->plan));
    } else if (*json) {
      print_json(*config);
    } else {
      print_text(*config);
    }
  });
}

}  // namespace shrike::tools
