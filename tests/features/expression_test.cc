// Expressions: what they mean, what is refused and where the caret stands, that the compiled form gives the
// bits of the plain meaning, and that features, filters and aggregates use them.
#include "features/expression.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "features/feature_store.h"
#include "features/program.h"
#include "tests/features/tree_walk.h"

namespace shrike::features {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Schema schema() {
  Schema made;
  made.fields = {{"id", FieldType::kInteger, 0, -9.2e18, 9.2e18},
                 {"at", FieldType::kTime},
                 {"card", FieldType::kInteger, 0, -9.2e18, 9.2e18},
                 {"amount", FieldType::kNumber, 2, -1e6, 1e6, true},
                 {"before", FieldType::kNumber, 2, -1e6, 1e6, true},
                 {"lat", FieldType::kNumber, 4, -90, 90, true},
                 {"lon", FieldType::kNumber, 4, -180, 180, true},
                 {"mobile", FieldType::kBoolean, 0, 0, 0, true},
                 {"email", FieldType::kText, 0, 0, 0, true},
                 {"country", FieldType::kText, 0, 0, 0, true},
                 {"born", FieldType::kText, 0, 0, 0, true},
                 {"odd name", FieldType::kNumber, 0, -1e6, 1e6, true}};
  made.time = 1;
  made.label = "fraud";
  made.entities = {{"card", {2}, 1000}};
  return made;
}

// Summer time in 2018, as tzdata has it.
Result<TimeZone> zone(std::string_view name) {
  if (name == "Europe/Paris") return parse_offsets(name, "3600 1521939600:7200 1540688400:3600");
  if (name == "America/St_Johns") return parse_offsets(name, "-12600");
  return tl::make_unexpected(Error{std::string(name), "no such zone"});
}

Names names_of(const Schema& of) {
  return {[&of](std::string_view name) -> std::optional<ValueType> {
            const auto field = of.find(name);
            return field ? std::optional(type_of(of.fields[*field].type)) : std::nullopt;
          },
          [&of] {
            std::vector<std::string> all;
            for (const Field& field : of.fields) all.push_back(field.name);
            return all;
          }};
}

// "amount=5.20 country=FR": what is not said is missing. Spaces of values are written _.
Transaction transaction(const Schema& of, const std::string& values) {
  Transaction made;
  made.reset(of);
  std::istringstream in("id=1 at=1532500245 card=1 " + values);  // 2018-07-25 06:30:45 UTC, a Wednesday
  for (std::string pair; in >> pair;) {
    const size_t equal = pair.find('=');
    std::string value = pair.substr(equal + 1);
    std::replace(value.begin(), value.end(), '_', ' ');
    const auto done = set_from_text(of, *of.find(pair.substr(0, equal)), value, made);
    EXPECT_TRUE(done) << pair;
  }
  EXPECT_TRUE(finish(of, made));
  return made;
}

struct Evaluated {
  double number = kNaN;
  std::string text;
  ValueType type = ValueType::kNothing;
};

Evaluated evaluate(const std::string& text, const Schema& of, const Transaction& t,
                   const ZoneSource& zones = zone) {
  const auto parsed = parse_expression(text, names_of(of));
  if (!parsed) {
    ADD_FAILURE() << text << "\n" << parsed.error().reason;
    return {};
  }
  ProgramBuilder builder(of, zones);
  const auto at =
      builder.add(*parsed, text, [&](std::string_view name) { return builder.field(*of.find(name)); });
  if (!at) {
    ADD_FAILURE() << text << "\n" << at.error().reason;
    return {};
  }
  const uint16_t end = builder.steps();
  const Program program = builder.finish();
  Machine machine(program);
  machine.load(t, of.time, t.time_us);
  machine.run({0, end});
  if (at->is_text()) return {kNaN, std::string(machine.text(at->at)), parsed->type};
  return {machine.number(at->at), "", parsed->type};
}

const std::string kRow =
    "amount=12.50 before=-3 mobile=true email=Jo.Do@GMail.Com country=FR born=1990-07-26 lat=48.8566 "
    "lon=2.3522";

TEST(Expression, HasTheValueThatItsPageSays) {
  struct Case {
    const char* text;
    double value;
  };
  const Schema of = schema();
  const Transaction t = transaction(of, kRow);
  const Case cases[] = {
      {"1 + 2 * 3", 7},
      {"(1 + 2) * 3", 9},
      {"2 - 3 - 4", -5},
      {"8 / 4 / 2", 1},
      {"-amount + 1", -11.5},
      {"--amount", 12.5},
      {"7 % 3", 1},
      {"-7 % 3", 2},
      {"7 % -3", -2},
      {"1 / 0", kNaN},
      {"7 % 0", kNaN},
      {".5e1", 5},
      {"amount - before", 15.5},
      {"amount > 12.5", 0},
      {"amount >= 12.5", 1},
      {"amount != 12.5", 0},
      {"amount == 12.5 and not before > 0", 1},
      {"not amount == 12.5 or before == -3", 1},
      {"1 == 2 or 1 == 1 and 2 == 2", 1},
      {"mobile", 1},
      {"mobile == 1", 1},
      {"mobile + 1", 2},
      {"not mobile", 0},
      {"true and false", 0},
      // What is missing.
      {"`odd name`", kNaN},
      {"`odd name` + 1", kNaN},
      {"`odd name` > 1", kNaN},
      {"`odd name` != 1", kNaN},
      {"not `odd name` > 1", kNaN},
      {"`odd name` > 1 and false", 0},
      {"`odd name` > 1 or true", 1},
      {"`odd name` > 1 and true", kNaN},
      {"is_missing(`odd name`)", 1},
      {"is_missing(amount)", 0},
      {"is_missing(lower(missing))", 1},
      {"coalesce(`odd name`, missing, amount, 1)", 12.5},
      {"min(amount, `odd name`)", kNaN},
      {"if(`odd name` > 1, 1, 2)", kNaN},
      {"if(amount > 1, 1, `odd name`)", 1},
      {"if(amount > 100, 1, missing)", kNaN},
      {"log(0)", kNaN},
      {"sqrt(-1)", kNaN},
      {"exp(1000)", kNaN},
      {"exp(1000) - exp(1000)", kNaN},
      // Functions.
      {"if(amount > 1, 5, 6)", 5},
      {"min(3, 1, 2)", 1},
      {"max(3, 1, amount, 2)", 12.5},
      {"abs(before)", 3},
      {"log(exp(2))", 2},
      {"sqrt(16)", 4},
      {"pow(2, 10)", 1024},
      {"pow(2, -1)", 0.5},
      {"pow(-2, 3)", -8},
      {"pow(4, 0.5)", 2},
      {"pow(-4, 0.5)", kNaN},
      {"pow(0, 0)", 1},
      {"floor(-1.5)", -2},
      {"ceil(-1.5)", -1},
      {"round(2.5)", 3},
      {"round(-2.5)", -2},
      {"amount in [1, 12.5, -3]", 1},
      {"before in [1, 12.5, -3]", 1},
      {"amount not in [1, 2]", 1},
      {"`odd name` in [1]", kNaN},
      // Texts.
      {"country == 'FR'", 1},
      {"country == \"FR\"", 1},
      {"country != 'FR'", 0},
      {"country == 'fr'", 0},
      {"country in ['DE', 'FR']", 1},
      {"country not in ['DE', 'FR']", 0},
      {"lower(country) == 'fr'", 1},
      {"length('\xC3\xA9t\xC3\xA9')", 3},
      {"length(email)", 15},
      {"length('it''s')", 4},
      {"starts_with(email, 'Jo')", 1},
      {"ends_with(email, '.com')", 0},
      {"ends_with(upper(email), '.COM')", 1},
      {"contains(email, '@')", 1},
      {"contains(country, 'FRA')", 0},
      {"email_domain(email) == 'gmail.com'", 1},
      {"is_missing(email_domain(country))", 1},
      {"is_missing(email_domain('@x'))", 1},
      {"coalesce(email_domain(country), 'none') == 'none'", 1},
      {"if(amount > 1, country, email) == 'FR'", 1},
      // Places and times.
      {"distance_km(lat, lon, lat, lon)", 0},
      {"distance_km(0, 0, 91, 0)", kNaN},
      {"hour(at)", 6},
      {"hour(at, 'Europe/Paris')", 8},
      {"hour(at, 'UTC')", 6},
      {"hour(at, 'America/St_Johns')", 3},
      {"weekday(at)", 2},
      {"day_of_month(at)", 25},
      {"month(at)", 7},
      {"hour(date('2018-03-25T00:59:59Z'), 'Europe/Paris')", 1},
      {"hour(date('2018-03-25T01:00:00Z'), 'Europe/Paris')", 3},
      {"hour(date('2018-10-28T00:59:59Z'), 'Europe/Paris')", 2},
      {"hour(date('2018-10-28T01:00:00Z'), 'Europe/Paris')", 2},
      {"hour(date('1950-01-01'), 'Europe/Paris')", 1},
      {"weekday(date('1969-12-29'))", 0},
      {"month(date('2018-12-31T23:30:00Z'), 'Europe/Paris')", 1},
      {"day_of_month(date('2000-02-29'))", 29},
      {"is_missing(date('1900-02-29'))", 1},
      {"is_missing(date('2018-4-1'))", 1},
      {"date('2018-04-01 06:30+02:00') - date('2018-04-01T04:30Z')", 0},
      {"date('2018-04-01T00:00:01.5') - date('2018-04-01')", 1.5},
      {"at - date('2018-07-25')", 6 * 3600 + 30 * 60 + 45},
      {"at > date('2018-07-25') and at < unix_time(1532500246)", 1},
      {"hour(at + 3600)", 7},
      {"hour(3600 + at)", 7},
      {"hour(at - 7200)", 4},
      {"years_between(date(born), at)", 27},
      {"years_between(date(born), at + 86400)", 28},
      {"years_between(at, date(born))", -27},
      {"years_between(date('2000-02-29'), date('2001-02-28'))", 0},
      {"years_between(date('2000-02-29'), date('2001-03-01'))", 1},
      {"years_between(date(country), at)", kNaN},
  };
  for (const Case& one : cases) {
    const double found = evaluate(one.text, of, t).number;
    if (std::isnan(one.value)) {
      EXPECT_EQ(std::bit_cast<uint64_t>(found), std::bit_cast<uint64_t>(kNaN)) << one.text;
    } else {
      EXPECT_NEAR(found, one.value, 1e-12) << one.text;
    }
  }
}

TEST(Expression, ATextIsWhatItsPartsMake) {
  const Schema of = schema();
  const Transaction t = transaction(of, kRow);
  EXPECT_EQ(evaluate("email_domain(email)", of, t).text, "gmail.com");
  EXPECT_EQ(evaluate("upper(lower(email))", of, t).text, "JO.DO@GMAIL.COM");
  EXPECT_EQ(evaluate("coalesce(missing, 'x')", of, t).text, "x");
  EXPECT_EQ(evaluate("if(is_missing(email), 'none', email)", of, t).text, "Jo.Do@GMail.Com");
  EXPECT_EQ(evaluate("if(`odd name` > 1, 'a', 'b')", of, t).text, "");
  EXPECT_EQ(evaluate("lower(email)", of, transaction(of, "")).text, "") << "missing";
}

TEST(Expression, AnErrorPointsAtItsPlace) {
  struct Case {
    const char *text, *what;
    size_t column, width;
  };
  const Schema of = schema();
  const Case cases[] = {
      {"amuont > 5", "did you mean \"amount\"", 1, 6},
      {"amount > 5 and befoer < 1", "did you mean \"before\"", 16, 6},
      {"country == FR", "texts stand in quotes", 12, 2},
      {"amount > 5 or", "found the end", 14, 1},
      {"amount > 5 || amount < 3", "written or", 12, 2},
      {"amount > 5 && amount < 3", "written and", 12, 2},
      {"amount > 5 OR amount < 3", "written or", 12, 2},
      {"amount = 5", "written ==", 8, 1},
      {"amount ~ 3", "expected an operator or the end", 8, 1},
      {"amount <> 3", "written !=", 8, 2},
      {"amount + country", "this is a text; a number is needed", 10, 7},
      {"amount == country", "one is a number, the other a text", 1, 17},
      {"at > 5", "one is a time, the other a number", 1, 6},
      {"country < 'FR'", "compared by == and != alone", 1, 14},
      {"amount and true", "such as a comparison: x != 0", 1, 6},
      {"1 < amount < 5", "a < b and b < c", 12, 1},
      {"amount == missing", "ask is_missing(x)", 11, 7},
      {"sqrt(amount", "found the end, expected \")\" to close sqrt(", 12, 1},
      {"sqroot(amount)", "there is no function", 1, 6},
      {"srqt(amount)", "did you mean \"sqrt\"", 1, 4},
      {"sqrt(amount, 1)", "2 arguments; it is sqrt(x)", 1, 15},
      {"if(amount, 1, 2)", "a condition is needed", 4, 6},
      {"if(mobile, 1, 'a')", "both must be the same", 12, 6},
      {"lower(amount)", "this is a number, a text is needed: lower(text)", 7, 6},
      {"hour(amount)", "a time is needed", 6, 6},
      {"hour(at, country)", "the name of a time zone in quotes", 10, 7},
      {"country in ['FR', 5]", "what is looked for is a text", 19, 1},
      {"amount in [card]", "constants alone", 12, 4},
      {"amount in 5", "expected \"[\"", 11, 1},
      {"7d + 1", "\"7d\" is not a number", 1, 2},
      {"card == 9007199254740993", "exact below 9007199254740992", 9, 16},
      {"country == ''", "no text is empty", 12, 2},
      {"country == 'FR", "has no closing '", 12, 3},
      {"`odd name", "has no closing `", 1, 9},
      {"(amount", "to close the one opened", 8, 1},
      {"amount)", "expected an operator or the end", 7, 1},
      {"missing", "always missing", 1, 7},
      {"", "found the end", 1, 1},
      {"'\xC3\xA9t\xC3\xA9' == amuont", "did you mean", 10, 6},  // columns are characters
  };
  for (const Case& one : cases) {
    const auto parsed = parse_expression(one.text, names_of(of));
    ASSERT_FALSE(parsed) << one.text;
    const std::string& said = parsed.error().reason;
    EXPECT_NE(said.find(one.what), std::string::npos) << one.text << "\n" << said;
    EXPECT_EQ(said.rfind("column " + std::to_string(one.column) + ": ", 0), 0u) << one.text << "\n" << said;
    const std::string caret =
        "\n    " + std::string(one.column - 1, ' ') + "^" + std::string(one.width - 1, '~');
    EXPECT_TRUE(said.ends_with(std::string("\n    ") + one.text + caret)) << said;
  }
}

TEST(Expression, OfSeveralLinesTheOneIsShownWhereTheErrorIs) {
  const Schema of = schema();
  const auto parsed = parse_expression("amount > 5\n  and befoer < 3\n  and mobile", names_of(of));
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().reason.rfind("line 2, column 7: ", 0), 0u) << parsed.error().reason;
  EXPECT_TRUE(parsed.error().reason.ends_with("\n      and befoer < 3\n          ^~~~~~"))
      << parsed.error().reason;
}

