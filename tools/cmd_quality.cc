// shrike quality
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "engine/lifecycle/numbers.h"
#include "engine/lifecycle/quality.h"
#include "engine/replay/csv_columns.h"
#include "engine/replay/csv_records.h"
#include "features/key.h"
#include "tools/commands.h"
#include "tools/json.h"

namespace shrike::tools {
namespace {

using engine::CsvRecords;
using engine::Grade;
using engine::Quality;

// A check on the day on which it was worst.
struct Worst {
  Quality::Check check;
  int day = 0, failed_days = 0;
};

// Judges a file day by day, as the monitor judges live traffic.
class FileQuality {
 public:
  FileQuality(const engine::ConfigPtr& config, CsvRecords& records, const engine::Columns& columns)
      : config_(config), records_(records), columns_(columns), quality_(config, false) {}

  tl::expected<void, std::string> run() {
    for (CsvRecords::Read read; (read = records_.next()) != CsvRecords::Read::kEnd;) {
      if (read == CsvRecords::Read::kBroken) return tl::make_unexpected(records_.error());
      ++rows_;
      if (read == CsvRecords::Read::kBad) {
        ++broken_records_;
        bad_row(records_.error());
      } else {
        take();
      }
    }
    end_day(newest_us_, true);
    return {};
  }

  Grade grade() const {
    Grade all = Grade::kPass;
    for (const Worst& one : worst_) all = std::max(all, one.check.grade);
    return all;
  }
  // The least of all days.
  double score() const { return score_; }
  const std::array<Worst, Quality::kChecks>& worst() const { return worst_; }
  uint64_t rows() const { return rows_; }
  uint64_t bad_rows() const { return bad_rows_; }
  uint64_t broken_records() const { return broken_records_; }
  int days() const { return days_; }
  const std::vector<std::string>& examples() const { return examples_; }

 private:
  void bad_row(const std::string& why) {
    ++bad_rows_;
    quality_.bad_row();
    if (examples_.size() < 10) examples_.push_back(why);
  }

  void take() {
    const features::Schema& schema = config_->schema();
    transaction_.reset(schema);
    std::string why;
    for (size_t f = 0; f < schema.fields.size(); ++f) {
      const int column = columns_.column[f];
      const std::string_view cell = column < 0 ? "" : records_.cells()[static_cast<size_t>(column)];
      if (cell.empty()) {
        if (schema.fields[f].optional) continue;
        quality_.bad(f, Quality::Bad::kMissing);
        if (why.empty()) why = fmt::format("{}: missing", schema.fields[f].name);
        continue;
      }
      const auto set = features::set_from_text(schema, f, cell, transaction_);
      if (set) continue;
      quality_.bad(f,
                   readable(schema.fields[f], cell) ? Quality::Bad::kOutOfRange : Quality::Bad::kUnreadable);
      if (why.empty()) why = fmt::format("{}: {}", set.error().field, set.error().reason);
    }
    if (why.empty()) {
      if (const auto done = features::finish(schema, transaction_); !done)
        why = fmt::format("{}: {}", done.error().field, done.error().reason);
    }
    if (!why.empty()) return bad_row(fmt::format("{}:{}: {}", records_.name(), records_.line(), why));
    const int64_t time_us = transaction_.time_us;
    if (newest_us_ != INT64_MIN && engine::start_of_day(time_us) > engine::start_of_day(newest_us_))
      end_day(engine::start_of_day(time_us), false);
    const bool late = newest_us_ != INT64_MIN && time_us < newest_us_ - config_->limits.lateness_us;
    newest_us_ = std::max(newest_us_, time_us);
    if (seen_.find(transaction_.id) != features::KeyIndex::kNone) return quality_.repeated();
    seen_.insert(transaction_.id, 0);
    quality_.arrived({rows_, transaction_, {}, late ? engine::Clock::kLate : engine::Clock::kOnTime});
  }

  // Whether it is of the field's kind, if not in its range.
  static bool readable(const features::Field& field, std::string_view cell) {
    if (field.type != features::FieldType::kNumber && field.type != features::FieldType::kInteger)
      return false;
    double value = 0;
    const auto [at, ec] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    return ec == std::errc() && at == cell.data() + cell.size() && value == value &&
           (field.type == features::FieldType::kNumber ||
            cell.find_first_of(".eE") == std::string_view::npos);
  }

