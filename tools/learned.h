// What `replay` and `evaluate` say beside the metrics: what was learned, why no model took over, and what was
// left out of the stream. Plain functions of a report.
#pragma once

#include <string>
#include <vector>

#include "engine/replay/replay.h"
#include "tools/json.h"

namespace shrike::tools {

// Why no model that learned from labels took over, most basic first; empty when one did, or none was to.
std::vector<std::string> why_no_model(const engine::ReplayReport& report, const engine::Config& config);
constexpr const char* kNoModel = "no model that learned from labels took over";
// One line: labels joined, examples, models.
std::string describe_learned(const engine::ReplayReport& report);
// All of it: {"learned":{…},"refusals":[…],"remarks":[…]}.
Json learned_json(const engine::ReplayReport& report, const engine::Config& config);

// What looks wrong with the stream and what to do, such as an id that is none.
std::vector<std::string> remarks(const engine::ReplayReport& report, const engine::Config& config);
// Prints the first reasons for what was refused to standard error; whether there was any.
bool complain_of_refusals(const engine::ReplayReport& report);

}  // namespace shrike::tools