TEST(Expression, BoundsHoldWhateverTheTextIs) {
  const Schema of = schema();
  const auto says = [&](const std::string& text, const char* what) {
    const auto parsed = parse_expression(text, names_of(of));
    ASSERT_FALSE(parsed);
    EXPECT_NE(parsed.error().reason.find(what), std::string::npos) << parsed.error().reason;
  };
  says(std::string(100, '(') + "1" + std::string(100, ')'), "nested more than 64 deep");
  says(std::string(100, '-') + "1", "nested more than 64 deep");
  says("true and " + std::string(4096, ' ') + "true", "at most 4096 are allowed");
  says("country == '" + std::string(257, 'x') + "'", "at most 256 bytes");
  says("\xFF", "UTF-8");
  EXPECT_TRUE(parse_expression(std::string(60, '(') + "1" + std::string(60, ')'), names_of(of)));
  std::string wide = "1";
  for (int i = 0; i < 1000; ++i) wide += " + 1";
  EXPECT_EQ(evaluate(wide, of, transaction(of, "")).number, 1001);
}

TEST(Expression, AnUnknownTimeZoneIsPointedAt) {
  const Schema of = schema();
  const std::string text = "1 + hour(at, 'Europe/Pairs')";
  const auto parsed = parse_expression(text, names_of(of));
  ASSERT_TRUE(parsed);
  ProgramBuilder builder(of, zone);
  const auto made = builder.add(*parsed, text, [&](std::string_view) { return builder.field(1); });
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().reason.rfind("column 5: no such zone", 0), 0u) << made.error().reason;
}

