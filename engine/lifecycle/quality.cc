#include "engine/lifecycle/quality.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <limits>

#include <nlohmann/json.hpp>

#include "engine/lifecycle/numbers.h"
#include "engine/lifecycle/shifts.pb.h"
#include "learners/numeric/numeric.h"

namespace shrike::engine {
namespace {

using features::Field;
using features::FieldType;
using learners::ColumnKind;

constexpr uint32_t kVersion = 1;
enum : size_t { kMissing, kTypes, kRanges, kDoubles, kShift, kFreshness, kCategories };
constexpr std::array<std::string_view, Quality::kChecks> kNames = {
    "missing", "types", "ranges", "duplicates", "shift", "freshness", "categories"};
constexpr std::array<double, Quality::kChecks> kWeights = {3, 3, 2, 1, 1, 2, 1};
// A check warns above this part of its limit. It comes back from a grade only below half of what leads there.
constexpr double kWarnPart = 0.4, kBackPart = 0.5;

constexpr size_t kSampleRows = 10'000, kReferenceRows = 2'000;
constexpr size_t kRecent = 1 << 16;     // transactions among which a double is found
constexpr size_t kBloomBits = 1 << 16;  // up to about 20,000 categories are told apart
constexpr int64_t kGapFactor = 3;       // longer than the longest usual silence of the hour

std::vector<ColumnKind> kinds_of(const Config& config, bool with_rows, auto&& each) {
  std::vector<ColumnKind> kinds;
  const features::Schema& schema = config.schema();
  std::vector<std::string> names;
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    const Field& field = schema.fields[f];
    bool of_entity = f == schema.id || f == schema.time;
    for (const features::EntityKind& entity : schema.entities)
      of_entity |= std::find(entity.fields.begin(), entity.fields.end(), f) != entity.fields.end();
    // Integers are identities, and those of entities come and go.
    if (of_entity || field.type == FieldType::kInteger || field.type == FieldType::kTime) continue;
    kinds.push_back(field.type == FieldType::kText ? ColumnKind::kCategorical : ColumnKind::kNumeric);
    names.push_back(field.name);
    each(field.name, true, f, int64_t{0});
  }
  if (!with_rows) return kinds;
  const std::vector<int64_t> settles = settling_us(*config.plan);
  for (size_t c = 0; c < config.columns.size(); ++c) {
    const learners::Column& column = config.columns[c];
    if (std::find(names.begin(), names.end(), column.name) != names.end()) continue;
    kinds.push_back(column.kind);
    each(column.name, false, c, settles[c]);
  }
  return kinds;
}

// Two bits of a category in a Bloom filter.
struct Probe {
  explicit Probe(float category) {
    const uint64_t dice = learners::mix(static_cast<uint64_t>(static_cast<int64_t>(category)));
    first = dice % kBloomBits;
    second = (dice >> 32) % kBloomBits;
  }
  bool in(const std::vector<uint64_t>& bloom) const {
    return (bloom[first / 64] >> (first % 64) & bloom[second / 64] >> (second % 64) & 1) != 0;
  }
  void put(std::vector<uint64_t>& bloom) const {
    bloom[first / 64] |= uint64_t{1} << (first % 64);
    bloom[second / 64] |= uint64_t{1} << (second % 64);
  }
  size_t first, second;
};

// So full that it takes too many for seen: their number has no end.
bool full(const std::vector<uint64_t>& bloom) {
  size_t bits = 0;
  for (const uint64_t word : bloom) bits += static_cast<size_t>(std::popcount(word));
  return bits > kBloomBits / 2;
}

size_t hour_of(int64_t time_us) {
  return static_cast<size_t>((time_us - start_of_day(time_us)) / features::kHourUs);
}

std::string bytes_of(const std::vector<uint64_t>& words) {
  return {reinterpret_cast<const char*>(words.data()), words.size() * sizeof(uint64_t)};
}

}  // namespace

std::string_view name(Grade grade) {
  constexpr std::string_view kGrades[] = {"PASS", "WARN", "FAIL"};
  return kGrades[static_cast<size_t>(grade)];
}

