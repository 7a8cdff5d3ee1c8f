#include "tools/bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

namespace shrike::tools::bench {
namespace {

double ms(int64_t ns) { return static_cast<double>(ns) / 1e6; }

std::string counts_text(const std::map<std::string, uint64_t, std::less<>>& counts) {
  std::string text;
  for (const auto& [name, count] : counts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name);
  return text;
}

std::string line(const char* what, const std::string& value) {
  return fmt::format("  {:<18}{}\n", what, value);
}

std::string percentile_table(const Run& run) {
  struct Column {
    const char* name;
    const HdrHistogram* times;
  };
  std::vector<Column> columns = {{"answers", &run.leg.tally.latency}};
  if (run.uncorrected) columns.push_back({"uncorrected", &run.leg.tally.uncorrected});
  if (run.echo) columns.push_back({"bare echo", &run.echo->tally.latency});
  columns.push_back({"hiccups", &run.hiccups});
  std::string out = fmt::format("  {:<9}", "Latency");
  for (const Column& column : columns) out += fmt::format("{:>13}", column.name);
  out += '\n';
  for (const double percentile : kPercentiles) {
    out += fmt::format(" {:7.3f}% ", percentile);
    for (const Column& column : columns)
      out += fmt::format("{:>13}", duration_text(column.times->at(percentile)));
    out += '\n';
  }
  return out;
}

std::string generator_line(const Leg& leg) {
  const HdrHistogram& lag = leg.tally.lag;
  return fmt::format("behind its schedule p50 {}, p99 {}, at most {}{}", duration_text(lag.at(50)),
                     duration_text(lag.at(99)), duration_text(lag.max()),
                     leg.valid() ? fmt::format("; {:.2f} cores", leg.cores)
                                 : fmt::format(": INVALID, the generator could not keep up (p99 over {})",
                                               duration_text(leg.lag_max_us * 1000)));
}

std::string arrivals_text(const Run& run) {
  const Tally& t = run.leg.tally;
  std::string out = line("answered", fmt::format("{} of {} in {:.2f} s, {:.0f}/s", t.answered, t.arrivals,
                                                 run.leg.seconds, run.leg.rate()));
  out += line("steps", counts_text(t.steps));
  out += line("late", fmt::format("{} after {}", t.late, duration_text(run.deadline_us * 1000)));
  std::string refused = fmt::format("{}", t.refused);
  if (t.refused > 0)
    refused += fmt::format(" ({}), p50 {}, p99 {}", counts_text(t.refusals), duration_text(t.refusal.at(50)),
                           duration_text(t.refusal.at(99)));
  out += line("refused", refused);
  out += line("dropped", fmt::format("{} arrivals (more than {} in flight)", t.dropped, run.in_flight_max));
  out +=
      line("unanswered", fmt::format("{}{}", t.unanswered,
                                     t.unanswered > 0 ? "; each counts as long as it was waited for" : ""));
  if (t.mismatched + t.unreadable > 0)
    out += line("not ours", fmt::format("{} replies to another transaction, {} that cannot be read",
                                        t.mismatched, t.unreadable));
  if (t.duplicates > 0)
    out += line("duplicates", fmt::format("{} ids were known to the server", t.duplicates));
  if (t.off_clock > 0)
    out +=
        line("off the clock",
             fmt::format("{} were ahead of or behind the server's time, and moved no window", t.off_clock));
  out += line("labels", t.labels_sent == 0
                            ? std::string("none came due")
                            : fmt::format("{} sent, {} taken, {} refused; p50 {}, p99 {}", t.labels_sent,
                                          t.labels_taken, t.labels_refused, duration_text(t.label.at(50)),
                                          duration_text(t.label.at(99))));
  return out;
}

uint64_t counter(const Json& grown, const char* key) {
  return grown.is_object() && grown.contains(key) && grown[key].is_number() ? grown[key].get<uint64_t>() : 0;
}

// The server's own times: every object of status whose name says microseconds.
void add_times(const Json& status, const std::string& prefix, std::string& out) {
  if (!status.is_object()) return;
  for (const auto& [key, value] : status.items()) {
    if (!value.is_object()) continue;
    if (!key.ends_with("_us")) {
      add_times(value, fmt::format("{}{}.", prefix, key), out);
      continue;
    }
    std::string times;
    for (const auto& [name, us] : value.items())
      times += fmt::format("{}{} {}", times.empty() ? "" : ", ", name, to_text(us));
    out += line("server's times", fmt::format("{}{}: {}", prefix, key, times));
  }
}

std::string server_text(const Run& run) {
  if (!run.after.is_object()) return "";
  const Json grown = growth(run.before, run.after);
  std::string out =
      line("server counted", fmt::format("{} transactions, {} labels, {} models accepted, {} refused, {} "
                                         "checkpoints, {} late replies (warm-up included)",
                                         counter(grown, "transactions"), counter(grown, "labels"),
                                         counter(grown, "models_accepted"), counter(grown, "models_rejected"),
                                         counter(grown, "checkpoints"), counter(grown, "late_replies")));
  if (run.own_server) out += line("server", fmt::format("{:.2f} cores", run.server_cores));
  const uint64_t committed = counter(run.after, "committed_seq"), answered = run.leg.tally.sequence_max;
  out += line("log",
              fmt::format("{} to event {}; answers name events up to {}",
                          committed >= answered ? "written" : "INCOMPLETE: written", committed, answered));
  add_times(run.after, "", out);
  if (grown.contains("errors")) out += line("server's errors", to_text(grown["errors"]));
  return out;
}

std::string verdict_text(const Run& run) {
  std::string out;
  for (const Clause& clause : run.clauses)
    out += fmt::format("  {:<18} {:>22}, promised {:>10}  {}\n", clause.name, clause.found, clause.promised,
                       clause.held ? "held" : "BROKEN");
  if (!run.clauses.empty()) out += held(run.clauses) ? "SLA held\n" : "SLA broken\n";
  return out;
}

std::string head(const Run& run) {
  const ArrivalOptions& a = run.leg.arrivals;
  return fmt::format(
      "{:.1f} s @ {}{}, after {:g} s of warm-up\n"
      "  {} connections, {:g} requests a second ({}{}), {}, open loop: latency counts from the intended "
      "send\n"
      "  transactions: {}, {:.1f} days of event time\n\n",
      run.leg.seconds, run.server, run.own_server ? " (a server of its own)" : "", run.warm_up_s,
      run.connections, a.rate, name(a.pattern),
      a.pattern == Pattern::kBurst ? fmt::format(", {} at a time", a.burst) : "", run.format, run.traffic,
      run.days);
}

Json percentiles_json(const HdrHistogram& times) {
  Json json = {{"count", times.count()}, {"mean_ms", times.mean() / 1e6}};
  for (const double percentile : kPercentiles)
    json["percentiles_ms"][fmt::format("{}", percentile)] = ms(times.at(percentile));
  return json;
}

Json leg_json(const Leg& leg) {
  const Tally& t = leg.tally;
  return {{"rate", leg.arrivals.rate},
          {"arrivals_pattern", name(leg.arrivals.pattern)},
          {"seconds", leg.seconds},
          {"stopped", leg.stopped},
          {"stream_ended", leg.supply_ended},
          {"valid", leg.valid()},
          {"cores", leg.cores},
          {"answers_per_second", leg.rate()},
          {"arrivals", t.arrivals},
          {"answered", t.answered},
          {"late", t.late},
          {"dropped", t.dropped},
          {"refused", t.refused},
          {"refusals", t.refusals},
          {"unanswered", t.unanswered},
          {"mismatched", t.mismatched},
          {"unreadable", t.unreadable},
          {"duplicates", t.duplicates},
          {"off_clock", t.off_clock},
          {"error_share", t.error_share()},
          {"sequence_max", t.sequence_max},
          {"steps", t.steps},
          {"labels", {{"sent", t.labels_sent}, {"taken", t.labels_taken}, {"refused", t.labels_refused}}},
          {"latency", percentiles_json(t.latency)},
          {"uncorrected", percentiles_json(t.uncorrected)},
          {"refusal_latency", percentiles_json(t.refusal)},
          {"label_latency", percentiles_json(t.label)},
          {"generator_lag", percentiles_json(t.lag)}};
}

}  // namespace

std::string duration_text(int64_t ns) {
  const auto value = static_cast<double>(ns);
  if (value < 1e3) return fmt::format("{} ns", ns);
  if (value < 1e6) return fmt::format("{:.1f} us", value / 1e3);
  if (value < 1e9) return fmt::format("{:.2f} ms", value / 1e6);
  return fmt::format("{:.2f} s", value / 1e9);
}

Json growth(const Json& before, const Json& after) {
  Json grown = Json::object();
  if (!after.is_object()) return grown;
  for (const auto& [key, now] : after.items()) {
    const Json was = before.is_object() && before.contains(key) ? before[key] : Json();
    if (now.is_object()) {
      if (key.ends_with("_us")) continue;  // quantiles have no difference
      if (Json inner = growth(was, now); !inner.empty()) grown[key] = std::move(inner);
    } else if (now.is_number_integer()) {
      const int64_t by = now.get<int64_t>() - (was.is_number_integer() ? was.get<int64_t>() : 0);
      if (by != 0) grown[key] = by;
    }
  }
  return grown;
}

std::vector<Series> series_of(const Run& run) {
  std::vector<Series> series = {{"answers", '*', &run.leg.tally.latency}};
  if (run.uncorrected) series.push_back({"uncorrected", 'u', &run.leg.tally.uncorrected});
  if (run.echo) series.push_back({"bare echo", 'e', &run.echo->tally.latency});
  series.push_back({"hiccups", '.', &run.hiccups});
  return series;
}

std::string run_text(const Run& run) {
  std::string out = head(run) + percentile_table(run) + "\n";
  if (!run.leg.tally.latency.empty()) out += text_chart(series_of(run)) + "\n";
  out += arrivals_text(run);
  out += line("generator", generator_line(run.leg));
  out += server_text(run);
  if (run.echo)
    out +=
        line("bare echo", fmt::format("{:.0f} of {:g}/s for {:.1f} s, replies of {} bytes; its generator {}",
                                      run.echo->rate(), run.echo->arrivals.rate, run.echo->seconds,
                                      run.echo_reply_bytes, generator_line(*run.echo)));
  if (run.leg.supply_ended) out += "  the stream of transactions ended before the time was over\n";
  if (run.leg.stopped) out += "  stopped by a signal: this is what had been measured\n";
  const std::string verdict = verdict_text(run);
  return out + (verdict.empty() ? "" : "\n" + verdict);
}

Json run_json(const Run& run) {
  Json json = {{"server", run.server},
               {"own_server", run.own_server},
               {"cores", std::thread::hardware_concurrency()},
               {"format", run.format},
               {"traffic", run.traffic},
               {"connections", run.connections},
               {"warm_up_s", run.warm_up_s},
               {"deadline_ms", static_cast<double>(run.deadline_us) / 1000},
               {"days", run.days},
               {"server_cores", run.server_cores},
               {"leg", leg_json(run.leg)},
               {"hiccups", percentiles_json(run.hiccups)}};
  json["echo"] = run.echo ? leg_json(*run.echo) : Json();
  if (run.after.is_object()) {
    json["server_counted"] = growth(run.before, run.after);
    json["server_status"] = run.after;
  }
  if (!run.clauses.empty()) {
    json["sla"] = {{"held", held(run.clauses)}, {"clauses", Json::array()}};
    for (const Clause& c : run.clauses)
      json["sla"]["clauses"].push_back(
          {{"name", c.name}, {"found", c.found}, {"promised", c.promised}, {"held", c.held}});
  }
  return json;
}

std::string leg_line(const Leg& leg, const HdrHistogram& hiccups, const std::vector<Clause>& clauses) {
  std::string broken;
  for (const Clause& c : clauses) {
    if (!c.held) broken += fmt::format("{}{} {}", broken.empty() ? "" : "; ", c.name, c.found);
  }
  const HdrHistogram& times = leg.tally.latency;
  return fmt::format("{:>9.0f}/s {:>10} {:>10} {:>10} {:>10}  errors {:.3f} %, hiccups up to {}: {}\n",
                     leg.arrivals.rate, duration_text(times.at(50)), duration_text(times.at(99)),
                     duration_text(times.at(99.9)), duration_text(times.max()), leg.tally.error_share() * 100,
                     duration_text(hiccups.max()),
                     broken.empty() ? std::string("held") : "broken (" + broken + ")");
}

}  // namespace shrike::tools::bench
