#include "engine/config/config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/engine/support.h"

namespace shrike::engine {
namespace {

std::vector<std::string> problems(const std::string& text) {
  auto config = parse_config(text, "test.toml");
  return config ? std::vector<std::string>{} : config.error();
}

// The one problem there is; it begins with file and line.
std::string problem(const std::string& text) {
  const auto all = problems(text);
  EXPECT_EQ(all.size(), 1u);
  if (all.empty()) return "";
  EXPECT_EQ(all[0].rfind("test.toml:", 0), 0u) << all[0];
  return all[0];
}

size_t line_of(const std::string& text, const std::string& what) {
  return static_cast<size_t>(
             std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(text.find(what)), '\n')) +
         1;
}

TEST(Config, TheExamplesAreValid) {
  const ConfigPtr whole = must_parse(example("handbook.toml"));
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->columns.size(), 36u);
  EXPECT_EQ(whole->training.family, "ensemble");
  ASSERT_TRUE(must_parse(example("handbook-15.toml")));
  ASSERT_TRUE(must_parse(example("elec.toml")));
  const ConfigPtr handbook = must_parse(handbook_15());
  ASSERT_TRUE(handbook);
  EXPECT_EQ(handbook->columns.size(), 15u);
  ASSERT_TRUE(must_parse(example("quickstart.toml")));
  ASSERT_TRUE(must_parse(example("sparkov.toml")));
  const ConfigPtr shop = must_parse(example("ecommerce.toml"));
  ASSERT_TRUE(shop);
  EXPECT_EQ(shop->kpis.size(), 3u);
  EXPECT_EQ(shop->retraining.kpi_window_us, 7 * features::kDayUs);
  const ConfigPtr clicks = must_parse(example("clicks.toml"));
  ASSERT_TRUE(clicks);
  EXPECT_EQ(clicks->schema().label, "clicked_by_bot");
}