// Random texts of the language, of the type asked for.
class Writer {
 public:
  explicit Writer(uint32_t seed) : random_(seed) {}

  std::string number(int depth) {
    if (depth <= 0) {
      const char* leaves[] = {"amount", "before", "lat", "lon", "`odd name`", "mobile",
                              "card",   "0",      "1",   "2.5", "-3"};
      return leaves[pick(std::size(leaves))];
    }
    const char* unary[] = {"abs", "log", "exp", "sqrt", "floor", "ceil", "round", "-"};
    const char* signs[] = {" + ", " - ", " * ", " / ", " % "};
    const char* parts[] = {"hour", "weekday", "day_of_month", "month"};
    const char* zones[] = {"", ", 'UTC'", ", 'Europe/Paris'", ", 'America/St_Johns'"};
    const auto n = [&] { return number(depth - 1); };
    switch (pick(12)) {
      case 0:
        return std::string(unary[pick(8)]) + "(" + n() + ")";
      case 1:
        return "if(" + boolean(depth - 1) + ", " + n() + ", " + n() + ")";
      case 2:
        return (pick(2) ? "min(" : "max(") + n() + ", " + n() + (pick(2) ? ", " + n() : "") + ")";
      case 3:
        return "coalesce(" + n() + ", " + n() + (pick(3) == 0 ? ", missing" : "") + ", " + n() + ")";
      case 4:
        return "length(" + text(depth - 1) + ")";
      case 5:
        return "distance_km(" + n() + ", " + n() + ", " + n() + ", " + n() + ")";
      case 6:
        return std::string(parts[pick(4)]) + "(" + time(depth - 1) + zones[pick(4)] + ")";
      case 7:
        return "years_between(" + time(depth - 1) + ", " + time(depth - 1) + ")";
      case 8:
        return "(" + time(depth - 1) + " - " + time(depth - 1) + ")";
      case 9:
        return "pow(" + n() + ", " + n() + ")";
      default:
        return "(" + n() + signs[pick(5)] + n() + ")";
    }
  }

