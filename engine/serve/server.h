// A running Shrike: the sockets, the threads and their queues, from start to a clean stop. Server::run() is
// the socket thread; it decodes, refuses what is bad, and replies; everything else happens behind queues.
//
//   sync:  socket thread -> engine thread -> journal thread -> socket thread
//          (the reply leaves when its event is on disk)
//   async: socket thread -> engine thread -> socket thread -> journal thread
//          (transactions; labels as in sync)
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <tl/expected.hpp>
#include <zmq.hpp>

#include "engine/config/config.h"
#include "engine/security/gatekeeper.h"
#include "engine/serve/connections.h"
#include "engine/serve/intake.h"
#include "engine/serve/pipeline_window.h"
#include "engine/threads/queue.h"
#include "engine/wire/request.h"

namespace shrike::engine {

class Decoder;
struct Composition;
class ModelLoader;

struct Endpoints {
  std::string score, feedback, events;
};

// Who may reach it.
struct Access {
  std::string keys_dir;  // of the server's keys and its clients (see security/); "": no encryption,
  bool plaintext_anywhere = false;  // then sockets that others can reach are refused unless this is said
};

class Server {
 public:
  // Opens the data directory, recovers, binds. Errors are sentences that say what to do.
  static tl::expected<std::unique_ptr<Server>, std::string> open(ConfigPtr config,
                                                                 const std::string& data_dir,
                                                                 const Access& access = {});
  ~Server();

  const Endpoints& endpoints() const { return endpoints_; }
  // Serves until request_stop(); then drains: everything received is answered and on disk.
  void run();
  // From any thread or a signal handler.
  void request_stop();

 private:
  explicit Server(ConfigPtr config);
  tl::expected<void, std::string> bind(const Access& access);
  tl::expected<zmq::socket_t, std::string> bind_one(zmq::socket_type type, const std::string& where,
                                                    Role role, const Access& access, std::string& endpoint);
  void start_threads();
  // One of the two sockets that take requests, and what has come over it.
  struct Inlet {
    zmq::socket_t socket;
    Intake intake;
    size_t in_flight = 0;      // received and not yet recycled
    int64_t unseen_since = 0;  // what is in the socket may have come since then; 0: just now
    int64_t unseen_until = 0;  // and until then, unless the socket is seen empty before
  };
  bool receive(bool feedback);
  void accept(bool feedback, std::vector<zmq::message_t>& frames);
  bool dispatch();
  void begin_turn();
  void sleep(std::vector<zmq::pollitem_t>& items);
  size_t in_flight() const { return inlets_[0].in_flight + inlets_[1].in_flight; }
  EnvelopePtr fresh(bool feedback);
  void submit(EnvelopePtr envelope);
  bool take_loaded();
  void reply(Envelope& envelope);
  bool send(const Envelope& envelope);
  void drain(zmq::pollitem_t& bell);
  bool take_done();
  bool spin_for_done();
  void recycle(EnvelopePtr envelope);
  void release(EnvelopePtr envelope);
  void refuse_while_stalled(Envelope& envelope, int64_t deadline_us, int64_t now) const;

  ConfigPtr config_;
  zmq::context_t context_{1};
  std::unique_ptr<Gatekeeper> gatekeeper_;  // null: whoever reaches the sockets may do all
  std::array<Inlet, 2> inlets_;             // score, feedback
  zmq::socket_t events_;
  Endpoints endpoints_;
  Connections connections_;
  std::unique_ptr<Decoder> decoder_;
  Queue<EnvelopePtr> answered_;  // async: from the engine thread
  Bell bell_;
  std::unique_ptr<Composition> parts_;  // its threads use the two above
  std::unique_ptr<ModelLoader> loader_;
  // By what they held last, so that a score finds the memory of one.
  std::vector<EnvelopePtr> free_scores_, free_others_;
  PipelineWindow pipeline_;
  uint64_t dispatched_ = 0, submitted_ = 0;  // to the engine; the latter without refusals
  double refusals_left_ = 0;                 // that may be read now; beyond them messages wait in ZeroMQ
  int64_t refilled_us_ = 0;
  int64_t turned_us_ = 0;    // when the thread last looked at its sockets
  bool refuse_new_ = false;  // stopping, and clients go on
  std::string out_;
};

}  // namespace shrike::engine
