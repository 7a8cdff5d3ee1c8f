#include "storage/marker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace shrike::storage {
namespace {

struct Content {
  uint64_t magic;
  Marks marks;
  uint64_t hash;
};
constexpr uint64_t kMagic = 0x314b52414d4b4853;  // "SHKMARK1"

uint64_t hash_of(const Content& content) { return XXH3_64bits(&content, offsetof(Content, hash)); }
std::string path_in(const std::string& dir) { return dir + "/COMMITTED"; }

}  // namespace

Marker::~Marker() {
  if (file_ >= 0) close(file_);
}

Result<void> Marker::open(const std::string& dir, const Marks& marks) {
  const std::lock_guard lock(mutex_);
  dir_ = dir;
  marks_ = marks;
  file_ = ::open(path_in(dir).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (file_ < 0) {
    return tl::make_unexpected(
        Error{errno == ENOSPC ? ErrorCode::kNoSpace : ErrorCode::kUnwritable,
              fmt::format("{} cannot be written: {}; check the permissions of the directory", path_in(dir),
                          strerror(errno))});
  }
  look_at_manifest(dir_, marks_);
  write();
  return {};
}

void Marker::committed(uint64_t last, uint64_t writes) {
  const std::lock_guard lock(mutex_);
  marks_.last = std::max(marks_.last, last);
  marks_.writes = std::max(marks_.writes, writes);
  if (marks_.first == 0) marks_.first = std::min<uint64_t>(last, 1);
  write();
}

void Marker::trimming(uint64_t first) {
  const std::lock_guard lock(mutex_);
  marks_.first = std::max(marks_.first, first);
  write();
}

void Marker::table_added() {
  const std::lock_guard lock(mutex_);
  if (file_ < 0) return;  // while opening
  look_at_manifest(dir_, marks_);
  write();
}

// A short or failed write leaves older marks or damaged ones, which say nothing.
void Marker::write() {
  Content content{kMagic, marks_, 0};
  content.hash = hash_of(content);
  [[maybe_unused]] const ssize_t written = pwrite(file_, &content, sizeof(content), 0);
}

Marks Marker::read(const std::string& dir) {
  const int file = ::open(path_in(dir).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  Content content{};
  const bool whole = pread(file, &content, sizeof(content), 0) == sizeof(content);
  close(file);
  return whole && content.magic == kMagic && content.hash == hash_of(content) ? content.marks : Marks{};
}

void Marker::look_at_manifest(const std::string& dir, Marks& marks) {
  std::ifstream current(dir + "/CURRENT");
  std::string name;
  std::error_code error;
  if (!std::getline(current, name) || name.rfind("MANIFEST-", 0) != 0) return;
  const uint64_t bytes = std::filesystem::file_size(dir + "/" + name, error);
  if (error) return;
  marks.manifest = std::strtoull(name.c_str() + std::strlen("MANIFEST-"), nullptr, 10);
  marks.manifest_bytes = bytes;
}

}  // namespace shrike::storage