  void end_day(int64_t now_us, bool last) {
    if (!quality_.end_day(now_us, last && days_ == 0)) return;
    for (size_t c = 0; c < worst_.size(); ++c) {
      const Quality::Check& check = quality_.checks()[c];
      Worst& worst = worst_[c];
      worst.failed_days += check.grade == Grade::kFail;
      const bool worse = check.grade != worst.check.grade ? check.grade > worst.check.grade
                                                          : check.value > worst.check.value;
      if (days_ == 0 || worse || (check.judged && !worst.check.judged)) {
        worst.check = check;
        worst.day = days_;
      }
    }
    score_ = std::min(score_, quality_.score());
    ++days_;
  }

  const engine::ConfigPtr& config_;
  CsvRecords& records_;
  const engine::Columns& columns_;
  Quality quality_;
  features::Transaction transaction_;
  features::KeyIndex seen_;
  int64_t newest_us_ = INT64_MIN;
  uint64_t rows_ = 0, bad_rows_ = 0, broken_records_ = 0;
  int days_ = 0;
  double score_ = 1;
  std::array<Worst, Quality::kChecks> worst_;
  std::vector<std::string> examples_;
};

void print_text(const FileQuality& quality) {
  fmt::print("{} rows, {} days judged; {} rows cannot be taken\n", quality.rows(), quality.days(),
             quality.bad_rows());
  for (const std::string& example : quality.examples()) fmt::print("  {}\n", example);
  fmt::print("\n{:<12} {:<6} {:>6} {:>11}  {}\n", "check", "", "day", "failed days", "on its worst day");
  for (const Worst& one : quality.worst()) {
    fmt::print("{:<12} {:<6} {:>6} {:>11}  {}\n", one.check.name,
               one.check.judged ? engine::name(one.check.grade) : "-", one.day, one.failed_days,
               one.check.message);
  }
  fmt::print("\n{}, score {:.2f}\n", engine::name(quality.grade()), quality.score());
}

void print_json(const FileQuality& quality) {
  Json checks = Json::array();
  for (const Worst& one : quality.worst()) {
    checks.push_back({{"check", one.check.name},
                      {"verdict", one.check.judged ? Json(engine::name(one.check.grade)) : Json(nullptr)},
                      {"value", one.check.value},
                      {"limit", one.check.limit},
                      {"subject", one.check.subject},
                      {"day", one.day},
                      {"failed_days", one.failed_days},
                      {"message", one.check.message}});
  }
  const Json all = {{"verdict", engine::name(quality.grade())},
                    {"score", quality.score()},
                    {"rows", quality.rows()},
                    {"bad_rows", quality.bad_rows()},
                    {"days", quality.days()},
                    {"checks", std::move(checks)},
                    {"examples", quality.examples()}};
  fmt::print("{}\n", to_text(all));
}

int judge(const std::string& path, const engine::ConfigPtr& config, bool json) {
  auto records = CsvRecords::open(path);
  if (!records) return complain(records.error(), kBadInput);
  std::vector<engine::Wanted> wanted;
  for (const features::Field& field : config->schema().fields)
    wanted.push_back({"", {field.name}, !field.optional});
  wanted.push_back({"the label", {config->schema().label}, false});
  auto columns = engine::match_columns((*records)->header(), wanted);
  if (!columns) return complain(columns.error(), kBadInput);
  if (!columns->missing.empty()) return complain(columns->missing, kBadInput);
  for (const std::string& note : columns->notes) remark(note);
  FileQuality quality(config, **records, *columns);
  if (const auto done = quality.run(); !done) return complain(done.error(), kBadInput);
  if (json) {
    print_json(quality);
  } else {
    print_text(quality);
  }
  return quality.grade() == Grade::kFail ? kNotAllWell : 0;
}

}  // namespace

void add_quality(CLI::App& app, int& exit_code) {
  auto path = std::make_shared<std::string>(), config_path = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand(
      "quality",
      "Judges the data of a CSV day by day, as a server judges its traffic: values missing, unreadable or "
      "out of "
      "range, doubles, shifts, silence, categories never seen. Exit code 1 when a check fails.\n\n"
      "  shrike quality stream.csv.gz --config handbook.toml");
  command->add_option("file", *path, "CSV, plain or gz; - for standard input")->required();
  command->add_option("--config", *config_path, "TOML; the embedded quickstart without it");
  command->add_flag("--json", *json, "for machines");
  command->callback([path, config_path, json, &exit_code] {
    const engine::ConfigPtr config = read_config(*config_path);
    exit_code = config ? judge(*path, config, *json) : kBadInput;
  });
}

}  // namespace shrike::tools
