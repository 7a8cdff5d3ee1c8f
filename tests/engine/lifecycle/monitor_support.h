// What monitors' tests share: a stream of days with 40 columns, fed to a monitor as the fold would.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/fold/fold.h"
#include "engine/lifecycle/monitor.h"
#include "engine/log/recovery.h"
#include "learners/numeric/numeric.h"
#include "tests/engine/support.h"

namespace shrike::engine {

inline constexpr size_t kColumns = 40;

// 36 numbers, two texts with categories, which are columns, and both the weekend and the night.
inline std::string wide_config() {
  std::string text = R"(
[schema]
id = "id"
amount = "x0"
label = "fraud"
[[schema.fields]]
name = "id"
type = "integer"
[[schema.fields]]
name = "time"
type = "time"
unit = "s"
)";
  std::string features;
  for (size_t i = 0; i < kColumns - 4; ++i) {
    text += fmt::format(
        "[[schema.fields]]\nname = \"x{}\"\ntype = \"number\"\nmin = -1000000\nmax = 1000000\n"
        "optional = true\n",
        i);
    features += fmt::format("[[features]]\nname = \"x{}\"\n", i);
  }
  for (const char* name : {"c0", "c1"}) {
    text += fmt::format("[[schema.fields]]\nname = \"{}\"\ntype = \"text\"\noptional = true\n", name);
    features +=
        fmt::format("[[features]]\nname = \"{}\"\naggregate = \"category\"\ninput = \"{}\"\n", name, name);
  }
  features += "[[features]]\nname = \"is_weekend\"\naggregate = \"is_weekend\"\n";
  features += "[[features]]\nname = \"is_night\"\naggregate = \"is_night\"\n";
  return text + features + "[limits]\nclock = \"event\"\n";
}

// One transaction in a stream of days. `dice` are the same for the same row.
struct WideRow {
  uint64_t id = 0;
  int64_t time_us = 0;
  std::vector<float> columns;
};

class WideStream {
 public:
  // 2018-01-01, a Monday.
  static constexpr int64_t kStartUs = 1514764800000000;

  WideStream(uint64_t seed, size_t rows_a_day) : state_(seed * 0x9E3779B97F4A7C15ull), rows_(rows_a_day) {}

  double unit() { return learners::unit(learners::mix(++state_)); }
  double normal() { return std::sqrt(-2 * std::log(1 - unit())) * std::cos(2 * 3.14159265358979 * unit()); }

  // Rows of a day, in order of time; fewer at night and at weekends.
  template <typename Take>
  void day(int day, Take&& take) {
    const bool weekend = day % 7 >= 5;
    const size_t rows = weekend ? rows_ * 7 / 10 : rows_;
    for (size_t r = 0; r < rows; ++r) {
      WideRow row;
      row.id = ++id_;
      const double at = (static_cast<double>(r) + unit()) / static_cast<double>(rows);
      // The hour's density is 1 - cos: hardly anything at midnight, most at noon.
      const double hour = 24 * (at - 0.15 * std::sin(2 * 3.14159265358979 * at));
      row.time_us = kStartUs + day * features::kDayUs + static_cast<int64_t>(hour * 3.6e9);
      row.columns.resize(kColumns);
      for (size_t c = 0; c < kColumns; ++c) row.columns[c] = value(c, weekend, hour);
      take(row);
    }
  }

 private:
  float value(size_t c, bool weekend, double hour) {
    if (c == kColumns - 1) return hour < 7 ? 1 : 0;
    if (c == kColumns - 2) return weekend ? 1 : 0;
    if (c >= kColumns - 4) return static_cast<float>(1000 * c + std::floor(20 * unit() * unit()));
    double v = 0;
    switch (c % 6) {
      case 0:
        v = normal();
        break;
      case 1:  // heavy tails
        v = std::exp(1.5 * normal());
        break;
      case 2:  // counts
        v = std::floor(-2 * std::log(1 - unit()));
        break;
      case 3:  // often missing
        v = unit() < 0.4 ? std::nan("") : normal();
        break;
      case 4:  // of the week
        v = normal() + (weekend ? 1.5 : 0);
        break;
      case 5:  // mostly zero
        v = unit() < 0.97 ? 0 : 1 + unit();
        break;
    }
    return static_cast<float>(v);
  }

  uint64_t state_, id_ = 0;
  size_t rows_;
};

// Feeds a monitor, closing a period at each midnight with the first transaction of the new day.
class Feeder {
 public:
  Feeder(ConfigPtr config, Monitor& monitor)
      : config_(std::move(config)), fold_(config_, nowhere_, nullptr), monitor_(&monitor) {
    transaction_.reset(config_->schema());
  }

  void model() { monitor_->model({ModelAction::kAccepted, 1, "m", ""}, fold_); }
  void take(const WideRow& row, double score = 0.01) {
    transaction_.id = features::key_of(static_cast<int64_t>(row.id));
    transaction_.time_us = row.time_us;
    transaction_.values[0] = {true, static_cast<int64_t>(row.id), ""};
    transaction_.values[1] = {true, row.time_us, ""};
    for (size_t c = 0; c < kColumns - 2; ++c) {
      set_value(c, row.columns[c]);
    }
    ++sequence_;
    monitor_->arrived({sequence_, transaction_, row.columns, Clock::kOnTime});
    Answer answer;
    answer.score = static_cast<float>(score);
    monitor_->scored({sequence_, row.time_us, row.columns, answer, 1, 0});
    const int64_t day = row.time_us / features::kDayUs;
    if (day != day_ && day_ != 0) close(row.time_us);
    day_ = day;
  }
  void settle(const WideRow& row, bool fraud, double score, double weight = 1) {
    Answer answer;
    answer.score = static_cast<float>(score);
    monitor_->settled({sequence_, row.time_us, row.time_us, fraud ? Verdict::kFraud : Verdict::kLegitimate,
                       Source::kMatured, false, weight, row.columns, answer, 1, 0});
  }
  void close(int64_t now_us) {
    std::vector<JudgementEvent> found;
    monitor_->close({{sequence_, now_us, sequence_, fold_}, true, true}, found);
    for (JudgementEvent& event : found) {
      event.monitor = monitor_->name();
      event.time_us = now_us;
      monitor_->judged(event);
      events.push_back(std::move(event));
    }
  }
  // Goes on with another monitor, which was restored from this one's bytes.
  void go_on(Monitor& monitor) { monitor_ = &monitor; }

  std::vector<JudgementEvent> events;

 private:
  void set_value(size_t c, float v) {
    features::Value& value = transaction_.values[c + 2];
    value.present = !std::isnan(v);
    value.fixed = 0;
    value.text.clear();
    if (!value.present) return;
    if (c >= kColumns - 4) {
      value.text = fmt::format("{}", v);
    } else {
      value.fixed = std::llround(static_cast<double>(v) * 10'000);
    }
  }

  ConfigPtr config_;
  NoExamples nowhere_;
  Fold fold_;
  Monitor* monitor_;
  Transaction transaction_;
  uint64_t sequence_ = 0;
  int64_t day_ = 0;
};

}  // namespace shrike::engine