Quality::Quality(ConfigPtr config, bool with_rows)
    : config_(std::move(config)),
      file_(!with_rows),
      shifts_(kinds_of(*config_, with_rows,
                       [this](const std::string& name, bool of_field, size_t at, int64_t settles_us) {
                         sources_.push_back({name, of_field, at, settles_us});
                       }),
              {.sample = kSampleRows,
               .rows = kReferenceRows,
               .span_us = config_->quality.reference_us,
               .window_us = 0,
               .window_rows = 1}),
      row_(sources_.size()),
      ready_(sources_.size(), false),
      bad_(config_->schema().fields.size()),
      recent_(kRecent, 0) {
  const std::vector<ColumnKind> kinds = kinds_of(*config_, with_rows, [](const auto&...) {});
  for (size_t s = 0; s < kinds.size(); ++s) {
    if (kinds[s] != ColumnKind::kCategorical) continue;
    categories_.push_back({s, 0, 1, std::vector<uint64_t>(kBloomBits / 64), {}});
    categories_.back().new_ = categories_.back().known;
  }
  const QualityConfig& limits = config_->quality;
  const std::array<double, kChecks> limit = {
      limits.missing, limits.unreadable, limits.outside, limits.duplicates, limits.shift, 1, limits.unseen};
  for (size_t c = 0; c < kChecks; ++c) {
    checks_[c].name = kNames[c];
    checks_[c].limit = limit[c];
  }
}

void Quality::arrived(const Arrived& arrived) {
  ++rows_;
  const Transaction& transaction = arrived.transaction;
  for (size_t f = 0; f < bad_.size(); ++f)
    bad_[f][static_cast<size_t>(Bad::kMissing)] += !transaction.values[f].present;
  if (is_double(transaction)) ++doubles_;
  if (arrived.clock != Clock::kOnTime) return;
  if (begun_us_ == INT64_MIN) {
    begun_us_ = transaction.time_us;
    shifts_.renew();
  }
  listen(transaction.time_us);
  fill_row(transaction, arrived.row);
  // The first transaction of a day closes the day before, which must not learn its categories.
  if (transaction.time_us < day_end_us_) {
    note_categories();
  } else {
    day_end_us_ = start_of_day(transaction.time_us) + features::kDayUs;
  }
  shifts_.add(learners::mix(features::mix(transaction.id)), transaction.time_us, row_);
}

void Quality::fill_row(const Transaction& transaction, std::span<const float> features) {
  const features::Schema& schema = config_->schema();
  for (size_t s = 0; s < sources_.size(); ++s) {
    const Source& source = sources_[s];
    if (!source.of_field) {
      row_[s] = features[source.at];
    } else if (schema.fields[source.at].type == FieldType::kText) {
      const features::Value& value = transaction.values[source.at];
      row_[s] = value.present
                    ? static_cast<float>(features::key_of(value.text).low % learners::kCategoriesMax)
                    : std::numeric_limits<float>::quiet_NaN();
    } else {
      row_[s] = static_cast<float>(features::number(schema, transaction, source.at));
    }
  }
}

// Whether one of the newest had the same values, but for the id.
bool Quality::is_double(const Transaction& transaction) {
  const size_t id = config_->schema().id;
  uint64_t hash = 0;
  for (size_t f = 0; f < transaction.values.size(); ++f) {
    if (f == id) continue;
    const features::Value& value = transaction.values[f];
    const uint64_t of_value =
        value.text.empty() ? static_cast<uint64_t>(value.fixed) : features::key_of(value.text).low;
    hash = learners::mix(hash ^ of_value ^ (value.present ? 0 : ~uint64_t{0}));
  }
  uint32_t& slot = recent_[hash % kRecent];
  const auto fingerprint = static_cast<uint32_t>(hash >> 32);
  if (slot == fingerprint) return true;
  slot = fingerprint;
  return false;
}

// Only long gaps are worth an hour's look: what is shorter than a third of quality.silence fails nowhere.
void Quality::listen(int64_t time_us) {
  const int64_t gap_us = last_us_ == INT64_MIN ? 0 : time_us - last_us_;
  if (gap_us > config_->quality.silence_us / kGapFactor) {
    const size_t hour = hour_of(last_us_);
    next_gap_us_[hour] = std::max(next_gap_us_[hour], gap_us);
    const int64_t usual_us =
        std::max({usual_gap_us_[(hour + 23) % 24], usual_gap_us_[hour], usual_gap_us_[(hour + 1) % 24]});
    const int64_t limit_us = std::max(config_->quality.silence_us, kGapFactor * usual_us);
    if (static_cast<double>(gap_us) * static_cast<double>(std::max<int64_t>(worst_limit_us_, 1)) >
        static_cast<double>(worst_gap_us_) * static_cast<double>(limit_us)) {
      worst_gap_us_ = gap_us;
      worst_gap_at_us_ = last_us_;
      worst_limit_us_ = limit_us;
    }
  }
  last_us_ = std::max(last_us_, time_us);
}

