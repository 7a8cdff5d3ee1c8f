// shrike bench
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>
#include <memory>
#include <optional>
#include <thread>

#include <nlohmann/json.hpp>

#include "features/spec.h"
#include "tools/bench/load.h"
#include "tools/bench/machine.h"
#include "tools/bench/report.h"
#include "tools/bench/server_process.h"
#include "tools/bench/sla.h"
#include "tools/bench/source.h"
#include "tools/bench/traffic.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/progress.h"
#include "tools/stop_signal.h"

namespace shrike::tools {
namespace {

using namespace bench;

struct Options {
  std::vector<std::string> server;  // score and feedback socket of a running one
  std::string config, durability, data, csv, log, label_delay;
  std::string format = "protobuf", arrivals, sla;
  std::string duration = "10s", warm_up = "2s", echo = "5s";
  std::string json, svg, hgrm, hlog;
  double rate = 0, lag_max_ms = 2, tolerance = 0.05;
  int connections = 10, burst = 100, customers = 0, from_day = 0, tries = 3;
  uint64_t seed = 1;
  int64_t first_id = -1;
  size_t in_flight = 50'000;
  bool find_max = false, uncorrected = false, no_labels = false;
};

// What of the options had to be read first.
struct Plan {
  double seconds = 0, warm_up_s = 0, echo_s = 0;
  std::optional<Sla> sla;
  LegOptions leg;
  LabellingOptions labelling;
};

// "30s", "2m"; a number alone is seconds.
std::optional<double> seconds_of(const std::string& text) {
  const bool plain = !text.empty() && text.find_first_not_of("0123456789.") == std::string::npos;
  const auto us = features::parse_duration(plain ? text + "s" : text);
  if (!us || *us < 0) return std::nullopt;
  return static_cast<double>(*us) / 1e6;
}

int64_t unix_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool write(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  return out.flush().good();
}

// One leg with what was measured beside it.
struct Measured {
  Leg leg;
  HdrHistogram hiccups = times();
  std::string hlog;
  std::vector<Clause> clauses;
  Json before, after;  // status
  double server_cores = 0;
};

class Bench {
 public:
  Bench(const Options& options, Plan plan, engine::ConfigPtr config, const std::atomic<bool>& stop)
      : options_(options),
        plan_(std::move(plan)),
        config_(std::move(config)),
        reader_(config_),
        stop_(stop) {}

  int run() {
    if (const int code = find_server(); code != 0) return code;
    if (const int code = make_traffic(); code != 0) return code;
    if (status().is_null() && !target_.feedback.empty())
      return complain(fmt::format("{} does not answer; is `shrike serve` running, and is this its feedback "
                                  "socket?",
                                  target_.feedback),
                      kFailed);
    traffic_->wait_until_full();
    auto measured = options_.find_max ? search() : measure(plan_.leg.arrivals.rate);
    if (!measured) return complain(measured.error(), kFailed);
    if (!traffic_->ended() || traffic_->problem().empty()) return conclude(std::move(*measured));
    return complain(traffic_->problem(), kBadInput);
  }

 private:
  int find_server() {
    if (!options_.server.empty()) {
      target_ = {options_.server[0], options_.server.size() > 1 ? options_.server[1] : ""};
      return 0;
    }
    auto child = ServerProcess::start(*config_, options_.durability, options_.data);
    if (!child) return complain(child.error(), kFailed);
    child_ = std::move(*child);
    target_ = {child_->score(), child_->feedback()};
    return 0;
  }

  int make_traffic() {
    auto source = make_source();
    if (!source) return complain(source.error(), kBadInput);
    TrafficOptions traffic;
    traffic.format = options_.format == "json" ? engine::Format::kJson : engine::Format::kProtobuf;
    traffic.labels = !options_.no_labels && !target_.feedback.empty();
    traffic.labelling = plan_.labelling;
    traffic.seed = options_.seed;
    traffic_ = std::make_unique<Traffic>(config_, std::move(*source), traffic);
    return 0;
  }

