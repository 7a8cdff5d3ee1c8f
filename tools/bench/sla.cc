#include "tools/bench/sla.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "engine/config/toml_reader.h"
#include "tools/data_dir.h"

namespace shrike::tools::bench {
namespace {

using engine::TomlReader;

// Keys are percentiles, such as 50 and "99.9".
void read_percentiles(TomlReader table, Sla& sla) {
  constexpr double kMsMax = 3'600'000;
  for (const auto& [key, node] : table.raw()) {
    const std::string text(key.str());
    double percentile = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), percentile);
    if (error != std::errc() || end != text.data() + text.size() || percentile < 0 || percentile > 100) {
      table.knows(text);
      table.problem(text, "found a key that is no percentile; expected one such as 50 or \"99.9\"");
      continue;
    }
    sla.percentiles_ms.emplace_back(percentile, table.number(text.c_str(), 0, 0, kMsMax));
  }
  std::sort(sla.percentiles_ms.begin(), sla.percentiles_ms.end());
  table.finish();
}

}  // namespace

std::optional<Pattern> parse_pattern(const std::string& text) {
  for (const Pattern pattern : {Pattern::kConstant, Pattern::kPoisson, Pattern::kBurst}) {
    if (text == name(pattern)) return pattern;
  }
  return std::nullopt;
}

const char* name(Pattern pattern) {
  switch (pattern) {
    case Pattern::kConstant:
      return "constant";
    case Pattern::kPoisson:
      return "poisson";
    case Pattern::kBurst:
      break;
  }
  return "burst";
}

tl::expected<Sla, std::vector<std::string>> read_sla(const std::string& path) {
  const auto text = file_bytes(path);
  if (!text)
    return tl::make_unexpected(std::vector{fmt::format("--sla {}: there is no such file to be read", path)});
  return parse_sla(*text, path);
}

tl::expected<Sla, std::vector<std::string>> parse_sla(const std::string& text, const std::string& name) {
  TomlReader::Problems problems{name, {}};
  toml::table document;
  try {
    document = toml::parse(text);
  } catch (const toml::parse_error& error) {
    problems.lines.push_back(fmt::format("{}:{}: {}", name, error.source().begin.line, error.description()));
    return tl::make_unexpected(problems.lines);
  }
  Sla sla;
  TomlReader root(document, "", problems);
  sla.rate = root.number("rate", 0, kLeastRate, 10'000'000);
  if (!root.has("rate")) root.problem("rate", "is missing: how many transactions a second are promised");
  if (root.has("arrivals")) {
    sla.arrivals = root.choice(
        "arrivals", Pattern::kPoisson,
        {{"constant", Pattern::kConstant}, {"poisson", Pattern::kPoisson}, {"burst", Pattern::kBurst}});
  }
  sla.error_budget = root.number("error_budget", 0, 0, 1);
  read_percentiles(root.table("percentiles_ms"), sla);
  if (sla.percentiles_ms.empty() && problems.lines.empty())
    root.problem("percentiles_ms", "has no percentile: nothing would be promised");
  root.finish();
  if (!problems.lines.empty()) return tl::make_unexpected(problems.lines);
  return sla;
}

std::vector<Clause> judge(const Sla& sla, const Leg& leg) {
  std::vector<Clause> clauses;
  for (const auto& [percentile, promised_ms] : sla.percentiles_ms) {
    const double found_ms = static_cast<double>(leg.tally.latency.at(percentile)) / 1e6;
    clauses.push_back({fmt::format("{} %", percentile), fmt::format("{:.3f} ms", found_ms),
                       fmt::format("{} ms", promised_ms), found_ms <= promised_ms});
  }
  const double errors = leg.tally.error_share();
  clauses.push_back({"errors", fmt::format("{:.4f} % of arrivals", errors * 100),
                     fmt::format("{} %", sla.error_budget * 100), errors <= sla.error_budget});
  clauses.push_back({"generator lag 99 %",
                     fmt::format("{:.3f} ms", static_cast<double>(leg.tally.lag.at(99)) / 1e6),
                     fmt::format("{} ms", static_cast<double>(leg.lag_max_us) / 1000),
                     leg.valid() && leg.tally.answered > 0});
  return clauses;
}

bool held(const std::vector<Clause>& clauses) {
  return std::all_of(clauses.begin(), clauses.end(), [](const Clause& clause) { return clause.held; });
}

double find_highest(double start, double tolerance, const std::function<std::optional<bool>(double)>& holds) {
  double good = 0, bad = 0;
  for (double rate = start; good == 0 || bad == 0;) {
    const std::optional<bool> verdict = holds(rate);
    if (!verdict) return good;
    (*verdict ? good : bad) = rate;
    if (!*verdict && rate <= kLeastRate) return 0;
    rate = *verdict ? rate * 2 : std::max(rate / 2, kLeastRate);
  }
  while (bad - good > tolerance * good) {
    const double middle = (good + bad) / 2;
    const std::optional<bool> verdict = holds(middle);
    if (!verdict) return good;
    (*verdict ? good : bad) = middle;
  }
  return good;
}

}  // namespace shrike::tools::bench
