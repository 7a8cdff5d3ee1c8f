#include "tools/init/draft.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "engine/replay/csv.h"
#include "features/schema.h"

namespace shrike::tools::init {
namespace {

constexpr size_t kCategoriesMax = 2000;  // of more values a category learns little and costs much

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

// Text of the file inside a comment: one line, printable.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, 400));
  for (char& c : out) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) c = '?';
  }
  return out;
}

// A column in an expression.
std::string ref(const std::string& name) {
  const auto word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  const bool plain = !name.empty() && !std::isdigit(static_cast<unsigned char>(name[0])) &&
                     std::all_of(name.begin(), name.end(), word);
  for (const char* keyword : {"and", "or", "not", "in", "if", "true", "false", "missing"}) {
    if (name == keyword) return fmt::format("`{}`", name);
  }
  return plain ? name : fmt::format("`{}`", name);
}

std::string slug(const std::string& name) {
  std::string out;
  for (const unsigned char c : name) {
    if (std::isalnum(c)) {
      out += static_cast<char>(std::tolower(c));
    } else if (!out.empty() && out.back() != '_') {
      out += '_';
    }
  }
  while (out.ends_with('_')) out.pop_back();
  return out.empty() ? "column" : out;
}

class Writer {
 public:
  Writer(const Profile& profile, const Roles& roles, bool raw) : profile_(profile), roles_(roles), raw_(raw) {
    for (const Column& column : profile.columns) names_.insert(column.name);
    names_.insert(engine::kRowNumber);
    for (const size_t c : roles.entities) {
      std::string name = slug(profile.columns[c].name);
      while (std::count(entity_names_.begin(), entity_names_.end(), name) > 0) name += "_2";
      entity_names_.push_back(name);
    }
  }

  std::string all() {
    head();
    schema();
    if (!raw_) entities();
    if (!raw_) derived();
    raw_columns();
    rest();
    return out_;
  }

 private:
  template <typename... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    out_ += fmt::format(format, std::forward<Args>(args)...) + "\n";
  }
  const std::string& name_of(size_t c) const { return profile_.columns[c].name; }
  std::string ref_of(size_t c) const { return ref(name_of(c)); }
  bool is_text(size_t c) const { return roles_.types[c] == Type::kText; }
  bool is_entity(size_t c) const {
    return std::find(roles_.entities.begin(), roles_.entities.end(), c) != roles_.entities.end();
  }
  // A name that nothing has yet, as near to the wanted one as can be.
  std::string fresh(const std::string& wanted) {
    std::string name = wanted;
    for (int i = 2; !names_.insert(name).second; ++i) name = fmt::format("{}_{}", wanted, i);
    return name;
  }
  std::string time_ref() const { return roles_.time ? ref_of(*roles_.time) : engine::kRowNumber; }

  void head();
  void schema();
  void field(size_t c);
  std::string seen(const Column& column) const;
  void entities();
  void derived();
  void times();
  void differences();
  void distances();
  void of_entity(size_t e, const std::string& entity);
  std::vector<size_t> met_by(size_t e) const;
  void novelty(size_t e, const std::string& entity);
  void raw_columns();
  void raw_column(size_t c);
  void rest();
  // One [[features]] table; `more` are its further lines.
  void feature(const std::string& name, std::initializer_list<std::string> more,
               const std::string& comment = "");
  std::string aggregate(const char* name, const std::string& entity) const {
    return fmt::format("aggregate = \"{}\"\nentity = {}", name, in_quotes(entity));
  }
  std::string expression(const std::string& text) const {
    return fmt::format("expression = {}", in_quotes(text));
  }
  std::string windows() const;
  std::string longest() const;

  const Profile& profile_;
  const Roles& roles_;
  const bool raw_;
  std::string out_;
  std::set<std::string> names_;
  std::vector<std::string> entity_names_;  // by entity
};

void Writer::head() {
  line("# Drafted by `shrike init` from {}: {} rows, {} columns, separated by {}; {} frauds ({:.3f} %).",
       shown(profile_.path), profile_.rows, profile_.columns.size(), profile_.separators, roles_.frauds,
       100.0 * static_cast<double>(roles_.frauds) / static_cast<double>(roles_.labelled));
  line("#   shrike evaluate {} --config THIS_FILE --learner ensemble", shown(profile_.path));
  line("# What is not said here has its default; examples/handbook.toml comments every key.");
  line("#\n# Not sure of:");
  for (const std::string& doubt : roles_.unsure) line("# - {}", shown(doubt));
}

