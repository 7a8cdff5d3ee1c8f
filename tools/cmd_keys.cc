// shrike keygen, shrike clients: a server's keys and who may talk to it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "engine/security/clients.h"
#include "engine/security/keys.h"
#include "tools/commands.h"

namespace shrike::tools {
namespace {

using engine::ClientList;
using engine::ClientRecord;

int keygen(const std::string& dir) {
  umask(S_IRWXG | S_IRWXO);
  std::error_code failed;
  std::filesystem::create_directories(dir, failed);
  if (failed) return complain(fmt::format("{} cannot be made: {}", dir, failed.message()), kFailed);
  const engine::KeyFile file{"server", engine::make_key_pair(), ""};
  const std::string path = engine::server_key_path(dir);
  if (auto written = engine::write_key_file(path, file); !written)
    return complain(written.error() + "; keys that are there stay", kBadInput);
  fmt::print("{}: the server's keys. Its public key is {}\n", path, file.own.public_key);
  fmt::print("next: shrike clients add {} NAME --role score, then shrike serve --keys {}\n", dir, dir);
  return 0;
}

struct NewClient {
  std::string dir, name, out, public_key;
  std::vector<std::string> roles, sources;
  double labels_per_second = 0;
};

// The client's own file, unless it made its keys itself and gave only the public one.
int write_client_file(const NewClient& asked, const engine::KeyPair& keys, const std::string& server_key) {
  const std::string path = asked.out.empty() ? fmt::format("{}/{}.key", asked.dir, asked.name) : asked.out;
  if (auto written = engine::write_key_file(path, {asked.name, keys, server_key}); !written)
    return complain(written.error(), kFailed);
  fmt::print("{}: the keys of {}; give it this file (--key, SHRIKE_KEY) over a way that nobody reads\n", path,
             asked.name);
  return 0;
}

int add(const NewClient& asked) {
  umask(S_IRWXG | S_IRWXO);
  const auto server = engine::read_key_file(engine::server_key_path(asked.dir));
  if (!server) return complain(server.error(), kBadInput);
  auto list = engine::read_clients(asked.dir);
  if (!list) return complain(list.error(), kBadInput);
  if (!engine::is_client_name(asked.name))
    return complain("a client's name has letters, digits, '-', '_' and '.', at most 64", kBadInput);
  if (list->by_name(asked.name) != nullptr)
    return complain(fmt::format("there is a client {}; `shrike clients revoke` ends it", asked.name),
                    kBadInput);
  ClientRecord client{.name = asked.name,
                      .public_key = asked.public_key,
                      .roles = {},
                      .sources = asked.sources,
                      .labels_per_second = asked.labels_per_second};
  for (const std::string& text : asked.roles) {
    const auto role = engine::parse_role(text);
    if (!role) return complain(role.error(), kBadInput);
    client.roles.push_back(*role);
  }
  if (!asked.sources.empty() && !client.may(engine::Role::kFeedback))
    return complain("--source is of who sends labels: give --role feedback too", kBadInput);
  engine::KeyPair keys;
  if (client.public_key.empty()) {
    keys = engine::make_key_pair();
    client.public_key = keys.public_key;
  } else if (!engine::is_key(client.public_key)) {
    return complain("--public is no public key: forty characters of Z85", kBadInput);
  }
  if (list->by_key(client.public_key) != nullptr) return complain("another client has this key", kBadInput);
  if (!keys.secret_key.empty()) {
    if (const int failed = write_client_file(asked, keys, server->own.public_key); failed != 0) return failed;
  } else {
    fmt::print("{} connects with its own keys and the server's public key, {}\n", asked.name,
               server->own.public_key);
  }
  list->clients.push_back(std::move(client));
  if (auto written = engine::write_clients(asked.dir, *list); !written)
    return complain(written.error(), kFailed);
  return 0;
}

int list_clients(const std::string& dir) {
  const auto list = engine::read_clients(dir);
  if (!list) return complain(list.error(), kBadInput);
  if (list->clients.empty())
    fmt::print("no clients; `shrike clients add {} NAME --role score` makes one\n", dir);
  for (const ClientRecord& client : list->clients) {
    std::vector<std::string_view> roles;
    for (const engine::Role role : client.roles) roles.push_back(engine::name(role));
    fmt::print(
        "{:<20} {:<30} {}{}  {}\n", client.name, fmt::format("{}", fmt::join(roles, ",")),
        client.sources.empty() ? std::string("any source")
                               : fmt::format("sources {}", fmt::join(client.sources, ",")),
        client.labels_per_second > 0 ? fmt::format(", {} labels/s", client.labels_per_second) : std::string(),
        client.public_key);
  }
  return 0;
}

int revoke(const std::string& dir, const std::string& name) {
  auto list = engine::read_clients(dir);
  if (!list) return complain(list.error(), kBadInput);
  if (std::erase_if(list->clients, [&](const ClientRecord& one) { return one.name == name; }) == 0)
    return complain(fmt::format("there is no client {}", name), kBadInput);
  if (auto written = engine::write_clients(dir, *list); !written) return complain(written.error(), kFailed);
  fmt::print("{} is revoked: a running server refuses it within a second, on connections it has too\n", name);
  return 0;
}

}  // namespace

void add_keygen(CLI::App& app, int& exit_code) {
  auto dir = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("keygen",
                         "Makes a server's keys in a directory, which `shrike serve --keys` takes: its "
                         "sockets are then encrypted "
                         "(CurveZMQ), and only clients that `shrike clients` names may talk.\n\n"
                         "  shrike keygen ./keys");
  command->add_option("dir", *dir, "the directory, made when absent")->required();
  command->callback([dir, &exit_code] { exit_code = keygen(*dir); });
}

void add_clients(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "clients",
      "Who may talk to a server that has keys, and what each may do. A running server reads the list again "
      "when "
      "it changes.\n\n"
      "  shrike clients add ./keys pos --role score\n"
      "  shrike clients add ./keys backoffice --role feedback --source chargeback --labels-per-second 100\n"
      "  shrike clients add ./keys operator --role admin --role events\n"
      "  shrike clients list ./keys\n"
      "  shrike clients revoke ./keys pos\n"
      "  shrike --key ./keys/pos.key score transaction.json");
  command->require_subcommand(1);
  auto client = std::make_shared<NewClient>();
  CLI::App* adding = command->add_subcommand("add", "a client, with keys made here or its own public key");
  adding->add_option("dir", client->dir, "the server's directory of keys")->required();
  adding->add_option("name", client->name, "how lists and refusals name it")->required();
  adding->add_option("--role", client->roles, "score, feedback, events or admin; several may be given")
      ->required();
  adding->add_option("--source", client->sources, "of labels, that it may speak for; any when absent");
  adding->add_option("--labels-per-second", client->labels_per_second, "on average; any number when absent")
      ->check(CLI::NonNegativeNumber);
  adding->add_option("--public", client->public_key, "its public key, when it made its keys itself");
  adding->add_option("--out", client->out, "the file for its keys; DIR/NAME.key when absent");
  adding->callback([client, &exit_code] { exit_code = add(*client); });
  auto dir = std::make_shared<std::string>(), name = std::make_shared<std::string>();
  CLI::App* listing = command->add_subcommand("list", "the clients, their roles and public keys");
  listing->add_option("dir", *dir, "the server's directory of keys")->required();
  listing->callback([dir, &exit_code] { exit_code = list_clients(*dir); });
  CLI::App* revoking = command->add_subcommand("revoke", "ends a client");
  revoking->add_option("dir", *dir, "the server's directory of keys")->required();
  revoking->add_option("name", *name, "the client")->required();
  revoking->callback([dir, name, &exit_code] { exit_code = revoke(*dir, *name); });
}

}  // namespace shrike::tools
