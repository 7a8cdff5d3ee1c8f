#include "engine/serve/intake.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace shrike::engine {
namespace {

constexpr size_t kIdleClientsMax = 4096;  // remembered
constexpr int64_t kPaceUs = 2'000;        // over which the pace is taken
constexpr double kPaceKept = 0.75;
constexpr double kPaceRiseMax = 4;
constexpr double kPaceDrained = 0.95;  // kept when all that waited has left: it was no slower than that
constexpr int kRefusalsATurn = 16;     // are given with a client's turn; more wait for its next

Error overloaded(std::string reason, double retry_us) {
  return {ErrorCode::kOverloaded, "", std::move(reason),
          std::max<int64_t>(static_cast<int64_t>(std::ceil(retry_us / 1000)), 1)};
}

}  // namespace

Intake::Client& Intake::client_of(std::string_view address) {
  key_ = address;  // its memory is kept
  const auto known = clients_.find(key_);
  if (known != clients_.end()) return known->second;
  if (clients_.size() >= 2 * (active_.size() + kIdleClientsMax))
    std::erase_if(clients_, [](const auto& one) { return one.second.idle() && !one.second.paused; });
  return clients_[key_];
}

// Each turn of its own is one of all that have something waiting.
double Intake::expected_wait_us(const Client& client) const {
  const size_t turns = (client.waiting + 1) * std::max<size_t>(active_.size(), 1);
  return static_cast<double>(std::min(turns, waiting_)) * service_us_;
}

void Intake::refuse_if_late(Envelope& envelope, const Client& client, int64_t deadline_us,
                            int64_t now_us) const {
  const double wait_us = expected_wait_us(client);
  if (waiting_ >= limits_.requests_max) {
    envelope.error = overloaded(fmt::format("{} requests are waiting; try again", waiting_),
                                static_cast<double>(waiting_) * service_us_);
  } else if (limits_.wait_us_max > 0 && wait_us > static_cast<double>(limits_.wait_us_max)) {
    envelope.error = overloaded(
        fmt::format("it would wait {:.0f} ms behind {} of this client (sockets.queue_wait); try again",
                    wait_us / 1000, client.waiting),
        wait_us);
  } else if (deadline_us > 0 && static_cast<double>(now_us) + wait_us > static_cast<double>(deadline_us)) {
    envelope.error = overloaded(
        fmt::format("it would wait {:.1f} ms, too long for its deadline; try again", wait_us / 1000),
        wait_us);
  }
}

Intake::Added Intake::add(EnvelopePtr envelope, int64_t deadline_us, int64_t now_us) {
  Client& client = client_of(envelope->peer.address);
  if (!envelope->error) refuse_if_late(*envelope, client, deadline_us, now_us);
  const bool refused = envelope->error.has_value();
  if (refused && client.idle()) return {true, std::move(envelope)};
  if (!refused) {
    ++client.waiting;
    ++waiting_;
  }
  const bool was_idle = client.head == nullptr;
  Envelope* const added = envelope.get();
  (was_idle ? client.head : client.tail->next) = std::move(envelope);
  client.tail = added;
  if (was_idle && !client.paused) active_.push_back(&client);
  return {refused, nullptr};
}

void Intake::answered(std::string_view client) { --client_of(client).under_way; }

EnvelopePtr Intake::next(int64_t now_us) {
  if (active_.empty()) return nullptr;
  Client& client = *active_.front();
  EnvelopePtr envelope = std::move(client.head);
  client.head = std::move(envelope->next);
  ++client.under_way;
  const bool refused = envelope->error.has_value();
  if (!refused) {
    --client.waiting;
    --waiting_;
    const auto* score = envelope->as<asked::Score>();
    // Deciding and writing take their part too.
    if (score != nullptr && now_us > score->deadline_us - (score->deadline_us - envelope->received_us) / 4) {
      envelope->error = overloaded(fmt::format("it waited {:.1f} ms, too long for its deadline; try again",
                                               static_cast<double>(now_us - envelope->received_us) / 1000),
                                   service_us_ * static_cast<double>(waiting_));
    } else {
      note_departure(now_us);
    }
  }
  refusals_ += refused;
  if (client.head == nullptr) client.tail = nullptr;
  if (client.head == nullptr || !refused || refusals_ >= kRefusalsATurn) {  // it had its turn
    refusals_ = 0;
    active_.pop_front();
    if (client.head != nullptr) active_.push_back(&client);
  }
  if (waiting_ == 0) {  // what comes next is the clients' pace
    busy_since_us_ = 0;
    if (!refused) service_us_ = std::max(service_us_ * kPaceDrained, 1.0);
  }
  return envelope;
}

void Intake::note_departure(int64_t now_us) {
  if (busy_since_us_ == 0) {
    busy_since_us_ = now_us;
    departures_ = 0;
    return;
  }
  ++departures_;
  const int64_t passed_us = now_us - busy_since_us_;
  if (passed_us < kPaceUs) return;
  // A moment in which the engine stood still is no pace.
  const double pace_us =
      std::min(static_cast<double>(passed_us) / static_cast<double>(departures_), kPaceRiseMax * service_us_);
  service_us_ = kPaceKept * service_us_ + (1 - kPaceKept) * pace_us;
  busy_since_us_ = now_us;
  departures_ = 0;
}

void Intake::pause(std::string_view client) {
  Client& paused = client_of(client);
  paused.paused = true;
  std::erase(active_, &paused);
}

void Intake::resume(std::string_view client) {
  Client& resumed = client_of(client);
  if (std::exchange(resumed.paused, false) && resumed.head != nullptr) active_.push_back(&resumed);
}

}  // namespace shrike::engine
