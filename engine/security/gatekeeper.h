// Lets clients in and holds them to what they may do. Sockets are secured by CurveZMQ; who connects is looked
// up by public key (ZAP, RFC 27 of ZeroMQ), on a thread of its own, which also reads the list of clients
// again when it changes. What a client asks is checked for each message, so a client that was revoked gets
// nothing more over a connection that it still has.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include <tl/expected.hpp>
#include <zmq.hpp>

#include "engine/config/config.h"
#include "engine/security/clients.h"
#include "engine/security/keys.h"
#include "engine/threads/loop.h"
#include "engine/wire/request.h"

namespace shrike::engine {

class Gatekeeper {
 public:
  // Reads the directory of keys and starts answering for this context: before a socket of it is secured.
  static tl::expected<std::unique_ptr<Gatekeeper>, std::string> open(ConfigPtr config,
                                                                     const std::string& keys_dir,
                                                                     zmq::context_t& context);
  ~Gatekeeper();

  // Before the socket binds. Only who has `role` (or is an administrator) may connect.
  void secure(zmq::socket_t& socket, Role role) const;

  // The socket thread's: whether the client that sent this part may ask that. `now_us`: the steady clock.
  Result<void> admit(zmq::message_t& part, const Envelope& envelope, int64_t now_us);

  // Any thread: connections that were refused.
  uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  using Clients = std::shared_ptr<const ClientList>;
  Gatekeeper(ConfigPtr config, std::string keys_dir, KeyPair keys, ClientList clients);
  Clients clients() const;
  bool answer();
  std::string decide(std::string_view domain, std::string_view mechanism, std::string_view credentials);
  void read_again();
  Result<void> within_rate(const ClientRecord& client, int64_t now_us);

  ConfigPtr config_;
  std::string keys_dir_;
  KeyPair keys_;
  mutable std::mutex mutex_;
  Clients clients_;
  std::filesystem::file_time_type read_at_;
  zmq::socket_t zap_;
  std::atomic<uint64_t> refused_{0};
  // Labels that a client has left, by its name.
  struct Bucket {
    double left = 0;
    int64_t at_us = 0;
  };
  std::unordered_map<std::string, Bucket> buckets_;
  Loop loop_;
};

}  // namespace shrike::engine
