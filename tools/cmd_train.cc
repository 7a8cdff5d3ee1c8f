// shrike train: asks a running server to learn its learner anew from the log.
#include <fmt/format.h>

#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "tools/client.h"
#include "tools/commands.h"
#include "tools/json.h"

namespace shrike::tools {
namespace {

struct Options {
  std::string why, strategy = "full", endpoint = "tcp://127.0.0.1:7202";
};

int run(const Options& options) {
  const Json said = {{"action", "retrain"}, {"target", options.strategy}, {"why", options.why}};
  const int exit_code =
      ask_and_print(options.endpoint, to_text({{"command", "judge"}, {"argument", said.dump()}}));
  if (exit_code != 0) return exit_code;
  fmt::print(
      "It runs beside scoring; `shrike timeline` says what came of it, `shrike status` how far the gate "
      "is.\n");
  return 0;
}

}  // namespace

void add_train(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("train",
                                         "Has a running server learn a learner anew from its log, beside the "
                                         "one that goes on learning. What comes of "
                                         "it is the gate's next candidate.\n\n"
                                         "  shrike train --why \"the feed of amounts was mended\"\n"
                                         "  shrike train --strategy search --why \"a new season\"\n");
  command
      ->add_option("--strategy,-s", options->strategy,
                   "full: all that the log has; recent: what was known in the last [retraining] kpi_window; "
                   "search: recent examples count more, and the options of "
                   "[retraining] search are tried")
      ->check(CLI::IsMember({"full", "recent", "search"}))
      ->capture_default_str();
  command->add_option("--why", options->why, "the reason, which the log keeps")->required();
  command->add_option("--endpoint,-e", options->endpoint, "the server's feedback socket")
      ->capture_default_str();
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace shrike::tools