  std::string boolean(int depth) {
    if (depth <= 0) return pick(3) == 0 ? "true" : pick(2) == 0 ? "mobile" : "before > 0";
    const char* signs[] = {" < ", " <= ", " > ", " >= ", " == ", " != "};
    const char* tests[] = {"starts_with", "ends_with", "contains"};
    switch (pick(9)) {
      case 0:
        return "(" + boolean(depth - 1) + " and " + boolean(depth - 1) + ")";
      case 1:
        return "(" + boolean(depth - 1) + " or " + boolean(depth - 1) + ")";
      case 2:
        return "(not " + boolean(depth - 1) + ")";
      case 3:
        return "is_missing(" + (pick(2) ? number(depth - 1) : text(depth - 1)) + ")";
      case 4:
        return "(" + text(depth - 1) + (pick(2) ? " == " : " != ") + text(depth - 1) + ")";
      case 5:
        return std::string(tests[pick(3)]) + "(" + text(depth - 1) + ", " + text(depth - 1) + ")";
      case 6:
        return pick(2) ? "(" + number(depth - 1) + " in [0, 2.5, -3, 1])"
                       : "(" + text(depth - 1) + " not in ['FR', 'gmail.com', 'x'])";
      case 7:
        return "(" + time(depth - 1) + signs[pick(6)] + time(depth - 1) + ")";
      default:
        return "(" + number(depth - 1) + signs[pick(6)] + number(depth - 1) + ")";
    }
  }

