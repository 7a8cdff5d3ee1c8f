#include "tools/init/roles.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "engine/replay/csv.h"
#include "features/schema.h"

namespace shrike::tools::init {
namespace {

bool has(const std::string& name, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](std::string_view part) { return name.find(part) != name.npos; });
}

bool is(const std::string& name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool ends(const std::string& name, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](std::string_view part) { return name.ends_with(part); });
}

// ---- The label.

// How likely a column of two values is the label.
int label_score(const Column& column, bool last) {
  const std::string name = bare(column.name);
  if (is(name, {"isfraud", "fraud", "fraudlabel"})) return 100;
  if (has(name, {"fraud"})) return has(name, {"flag", "score"}) ? 40 : 90;
  if (is(name, {"label", "class", "target", "y", "default", "chargeback", "outcome"})) return 70;
  return last ? 10 : 0;
}

// Whether read_label() of the engine knows a word, and as what.
std::optional<int> meaning(std::string_view word) {
  const auto read = engine::read_label({}, word);
  return read ? std::optional<int>(*read) : std::nullopt;
}

std::string two_valued(const Profile& profile) {
  std::vector<std::string> names;
  for (const Column& column : profile.columns) {
    if (column.distinct.size() == 2) names.push_back(column.name);
  }
  return names.empty() ? "no column has two values"
                       : fmt::format("columns of two values are: {}", fmt::join(names, ", "));
}

tl::expected<size_t, std::string> find_label(const Profile& profile, const std::string& wanted,
                                             Roles& roles) {
  size_t best = 0;
  int score = 0;
  for (size_t c = 0; c < profile.columns.size(); ++c) {
    const Column& column = profile.columns[c];
    if (column.name == wanted) return c;
    if (!wanted.empty() || column.distinct.size() != 2) continue;
    const int one = label_score(column, c + 1 == profile.columns.size());
    if (one > score) {
      score = one;
      best = c;
    }
  }
  if (!wanted.empty()) {
    return tl::make_unexpected(
        fmt::format("{}: no column is called \"{}\"; {}", profile.path, wanted, two_valued(profile)));
  }
  if (score == 0) {
    return tl::make_unexpected(
        fmt::format("{}: no column looks like a label (fraud or not); name it with --label. {}", profile.path,
                    two_valued(profile)));
  }
  if (score <= 40) {
    roles.unsure.push_back(
        fmt::format("label: \"{}\" has two values, but its name does not say fraud; another "
                    "is named with --label",
                    profile.columns[best].name));
  }
  return best;
}

tl::expected<void, std::string> read_words(const Profile& profile, Roles& roles) {
  const Column& column = profile.columns[roles.label];
  const auto wrong = [&](const std::string& reason) {
    return tl::make_unexpected(fmt::format("{}: the label \"{}\" {}", profile.path, column.name, reason));
  };
  if (column.words.empty())
    return wrong(fmt::format("has {} different values, two are needed", column.distinct.size()));
  for (const auto& [word, count] : column.words) {
    const auto means = meaning(word);
    if (!means) {
      return wrong(
          fmt::format("says \"{}\"; words that are understood are 0 and 1, true and false, yes and no, Y and "
                      "N, fraud and legitimate. Write the column anew with those",
                      word.substr(0, 40)));
    }
    roles.frauds += *means == 1 ? count : 0;
    roles.labelled += count;
  }
  if (roles.frauds == 0 || roles.frauds == roles.labelled)
    return wrong("is the same in all rows; nothing can be learned from it");
  if (roles.frauds * 2 > roles.labelled)
    roles.unsure.push_back(
        fmt::format("label: {:.1f} % of the rows are frauds; is it the other way round?",
                    100.0 * static_cast<double>(roles.frauds) / static_cast<double>(roles.labelled)));
  return {};
}

// ---- Types.