std::string Writer::seen(const Column& column) const {
  const bool capped = column.distinct.size() >= Column::kDistinctMax;
  std::string text = fmt::format("{}{} distinct", capped ? "at least " : "", column.distinct.size());
  if (column.missing > 0)
    text += fmt::format(", {:.1f} % missing",
                        100.0 * static_cast<double>(column.missing) / static_cast<double>(column.rows));
  if (column.all(column.numbers)) text += fmt::format(", {} to {}", column.minimum, column.maximum);
  std::vector<std::string> examples;
  for (const std::string& one : column.examples) examples.push_back(shown(one));
  return text + fmt::format("; {}", fmt::join(examples, ", "));
}

// The digits that the file has, as far as the engine's 42 bits hold the largest value.
int decimals_of(const Column& column) {
  const double largest = std::max(std::fabs(column.minimum), std::fabs(column.maximum));
  int decimals = std::min(column.decimals, 6);
  // A hundred times as much as was seen must pass too.
  const auto fits = [&](int digits, double room) {
    return largest * room * static_cast<double>(features::scale_of(digits)) <
           static_cast<double>(features::Schema::kFixedMax);
  };
  while (decimals > 2 && !fits(decimals, 100)) --decimals;
  while (decimals > 0 && !fits(decimals, 1)) --decimals;
  return decimals;
}

void Writer::field(size_t c) {
  const Column& column = profile_.columns[c];
  if (c == roles_.label) return;
  if (roles_.types[c] == Type::kLeftOut) {
    line("\n# {} is left out: {}", shown(column.name), roles_.reasons[c]);
    return;
  }
  constexpr const char* kNames[] = {"integer", "number", "text", "boolean", "time"};
  line("\n[[schema.fields]]             # {}", seen(column));
  line("name = {}", in_quotes(column.name));
  line("type = \"{}\"", kNames[static_cast<size_t>(roles_.types[c])]);
  if (roles_.types[c] == Type::kNumber) line("decimals = {}", decimals_of(column));
  if (roles_.types[c] == Type::kTime && column.all(column.numbers)) {
    line("unit = \"{}\"", roles_.unit);
    if (!roles_.origin_known) line("origin = 1970-01-01           # unknown: what 0 means (UTC)");
  }
  if (column.missing > 0) line("optional = true");
}

void Writer::schema() {
  const std::string row(engine::kRowNumber);
  line("\n[schema]");
  line("id = {}", in_quotes(roles_.id ? name_of(*roles_.id) : row));
  if (roles_.amount) line("amount = {}", in_quotes(name_of(*roles_.amount)));
  std::vector<std::string> words;
  for (const auto& [word, count] : profile_.columns[roles_.label].words)
    words.push_back(word.empty() ? "" : fmt::format("{} {} times", shown(word), count));
  line("label = {}             # {}", in_quotes(name_of(roles_.label)), fmt::join(words, ", "));
  if (!roles_.id || !roles_.time) {
    line("\n[[schema.fields]]             # the file has no such column: it is the record's number, from 1");
    line("name = \"{}\"", row);
    line("type = \"{}\"", roles_.time ? "integer" : "time");
    if (!roles_.time) line("unit = \"s\"                    # a second a row: windows of 1h hold 3,600 rows");
  }
  for (size_t c = 0; c < profile_.columns.size(); ++c) field(c);
}

void Writer::feature(const std::string& name, std::initializer_list<std::string> more,
                     const std::string& comment) {
  line("\n[[features]]{}{}", comment.empty() ? "" : "                  # ", comment);
  line("name = {}", in_quotes(name));
  for (const std::string& one : more) {
    if (!one.empty()) line("{}", one);
  }
}

std::string Writer::windows() const {
  if (!roles_.time) return "windows = [\"10m\", \"1h\", \"10h\"]  # rows: 600, 3,600, 36,000";
  const double days = roles_.span_s / 86400;
  if (days < 2) return "windows = [\"5m\", \"1h\", \"6h\"]";
  if (days < 14) return "windows = [\"1h\", \"1d\"]";
  return days < 60 ? "windows = [\"1h\", \"1d\", \"7d\"]" : "windows = [\"1h\", \"1d\", \"7d\", \"30d\"]";
}

std::string Writer::longest() const {
  if (!roles_.time) return "window = \"10h\"";
  const double days = roles_.span_s / 86400;
  return days < 2 ? "window = \"6h\"" : days < 14 ? "window = \"3d\"" : "window = \"30d\"";
}

void Writer::entities() {
  for (size_t e = 0; e < roles_.entities.size(); ++e) {
    const Column& column = profile_.columns[roles_.entities[e]];
    line("\n[entities.{}]                 # {:.1f} rows each", in_quotes(entity_names_[e]),
         static_cast<double>(column.present()) / static_cast<double>(column.distinct.size()));
    line("fields = [{}]", in_quotes(column.name));
  }
}