  std::string text(int depth) {
    if (depth <= 0) {
      const char* leaves[] = {"email", "country", "born", "'FR'", "'gmail.com'", "'F'"};
      return leaves[pick(6)];
    }
    const char* unary[] = {"lower", "upper", "email_domain"};
    if (pick(3) == 0) return "coalesce(" + text(depth - 1) + ", missing, " + text(depth - 1) + ")";
    if (pick(3) == 0)
      return "if(" + boolean(depth - 1) + ", " + text(depth - 1) + ", " + text(depth - 1) + ")";
    return std::string(unary[pick(3)]) + "(" + text(depth - 1) + ")";
  }

  std::string time(int depth) {
    if (depth <= 0) return pick(2) ? "at" : "date(born)";
    if (pick(3) == 0) return "unix_time(" + number(depth - 1) + " % 10000000000)";
    if (pick(2) == 0) return "(" + time(depth - 1) + (pick(2) ? " + " : " - ") + number(0) + " * 1000)";
    return time(0);
  }

  std::string row() {
    std::string values;
    const char* emails[] = {"Jo@GMail.com", "x", "@y", "a@b@C.D", "\xC3\x89ric@\xC3\xA9.fr"};
    const char* dates[] = {"1990-07-26", "2000-02-29", "2018-07-25T06:30:45Z", "1969-01-01", "soon"};
    const auto some = [&](const std::string& pair) {
      if (pick(5) != 0) values += pair + " ";
    };
    some("amount=" + std::to_string(static_cast<int>(pick(2000)) - 1000));
    some("before=" + std::to_string(static_cast<int>(pick(5)) - 2));
    some("lat=" + std::to_string(static_cast<int>(pick(181)) - 90));
    some("lon=" + std::to_string(static_cast<int>(pick(361)) - 180));
    some(std::string("mobile=") + (pick(2) ? "true" : "false"));
    some(std::string("email=") + emails[pick(5)]);
    some(std::string("country=") + (pick(2) ? "FR" : "fr"));
    some(std::string("born=") + dates[pick(5)]);
    return values;
  }

  size_t pick(size_t of) { return random_() % of; }

 private:
  std::mt19937 random_;
};

RC_GTEST_PROP(Expression, CompiledHasTheBitsOfItsPlainMeaning, (uint32_t seed)) {
  Writer writer(seed);
  const Schema of = schema();
  const Transaction t = transaction(of, writer.row());
  const int depth = 1 + static_cast<int>(writer.pick(4));
  const size_t type = writer.pick(4);
  const std::string text = type == 0   ? writer.text(depth)
                           : type == 1 ? writer.boolean(depth)
                                       : writer.number(depth);
  RC_LOG(text);
  const auto parsed = parse_expression(text, names_of(of));
  RC_ASSERT(parsed.has_value());
  const walk::Walker walker(of, t, [](const std::string& name) {
    return name == "UTC" ? TimeZone{name, {{0, 0}}} : *zone(name);
  });
  const walk::Value meant = walker.value(*parsed);
  const Evaluated found = evaluate(text, of, t);
  if (found.type == ValueType::kText) {
    RC_ASSERT(found.text == meant.text.value_or(""));
  } else {
    RC_ASSERT(std::bit_cast<uint64_t>(found.number) == std::bit_cast<uint64_t>(meant.number.value_or(kNaN)));
  }
  RC_ASSERT(!::testing::Test::HasFailure());
}

