// What `shrike evaluate` does, for commands that end with it.
#pragma once

#include <string>
#include <vector>

namespace shrike::tools {

// Evaluates learners on a CSV and prints their table. `learners` as --learner has them; none is all families.
// Returns the exit code.
int evaluate_file(const std::string& input, const std::string& config,
                  const std::vector<std::string>& learners);

}  // namespace shrike::tools
