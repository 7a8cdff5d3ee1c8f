// Records of a CSV file (RFC 4180), plain or gz, or of standard input: the header's names, then cell after
// cell. The separator is what the header shows: a comma, semicolon, tab or bar. Knows no schema. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "engine/replay/text_input.h"

namespace shrike::engine {

class CsvRecords {
 public:
  // Opens and reads the header. Errors name the file and the remedy.
  static tl::expected<std::unique_ptr<CsvRecords>, std::string> open(const std::string& path);
  static tl::expected<std::unique_ptr<CsvRecords>, std::string> open(std::unique_ptr<TextInput> input);

  enum class Read { kRecord, kBad, kEnd, kBroken };
  // The next record. kRecord: cells() are its cells, as many as header() has. kBad: error() says which line
  // and why; reading may go on: after a quote that is never closed with the line behind it. kBroken: the file
  // itself is damaged, error() says where; nothing follows.
  Read next();
  // Valid until the next call.
  const std::vector<std::string_view>& cells() const { return cells_; }
  const std::string& error() const { return error_; }

  const std::vector<std::string>& header() const { return header_; }
  const std::string& name() const { return input_->name(); }
  // Such as "commas".
  std::string_view separators() const;
  bool comma() const { return separator_ == ','; }
  // Where the record in hand begins.
  uint64_t line() const { return line_; }
  double progress() const { return input_->progress(); }

  // A record whose quoted values hold line breaks is at most this long; a stray quote swallows no more.
  static constexpr size_t kBrokenRecordBytesMax = 1 << 16;

 private:
  enum class Place { kCellStart, kPlain, kQuoted, kQuoteInQuoted };

  explicit CsvRecords(std::unique_ptr<TextInput> input) : input_(std::move(input)) {}
  tl::expected<void, std::string> read_header();
  void find_separator(std::string_view line);
  Read read_record();
  void split_plain(std::string_view line);
  bool split_quoted(std::string_view line);
  void end_cell();
  Read bad(uint64_t line, const std::string& reason);

  std::unique_ptr<TextInput> input_;
  char separator_ = ',';
  std::vector<std::string> header_;
  std::vector<std::string_view> cells_;
  std::string error_;
  uint64_t line_ = 0, next_line_ = 1;
  uint64_t quote_line_ = 0;  // of the newest quote that opened
  uint64_t lines_ = 0;       // of the record in hand
  // The cells of a record with quotes, one behind the other, and where each ends.
  std::string unquoted_;
  std::vector<size_t> ends_;
  Place place_ = Place::kCellStart;
};

}  // namespace shrike::engine
