#include "engine/diagnosis/inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/lifecycle/shifts.h"

namespace shrike::engine {
namespace {

// From here on a PSI is commonly called large, and a value's share a stuck one's.
constexpr double kShifted = 0.25, kMissing = 0.3, kCommon = 0.5;
// A change of one day is told only when the value is stuck.
constexpr int64_t kDaysMin = 2;

double share_missing(std::span<const float> values) {
  const auto missing = std::count_if(values.begin(), values.end(), [](float v) { return std::isnan(v); });
  return static_cast<double>(missing) / static_cast<double>(values.size());
}

double share_of(std::span<const float> values, float value) {
  return static_cast<double>(std::count(values.begin(), values.end(), value)) /
         static_cast<double>(values.size());
}

// The most frequent value; NaN where all are missing.
float mode(std::vector<float> values) {
  std::erase_if(values, [](float v) { return std::isnan(v); });
  std::sort(values.begin(), values.end());
  float best = std::nanf("");
  size_t most = 0;
  for (size_t from = 0; from < values.size();) {
    size_t to = from;
    while (to < values.size() && values[to] == values[from]) ++to;
    if (to - from > most) most = to - from, best = values[from];
    from = to;
  }
  return best;
}

// Monday is 0: 1970 began on a Thursday.
size_t weekday(int64_t day) { return static_cast<size_t>(((day + 3) % 7 + 7) % 7); }

// How a day stands to what is usual.
struct Shares {
  Pair missing{}, common{};
  float value = 0;  // the day's most frequent
  bool stuck() const { return missing[1] - missing[0] >= kMissing || common[1] - common[0] >= kCommon; }
};

Shares shares(std::span<const float> usual, const std::vector<float>& day) {
  Shares out;
  out.missing = {share_missing(usual), share_missing(day)};
  out.value = mode(day);
  out.common = {share_of(usual, out.value), share_of(day, out.value)};
  return out;
}

double by_chance(size_t first, size_t second) {
  return static_cast<double>(kDeciles) * (1 / static_cast<double>(first) + 1 / static_cast<double>(second));
}

}  // namespace

InputReader::InputReader(ConfigPtr config, Days reference, Days period, int64_t begun)
    : config_(std::move(config)),
      reference_(reference),
      period_(period),
      fields_of_(features::fields_of_columns(*config_->plan)),
      names_(config_),
      dropped_(config_->columns.size()) {
  for (const int64_t settles : settling_us(*config_->plan)) {
    const bool filled = begun == kNoDay || settles <= (reference.first - begun) * features::kDayUs;
    compared_.push_back(settles != kNever && filled);
  }
  find_hidden_fields();
}

// Keys of entities change with who comes: of them only what is stuck is told.
void InputReader::find_hidden_fields() {
  const features::Schema& schema = config_->schema();
  std::vector<bool> shown(schema.fields.size(), false), key(schema.fields.size(), false);
  shown[schema.id] = shown[schema.time] = true;
  for (size_t c = 0; c < config_->columns.size(); ++c) {
    const auto field = schema.find(describe(c).value_of);
    if (field) shown[*field] = true;
  }
  for (const features::EntityPlan& entity : config_->plan->entities) {
    for (const size_t field : entity.key_fields) key[field] = true;
  }
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    if (shown[f]) continue;
    fields_.push_back(f);
    compared_.push_back(!key[f]);
  }
}

learners::ColumnKind InputReader::kind(size_t subject) const {
  if (subject < config_->columns.size()) return config_->columns[subject].kind;
  const features::Field& field = config_->schema().fields[fields_[subject - config_->columns.size()]];
  return field.type == features::FieldType::kText ? learners::ColumnKind::kCategorical
                                                  : learners::ColumnKind::kNumeric;
}

void InputReader::see(const TransactionEvent& event) {
  const int64_t day = day_of(event.transaction.time_us);
  if (event.answer.clock != Clock::kOnTime || (!reference_.has(day) && !period_.has(day))) return;
  Day& at = days_.try_emplace(day, width()).first->second;
  ++at.transactions;
  row_.assign(event.row.begin(), event.row.end());
  for (const size_t field : fields_) {
    const features::Value& value = event.transaction.values[field];
    const bool is_text = config_->schema().fields[field].type == features::FieldType::kText;
    row_.push_back(!value.present ? std::nanf("")
                   : is_text      ? static_cast<float>(features::mix(features::key_of(value.text)) >> 40)
                                  : static_cast<float>(value.fixed));
  }
  at.sample.add(event.transaction.id, row_, champions_score(event.answer));
}

void InputReader::dropped(const std::string& target, int64_t day) {
  const auto columns = names_.columns_of(target);
  if (!columns) return;
  for (const size_t c : *columns) {
    if (dropped_[c].empty() || dropped_[c].back().last != INT64_MAX) dropped_[c].push_back({day, INT64_MAX});
  }
}

void InputReader::restored(const std::string& target, int64_t day) {
  const auto columns = names_.columns_of(target);
  if (!columns) return;
  for (const size_t c : *columns) {
    if (dropped_[c].empty()) dropped_[c].push_back({INT64_MIN, day});  // it was before what is read
    dropped_[c].back().last = std::min(dropped_[c].back().last, day);
  }
}

bool InputReader::was_dropped(size_t column, int64_t day) const {
  return column < dropped_.size() && std::any_of(dropped_[column].begin(), dropped_[column].end(),
                                                 [&](const Days& days) { return days.has(day); });
}

