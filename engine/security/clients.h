// Which clients may talk to a server, by public key, and what each may do: a TOML file that `shrike clients`
// keeps and a running server reads again when it changes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

namespace shrike::engine {

// What a client may do; several may be given.
enum class Role : uint8_t {
  kScore,     // send transactions
  kFeedback,  // send labels, outcomes and KPIs
  kEvents,    // hear decisions and alerts
  kAdmin,     // commands that change something; status is for every client
};
inline constexpr size_t kRoles = 4;
std::string_view name(Role role);
tl::expected<Role, std::string> parse_role(std::string_view text);

struct ClientRecord {
  std::string name;        // letters, digits, '-', '_', '.'
  std::string public_key;  // Z85
  std::vector<Role> roles;
  std::vector<std::string> sources;  // of labels, that it may speak for; empty: any
  double labels_per_second = 0;      // on average, and ten seconds' worth at once; 0: any number

  bool may(Role role) const;
  bool may_speak_for(std::string_view source) const;
};

struct ClientList {
  std::vector<ClientRecord> clients;

  const ClientRecord* by_name(std::string_view name) const;
  const ClientRecord* by_key(std::string_view public_key) const;
};

// The files of a directory of keys.
std::string server_key_path(const std::string& keys_dir);
std::string clients_path(const std::string& keys_dir);

bool is_client_name(std::string_view name);
// Nobody may talk while there is no file. Errors name the client and the key at fault.
tl::expected<ClientList, std::string> read_clients(const std::string& keys_dir);
tl::expected<void, std::string> write_clients(const std::string& keys_dir, const ClientList& list);

}  // namespace shrike::engine
