#include "engine/replay/text_input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace shrike::engine {
namespace {

constexpr size_t kPieceBytes = 1 << 18;
constexpr std::string_view kGzMagic("\x1f\x8b", 2);

// Files that are told by how they begin. A filter reads such a file and writes what is in it.
struct Form {
  std::string_view begins, name, filter, remedy;
};
using namespace std::string_view_literals;
constexpr Form kForms[] = {
    {"\xff\xfe\0\0"sv, "UTF-32 text", "iconv -f UTF-32 -t UTF-8", ""},
    {"\xff\xfe"sv, "UTF-16 text", "iconv -f UTF-16 -t UTF-8", ""},
    {"\xfe\xff"sv, "UTF-16 text", "iconv -f UTF-16 -t UTF-8", ""},
    {kGzMagic, "gz within gz", "gzip -dc", ""},
    {"\xfd"
     "7zXZ\0"sv,
     "xz", "xz -dc", ""},
    {"\x28\xb5\x2f\xfd"sv, "zstd", "zstd -dc", ""},
    {"BZh"sv, "bzip2", "bzip2 -dc", ""},
    {"\x04\x22\x4d\x18"sv, "lz4", "lz4 -dc", ""},
    {"\x1f\x9d"sv, "an old Unix compression", "gzip -dc", ""},
    {"PK\x03\x04"sv, "a zip archive", "", "unzip -p {} > NEW"},
    {"7z\xbc\xaf\x27\x1c"sv, "a 7z archive", "", "7z x -so {} > NEW"},
    {"PAR1"sv, "Parquet", "", "duckdb -c \"COPY (FROM '{}') TO 'NEW.csv'\""},
    {"ARROW1"sv, "an Arrow file", "",
     "python3 -c \"import pandas; pandas.read_feather('{}').to_csv('NEW.csv', index=False)\""},
    {"ORC"sv, "ORC", "",
     "python3 -c \"import pandas; pandas.read_orc('{}').to_csv('NEW.csv', index=False)\""},
    {"SQLite format 3\0"sv, "an SQLite database", "",
     "sqlite3 -csv -header {} 'SELECT * FROM TABLE' > NEW.csv"},
    {"\xd0\xcf\x11\xe0"sv, "a spreadsheet (xls)", "", "libreoffice --headless --convert-to csv {}"},
};
constexpr std::string_view kSpreadsheet = "libreoffice --headless --convert-to csv {}";

std::string shown(const std::string& name, std::string_view what, std::string_view command) {
  return fmt::format("{}: is {}; make text of it: {}", name, what,
                     fmt::format(fmt::runtime(command), name == TextInput::kStandardInput ? "FILE" : name));
}

}  // namespace

std::string what_it_is(std::string_view head, const std::string& name, bool gz) {
  const auto filtered = [&](std::string_view what, std::string_view filter) {
    return shown(
        name, what,
        gz ? fmt::format("gzip -dc {{}} | {} > NEW", filter) : fmt::format("{} < {{}} > NEW", filter));
  };
  if (head.rfind("PK\x03\x04", 0) == 0) {
    if (head.find("[Content_Types].xml") != head.npos || head.find("xl/") != head.npos)
      return shown(name, "a spreadsheet (xlsx)", kSpreadsheet);
    if (head.find("opendocument.spreadsheet") != head.npos)
      return shown(name, "a spreadsheet (ods)", kSpreadsheet);
  }
  for (const Form& form : kForms) {
    if (head.substr(0, form.begins.size()) != form.begins) continue;
    return form.filter.empty() ? shown(name, form.name, form.remedy) : filtered(form.name, form.filter);
  }
  if (head.size() > 262 && head.substr(257, 5) == "ustar") return filtered("a tar archive", "tar -xO");
  if (head.size() > 1 && head[0] >= ' ' && head[1] == 0) {
    return filtered("UTF-16 text", "iconv -f UTF-16LE -t UTF-8");
  }
  if (head.size() > 1 && head[0] == 0 && head[1] >= ' ') {
    return filtered("UTF-16 text", "iconv -f UTF-16BE -t UTF-8");
  }
  if (head.substr(0, 4096).find('\0') != head.npos)
    return fmt::format("{}: is no text (it holds zero bytes); give plain text or gz", name);
  return "";
}

// A gz file's inflation: its members follow one another, as in `cat a.gz b.gz`.
struct TextInput::Gz {
  z_stream stream{};
  std::string in;  // read, not yet inflated: the last avail_in bytes
  bool within = false, member_ended = false;

  Gz() { inflateInit2(&stream, 15 + 16); }
  ~Gz() { inflateEnd(&stream); }
  void feed(std::string bytes) {
    in = std::move(bytes);
    stream.next_in = reinterpret_cast<Bytef*>(in.data());
    stream.avail_in = static_cast<uInt>(in.size());
  }
};

TextInput::TextInput(std::string name) : name_(std::move(name)) {}

