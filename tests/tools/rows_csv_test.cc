// Rows of features as users bring them: what is missing, what is no number, what a float does not hold.
#include "tools/rows_csv.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace shrike::tools {
namespace {

tl::expected<Rows, std::string> read(const std::string& text) {
  const TempDir folder;
  const std::string path = folder / "rows.csv";
  std::ofstream(path, std::ios::binary) << text;
  return read_rows(path);
}

std::string error(const std::string& text) {
  const auto rows = read(text);
  return rows ? "read" : rows.error();
}

TEST(RowsCsv, APartHasTheColumnsAskedForInTheirOrder) {
  const auto rows = read("a,b,c\n1,2,3\n4,5,6\n7,8,9\n");
  ASSERT_TRUE(rows) << rows.error();
  EXPECT_EQ(rows->count(), 3u);
  EXPECT_EQ(rows->part(1, 2, {2, 0}), (std::vector<float>{6, 4, 9, 7}));
  EXPECT_EQ(rows->part(0, 1, {0, 1, 2}), (std::vector<float>{1, 2, 3}));
}

TEST(RowsCsv, MissingValuesAreReadAndOthersNamed) {
  const auto rows = read("a,b\n,1\nNA,nan\nNaN,-nan\n");
  ASSERT_TRUE(rows) << rows.error();
  ASSERT_EQ(rows->values.size(), 6u);
  for (const size_t i : {0, 2, 3, 4, 5}) EXPECT_TRUE(std::isnan(rows->values[i])) << i;
  EXPECT_EQ(rows->note, "");
  for (const char* cell : {"None", "null", " NaN", "?", "N/A"})
    EXPECT_NE(error(std::string("a,b\n1,") + cell + "\n")
                  .find(std::string("line 2: \"b\": \"") + cell +
                        "\" is not a number; a missing value is an empty cell, NA or nan"),
              std::string::npos)
        << error(std::string("a,b\n1,") + cell + "\n");
  EXPECT_NE(error("a\n1e39\n").find("\"1e39\" is beyond what a float32 holds"), std::string::npos);
  EXPECT_NE(error("a\n1,2\n").find("found 2 columns"), std::string::npos);
  EXPECT_NE(error("1 |f a:1 b:NaN\n").find("Vowpal Wabbit"), std::string::npos);
}

TEST(RowsCsv, ColumnsOfMoreDigitsThanAFloatKeepsAreNamedOnce) {
  const auto note = [](const std::string& text) { return read(text).value().note; };
  EXPECT_EQ(note("a,b,c\n0.1,16777216,1e30\n123456.7,0.3333333,-0\n"), "") << "floats give them back";
  EXPECT_EQ(note("a\n0.345584184\n0.34558418393135071\n-0.1000000000\n"), "") << "longer texts of floats";
  EXPECT_NE(note("a\n0.34558418123\n"), "");
  const std::string said = note("a,b,c\n0.1,1,16777217\n0.1,123456789.12,16777219\n");
  EXPECT_NE(said.find("values of \"b\", \"c\" have more digits"), std::string::npos) << said;
  EXPECT_NE(said.find("line 2: 16777217 is read as 16777216"), std::string::npos) << said;
  EXPECT_EQ(said.find("line 3"), std::string::npos) << said;
}

}  // namespace
}  // namespace shrike::tools
