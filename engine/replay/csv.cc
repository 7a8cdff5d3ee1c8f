#include "engine/replay/csv.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>

namespace shrike::engine {

namespace {
constexpr size_t kBufferBytes = 1 << 20;
constexpr size_t kLineBytesMax = 1 << 20;
}  // namespace

struct CsvReader::Input {
  gzFile file = nullptr;
  int fd = -1;
  uint64_t size = 0;
  std::string buffer;
  size_t at = 0;
  bool ended = false, broken = false;
  std::string problem;

  ~Input() {
    if (file != nullptr) gzclose(file);
  }
  // Appends more bytes; false at the end or when the file is damaged.
  bool fill() {
    if (ended) return false;
    buffer.erase(0, at);
    at = 0;
    const size_t old = buffer.size();
    buffer.resize(old + kBufferBytes);
    const int got = gzread(file, buffer.data() + old, kBufferBytes);
    buffer.resize(old + static_cast<size_t>(std::max(got, 0)));
    int code = 0;
    const char* text = gzerror(file, &code);
    if (got < 0 || (got == 0 && code != Z_OK && code != Z_STREAM_END)) {
      broken = ended = true;
      problem = code == Z_BUF_ERROR ? "the gz file is truncated" : text;
      return false;
    }
    if (got == 0) ended = true;
    return got > 0;
  }
};

CsvReader::CsvReader(const features::Schema& schema, std::string path)
    : schema_(schema), path_(std::move(path)), input_(std::make_unique<Input>()) {}
CsvReader::~CsvReader() = default;

tl::expected<std::unique_ptr<CsvReader>, std::string> CsvReader::open(const std::string& path,
                                                                      const features::Schema& schema,
                                                                      bool with_label) {
  std::unique_ptr<CsvReader> reader(new CsvReader(schema, path == "-" ? "standard input" : path));
  Input& input = *reader->input_;
  input.fd = path == "-" ? dup(STDIN_FILENO) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (input.fd < 0)
    return tl::make_unexpected(
        fmt::format("{}: {}; give a CSV file, plain or gz", path, std::strerror(errno)));
  struct stat about {};
  if (fstat(input.fd, &about) == 0) {
    if (S_ISDIR(about.st_mode))
      return tl::make_unexpected(fmt::format("{}: is a directory; give a CSV file", path));
    if (S_ISREG(about.st_mode)) input.size = static_cast<uint64_t>(about.st_size);
  }
  input.file = gzdopen(input.fd, "rb");
  gzbuffer(input.file, 1 << 18);
  if (auto ok = reader->read_header(with_label); !ok) return tl::make_unexpected(ok.error());
  return reader;
}

double CsvReader::progress() const {
  if (input_->size == 0) return 0;
  return std::min(1.0, static_cast<double>(gzoffset(input_->file)) / static_cast<double>(input_->size));
}

// Without the line's end.
bool CsvReader::read_line(std::string_view& line) {
  Input& input = *input_;
  size_t from = input.at;
  while (true) {
    const size_t end = input.buffer.find('\n', from);
    if (end != std::string::npos) {
      line = std::string_view(input.buffer).substr(input.at, end - input.at);
      input.at = end + 1;
      break;
    }
    const size_t waiting = input.buffer.size() - input.at;
    if (waiting > kLineBytesMax) {
      input.broken = input.ended = true;
      input.problem = "a line is longer than 1 MiB";
      return false;
    }
    if (!input.fill()) {
      if (input.broken || input.at == input.buffer.size()) return false;
      line = std::string_view(input.buffer).substr(input.at);
      input.at = input.buffer.size();
      break;
    }
    from = input.at + waiting;
  }
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  ++line_number_;
  return true;
}

bool CsvReader::split(std::string_view line) {
  cells_.clear();
  if (line.find('"') == std::string_view::npos) {
    while (true) {
      const size_t comma = line.find(',');
      cells_.push_back(line.substr(0, comma));
      if (comma == std::string_view::npos) return true;
      line.remove_prefix(comma + 1);
    }
  }
  unquoted_.clear();
  std::string cell;
  size_t i = 0;
  while (true) {
    cell.clear();
    if (i < line.size() && line[i] == '"') {
      for (++i;; ++i) {
        if (i >= line.size()) return false;
        if (line[i] != '"') {
          cell += line[i];
        } else if (i + 1 < line.size() && line[i + 1] == '"') {
          cell += line[i++];
        } else {
          ++i;
          break;
        }
      }
      if (i < line.size() && line[i] != ',') return false;
    } else {
      while (i < line.size() && line[i] != ',') cell += line[i++];
    }
    unquoted_.push_back(cell);
    if (i >= line.size()) break;
    ++i;
  }
  cells_.assign(unquoted_.begin(), unquoted_.end());
  return true;
}

tl::expected<void, std::string> CsvReader::read_header(bool with_label) {
  std::string_view line;
  if (!read_line(line)) {
    return tl::make_unexpected(fmt::format(
        "{}: {}", path_,
        input_->broken ? input_->problem
                       : std::string("the file is empty; a header line with column names is needed")));
  }
  if (line.rfind("\xEF\xBB\xBF", 0) == 0) line.remove_prefix(3);
  if (!split(line)) return tl::make_unexpected(fmt::format("{}:1: a quote is not closed", path_));
  uint64_t seen = 0;
  bool has_label = false;
  for (const std::string_view name : cells_) {
    if (name == schema_.label) {
      column_field_.push_back(-2);
      has_label = true;
    } else if (const auto field = schema_.find(name)) {
      if (seen >> *field & 1)
        return tl::make_unexpected(fmt::format("{}:1: column \"{}\" is there twice", path_, name));
      seen |= uint64_t{1} << *field;
      column_field_.push_back(static_cast<int>(*field));
    } else {
      column_field_.push_back(-1);
      ignored_.emplace_back(name);
    }
  }
  std::vector<std::string> missing;
  for (size_t i = 0; i < schema_.fields.size(); ++i) {
    if ((seen >> i & 1) == 0 && !schema_.fields[i].optional) missing.push_back(schema_.fields[i].name);
  }
  if (with_label && !has_label) missing.push_back(schema_.label);
  if (!missing.empty()) {
    return tl::make_unexpected(fmt::format("{}:1: the header lacks the column{} {}; found are {}", path_,
                                           missing.size() > 1 ? "s" : "", fmt::join(missing, ", "),
                                           fmt::join(cells_, ", ")));
  }
  return {};
}

CsvReader::Line CsvReader::next(features::Transaction& transaction, int& label) {
  std::string_view line;
  do {
    if (!read_line(line)) {
      if (!input_->broken) return Line::kEnd;
      error_ = fmt::format("{}:{}: {}", path_, line_number_ + 1, input_->problem);
      return Line::kBroken;
    }
  } while (line.empty());
  const auto bad = [&](const std::string& reason) {
    error_ = fmt::format("{}:{}: {}", path_, line_number_, reason);
    return Line::kBad;
  };
  if (!split(line)) return bad("a quote is not closed");
  if (cells_.size() != column_field_.size()) {
    return bad(fmt::format("found {} columns, the header has {}", cells_.size(), column_field_.size()));
  }
  transaction.reset(schema_);
  label = -1;
  for (size_t c = 0; c < cells_.size(); ++c) {
    const int field = column_field_[c];
    if (field == -1) continue;
    if (field == -2) {
      if (cells_[c] == "0" || cells_[c] == "false") label = 0;
      if (cells_[c] == "1" || cells_[c] == "true") label = 1;
      if (label < 0 && !cells_[c].empty()) {
        return bad(fmt::format("{}: found \"{}\", allowed are 0, 1, true, false", schema_.label,
                               cells_[c].substr(0, 40)));
      }
      continue;
    }
    if (auto done = features::set_from_text(schema_, static_cast<size_t>(field), cells_[c], transaction);
        !done) {
      return bad(fmt::format("{}: {}", done.error().field, done.error().reason));
    }
  }
  if (auto done = features::finish(schema_, transaction); !done) {
    return bad(fmt::format("{}: {}", done.error().field, done.error().reason));
  }
  return Line::kRow;
}

}  // namespace shrike::engine
