// CSV files as they come: records, what a column is, and files that are none.
#include "engine/replay/csv.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

constexpr const char* kConfig = R"(
[schema]
id = "id"
label = "fraud"
[[schema.fields]]
name = "id"
type = "integer"
[[schema.fields]]
name = "time"
type = "time"
[[schema.fields]]
name = "amount"
type = "number"
[[schema.fields]]
name = "merchant"
type = "text"
optional = true
[[features]]
name = "amount"
[learner]
family = "linear"
)";

class CsvFile : public ::testing::Test {
 protected:
  std::string file(std::string_view text, const std::string& name = "in.csv") {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  // Every record's cells, those refused as their error without the path.
  std::vector<std::vector<std::string>> records(const std::string& path) {
    std::vector<std::vector<std::string>> all;
    auto opened = CsvRecords::open(path);
    EXPECT_TRUE(opened) << opened.error();
    if (!opened) return all;
    CsvRecords& in = **opened;
    all.push_back(in.header());
    for (CsvRecords::Read read; (read = in.next()) != CsvRecords::Read::kEnd;) {
      if (read == CsvRecords::Read::kRecord) {
        all.emplace_back(in.cells().begin(), in.cells().end());
      } else {
        all.push_back({in.error().substr(path.size())});
      }
      if (read == CsvRecords::Read::kBroken) break;
    }
    return all;
  }
  std::string refusal(const std::string& path) {
    const auto opened = CsvReader::open(path, schema(), false);
    EXPECT_FALSE(opened);
    return opened ? "" : opened.error();
  }
  const features::Schema& schema() {
    if (!config_) config_ = must_parse(kConfig);
    return config_->schema();
  }

  TempDir folder_;
  ConfigPtr config_;
};

using Records = std::vector<std::vector<std::string>>;

TEST_F(CsvFile, QuotedLineBreaksAndSeparatorsArePartOfTheValue) {
  EXPECT_EQ(records(file("a,b\r\n1,\"x\r\ny, \"\"z\"\"\n\nw\"\r\n2,v\r\n")),
            (Records{{"a", "b"}, {"1", "x\r\ny, \"z\"\n\nw"}, {"2", "v"}}));
  EXPECT_EQ(records(file("\"a\nb\",c\n1,2")), (Records{{"a\nb", "c"}, {"1", "2"}}));
}

TEST_F(CsvFile, AStrayQuoteTakesItsOwnLineAlone) {
  std::string text = "a,b\n1,x\n2,\"y\n";
  for (int i = 3; i < 40'000; ++i) text += std::to_string(i) + ",z\n";
  const Records all = records(file(text));
  ASSERT_EQ(all.size(), 40'000u);
  EXPECT_EQ(all[2],
            (std::vector<std::string>{":3: the quote that opens here is not closed within 65536 bytes"}));
  EXPECT_EQ(all[3], (std::vector<std::string>{"3", "z"}));
  EXPECT_EQ(records(file("a,b\n1,\"x\n2,y\n")),
            (Records{{"a", "b"}, {":2: the quote that opens here is never closed"}, {"2", "y"}}));
  // One that a later line's quote closes is found by what follows.
  const Records closed = records(file("a,b\n1,\"x\n2,\"y\"\n3,z\n"));
  ASSERT_EQ(closed.size(), 4u);
  EXPECT_EQ(closed[1][0].find(":2: text follows the closing quote"), 0u) << closed[1][0];
  EXPECT_EQ(closed[2], (std::vector<std::string>{"2", "y"}));
}

TEST_F(CsvFile, TheHeaderShowsTheSeparator) {
  for (const char* separator : {",", ";", "\t", "|"}) {
    const std::string s = separator;
    EXPECT_EQ(records(file("a" + s + "\"b" + s + ",;\"" + s + "c\n1" + s + "\"2" + s + "\"" + s + "3\n")),
              (Records{{"a", "b" + s + ",;", "c"}, {"1", "2" + s, "3"}}));
  }
  EXPECT_EQ(records(file("sep=;\na;b,c,d\n1;2\n")), (Records{{"a", "b,c,d"}, {"1", "2"}}));
  EXPECT_EQ(records(file("a;b\n1;2;3\n"))[1][0],
            ":2: found 3 columns, the header has 2 (separated by semicolons)");
  EXPECT_NE(refusal(file("id;time\n")).find("found, separated by semicolons: id, time"), std::string::npos);
}

TEST_F(CsvFile, GzIsKnownByItsBytes) {
  const std::string path = folder_ / "named.csv";
  for (int member = 0; member < 2; ++member) {
    const gzFile out = gzopen(path.c_str(), member == 0 ? "wb" : "ab");
    gzputs(out, member == 0 ? "a,b\n1,2\n" : "3,4\n");
    gzclose(out);
  }
  EXPECT_EQ(records(path), (Records{{"a", "b"}, {"1", "2"}, {"3", "4"}}));
  const std::string whole = read_file(path);
  const Records cut = records(file(whole.substr(0, whole.size() - 6)));
  EXPECT_NE(cut.back()[0].find("the gz file is truncated"), std::string::npos);
}

TEST_F(CsvFile, WhatIsNoTextIsNamedWithTheRemedy) {
  const auto of = [&](std::string_view bytes) { return refusal(file(bytes)); };
  using namespace std::string_view_literals;
  const std::pair<std::string_view, const char*> kinds[] = {
      {"\xff\xfei\0d\0,\0"sv, "iconv -f UTF-16 -t UTF-8 <"},
      {"\xfe\xff\0i\0d"sv, "iconv -f UTF-16 -t UTF-8 <"},
      {"i\0d\0,\0"sv, "iconv -f UTF-16LE"},
      {"PK\x03\x04 plain"sv, "unzip -p"},
      {"PK\x03\x04 [Content_Types].xml"sv, "libreoffice"},
      {"\xfd\x37zXZ\0rest"sv, "xz -dc"},
      {"\x28\xb5\x2f\xfd rest"sv, "zstd -dc"},
      {"PAR1 rest"sv, "duckdb"},
      {"id,time\0"sv, "is no text"},
      {"id,time\r1,2\r"sv, "tr '\\r' '\\n'"},
      {""sv, "the file is empty"}};
  for (const auto& [bytes, remedy] : kinds) EXPECT_NE(of(bytes).find(remedy), std::string::npos) << of(bytes);
  EXPECT_NE(refusal(folder_ / "none.csv").find("give a CSV file"), std::string::npos);
}

TEST_F(CsvFile, TwoColumnsForOneFieldAreRefusedByName) {
  const std::string labels = refusal(file("id,time,amount,fraud,fraud\n"));
  EXPECT_NE(labels.find("column 4 \"fraud\" and column 5 \"fraud\" are both the label"), std::string::npos)
      << labels;
  const std::string amounts = refusal(file("id,time,Amount,AMOUNT\n"));
  EXPECT_NE(amounts.find("column 3 \"Amount\" and column 4 \"AMOUNT\" are both \"amount\""),
            std::string::npos)
      << amounts;
}

TEST_F(CsvFile, NamesInAnotherCaseAreTakenAndNearOnesSuggested) {
  const auto reader = CsvReader::open(file("ID,Time,AMOUNT,Fraud\n7,100,2.5,1\n"), schema(), true);
  ASSERT_TRUE(reader) << reader.error();
  EXPECT_EQ((*reader)->notes().size(), 4u);
  features::Transaction transaction;
  int label = -1;
  ASSERT_EQ((*reader)->next(transaction, label), CsvReader::Line::kRow) << (*reader)->error();
  EXPECT_EQ(features::text(schema(), transaction, schema().id), "7");
  EXPECT_EQ(label, 1);
  // The exact name comes first; another case of it is another column.
  EXPECT_TRUE(CsvReader::open(file("id,time,amount,AMOUNT\n"), schema(), false));
  const std::string missing = refusal(file("id,time,Amuont\n"));
  EXPECT_NE(missing.find("lacks the column amount (is it \"Amuont\"?)"), std::string::npos) << missing;
  EXPECT_NE(missing.find("optional = true"), std::string::npos) << missing;
}

TEST_F(CsvFile, LabelsAreReadAsDataFramesWriteThem) {
  const auto reader = CsvReader::open(
      file("id,time,amount,fraud\n1,1,1,1.0\n2,1,1,True\n3,1,1,0.0\n4,1,1,FALSE\n5,1,1,\n6,1,1,2\n"),
      schema(), true);
  ASSERT_TRUE(reader);
  features::Transaction transaction;
  int label = -1;
  for (const int expected : {1, 1, 0, 0, -1}) {
    ASSERT_EQ((*reader)->next(transaction, label), CsvReader::Line::kRow);
    EXPECT_EQ(label, expected);
  }
  EXPECT_EQ((*reader)->next(transaction, label), CsvReader::Line::kBad);
}

TEST_F(CsvFile, WhatHasNoIdAndNoTimeIsReadByTheNumberOfItsRecords) {
  const auto config = parse_config(R"(
[schema]
id = "row_number"
label = "fraud"
[[schema.fields]]
name = "row_number"
type = "time"
[[schema.fields]]
name = "amount"
type = "number"
[[features]]
name = "amount"
[learner]
family = "linear"
)",
                                   "");
  ASSERT_TRUE(config) << config.error()[0];
  const auto opened = CsvReader::open(file("amount,fraud\n5,Y\n6,no\n"), (*config)->schema(), true);
  ASSERT_TRUE(opened) << opened.error();
  features::Transaction transaction;
  int label = 0;
  for (const int row : {1, 2}) {
    ASSERT_EQ((*opened)->next(transaction, label), CsvReader::Line::kRow) << (*opened)->error();
    EXPECT_EQ(transaction.time_us, row * 1'000'000);
    EXPECT_EQ(label, row == 1 ? 1 : 0);
  }
  // A column of that name is what it says.
  const auto named =
      CsvReader::open(file("row_number,amount\n70,1\n", "named.csv"), (*config)->schema(), false);
  ASSERT_TRUE(named) << named.error();
  ASSERT_EQ((*named)->next(transaction, label), CsvReader::Line::kRow);
  EXPECT_EQ(transaction.time_us, 70'000'000);
}

TEST_F(CsvFile, TimesMayBeDates) {
  const auto opened =
      CsvReader::open(file("id,time,amount\n1,2024-03-01 06:30,1\n2,soon,1\n"), schema(), false);
  ASSERT_TRUE(opened) << opened.error();
  features::Transaction transaction;
  int label = 0;
  ASSERT_EQ((*opened)->next(transaction, label), CsvReader::Line::kRow) << (*opened)->error();
  EXPECT_EQ(transaction.time_us, 1'709'274'600'000'000);
  EXPECT_EQ((*opened)->next(transaction, label), CsvReader::Line::kBad);
  EXPECT_NE((*opened)->error().find("time: found \"soon\", expected a number, or a date"), std::string::npos)
      << (*opened)->error();
}

TEST_F(CsvFile, MessagesNameTheRemedy) {
  const auto error = [&](const std::string& text) {
    const auto reader = CsvReader::open(file(text), schema(), false);
    features::Transaction transaction;
    int label = -1;
    if (!reader || (*reader)->next(transaction, label) != CsvReader::Line::kBad) return std::string();
    return (*reader)->error();
  };
  EXPECT_NE(error("id,time,amount\n18446744073709551615,1,1\n").find("declare the field as text"),
            std::string::npos);
  EXPECT_NE(error("id,time,amount\n28446744073709551615,1,1\n").find("declare the field as text"),
            std::string::npos);
  EXPECT_NE(error("id,time,amount\n1,1,\n").find("optional = true"), std::string::npos);
  EXPECT_EQ(error("id,time,amount\n,1,1\n").find("optional = true"), std::string::npos);
  EXPECT_NE(error("id;time;amount\n1;1;2,50\n").find("decimals with a point"), std::string::npos);
}

}  // namespace
}  // namespace shrike::engine
