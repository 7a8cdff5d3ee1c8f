#include "tools/row_writer.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <bit>
#include <cmath>
#include <cstdlib>

#include "engine/replay/replay.h"
#include "tests/support/temp_dir.h"
#include "tools/simulator.h"

namespace shrike::tools {
namespace {

std::string read_all(const std::string& path) {
  const gzFile file = gzopen(path.c_str(), "rb");  // reads plain text too
  std::string text(1 << 16, 0), all;
  for (int n; (n = gzread(file, text.data(), 1 << 16)) > 0;) all.append(text, 0, static_cast<size_t>(n));
  gzclose(file);
  return all;
}

TEST(RowWriter, GivesTheSameFloatsBack) {
  const TempDir folder;
  SimulationOptions simulation;
  simulation.days = 3;
  simulation.customers = 100;
  simulation.terminals = 200;
  const std::string stream = folder / "stream.csv";
  ASSERT_TRUE(write_csv(stream, simulation, nullptr));
  const auto config = engine::load_config(std::string(SHRIKE_SOURCE_DIR) + "/examples/handbook.toml");
  ASSERT_TRUE(config);
  for (const char* name : {"rows.csv", "rows.csv.gz"}) {
    const std::string path = folder / name;
    auto writer = RowWriter::open(path, *config);
    ASSERT_TRUE(writer);
    std::vector<float> written;
    std::vector<int> labels;
    engine::CsvReplayOptions options;
    options.label_delay_us = 86'400'000'000;
    options.on_row = [&](const features::Transaction& transaction, std::span<const float> row, int label) {
      (*writer)->add(transaction, row, label);
      written.insert(written.end(), row.begin(), row.end());
      labels.push_back(label);
    };
    ASSERT_TRUE(engine::replay_csv(*config, stream, options, {}));
    ASSERT_TRUE((*writer)->close());
    const std::string text = read_all(path);
    EXPECT_EQ(text.substr(0, 33), "transaction_id,time,label,amount,");
    const char* at = text.c_str() + text.find('\n') + 1;
    size_t n = 0;
    for (size_t row = 0; row < labels.size(); ++row) {
      char* end = nullptr;
      ASSERT_EQ(std::strtoll(at, &end, 10), static_cast<long long>(row));
      ASSERT_LT(std::strtoll(end + 1, &end, 10), 3 * 86'400);
      ASSERT_EQ(std::strtoll(end + 1, &end, 10), labels[row]);
      for (size_t c = 0; c < (*config)->columns.size(); ++c, ++n) {
        ASSERT_EQ(*end, ',');
        const char* cell = end + 1;
        if (*cell == ',' || *cell == '\n') {
          ASSERT_TRUE(std::isnan(written[n]));
          end = const_cast<char*>(cell);
        } else {
          ASSERT_EQ(std::bit_cast<uint32_t>(std::strtof(cell, &end)), std::bit_cast<uint32_t>(written[n]));
        }
      }
      ASSERT_EQ(*end, '\n');
      at = end + 1;
    }
    EXPECT_EQ(*at, '\0');
    EXPECT_EQ(n, written.size());
    EXPECT_GT(labels.size(), 300u);
  }
}

TEST(RowWriter, SaysWhereItCannotWrite) {
  const auto config = engine::load_config(std::string(SHRIKE_SOURCE_DIR) + "/examples/handbook-15.toml");
  const auto writer = RowWriter::open("/nowhere/rows.csv", *config);
  ASSERT_FALSE(writer);
  EXPECT_NE(writer.error().find("/nowhere/rows.csv"), std::string::npos);
}

}  // namespace
}  // namespace shrike::tools
