#include "engine/replay/csv_records.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace shrike::engine {
namespace {

struct Separator {
  char sign;
  std::string_view name;
};
constexpr Separator kSeparators[] = {{',', "commas"}, {';', "semicolons"}, {'\t', "tabs"}, {'|', "bars"}};

std::string_view trim(std::string_view text) {
  const size_t from = text.find_first_not_of(" \t"), to = text.find_last_not_of(" \t");
  return from == text.npos ? std::string_view() : text.substr(from, to - from + 1);
}

std::string_view without_return(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

}  // namespace

tl::expected<std::unique_ptr<CsvRecords>, std::string> CsvRecords::open(const std::string& path) {
  auto input = TextInput::open(path, "a CSV file");
  if (!input) return tl::make_unexpected(input.error());
  return open(std::move(*input));
}

tl::expected<std::unique_ptr<CsvRecords>, std::string> CsvRecords::open(std::unique_ptr<TextInput> input) {
  std::unique_ptr<CsvRecords> records(new CsvRecords(std::move(input)));
  if (auto ok = records->read_header(); !ok) return tl::make_unexpected(ok.error());
  return records;
}

std::string_view CsvRecords::separators() const {
  for (const Separator& one : kSeparators) {
    if (one.sign == separator_) return one.name;
  }
  return "";
}

// The one that the header has most of outside quotes, commas before others. Excel's first line "sep=;" says
// it.
void CsvRecords::find_separator(std::string_view line) {
  size_t best = 0;
  for (const Separator& one : kSeparators) {
    size_t count = 0;
    bool quoted = false;
    for (const char c : line) {
      quoted ^= c == '"';
      count += !quoted && c == one.sign;
    }
    if (count <= best) continue;
    best = count;
    separator_ = one.sign;
  }
}

tl::expected<void, std::string> CsvRecords::read_header() {
  const auto wrong = [&](const std::string& reason) {
    return tl::make_unexpected(fmt::format("{}: {}", name(), reason));
  };
  size_t length = 0;
  bool ended = false;
  const auto has_line = [&] { return input_->find_line(0, length, ended); };
  const auto first = [&] { return without_return(input_->ahead().substr(0, length)); };
  bool found = has_line();
  if (found && first().rfind("sep=", 0) == 0 && first().size() == 5) {
    separator_ = first()[4];
    if (std::none_of(std::begin(kSeparators), std::end(kSeparators),
                     [&](const Separator& one) { return one.sign == separator_; }))
      return wrong("its first line names another separator than a comma, semicolon, tab or bar");
    input_->take(length + (ended ? 1 : 0));
    ++next_line_;
    found = has_line();
  } else if (found) {
    find_separator(first());
  }
  if (!found || first().empty()) {
    return wrong(input_->problem().empty() ? "the file is empty; a header line with column names is needed"
                                           : input_->problem());
  }
  if (first().find('\r') != std::string_view::npos)
    return wrong(
        fmt::format("its lines end in a carriage return alone; convert them: "
                    "tr '\\r' '\\n' < {} > NEW",
                    input_->file()));
  if (read_record() != Read::kRecord) return tl::make_unexpected(error_);
  for (const std::string_view cell : cells_) header_.emplace_back(trim(cell));
  return {};
}

CsvRecords::Read CsvRecords::bad(uint64_t line, const std::string& reason) {
  error_ = fmt::format("{}:{}: {}", name(), line, reason);
  return Read::kBad;
}

CsvRecords::Read CsvRecords::next() {
  const Read read = read_record();
  if (read != Read::kRecord || cells_.size() == header_.size()) return read;
  return bad(line_,
             fmt::format("found {} columns, the header has {} (separated by {}){}", cells_.size(),
                         header_.size(), separators(),
                         lines_ > 1 ? fmt::format("; a quoted value reaches to line {}", next_line_ - 1)
                                    : std::string()));
}

CsvRecords::Read CsvRecords::read_record() {
  size_t taken = 0, first_taken = 0, length = 0;
  bool ended = false;
  const auto find = [&] { return input_->find_line(taken, length, ended); };
  const auto broken = [&] {
    error_ = fmt::format("{}:{}: {}", name(), next_line_ + lines_, input_->problem());
    return Read::kBroken;
  };
  // What follows a quote that went wrong is read again from the next line.
  const auto stray = [&](const std::string& reason) {
    input_->take(first_taken);
    next_line_ = line_ + 1;
    return bad(quote_line_, reason);
  };
  line_ = next_line_;
  unquoted_.clear();
  ends_.clear();
  place_ = Place::kCellStart;
  for (lines_ = 0;;) {
    if (!find()) {
      if (!input_->problem().empty()) return broken();
      if (lines_ == 0) return Read::kEnd;
      return stray("the quote that opens here is never closed");
    }
    const std::string_view whole = input_->ahead().substr(taken, length);
    const std::string_view line = without_return(whole);
    taken += length + (ended ? 1 : 0);
    if (lines_ == 0 && line.empty() && header_.size() != 1) {
      input_->take(std::exchange(taken, 0));
      line_ = ++next_line_;
      continue;
    }
    if (++lines_ == 1) first_taken = taken;
    if (lines_ == 1 && line.find('"') == std::string_view::npos) {
      split_plain(line);
      break;
    }
    if (!split_quoted(line))
      return stray("text follows the closing quote; a quote within a quoted value is written twice");
    if (place_ != Place::kQuoted) {
      end_cell();
      for (size_t i = 0, from = 0; i < ends_.size(); from = ends_[i++])
        cells_.push_back(std::string_view(unquoted_).substr(from, ends_[i] - from));
      break;
    }
    if (taken > kBrokenRecordBytesMax)
      return stray(fmt::format("the quote that opens here is not closed within {} bytes",
                               size_t{kBrokenRecordBytesMax}));
    unquoted_.append(whole.substr(line.size()));
    if (ended) unquoted_ += '\n';
  }
  input_->take(taken);
  next_line_ = line_ + lines_;
  return Read::kRecord;
}

void CsvRecords::split_plain(std::string_view line) {
  cells_.clear();
  while (true) {
    const size_t end = line.find(separator_);
    cells_.push_back(line.substr(0, end));
    if (end == std::string_view::npos) return;
    line.remove_prefix(end + 1);
  }
}

void CsvRecords::end_cell() {
  ends_.push_back(unquoted_.size());
  place_ = Place::kCellStart;
}

// One line of a record; a quoted value may have begun on an earlier one and may go on behind its end.
bool CsvRecords::split_quoted(std::string_view line) {
  cells_.clear();
  for (const char c : line) {
    switch (place_) {
      case Place::kCellStart:
      case Place::kPlain:
        if (c == separator_) {
          end_cell();
        } else if (c == '"' && place_ == Place::kCellStart) {
          place_ = Place::kQuoted;
          quote_line_ = line_ + lines_ - 1;
        } else {
          place_ = Place::kPlain;
          unquoted_ += c;
        }
        break;
      case Place::kQuoted:
        if (c == '"') {
          place_ = Place::kQuoteInQuoted;
        } else {
          unquoted_ += c;
        }
        break;
      case Place::kQuoteInQuoted:
        if (c == separator_) {
          end_cell();
        } else if (c == '"') {
          unquoted_ += c;
          place_ = Place::kQuoted;
        } else {
          return false;
        }
        break;
    }
  }
  return true;
}

}  // namespace shrike::engine
