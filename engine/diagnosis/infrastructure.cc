#include "engine/diagnosis/infrastructure.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>

#include <toml++/toml.h>

namespace shrike::engine {
namespace {

using Keys = std::map<std::string, std::string>;

// Every plain value by where it stands.
void flatten(const toml::node& node, const std::string& at, Keys& out) {
  const auto below = [&](const std::string& key) { return at.empty() ? key : at + "." + key; };
  if (const toml::table* table = node.as_table()) {
    for (const auto& [key, value] : *table) flatten(value, below(std::string(key.str())), out);
  } else if (const toml::array* array = node.as_array(); array != nullptr && array->is_array_of_tables()) {
    size_t i = 0;
    for (const toml::node& value : *array) flatten(value, below(fmt::format("{}", ++i)), out);
  } else {
    std::ostringstream text;
    node.visit([&](const auto& value) { text << value; });
    const auto number = node.value_exact<double>();
    out[at] = number ? fmt::format("{}", *number) : text.str();
  }
}

tl::expected<Keys, std::string> keys_of(std::string_view text) {
  Keys keys;
  try {
    const toml::table table = toml::parse(text);
    flatten(table, "", keys);
  } catch (const toml::parse_error& error) {
    return tl::make_unexpected(fmt::format("a configuration of the log is no TOML: {}", error.description()));
  }
  return keys;
}

}  // namespace

tl::expected<std::vector<std::string>, std::string> changed_keys(std::string_view before,
                                                                 std::string_view after) {
  auto first = keys_of(before), second = keys_of(after);
  if (!first) return tl::make_unexpected(first.error());
  if (!second) return tl::make_unexpected(second.error());
  std::vector<std::string> changed;
  Keys all = *first;
  all.insert(second->begin(), second->end());
  for (const auto& [key, unused] : all) {
    const auto value = [&, &key = key](const Keys& keys) {
      const auto found = keys.find(key);
      return found == keys.end() ? std::string("-") : found->second;
    };
    if (value(*first) != value(*second))
      changed.push_back(fmt::format("{}: {} -> {}", key, value(*first), value(*second)));
  }
  return changed;
}

InfrastructureReader::InfrastructureReader(ConfigPtr config, Days reference, Days period)
    : config_(std::move(config)), reference_(reference), period_(period) {
  found_.deadline_ms = static_cast<double>(config_->deadline.default_us) / 1000;
}

void InfrastructureReader::see(const MachineEvent& event, int64_t day) {
  if (!reference_.has(day) && !period_.has(day)) return;
  const size_t side = period_.has(day) ? 1 : 0;
  MachineFigures& of = found_.machine[side];
  ++of.periods;
  of.answers += event.answers;
  of.late += event.late;
  of.refusals += event.refusals;
  of.fallbacks += event.fallbacks;
  of.statics += event.statics;
  of.resident_mib = std::max(of.resident_mib, static_cast<double>(event.resident_bytes) / (1 << 20));
  if (event.answers == 0) return;
  const double p99_ms = static_cast<double>(event.p99_us) / 1000;
  p99_ms_[side].push_back(p99_ms);
  if (p99_ms > of.worst_p99_ms) of.worst_p99_ms = p99_ms, of.worst_day = day;
}

void InfrastructureReader::see(const StartEvent& event, int64_t day) {
  if (found_.versions.empty() || found_.versions.back() != event.version) {
    if (!period_.has(day)) found_.versions.clear();  // only what served last before it
    found_.versions.push_back(event.version);
  }
  if (period_.has(day)) found_.starts.push_back({day, event.version, event.folded});
}

void InfrastructureReader::see(const ConfigEvent& event, int64_t day) {
  if (period_.has(day)) {
    ConfigChange change{.day = day, .known = !text_.empty()};
    if (change.known) {
      auto keys = changed_keys(text_, event.text);
      if (keys) {
        change.keys = std::move(*keys);
      } else {
        problem_ = keys.error();
      }
    }
    found_.configurations.push_back(std::move(change));
  }
  text_ = event.text;
}

tl::expected<InfrastructureEvidence, std::string> InfrastructureReader::evidence() const {
  if (!problem_.empty()) return tl::make_unexpected(problem_);
  InfrastructureEvidence evidence = found_;
  for (const size_t side : {0, 1}) {
    std::vector<double> all = p99_ms_[side];
    std::sort(all.begin(), all.end());
    if (!all.empty()) evidence.machine[side].p99_ms = all[all.size() / 2];
  }
  return evidence;
}

}  // namespace shrike::engine