// What would be known of a transaction only afterwards, by its name.
bool tells_the_answer(const Column& column) {
  return has(bare(column.name), {"fraud", "chargeback", "dispute"}) ||
         is(bare(column.name), {"label", "target"});
}

std::string why_left_out(const Column& column) {
  if (column.name.empty() || column.name.size() > 200) return "the name is empty or longer than 200 bytes";
  if (column.name.find('`') != column.name.npos) return "the name has a backtick";
  if (column.present() == 0) return "it is empty in all rows";
  if (column.unfit > 0) return fmt::format("{} values are longer than 256 bytes or no UTF-8", column.unfit);
  if (tells_the_answer(column))
    return "its name says that it tells the answer; give it back if it is known in time";
  if (column.distinct.size() == 1 && column.missing == 0) return "it is the same in all rows";
  return "";
}

bool is_identity(const Column& column) {
  const std::string name = bare(column.name);
  return ends(name, {"id", "num", "number", "no", "key", "uuid", "ref", "zip", "zipcode", "postcode"}) ||
         has(name, {"card", "account", "phone"});
}

Type type_of(const Column& column, std::string& reason) {
  reason = why_left_out(column);
  if (!reason.empty()) return Type::kLeftOut;
  if (column.all(column.booleans)) return Type::kBoolean;
  if (!column.all(column.numbers)) return Type::kText;
  if (column.leading_zeros > 0) return Type::kText;
  const double largest = std::max(std::fabs(column.minimum), std::fabs(column.maximum));
  const auto bound = static_cast<double>(features::Schema::kFixedMax);
  if (column.all(column.whole))
    return is_identity(column) || largest >= bound ? Type::kInteger : Type::kNumber;
  if (largest < bound) return Type::kNumber;
  reason = "its numbers are beyond 4,398,046,511,103";
  return Type::kLeftOut;
}

// ---- Time.

struct TimeGuess {
  int score = 0;
  std::string unit = "s";
  bool origin_known = true;
  double span_s = 0;
  std::string unsure;
};

// Between 1990 and 2060, in seconds times `factor`.
bool is_unix(const Column& column, double factor) {
  return column.minimum >= 631'152'000.0 * factor && column.maximum <= 2'840'140'800.0 * factor;
}

TimeGuess guess_number_time(const Column& column, const std::string& name) {
  struct Unit {
    const char* name;
    double per_second;
  };
  TimeGuess guess;
  const double span = column.maximum - column.minimum;
  const bool named = has(name, {"time", "date", "stamp", "unix"});
  for (const Unit& unit : {Unit{"s", 1.0}, Unit{"ms", 1e3}, Unit{"us", 1e6}}) {
    if (!is_unix(column, unit.per_second) || (!named && column.disorder() > 0)) continue;
    guess.score = 60;
    guess.unit = unit.name;
    guess.span_s = span / unit.per_second;
    return guess;
  }
  const bool steps = is(name, {"step", "hour", "hours"});
  if (!steps && !is(name, {"time", "timestamp", "transactiondt", "seconds", "txtimeseconds", "t", "elapsed"}))
    return guess;
  if (column.minimum < 0 || column.disorder() > 0.01 || span < 10) return guess;
  guess.score = 50;
  guess.unit = steps ? "h" : "s";
  guess.origin_known = false;
  guess.span_s = span * (steps ? 3600 : 1);
  guess.unsure = fmt::format(
      "time: \"{}\" counts {} to {} from an unknown moment; taken as {}s (unit = \"s\", \"h\", \"d\"), "
      "and as if 0 were 1970-01-01 (origin): hours of the day and weekdays may be shifted",
      column.name, column.minimum, column.maximum, steps ? "hour" : "second");
  return guess;
}

