#include "storage/info_log.h"

#include <unistd.h>

#include <cstdio>
#include <ctime>

namespace shrike::storage {
namespace {

constexpr long kBytesMax = 4 << 20;  // then it begins anew

class InfoLog : public rocksdb::Logger {
 public:
  InfoLog(FILE* file) : Logger(rocksdb::InfoLogLevel::WARN_LEVEL), file_(file) {
    setvbuf(file, nullptr, _IOLBF, 0);
  }
  ~InfoLog() override { std::fclose(file_); }

  using Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    char line[1024];
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    gmtime_r(&now, &utc);
    const size_t stamp = std::strftime(line, sizeof(line), "%FT%TZ ", &utc);
    std::vsnprintf(line + stamp, sizeof(line) - stamp, format, arguments);
    flockfile(file_);
    if (std::ftell(file_) > kBytesMax && ftruncate(fileno(file_), 0) == 0) std::rewind(file_);
    std::fprintf(file_, "%s\n", line);
    std::clearerr(file_);
    funlockfile(file_);
  }

 private:
  FILE* file_;
};

}  // namespace

std::shared_ptr<rocksdb::Logger> open_info_log(const std::string& dir) {
  FILE* file = std::fopen((dir + "/LOG").c_str(), "w");
  return file == nullptr ? nullptr : std::make_shared<InfoLog>(file);
}

}  // namespace shrike::storage
