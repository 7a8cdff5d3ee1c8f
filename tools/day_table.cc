#include "tools/day_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <limits>

#include <nlohmann/json.hpp>
#include <xtensor/xfixed.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xtensor.hpp>
#include <xtensor/xview.hpp>

namespace shrike::tools {
namespace {

using engine::DayRange;
using engine::Metrics;
using engine::Prequential;

constexpr size_t kMetrics = 8;
using Row = xt::xtensor_fixed<double, xt::xshape<kMetrics>>;
// Of each metric but the last, whose name depends on the share of false alarms.
constexpr const char* kNames[kMetrics - 1] = {"rows",     "frauds", "average_precision", "auc",
                                              "log_loss", "brier",  "card_precision_100"};

Row row_of(const Metrics& m) {
  return {static_cast<double>(m.rows),
          static_cast<double>(m.frauds),
          m.average_precision,
          m.auc,
          m.log_loss,
          m.brier,
          m.card_precision_100,
          m.recall_at_fpr};
}

// Counts are whole in JSON.
template <typename Values>
void add_row(Json& json, const Values& values, const std::string& recall) {
  for (size_t m = 0; m < kMetrics; ++m) {
    const double value = values(m);
    const std::string key = m + 1 < kMetrics ? kNames[m] : recall;
    if (m <= static_cast<size_t>(Metric::kFrauds) && !std::isnan(value)) {
      json[key] = static_cast<uint64_t>(value);
    } else {
      json[key] = value;
    }
  }
}

// A learner's options may hold commas and quotes (RFC 4180).
std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

struct DayTable::Values {
  xt::xtensor<double, 3> at;  // learner x day x metric

  size_t learners() const { return at.shape(0); }
  // Those of the days that there are; views of none are not taken.
  size_t first(DayRange days) const { return std::min(static_cast<size_t>(days.first), at.shape(1)); }
  size_t end(DayRange days) const {
    return std::max(first(days), std::min(static_cast<size_t>(days.last) + 1, at.shape(1)));
  }
  bool none(DayRange days) const { return learners() == 0 || first(days) == end(days); }
  auto rows(DayRange days) const { return xt::range(first(days), end(days)); }
  // Day x metric.
  xt::xtensor<double, 2> of(size_t learner, DayRange days) const {
    if (none(days)) return xt::xtensor<double, 2>::from_shape({0, kMetrics});
    return xt::view(at, learner, rows(days), xt::all());
  }
};

DayTable::DayTable(const std::vector<std::vector<Prequential::Day>>& learners) {
  size_t days = 0;
  for (const auto& one : learners) {
    if (!one.empty()) days = std::max(days, static_cast<size_t>(one.back().day) + 1);
  }
  auto values = std::make_unique<Values>();
  values->at = xt::xtensor<double, 3>::from_shape({learners.size(), days, kMetrics});
  values->at.fill(std::numeric_limits<double>::quiet_NaN());
  for (size_t l = 0; l < learners.size(); ++l) {
    for (const Prequential::Day& day : learners[l])
      xt::view(values->at, l, static_cast<size_t>(day.day), xt::all()) = row_of(day.metrics);
  }
  values_ = std::move(values);
}

DayTable::~DayTable() = default;
DayTable::DayTable(DayTable&&) noexcept = default;

int DayTable::last_day() const { return static_cast<int>(values_->at.shape(1)) - 1; }

double DayTable::mean(size_t learner, Metric metric, DayRange days) const {
  if (values_->none(days)) return std::numeric_limits<double>::quiet_NaN();
  return xt::nanmean<double>(
      xt::view(values_->at, learner, values_->rows(days), static_cast<size_t>(metric)))();
}

std::vector<DayTable::Standing> DayTable::standings(DayRange days) const {
  if (values_->none(days)) {
    const Standing unknown{std::numeric_limits<double>::quiet_NaN(), 0};
    return std::vector<Standing>(values_->learners(), unknown);
  }
  const xt::xtensor<double, 2> all =
      xt::view(values_->at, xt::all(), values_->rows(days), static_cast<size_t>(Metric::kAveragePrecision));
  std::vector<Standing> standings(values_->learners());
  double counted = 0;
  for (size_t d = 0; d < all.shape(1); ++d) {
    const xt::xtensor<double, 1> day = xt::view(all, xt::all(), d);
    if (xt::any(xt::isnan(day))) continue;
    ++counted;
    for (size_t l = 0; l < standings.size(); ++l) {
      const double better = xt::sum<double>(xt::cast<double>(day > day(l)))();
      const double equal = xt::sum<double>(xt::cast<double>(xt::equal(day, day(l))))();
      standings[l].mean_rank += better + (equal + 1) / 2;
      standings[l].days_best += better == 0;
    }
  }
  for (Standing& one : standings) one.mean_rank /= counted;
  return standings;
}

void DayTable::print(size_t learner, DayRange days) const {
  fmt::print("{:>5} {:>8} {:>7} {:>8} {:>8} {:>9} {:>8} {:>8}\n", "day", "rows", "frauds", "AP", "AUC",
             "log loss", "CP@100", "recall");
  const xt::xtensor<double, 2> rows = values_->of(learner, days);
  for (size_t d = 0; d < rows.shape(0); ++d) {
    const auto of = [&](Metric metric) { return rows(d, static_cast<size_t>(metric)); };
    fmt::print("{:>5} {:>8} {:>7} {:>8.4f} {:>8.4f} {:>9.5f} {:>8.3f} {:>8.4f}\n",
               static_cast<size_t>(days.first) + d, of(Metric::kRows), of(Metric::kFrauds),
               of(Metric::kAveragePrecision), of(Metric::kAuc), of(Metric::kLogLoss),
               of(Metric::kCardPrecision), of(Metric::kRecallAtFpr));
  }
}

Json DayTable::to_json(size_t learner, DayRange days, const std::string& recall) const {
  Json all = Json::array();
  const xt::xtensor<double, 2> rows = values_->of(learner, days);
  for (size_t d = 0; d < rows.shape(0); ++d) {
    Json day = {{"day", static_cast<size_t>(days.first) + d}};
    add_row(day, xt::view(rows, d, xt::all()), recall);
    all.push_back(std::move(day));
  }
  return all;
}

bool DayTable::write_csv(const std::string& path, DayRange days, const std::string& recall,
                         const std::vector<std::string>& names) const {
  std::ofstream out(path);
  out << (names.empty() ? "" : "learner,") << "day";
  for (const char* name : kNames) out << "," << name;
  out << "," << recall << "\n";
  for (size_t l = 0; l < values_->learners(); ++l) {
    const xt::xtensor<double, 2> rows = values_->of(l, days);
    for (size_t d = 0; d < rows.shape(0); ++d) {
      if (!names.empty()) out << csv_cell(names[l]) << ",";
      out << static_cast<size_t>(days.first) + d;
      for (size_t m = 0; m < kMetrics; ++m) out << fmt::format(",{:.9g}", rows(d, m));
      out << "\n";
    }
  }
  return out.flush().good();
}

void add_metrics(Json& json, const Metrics& metrics, const std::string& recall) {
  add_row(json, row_of(metrics), recall);
}

}  // namespace shrike::tools