TimeGuess guess_time(const Column& column) {
  const std::string name = bare(column.name);
  TimeGuess guess;
  if (column.missing > 0 || column.distinct.size() < 2 || has(name, {"birth", "dob", "expir", "since"}))
    return guess;
  if (column.all(column.dates)) {
    guess.score = column.days == column.dates ? 35 : 60;
    guess.span_s = static_cast<double>(column.last_us - column.first_us) / 1e6;
  } else if (column.all(column.numbers) && column.leading_zeros == 0) {
    guess = guess_number_time(column, name);
  }
  if (guess.score == 0) return guess;
  if (column.disorder() == 0) guess.score += 30;
  if (has(name, {"time", "date", "stamp"})) guess.score += 10;
  return guess;
}

void find_time(const Profile& profile, Roles& roles) {
  TimeGuess best;
  std::vector<std::string> others;
  for (size_t c = 0; c < profile.columns.size(); ++c) {
    if (roles.types[c] == Type::kLeftOut || c == roles.label) continue;
    const TimeGuess one = guess_time(profile.columns[c]);
    if (one.score > 0) others.push_back(profile.columns[c].name);
    if (one.score <= best.score) continue;
    best = one;
    roles.time = c;
  }
  if (!roles.time) {
    roles.span_s = static_cast<double>(profile.rows);
    roles.unsure.push_back(
        "time: no column is one (unix seconds, ms or us, or dates such as 2018-04-01 06:30); the row's "
        "number "
        "stands for it, one second a row, so windows count rows and the file's order must be that of time");
    return;
  }
  const Column& column = profile.columns[*roles.time];
  roles.types[*roles.time] = Type::kTime;
  roles.unit = best.unit;
  roles.origin_known = best.origin_known;
  roles.span_s = best.span_s;
  if (!best.unsure.empty()) roles.unsure.push_back(best.unsure);
  if (others.size() > 1)
    roles.unsure.push_back(
        fmt::format("time: \"{}\" is taken; {} may be one too", column.name, fmt::join(others, ", ")));
  if (column.falls > 0)
    roles.unsure.push_back(
        fmt::format("time: {} rows stand before an earlier one; sort the file by \"{}\", for what "
                    "comes more than limits.lateness late moves no window",
                    column.falls, column.name));
}

// ---- Id, amount, entities, places.

bool is_transaction_id(const Column& column) {
  return is_identity(column) && has(bare(column.name), {"trans", "tx", "order", "claim", "event"});
}

void find_id(const Profile& profile, Roles& roles) {
  int best = 0;
  std::vector<std::string> unnamed;
  for (size_t c = 0; c < profile.columns.size(); ++c) {
    const Column& column = profile.columns[c];
    const std::string name = bare(column.name);
    if (!column.unique() && is_transaction_id(column) && column.distinct.size() * 2 > column.rows) {
      roles.unsure.push_back(fmt::format("id: \"{}\" sounds like one, but {} rows repeat an earlier value",
                                         column.name, column.rows - column.distinct.size()));
    }
    if (!column.unique() || (roles.types[c] != Type::kInteger && roles.types[c] != Type::kNumber &&
                             roles.types[c] != Type::kText))
      continue;
    if (roles.types[c] == Type::kNumber && !column.all(column.whole)) continue;
    int score = is_identity(column) || is(name, {"row", "index"}) ? 10 : 0;
    if (has(name, {"trans", "tx", "order", "claim", "event"})) score += score > 0 ? 20 : 5;
    if (score == 0) unnamed.push_back(column.name);
    if (score <= best) continue;
    best = score;
    roles.id = c;
  }
  if (roles.id && roles.types[*roles.id] == Type::kNumber) roles.types[*roles.id] = Type::kInteger;
  if (roles.id) return;
  roles.unsure.push_back(fmt::format("id: no column names each row; the row's number stands for it{}",
                                     unnamed.empty()
                                         ? ""
                                         : fmt::format(" (no two rows have the same {}, but the name "
                                                       "says no id)",
                                                       fmt::join(unnamed, " or "))));
}