// Durations that the file gives are read, and those that it leaves out are what config.h says.
TEST(Config, AKeyThatIsLeftOutHasTheDefaultOfItsTable) {
  const ConfigPtr config = must_parse(R"(
[schema]
id = "id"
[[schema.fields]]
name = "id"
type = "integer"
[[schema.fields]]
name = "time"
type = "time"
[entities.customer]
fields = ["id"]
[[features]]
name = "is_night"
aggregate = "is_night"
[drift]
window = "2d"
)");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->schema().label, "is_fraud");
  EXPECT_EQ(config->schema().entities[0].entities_max, 10'000'000u);
  EXPECT_EQ(config->training.maturity_us, 7 * features::kDayUs);
  EXPECT_EQ(config->training.mode, TrainingMode::kBackground);
  EXPECT_EQ(config->drift.reference_us, 7 * features::kDayUs);
  EXPECT_EQ(config->drift.window_us, 2 * features::kDayUs);
  EXPECT_EQ(config->quality.reference_us, 7 * features::kDayUs);
  EXPECT_EQ(config->quality.silence_us, features::kHourUs);
  EXPECT_EQ(config->deadline.default_us, 100'000);
  EXPECT_EQ(config->storage.cache_bytes, 64u << 20);
  EXPECT_EQ(config->limits.lateness_us, features::kHourUs);
  EXPECT_EQ(config->limits.ahead_us, 300'000'000);
  EXPECT_EQ(config->limits.orphan_keep_us, features::kDayUs);
}

TEST(Config, AnUnknownKeyNamesLineAndNearestKey) {
  const std::string text = with(handbook_15(), "maturity = \"7d\"", "maturty = \"7d\"");
  const std::string found = problem(text);
  EXPECT_NE(found.find(":" + std::to_string(line_of(text, "maturty")) + ": training.maturty"),
            std::string::npos)
      << found;
  EXPECT_NE(found.find("did you mean \"maturity\""), std::string::npos) << found;
}

TEST(Config, AWrongExpressionIsPointedAt) {
  const std::string base = handbook_15();
  const auto feature = [&](const std::string& body) {
    return with(base, "[[features]]", "[[features]]\nname = \"n\"\n" + body + "\n[[features]]");
  };
  const std::string count = "aggregate = \"count\"\nentity = \"customer\"\nwindows = [\"1d\"]\n";
  const std::string text = feature(count + "where = \"amount > 5 and amuont < 3\"");
  EXPECT_EQ(problem(text),
            "test.toml:" + std::to_string(line_of(text, "[[features]]")) +
                ": features: \"n\": where, column 16: \"amuont\" is neither a field nor a feature "
                "declared before; did you mean \"amount\"?\n"
                "    amount > 5 and amuont < 3\n"
                "                   ^~~~~~");
  EXPECT_NE(problem(feature("expression = \"amount +\"")).find("\"n\": expression, column 9: found the end"),
            std::string::npos);
  EXPECT_NE(problem(feature("expression = \"amount\"\naggregate = \"field\"")).find("it stands alone"),
            std::string::npos);
  EXPECT_NE(problem(feature("expression = \"hour(time, 'Europe/Pairs')\""))
                .find("tzdata knows no time zone \"Europe/Pairs\""),
            std::string::npos);
  EXPECT_NE(
      problem(feature("expression = \"hour(time, 'Europe/Paris')\"") + "[time_zones]\nUTC1 = \"3600\"\n")
          .find("\"Europe/Paris\" is not under [time_zones]"),
      std::string::npos);
  EXPECT_NE(problem(base + "[time_zones]\n\"Europe/Paris\" = \"soon\"\n").find("expected an offset from UTC"),
            std::string::npos);
  EXPECT_TRUE(must_parse(feature(count + "where = \"amount > 5 or not amount in [1, 2]\"")));
}

TEST(Config, TimeZonesGoIntoItsTextAsTheyWereWhenItWasLoaded) {
  const std::string base =
      with(handbook_15(), "[[features]]",
           "[[features]]\nname = \"h\"\nexpression = \"hour(time, 'Europe/Paris')\"\n[[features]]");
  const ConfigPtr config = must_parse(base);
  ASSERT_TRUE(config);
  EXPECT_NE(config->text.find("[time_zones]\n\"Europe/Paris\" = \"3600 "), std::string::npos) << config->text;
  const features::TimeZone& paris = config->plan->program.zones.front();
  // Summer time of 2018: from 25 March to 28 October, 01:00 UTC.
  const auto offset = [&](int64_t t_s) { return paris.offsets[features::offset_at(paris, t_s, 0)].seconds; };
  EXPECT_EQ(offset(1521939599), 3600);
  EXPECT_EQ(offset(1521939600), 7200);
  EXPECT_EQ(offset(1540688399), 7200);
  EXPECT_EQ(offset(1540688400), 3600);
  // What is written down is what is read again, and depends on no tzdata.
  const ConfigPtr again = must_parse(config->text);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->text, config->text);
  EXPECT_EQ(again->plan->fingerprint, config->plan->fingerprint);
  const ConfigPtr other = must_parse(base + "[time_zones]\n\"Europe/Paris\" = \"3600\"\n");
  ASSERT_TRUE(other);
  EXPECT_NE(other->plan->fingerprint, config->plan->fingerprint) << "other hours, other scores";
}

TEST(Config, AValueOutOfRangeSaysWhatIsAllowed) {
  const std::string text = with(handbook_15(), "prior = 0.01", "prior = 1.5");
  const std::string found = problem(text);
  EXPECT_NE(found.find("training.prior: found 1.5, allowed are 1e-06 to 0.999999"), std::string::npos)
      << found;
}

TEST(Config, AWrongTypeSaysWhatIsExpected) {
  EXPECT_NE(problem(with(handbook_15(), "every = 1000", "every = \"often\"")).find("expected an integer"),
            std::string::npos);
  EXPECT_NE(problem(with(handbook_15(), "windows = [\"1d\", \"7d\", \"30d\"]", "windows = \"7d\""))
                .find("a list of texts"),
            std::string::npos);
}

TEST(Config, EveryProblemIsListedInOneRun) {
  std::string text = with(handbook_15(), "prior = 0.01", "prior = 7");
  text = with(text, "fpr = 0.02", "fpr = 9");
  text = with(text, "durability = \"sync\"", "durability = \"snyc\"");
  const auto all = problems(text);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_NE(all[2].find("did you mean \"sync\""), std::string::npos) << all[2];
}

TEST(Config, SyntaxErrorsHaveALine) { EXPECT_EQ(problem("[schema\nid = 1").rfind("test.toml:1:", 0), 0u); }