void Writer::times() {
  const bool day_only = roles_.time && (profile_.columns[*roles_.time].days > 0 || roles_.unit == "d");
  if (roles_.time && !day_only)
    feature(fresh("hour_of_day"), {expression(fmt::format("hour({})", time_ref()))}, "UTC");
  if (roles_.time) feature(fresh("weekday"), {expression(fmt::format("weekday({})", time_ref()))});
  for (size_t c = 0; c < profile_.columns.size(); ++c) {
    const Column& column = profile_.columns[c];
    if (!is_text(c) || !column.all(column.dates) || !roles_.time || !roles_.origin_known) continue;
    const bool birth = bare(column.name).find("birth") != std::string::npos || bare(column.name) == "dob";
    feature(fresh(slug(column.name) + (birth ? "_age" : "_days")),
            {expression(birth ? fmt::format("years_between(date({}), {})", ref(column.name), time_ref())
                              : fmt::format("({} - date({})) / 86400", time_ref(), ref(column.name)))});
  }
}

// Balances before and after: oldX and newX, and what the amount leaves unexplained.
void Writer::differences() {
  for (size_t before = 0; before < profile_.columns.size(); ++before) {
    const std::string old_name = bare(name_of(before));
    if (roles_.types[before] != Type::kNumber || !old_name.starts_with("old")) continue;
    for (size_t after = 0; after < profile_.columns.size(); ++after) {
      const std::string new_name = bare(name_of(after));
      // PaySim writes oldbalanceOrg and newbalanceOrig.
      const bool pair = new_name.starts_with("new") &&
                        (new_name.substr(3) == old_name.substr(3) ||
                         (new_name.size() > 10 && new_name.substr(3, 9) == old_name.substr(3, 9)));
      if (roles_.types[after] != Type::kNumber || !pair) continue;
      feature(fresh(slug(name_of(before)) + "_change"),
              {expression(fmt::format("{} - {}", ref_of(after), ref_of(before))), "transform = \"log\""});
      if (!roles_.amount) break;
      feature(fresh(slug(name_of(before)) + "_unexplained"),
              {expression(
                   fmt::format("abs({} - {}) - {}", ref_of(after), ref_of(before), ref_of(*roles_.amount))),
               "transform = \"log\""},
              "0 where the balance moved by the amount");
      feature(fresh("share_of_" + slug(name_of(before))),
              {expression(fmt::format("{} / max({}, 0.01)", ref_of(*roles_.amount), ref_of(before))),
               "transform = \"log\""});
      break;
    }
  }
}

void Writer::distances() {
  const auto point = [&](const Place& p) {
    return fmt::format("{}, {}", ref_of(p.latitude), ref_of(p.longitude));
  };
  for (size_t i = 1; i < roles_.places.size(); ++i)
    feature(
        fresh("distance_km"),
        {expression(fmt::format("distance_km({}, {})", point(roles_.places[0]), point(roles_.places[i])))});
  if (roles_.places.empty() || roles_.entities.empty()) return;
  const Place& place = roles_.places.back();
  const std::string entity = entity_names_[0];
  const std::string latitude = fresh(entity + "_last_latitude"),
                    longitude = fresh(entity + "_last_longitude");
  feature(latitude, {aggregate("last", entity), fmt::format("input = {}", in_quotes(ref_of(place.latitude))),
                     "hidden = true"});
  feature(longitude, {aggregate("last", entity),
                      fmt::format("input = {}", in_quotes(ref_of(place.longitude))), "hidden = true"});
  feature(fresh(entity + "_moved_km"),
          {expression(fmt::format("distance_km({}, {}, {})", point(place), latitude, longitude))},
          "since its event before");
}

// What an entity meets that may be new to it: other entities first, then texts of few values.
std::vector<size_t> Writer::met_by(size_t e) const {
  constexpr size_t kInputsMax = 4, kDistinctMax = 200;
  std::vector<size_t> inputs;
  for (const bool entities : {true, false}) {
    for (size_t i = 0; i < profile_.columns.size() && inputs.size() < kInputsMax; ++i) {
      const Column& column = profile_.columns[i];
      const bool few = is_text(i) && column.distinct.size() >= 3 && column.distinct.size() <= kDistinctMax;
      if (i == roles_.entities[e] || is_entity(i) != entities || !(entities || few)) continue;
      if (roles_.id == i || i == roles_.label || column.all(column.dates) || roles_.attributes[e][i])
        continue;
      inputs.push_back(i);
    }
  }
  return inputs;
}

