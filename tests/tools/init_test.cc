// `init`: drafts from small files of each kind load, run, and say what they are not sure of.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "tests/tools/support.h"
#include "tools/init/command.h"

namespace shrike::tools {
namespace {

class Init : public CommandTest {
 protected:
  std::string draft_path() const { return folder_ / "draft.toml"; }
  int init(const std::string& text, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {"init", file("rows.csv", text), "--out", draft_path(), "--force"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(add_init, arguments);
  }
  std::string draft() const {
    std::stringstream text;
    text << std::ifstream(draft_path()).rdbuf();
    return text.str();
  }
  bool drafted(const std::string& text) const { return draft().find(text) != std::string::npos; }
  bool said(const std::string& text) const { return out.find(text) != std::string::npos; }
};

// 300 rows of `cells(i)`, each tenth with the first of two label words.
template <typename Cells>
std::string rows(const std::string& header, const char* yes, const char* no, Cells cells) {
  std::string text = header + "\n";
  for (int i = 0; i < 300; ++i) text += cells(i) + "," + (i % 10 == 0 ? yes : no) + "\n";
  return text;
}

std::string number(int i) { return std::to_string(i); }

TEST_F(Init, DraftsFieldsAndWindowsOfAStreamWithTimeAndRunsThem) {
  ASSERT_EQ(init(stream(3000, 600), {"--evaluate"}), 0) << err;
  EXPECT_TRUE(drafted("id = \"id\""));
  EXPECT_TRUE(drafted("amount = \"amount\""));
  EXPECT_TRUE(drafted("expression = \"hour(time)\""));
  EXPECT_TRUE(said("time      \"time\", 20.8 days"));
  EXPECT_TRUE(said("ensemble")) << out;
  EXPECT_TRUE(said("taken as known at once"));
}

TEST_F(Init, AFileWithoutTimeAndIdIsReadByTheRowsNumber) {
  const std::string text = rows("colour;size,fraud", "Y", "N", [](int i) {
    return std::string(i % 3 == 0 ? "red" : "blue") + ";" + number(i % 40);
  });
  // Semicolons between all cells.
  std::string semicolons = text;
  std::replace(semicolons.begin(), semicolons.end(), ',', ';');
  ASSERT_EQ(init(semicolons, {"--evaluate"}), 0) << err;
  EXPECT_TRUE(drafted("id = \"row_number\""));
  EXPECT_TRUE(said("time: no column is one"));
  EXPECT_TRUE(said("id: no column names each row"));
  EXPECT_TRUE(said("30 frauds, 10.000 %"));
}

TEST_F(Init, DatesAreTimesAndCoordinatesMakeDistances) {
  const std::string text =
      rows("when,card_number,lat,long,shop_lat,shop_long,born,is_fraud", "1.0", "0.0", [](int i) {
        const std::string day = number(i / 24 + 10), hour = number(i % 24 / 10) + number(i % 24 % 10);
        return "2024-03-" + day + " " + hour + ":30:00,4" + number(i % 30) + ",48." + number(i) + ",2." +
               number(i) + ",47." + number(i) + ",3." + number(i) + ",19" + number(50 + i % 40) + "-01-02";
      });
  ASSERT_EQ(init(text, {"--evaluate"}), 0) << err;
  EXPECT_TRUE(said("time      \"when\""));
  EXPECT_TRUE(drafted("distance_km(lat, long, shop_lat, shop_long)"));
  EXPECT_TRUE(drafted("card_number_moved_km"));
  EXPECT_TRUE(drafted("date(born)"));
}

TEST_F(Init, WhatAnEntityAlwaysHasIsNotNewToIt) {
  const std::string text = rows("time,card_number,city,kind,is_fraud", "1", "0", [](int i) {
    return number(1'700'000'000 + i * 900) + ",c" + number(i % 25) + ",town" + number(i % 5) + ",k" +
           number(i * i % 7);
  });
  ASSERT_EQ(init(text), 0) << err;
  EXPECT_TRUE(drafted("card_number_new_kind"));
  EXPECT_FALSE(drafted("card_number_new_city"));
}

TEST_F(Init, WhatHardlyRepeatsIsNoEntityAndANumberIsNoId) {
  const std::string text = rows("step,amount,nameOrig,isFraud", "1", "0",
                                [](int i) { return number(i / 5) + "," + number(i) + ".5,C" + number(i); });
  ASSERT_EQ(init(text), 0) << err;
  EXPECT_TRUE(drafted("unit = \"h\""));
  EXPECT_TRUE(drafted("id = \"row_number\""));
  EXPECT_TRUE(said("\"nameOrig\" hardly repeats"));
  EXPECT_TRUE(said("counts 0 to 59 from an unknown moment"));
}

TEST_F(Init, OddNamesStandInBackticksAndWordsForMissingAreTold) {
  const std::string text = rows("odd name,not,fraud", "yes", "no", [](int i) {
    return number(i * 7 % 50) + "," + (i % 9 == 0 ? std::string("NA") : number(i));
  });
  ASSERT_EQ(init(text, {"--evaluate"}), 0) << err;
  EXPECT_TRUE(drafted("input = \"`odd name`\""));
  EXPECT_TRUE(said("\"not\": numbers, but 34 cells are words such as NA"));
}

TEST_F(Init, EntitiesOfNamesThatAreAlikeAreToldApart) {
  const std::string text = rows("id,time,Card no,card_no,amount,fraud", "1", "0", [](int i) {
    return number(i) + "," + number(1'700'000'000 + 600 * i) + ",c" + number(i % 61) + ",d" + number(i % 53) +
           "," + number(i % 50);
  });
  ASSERT_EQ(init(text, {"--evaluate"}), 0) << err << draft();
  EXPECT_TRUE(drafted("[entities.\"card_no\"]") || drafted("[entities.card_no]")) << draft();
  EXPECT_TRUE(drafted("card_no_2")) << draft();
}

TEST_F(Init, SaysWhatAFileLacksAndTheRemedy) {
  EXPECT_EQ(init("a,b\n1,x\n2,y\n3,z\n"), kNotAllWell);
  EXPECT_NE(err.find("name it with --label"), std::string::npos) << err;
  EXPECT_EQ(init("a,verdict\n1,good\n2,bad\n", {"--label", "verdict"}), kNotAllWell);
  EXPECT_NE(err.find("Write the column anew"), std::string::npos) << err;
  EXPECT_EQ(init("a,fraud\n1,0\n2,0\n", {"--label", "fraud"}), kNotAllWell);
  EXPECT_NE(err.find("the same in all rows"), std::string::npos) << err;
  EXPECT_EQ(init("a,fraud\n1,0\n", {"--label", "frud"}), kNotAllWell);
  EXPECT_NE(err.find("no column is called \"frud\""), std::string::npos) << err;
}

TEST_F(Init, GarbageIsRefusedWithThePlace) {
  EXPECT_EQ(init("a,fraud\n"), kBadInput);
  EXPECT_NE(err.find("a header without a row"), std::string::npos) << err;
  EXPECT_EQ(init("a,fraud\n1,0\n1,2,3,4\n"), kBadInput);
  EXPECT_NE(err.find("rows.csv:3"), std::string::npos) << err;
  EXPECT_EQ(init(""), kBadInput);
  EXPECT_NE(err.find("rows.csv"), std::string::npos) << err;
}

}  // namespace
}  // namespace shrike::tools
