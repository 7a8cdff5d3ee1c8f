#include "tools/commands.h"
namespace shrike::tools {
void add_serve(CLI::App&, int&) {} void add_score(CLI::App&, int&) {} void add_feedback(CLI::App&, int&) {} void add_simulate(CLI::App&, int&) {} void add_models(CLI::App&, int&) {} void add_inspect(CLI::App&, int&) {} void add_status(CLI::App&, int&) {}
}