TEST(Config, FeaturesAreChecked) {
  const std::string base = handbook_15();
  const auto feature = [&](const std::string& body) {
    return problem(
        with(base, "[[features]]\nname = \"customer_count\"",
             "[[features]]\nname = \"x\"\n" + body + "\n\n[[features]]\nname = \"customer_count\""));
  };
  EXPECT_NE(feature("aggregate = \"meen\"\ninput = \"amount\"").find("did you mean \"mean\""),
            std::string::npos);
  EXPECT_NE(feature("aggregate = \"mean\"\nentity = \"customer\"\nwindow = \"1d\"").find("needs an input"),
            std::string::npos);
  EXPECT_NE(feature("aggregate = \"count\"\nentity = \"customer\"").find("needs a window"),
            std::string::npos);
  EXPECT_NE(feature("aggregate = \"count\"\nentity = \"merchant\"\nwindow = \"1d\"")
                .find("\"merchant\" is not declared"),
            std::string::npos);
  EXPECT_NE(feature("aggregate = \"count\"\nentity = \"customer\"\nwindow = \"1 week\"")
                .find("expected a duration"),
            std::string::npos);
  EXPECT_NE(feature("aggregate = \"count\"\nentity = \"customer\"\nwindow = \"1d\"\nwhere = \"amount ~ 3\"")
                .find("where, column 8: found \"~\", expected an operator or the end"),
            std::string::npos);
  EXPECT_NE(feature("aggregate = \"max\"\ninput = \"amont\"\nentity = \"customer\"\nwindow = \"1d\"")
                .find("neither a field nor a feature"),
            std::string::npos);
  EXPECT_NE(feature("aggregate = \"count\"\nentity = \"customer\"\nwindow = \"1d\"\ndelay = "
                    "\"1d\"\ninclude_current = true")
                .find("include_current"),
            std::string::npos);
}

TEST(Config, TheSchemaIsChecked) {
  const std::string base = handbook_15();
  EXPECT_NE(problem(with(base, "id = \"transaction_id\"", "id = \"transaction\""))
                .find("did you mean \"transaction_id\""),
            std::string::npos);
  EXPECT_NE(
      problem(with(base, "label = \"is_fraud\"", "label = \"amount\"")).find("the label cannot be a field"),
      std::string::npos);
  EXPECT_FALSE(problems(with(base, "type = \"time\"", "type = \"integer\"")).empty());
}

