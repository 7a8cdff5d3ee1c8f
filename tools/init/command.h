// `shrike init`, declared as the other commands are (tools/commands.h).
#pragma once

#include <CLI/CLI.hpp>

namespace shrike::tools {

void add_init(CLI::App& app, int& exit_code);

}  // namespace shrike::tools