TextInput::~TextInput() {
  if (fd_ >= 0) ::close(fd_);
}

tl::expected<std::unique_ptr<TextInput>, std::string> TextInput::open(const std::string& path,
                                                                      std::string_view wanted) {
  std::unique_ptr<TextInput> input(new TextInput(path == "-" ? std::string(kStandardInput) : path));
  input->fd_ = path == "-" ? dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (input->fd_ < 0)
    return tl::make_unexpected(
        fmt::format("{}: {}; give {}, plain or gz", path, std::strerror(errno), wanted));
  struct stat about {};
  if (fstat(input->fd_, &about) == 0) {
    if (S_ISDIR(about.st_mode))
      return tl::make_unexpected(fmt::format("{}: is a directory; give {}", path, wanted));
    if (S_ISREG(about.st_mode)) input->size_ = static_cast<uint64_t>(about.st_size);
  }
  while (input->buffer_.size() < kGzMagic.size() && input->more()) {
  }
  if (input->buffer_.rfind(kGzMagic, 0) == 0) {
    input->gz_ = std::make_unique<Gz>();
    input->gz_->feed(std::exchange(input->buffer_, {}));
    input->ended_ = false;
    while (input->buffer_.size() < 4 && input->more()) {
    }
  }
  if (!input->problem_.empty() && input->buffer_.empty())
    return tl::make_unexpected(fmt::format("{}: {}", input->name_, input->problem_));
  if (const std::string other = what_it_is(input->buffer_, input->name_, input->gz_ != nullptr);
      !other.empty())
    return tl::make_unexpected(other);
  if (input->buffer_.rfind("\xEF\xBB\xBF", 0) == 0) input->take(3);
  return input;
}

bool TextInput::fail(std::string problem) {
  problem_ = std::move(problem);
  ended_ = true;
  return false;
}

int64_t TextInput::read_some(char* to, size_t size) {
  ssize_t got;
  do {
    got = ::read(fd_, to, size);
  } while (got < 0 && errno == EINTR);
  if (got > 0) bytes_read_ += static_cast<uint64_t>(got);
  return got;
}

bool TextInput::more() {
  if (ended_) return false;
  buffer_.erase(0, at_);
  at_ = 0;
  if (gz_) return inflate_more();
  const size_t old = buffer_.size();
  buffer_.resize(old + kPieceBytes);
  const int64_t got = read_some(buffer_.data() + old, kPieceBytes);
  buffer_.resize(old + static_cast<size_t>(std::max<int64_t>(got, 0)));
  if (got < 0) return fail(std::strerror(errno));
  ended_ = got == 0;
  return got > 0;
}

bool TextInput::inflate_more() {
  z_stream& stream = gz_->stream;
  while (true) {
    if (stream.avail_in == 0) {
      std::string bytes(kPieceBytes, 0);
      const int64_t got = read_some(bytes.data(), bytes.size());
      if (got < 0) return fail(std::strerror(errno));
      if (got == 0 && gz_->within) return fail("the gz file is truncated");
      if (got == 0) return !(ended_ = true);
      bytes.resize(static_cast<size_t>(got));
      gz_->feed(std::move(bytes));
    }
    // What follows the last member and begins no other is padding.
    if (!gz_->within && gz_->member_ended && *stream.next_in != 0x1f) return !(ended_ = true);
    gz_->within = true;
    const size_t old = buffer_.size();
    buffer_.resize(old + kPieceBytes);
    stream.next_out = reinterpret_cast<Bytef*>(buffer_.data() + old);
    stream.avail_out = static_cast<uInt>(kPieceBytes);
    const int code = inflate(&stream, Z_NO_FLUSH);
    buffer_.resize(old + kPieceBytes - stream.avail_out);
    if (code == Z_STREAM_END) {
      gz_->within = false;
      gz_->member_ended = true;
      inflateReset(&stream);
    } else if (code != Z_OK && code != Z_BUF_ERROR) {
      return fail(fmt::format("the gz file is damaged ({})", stream.msg ? stream.msg : zError(code)));
    }
    if (buffer_.size() > old) return true;
  }
}

bool TextInput::find_line(size_t from, size_t& length, bool& ended) {
  for (size_t seen = from;;) {
    const size_t end = ahead().find('\n', seen);
    if (end != std::string_view::npos || ahead().size() - from > kLineBytesMax) {
      length = std::min(end, ahead().size()) - from;
      ended = end != std::string_view::npos;
      if (length > kLineBytesMax) return fail("a line is longer than 1 MiB");
      return true;
    }
    seen = ahead().size();
    if (more()) continue;
    length = ahead().size() - from;
    ended = false;
    return problem_.empty() && length > 0;
  }
}

double TextInput::progress() const {
  if (size_ == 0) return 0;
  return std::min(1.0, static_cast<double>(bytes_read_) / static_cast<double>(size_));
}

}  // namespace shrike::engine