void Writer::novelty(size_t e, const std::string& entity) {
  for (const size_t i : met_by(e)) {
    const std::string name = slug(name_of(i));
    const std::string input = fmt::format("input = {}", in_quotes(ref_of(i)));
    feature(fresh(fmt::format("{}_new_{}", entity, name)), {aggregate("is_new", entity), input, longest()});
    feature(fresh(fmt::format("{}_{}_changed", entity, name)), {aggregate("changed", entity), input});
    feature(fresh(fmt::format("{}_{}_share", entity, name)),
            {aggregate("share_same", entity), input, longest()}, "of its events have this value");
    feature(fresh(fmt::format("{}_distinct_{}", entity, name)),
            {aggregate("distinct", entity), input, longest()});
  }
}

void Writer::of_entity(size_t e, const std::string& entity) {
  line("\n# Of each {}.", shown(name_of(roles_.entities[e])));
  feature(fresh(entity + "_count"), {aggregate("count", entity), windows()});
  feature(fresh(entity + "_pause"), {aggregate("time_since_last", entity), "transform = \"log\""},
          roles_.time ? "seconds since its event before" : "rows since its event before");
  if (roles_.amount) {
    const std::string input = fmt::format("input = {}", in_quotes(ref_of(*roles_.amount)));
    feature(fresh(entity + "_sum"), {aggregate("sum", entity), input, windows(), "transform = \"log\""});
    feature(fresh(entity + "_mean"), {aggregate("mean", entity), input, longest(), "transform = \"log\""});
    feature(fresh(entity + "_ratio"),
            {aggregate("ratio_to_mean", entity), input, longest(), "transform = \"log\""},
            "this amount / its mean");
    feature(fresh(entity + "_max"),
            {aggregate("max", entity), input, longest(), "include_current = false", "transform = \"log\""});
  }
  feature(fresh(entity + "_frauds"), {aggregate("label_count", entity), longest()}, "known by then");
  feature(fresh(entity + "_fraud_rate"), {aggregate("label_rate", entity), longest()});
  novelty(e, entity);
}

void Writer::derived() {
  times();
  differences();
  distances();
  for (size_t e = 0; e < roles_.entities.size(); ++e) of_entity(e, entity_names_[e]);
}

void Writer::raw_column(size_t c) {
  const Column& column = profile_.columns[c];
  const std::string input = fmt::format("input = {}", in_quotes(ref(column.name)));
  if (roles_.types[c] == Type::kBoolean) return feature(fresh(slug(column.name) + "_is"), {input});
  if (roles_.types[c] == Type::kNumber ||
      (roles_.types[c] == Type::kInteger && !is_entity(c) && column.distinct.size() > kCategoriesMax)) {
    const bool wide = std::max(std::fabs(column.minimum), std::fabs(column.maximum)) > 1000;
    return feature(fresh(slug(column.name) + (wide ? "_log" : "_value")),
                   {input, wide ? "transform = \"log\"" : ""});
  }
  const bool dates = column.all(column.dates) && roles_.time && roles_.origin_known;
  if (dates && !raw_) return;  // times() has it
  if (column.distinct.size() > kCategoriesMax || column.distinct.size() * 2 > column.present()) {
    line("\n# {} is no category: {} different values", shown(column.name), column.distinct.size());
    return;
  }
  feature(fresh(slug(column.name) + "_category"), {"aggregate = \"category\"", input});
}

void Writer::raw_columns() {
  line("\n# The file's columns as they are.");
  const size_t before = out_.size();
  for (size_t c = 0; c < profile_.columns.size(); ++c) {
    if (roles_.types[c] == Type::kLeftOut || c == roles_.label || roles_.id == c || roles_.time == c)
      continue;
    raw_column(c);
  }
  // A learner needs a column.
  if (raw_ && out_.find("[[features]]", before) == std::string::npos)
    feature(fresh("hour_of_day"), {expression(fmt::format("hour({})", time_ref()))});
}

void Writer::rest() {
  const double rate = static_cast<double>(roles_.frauds) / static_cast<double>(roles_.labelled);
  line("\n[learner]\nfamily = \"ensemble\"");
  line("\n[training]");
  line(
      "maturity = \"0s\"               # the file's labels count as known at once. For a server: the time "
      "within which");
  line(
      "                              # frauds are reported, such as \"7d\"; silence for as long means "
      "legitimate");
  line("prior = {:.6f}              # the share of frauds in the file; answered before there is a model",
       std::clamp(rate, 0.000001, 0.5));
}

}  // namespace

std::string draft(const Profile& profile, const Roles& roles, bool raw) {
  return Writer(profile, roles, raw).all();
}

}  // namespace shrike::tools::init
