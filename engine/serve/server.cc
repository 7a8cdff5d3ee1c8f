#include "engine/serve/server.h"

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <thread>

#include "engine/serve/clocks.h"
#include "engine/serve/composition.h"
#include "engine/serve/machine_meter.h"
#include "engine/serve/model_loader.h"
#include "engine/serve/received.h"
#include "engine/threads/placement.h"
#include "engine/wire/wire.h"

namespace shrike::engine {
namespace {

constexpr int kReceivePerTurn = 128;         // messages of one socket before the other gets its turn
constexpr size_t kFramesMax = 8;             // of one message; further ones are read and dropped
constexpr uint64_t kUnfinishedMessages = 8;  // of the largest size: so much may be of one that has no end
constexpr int kWaitingPerPeer = 1024;        // requests of one peer that ZeroMQ reads ahead
// A refusal costs some microseconds of the machine, so that refusing all that a flood sends would leave no
// time to answer: what comes beyond this waits in ZeroMQ, where clients have their turns too, and holds back
// its sender.
constexpr double kRefusalsPerUs = 0.15;
constexpr double kRefusalsAtOnce = 2048;
constexpr double kWindowUs = 1'000;      // of work that the engine has before it
constexpr size_t kWindowMin = 64;        // requests
constexpr uint64_t kScoresToALabel = 4;  // where both wait
constexpr int64_t kStallUs = 1'000'000;  // without a look at the sockets, after which what they hold is old
constexpr int64_t kStopReadUs = 2'000'000;    // after a stop, how long requests under way are still answered
constexpr int64_t kStopRefuseUs = 2'500'000;  // and until when those of clients that go on are refused

bool open_to_others(std::string_view endpoint) {
  const auto begins = [&](std::string_view prefix) { return endpoint.substr(0, prefix.size()) == prefix; };
  return begins("tcp://") && !begins("tcp://127.") && !begins("tcp://localhost") && !begins("tcp://[::1]");
}

}  // namespace

Server::Server(ConfigPtr config)
    : config_(std::move(config)),
      inlets_{Inlet{{}, Intake({config_->sockets.queue_requests_max, config_->sockets.queue_wait_us})},
              Inlet{{}, Intake({config_->sockets.queue_requests_max, 0})}},
      connections_(kUnfinishedMessages * config_->sockets.message_bytes_max),
      answered_(queue_capacity(*config_)),
      pipeline_(config_->sockets.queue_requests_max, config_->storage.durability == Durability::kSync) {}

Server::~Server() = default;

void Server::request_stop() { parts_->stopping.store(true); }

tl::expected<std::unique_ptr<Server>, std::string> Server::open(ConfigPtr config, const std::string& data_dir,
                                                                const Access& access) {
  google::protobuf::SetLogHandler(nullptr);  // what a client gets wrong, the client is told
  std::unique_ptr<Server> server(new Server(std::move(config)));
  if (auto bound = server->bind(access); !bound) return tl::make_unexpected(bound.error());
  Server* const s = server.get();
  Engine::HandOn answer_first;
  if (server->config_->storage.durability == Durability::kAsync) {
    answer_first = [s](EnvelopePtr envelope) {
      while (!s->answered_.push(std::move(envelope))) std::this_thread::yield();
      s->bell_.ring();
    };
  }
  auto parts =
      Composition::open(server->config_, data_dir, std::move(server->events_), std::move(answer_first));
  if (!parts) return tl::make_unexpected(parts.error());
  server->parts_ = std::move(*parts);
  return server;
}

tl::expected<zmq::socket_t, std::string> Server::bind_one(zmq::socket_type type, const std::string& where,
                                                          Role role, const Access& access,
                                                          std::string& endpoint) {
  const std::string_view key = name(role);
  if (gatekeeper_ == nullptr && !access.plaintext_anywhere && open_to_others(where)) {
    return tl::make_unexpected(fmt::format(
        "sockets.{} = \"{}\" is open to other machines, and whoever reaches it can score, label and activate "
        "models: make keys (`shrike keygen`, `shrike clients add`) and give them by --keys, bind to "
        "127.0.0.1, "
        "or say --plaintext-anywhere",
        key, where));
  }
  try {
    zmq::socket_t socket(context_, type);
    const SocketConfig& s = config_->sockets;
    socket.set(zmq::sockopt::linger, 1000);
    // A peer that does not read is owed so many replies; what comes then is dropped and counted.
    socket.set(zmq::sockopt::sndhwm,
               static_cast<int>(std::clamp<size_t>(2 * s.queue_requests_max, 1 << 15, 1 << 20)));
    socket.set(zmq::sockopt::rcvhwm, kWaitingPerPeer);
    // A little too large gets an error that says so; far too large ends the connection before it takes
    // memory.
    socket.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(4 * s.message_bytes_max));
    // Dead peers are found by TCP, within half a minute. Not by ZMTP's heartbeats: libzmq 4.3.4 ends the
    // process when one falls due on a connection that its peer has closed while messages of it wait unread.
    socket.set(zmq::sockopt::tcp_keepalive, 1);
    socket.set(zmq::sockopt::tcp_keepalive_idle, 15);
    socket.set(zmq::sockopt::tcp_keepalive_intvl, 5);
    socket.set(zmq::sockopt::tcp_keepalive_cnt, 3);
    socket.set(zmq::sockopt::tcp_maxrt, 30'000);
    if (type == zmq::socket_type::router) {
      // A client that comes back under its name is not locked out; a reply that cannot be sent is known.
      socket.set(zmq::sockopt::router_handover, true);
      socket.set(zmq::sockopt::router_mandatory, true);
    }
    if (gatekeeper_ != nullptr) gatekeeper_->secure(socket, role);
    connections_.watch(context_, socket);
    socket.bind(where);
    endpoint = socket.get(zmq::sockopt::last_endpoint);
    return socket;
  } catch (const zmq::error_t& error) {
    return tl::make_unexpected(
        fmt::format("sockets.{} = \"{}\" cannot be bound: {}; choose another address or stop what uses it",
                    key, where, error.what()));
  }
}

tl::expected<void, std::string> Server::bind(const Access& access) {
  if (!access.keys_dir.empty()) {
    auto gatekeeper = Gatekeeper::open(config_, access.keys_dir, context_);
    if (!gatekeeper) return tl::make_unexpected(gatekeeper.error());
    gatekeeper_ = std::move(*gatekeeper);
  }
  const auto take = [&](zmq::socket_t& to, zmq::socket_type type, const std::string& where, Role role,
                        std::string& endpoint) -> tl::expected<void, std::string> {
    auto bound = bind_one(type, where, role, access, endpoint);
    if (!bound) return tl::make_unexpected(bound.error());
    to = std::move(*bound);
    return {};
  };
  const SocketConfig& s = config_->sockets;
  using Type = zmq::socket_type;
  if (auto ok = take(inlets_[0].socket, Type::router, s.score, Role::kScore, endpoints_.score); !ok)
    return ok;
  if (auto ok = take(inlets_[1].socket, Type::router, s.feedback, Role::kFeedback, endpoints_.feedback); !ok)
    return ok;
  return take(events_, Type::pub, s.events, Role::kEvents, endpoints_.events);
}

void Server::start_threads() {
  decoder_ = std::make_unique<Decoder>(config_);
  decoder_->on_unknown_field([this](std::string_view field, bool first) {
    parts_->probe.unknown_fields.fetch_add(1, std::memory_order_relaxed);
    if (!first) return;
    parts_->probe.unknown_names.add(field);
    spdlog::warn("transactions carry the field \"{}\", which the schema does not name: left out", field);
  });
  parts_->start(bell_);
  loader_ = std::make_unique<ModelLoader>(config_, *parts_->store, queue_capacity(*config_));
  loader_->start(bell_);
}

void Server::run() {
  using Polling = ThreadConfig::Polling;
  if (config_->threads.lock_memory) lock_memory();
  pin_thread(config_->threads.socket_cpu, "socket");
  start_threads();
  connections_.find_bound();
  std::vector<zmq::pollitem_t> items{{nullptr, bell_.fd(), ZMQ_POLLIN, 0}};
  for (Inlet& inlet : inlets_) items.push_back({inlet.socket.handle(), 0, ZMQ_POLLIN, 0});
  for (zmq::socket_t& events : connections_.events()) items.push_back({events.handle(), 0, ZMQ_POLLIN, 0});
  constexpr uint64_t kTurnsUnseen = 64;  // that connections are not looked at under load
  turned_us_ = now_us();
  for (uint64_t turn = 0; !parts_->stopping.load(); ++turn) {
    begin_turn();
    bool worked = take_done();
    worked |= receive(false);
    worked |= receive(true);
    worked |= dispatch();
    if (!worked || turn % kTurnsUnseen == 0) connections_.look();
    if (worked || config_->threads.polling == Polling::kBusy) continue;
    if (config_->threads.polling == Polling::kAdaptive && in_flight() > 0 && spin_for_done()) continue;
    sleep(items);
  }
  drain(items[0]);
}

void Server::sleep(std::vector<zmq::pollitem_t>& items) {
  const bool waits_for_room = !inlets_[0].intake.empty() || !inlets_[1].intake.empty();
  bell_.prepare();
  if (waits_for_room) parts_->engine->wake_when_taken();
  if (!take_done() && !(waits_for_room && dispatch())) {
    // What may not be read yet is not waited for: cores are for what is being answered.
    if (refusals_left_ > 0) {
      zmq::poll(items, std::chrono::milliseconds(100));
    } else {
      zmq::poll(items.data(), 1, std::chrono::milliseconds(1));
    }
  }
  bell_.finish();
  turned_us_ = now_us();  // it was looking
}

// The thread, or the whole process, stood still: what the sockets hold has waited since it looked last.
void Server::begin_turn() {
  const int64_t now = now_us();
  const bool stood_still = now - turned_us_ > kStallUs;
  for (Inlet& inlet : inlets_) {
    if (stood_still) {
      inlet.unseen_since = turned_us_;
      inlet.unseen_until = now + config_->deadline.default_us;
    } else if (now > inlet.unseen_until) {
      inlet.unseen_since = 0;
    }
  }
  turned_us_ = now;
  refusals_left_ =
      std::min(refusals_left_ + kRefusalsPerUs * static_cast<double>(now - refilled_us_), kRefusalsAtOnce);
  refilled_us_ = now;
}

// What has been received is answered, what waits in ZeroMQ too; a client that goes on sending hears that it
// is over.
void Server::drain(zmq::pollitem_t& bell) {
  spdlog::info("stopping: {} requests in flight", in_flight());
  const int64_t began = now_us();
  while (true) {
    const int64_t since_us = now_us() - began;
    refuse_new_ = since_us > kStopReadUs;
    begin_turn();
    bool worked = take_done();
    if (since_us < kStopRefuseUs) {
      worked |= receive(false);
      worked |= receive(true);
    }
    worked |= dispatch();
    if (worked) continue;
    if (in_flight() == 0) break;
    bell_.prepare();
    parts_->engine->wake_when_taken();
    if (!take_done() && !dispatch()) zmq::poll(&bell, 1, std::chrono::milliseconds(20));
    bell_.finish();
  }
  parts_->engine->stop();
  take_done();
  parts_->stop_behind_engine();
  take_done();
  parts_->checkpoint_at_end();
}

bool Server::receive(bool feedback) {
  Inlet& inlet = inlets_[feedback];
  zmq::socket_t& socket = inlet.socket;
  bool any = false;
  std::vector<zmq::message_t> frames;
  // Replies keep their order, refusals too, so each has its place in the queue; when even these are used up,
  // ZeroMQ and then the client's own queue hold what comes.
  for (int i = 0;
       i < kReceivePerTurn && refusals_left_ > 0 && inlet.in_flight < 2 * config_->sockets.queue_requests_max;
       ++i) {
    frames.clear();
    zmq::message_t part;
    if (!socket.recv(part, zmq::recv_flags::dontwait)) {
      connections_.drained();
      inlet.unseen_since = 0;
      return any;
    }
    connections_.delivered(part);
    frames.push_back(std::move(part));
    for (bool more = frames.back().more(); more;) {
      zmq::message_t next;
      if (!socket.recv(next)) break;
      more = next.more();
      if (frames.size() < kFramesMax) frames.push_back(std::move(next));
    }
    accept(feedback, frames);
    any = true;
  }
  return any;
}

// REQ and raw clients send [address][empty][payload], plain DEALERs [address][payload]; replies mirror it.
void Server::accept(bool feedback, std::vector<zmq::message_t>& frames) {
  parts_->probe.requests.fetch_add(1, std::memory_order_relaxed);
  const bool delimited = frames.size() >= 2 && frames[1].size() == 0 && frames.size() != 2;
  const bool well_formed = frames.size() == (delimited ? 3 : 2);
  EnvelopePtr envelope = fresh(feedback);
  envelope->peer.address.assign(frames[0].data<char>(), frames[0].size());
  envelope->peer.delimited = delimited;
  uint32_t deadline_ms = 0;
  if (!well_formed) {
    envelope->error =
        Error{ErrorCode::kFrames, "",
              fmt::format("found {} message parts, expected one (after an optional empty delimiter)",
                          frames.size() - 1 - (delimited ? 1 : 0))};
  } else {
    const std::string_view payload = frames.back().to_string_view();
    const auto decoded = feedback ? decoder_->feedback_request(payload, *envelope)
                                  : decoder_->score_request(payload, *envelope, deadline_ms);
    if (!decoded) {
      envelope->error = decoded.error();
    } else if (auto allowed = gatekeeper_ != nullptr ? gatekeeper_->admit(frames.back(), *envelope, now_us())
                                                     : Result<void>();
               !allowed) {
      envelope->error = allowed.error();
    } else if (refuse_new_) {
      envelope->error =
          Error{ErrorCode::kUnavailable, "", "the server is shutting down; send it again to the next"};
    }
  }
  Inlet& inlet = inlets_[feedback];
  if (inlet.unseen_since != 0) envelope->received_us = inlet.unseen_since;
  ++inlet.in_flight;
  const int64_t deadline_us = set_deadline(*envelope, *config_, deadline_ms);
  const int64_t now = now_us();
  if (!envelope->error && deadline_us > 0) refuse_while_stalled(*envelope, deadline_us, now);
  Intake::Added added = inlet.intake.add(std::move(envelope), deadline_us, now);
  if (added.refused) --refusals_left_;
  if (added.answer_now == nullptr) return;
  reply(*added.answer_now);
  release(std::move(added.answer_now));
}

// The log has not been written for half of the time that it has: it would be late.
void Server::refuse_while_stalled(Envelope& envelope, int64_t deadline_us, int64_t now) const {
  const int64_t stalled_us = pipeline_.stalled_us(now);
  if (stalled_us <= (deadline_us - envelope.received_us) / 2) return;
  envelope.error = Error{ErrorCode::kOverloaded, "",
                         fmt::format("the log has not been written for {} ms; try again", stalled_us / 1000),
                         stalled_us / 1000};
}

// As much as the engine does in a moment goes to it; the rest waits by client. Where both wait, labels get
// every fifth place: neither can keep the other out.
bool Server::dispatch() {
  Intake &scores = inlets_[0].intake, &labels = inlets_[1].intake;
  if (scores.empty() && labels.empty()) return false;
  const auto window = std::clamp(static_cast<size_t>(kWindowUs / scores.service_us()), kWindowMin,
                                 std::max(config_->sockets.batch_max, kWindowMin));
  const int64_t now = now_us();
  bool any = false;
  while (submitted_ - parts_->engine->taken() < window && pipeline_.open()) {
    const bool label_first = dispatched_++ % (kScoresToALabel + 1) == kScoresToALabel;
    EnvelopePtr envelope = (label_first ? labels : scores).next(now);
    if (envelope == nullptr) envelope = (label_first ? scores : labels).next(now);
    if (envelope == nullptr) break;
    any = true;
    if (ModelLoader::is_for(*envelope)) {
      labels.pause(envelope->peer.address);
      loader_->push(std::move(envelope));
    } else {
      submit(std::move(envelope));
    }
  }
  return any;
}

// The queue holds more than there can be in flight.
void Server::submit(EnvelopePtr envelope) {
  pipeline_.began(now_us());
  submitted_ += !envelope->error;
  [[maybe_unused]] const bool queued = parts_->engine->submit(std::move(envelope));
}

// Commands whose models are there; what their clients asked for since goes on.
bool Server::take_loaded() {
  bool any = false;
  EnvelopePtr envelope;
  while (loader_->loaded().pop(envelope)) {
    inlets_[1].intake.resume(envelope->peer.address);
    submit(std::move(envelope));
    any = true;
  }
  return any;
}

// Empty, of its socket's kind, and it names no transaction of an earlier request.
EnvelopePtr Server::fresh(bool feedback) {
  auto& free = feedback ? free_others_ : free_scores_;
  if (free.empty()) free.push_back(std::make_unique<Envelope>());
  EnvelopePtr envelope = std::move(free.back());
  free.pop_back();
  begin(*envelope, *config_, feedback);
  return envelope;
}

void Server::reply(Envelope& envelope) {
  envelope.replied = true;
  encode_reply(*config_, envelope, out_);
  if (!send(envelope)) parts_->probe.dropped_replies.fetch_add(1, std::memory_order_relaxed);
  note_reply(parts_->probe, envelope, now_us());
}

// False when the peer is gone, or owes us the reading of too many replies already.
bool Server::send(const Envelope& envelope) {
  const Peer& peer = envelope.peer;
  zmq::socket_t& socket = inlets_[peer.feedback_socket].socket;
  constexpr auto kMore = zmq::send_flags::sndmore | zmq::send_flags::dontwait;
  try {
    if (!socket.send(zmq::buffer(peer.address), kMore)) return false;
    if (peer.delimited && !socket.send(zmq::message_t(), kMore)) return false;
    return socket.send(zmq::buffer(out_), zmq::send_flags::dontwait).has_value();
  } catch (const zmq::error_t&) {  // EHOSTUNREACH
    return false;
  }
}

// An answer is usually a few microseconds away, less than falling asleep and being woken costs.
bool Server::spin_for_done() {
  constexpr int64_t kSpinUs = 25;
  const int64_t until = now_us() + kSpinUs;
  do {
    if (take_done()) return true;
  } while (now_us() < until);
  return false;
}

bool Server::take_done() {
  bool any = take_loaded();
  EnvelopePtr envelope;
  while (answered_.pop(envelope)) {  // async: answered, not yet on disk
    any = true;
    const bool is_score = envelope->as<asked::Score>() != nullptr;
    if (is_score) reply(*envelope);
    if (is_score && (envelope->error || envelope->duplicate)) {  // nothing of it is for the log
      recycle(std::move(envelope));
    } else {
      parts_->journal->push(std::move(envelope));
    }
  }
  while (parts_->journal->done().pop(envelope)) {
    any = true;
    if (envelope->as<asked::Internal>() != nullptr) continue;
    if (!envelope->replied) reply(*envelope);
    recycle(std::move(envelope));
  }
  return any;
}

void Server::recycle(EnvelopePtr envelope) {
  pipeline_.ended(envelope->written_us > 0 ? envelope->written_us - envelope->taken_us : 0, now_us());
  inlets_[envelope->peer.feedback_socket].intake.answered(envelope->peer.address);
  release(std::move(envelope));
}

void Server::release(EnvelopePtr envelope) {
  --inlets_[envelope->peer.feedback_socket].in_flight;
  auto& free = envelope->as<asked::Score>() != nullptr ? free_scores_ : free_others_;
  free.push_back(std::move(envelope));
}

}  // namespace shrike::engine
