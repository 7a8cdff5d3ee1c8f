// The `shrike` command.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "tools/client.h"
#include "tools/commands.h"
#include "tools/init/command.h"

int main(int argc, char** argv) {
  using namespace shrike::tools;
  spdlog::set_default_logger(spdlog::stderr_color_mt("shrike"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  CLI::App app{
      "Shrike scores transactions for fraud, learns from labels as they come, and replays both to the "
      "bit.\n\n"
      "  shrike serve --config handbook.toml --data ./shrike-data      a server\n"
      "  shrike simulate --days 30 --seed 1 --out stream.csv.gz        a realistic stream to try it with\n"
      "  shrike replay stream.csv.gz --config handbook.toml            what it would have said, and how "
      "well\n"};
  app.name("shrike");
  app.require_subcommand(1);
  app.set_version_flag("--version", fmt::format("shrike {}", kVersion));
  std::string level = "info";
  app.add_option("--log-level", level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  std::string key;
  app.add_option("--key", key, "a client's key file, to talk to a server that has keys (`shrike clients`)")
      ->envname("SHRIKE_KEY");
  app.parse_complete_callback([&] {
    spdlog::set_level(spdlog::level::from_str(level));
    if (key.empty()) return;
    if (auto used = use_key(key); !used) throw CLI::ValidationError("--key", used.error());
  });
  int exit_code = 0;
  add_init(app, exit_code);
  add_serve(app, exit_code);
  add_score(app, exit_code);
  add_feedback(app, exit_code);
  add_simulate(app, exit_code);
  add_bench(app, exit_code);
  add_replay(app, exit_code);
  add_evaluate(app, exit_code);
  add_models(app, exit_code);
  add_timeline(app, exit_code);
  add_judge(app, exit_code);
  add_train(app, exit_code);
  add_alerts(app, exit_code);
  add_health(app, exit_code);
  add_diagnose(app, exit_code);
  add_inspect(app, exit_code);
  add_status(app, exit_code);
  add_check_config(app, exit_code);
  add_quality(app, exit_code);
  add_verify(app, exit_code);
  add_repair(app, exit_code);
  add_backup(app, exit_code);
  add_restore(app, exit_code);
  add_keygen(app, exit_code);
  add_clients(app, exit_code);
  add_manual(app, exit_code);
  app.footer(
      "Exit codes: 0 done; 1 done, but not all was well (refusals, differences); 2 bad usage or input; 3 the "
      "server or the disk failed.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : kBadInput;
  }
  return exit_code;
}
