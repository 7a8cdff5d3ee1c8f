#include "tools/bench/server_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <ctime>
#include <fstream>
#include <sstream>
#include <thread>

#include <toml++/toml.h>

#include "tools/data_dir.h"

namespace shrike::tools::bench {
namespace {

constexpr int kReadyMs = 120'000;  // a long log is recovered first
constexpr auto kStopMax = std::chrono::seconds(60);

// What stands behind `key=` up to the next blank.
std::string value_of(const std::string& line, const std::string& key) {
  const size_t at = line.find(key + "=");
  if (at == std::string::npos) return "";
  const size_t from = at + key.size() + 1;
  return line.substr(from, line.find_first_of(" \n", from) - from);
}

}  // namespace

std::string config_for_child(const engine::Config& config, const std::string& durability) {
  toml::table document = toml::parse(config.text);  // it was read before: it is TOML
  const auto table = [&](const char* name) -> toml::table& {
    if (!document[name].is_table()) document.insert_or_assign(name, toml::table());
    return *document[name].as_table();
  };
  for (const char* socket : {"score", "feedback", "events"})
    table("sockets").insert_or_assign(socket, "tcp://127.0.0.1:*");
  // Nobody is paged for a load test.
  if (toml::table* alerts = document["alerts"].as_table(); alerts != nullptr) {
    for (const char* sink : {"webhook", "webhook_secret_file", "file", "command"}) alerts->erase(sink);
  }
  if (!durability.empty()) table("storage").insert_or_assign("durability", durability);
  std::ostringstream out;
  out << document << "\n";
  return out.str();
}

tl::expected<std::unique_ptr<ServerProcess>, std::string> ServerProcess::start(const engine::Config& config,
                                                                               const std::string& durability,
                                                                               const std::string& dir) {
  std::string scratch = (std::filesystem::temp_directory_path() / "shrike-bench-XXXXXX").string();
  if (mkdtemp(scratch.data()) == nullptr)
    return tl::make_unexpected(fmt::format("{} cannot be made; set TMPDIR to a folder with room", scratch));
  std::unique_ptr<ServerProcess> server(new ServerProcess);
  server->scratch_ = scratch;
  server->data_ = dir.empty() ? server->scratch_ / "data" : std::filesystem::path(dir);
  std::ofstream file(server->scratch_ / "config.toml");
  file << config_for_child(config, durability);
  if (!file.flush()) return tl::make_unexpected(fmt::format("{} cannot be written", scratch));
  if (auto spawned = server->spawn(); !spawned) return tl::make_unexpected(spawned.error());
  return server;
}

tl::expected<void, std::string> ServerProcess::spawn() {
  int channel[2];
  if (pipe2(channel, O_CLOEXEC) != 0) return tl::make_unexpected(std::string("no pipe: too many open files"));
  // Made before the fork: a child of a process with threads may not allocate.
  const std::string config = (scratch_ / "config.toml").string(), log = (scratch_ / "server.log").string();
  const std::string data = data_.string();
  const char* const arguments[] = {"shrike", "serve",      "--config", config.c_str(),
                                   "--data", data.c_str(), nullptr};
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    setpgid(0, 0);  // Ctrl-C is for us: the load ends before its server does
    dup2(channel[1], STDOUT_FILENO);
    const int words = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (words >= 0) dup2(words, STDERR_FILENO);
    execv("/proc/self/exe", const_cast<char* const*>(arguments));
    _exit(127);
  }
  close(channel[1]);
  auto ready =
      pid_ < 0 ? tl::make_unexpected(std::string("no process can be started")) : await_ready(channel[0]);
  close(channel[0]);
  return ready;
}

tl::expected<void, std::string> ServerProcess::await_ready(int from_child) {
  std::string line;
  while (line.find('\n') == std::string::npos) {
    pollfd one{from_child, POLLIN, 0};
    char bytes[512];
    const ssize_t count = poll(&one, 1, kReadyMs) > 0 ? read(from_child, bytes, sizeof(bytes)) : 0;
    if (count <= 0) return tl::make_unexpected("the server did not start: " + last_words());
    line.append(bytes, static_cast<size_t>(count));
  }
  score_ = value_of(line, "score");
  feedback_ = value_of(line, "feedback");
  if (score_.empty() || feedback_.empty())
    return tl::make_unexpected(fmt::format("the server said \"{}\" instead of ready", line));
  return {};
}

double ServerProcess::cpu_s() const {
  clockid_t clock = 0;
  timespec used{};
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

std::string ServerProcess::last_words() const {
  const std::string all = file_bytes((scratch_ / "server.log").string()).value_or("");
  constexpr size_t kShown = 600;
  return all.size() > kShown ? "... " + all.substr(all.size() - kShown) : all;
}

ServerProcess::~ServerProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGTERM);
    const auto until = std::chrono::steady_clock::now() + kStopMax;
    int status = 0;
    while (waitpid(pid_, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > until) {
        kill(pid_, SIGKILL);
        waitpid(pid_, &status, 0);
        break;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  std::error_code ignored;
  std::filesystem::remove_all(scratch_, ignored);
}

}  // namespace shrike::tools::bench
