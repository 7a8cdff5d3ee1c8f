#include "tools/comparison_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

namespace shrike::tools {
namespace {

using engine::Comparison;
using engine::DayRange;
using engine::Reliability;
using engine::Shift;

constexpr double kLabelledMin =
    0.9;  // of a span's transactions, below which its reliability is not to be read

// As printed; what there is not is "-".
std::string shown(double value, const char* format) {
  return std::isnan(value) ? "-" : fmt::format(fmt::runtime(format), value);
}

void print_columns(const Comparison& comparison) {
  size_t width = 24;
  for (const Shift& shift : comparison.columns) width = std::max(width, shift.column.size());
  fmt::print("{:<{}} {:>8} {:>7} {:>9} {:>9} {:>12} {:>12}  {}\n", "column", width, "PSI", "KS", "missing",
             "", "mean", "", "change");
  for (const Shift& shift : comparison.columns) {
    fmt::print("{:<{}} {:>8} {:>7} {:>9} {:>9} {:>12} {:>12}  {}{}\n", shift.column, width,
               shown(shift.psi, "{:.4f}"), shown(shift.ks, "{:.4f}"), shown(shift.missing[0], "{:.4f}"),
               shown(shift.missing[1], "{:.4f}"), shown(shift.mean[0], "{:.6g}"),
               shown(shift.mean[1], "{:.6g}"), engine::read_psi(shift.psi),
               shift.is_score ? " (the score's)" : "");
  }
}

void print_reliability(const Comparison& comparison) {
  const auto& spans = comparison.spans;
  fmt::print("\nfrauds by score; expected calibration error {}, then {}\n",
             shown(spans[0].reliability.calibration_error(), "{:.5f}"),
             shown(spans[1].reliability.calibration_error(), "{:.5f}"));
  fmt::print("{:<14}", "score");
  for (size_t s = 0; s < spans.size(); ++s)
    fmt::print(" {:>9} {:>7} {:>9} {:>9}", "rows", "frauds", "expected", "observed");
  fmt::print("\n");
  for (size_t b = 0; b < spans[0].reliability.bins().size(); ++b) {
    if (spans[0].reliability.bins()[b].rows + spans[1].reliability.bins()[b].rows == 0) continue;
    const Reliability::Bin& bounds = spans[0].reliability.bins()[b];
    fmt::print("{:<14}", fmt::format("{} to {}", bounds.from, bounds.to));
    for (const Comparison::Span& span : spans) {
      const Reliability::Bin& bin = span.reliability.bins()[b];
      fmt::print(" {:>9} {:>7} {:>9} {:>9}", bin.rows, bin.frauds, shown(bin.expected(), "{:.5f}"),
                 shown(bin.observed(), "{:.5f}"));
    }
    fmt::print("\n");
  }
}

// Frauds are known before silence tells of the rest.
void print_unlabelled(const Comparison::Span& span) {
  const uint64_t labelled = span.reliability.rows();
  if (labelled == span.rows) return;
  fmt::print("days {}: {} of {} transactions have no label yet and are not in the table{}\n",
             engine::to_text(span.days), span.rows - labelled, span.rows,
             static_cast<double>(labelled) < kLabelledMin * static_cast<double>(span.rows)
                 ? "; too many for it to say much"
                 : "");
}

Json span_json(const Comparison::Span& span) {
  Json bins = Json::array();
  for (const Reliability::Bin& bin : span.reliability.bins()) {
    bins.push_back({{"from", number(bin.from)},
                    {"to", number(bin.to)},
                    {"rows", bin.rows},
                    {"frauds", bin.frauds},
                    {"expected", bin.expected()},
                    {"observed", bin.observed()}});
  }
  return {{"first_day", span.days.first},
          {"last_day", span.days.last == INT32_MAX ? Json() : Json(span.days.last)},
          {"rows", span.rows},
          {"sampled", span.sampled},
          {"labelled", span.reliability.rows()},
          {"calibration_error", span.reliability.calibration_error()},
          {"reliability", std::move(bins)}};
}

}  // namespace

tl::expected<std::optional<std::pair<DayRange, DayRange>>, std::string> read_compared_days(
    const std::string& text) {
  if (text.empty()) return std::nullopt;
  const size_t comma = text.find(',');
  if (comma != std::string::npos) {
    const auto first = engine::parse_days(text.substr(0, comma));
    const auto second = engine::parse_days(text.substr(comma + 1));
    if (first && second) return std::pair(*first, *second);
  }
  return tl::make_unexpected(
      fmt::format("--compare: found \"{}\", expected FIRST..LAST,FIRST..LAST such as 30..59,60..90", text));
}

void print_comparison(const Comparison& comparison) {
  const auto& [first, second] = comparison.spans;
  fmt::print("\ndays {} against {}: {} and {} transactions, of which {} and {} are compared\n",
             engine::to_text(first.days), engine::to_text(second.days), first.rows, second.rows,
             first.sampled, second.sampled);
  print_columns(comparison);
  print_reliability(comparison);
  for (const Comparison::Span& span : comparison.spans) print_unlabelled(span);
}

Json comparison_json(const Comparison& comparison) {
  Json spans = Json::array(), columns = Json::array();
  for (const Comparison::Span& span : comparison.spans) spans.push_back(span_json(span));
  for (const Shift& shift : comparison.columns) {
    columns.push_back({{"column", shift.column},
                       {"kind", shift.is_score ? "score" : "feature"},
                       {"psi", shift.psi},
                       {"reading", engine::read_psi(shift.psi)},
                       {"ks", shift.ks},
                       {"missing", shift.missing},
                       {"mean", shift.mean}});
  }
  return {{"spans", std::move(spans)}, {"columns", std::move(columns)}};
}

}  // namespace shrike::tools
