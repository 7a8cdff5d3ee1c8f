// shrike judge: what an operator decides in a monitor's place, as an event with its reason.
#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tools/client.h"
#include "tools/commands.h"
#include "tools/json.h"

namespace shrike::tools {
namespace {

struct Options {
  std::string action, why, endpoint = "tcp://127.0.0.1:7202";
  std::vector<std::string> what;
};

int run(const Options& options) {
  Json said = {{"action", options.action}, {"why", options.why}};
  if (options.action == "thresholds" || options.action == "canary") {
    Json values = Json::array();
    for (const std::string& text : options.what) {
      const Json value = Json::parse(text, nullptr, false);
      if (!value.is_number())
        return complain(fmt::format("{}: \"{}\" is no number", options.action, text), kBadInput);
      values.push_back(value);
    }
    said["values"] = std::move(values);
  } else if (options.what.size() > 1) {
    return complain(fmt::format("{} takes one target", options.action), kBadInput);
  } else if (!options.what.empty()) {
    said["target"] = options.what[0];
  }
  return ask_and_print(options.endpoint, to_text({{"command", "judge"}, {"argument", said.dump()}}));
}

}  // namespace

void add_judge(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "judge",
      "Decides in a monitor's place on a running server; the log keeps it with its reason.\n\n"
      "  shrike judge release customer --why \"their form was mended\"\n"
      "  shrike judge quarantine analyst --why \"a test account labels\"\n"
      "  shrike judge thresholds 0.1 0.5 --why \"back to what the policy says\"\n"
      "  shrike judge hold_training --why \"a migration runs\"\n"
      "  shrike judge roll_back 3f2a --why \"complaints since noon\"\n"
      "  shrike judge canary 0.5 --why \"half of the customers at once\"\n"
      "  shrike judge drop_feature field:amount --why \"the feed sends zeros\"\n"
      "  shrike judge restore_feature field:amount --why \"it is mended\"\n"
      "  shrike judge abort --why \"the call centre asks for it\"\n");
  command
      ->add_option("action", options->action,
                   "thresholds, hold_training, go_on_training, quarantine, release, roll_back, drop_feature, "
                   "restore_feature; and of a challenger: "
                   "canary, shadow, hold_rollout, go_on_rollout, promote, abort")
      ->required();
  command->add_option(
      "what", options->what,
      "a source, a model, a column or field:NAME, the two scores, or a challenger's share of the entities");
  command->add_option("--why", options->why, "the reason")->required();
  command->add_option("--endpoint,-e", options->endpoint, "the server's feedback socket")
      ->capture_default_str();
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace shrike::tools