void Quality::note_categories() {
  for (Categories& of : categories_) {
    const float category = row_[of.column];
    if (std::isnan(category)) continue;
    const Probe probe(category);
    if (probe.in(of.known)) continue;
    ++of.unseen;
    probe.put(of.new_);
  }
}

void Quality::bad(size_t field, Bad what) { ++bad_[field][static_cast<size_t>(what)]; }

void Quality::repeated() {
  ++rows_;
  ++doubles_;
}

void Quality::close(const Period& period, std::vector<JudgementEvent>& found) {
  if (!period.new_day || begun_us_ == INT64_MIN || !end_day(start_of_day(period.moment.now_us))) return;
  if (grade_ == told_) return;
  JudgementEvent& event = found.emplace_back();
  event.values = {score(), static_cast<double>(grade_)};
  std::string troubles;
  nlohmann::json checks = nlohmann::json::array();
  for (const Check& check : checks_) {
    if (check.grade == Grade::kPass) continue;
    troubles += fmt::format("{}{}", troubles.empty() ? "" : "; ", check.message);
    checks.push_back({{"check", check.name},
                      {"verdict", engine::name(check.grade)},
                      {"subject", check.subject},
                      {"value", short_number(check.value)},
                      {"limit", check.limit},
                      {"message", check.message}});
  }
  event.evidence = nlohmann::json({{"score", short_number(score())}, {"checks", std::move(checks)}}).dump();
  const bool fails = grade_ == Grade::kFail;
  event.finding = fails                    ? Finding::kFailed
                  : grade_ == Grade::kWarn ? Finding::kInconclusive
                                           : Finding::kSuccessful;
  event.severity = fails                    ? Severity::kCritical
                   : grade_ == Grade::kWarn ? Severity::kWarning
                                            : Severity::kInfo;
  event.text = grade_ == Grade::kPass ? "the data are again what they should be"
                                      : fmt::format("{}: {}", engine::name(grade_), troubles);
  if (fails && config_->quality.fail_stops_training) {
    event.action = Action::kHoldTraining;
    holding_ = true;
  } else if (!fails && holding_) {
    event.action = Action::kGoOnTraining;
    holding_ = false;
  } else if (grade_ == Grade::kPass) {
    event.action = Action::kResolve;
  }
  told_ = grade_;
}

// What a person, or another monitor, let go on is not held by us any more.
void Quality::judged(const JudgementEvent& event) {
  if (event.action == Action::kGoOnTraining && event.monitor != name()) holding_ = false;
}

bool Quality::end_day(int64_t now_us, bool all_there_is) {
  if (rows_ == 0 || (rows_ < config_->quality.rows && !all_there_is)) return false;
  std::vector<Shifts::Shift> shifts;
  const bool compared = shifts_.window_complete(now_us);
  for (size_t s = 0; compared && s < sources_.size(); ++s) shifts.push_back(shifts_.compare(s));
  judge_missing(shifts);
  judge_fields(shifts);
  judge_shift(shifts);
  judge_silence();
  judge_categories();
  grade_ = Grade::kPass;
  for (const Check& check : checks_) grade_ = std::max(grade_, check.grade);
  learn_usual(now_us);
  clear_day();
  return true;
}

void Quality::judge_missing(std::span<const Shifts::Shift> shifts) {
  // Beyond what is usual, and what chance may add.
  const auto surplus = [](const Shifts::Shift& shift) {
    return shift.missing[1] - shift.missing[0] - 3 * shift.missing_error;
  };
  Check& check = checks_[kMissing];
  worst(check, 0, "");
  const auto rows = static_cast<double>(rows_);
  const features::Schema& schema = config_->schema();
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    const double share = static_cast<double>(bad_[f][static_cast<size_t>(Bad::kMissing)]) / rows;
    const auto source = std::find_if(sources_.begin(), sources_.end(),
                                     [&](const Source& s) { return s.of_field && s.at == f; });
    // Of what may be missing only the surplus counts. While that is not known, the most it does is to warn,
    // and that of a file alone: a stream will know.
    if (!schema.fields[f].optional) {
      worst(check, share, schema.fields[f].name);
    } else if (source != sources_.end() && !shifts.empty()) {
      worst(check, surplus(shifts[static_cast<size_t>(source - sources_.begin())]), schema.fields[f].name);
    } else if (file_) {
      worst(check, std::min(share, check.limit), schema.fields[f].name);
    }
  }
  for (size_t s = 0; s < shifts.size(); ++s) {
    if (ready_[s] && !sources_[s].of_field) worst(check, surplus(shifts[s]), sources_[s].name);
  }
  settle(check, check.subject.empty()
                    ? "nothing is missing that should be there"
                    : fmt::format("{} is missing in {:.2f} % of transactions more than it may", check.subject,
                                  100 * check.value));
}