void find_amount(const Profile& profile, Roles& roles) {
  int best = 0;
  std::vector<std::string> others;
  for (size_t c = 0; c < profile.columns.size(); ++c) {
    const Column& column = profile.columns[c];
    if (roles.types[c] != Type::kNumber || c == roles.label) continue;
    const std::string name = bare(column.name);
    int score = is(name, {"amount", "amt", "transactionamt", "transactionamount", "txamount"}) ? 30 : 0;
    if (score == 0 && has(name, {"amount", "amt"})) score = 20;
    if (score == 0 && has(name, {"value", "total", "price", "purchase"}) && column.minimum >= 0 &&
        column.maximum >= 10 && column.decimals <= 4)
      score = 10;
    if (score < 30 && column.distinct.size() < 10) continue;
    if (score > 0) others.push_back(column.name);
    if (score <= best) continue;
    best = score;
    roles.amount = c;
  }
  if (!roles.amount) {
    roles.unsure.push_back("amount: no column is one; decisions look at probabilities alone");
  } else if (best <= 10) {
    roles.unsure.push_back(fmt::format("amount: \"{}\", by its name ({} could be)",
                                       profile.columns[*roles.amount].name, fmt::join(others, ", ")));
  }
}

// Somebody or something that comes again.
int entity_score(const Column& column) {
  const std::string name = bare(column.name);
  if (is(name, {"lat", "long", "zip", "zipcode", "state", "city", "job"})) return 0;
  if (has(name, {"ccnum", "card", "account", "customer", "client", "user", "iban"})) return 40;
  if (has(name, {"merchant", "terminal", "shop", "store", "seller", "provider", "vendor", "dest", "payee"}))
    return 30;
  if (has(name, {"orig", "payer", "device", "email", "phone", "member", "sender", "receiver"}) ||
      is(name, {"ip", "ipaddress"}))
    return 20;
  const bool of_row = has(name, {"trans", "tx", "order"});
  return !of_row && ends(name, {"id", "num", "number"}) ? 10 : 0;
}

