// libshrike's calls, one thread: the default features and ensemble, the log in `async`, by JSON and by
// Protobuf, with learning and with learning held. A server is fed a simulated stream with its labels until it
// has a model; then each call is timed. Beside each: a busy wait as long as its median, whose spread is the
// machine's.
//
//   build/release/bin/in_process_bench [DAYS [MEASURED]]
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/serve/clocks.h"
#include "engine/serve/embedded.h"
#include "engine/wire/wire.h"
#include "tools/simulator.h"

namespace shrike {
namespace {

int64_t now_ns(clockid_t clock) {
  timespec at{};
  clock_gettime(clock, &at);
  return at.tv_sec * 1'000'000'000ll + at.tv_nsec;
}

class Stream {
 public:
  explicit Stream(const engine::Config& config, int days)
      : config_(config), simulator_({.days = days, .seed = 1, .customers = 2000, .terminals = 4000}) {}

  const tools::SimulatedTransaction* next() {
    if (at_ == day_.size()) {
      at_ = 0;
      if (!simulator_.next_day(day_)) return nullptr;
    }
    return &day_[at_++];
  }
  std::string request(const tools::SimulatedTransaction& t, bool protobuf) const {
    std::string json =
        fmt::format(R"({{"transaction_id":{},"time":{},"customer_id":{},"terminal_id":{},"amount":{}}})",
                    t.id, t.time_s, t.customer, t.terminal, tools::format_amount(t.amount_cents));
    if (!protobuf) return json;
    engine::Decoder decoder(std::make_shared<engine::Config>(config_));
    engine::Envelope envelope;
    envelope.become<engine::asked::Score>().event.transaction.reset(config_.schema());
    uint32_t deadline_ms = 0;
    if (!decoder.score_request(json, envelope, deadline_ms)) std::abort();
    return engine::score_request_protobuf(config_.schema(), *envelope.transaction());
  }

 private:
  const engine::Config& config_;
  tools::Simulator simulator_;
  std::vector<tools::SimulatedTransaction> day_;
  size_t at_ = 0;
};

void print(const char* what, std::vector<int64_t>& ns, double per_second, double cpu_us) {
  std::sort(ns.begin(), ns.end());
  const auto at = [&](double q) {
    return static_cast<double>(
               ns[std::min(ns.size() - 1, static_cast<size_t>(q * static_cast<double>(ns.size())))]) /
           1e3;
  };
  fmt::print("{:<34}{:>9.1f}{:>9.1f}{:>9.1f}{:>9.1f}{:>10.1f}", what, at(0.5), at(0.9), at(0.99), at(0.999),
             at(1));
  if (per_second > 0) fmt::print("{:>12.0f}{:>12.2f}", per_second, cpu_us);
  fmt::print("\n");
}

void busy_waits(int64_t ns_each, size_t n) {
  std::vector<int64_t> took;
  for (size_t i = 0; i < n; ++i) {
    const int64_t began = now_ns(CLOCK_MONOTONIC);
    int64_t now = began;
    while (now - began < ns_each) now = now_ns(CLOCK_MONOTONIC);
    took.push_back(now - began);
  }
  print("  a busy wait as long", took, 0, 0);
}

struct Label {
  int64_t due_s, id;
};

int run(int days, size_t measured) {
  std::ifstream file(SHRIKE_SOURCE_DIR "/examples/handbook.toml");
  std::ostringstream out;
  out << file.rdbuf();
  std::string text = out.str();
  const std::string sync = "durability = \"sync\"";
  text.replace(text.find(sync), sync.size(), "durability = \"async\"");
  const auto config = engine::parse_config(text, "handbook.toml");
  if (!config) return 1;
  const std::filesystem::path data =
      std::filesystem::temp_directory_path() / fmt::format("shrike-bench-{}", getpid());
  spdlog::set_level(spdlog::level::warn);
  auto opened = engine::Embedded::open(*config, data);
  if (!opened) {
    fmt::print(stderr, "{}\n", opened.error());
    return 1;
  }
  engine::Embedded& scorer = **opened;
  Stream stream(**config, 100'000);
  std::deque<Label> labels;
  const auto tell = [&](int64_t now_s) {
    for (; !labels.empty() && labels.front().due_s <= now_s; labels.pop_front())
      scorer.feedback(fmt::format(R"({{"transaction_id":{},"is_fraud":1,"source":"chargeback","time":{}}})",
                                  labels.front().id, labels.front().due_s),
                      nullptr);
  };
  size_t fed = 0;
  while (const tools::SimulatedTransaction* t = stream.next()) {
    if (t->time_s >= days * 86400ll) break;
    tell(t->time_s);
    scorer.score(stream.request(*t, false), nullptr);
    if (t->is_fraud != 0) labels.push_back({t->time_s + 7 * 86400, t->id});
    ++fed;
  }
  std::string status;
  scorer.feedback(R"({"command":"status"})", &status);
  const auto number = [&](const char* key) {
    const size_t at = status.find(fmt::format("\"{}\":", key));
    return status.substr(at, status.find(',', at) - at);
  };
  fmt::print("fed {} transactions: {}, {}; {} columns\n", fed, number("examples"), number("models_accepted"),
             (*config)->columns.size());
  fmt::print("{:<34}{:>9}{:>9}{:>9}{:>9}{:>10}{:>12}{:>12}\n", "microseconds", "p50", "p90", "p99", "p99.9",
             "max", "calls/s", "CPU us/call");
  for (const bool learning : {true, false}) {
    if (!learning)
      scorer.feedback(R"({"command":"judge","argument":"{\"action\":\"hold_training\",\"text\":\"bench\"}"})",
                      &status);
    for (const bool protobuf : {false, true}) {
      std::vector<tools::SimulatedTransaction> next;
      std::vector<std::string> requests;
      while (next.size() < measured) {
        next.push_back(*stream.next());
        requests.push_back(stream.request(next.back(), protobuf));
      }
      std::vector<int64_t> took(measured);
      int64_t all_ns = 0;
      const int64_t cpu_before = now_ns(CLOCK_THREAD_CPUTIME_ID);
      int64_t cpu_labels = 0;
      for (size_t i = 0; i < measured; ++i) {
        if (!labels.empty() && labels.front().due_s <= next[i].time_s) {
          const int64_t before = now_ns(CLOCK_THREAD_CPUTIME_ID);
          tell(next[i].time_s);
          cpu_labels += now_ns(CLOCK_THREAD_CPUTIME_ID) - before;
        }
        const int64_t began = now_ns(CLOCK_MONOTONIC);
        scorer.score(requests[i], nullptr);
        all_ns += took[i] = now_ns(CLOCK_MONOTONIC) - began;
        if (next[i].is_fraud != 0) labels.push_back({next[i].time_s + 7 * 86400, next[i].id});
      }
      const double cpu_us = static_cast<double>(now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_before - cpu_labels) /
                            1e3 / static_cast<double>(measured);
      print(fmt::format("{}, {}", protobuf ? "Protobuf" : "JSON", learning ? "learning" : "learning held")
                .c_str(),
            took, 1e9 * static_cast<double>(measured) / static_cast<double>(all_ns), cpu_us);
      busy_waits(took[measured / 2], std::min<size_t>(measured, 50'000));
    }
  }
  opened->reset();
  std::filesystem::remove_all(data);
  return 0;
}

}  // namespace
}  // namespace shrike

int main(int argc, char** argv) {
  return shrike::run(argc > 1 ? std::atoi(argv[1]) : 30,
                     argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 100'000);
}
