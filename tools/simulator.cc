// Scenario 1: an amount over 220 is fraud. 2: two terminals a day are compromised, for 28 days all their
// transactions are fraud. 3: three customers a day lose their details, for 14 days a third of their
// transactions have five times the amount and are fraud. 4 (drift): four customers a day are taken over, for
// 5 days each of their purchases is followed within minutes by two to five small ones, between 1 and 15, at
// random terminals anywhere.
#include "tools/simulator.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <numbers>

#include "features/key.h"

namespace shrike::tools {
namespace {

__extension__ typedef unsigned __int128 Wide;

constexpr double kWorld = 100;
constexpr int64_t kDayS = 86'400;

uint64_t rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

}  // namespace

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) {
    word = features::scramble(seed);
    seed += 0x9E3779B97F4A7C15ull;
  }
}

uint64_t Random::next() {
  const uint64_t result = rotate(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = rotate(state_[3], 45);
  return result;
}

double Random::uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

uint64_t Random::below(uint64_t bound) {
  return static_cast<uint64_t>((static_cast<Wide>(next()) * bound) >> 64);
}

double Random::normal(double mean, double deviation) {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return mean + deviation * radius * std::cos(2 * std::numbers::pi * uniform());
}

int Random::poisson(double mean) {
  const double limit = std::exp(-mean);
  int k = 0;
  for (double product = uniform(); product > limit; product *= uniform()) ++k;
  return k;
}

Simulator::Simulator(const SimulationOptions& options)
    : options_(options),
      random_(options.seed),
      terminal_until_(static_cast<size_t>(options.terminals), 0),
      customer_until_(static_cast<size_t>(options.customers), 0),
      takeover_until_(static_cast<size_t>(options.customers), 0) {
  Random places(options.seed ^ 0x5EED0F91ACE5ull);
  place(places);
}

// Homes, habits, and the terminals within reach; a grid of cells as wide as the radius finds those quickly.
void Simulator::place(Random& random) {
  const double cell = std::max(options_.radius, 0.5);
  const int width = static_cast<int>(kWorld / cell) + 1;
  std::vector<std::vector<int64_t>> cells(static_cast<size_t>(width * width));
  std::vector<std::pair<double, double>> terminals;
  const auto cell_of = [&](double x, double y) {
    return static_cast<int>(y / cell) * width + static_cast<int>(x / cell);
  };
  for (int i = 0; i < options_.terminals; ++i) {
    const double x = random.uniform(0, kWorld), y = random.uniform(0, kWorld);
    terminals.emplace_back(x, y);
    cells[static_cast<size_t>(cell_of(x, y))].push_back(i);
  }
  for (int i = 0; i < options_.customers; ++i) {
    Customer customer;
    customer.x = random.uniform(0, kWorld);
    customer.y = random.uniform(0, kWorld);
    customer.mean_amount = random.uniform(5, 100);
    customer.deviation = customer.mean_amount / 2;
    customer.per_day = random.uniform(0, 4);
    const int cx = static_cast<int>(customer.x / cell), cy = static_cast<int>(customer.y / cell);
    for (int y = std::max(cy - 1, 0); y <= std::min(cy + 1, width - 1); ++y) {
      for (int x = std::max(cx - 1, 0); x <= std::min(cx + 1, width - 1); ++x) {
        for (const int64_t t : cells[static_cast<size_t>(y * width + x)]) {
          const double dx = terminals[static_cast<size_t>(t)].first - customer.x;
          const double dy = terminals[static_cast<size_t>(t)].second - customer.y;
          if (dx * dx + dy * dy < options_.radius * options_.radius) customer.terminals.push_back(t);
        }
      }
    }
    customers_.push_back(std::move(customer));
  }
}

bool Simulator::next_day(std::vector<SimulatedTransaction>& out) {
  out.clear();
  if (day_ >= options_.days) return false;
  for (size_t c = 0; c < customers_.size(); ++c) {
    const Customer& customer = customers_[c];
    const int n = random_.poisson(customer.per_day);
    if (customer.terminals.empty()) continue;
    for (int i = 0; i < n; ++i) {
      const auto in_day = static_cast<int64_t>(random_.normal(kDayS / 2.0, 20000));
      if (in_day <= 0 || in_day >= kDayS) continue;
      double amount = random_.normal(customer.mean_amount, customer.deviation);
      if (amount < 0) amount = random_.uniform(0, customer.mean_amount * 2);
      SimulatedTransaction t;
      t.time_s = day_ * kDayS + in_day;
      t.customer = static_cast<int64_t>(c);
      t.terminal = customer.terminals[random_.below(customer.terminals.size())];
      t.amount_cents = std::llround(amount * 100);
      out.push_back(t);
    }
  }
  compromise(out);
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.time_s < b.time_s; });
  for (SimulatedTransaction& t : out) t.id = next_id_++;
  ++day_;
  return true;
}