void find_entities(const Profile& profile, Roles& roles) {
  constexpr size_t kEntitiesMax = 4, kDistinctMin = 20;
  std::vector<std::pair<int, size_t>> found;
  for (size_t c = 0; c < profile.columns.size(); ++c) {
    const Column& column = profile.columns[c];
    const bool typed = roles.types[c] == Type::kInteger || roles.types[c] == Type::kText;
    if (!typed || roles.id == c || c == roles.label || column.distinct.size() < kDistinctMin) continue;
    const int score = entity_score(column);
    if (score == 0) continue;
    const double repeats =
        static_cast<double>(column.present()) / static_cast<double>(column.distinct.size());
    if (repeats < (score <= 10 ? 3 : 1.1)) {
      roles.unsure.push_back(fmt::format(
          "entity: \"{}\" hardly repeats ({:.2f} rows each) and gets no windows", column.name, repeats));
      continue;
    }
    found.emplace_back(score, c);
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  for (const auto& [score, c] : found) {
    if (roles.entities.size() < kEntitiesMax) roles.entities.push_back(c);
    if (score <= 10)
      roles.unsure.push_back(fmt::format("entity: \"{}\", by its name and repeats", profile.columns[c].name));
  }
  if (found.empty())
    roles.unsure.push_back(
        "entities: no column names a person, card, shop or device that comes again; features are "
        "of the row alone");
}

// The name without the word for its axis; nothing when it is none.
std::optional<std::string> axis(const Column& column, std::initializer_list<std::string_view> words,
                                double bound) {
  const std::string name = bare(column.name);
  if (!column.all(column.numbers) || column.minimum < -bound || column.maximum > bound) return std::nullopt;
  for (const std::string_view word : words) {
    if (name.starts_with(word)) return name.substr(word.size());
    if (name.ends_with(word)) return name.substr(0, name.size() - word.size());
  }
  return std::nullopt;
}

void find_places(const Profile& profile, Roles& roles) {
  for (size_t a = 0; a < profile.columns.size(); ++a) {
    const auto latitude = axis(profile.columns[a], {"latitude", "lat"}, 90);
    for (size_t o = 0; latitude && o < profile.columns.size(); ++o) {
      const auto longitude = axis(profile.columns[o], {"longitude", "long", "lng", "lon"}, 360);
      if (a == o || roles.types[a] != Type::kNumber || roles.types[o] != Type::kNumber ||
          longitude != latitude)
        continue;
      roles.places.push_back({a, o});
      break;
    }
  }
}

// The engine's bound: what has a role stays, of the others the first.
void keep_within_bound(const Profile& profile, Roles& roles) {
  constexpr size_t kFieldsMax = 62;  // two are the id's and the time's
  size_t kept = 0;
  std::vector<std::string> names;
  for (size_t c = 0; c < profile.columns.size(); ++c) {
    if (roles.types[c] == Type::kLeftOut || c == roles.label || roles.time == c || roles.id == c) continue;
    const bool has_role =
        roles.amount == c || std::count(roles.entities.begin(), roles.entities.end(), c) > 0;
    if (kept < kFieldsMax - 5 || has_role) {
      ++kept;
      continue;
    }
    names.push_back(profile.columns[c].name);
    roles.types[c] = Type::kLeftOut;
    roles.reasons[c] = "a schema has at most 64 fields";
  }
  if (!names.empty())
    roles.unsure.push_back(
        fmt::format("fields: a schema has at most 64; left out are the last {}, from \"{}\" to \"{}\"",
                    names.size(), names.front(), names.back()));
}

void doubt_types(const Profile& profile, Roles& roles) {
  for (size_t c = 0; c < profile.columns.size(); ++c) {
    const Column& column = profile.columns[c];
    if (c == roles.label) continue;
    if (column.missing_words > 0 && column.numbers + column.missing_words == column.present() &&
        column.numbers > 0)
      roles.unsure.push_back(
          fmt::format("\"{}\": numbers, but {} cells are words such as NA; it is read as text. Empty "
                      "those cells for it to become a number",
                      column.name, column.missing_words));
    if (roles.types[c] == Type::kLeftOut && !roles.reasons[c].starts_with("a schema") &&
        column.distinct.size() > 1)
      roles.unsure.push_back(fmt::format("\"{}\" is left out: {}", column.name, roles.reasons[c]));
  }
}

}  // namespace

tl::expected<Roles, std::string> find_roles(const Profile& profile, const std::string& label) {
  Roles roles;
  const auto found = find_label(profile, label, roles);
  if (!found) return tl::make_unexpected(found.error());
  roles.label = *found;
  if (const auto read = read_words(profile, roles); !read) return tl::make_unexpected(read.error());
  roles.reasons.resize(profile.columns.size());
  for (size_t c = 0; c < profile.columns.size(); ++c)
    roles.types.push_back(type_of(profile.columns[c], roles.reasons[c]));
  find_time(profile, roles);
  find_id(profile, roles);
  for (const Column& column : profile.columns) {
    if ((!roles.id || !roles.time) && bare(column.name) == bare(engine::kRowNumber))
      return tl::make_unexpected(
          fmt::format("{}: the column \"{}\" is neither a good id nor a time, and its name is the one "
                      "that the record's number needs; rename it",
                      profile.path, column.name));
  }
  find_amount(profile, roles);
  find_entities(profile, roles);
  auto attributes = find_attributes(profile, roles.entities);
  if (!attributes) return tl::make_unexpected(attributes.error());
  roles.attributes = std::move(*attributes);
  keep_within_bound(profile, roles);
  find_places(profile, roles);
  doubt_types(profile, roles);
  roles.unsure.push_back(
      "labels: the file does not say when they became known; they are taken as known at once, which "
      "flatters. "
      "--label-delay 7d shows what a week costs");
  return roles;
}

}  // namespace shrike::tools::init
