// What has come over one socket and waits for the engine: a queue for each client, served in turn, one
// request each (round robin: J. Nagle, "On packet switches with infinite storage", 1987). A client that
// floods waits behind itself, and a quiet one's request is the next but as many as there are clients. So the
// engine's own queue can be short, and what waits waits here, where it can be refused.
//
// A request is refused as it comes when those before it, by the pace of the last milliseconds, would make it
// wait longer than it may; and when its turn comes, if little of its time is left. Refusals keep their place
// among their client's replies and take no turn. The socket thread's; knows no socket and no clock.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>

#include "engine/wire/request.h"

namespace shrike::engine {

class Intake {
 public:
  struct Limits {
    size_t requests_max;      // that wait, of all clients together
    int64_t wait_us_max = 0;  // 0: however long
  };
  explicit Intake(Limits limits) : limits_(limits) {}

  // What became of a request that was added.
  struct Added {
    bool refused = false;    // its error is set; it waits for its place among its client's replies, or is
    EnvelopePtr answer_now;  // this: its client waits for nothing else
  };
  // Takes a request, whose error is set if it is refused already. `deadline_us`: 0 for none.
  Added add(EnvelopePtr envelope, int64_t deadline_us, int64_t now_us);
  // The next in turn, null when nothing waits. Its error is set when it was refused.
  EnvelopePtr next(int64_t now_us);

  // One that next() gave has been answered.
  void answered(std::string_view client);

  // Nothing of this client is given by next() until resume(): what it asked for is under way, and its
  // replies keep their order.
  void pause(std::string_view client);
  void resume(std::string_view client);

  bool empty() const { return active_.empty(); }
  size_t waiting() const { return waiting_; }  // that are not refused
  // Between two requests that left while others waited: the pace.
  double service_us() const { return service_us_; }

 private:
  struct Client {
    EnvelopePtr head;
    Envelope* tail = nullptr;
    size_t waiting = 0;    // that are not refused
    size_t under_way = 0;  // given by next() and not answered
    bool paused = false;

    bool idle() const { return head == nullptr && under_way == 0; }
  };
  Client& client_of(std::string_view address);
  double expected_wait_us(const Client& client) const;
  void refuse_if_late(Envelope& envelope, const Client& client, int64_t deadline_us, int64_t now_us) const;
  void note_departure(int64_t now_us);

  Limits limits_;
  std::unordered_map<std::string, Client> clients_;  // by address; some of them idle
  std::deque<Client*> active_;                       // with something waiting and not paused, in turn
  int refusals_ = 0;                                 // given in this turn
  size_t waiting_ = 0;
  double service_us_ = 30;
  int64_t busy_since_us_ = 0;  // 0: nothing has waited
  uint64_t departures_ = 0;    // since then
  std::string key_;
};

}  // namespace shrike::engine
