#include "engine/security/clients.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <sstream>

#include <toml++/toml.h>

#include "engine/security/keys.h"

namespace shrike::engine {
namespace {

constexpr std::string_view kRoleNames[kRoles] = {"score", "feedback", "events", "admin"};

std::vector<std::string> texts(const toml::table& table, const char* key) {
  std::vector<std::string> out;
  if (const toml::array* array = table[key].as_array()) {
    for (const toml::node& node : *array) out.push_back(node.value_or(std::string()));
  }
  return out;
}

tl::expected<ClientRecord, std::string> read_client(const toml::table& table) {
  ClientRecord client;
  client.name = table["name"].value_or(std::string());
  client.public_key = table["key"].value_or(std::string());
  client.sources = texts(table, "sources");
  client.labels_per_second = table["labels_per_second"].value_or(0.0);
  if (!is_client_name(client.name))
    return tl::make_unexpected(fmt::format("\"{}\" is no name of a client", client.name));
  if (!is_key(client.public_key))
    return tl::make_unexpected(fmt::format("client {}: its key is no public key", client.name));
  if (!(client.labels_per_second >= 0))
    return tl::make_unexpected(fmt::format("client {}: labels_per_second is at least 0", client.name));
  for (const std::string& text : texts(table, "roles")) {
    const auto role = parse_role(text);
    if (!role) return tl::make_unexpected(fmt::format("client {}: {}", client.name, role.error()));
    client.roles.push_back(*role);
  }
  return client;
}

}  // namespace

std::string_view name(Role role) { return kRoleNames[static_cast<size_t>(role)]; }

tl::expected<Role, std::string> parse_role(std::string_view text) {
  for (size_t i = 0; i < kRoles; ++i) {
    if (text == kRoleNames[i]) return static_cast<Role>(i);
  }
  return tl::make_unexpected(
      fmt::format("\"{}\" is no role; there are {}", text, fmt::join(kRoleNames, ", ")));
}

bool ClientRecord::may(Role role) const { return std::find(roles.begin(), roles.end(), role) != roles.end(); }

bool ClientRecord::may_speak_for(std::string_view source) const {
  return sources.empty() || std::find(sources.begin(), sources.end(), source) != sources.end();
}

const ClientRecord* ClientList::by_name(std::string_view name) const {
  const auto at =
      std::find_if(clients.begin(), clients.end(), [&](const auto& one) { return one.name == name; });
  return at == clients.end() ? nullptr : &*at;
}

const ClientRecord* ClientList::by_key(std::string_view public_key) const {
  const auto at = std::find_if(clients.begin(), clients.end(),
                               [&](const auto& one) { return one.public_key == public_key; });
  return at == clients.end() ? nullptr : &*at;
}

std::string server_key_path(const std::string& keys_dir) { return keys_dir + "/server.key"; }
std::string clients_path(const std::string& keys_dir) { return keys_dir + "/clients.toml"; }

bool is_client_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  });
}

tl::expected<ClientList, std::string> read_clients(const std::string& keys_dir) {
  const std::string path = clients_path(keys_dir);
  ClientList list;
  if (!std::filesystem::exists(path)) return list;
  const auto wrong = [&](const std::string& what) {
    return tl::make_unexpected(fmt::format("{}: {}; `shrike clients` keeps this file", path, what));
  };
  try {
    const toml::table file = toml::parse_file(path);
    const toml::array* tables = file["clients"].as_array();
    if (tables == nullptr) return list;
    for (const toml::node& node : *tables) {
      if (node.as_table() == nullptr) return wrong("expected [[clients]]");
      auto client = read_client(*node.as_table());
      if (!client) return wrong(client.error());
      if (list.by_name(client->name) != nullptr || list.by_key(client->public_key) != nullptr)
        return wrong(fmt::format("client {}, or its key, stands there twice", client->name));
      list.clients.push_back(std::move(*client));
    }
  } catch (const toml::parse_error& error) {
    return wrong(std::string(error.description()));
  }
  return list;
}

tl::expected<void, std::string> write_clients(const std::string& keys_dir, const ClientList& list) {
  toml::array tables;
  for (const ClientRecord& client : list.clients) {
    toml::array roles, sources;
    for (const Role role : client.roles) roles.push_back(std::string(name(role)));
    for (const std::string& source : client.sources) sources.push_back(source);
    toml::table table{{"name", client.name}, {"key", client.public_key}, {"roles", std::move(roles)}};
    if (!client.sources.empty()) table.insert("sources", std::move(sources));
    if (client.labels_per_second > 0) table.insert("labels_per_second", client.labels_per_second);
    tables.push_back(std::move(table));
  }
  std::ostringstream text;
  text << "# Clients of this server, by public key. Kept by `shrike clients`; read again when it changes.\n"
       << toml::table{{"clients", std::move(tables)}} << "\n";
  return write_private_file(clients_path(keys_dir), text.str(), true);
}

}  // namespace shrike::engine
