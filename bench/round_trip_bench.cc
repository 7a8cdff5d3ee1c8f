// The round trip over loopback, as one waiting client sees it: a bare ZeroMQ echo of the same bytes, and a
// whole server with durability async and sync, in the same run, taking turns, so that the ratio holds on a
// noisy machine.
//
//   build/release/bin/round_trip_bench
#include <benchmark/benchmark.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include <zmq.hpp>

#include "engine/serve/clocks.h"
#include "engine/serve/server.h"
#include "engine/wire/wire.h"

namespace shrike::engine {
namespace {

std::string config_text(const std::string& durability) {
  std::ifstream file(SHRIKE_SOURCE_DIR "/examples/handbook-15.toml");
  std::ostringstream out;
  out << file.rdbuf();
  std::string text = out.str();
  const auto replace = [&](const std::string& from, const std::string& to) {
    const size_t at = text.find(from);
    if (at != std::string::npos) text.replace(at, from.size(), to);
  };
  replace("durability = \"sync\"", "durability = \"" + durability + "\"");
  replace("127.0.0.1:7201", "127.0.0.1:*");
  replace("127.0.0.1:7202", "127.0.0.1:*");
  replace("127.0.0.1:7203", "127.0.0.1:*");
  return text;
}

class Echo {
 public:
  Echo() : socket_(context_, zmq::socket_type::router) {
    socket_.bind("tcp://127.0.0.1:*");
    endpoint_ = socket_.get(zmq::sockopt::last_endpoint);
    socket_.set(zmq::sockopt::rcvtimeo, 100);
    thread_ = std::thread([this] {
      while (!stopping_) {
        zmq::message_t from, body;
        if (!socket_.recv(from) || !socket_.recv(body)) continue;
        socket_.send(from, zmq::send_flags::sndmore);
        socket_.send(body, zmq::send_flags::none);
      }
    });
  }
  ~Echo() {
    stopping_ = true;
    thread_.join();
  }
  const std::string& endpoint() const { return endpoint_; }

 private:
  zmq::context_t context_;
  zmq::socket_t socket_;
  std::string endpoint_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

class Shrike {
 public:
  explicit Shrike(const std::string& durability)
      : dir_(std::filesystem::temp_directory_path() / ("shrike-bench-" + durability)) {
    std::filesystem::remove_all(dir_);
    server_ = std::move(*Server::open(*parse_config(config_text(durability), "bench"), dir_.string()));
    thread_ = std::thread([this] { server_->run(); });
  }
  ~Shrike() {
    server_->request_stop();
    thread_.join();
    server_.reset();
    std::filesystem::remove_all(dir_);
  }
  const std::string& endpoint() const { return server_->endpoints().score; }

 private:
  std::filesystem::path dir_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

class Client {
 public:
  explicit Client(const std::string& endpoint) : socket_(context_, zmq::socket_type::dealer) {
    socket_.connect(endpoint);
  }
  int64_t ask(const std::string& request) {
    const int64_t start = now_us();
    socket_.send(zmq::buffer(request));
    (void)socket_.recv(reply_);
    return now_us() - start;
  }

 private:
  zmq::context_t context_;
  zmq::socket_t socket_;
  zmq::message_t reply_;
};

std::string request(int64_t id) {
  return R"({"transaction_id":)" + std::to_string(id) + R"(,"time":)" + std::to_string(id / 10) +
         R"(,"customer_id":)" + std::to_string(id * 7919 % 5000) + R"(,"terminal_id":)" +
         std::to_string(id * 104729 % 10000) + R"(,"amount":57.16})";
}

double quantile(std::vector<int64_t>& all, double q) {
  const auto at = all.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(all.size() - 1));
  std::nth_element(all.begin(), at, all.end());
  return static_cast<double>(*at);
}

// One iteration is one request to each of the three, in turn.
void RoundTrip(benchmark::State& state) {
  Echo echo;
  Shrike async("async"), sync("sync");
  Client to_echo(echo.endpoint()), to_async(async.endpoint()), to_sync(sync.endpoint());
  std::vector<int64_t> echo_us, async_us, sync_us;
  int64_t id = 0;
  for (int i = 0; i < 500; ++i, ++id)
    to_echo.ask(request(id)), to_async.ask(request(id)), to_sync.ask(request(id));
  for (auto _ : state) {
    ++id;
    const std::string text = request(id);
    echo_us.push_back(to_echo.ask(text));
    async_us.push_back(to_async.ask(text));
    sync_us.push_back(to_sync.ask(text));
  }
  state.counters["echo_p50_us"] = quantile(echo_us, 0.5);
  state.counters["async_p50_us"] = quantile(async_us, 0.5);
  state.counters["sync_p50_us"] = quantile(sync_us, 0.5);
  state.counters["echo_p99_us"] = quantile(echo_us, 0.99);
  state.counters["async_p99_us"] = quantile(async_us, 0.99);
  state.counters["sync_p99_us"] = quantile(sync_us, 0.99);
  state.counters["async_to_echo"] = quantile(async_us, 0.5) / quantile(echo_us, 0.5);
}
BENCHMARK(RoundTrip)->Iterations(20'000)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace shrike::engine

BENCHMARK_MAIN();
