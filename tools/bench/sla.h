// A promise of latency as a file (examples/sla.toml), and whether a measured leg holds it. Functions of their
// arguments.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

#include "tools/bench/load.h"

namespace shrike::tools::bench {

struct Sla {
  double rate = 0;  // transactions a second
  std::optional<Pattern> arrivals;
  std::vector<std::pair<double, double>> percentiles_ms;  // of answers, from the intended send: at most
  double error_budget = 0;  // share of arrivals that may be refused, dropped, or not answered
};

// Errors are sentences, one for each problem.
tl::expected<Sla, std::vector<std::string>> read_sla(const std::string& path);
tl::expected<Sla, std::vector<std::string>> parse_sla(const std::string& text, const std::string& name);

// One line of the promise and what was found.
struct Clause {
  std::string name;  // "99.9 %", "errors", "generator"
  std::string found, promised;
  bool held = false;
};
// The last clause is that the leg can be judged at all: its generator kept its schedule, and it was not
// stopped before anything was measured.
std::vector<Clause> judge(const Sla& sla, const Leg& leg);
bool held(const std::vector<Clause>& clauses);

// The highest rate that holds: doubling from `start` while it does (halving while it does not), then
// bisection until the two are within `tolerance` of each other. `holds` measures one rate; nothing from it
// ends the search. 0 when not even `kLeastRate` holds.
inline constexpr double kLeastRate = 1;
double find_highest(double start, double tolerance, const std::function<std::optional<bool>(double)>& holds);

std::optional<Pattern> parse_pattern(const std::string& text);
const char* name(Pattern pattern);

}  // namespace shrike::tools::bench