void Quality::judge_fields(std::span<const Shifts::Shift> shifts) {
  const auto rows = static_cast<double>(rows_);
  const features::Schema& schema = config_->schema();
  Check& types = checks_[kTypes];
  Check& ranges = checks_[kRanges];
  worst(types, 0, "");
  worst(ranges, 0, "");
  for (size_t f = 0; f < schema.fields.size(); ++f) {
    const std::string& field = schema.fields[f].name;
    worst(types, static_cast<double>(bad_[f][static_cast<size_t>(Bad::kUnreadable)]) / rows, field);
    worst(ranges, static_cast<double>(bad_[f][static_cast<size_t>(Bad::kOutOfRange)]) / rows, field);
  }
  for (size_t s = 0; s < shifts.size(); ++s) {
    if (ready_[s]) worst(ranges, shifts[s].outside, sources_[s].name);
  }
  settle(types, types.subject.empty() ? "every value could be read"
                                      : fmt::format("{} cannot be read in {:.2f} % of transactions",
                                                    types.subject, 100 * types.value));
  settle(ranges, ranges.subject.empty() ? "values are within their ranges"
                                        : fmt::format("{} is beyond its range in {:.2f} % of transactions",
                                                      ranges.subject, 100 * ranges.value));
  Check& doubles = checks_[kDoubles];
  worst(doubles, 0, "");
  const double share = static_cast<double>(doubles_) / rows;
  worst(doubles, share - usual_doubles_, "");
  settle(doubles, fmt::format("{:.2f} % of transactions are another's double, {:.2f} % is usual", 100 * share,
                              100 * usual_doubles_));
}

void Quality::judge_shift(std::span<const Shifts::Shift> shifts) {
  Check& check = checks_[kShift];
  worst(check, 0, "");
  check.judged = false;
  size_t many = 0;
  for (size_t s = 0; s < shifts.size(); ++s) {
    if (!ready_[s]) continue;
    worst(check, shifts[s].surplus, sources_[s].name);
    many += shifts[s].surplus > kWarnPart * check.limit;
  }
  if (!check.judged) return settle(check, "there is no reference yet");
  settle(check, many == 0 ? "columns are distributed as is usual"
                          : fmt::format("{} is distributed otherwise than is usual ({:.3g}), and {} more",
                                        check.subject, check.value, many - 1));
}

void Quality::judge_silence() {
  Check& check = checks_[kFreshness];
  worst(check, 0, "");
  check.judged = shifts_.has_reference();
  if (!check.judged) return settle(check, "there is no reference yet");
  if (worst_limit_us_ > 0)
    worst(check, static_cast<double>(worst_gap_us_) / static_cast<double>(worst_limit_us_), "");
  settle(check,
         fmt::format("the longest silence was {:.2g} h, where {:.2g} h are allowed",
                     static_cast<double>(worst_gap_us_) / 3.6e9,
                     static_cast<double>(std::max(worst_limit_us_, config_->quality.silence_us)) / 3.6e9));
}

void Quality::judge_categories() {
  Check& check = checks_[kCategories];
  worst(check, 0, "");
  check.judged = false;
  for (const Categories& of : categories_) {
    if (shifts_.has_reference() && !full(of.known))
      worst(check, static_cast<double>(of.unseen) / static_cast<double>(rows_) - of.usual,
            sources_[of.column].name);
  }
  settle(check, !check.judged           ? "there is nothing to judge by"
                : check.subject.empty() ? "no more new categories than is usual"
                                        : fmt::format("{:.2f} % of transactions more than is usual have a {} "
                                                      "that was never seen",
                                                      100 * check.value, check.subject));
}

// The first call begins a check anew.
void Quality::worst(Check& check, double value, std::string subject) {
  if (subject.empty() && value == 0) {
    check.value = 0;
    check.subject.clear();
  } else if (value > check.value) {
    check.value = value;
    check.subject = std::move(subject);
  }
  check.judged = true;
}

