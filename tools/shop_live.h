// Plays a shop against a server of examples/ecommerce.toml: every offer of a visit is scored, they are shown
// in the order of their scores, the best first, and what comes of it is told: clicks as labels, purchases as
// the KPIs `bought` and `revenue`. One visit at a time, so the server's log is the same in every run. One
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "tools/client.h"
#include "tools/shop.h"

namespace shrike::tools {

class ShopLive {
 public:
  // What was seen of a day, by arm: [0] the champion's, [1] a challenger's.
  struct Day {
    std::array<uint64_t, 2> shown{}, clicked{};
    double click_through() const;
    double click_through(size_t arm) const;
  };

  explicit ShopLive(const ShopOptions& options) : shop_(options) {}

  // To the sockets of a server, the first or the next one.
  void connect(const std::string& score, const std::string& feedback);

  // The next day; nothing when all days are done, an error when the server does not answer.
  tl::expected<bool, std::string> next_day(Day& day);
  uint64_t impressions() const { return impressions_; }
  uint64_t errors() const { return errors_; }
  const std::vector<std::string>& first_errors() const { return first_errors_; }
  std::vector<int64_t>& latencies_us() { return latencies_us_; }

 private:
  struct Due {
    int64_t time_s;
    int64_t serial;
    std::string message;
    bool operator<(const Due& other) const {
      return std::pair(time_s, serial) > std::pair(other.time_s, other.serial);
    }
  };

  void on_score(uint64_t offer, std::string_view reply, int64_t us);
  void on_feedback(std::string_view reply);
  void note_error(std::string_view reply);
  bool play(const Visit& visit, Day& day);
  void tell(const Visit& visit, size_t offer, const Reaction& reaction);
  bool send_due(int64_t now_s);

  Shop shop_;
  std::unique_ptr<Client> score_, feedback_;
  std::array<double, Visit::kOffers> scores_{};
  size_t arm_ = 0;  // that answered the visit
  std::priority_queue<Due> due_;
  int64_t told_ = 0;
  uint64_t impressions_ = 0, errors_ = 0;
  std::vector<std::string> first_errors_;
  std::vector<int64_t> latencies_us_;
};

}  // namespace shrike::tools