// Any text, most of it nonsense: an error with a column, or a tree that compiles and runs.
RC_GTEST_PROP(Expression, AnyTextIsRefusedOrRuns, (uint32_t seed)) {
  Writer writer(seed);
  const Schema of = schema();
  std::string text = writer.number(3);
  for (size_t i = 0, n = writer.pick(4); i < n; ++i) {
    const char* scraps[] = {"(", ")", "'", "[", " and ", " in ", ",", "-", "if(", "`", "1e9", "==", "."};
    const size_t at = writer.pick(text.size() + 1);
    if (writer.pick(2)) {
      text.insert(at, scraps[writer.pick(std::size(scraps))]);
    } else {
      text.erase(at, writer.pick(4));
    }
  }
  RC_LOG(text);
  const auto parsed = parse_expression(text, names_of(of));
  if (!parsed) {
    RC_ASSERT(parsed.error().reason.rfind("column ", 0) == 0u);
    return;
  }
  const auto any_zone = [](std::string_view name) { return parse_offsets(name, "3600"); };
  (void)evaluate(text, of, transaction(of, writer.row()), any_zone);
  RC_ASSERT(!::testing::Test::HasFailure());
}

TEST(Expression, EqualPartsAreComputedOnce) {
  const Schema of = schema();
  ProgramBuilder builder(of, zone);
  const auto find = [&](std::string_view name) { return builder.field(*of.find(name)); };
  for (const std::string text : {"amount - before > 5", "(amount - before) * 2", "amount - before"}) {
    const auto parsed = parse_expression(text, names_of(of));
    ASSERT_TRUE(parsed && builder.add(*parsed, text, find)) << text;
  }
  EXPECT_EQ(builder.steps(), 3u);
}

// A store of the features in `specs`, and what its rows say.
struct Store {
  explicit Store(const std::vector<FeatureSpec>& specs) {
    PlanOptions options;
    options.zones = zone;
    auto compiled = compile(schema(), specs, options);
    if (!compiled) {
      error = compiled.error().field + ": " + compiled.error().reason;
      return;
    }
    plan = std::make_shared<const Plan>(std::move(*compiled));
    store = std::make_unique<FeatureStore>(plan);
  }
  std::vector<float> row(const std::string& values) {
    std::vector<float> filled(plan->columns.size());
    store->apply(transaction(plan->schema, values), sequence++, filled);
    return filled;
  }
  std::string error;
  std::shared_ptr<const Plan> plan;
  std::unique_ptr<FeatureStore> store;
  uint64_t sequence = 1;
};

FeatureSpec over_card(std::string name, Aggregate aggregate, std::string input, std::string where = "") {
  return {.name = std::move(name),
          .aggregate = aggregate,
          .entity = "card",
          .input = std::move(input),
          .windows_us = {kDayUs},
          .exact_name = true,
          .where = std::move(where)};
}

TEST(Expression, DerivedFieldsAreColumnsAndInputsOfAggregatesAndFilters) {
  Store s({{.name = "gap", .input = "before - amount"},
           {.name = "big", .input = "amount > 100"},
           {.name = "domain", .input = "email_domain(email)"},
           {.name = "half", .input = "gap / 2", .hidden = true},
           over_card("gaps", Aggregate::kSum, "gap"),
           over_card("halves", Aggregate::kSum, "half + 0"),
           over_card("domains", Aggregate::kDistinct, "domain"),
           over_card("gmail", Aggregate::kCount, "", "domain == 'gmail.com' and not big"),
           over_card("either", Aggregate::kCount, "", "amount > 500 or before in [1, 2]"),
           {.name = "share", .input = "gmail / max(domains, 1)"}});
  ASSERT_TRUE(s.plan) << s.error;
  EXPECT_EQ(s.plan->columns, (std::vector<std::string>{"gap", "big", "domain", "gaps", "halves", "domains",
                                                       "gmail", "either", "share"}));
  EXPECT_TRUE(s.plan->categorical[2]);
  EXPECT_FALSE(s.plan->categorical[1]);
  const auto first = s.row("amount=50 before=1 email=a@gmail.com");
  EXPECT_EQ((std::vector<float>{first.begin(), first.begin() + 2}), (std::vector<float>{-49, 0}));
  EXPECT_EQ((std::vector<float>{first.begin() + 3, first.end()}),
            (std::vector<float>{-49, -24.5, 1, 1, 1, 1}));
  const auto second = s.row("amount=600 before=1 email=b@GMAIL.com");
  EXPECT_EQ(second[2], first[2]) << "one domain is one category";
  EXPECT_EQ((std::vector<float>{second.begin() + 3, second.end()}),
            (std::vector<float>{-648, -324, 1, 1, 2, 1}));
  const auto third = s.row("before=3");
  EXPECT_TRUE(std::isnan(third[0]) && std::isnan(third[1]));
  EXPECT_NE(third[2], first[2]);
  EXPECT_EQ((std::vector<float>{third.begin() + 3, third.end()}),
            (std::vector<float>{-648, -324, 1, 1, 2, 1}));
}

