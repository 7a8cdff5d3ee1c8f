// The charts of report.h: latency by percentile, as people know it from HdrHistogram's plotter.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "tools/bench/report.h"

namespace shrike::tools::bench {
namespace {

// The axis runs to so many nines: 0 is 0 %, 1 is 90 %, 2 is 99 %.
constexpr double kNines = 5;

double percentile_at(double nines) { return 100 * (1 - std::pow(10, -nines)); }

// Whole decades of milliseconds around all that is drawn.
struct Decades {
  double low = 0, high = 0;  // log10 of nanoseconds
  explicit Decades(const std::vector<Series>& series) {
    double least = 1e18, most = 1;
    for (const Series& one : series) {
      if (one.times->empty()) continue;
      least = std::min(least, static_cast<double>(std::max<int64_t>(one.times->at(10), 1000)));
      most = std::max(most, static_cast<double>(one.times->max()));
    }
    low = std::floor(std::log10(std::min(least, most)));
    high = std::max(std::ceil(std::log10(most)), low + 1);
  }
  // 0 at the bottom, 1 at the top.
  double share(int64_t ns) const {
    const double log = std::log10(static_cast<double>(std::max<int64_t>(ns, 1)));
    return std::clamp((log - low) / (high - low), 0.0, 1.0);
  }
};

std::string axis_label(double decade) {
  return duration_text(static_cast<int64_t>(std::llround(std::pow(10, decade))));
}

}  // namespace

std::string text_chart(const std::vector<Series>& series) {
  constexpr int kColumns = 60, kRowsADecade = 4;
  const Decades decades(series);
  const int rows = static_cast<int>(decades.high - decades.low) * kRowsADecade;
  std::vector<std::string> canvas(static_cast<size_t>(rows) + 1, std::string(kColumns + 1, ' '));
  // The first of the series is drawn last, over the others.
  for (auto one = series.rbegin(); one != series.rend(); ++one) {
    if (one->times->empty()) continue;
    for (int column = 0; column <= kColumns; ++column) {
      const double percentile = percentile_at(column * kNines / kColumns);
      const auto row = static_cast<size_t>(std::lround(decades.share(one->times->at(percentile)) * rows));
      canvas[row][static_cast<size_t>(column)] = one->mark;
    }
  }
  std::string out;
  for (int row = rows; row >= 0; --row) {
    const std::string label = row % kRowsADecade == 0 ? axis_label(decades.low + row / kRowsADecade) : "";
    out += fmt::format("{:>10} |{}\n", label, canvas[static_cast<size_t>(row)]);
  }
  out += fmt::format("{:>10} +{:-<{}}\n", "", "", kColumns + 1);
  out += fmt::format("{:>10}  {:<12}{:<12}{:<12}{:<12}{:<9}{}\n", "", "0", "90", "99", "99.9", "99.99",
                     "99.999%");
  std::string legend;
  for (const Series& one : series) legend += fmt::format("  {} {}", one.mark, one.name);
  return out + fmt::format("{:>10}{}\n", "", legend);
}

std::string svg_chart(const std::vector<Series>& series, const std::string& title) {
  constexpr double kWidth = 860, kHeight = 460, kLeft = 80, kTop = 40, kPlotWidth = 620, kPlotHeight = 350;
  constexpr const char* kColours[] = {"#1b6ca8", "#c8553d", "#3c8d2f", "#8a4fa3"};
  const Decades decades(series);
  const auto x = [&](double nines) { return kLeft + kPlotWidth * nines / kNines; };
  const auto y = [&](double share) { return kTop + kPlotHeight * (1 - share); };
  std::string svg = fmt::format(
      R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" font-family="sans-serif" font-size="12">)"
      "\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      R"(<text x="{2}" y="22" font-size="14">{3}</text>)"
      "\n",
      kWidth, kHeight, kLeft, title);
  const double span = decades.high - decades.low;
  for (double decade = decades.low; decade <= decades.high; ++decade) {
    const double at = y((decade - decades.low) / span);
    svg += fmt::format(
        R"(<line x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}" stroke="#dddddd"/><text x="{}" y="{:.1f}" text-anchor="end">{}</text>)"
        "\n",
        kLeft, kLeft + kPlotWidth, at, at, kLeft - 6, at + 4, axis_label(decade));
  }
  constexpr const char* kLabels[] = {"0", "90", "99", "99.9", "99.99", "99.999"};
  for (size_t i = 0; i < std::size(kLabels); ++i)
    svg += fmt::format(
        R"(<line x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}" stroke="#eeeeee"/><text x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>)"
        "\n",
        x(static_cast<double>(i)), kTop, kTop + kPlotHeight, kTop + kPlotHeight + 18, kLabels[i]);
  svg += fmt::format(R"(<text x="{}" y="{}" text-anchor="middle">percentile of all requests</text>)"
                     "\n",
                     kLeft + kPlotWidth / 2, kTop + kPlotHeight + 40);
  for (size_t s = 0; s < series.size(); ++s) {
    if (series[s].times->empty()) continue;
    const char* colour = kColours[s % std::size(kColours)];
    std::string points;
    for (int step = 0; step <= 200; ++step) {
      const double nines = step * kNines / 200;
      points += fmt::format("{:.1f},{:.1f} ", x(nines),
                            y(decades.share(series[s].times->at(percentile_at(nines)))));
    }
    svg += fmt::format(R"(<polyline fill="none" stroke="{}" stroke-width="2" points="{}"/>)"
                       "\n"
                       R"(<text x="{}" y="{}" fill="{}">{}</text>)"
                       "\n",
                       colour, points, kLeft + kPlotWidth + 12, kTop + 16 + 18 * static_cast<double>(s),
                       colour, series[s].name);
  }
  return svg + "</svg>\n";
}

}  // namespace shrike::tools::bench
