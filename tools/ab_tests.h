// `shrike models test` and `shrike models tests`: A/B tests, before they begin, under way and afterwards.
#pragma once

#include <CLI/CLI.hpp>

namespace shrike::tools {

void add_ab_tests(CLI::App& models, int& exit_code);

}  // namespace shrike::tools