TEST(Expression, LargeValuesAreToldApartAndSummedWithTheDecimalsAskedFor) {
  FeatureSpec whole = over_card("whole", Aggregate::kSum, "wide");
  whole.decimals = 0;
  Store s({{.name = "wide", .input = "amount * 1000000", .hidden = true},
           over_card("named", Aggregate::kDistinct, "wide"),
           over_card("inline", Aggregate::kDistinct, "amount * 1000000 + 0"),
           over_card("zeros", Aggregate::kDistinct, "if(amount > 15, 0, 0 * -1)"),
           whole,
           over_card("six_decimals", Aggregate::kSum, "wide")});
  ASSERT_TRUE(s.plan) << s.error;
  s.row("amount=10");
  const auto row = s.row("amount=20");
  EXPECT_EQ(row[0], 2);
  EXPECT_EQ(row[1], 2);
  EXPECT_EQ(row[2], 1) << "0 and -0 are one";
  EXPECT_EQ(row[3], 3e7f);
  EXPECT_FLOAT_EQ(row[4], 2 * 4398046.511104f) << "each is clipped to 2^42 / 10^6";
}

TEST(Expression, TheIdentityOfAnExpressionIsACategory) {
  Store s({{.name = "domain", .aggregate = Aggregate::kCategory, .input = "email_domain(email)"},
           {.name = "text", .aggregate = Aggregate::kCategory, .input = "country"},
           {.name = "same", .input = "if(true, country, email)"},
           {.name = "local", .aggregate = Aggregate::kCategory, .input = "hour(at, 'Europe/Paris')"},
           {.name = "again", .aggregate = Aggregate::kCategory, .input = "local"}});
  ASSERT_TRUE(s.plan) << s.error;
  const auto row = s.row("country=FR email=x@y");
  EXPECT_EQ(row[1], row[2]) << "a text has one identity, derived or not";
  const auto missing = s.row("");
  EXPECT_EQ(missing[1], missing[2]);
  EXPECT_EQ(row[3], missing[3]);
  EXPECT_TRUE(std::all_of(row.begin(), row.end(), [](float x) { return x >= 0 && x < 16777216; }));
}

TEST(Expression, ErrorsOfFeaturesNameFeatureKeyAndColumn) {
  const auto error = [](FeatureSpec spec) {
    const Store s({std::move(spec)});
    EXPECT_FALSE(s.plan);
    return s.error;
  };
  EXPECT_EQ(error({.name = "gap", .input = "amount - befoer"}).rfind("gap: expression, column 10: ", 0), 0u);
  EXPECT_EQ(error(over_card("n", Aggregate::kCount, "", "amount")).rfind("n: where, column 1: ", 0), 0u);
  EXPECT_EQ(error(over_card("n", Aggregate::kSum, "amount +")).rfind("n: input, column 9: ", 0), 0u);
  EXPECT_NE(error(over_card("n", Aggregate::kSum, "country")).find("is a text; a number is needed"),
            std::string::npos);
  EXPECT_NE(error({.name = "t", .input = "at + 5"}).find("is a time"), std::string::npos);
  EXPECT_NE(error({.name = "t", .input = "at"}).find("is the event time"), std::string::npos);
  EXPECT_NE(error({.name = "t", .input = "country", .at_most = 1}).find("are for numbers"),
            std::string::npos);
  const Store shadows({{.name = "late", .input = "late_by > 1"}, {.name = "late_by", .input = "amount"}});
  EXPECT_NE(shadows.error.find("neither a field nor a feature declared before"), std::string::npos);
}

TEST(Expression, TheFieldsOfAColumnAreFoundThroughExpressions) {
  const Store s({{.name = "gap", .input = "before - amount", .hidden = true},
                 {.name = "domain", .input = "email_domain(email)", .hidden = true},
                 {.name = "wide", .input = "gap + length(country)"},
                 over_card("gaps", Aggregate::kSum, "gap", "domain == 'x'"),
                 {.name = "hour", .input = "hour(at)"},
                 {.name = "domain_again", .aggregate = Aggregate::kCategory, .input = "domain"}});
  ASSERT_TRUE(s.plan) << s.error;
  const auto bits = [&](std::initializer_list<const char*> fields) {
    uint64_t all = 0;
    for (const char* field : fields) all |= uint64_t{1} << *s.plan->schema.find(field);
    return all;
  };
  EXPECT_EQ(fields_of_columns(*s.plan), (std::vector<uint64_t>{bits({"before", "amount", "country"}),
                                                               bits({"card", "before", "amount", "email"}),
                                                               bits({"at"}), bits({"email"})}));
}

