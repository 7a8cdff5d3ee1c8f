// `replay --compare`: reads the two spans of days, prints what was found, and puts it into the JSON report.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include <tl/expected.hpp>

#include "engine/replay/comparison.h"
#include "tools/json.h"

namespace shrike::tools {

// "30..60,60..90"; nothing for "".
tl::expected<std::optional<std::pair<engine::DayRange, engine::DayRange>>, std::string> read_compared_days(
    const std::string& text);

// Prints the columns by falling PSI, and expected against observed frauds by bins of score.
void print_comparison(const engine::Comparison& comparison);

// {"spans":[{"first_day","last_day","rows","sampled","labelled","calibration_error","reliability":[{"from","to","rows",
// "frauds","expected","observed"}]}],"columns":[{"column","kind":"score"|"feature","psi","reading","ks",
// "missing":[2],"mean":[2]}]}; a `last_day` without an end is null.
Json comparison_json(const engine::Comparison& comparison);

}  // namespace shrike::tools
