// A seeded generator of realistic card transactions: the process of the Fraud Detection Handbook (Le Borgne,
// Siblini, Lebichot, Bontempi, 2022), written anew. Own generator and sampling, so a seed gives the same
// stream on every machine. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

namespace shrike::tools {

struct SimulationOptions {
  int days = 30;
  uint64_t seed = 1;
  int customers = 5000;
  int terminals = 10000;
  double radius = 5;               // of the area in which a customer uses terminals; the world is 100 x 100
  int new_scenario_from_day = -1;  // drift: from this day fraud scenario 4 appears (see simulator.cc)
  int end_scenario_2_at_day = -1;  // and from this day no terminal is compromised any more
};

struct SimulatedTransaction {
  int64_t id = 0;
  int64_t time_s = 0;  // since the first day's midnight
  int64_t customer = 0;
  int64_t terminal = 0;
  int64_t amount_cents = 0;
  int is_fraud = 0;
  int scenario = 0;  // 0 none
};

// xoshiro256** with splitmix64 seeding; Box-Muller normals; Poisson by Knuth's product.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t next();
  double uniform();  // [0, 1)
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  double normal(double mean, double deviation);
  int poisson(double mean);
  uint64_t below(uint64_t bound);

 private:
  uint64_t state_[4];
};

class Simulator {
 public:
  explicit Simulator(const SimulationOptions& options);

  // The next day's transactions in order of time; false when all days are done.
  bool next_day(std::vector<SimulatedTransaction>& out);

 private:
  struct Customer {
    double x, y, mean_amount, deviation, per_day;
    std::vector<int64_t> terminals;
  };
  void place(Random& random);
  void compromise(std::vector<SimulatedTransaction>& day);

  SimulationOptions options_;
  Random random_;
  std::vector<Customer> customers_;
  std::vector<int> terminal_until_, customer_until_, takeover_until_;  // first day that is clean again
  int day_ = 0;
  int64_t next_id_ = 0;
};

// Writes the handbook's columns: transaction_id,time,customer_id,terminal_id,amount,is_fraud,scenario. gz
// when the path ends in .gz. `progress` gets the share done.
tl::expected<uint64_t, std::string> write_csv(const std::string& path, const SimulationOptions& options,
                                              const std::function<void(double, uint64_t)>& progress);

// Writes `header` and then what `more` appends, until it returns false. gz when the path ends in .gz.
tl::expected<void, std::string> write_text(const std::string& path, std::string header,
                                           const std::function<bool(std::string&)>& more);

// "57.16", "146.0".
std::string format_amount(int64_t cents);

}  // namespace shrike::tools