TEST(Expression, WhatChangesAScoreChangesTheFingerprint) {
  const auto fingerprint = [](const std::string& input, ZoneSource zones) {
    PlanOptions options;
    options.zones = std::move(zones);
    return compile(schema(), {{.name = "x", .input = input}}, options)->fingerprint;
  };
  EXPECT_NE(fingerprint("amount + 1", zone), fingerprint("amount + 2", zone));
  const std::string local = "hour(at, 'Europe/Paris')";
  const auto other = [](std::string_view name) { return parse_offsets(name, "3600 1521939600:7200"); };
  EXPECT_NE(fingerprint(local, zone), fingerprint(local, other)) << "another tzdata";
  EXPECT_EQ(fingerprint("hour(at)", zone), fingerprint("hour(at)", other));
}

double haversine(const double (&place)[4]) {
  const double r = M_PI / 180;
  const double north = std::sin((place[2] - place[0]) * r / 2),
               east = std::sin((place[3] - place[1]) * r / 2);
  const double h = north * north + std::cos(place[0] * r) * std::cos(place[2] * r) * east * east;
  return 2 * 6371.0088 * std::asin(std::sqrt(std::min(h, 1.0)));
}

TEST(Numeric, FunctionsAreThoseOfLibmToTheirLastDigits) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (int i = 0; i < 20'000; ++i) {
    const double x = uniform(random);
    EXPECT_NEAR(exact_asin(x), std::asin(x), 5e-16 * std::max(std::fabs(std::asin(x)), 0.01));
    const double place[] = {uniform(random) * 90, uniform(random) * 360, uniform(random) * 90,
                            uniform(random) * 360};
    EXPECT_NEAR(distance_km(place[0], place[1], place[2], place[3]), haversine(place),
                2e-4);  // antipodes are hard
    const double near[] = {place[0], place[1], place[0] + x / 100, place[1] + uniform(random) / 100};
    if (std::fabs(near[2]) <= 90 && std::fabs(near[3]) <= 360) {
      EXPECT_NEAR(distance_km(near[0], near[1], near[2], near[3]), haversine(near), 1e-9);
    }
    const double base = std::exp(x * 20), power = uniform(random) * 10;
    EXPECT_NEAR(exact_pow(base, power) / std::pow(base, power), 1, 1e-13);
  }
  // Paris to New York; the poles; half of the equator.
  EXPECT_NEAR(distance_km(48.8566, 2.3522, 40.7128, -74.0060), 5837.24, 0.01);
  EXPECT_NEAR(distance_km(90, 0, -90, 0), 20015.115, 0.001);
  EXPECT_NEAR(distance_km(0, -90, 0, 90), 20015.115, 0.001);
  EXPECT_NEAR(distance_km(50, 8, 50, 8.00001), 0.00071475, 1e-7);
}

TEST(Calendar, DaysAndDatesAreEachOthersInverse) {
  for (int64_t days = -800'000; days <= 800'000; days += 37) {
    const CivilDate date = civil_of(days);
    EXPECT_EQ(days_of(date), days);
    if (days % 20 != 0 || days < -40'000) continue;
    const walk::Counted counted = walk::count_to(days);
    EXPECT_EQ(std::tuple(date.year, date.month, date.day),
              std::tuple(counted.year, counted.month, counted.day));
  }
}

TEST(Calendar, OffsetsAreReadAsTheyAreWritten) {
  const std::string text = "3600 1521939600:7200 1540688400:3600";
  const auto paris = parse_offsets("Europe/Paris", text);
  ASSERT_TRUE(paris);
  EXPECT_EQ(format_offsets(*paris), text);
  for (const char* bad :
       {"", "x", "3600 ", "3600 5", "3600 5:", "3600 9:1 9:2", "3600 9:1 8:2", "3600  9:1", "999999"})
    EXPECT_FALSE(parse_offsets("z", bad)) << bad;
  for (const size_t hint : {size_t{0}, size_t{1}, size_t{2}, size_t{9}}) {
    EXPECT_EQ(offset_at(*paris, INT64_MIN, hint), 0u);
    EXPECT_EQ(offset_at(*paris, 1521939599, hint), 0u);
    EXPECT_EQ(offset_at(*paris, 1521939600, hint), 1u);
    EXPECT_EQ(offset_at(*paris, 1540688399, hint), 1u);
    EXPECT_EQ(offset_at(*paris, 1540688400, hint), 2u);
  }
}

}  // namespace
}  // namespace shrike::features
