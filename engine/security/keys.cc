#include "engine/security/keys.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <toml++/toml.h>

namespace shrike::engine {

KeyPair make_key_pair() {
  char public_key[kKeyLength + 1], secret_key[kKeyLength + 1];
  if (zmq_curve_keypair(public_key, secret_key) != 0) {
    std::fputs("shrike: this libzmq has no CURVE\n", stderr);
    std::abort();  // Debian's has
  }
  return {public_key, secret_key};
}

bool is_key(std::string_view text) {
  unsigned char decoded[32];
  return text.size() == kKeyLength && zmq_z85_decode(decoded, std::string(text).c_str()) != nullptr;
}

tl::expected<void, std::string> write_private_file(const std::string& path, std::string_view text,
                                                   bool over_existing) {
  const auto failed = [&](const std::string& what) {
    return tl::make_unexpected(fmt::format("{} cannot be written: {}", what, std::strerror(errno)));
  };
  const std::string written = over_existing ? path + ".new" : path;
  const int flags = O_WRONLY | O_CREAT | O_CLOEXEC | (over_existing ? O_TRUNC : O_EXCL);
  const int file = open(written.c_str(), flags, S_IRUSR | S_IWUSR);
  if (file < 0) return failed(written);
  const bool whole = write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const bool kept = whole && fsync(file) == 0;
  close(file);
  if (!kept) {
    auto error = failed(written);
    unlink(written.c_str());
    return error;
  }
  if (over_existing && rename(written.c_str(), path.c_str()) != 0) return failed(path);
  return {};
}

tl::expected<KeyFile, std::string> read_key_file(const std::string& path) {
  struct stat about {};
  if (stat(path.c_str(), &about) != 0)
    return tl::make_unexpected(fmt::format("{}: {}; `shrike keygen` makes keys", path, std::strerror(errno)));
  if ((about.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    return tl::make_unexpected(fmt::format("{} can be read by others; chmod 600 it", path));
  KeyFile file;
  try {
    const toml::table table = toml::parse_file(path);
    file.name = table["name"].value_or(std::string());
    file.own.public_key = table["public"].value_or(std::string());
    file.own.secret_key = table["secret"].value_or(std::string());
    file.server = table["server"].value_or(std::string());
  } catch (const toml::parse_error& error) {
    return tl::make_unexpected(fmt::format("{} is no file of keys: {}", path, error.description()));
  }
  if (!is_key(file.own.public_key) || !is_key(file.own.secret_key) ||
      !(file.server.empty() || is_key(file.server)))
    return tl::make_unexpected(
        fmt::format("{} is no file of keys: it has public, secret and, of a client, server", path));
  return file;
}

tl::expected<void, std::string> write_key_file(const std::string& path, const KeyFile& file) {
  std::string text = fmt::format(
      "# Keys of {}. Whoever has this file is {}.\nname = \"{}\"\npublic = \"{}\"\nsecret = \"{}\"\n",
      file.name, file.name, file.name, file.own.public_key, file.own.secret_key);
  if (!file.server.empty()) text += fmt::format("server = \"{}\"\n", file.server);
  return write_private_file(path, text, false);
}

}  // namespace shrike::engine
