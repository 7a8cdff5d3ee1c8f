#include "storage/marker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>

namespace shrike::storage {
namespace {

struct Content {
  uint64_t magic, sequence, hash;
};
constexpr uint64_t kMagic = 0x314b52414d4b4853;  // "SHKMARK1"

uint64_t hash_of(const Content& content) { return XXH3_64bits(&content, offsetof(Content, hash)); }
std::string path_in(const std::string& dir) { return dir + "/COMMITTED"; }

}  // namespace

Marker::~Marker() {
  if (file_ >= 0) close(file_);
}

Result<void> Marker::open(const std::string& dir) {
  file_ = ::open(path_in(dir).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (file_ >= 0) return {};
  return tl::make_unexpected(
      Error{errno == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kUnwritable,
            fmt::format("{} cannot be written: {}; check the permissions of the directory", path_in(dir),
                        strerror(errno))});
}

void Marker::set(uint64_t sequence) {
  Content content{kMagic, sequence, 0};
  content.hash = hash_of(content);
  // A short or failed write leaves an older mark or a damaged one, which says nothing.
  [[maybe_unused]] const ssize_t written = pwrite(file_, &content, sizeof(content), 0);
}

uint64_t Marker::read(const std::string& dir) {
  const int file = ::open(path_in(dir).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  Content content{};
  const bool whole = pread(file, &content, sizeof(content), 0) == sizeof(content);
  close(file);
  return whole && content.magic == kMagic && content.hash == hash_of(content) ? content.sequence : 0;
}

}  // namespace shrike::storage
