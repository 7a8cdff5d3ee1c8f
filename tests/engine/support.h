// What engine tests share: example configurations with changes, transactions, temporary directories.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "engine/config/config.h"
#include "features/schema.h"
#include "tests/support/temp_dir.h"

namespace shrike::engine {

inline std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::string example(const std::string& name) {
  return read_file(SHRIKE_SOURCE_DIR "/examples/" + name);
}

// Replaces the first occurrence, which must be there.
inline std::string with(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

inline ConfigPtr must_parse(const std::string& text) {
  auto config = parse_config(text, "test.toml");
  if (!config) {
    for (const std::string& line : config.error()) ADD_FAILURE() << line;
    return nullptr;
  }
  return *config;
}

// The handbook's 15 features with the learner that is quickest to begin.
inline std::string handbook_15() {
  std::string text = with(example("handbook-15.toml"), "family = \"ensemble\"", "family = \"linear\"");
  return with(with(text, "boosting_grow_trees = 100", ""), "tails_columns = \"amount\"", "");
}

// The same at a scale at which a test sees models come and go.
inline std::string small_handbook(const std::string& mode, const std::string& durability) {
  std::string text = handbook_15();
  text = with(text, "mode = \"background\"", "mode = \"" + mode + "\"");
  text = with(text, "durability = \"sync\"", "durability = \"" + durability + "\"");
  text = with(text, "every = 1000", "every = 200");
  text = with(text, "family = \"linear\"", "bin_sample = 400\nfamily = \"linear\"");
  text = with(text, "examples_min = 3000", "examples_min = 400");
  text = with(text, "frauds_min = 15", "frauds_min = 3");
  text = with(text, "examples_max = 20000", "examples_max = 2000");
  text = with(text, "checkpoint_every = 200000", "checkpoint_every = 1000");
  text = with(text, "clock = \"live\"", "clock = \"event\"");  // time is compressed
  for (int i = 0; i < 3; ++i) text = with(text, "127.0.0.1:720", "127.0.0.1:*\" # ");
  return text;
}

inline features::Transaction make_transaction(const features::Schema& schema, int64_t id, int64_t time_s,
                                              int64_t customer, int64_t terminal, double amount) {
  features::Transaction t;
  t.reset(schema);
  EXPECT_TRUE(set_integer(schema, 0, id, t));
  EXPECT_TRUE(set_integer(schema, 1, time_s, t));
  EXPECT_TRUE(set_integer(schema, 2, customer, t));
  EXPECT_TRUE(set_integer(schema, 3, terminal, t));
  EXPECT_TRUE(set_number(schema, 4, amount, t));
  EXPECT_TRUE(finish(schema, t));
  return t;
}

}  // namespace shrike::engine
