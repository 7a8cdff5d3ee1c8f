// shrike serve
#include <fmt/format.h>

#include <sys/stat.h>

#include <csignal>
#include <cstdio>
#include <memory>

#include "engine/serve/server.h"
#include "tools/commands.h"
#include "tools/stop_signal.h"

namespace shrike::tools {
namespace {

int serve(const std::string& config_path, const std::string& data, const engine::Access& access) {
  const engine::ConfigPtr config = read_config(config_path);
  if (!config) return kBadInput;
  umask(S_IRWXG | S_IRWXO);  // payments of people: files for this user alone
  StopSignal stop;           // before any thread starts
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is an I/O error, to be handled as such
  auto server = engine::Server::open(config, data, access);
  if (!server) return complain(server.error(), kBadInput);
  const engine::Endpoints& at = (*server)->endpoints();
  fmt::print("ready score={} feedback={} events={}\n", at.score, at.feedback, at.events);
  std::fflush(stdout);
  stop.start([&server] { (*server)->request_stop(); });
  (*server)->run();
  return 0;
}

}  // namespace

void add_serve(CLI::App& app, int& exit_code) {
  auto config = std::make_shared<std::string>();
  auto data = std::make_shared<std::string>("./shrike-data");
  CLI::App* command = app.add_subcommand(
      "serve",
      "Runs a server: scores on one socket, labels on another, announcements on a third. Prints one line "
      "`ready …` when it\n"
      "answers; SIGTERM answers what was received and exits 0. After a crash it goes on where it was.\n\n"
      "  shrike serve --config handbook.toml --data ./shrike-data");
  command->add_option("--config,-c", *config, "TOML; the embedded quickstart when absent");
  command->add_option("--data,-d", *data, "the data directory, made when absent")->capture_default_str();
  auto access = std::make_shared<engine::Access>();
  command->add_option("--keys", access->keys_dir,
                      "a directory of keys (`shrike keygen`): sockets are encrypted, and only clients of "
                      "`shrike clients` may talk");
  command->add_flag("--plaintext-anywhere", access->plaintext_anywhere,
                    "without keys, sockets may be open to other machines all the same");
  command->callback([config, data, access, &exit_code] { exit_code = serve(*config, *data, *access); });
}

}  // namespace shrike::tools