std::vector<float> InputReader::values(int64_t day, size_t column) const {
  const auto found = days_.find(day);
  std::vector<float> values;
  if (found == days_.end() || was_dropped(column, day)) return values;
  const std::span<const float> all = found->second.sample.values();
  for (size_t at = column; at < all.size(); at += width()) values.push_back(all[at]);
  return values;
}

// Days of the reference, the newest first, but those on which the column was stuck beside all of them: an
// earlier fault is not what is usual.
std::vector<int64_t> InputReader::usual_days(size_t column) const {
  std::vector<float> all;
  for (int64_t day = reference_.first; day <= reference_.last; ++day) {
    const std::vector<float> one = values(day, column);
    all.insert(all.end(), one.begin(), one.end());
  }
  std::vector<int64_t> usual;
  for (int64_t day = reference_.last; day >= reference_.first; --day) {
    const std::vector<float> one = values(day, column);
    if (!one.empty() && !shares(all, one).stuck()) usual.push_back(day);
  }
  return usual;
}

InputReader::Weekdays InputReader::reference_of(size_t column) const {
  Weekdays by_weekday;
  for (const int64_t day : usual_days(column)) {
    std::vector<float>& into = by_weekday[weekday(day)];
    if (into.size() >= kReferenceRows) continue;
    const std::vector<float> more = values(day, column);
    into.insert(into.end(), more.begin(), more.end());
  }
  return by_weekday;
}

ColumnChange InputReader::describe(size_t column) const {
  ColumnChange change;
  const features::Schema& schema = config_->schema();
  if (column >= config_->columns.size()) {
    change.value_of = schema.fields[fields_[column - config_->columns.size()]].name;
    change.column = std::string(kFieldPrefix) + change.value_of;
    change.fields = {change.value_of};
    return change;
  }
  change.column = config_->columns[column].name;
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    if (fields_of_[column] >> f & 1) change.fields.push_back(schema.fields[f].name);
  }
  for (const features::Feature& feature : config_->plan->features) {
    if (feature.output == static_cast<int16_t>(column) && feature.field >= 0)
      change.value_of = schema.fields[static_cast<size_t>(feature.field)].name;
  }
  return change;
}

std::optional<ColumnChange> InputReader::change_of(size_t column, bool compared, size_t& days) const {
  const Weekdays reference = reference_of(column);
  ColumnChange change = describe(column);
  double worst = 0;
  for (int64_t day = period_.first; day <= period_.last; ++day) {
    const std::vector<float> now = values(day, column);
    const std::vector<float>& before = reference[weekday(day)];
    if (now.size() < kRowsMin || before.size() < kRowsMin) continue;
    ++days;
    const Shares at = shares(before, now);
    const auto& [missing, common, value] = at;
    const bool stuck = at.stuck();
    double psi = 0;
    if (compared) {
      psi = population_stability(before, now, kind(column));
      psi = std::max(0.0, psi - by_chance(before.size(), now.size()));
    }
    if (!stuck && psi < kShifted) continue;
    if (change.first_day == kNoDay) change.first_day = day;
    change.last_day = day;
    ++change.days;
    const double strength = std::max({psi, 2 * (missing[1] - missing[0]), 2 * (common[1] - common[0])});
    change.psi = std::max(change.psi, psi);
    change.stuck |= stuck;
    if (strength <= worst) continue;
    worst = strength;
    change.missing = missing, change.common = common, change.common_value = value;
  }
  if (change.days == 0 || (!change.stuck && change.days < kDaysMin)) return std::nullopt;
  return change;
}

tl::expected<InputEvidence, std::string> InputReader::changes() const {
  InputEvidence evidence;
  evidence.columns = config_->columns.size();
  size_t days = 0;
  for (size_t c = 0; c < subjects(); ++c) {
    if (c < evidence.columns) evidence.compared += compared_[c];
    if (auto change = change_of(c, compared_[c], days)) evidence.changed.push_back(std::move(*change));
  }
  if (days == 0)
    return tl::make_unexpected(fmt::format(
        "no day of the period has a weekday like it in the reference ({} to {}), both with at least {} "
        "transactions; say --from and --to so that a week lies before them",
        day_name(reference_.first), day_name(reference_.last), kRowsMin));
  std::stable_sort(evidence.changed.begin(), evidence.changed.end(), [](const auto& a, const auto& b) {
    return std::pair(a.stuck, a.psi) > std::pair(b.stuck, b.psi);
  });
  for (const features::Field& field : config_->schema().fields) evidence.fields.push_back(field.name);
  Pair transactions{}, counted{};
  for (const auto& [day, at] : days_) {
    const size_t side = period_.has(day) ? 1 : 0;
    transactions[side] += static_cast<double>(at.transactions);
    ++counted[side];
  }
  for (size_t side : {0, 1})
    evidence.a_day[side] = counted[side] > 0 ? transactions[side] / counted[side] : 0;
  return evidence;
}

std::vector<float> InputReader::rows(Days days, size_t rows_max) const {
  std::vector<float> rows;
  const size_t a_day =
      std::max<size_t>(rows_max / static_cast<size_t>(std::max<int64_t>(days.count(), 1)), 1);
  for (int64_t day = days.first; day <= days.last; ++day) {
    const auto found = days_.find(day);
    if (found == days_.end()) continue;
    const std::span<const float> all = found->second.sample.values();
    for (size_t r = 0; r < std::min(a_day, found->second.sample.rows()); ++r) {
      const auto row = all.subspan(r * width(), config_->columns.size());
      rows.insert(rows.end(), row.begin(), row.end());
    }
  }
  return rows;
}

}  // namespace shrike::engine