TEST(Config, AnOriginIsReadAsPeopleWriteIt) {
  const auto origin = [](const std::string& value) {
    const ConfigPtr config = must_parse(with(handbook_15(), "origin = 2018-04-01", "origin = " + value));
    return config ? config->schema().time_origin_us : -1;
  };
  constexpr int64_t kDay = 1'522'540'800'000'000;  // date -u -d 2018-04-01 +%s
  constexpr int64_t kHour = 3'600'000'000;
  for (const char* value :
       {"2018-04-01", "2018-04-01T00:00:00Z", "2018-04-01T00:00:00", "2018-04-01T02:00:00+02:00",
        "\"2018-04-01\"", "\"2018-4-1\"", "\"2018-04-01T00:00:00Z\"", "\"2018-04-01t00:00:00z\"",
        "\"2018-04-01 00:00\"", "\"2018-04-01T00:00Z\"", "\"2018-04-01 02:00+02:00\"",
        "\"2018-04-01 02:00:00 +0200\"", "\"2018-03-31T18:30:00-05:30\""})
    EXPECT_EQ(origin(value), kDay) << value;
  EXPECT_EQ(origin("2018-04-01T06:00:00.25Z"), kDay + 6 * kHour + 250'000);
  EXPECT_EQ(origin("\"2018-04-01 06:00:00.25\""), kDay + 6 * kHour + 250'000);
  EXPECT_EQ(origin("1970-01-01"), 0);
  EXPECT_EQ(origin("2000-02-29"), 951'782'400'000'000);
  EXPECT_EQ(origin("1969-12-31T23:00:00Z"), -kHour);
  for (const char* value : {"\"1 April 2018\"", "\"2018-02-30\"", "\"2018-04-01T00:00:00Zulu\"", "\"\"",
                            "\"2018-04-01T25:00:00Z\"", "1522540800", "06:30:00"}) {
    const std::string found =
        problem(with(handbook_15(), "origin = 2018-04-01", std::string("origin = ") + value));
    EXPECT_NE(found.find("origin: "), std::string::npos) << value << ": " << found;
    EXPECT_NE(found.find("expected a date such as 2018-04-01, or one with a time of day"), std::string::npos)
        << value << ": " << found;
  }
}

TEST(Config, LearnerOptionsAreChecked) {
  const std::string found =
      problem(with(handbook_15(), "family = \"linear\"", "family = \"linear\"\nalpha = -1.0"));
  EXPECT_NE(found.find("learner.alpha: found -1"), std::string::npos) << found;
  EXPECT_NE(
      problem(with(handbook_15(), "family = \"linear\"", "family = \"liner\"")).find("allowed are linear"),
      std::string::npos);
}

TEST(Config, AlertsAreChecked) {
  const auto with_alerts = [](const std::string& lines) {
    return "[alerts]\n" + lines + "\n" + handbook_15();
  };
  const ConfigPtr plain = must_parse(handbook_15());
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->alerts.severity, AlertConfig::Least::kWarning);
  EXPECT_EQ(plain->alerts.repeat_us, features::kDayUs);
  const ConfigPtr all = must_parse(
      with_alerts("severity = \"critical\"\nrepeat = \"1h\"\nwebhook = \"https://[::1]:8443/a?b=c\"\n"
                  "webhook_secret_file = \"s\"\nfile = \"f\"\ncommand = [\"c\", \"\"]"));
  ASSERT_TRUE(all);
  EXPECT_EQ(all->alerts.severity, AlertConfig::Least::kCritical);
  EXPECT_EQ(all->alerts.repeat_us, features::kDayUs / 24);
  EXPECT_EQ(all->alerts.command, (std::vector<std::string>{"c", ""}));
  for (const char* url :
       {"ftp://a/b", "http:///b", "http://", "http://user@a/", "http://a:/", "http://a:65536/", "http://a:b/",
        "http://:80/", "http://a/\\n", "http://a b/", "http://a?b", "alerts.example"}) {
    EXPECT_NE(problem(with_alerts(fmt::format("webhook = \"{}\"", url))).find("alerts.webhook: "),
              std::string::npos)
        << url;
  }
  for (const char* url : {"http://a", "http://127.0.0.1:80/x/y?z=1", "https://alerts.example"})
    EXPECT_TRUE(must_parse(with_alerts(fmt::format("webhook = \"{}\"", url)))) << url;
  EXPECT_NE(problem(with_alerts("webhook_secret_file = \"s\"")).find("which is absent"), std::string::npos);
  EXPECT_NE(problem(with_alerts("command = []")).find("alerts.command: expected a list"), std::string::npos);
  EXPECT_NE(problem(with_alerts("severity = \"warn\"")).find("allowed are info, warning, critical"),
            std::string::npos);
}

TEST(Config, KpisAndTestsAreChecked) {
  const std::string base = handbook_15();
  const auto says = [&](const std::string& settings, const std::string& what) {
    const auto config = parse_config(base + settings, "test.toml");
    ASSERT_FALSE(config) << settings;
    EXPECT_NE(config.error()[0].find(what), std::string::npos) << config.error()[0];
  };
  says("[kpi.recall]\n", "kpi.recall: this is a metric of its own");
  says("[kpi.\"a/b\"]\n", "letters, digits and underscores");
  says("[kpi.ctr]\nfrom = \"label\"\nwithin = \"1h\"\n", "kpi.ctr.within");
  says("[kpi.ctr]\nfrom = \"label\"\nkind = \"value\"\n", "kpi.ctr.kind");
  says("[kpi.ctr]\ndrop = 1.5\n", "kpi.ctr.drop");
  says("[kpi.ctr]\ndorp = 0.1\n", "kpi.ctr.dorp");
  says("[ab_test]\nshare = 0.9\n", "ab_test.share");
  // Two names that the log could not tell from each other.
  std::string first = "k0", second;
  for (int i = 1; second.empty(); ++i) {
    const std::string name = "k" + std::to_string(i);
    if (kpi_bit(name) == kpi_bit(first)) second = name;
  }
  says("[kpi." + first + "]\n[kpi." + second + "]\n", "the log cannot tell it from");
  const ConfigPtr config =
      must_parse(base + "[kpi.ctr]\nfrom = \"label\"\n[kpi.returns]\nkind = \"value\"\nbetter = \"less\"\n");
  ASSERT_TRUE(config);
  ASSERT_EQ(config->kpis.size(), 2u);
  EXPECT_EQ(config->kpis[0].within_us, config->training.maturity_us);
  EXPECT_FALSE(find_kpi(*config, "returns")->more_is_better);
  EXPECT_EQ(find_kpi(*config, "other"), nullptr);
}

TEST(Config, AMissingFileIsSaid) {
  const auto config = load_config("/nowhere/shrike.toml");
  ASSERT_FALSE(config);
  EXPECT_NE(config.error()[0].find("/nowhere/shrike.toml"), std::string::npos);
}

}  // namespace
}  // namespace shrike::engine
