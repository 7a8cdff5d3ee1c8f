// Key pairs of CurveZMQ (Curve25519; RFC 26 of ZeroMQ) and the files they stand in: TOML, mode 0600, keys in
// ZeroMQ's Z85 text. A server has one pair; a client's file has its own pair and the server's public key,
// which is all that it needs to connect. Secrets are never printed or logged.
#pragma once

#include <string>
#include <string_view>

#include <tl/expected.hpp>

namespace shrike::engine {

inline constexpr size_t kKeyLength = 40;  // Z85 of 32 bytes

struct KeyPair {
  std::string public_key, secret_key;
};

// From the system's source of random numbers.
KeyPair make_key_pair();
// Forty characters of Z85 that decode.
bool is_key(std::string_view text);

struct KeyFile {
  std::string name;
  KeyPair own;
  std::string server;  // public key; "" in the server's own file
};

// Refuses a file that others may read. Errors name it and say what to do.
tl::expected<KeyFile, std::string> read_key_file(const std::string& path);
// Never over one that exists.
tl::expected<void, std::string> write_key_file(const std::string& path, const KeyFile& file);

// Writes `text` to a file for this user alone, in one step: whoever reads it sees all of it or what was
// there.
tl::expected<void, std::string> write_private_file(const std::string& path, std::string_view text,
                                                   bool over_existing);

}  // namespace shrike::engine