void Quality::settle(Check& check, std::string message) {
  const auto above = [&](double limit, Grade grade) {
    return check.value > limit * (check.grade >= grade ? kBackPart : 1);
  };
  check.message = std::move(message);
  check.grade = !check.judged                                  ? Grade::kPass
                : above(check.limit, Grade::kFail)             ? Grade::kFail
                : above(check.limit * kWarnPart, Grade::kWarn) ? Grade::kWarn
                                                               : Grade::kPass;
}

double Quality::score() const {
  double passed = 0, all = 0;
  for (size_t c = 0; c < kChecks; ++c) {
    if (!checks_[c].judged) continue;
    all += kWeights[c];
    passed += kWeights[c] * (2 - static_cast<double>(checks_[c].grade)) / 2;
  }
  return all > 0 ? passed / all : 1;
}

void Quality::learn_usual(int64_t now_us) {
  if (shifts_.gathering()) {
    gathered_rows_ += rows_;
    gathered_doubles_ += doubles_;
    shifts_.renew();  // and another one when this is complete
  }
  // A day that failed is not what is usual, unless it goes on.
  failed_days_ = grade_ == Grade::kFail ? failed_days_ + 1 : 0;
  if (failed_days_ > 0 && failed_days_ * features::kDayUs <= config_->quality.reference_us &&
      shifts_.gathering()) {
    shifts_.gather_anew(now_us);
    if (shifts_.has_reference()) shifts_.clear_window(now_us);
    gathered_rows_ = gathered_doubles_ = 0;
    next_gap_us_ = {};
    return;
  }
  const bool began = !shifts_.gathering();
  if (shifts_.has_reference()) shifts_.clear_window(now_us);
  if (!shifts_.take_reference(now_us)) {
    if (began) {
      gathered_rows_ = gathered_doubles_ = 0;
      next_gap_us_ = {};
    }
    return;
  }
  for (size_t s = 0; s < sources_.size(); ++s) {
    const int64_t settles_us = sources_[s].settles_us;
    ready_[s] = settles_us != kNever && shifts_.reference_from_us() - begun_us_ >= settles_us;
  }
  if (checks_[kDoubles].grade != Grade::kFail && gathered_rows_ > 0)
    usual_doubles_ = static_cast<double>(gathered_doubles_) / static_cast<double>(gathered_rows_);
  if (checks_[kCategories].grade != Grade::kFail) {
    for (Categories& of : categories_) of.usual = static_cast<double>(of.unseen) / static_cast<double>(rows_);
  }
  if (checks_[kFreshness].grade != Grade::kFail) usual_gap_us_ = next_gap_us_;
  gathered_rows_ = gathered_doubles_ = 0;
  next_gap_us_ = {};
}

void Quality::clear_day() {
  rows_ = doubles_ = 0;
  bad_.assign(bad_.size(), {});
  worst_gap_us_ = worst_gap_at_us_ = worst_limit_us_ = 0;
  for (Categories& of : categories_) {
    for (size_t w = 0; w < of.known.size(); ++w) of.known[w] |= of.new_[w];
    std::fill(of.new_.begin(), of.new_.end(), 0);
    of.unseen = 0;
  }
}

nlohmann::json Quality::report() const {
  nlohmann::json checks = nlohmann::json::array();
  for (const Check& check : checks_) {
    checks.push_back({{"check", check.name},
                      {"verdict", check.judged ? nlohmann::json(engine::name(check.grade)) : nullptr},
                      {"subject", check.subject},
                      {"value", short_number(check.value)},
                      {"limit", check.limit},
                      {"message", check.message}});
  }
  return {{"verdict", engine::name(grade_)},
          {"score", short_number(score())},
          {"holds_training", holding_},
          {"checks", std::move(checks)}};
}

