// What tests of commands share: a small configuration, files, and what a command printed.
#pragma once

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <string>
#include <vector>

#include "tests/engine/support.h"
#include "tools/commands.h"

namespace shrike::tools {

inline constexpr const char* kSmallConfig = R"(
[schema]
id = "id"
label = "is_fraud"
[[schema.fields]]
name = "id"
type = "integer"
[[schema.fields]]
name = "time"
type = "time"
[[schema.fields]]
name = "card"
type = "text"
[[schema.fields]]
name = "amount"
type = "number"
[entities.card]
fields = ["card"]
[[features]]
name = "amount"
[[features]]
name = "n"
aggregate = "count"
entity = "card"
windows = ["1h"]
[learner]
family = "linear"
bin_sample = 50
[training]
maturity = "1d"
every = 20
[gate]
examples_min = 50
frauds_min = 2
)";

class CommandTest : public ::testing::Test {
 protected:
  std::string file(const std::string& name, std::string_view text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  // Runs `shrike ARGUMENTS` with one command; fills out and err, returns the exit code.
  int run(void (*add)(CLI::App&, int&), std::vector<std::string> arguments) {
    CLI::App app;
    int code = 0;
    add(app, code);
    std::reverse(arguments.begin(), arguments.end());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    try {
      app.parse(arguments);
    } catch (const CLI::ParseError& error) {
      ADD_FAILURE() << error.what();
    }
    out = testing::internal::GetCapturedStdout();
    err = testing::internal::GetCapturedStderr();
    return code;
  }
  // `rows` transactions, `gap_s` apart; every tenth a fraud.
  static std::string stream(int rows, int gap_s) {
    std::string text = "id,time,card,amount,is_fraud\n";
    for (int i = 0; i < rows; ++i) {
      text += std::to_string(i) + "," + std::to_string(1'700'000'000 + i * gap_s) + ",c" +
              std::to_string(i % 7) + "," + (i % 10 == 0 ? "900" : "5") + "," + (i % 10 == 0 ? "1" : "0") +
              "\n";
    }
    return text;
  }

  TempDir folder_;
  std::string out, err;
};

}  // namespace shrike::tools
