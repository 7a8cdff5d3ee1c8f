// Text from a file, plain or gz, or from standard input ("-"), in pieces as they come. Says what a file is
// that holds no such text (UTF-16, zip, xz, Parquet, …), and which command makes some of it. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

namespace shrike::engine {

class TextInput {
 public:
  // Reads the beginning; a byte-order mark is left out. `wanted`: what to ask for when there is no file, such
  // as "a CSV file". Errors name the file and the remedy.
  static tl::expected<std::unique_ptr<TextInput>, std::string> open(const std::string& path,
                                                                    std::string_view wanted);
  ~TextInput();

  // What was read and not yet taken. A view is valid until the next call of more().
  std::string_view ahead() const { return std::string_view(buffer_).substr(at_); }
  void take(size_t bytes) { at_ += bytes; }
  // Reads on behind what is ahead, waiting for some. False at the end, or when the file is damaged: then
  // problem() says how.
  bool more();
  // Length of the line that begins `from` bytes ahead, without its end; reads on where needed. False when
  // there is none, or it is longer than kLineBytesMax: then problem() says so. `ended`: whether a line feed
  // ends it.
  bool find_line(size_t from, size_t& length, bool& ended);

  const std::string& name() const { return name_; }
  // As a command names it.
  std::string file() const { return name_ == kStandardInput ? "FILE" : name_; }
  const std::string& problem() const { return problem_; }
  // Share of the file that has been read, 0..1; 0 when it cannot be known.
  double progress() const;

  static constexpr size_t kLineBytesMax = 1 << 20;
  static constexpr std::string_view kStandardInput = "standard input";

 private:
  struct Gz;
  explicit TextInput(std::string name);
  int64_t read_some(char* to, size_t size);
  bool inflate_more();
  bool fail(std::string problem);

  std::string name_;
  int fd_ = -1;
  uint64_t size_ = 0, bytes_read_ = 0;
  std::string buffer_;
  size_t at_ = 0;
  bool ended_ = false;
  std::string problem_;
  std::unique_ptr<Gz> gz_;  // null: plain
};

// What bytes are that no text begins with, and the remedy; "" for text. `gz`: they stood in a gz file.
std::string what_it_is(std::string_view head, const std::string& name, bool gz);

}  // namespace shrike::engine