std::string Quality::save() const {
  proto::QualityRecord record;
  record.set_version(kVersion);
  record.set_begun_us(begun_us_);
  shifts_.save(*record.mutable_shifts());
  record.mutable_ready()->Add(ready_.begin(), ready_.end());
  record.set_rows(rows_);
  record.set_duplicates(doubles_);
  for (const auto& of_field : bad_) record.mutable_bad()->Add(of_field.begin(), of_field.end());
  for (const Categories& of : categories_) {
    proto::CategoriesRecord& saved = *record.add_categories();
    saved.set_unseen(of.unseen);
    saved.set_usual(of.usual);
    saved.set_known(bytes_of(of.known));
    saved.set_fresh(bytes_of(of.new_));
  }
  record.set_worst_gap_us(worst_gap_us_);
  record.set_worst_gap_at_us(worst_gap_at_us_);
  record.set_worst_limit_us(worst_limit_us_);
  record.mutable_recent()->Add(recent_.begin(), recent_.end());
  record.set_usual_duplicates(usual_doubles_);
  record.set_gathered_rows(gathered_rows_);
  record.set_gathered_duplicates(gathered_doubles_);
  record.set_last_us(last_us_);
  record.mutable_usual_gap_us()->Add(usual_gap_us_.begin(), usual_gap_us_.end());
  record.mutable_next_gap_us()->Add(next_gap_us_.begin(), next_gap_us_.end());
  for (const Check& check : checks_) {
    proto::CheckRecord& saved = *record.add_checks();
    saved.set_grade(static_cast<uint32_t>(check.grade));
    saved.set_judged(check.judged);
    saved.set_value(check.value);
    saved.set_subject(check.subject);
    saved.set_message(check.message);
  }
  record.set_grade(static_cast<uint32_t>(grade_));
  record.set_told(static_cast<uint32_t>(told_));
  record.set_holding(holding_);
  record.set_failed_days(failed_days_);
  record.set_day_end_us(day_end_us_);
  return record.SerializeAsString();
}

tl::expected<void, std::string> Quality::restore(std::string_view bytes) {
  const auto damaged = tl::make_unexpected(std::string("its state is damaged"));
  proto::QualityRecord record;
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return damaged;
  if (record.version() > kVersion) {
    return tl::make_unexpected(
        fmt::format("its state has version {}; this Shrike reads up to {}", record.version(), kVersion));
  }
  constexpr uint32_t kGradesMax = static_cast<uint32_t>(Grade::kFail);
  const auto sized = [](const auto& saved, size_t size) { return static_cast<size_t>(saved.size()) == size; };
  if (!sized(record.ready(), ready_.size()) || !sized(record.bad(), bad_.size() * 3) ||
      !sized(record.categories(), categories_.size()) || !sized(record.recent(), recent_.size()) ||
      !sized(record.usual_gap_us(), 24) || !sized(record.next_gap_us(), 24) ||
      !sized(record.checks(), kChecks) || record.grade() > kGradesMax || record.told() > kGradesMax ||
      !shifts_.restore(record.shifts()))
    return damaged;
  for (size_t k = 0; k < categories_.size(); ++k) {
    const proto::CategoriesRecord& saved = record.categories(static_cast<int>(k));
    if (saved.known().size() != kBloomBits / 8 || saved.fresh().size() != kBloomBits / 8) return damaged;
    Categories& of = categories_[k];
    of.unseen = saved.unseen();
    of.usual = saved.usual();
    std::copy_n(saved.known().data(), kBloomBits / 8, reinterpret_cast<char*>(of.known.data()));
    std::copy_n(saved.fresh().data(), kBloomBits / 8, reinterpret_cast<char*>(of.new_.data()));
  }
  for (size_t c = 0; c < kChecks; ++c) {
    const proto::CheckRecord& saved = record.checks(static_cast<int>(c));
    if (saved.grade() > kGradesMax) return damaged;
    checks_[c].grade = static_cast<Grade>(saved.grade());
    checks_[c].judged = saved.judged();
    checks_[c].value = saved.value();
    checks_[c].subject = saved.subject();
    checks_[c].message = saved.message();
  }
  begun_us_ = record.begun_us();
  ready_.assign(record.ready().begin(), record.ready().end());
  rows_ = record.rows();
  doubles_ = record.duplicates();
  for (size_t i = 0; i < bad_.size() * 3; ++i) bad_[i / 3][i % 3] = record.bad(static_cast<int>(i));
  worst_gap_us_ = record.worst_gap_us();
  worst_gap_at_us_ = record.worst_gap_at_us();
  worst_limit_us_ = record.worst_limit_us();
  recent_.assign(record.recent().begin(), record.recent().end());
  usual_doubles_ = record.usual_duplicates();
  gathered_rows_ = record.gathered_rows();
  gathered_doubles_ = record.gathered_duplicates();
  last_us_ = record.last_us();
  std::copy(record.usual_gap_us().begin(), record.usual_gap_us().end(), usual_gap_us_.begin());
  std::copy(record.next_gap_us().begin(), record.next_gap_us().end(), next_gap_us_.begin());
  grade_ = static_cast<Grade>(record.grade());
  told_ = static_cast<Grade>(record.told());
  holding_ = record.holding();
  failed_days_ = record.failed_days();
  day_end_us_ = record.day_end_us();
  return {};
}

}  // namespace shrike::engine