  tl::expected<std::unique_ptr<Source>, std::string> make_source() {
    if (!options_.csv.empty()) {
      run_.traffic = options_.csv;
      return from_csv(config_, options_.csv);
    }
    if (!options_.log.empty()) {
      run_.traffic = "the log of " + options_.log;
      return from_log(config_, options_.log);
    }
    SimulationOptions simulation;
    simulation.days = 1'000'000;  // until the load ends
    simulation.seed = options_.seed;
    // A search doubles its rate a few times, and measures many legs.
    const double legs = options_.find_max ? 40 : 1;
    const double transactions = plan_.leg.arrivals.rate * (plan_.seconds + plan_.warm_up_s) * legs;
    simulation.customers = options_.customers > 0
                               ? options_.customers
                               : customers_for(config_->schema(), transactions, options_.from_day, unix_us());
    simulation.terminals = 2 * simulation.customers;
    // Ids that no load before has used: microseconds since 1970.
    const int64_t first_id = options_.first_id >= 0 ? options_.first_id : unix_us();
    run_.traffic = fmt::format("simulated, {} customers, seed {}", simulation.customers, options_.seed);
    return simulated(config_, simulation, first_id, options_.from_day);
  }

  Json status() const {
    if (target_.feedback.empty()) return {};
    // After an overload it stands behind all that waits.
    const auto reply = Client::ask(target_.feedback, R"({"command":"status"})", 30'000);
    return reply ? from_text(*reply) : Json();
  }

  // Once the log has what was answered; durability "async" answers first.
  Json status_when_written(uint64_t sequence) const {
    Json last;
    for (int i = 0; i < 100; ++i) {
      last = status();
      if (!last.is_object() || last.value("committed_seq", uint64_t{0}) >= sequence || stop_) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return last;
  }

  tl::expected<Measured, std::string> measure(double rate) {
    Measured measured;
    LegOptions leg = plan_.leg;
    leg.arrivals.rate = rate;
    Progress progress("answers");
    uint64_t answered = 0;
    HdrLog log(static_cast<double>(unix_us()) / 1e6 + leg.warm_up_s);
    const auto on_interval = [&](const Tally& interval, double from_s, double to_s) {
      answered += interval.answered;
      progress.update(std::min(to_s / leg.seconds, 1.0), answered);
      if (!options_.hlog.empty()) log.add(interval.latency, from_s, to_s, "");
    };
    measured.before = status();
    const double cpu_before_s = child_ ? child_->cpu_s() : 0;
    const int64_t started_us = clock_us();
    Hiccups hiccups;
    auto ran = run_leg(leg, target_, *traffic_, &reader_, stop_, on_interval);
    if (!ran) return tl::make_unexpected(ran.error());
    measured.leg = std::move(*ran);
    measured.hiccups = hiccups.stop();
    if (child_)
      measured.server_cores =
          (child_->cpu_s() - cpu_before_s) * 1e6 / static_cast<double>(clock_us() - started_us);
    measured.after = status_when_written(measured.leg.tally.sequence_max);
    measured.hlog = log.text();
    if (plan_.sla) measured.clauses = judge(*plan_.sla, measured.leg);
    return measured;
  }

  // A rate of a search, each leg printed: the first that holds, or the last of a few. A neighbour on the
  // machine breaks a leg as well as the server does, and a leg that its generator could not drive says
  // nothing.
  tl::expected<Measured, std::string> measure_leg(double rate) {
    auto measured = measure(rate);
    for (int leg = 1;; ++leg) {
      if (!measured || stop_ || measured->leg.supply_ended) return measured;
      fmt::print("{}", leg_line(measured->leg, measured->hiccups, measured->clauses));
      std::fflush(stdout);
      if (held(measured->clauses) || leg >= options_.tries) return measured;
      measured = measure(rate);
    }
  }

  // The best leg of all; the first one when none held.
  tl::expected<Measured, std::string> search() {
    fmt::print("{:>11} {:>10} {:>10} {:>10} {:>10}\n", "rate", "p50", "p99", "p99.9", "max");
    std::optional<Measured> best, first;
    std::string failure = "the search ended before a leg was measured";
    const auto holds = [&](double rate) -> std::optional<bool> {
      auto measured = measure_leg(rate);
      if (!measured) failure = measured.error();
      if (!measured) return std::nullopt;
      if (stop_ || measured->leg.supply_ended) {
        if (!first) first = std::move(*measured);  // what was measured is told all the same
        return std::nullopt;
      }
      const bool well = held(measured->clauses);
      if (well) best = std::move(*measured);
      if (!well && !first) first = std::move(*measured);
      return well;
    };
    highest_ = find_highest(plan_.leg.arrivals.rate, options_.tolerance, holds);
    if (best) return std::move(*best);
    if (first) return std::move(*first);
    return tl::make_unexpected(failure);
  }

  tl::expected<void, std::string> measure_echo() {
    const Tally& t = run_.leg.tally;
    if (plan_.echo_s <= 0 || stop_ || t.answered == 0) return {};
    run_.echo_reply_bytes = static_cast<size_t>(t.reply_bytes / t.latency.count());
    Echo echo(run_.echo_reply_bytes);
    Repeated messages(traffic_->samples());
    LegOptions leg = plan_.leg;
    leg.arrivals.rate = run_.leg.arrivals.rate;
    leg.seconds = plan_.echo_s;
    leg.warm_up_s = std::min(leg.warm_up_s, 1.0);
    auto ran = run_leg(leg, {echo.endpoint(), "", false}, messages, nullptr, stop_, {});
    if (!ran) return tl::make_unexpected(ran.error());
    run_.echo = std::move(*ran);
    return {};
  }

  int conclude(Measured measured) {
    run_.leg = std::move(measured.leg);
    run_.hiccups = std::move(measured.hiccups);
    run_.clauses = std::move(measured.clauses);
    run_.before = std::move(measured.before);
    run_.after = std::move(measured.after);
    run_.server_cores = measured.server_cores;
    if (auto echoed = measure_echo(); !echoed) return complain(echoed.error(), kFailed);
    run_.server = target_.score;
    run_.own_server = child_ != nullptr;
    run_.format = options_.format == "json" ? "JSON" : "Protobuf";
    run_.connections = options_.connections;
    run_.warm_up_s = plan_.warm_up_s;
    run_.deadline_us = plan_.leg.deadline_us;
    run_.in_flight_max = options_.in_flight;
    run_.uncorrected = options_.uncorrected;
    run_.days = traffic_->days();
    fmt::print("{}{}", options_.find_max ? "\n" : "", run_text(run_));
    if (options_.find_max)
      fmt::print("highest rate that holds {}: {:.0f}/s{}\n", options_.sla, highest_,
                 run_.leg.stopped || stop_ ? " (the search was stopped)" : "");
    std::fflush(stdout);
    if (const int code = write_files(measured.hlog); code != 0) return code;
    return exit_code();
  }

  int write_files(const std::string& hlog) const {
    const auto unwritten = [](const char* option, const std::string& path) {
      return complain(fmt::format("{} {}: cannot be written", option, path), kFailed);
    };
    if (!options_.json.empty()) {
      Json json = run_json(run_);
      if (options_.find_max) json["highest_rate"] = highest_;
      if (!write_json(options_.json, json)) return unwritten("--json", options_.json);
    }
    const std::string title = fmt::format("Latency at {:g} requests a second, {} connections",
                                          run_.leg.arrivals.rate, run_.connections);
    if (!options_.svg.empty() && !write(options_.svg, svg_chart(series_of(run_), title)))
      return unwritten("--svg", options_.svg);
    if (!options_.hgrm.empty() && !write(options_.hgrm, run_.leg.tally.latency.percentile_text(1e6)))
      return unwritten("--hgrm", options_.hgrm);
    if (!options_.hlog.empty() && !write(options_.hlog, hlog)) return unwritten("--hlog", options_.hlog);
    return 0;
  }

  int exit_code() const {
    if (options_.find_max) return highest_ > 0 ? 0 : kNotAllWell;
    if (plan_.sla) return held(run_.clauses) ? 0 : kNotAllWell;
    const Tally& t = run_.leg.tally;
    return run_.leg.valid() && t.mismatched + t.unreadable == 0 && t.answered > 0 ? 0 : kNotAllWell;
  }

  const Options& options_;
  Plan plan_;
  engine::ConfigPtr config_;
  ReplyReader reader_;
  const std::atomic<bool>& stop_;
  std::unique_ptr<ServerProcess> child_;
  Target target_;
  std::unique_ptr<Traffic> traffic_;
  Run run_;
  double highest_ = 0;
};

// Fills the plan; else says what is wrong.
int read_plan(const Options& options, const engine::Config& config, Plan& plan) {
  for (const auto& [option, text, out] : {std::tuple("--duration", &options.duration, &plan.seconds),
                                          std::tuple("--warm-up", &options.warm_up, &plan.warm_up_s),
                                          std::tuple("--echo", &options.echo, &plan.echo_s)}) {
    const auto seconds = seconds_of(*text);
    if (!seconds || (out == &plan.seconds && *seconds <= 0))
      return complain(fmt::format("{}: found \"{}\", expected a time such as 30s or 2m", option, *text),
                      kBadInput);
    *out = *seconds;
  }
  if (!options.sla.empty()) {
    auto sla = read_sla(options.sla);
    if (!sla) {
      for (const std::string& problem : sla.error()) complain(problem, 0);
      return kBadInput;
    }
    plan.sla = std::move(*sla);
  }
  if (options.find_max && !plan.sla)
    return complain("--find-max needs --sla FILE: the promise that the rate shall hold", kBadInput);
  if (!options.csv.empty() && !options.log.empty())
    return complain("give either --csv or --log: transactions come from one of them", kBadInput);
  if (!options.server.empty() && !(options.durability + options.data).empty())
    return complain("--durability and --data are about a server of our own, and --server names another",
                    kBadInput);
  LegOptions& leg = plan.leg;
  leg.arrivals.rate = options.rate > 0 ? options.rate : plan.sla ? plan.sla->rate : 0;
  if (leg.arrivals.rate <= 0)
    return complain(
        "--rate is needed (or --sla FILE that has one): how many transactions a second are sent, "
        "whatever comes back",
        kBadInput);
  const Pattern otherwise = plan.sla && plan.sla->arrivals ? *plan.sla->arrivals : Pattern::kConstant;
  leg.arrivals.pattern = parse_pattern(options.arrivals).value_or(otherwise);
  leg.arrivals.burst = options.burst;
  leg.arrivals.seed = options.seed;
  leg.seconds = plan.seconds;
  leg.warm_up_s = plan.warm_up_s;
  leg.connections = options.connections;
  leg.in_flight_max = options.in_flight;
  leg.deadline_us = config.deadline.default_us;
  leg.lag_max_us = std::llround(options.lag_max_ms * 1000);
  if (!options.label_delay.empty()) {
    const auto delay = parse_label_delay(options.label_delay);
    if (!delay) return complain("--label-delay: " + delay.error(), kBadInput);
    plan.labelling.delay = *delay;
    plan.labelling.delayed = true;
  }
  return 0;
}

int run_bench(const Options& options) {
  const engine::ConfigPtr config = read_config(options.config);
  if (!config) return kBadInput;
  Plan plan;
  if (const int code = read_plan(options, *config, plan); code != 0) return code;
  StopSignal signal;  // before any thread starts
  std::atomic<bool> stop = false;
  signal.start([&stop] { stop = true; });
  return Bench(options, std::move(plan), config, stop).run();
}

void add_load_options(CLI::App* command, Options& o) {
  command
      ->add_option("--rate,-R", o.rate, "transactions a second, whatever comes back; the SLA's when absent")
      ->check(CLI::Range(kLeastRate, 10'000'000.0));
  command
      ->add_option("--duration,-d", o.duration, "of what is measured: 30s, 2m; of each leg with --find-max")
      ->capture_default_str();
  command->add_option("--warm-up", o.warm_up, "before it, at the same rate; not measured")
      ->capture_default_str();
  command->add_option("--connections,-c", o.connections, "each takes its turn")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_option("--arrivals", o.arrivals,
                   "constant (the default), poisson, or burst: --burst at one moment, then silence")
      ->check(CLI::IsMember({"constant", "poisson", "burst"}));
  command->add_option("--burst", o.burst)->check(CLI::Range(1, 1'000'000))->capture_default_str();
  command
      ->add_option("--in-flight", o.in_flight,
                   "arrivals beyond so many without an answer are dropped, and counted")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  command
      ->add_option(
          "--lag-max-ms", o.lag_max_ms,
          "a run is invalid when the generator was further behind its schedule at the 99th percentile")
      ->check(CLI::Range(0.001, 60'000.0))
      ->capture_default_str();
  command
      ->add_option("--echo", o.echo, "of a bare ZeroMQ echo afterwards, at the same rate and sizes; 0: none")
      ->capture_default_str();
  command->add_option("--format", o.format, "of transactions; labels are JSON")
      ->check(CLI::IsMember({"protobuf", "json"}))
      ->capture_default_str();
}

void add_traffic_options(CLI::App* command, Options& o) {
  command->add_option(
      "--config,-C", o.config,
      "the schema, and what a server of our own is started with; the embedded quickstart when "
      "absent");
  command
      ->add_option("--server", o.server,
                   "a running one: its score socket, and behind a comma its feedback socket (without it "
                   "no labels, no status); when absent one is started and stopped")
      ->delimiter(',')
      ->expected(1, 2);
  command->add_option("--durability", o.durability, "of a server of our own")
      ->check(CLI::IsMember({"sync", "async"}));
  command->add_option("--data", o.data, "its data directory, which stays; a temporary one when absent");
  command->add_option("--csv", o.csv, "transactions, in the file's order; labels where it has them");
  command->add_option("--log", o.log, "the transactions that this data directory has recorded");
  command->add_option("--seed", o.seed, "of the simulator and of the arrivals")->capture_default_str();
  command
      ->add_option(
          "--customers", o.customers,
          "of the simulator: more let its time run slower; as many as keep it in the past when absent")
      ->check(CLI::Range(1, 10'000'000));
  command->add_option("--from-day", o.from_day, "of the simulator: behind what was sent before")
      ->check(CLI::Range(0, 100'000))
      ->capture_default_str();
  command->add_option("--first-id", o.first_id, "of the simulator; the clock's microseconds when absent")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 60));
  command->add_option(
      "--label-delay", o.label_delay,
      "of frauds, in event time: 7d, exponential:14d; by default six hours to six days, as in "
      "simulate");
  command->add_flag("--no-labels", o.no_labels, "transactions alone");
}

void add_report_options(CLI::App* command, Options& o) {
  command->add_option("--sla", o.sla,
                      "a promise (see examples/sla.toml): exit code 0 when held, 1 when broken");
  command->add_flag("--find-max", o.find_max, "search for the highest rate that holds --sla");
  command->add_option("--tolerance", o.tolerance, "of --find-max: between what held and what broke")
      ->check(CLI::Range(0.001, 1.0))
      ->capture_default_str();
  command->add_option("--tries", o.tries, "of --find-max: legs at a rate before it counts as broken")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_flag("--uncorrected,-U", o.uncorrected,
                    "show latency from the actual send beside it, which forgets what had to wait");
  command->add_option("--json", o.json, "write all that was measured here");
  command->add_option("--svg", o.svg, "write latency by percentile here as a chart");
  command->add_option("--hgrm", o.hgrm, "write HdrHistogram's percentile text here (ms), for hdr-plot");
  command->add_option("--hlog", o.hlog, "write HdrHistogram's interval log here, a line a second");
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "bench",
      "Loads a server in an open loop and says how long answers took, counted from when each request was "
      "meant "
      "to be sent (no\ncoordinated omission). Beside it: the generator's own lag, a bare ZeroMQ echo, the "
      "machine's hiccups.\n\n"
      "  shrike bench --rate 2000 --duration 30s                       a server of its own, simulated "
      "traffic\n"
      "  shrike bench --rate 2000 --server tcp://127.0.0.1:7201,tcp://127.0.0.1:7202 --config handbook.toml\n"
      "  shrike bench --sla sla.toml --config handbook.toml            a gate\n"
      "  shrike bench --sla sla.toml --config handbook.toml --find-max --duration 5s\n\n"
      "Exit code 1 when the promise was broken, or, without one, when the generator could not keep up or a "
      "reply was not the\nrequest's.");
  add_load_options(command, *options);
  add_traffic_options(command, *options);
  add_report_options(command, *options);
  command->callback([options, &exit_code] { exit_code = run_bench(*options); });
}

}  // namespace shrike::tools
