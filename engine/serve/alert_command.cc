// The sink that runs a command.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/serve/alert_sinks.h"
#include "engine/serve/clocks.h"
#include "engine/serve/no_sigpipe.h"

namespace shrike::engine {
namespace {

constexpr int kLookEveryMs = 10;

int left_ms(int64_t until_us) {
  const int64_t left = (until_us - now_us()) / 1000;
  return left > 0 ? static_cast<int>(left) : 0;
}

// With no descriptor but the three, no signal blocked, and a process group of its own, so that it can be
// killed with all that it began. Its standard error is ours. Returns errno.
int spawn(const std::vector<std::string>& argv, int standard_input, pid_t& child) {
  std::vector<char*> arguments;
  for (const std::string& one : argv) arguments.push_back(const_cast<char*>(one.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, standard_input, STDIN_FILENO);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  const int error = posix_spawnp(&child, arguments[0], &files, &attributes, arguments.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

// False when time is over first. A command that does not read what it is given is none of our concern.
bool give(int pipe, std::string_view text, int64_t until_us) {
  while (!text.empty()) {
    const ssize_t written = write(pipe, text.data(), text.size());
    if (written > 0) {
      text.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd one{pipe, POLLOUT, 0};
      if (left_ms(until_us) == 0) return false;
      poll(&one, 1, left_ms(until_us));
    } else if (errno != EINTR) {
      return true;
    }
  }
  return true;
}

// Its wait status; nothing when it did not end in time.
std::optional<int> wait_for(pid_t child, int64_t until_us) {
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (left_ms(until_us) == 0) return std::nullopt;
    poll(nullptr, 0, kLookEveryMs);
  }
  return status;
}

class CommandSink final : public AlertSink {
 public:
  explicit CommandSink(std::vector<std::string> argv) : argv_(std::move(argv)) {}
  AlertSinkKind kind() const override { return AlertSinkKind::kCommand; }

  tl::expected<void, std::string> send(const AlertMessage& message, int64_t timeout_us) override {
    const NoSigpipe no_sigpipe;
    const int64_t until_us = now_us() + timeout_us;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return failed(strerror(errno));
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    pid_t child = 0;
    const int error = spawn(argv_, ends[0], child);
    close(ends[0]);
    if (error != 0) {
      close(ends[1]);
      return failed(strerror(error));
    }
    const bool given = give(ends[1], message.body + "\n", until_us);
    close(ends[1]);
    const std::optional<int> status = given ? wait_for(child, until_us) : std::nullopt;
    if (!status) {
      kill(-child, SIGKILL);
      waitpid(child, nullptr, 0);
      return failed(fmt::format("it did not end within {} ms and was killed", timeout_us / 1000));
    }
    if (WIFSIGNALED(*status)) return failed(fmt::format("it was ended by signal {}", WTERMSIG(*status)));
    if (WEXITSTATUS(*status) != 0) return failed(fmt::format("exit code {}", WEXITSTATUS(*status)));
    return {};
  }

 private:
  tl::unexpected<std::string> failed(std::string_view reason) const {
    return tl::make_unexpected(fmt::format("{}: {}", argv_[0], reason));
  }

  std::vector<std::string> argv_;
};

}  // namespace

std::unique_ptr<AlertSink> make_command_sink(std::vector<std::string> argv) {
  return std::make_unique<CommandSink>(std::move(argv));
}

}  // namespace shrike::engine
