// shrike init: drafts a commented configuration from a CSV file alone.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "tools/commands.h"
#include "tools/evaluation.h"
#include "tools/init/command.h"
#include "tools/init/draft.h"
#include "tools/init/profile.h"
#include "tools/init/roles.h"

namespace shrike::tools {
namespace {

struct Options {
  std::string input, label, out = "config.toml";
  bool evaluate = false, raw = false, force = false;
};

void print_summary(const init::Profile& profile, const init::Roles& roles, const std::string& out) {
  const auto name = [&](std::optional<size_t> column) {
    return column ? fmt::format("\"{}\"", profile.columns[*column].name) : std::string("the row's number");
  };
  fmt::print("{}: {} rows, {} columns, separated by {}\n", profile.path, profile.rows, profile.columns.size(),
             profile.separators);
  fmt::print("label     \"{}\": {} frauds, {:.3f} %\n", profile.columns[roles.label].name, roles.frauds,
             100.0 * static_cast<double>(roles.frauds) / static_cast<double>(roles.labelled));
  fmt::print("time      {}{}\n", name(roles.time),
             roles.time ? fmt::format(", {:.1f} days", roles.span_s / 86400) : "");
  fmt::print("id        {}\n", name(roles.id));
  fmt::print("amount    {}\n", roles.amount ? name(roles.amount) : "none");
  std::string entities;
  for (const size_t c : roles.entities)
    entities += fmt::format("{}\"{}\" ({})", entities.empty() ? "" : ", ", profile.columns[c].name,
                            profile.columns[c].distinct.size());
  fmt::print("entities  {}\n", entities.empty() ? "none" : entities);
  fmt::print("not sure of\n");
  for (const std::string& doubt : roles.unsure) fmt::print("  - {}\n", doubt);
  fmt::print("written   {}\n", out);
  std::fflush(stdout);
}

int run(const Options& options) {
  std::error_code unknown;
  if (!options.force && std::filesystem::exists(options.out, unknown)) {
    return complain(fmt::format("--out {}: the file exists; --force writes over it", options.out), kBadInput);
  }
  const auto profile = init::read_profile(options.input);
  if (!profile) return complain(profile.error(), kBadInput);
  const auto roles = init::find_roles(*profile, options.label);
  if (!roles) return complain(roles.error(), kNotAllWell);
  const std::string text = init::draft(*profile, *roles, options.raw);
  // Our own mistake if it is refused, and said before a file stands there that does not load.
  const auto config = engine::parse_config(text, options.out);
  if (!config) {
    for (const std::string& problem : config.error()) fmt::print(stderr, "{}\n", problem);
    return complain("the draft is no valid configuration, and is not written", kNotAllWell);
  }
  std::ofstream out(options.out, std::ios::binary);
  out << text;
  if (!out.flush().good())
    return complain(fmt::format("--out {}: the file cannot be written", options.out), kBadInput);
  print_summary(*profile, *roles, options.out);
  if (!options.evaluate) {
    fmt::print("next      shrike evaluate {} --config {} --learner ensemble\n", options.input, options.out);
    return 0;
  }
  fmt::print("\n");
  return evaluate_file(options.input, options.out, {"ensemble"});
}

}  // namespace

void add_init(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("init",
                         "Drafts a configuration from a CSV file: types, label, time, id, amount, entities, "
                         "and features by template "
                         "(windows of each entity, ratios, novelty, distances), with what was seen beside "
                         "each line and what was not "
                         "sure. It runs as it is; read it before a server does.\n"
                         "Exit code 1: the file lacks something, which is said with the remedy.\n\n"
                         "  shrike init claims.csv.gz --out claims.toml --evaluate\n"
                         "  shrike init clicks.csv --label bought");
  command->add_option("input", options->input, "a CSV with a header, plain or gz")->required();
  command->add_option("--label", options->label,
                      "the column that says fraud or not (default: the likeliest)");
  command->add_option("--out,-o", options->out, "where the configuration is written")->capture_default_str();
  command->add_flag("--raw", options->raw, "the file's columns alone as features, to compare with");
  command->add_flag("--force", options->force, "write over an existing file");
  command->add_flag("--evaluate", options->evaluate,
                    "run the draft at once: `shrike evaluate` with its learner");
  command->callback([options, &exit_code] { exit_code = run(*options); });
}

}  // namespace shrike::tools
