// `check-config`: what it says of expressions, and the time zones that it prints.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/tools/support.h"

namespace shrike::tools {
namespace {

const std::string kExpressions = std::string(kSmallConfig) + R"toml(
[[features]]
name = "local"
expression = "hour(time, 'Asia/Tokyo')"
[[features]]
name = "kind"
expression = "lower(card)"
[[features]]
name = "spent"
aggregate = "sum"
entity = "card"
input = "if(amount > 5, amount, 0)"
window = "1h"
where = "kind != 'x' or local < 6"
)toml";

class CheckConfig : public CommandTest {};

TEST_F(CheckConfig, ShowsWhatExpressionsWereUnderstoodAs) {
  const std::string path = file("config.toml", kExpressions);
  ASSERT_EQ(run(add_check_config, {"check-config", path}), 0) << err;
  for (const char* said : {"a number: hour(time, 'Asia/Tokyo')", "a text: lower(card)",
                           "of if(amount > 5, amount, 0)", "where kind != 'x' or local < 6",
                           "expressions: 7 steps over 3 fields; time zones Asia/Tokyo (1 offsets)"})
    EXPECT_NE(out.find(said), std::string::npos) << said << "\n" << out;
  ASSERT_EQ(run(add_check_config, {"check-config", path, "--json"}), 0);
  const auto json = nlohmann::json::parse(out);
  EXPECT_EQ(json["time_zones"]["Asia/Tokyo"], "32400");
  EXPECT_EQ(json["features"][3]["type"], "category");
}

TEST_F(CheckConfig, TimeZonesThatArePutIntoTheConfigurationChangeNothing) {
  const std::string path = file("config.toml", kExpressions);
  ASSERT_EQ(run(add_check_config, {"check-config", path, "--time-zones"}), 0) << err;
  EXPECT_TRUE(out.ends_with("[time_zones]\n\"Asia/Tokyo\" = \"32400\"\n")) << out;
  const std::string pinned = file("pinned.toml", kExpressions + out);
  const auto plan = [&](const std::string& of) {
    EXPECT_EQ(run(add_check_config, {"check-config", of, "--json"}), 0) << err;
    return nlohmann::json::parse(out)["plan"].get<std::string>();
  };
  EXPECT_EQ(plan(pinned), plan(path));
  ASSERT_EQ(run(add_check_config, {"check-config", file("none.toml", kSmallConfig), "--time-zones"}), 0);
  EXPECT_EQ(out, "");
}

TEST_F(CheckConfig, PointsAtTheErrorOfAnExpression) {
  const std::string path =
      file("config.toml",
           std::string(kSmallConfig) + "[[features]]\nname = \"x\"\nexpression = \"amount + crad\"\n");
  EXPECT_EQ(run(add_check_config, {"check-config", path}), kBadInput);
  EXPECT_NE(err.find("features: \"x\": expression, column 10: \"crad\" is neither a field nor a feature "
                     "declared before; did "
                     "you mean \"card\"?\n    amount + crad\n             ^~~~\n"),
            std::string::npos)
      << err;
}

}  // namespace
}  // namespace shrike::tools
