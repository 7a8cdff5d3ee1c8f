// How a diagnosis is told: for people on standard output, for machines as JSON.
#pragma once

#include <string>
#include <vector>

#include "engine/diagnosis/causes.h"
#include "engine/diagnosis/evidence.h"
#include "tools/json.h"

namespace shrike::tools {

// What became of a cause's remedy.
struct Fixed {
  std::string what;  // the command that does the same
  bool done = false;
  std::string said;  // the server's answer, or why it was not done
  std::string undo;  // the command that takes it back
};

void print_diagnosis(const engine::Evidence& evidence, const std::vector<engine::Cause>& causes);
void print_fixes(const std::vector<Fixed>& fixes);
Json diagnosis_json(const engine::Evidence& evidence, const std::vector<engine::Cause>& causes,
                    const std::vector<Fixed>& fixes);
// How many of the parts could not be examined; a log that cannot be read to its end is one.
size_t parts_failed(const engine::Evidence& evidence);

}  // namespace shrike::tools
