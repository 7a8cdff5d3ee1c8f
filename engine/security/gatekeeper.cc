#include "engine/security/gatekeeper.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

namespace shrike::engine {
namespace {

constexpr const char* kZapEndpoint = "inproc://zeromq.zap.01";
constexpr int kLookEveryMs = 200;     // at the file of clients
constexpr double kBurstSeconds = 10;  // of labels, at once

Error forbidden(std::string reason) { return {ErrorCode::kForbidden, "", std::move(reason), 0}; }

std::filesystem::file_time_type changed_at(const std::string& path) {
  std::error_code none;
  const auto at = std::filesystem::last_write_time(path, none);
  return none ? std::filesystem::file_time_type::min() : at;
}

Role needed_for(const Envelope& envelope) {
  if (envelope.as<asked::Score>() != nullptr) return Role::kScore;
  return envelope.as<asked::Control>() != nullptr ? Role::kAdmin : Role::kFeedback;
}

}  // namespace

Gatekeeper::Gatekeeper(ConfigPtr config, std::string keys_dir, KeyPair keys, ClientList clients)
    : config_(std::move(config)),
      keys_dir_(std::move(keys_dir)),
      keys_(std::move(keys)),
      clients_(std::make_shared<const ClientList>(std::move(clients))),
      read_at_(changed_at(clients_path(keys_dir_))) {}

tl::expected<std::unique_ptr<Gatekeeper>, std::string> Gatekeeper::open(ConfigPtr config,
                                                                        const std::string& keys_dir,
                                                                        zmq::context_t& context) {
  auto file = read_key_file(server_key_path(keys_dir));
  if (!file) return tl::make_unexpected(file.error());
  auto clients = read_clients(keys_dir);
  if (!clients) return tl::make_unexpected(clients.error());
  if (clients->clients.empty())
    spdlog::warn("{} names no client yet: nobody can connect (`shrike clients add`)", clients_path(keys_dir));
  for (const ClientRecord& client : clients->clients) {
    for (const std::string& source : client.sources) {
      if (auto known = config->sources.find(source); !known)
        return tl::make_unexpected(fmt::format("client {}: {}", client.name, known.error()));
    }
  }
  std::unique_ptr<Gatekeeper> gatekeeper(
      new Gatekeeper(std::move(config), keys_dir, std::move(file->own), std::move(*clients)));
  Gatekeeper* const g = gatekeeper.get();
  spdlog::debug("{} clients may talk, by {}", g->clients()->clients.size(), clients_path(keys_dir));
  g->zap_ = zmq::socket_t(context, zmq::socket_type::rep);
  g->zap_.set(zmq::sockopt::linger, 0);
  g->zap_.set(zmq::sockopt::rcvtimeo, kLookEveryMs);
  g->zap_.bind(kZapEndpoint);
  // It waits in the socket instead of at the bell.
  g->loop_.start({.name = "shrike-keys",
                  .turn = [g] { return g->answer() || !g->loop_.stopping(); },
                  .waiting = [] { return true; }});
  return gatekeeper;
}

Gatekeeper::~Gatekeeper() {
  loop_.stop();
  zap_.close();
}

void Gatekeeper::secure(zmq::socket_t& socket, Role role) const {
  socket.set(zmq::sockopt::curve_server, 1);
  socket.set(zmq::sockopt::curve_secretkey, keys_.secret_key);
  socket.set(zmq::sockopt::zap_domain, std::string(name(role)));
}

Gatekeeper::Clients Gatekeeper::clients() const {
  const std::lock_guard lock(mutex_);
  return clients_;
}

void Gatekeeper::read_again() {
  const auto at = changed_at(clients_path(keys_dir_));
  if (at == read_at_) return;
  read_at_ = at;
  auto list = read_clients(keys_dir_);
  if (!list) {
    spdlog::error("{}; the clients stay as they were", list.error());
    return;
  }
  spdlog::info("{} was read again: {} clients", clients_path(keys_dir_), list->clients.size());
  auto now = std::make_shared<const ClientList>(std::move(*list));
  const std::lock_guard lock(mutex_);
  clients_ = std::move(now);
}

// A request of ZAP: version, number, domain, address, identity, mechanism, credentials.
bool Gatekeeper::answer() {
  std::vector<std::string> parts;
  zmq::message_t part;
  while (zap_.recv(part)) {
    parts.push_back(part.to_string());
    if (!part.more()) break;
  }
  read_again();
  if (parts.empty()) return false;
  const bool understood = parts.size() >= 7 && parts[0] == "1.0";
  const std::string user = understood ? decide(parts[2], parts[5], parts[6]) : std::string();
  if (user.empty()) {
    // The first of a kind and their doubles, so that knocking fills no log.
    const uint64_t count = refused_.fetch_add(1) + 1;
    if (std::has_single_bit(count))
      spdlog::warn("a client at {} was refused ({} such so far): its key is not among those of {}",
                   parts.size() > 3 ? parts[3] : std::string("?"), count, clients_path(keys_dir_));
  }
  const std::string reply[] = {"1.0",
                               parts.size() > 1 ? parts[1] : std::string(),
                               user.empty() ? "400" : "200",
                               user.empty() ? "not a client of this server" : "OK",
                               user,
                               ""};
  for (size_t i = 0; i < std::size(reply); ++i)
    zap_.send(zmq::buffer(reply[i]),
              i + 1 < std::size(reply) ? zmq::send_flags::sndmore : zmq::send_flags::none);
  return true;
}

// The client's public key, which names it in its messages; "" for nobody who may connect there.
std::string Gatekeeper::decide(std::string_view domain, std::string_view mechanism,
                               std::string_view credentials) {
  if (mechanism != "CURVE" || credentials.size() != 32) return {};
  char key[kKeyLength + 1];
  zmq_z85_encode(key, reinterpret_cast<const uint8_t*>(credentials.data()), credentials.size());
  const Clients now = clients();
  const ClientRecord* client = now->by_key(key);
  const auto role = parse_role(domain);
  if (client == nullptr || !role) return {};
  // Status is asked for on the feedback socket, by whoever is a client.
  const bool may = client->may(*role) || client->may(Role::kAdmin) || *role == Role::kFeedback;
  return may ? client->public_key : std::string();
}

Result<void> Gatekeeper::within_rate(const ClientRecord& client, int64_t now_us) {
  if (client.labels_per_second <= 0) return {};
  const double most = std::max(client.labels_per_second * kBurstSeconds, 1.0);
  const auto [at, fresh] = buckets_.try_emplace(client.name, Bucket{most, now_us});
  Bucket& bucket = at->second;
  bucket.left = std::min(
      most, bucket.left + client.labels_per_second * static_cast<double>(now_us - bucket.at_us) / 1e6);
  bucket.at_us = now_us;
  if (bucket.left >= 1) {
    bucket.left -= 1;
    return {};
  }
  const double wait_ms = 1000 * (1 - bucket.left) / client.labels_per_second;
  return tl::make_unexpected(Error{ErrorCode::kOverloaded, "",
                                   fmt::format("client {} may send {} labels a second; send it again later",
                                               client.name, client.labels_per_second),
                                   static_cast<int64_t>(std::ceil(wait_ms))});
}

Result<void> Gatekeeper::admit(zmq::message_t& part, const Envelope& envelope, int64_t now_us) {
  std::string_view user;
  try {
    user = part.gets("User-Id");
  } catch (const zmq::error_t&) {  // none
  }
  const Clients now = clients();
  const ClientRecord* client = now->by_key(user);
  if (client == nullptr) return tl::make_unexpected(forbidden("you are no client of this server any more"));
  const auto* control = envelope.as<asked::Control>();
  if (control != nullptr && control->command == Command::kStatus) return {};
  const Role role = needed_for(envelope);
  if (!client->may(role))
    return tl::make_unexpected(forbidden(fmt::format(
        "client {} has not the role {} (`shrike clients add` gives roles)", client->name, name(role))));
  if (role != Role::kFeedback) return {};
  if (const auto* label = envelope.as<asked::Label>()) {
    const std::string& source = config_->sources.name(label->request.source);
    if (!client->may_speak_for(source))
      return tl::make_unexpected(
          forbidden(fmt::format("client {} may not speak for {}", client->name, source)));
  }
  return within_rate(*client, now_us);
}

}  // namespace shrike::engine