void Simulator::compromise(std::vector<SimulatedTransaction>& day) {
  const auto fresh = [&](std::vector<int>& until, int count, int days) {
    for (int i = 0; i < count && !until.empty(); ++i) {
      const size_t victim = random_.below(until.size());
      until[victim] = std::max(until[victim], day_ + days);
    }
  };
  // At the handbook's scale two terminals and three customers a day; smaller worlds in proportion, at least
  // one.
  const auto scaled = [](double per_day, int size, int reference) {
    return std::max(1, static_cast<int>(std::lround(per_day * size / reference)));
  };
  const bool terminals_safe = options_.end_scenario_2_at_day >= 0 && day_ >= options_.end_scenario_2_at_day;
  if (!terminals_safe) fresh(terminal_until_, scaled(2, options_.terminals, 10000), 28);
  fresh(customer_until_, scaled(3, options_.customers, 5000), 14);
  const bool drift = options_.new_scenario_from_day >= 0 && day_ >= options_.new_scenario_from_day;
  if (drift) fresh(takeover_until_, scaled(4, options_.customers, 5000), 5);

  const size_t honest = day.size();
  for (size_t i = 0; i < honest; ++i) {
    SimulatedTransaction t = day[i];
    if (t.amount_cents > 22000) t.is_fraud = 1, t.scenario = 1;
    if (!terminals_safe && terminal_until_[static_cast<size_t>(t.terminal)] > day_) {
      t.is_fraud = 1, t.scenario = 2;
    }
    if (customer_until_[static_cast<size_t>(t.customer)] > day_ && random_.below(3) == 0) {
      t.amount_cents *= 5;
      t.is_fraud = 1, t.scenario = 3;
    }
    day[i] = t;
    if (!drift || takeover_until_[static_cast<size_t>(t.customer)] <= day_) continue;
    const auto burst = 2 + random_.below(4);
    for (uint64_t k = 0; k < burst; ++k) {
      SimulatedTransaction small = t;
      small.time_s =
          std::min(t.time_s + 20 + static_cast<int64_t>(random_.below(300)), (day_ + 1) * kDayS - 1);
      small.terminal = static_cast<int64_t>(random_.below(static_cast<uint64_t>(options_.terminals)));
      small.amount_cents = 100 + static_cast<int64_t>(random_.below(1400));
      small.is_fraud = 1;
      small.scenario = 4;
      day.push_back(small);
    }
  }
}

std::string format_amount(int64_t cents) {
  const int64_t fraction = cents % 100;
  return fraction % 10 == 0 ? fmt::format("{}.{}", cents / 100, fraction / 10)
                            : fmt::format("{}.{:02}", cents / 100, fraction);
}

tl::expected<void, std::string> write_text(const std::string& path, std::string header,
                                           const std::function<bool(std::string&)>& more) {
  const bool gz = path.size() > 3 && path.compare(path.size() - 3, 3, ".gz") == 0;
  const gzFile file = gzopen(path.c_str(), gz ? "wb6" : "wbT");
  const auto fail = [&] {
    return tl::make_unexpected(
        fmt::format("{}: {}; choose a place you may write to", path, std::strerror(errno)));
  };
  if (file == nullptr) return fail();
  std::string text = std::move(header);
  bool good = true;
  while (good && more(text)) {
    good = text.empty() ||
           gzwrite(file, text.data(), static_cast<unsigned>(text.size())) == static_cast<int>(text.size());
    text.clear();
  }
  if (gzclose(file) != Z_OK || !good) return fail();
  return {};
}

tl::expected<uint64_t, std::string> write_csv(const std::string& path, const SimulationOptions& options,
                                              const std::function<void(double, uint64_t)>& progress) {
  Simulator simulator(options);
  std::vector<SimulatedTransaction> day;
  uint64_t rows = 0;
  int days = 0;
  const auto written = write_text(
      path, "transaction_id,time,customer_id,terminal_id,amount,is_fraud,scenario\n", [&](std::string& text) {
        if (!simulator.next_day(day)) return false;
        for (const SimulatedTransaction& t : day) {
          fmt::format_to(std::back_inserter(text), "{},{},{},{},{},{},{}\n", t.id, t.time_s, t.customer,
                         t.terminal, format_amount(t.amount_cents), t.is_fraud, t.scenario);
        }
        rows += day.size();
        if (progress) progress(static_cast<double>(++days) / options.days, rows);
        return true;
      });
  if (!written) return tl::make_unexpected(written.error());
  return rows;
}

}  // namespace shrike::tools
