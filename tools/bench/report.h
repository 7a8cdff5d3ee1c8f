// What `shrike bench` measured, as text for a terminal, JSON and SVG. Functions of their arguments.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tools/bench/load.h"
#include "tools/bench/sla.h"
#include "tools/json.h"

namespace shrike::tools::bench {

// The percentiles that wrk2 prints.
inline constexpr double kPercentiles[] = {50, 75, 90, 99, 99.9, 99.99, 100};

struct Run {
  std::string server;  // its score socket
  bool own_server = false;
  std::string format;   // Protobuf, JSON
  std::string traffic;  // where transactions come from
  int connections = 0;
  double warm_up_s = 0;
  int64_t deadline_us = 0;
  size_t in_flight_max = 0;
  double days = 0;  // of event time that were sent
  Leg leg;
  HdrHistogram hiccups = times();
  std::optional<Leg> echo;
  size_t echo_reply_bytes = 0;
  double server_cores = 0;  // that a server of our own kept busy
  // `status` of the server before and after; null when it was not asked.
  Json before, after;
  std::vector<Clause> clauses;  // of --sla
  bool uncorrected = false;     // shown beside
};

std::string run_text(const Run& run);
Json run_json(const Run& run);
// One line for a leg of a search.
std::string leg_line(const Leg& leg, const HdrHistogram& hiccups, const std::vector<Clause>& clauses);

// A line of percentiles for a chart.
struct Series {
  std::string name;
  char mark;
  const HdrHistogram* times;
};
// Latency by percentile, both on log axes: the tail takes as much room as it matters.
std::string text_chart(const std::vector<Series>& series);
std::string svg_chart(const std::vector<Series>& series, const std::string& title);
std::vector<Series> series_of(const Run& run);

// "0.51 ms", "12.3 s", "80.1 us".
std::string duration_text(int64_t ns);

// What a server's counters have grown by: every integer that differs, objects within objects alike.
Json growth(const Json& before, const Json& after);

}  // namespace shrike::tools::bench
