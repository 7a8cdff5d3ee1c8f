// shrike simulate
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <queue>
#include <thread>

#include <nlohmann/json.hpp>

#include "engine/replay/prequential.h"
#include "tools/client.h"
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/labellers.h"
#include "tools/measure.h"
#include "tools/progress.h"
#include "tools/shop.h"
#include "tools/shop_live.h"
#include "tools/simulator.h"

namespace shrike::tools {
namespace {

struct Options {
  SimulationOptions simulation;
  LabellingOptions labelling;
  std::string delay;
  ShopOptions shop;
  std::string out, score, feedback, mode = "cards";
  double speed = 0;
  size_t window = 8;
  bool json = false;
};

// Plays the stream against a server: transactions in order, the labels of frauds days later, and measures
// what a client sees.
class Live {
 public:
  explicit Live(const Options& options)
      : options_(options),
        labellers_(options.labelling, options.simulation.seed),
        score_(options.score,
               [this](uint64_t tag, std::string_view reply, int64_t us) { on_score(tag, reply, us); }),
        feedback_(options.feedback, [this](uint64_t, std::string_view reply, int64_t) { on_label(reply); }),
        metrics_(0.02) {}

  int run() {
    Simulator simulator(options_.simulation);
    Progress progress("transactions");
    const int64_t started_us = clock_us();
    std::vector<SimulatedTransaction> day;
    int days_done = 0;
    while (simulator.next_day(day)) {
      for (const SimulatedTransaction& t : day) {
        if (!send_due_labels(t.time_s)) return silent();
        if (options_.speed > 0) keep_pace(started_us, t.time_s);
        sent_[t.id] = t;
        score_.send(
            fmt::format(R"({{"transaction_id":{},"time":{},"customer_id":{},"terminal_id":{},"amount":{}}})",
                        t.id, t.time_s, t.customer, t.terminal, format_amount(t.amount_cents)),
            static_cast<uint64_t>(t.id));
        if (!score_.drain(options_.window - 1, 30'000)) return silent();
      }
      progress.update(static_cast<double>(++days_done) / options_.simulation.days, latencies_.size());
    }
    if (!score_.drain(0, 30'000) || !feedback_.drain(0, 30'000)) return silent();
    seconds_ = static_cast<double>(clock_us() - started_us) / 1e6;
    report();
    return errors_ == 0 ? 0 : kNotAllWell;
  }

 private:
  struct Due {
    int64_t time_s;
    int64_t id;
    ComingLabel label;
    bool operator<(const Due& other) const {
      return std::pair(time_s, id) > std::pair(other.time_s, other.id);
    }
  };

  bool send_due_labels(int64_t now_s) {
    while (!due_.empty() && due_.top().time_s <= now_s) {
      const Due due = due_.top();
      due_.pop();
      feedback_.send(fmt::format(R"({{"transaction_id":{},"is_fraud":{},"source":"{}","time":{}}})", due.id,
                                 due.label.verdict, due.label.source, due.time_s),
                     0);
      if (!feedback_.drain(31, 30'000)) return false;
    }
    feedback_.poll(0);
    return true;
  }

  // One second of the wall clock is `speed` seconds of the stream.
  void keep_pace(int64_t started_us, int64_t time_s) {
    const auto at_us = started_us + static_cast<int64_t>(static_cast<double>(time_s) * 1e6 / options_.speed);
    while (clock_us() < at_us) {
      const int64_t left_ms = (at_us - clock_us()) / 1000;
      if (score_.in_flight() > 0) {
        score_.poll(static_cast<int>(std::min<int64_t>(left_ms, 10)));
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(std::min<int64_t>(left_ms + 1, 100)));
      }
    }
  }

  void on_score(uint64_t tag, std::string_view reply, int64_t us) {
    latencies_.push_back(us);
    simdjson::padded_string text(reply);
    simdjson::dom::element root = parser_.parse(text);
    double score = 0;
    if (root["score"].get(score)) {
      if (errors_++ < 5) fmt::print(stderr, "error reply: {}\n", reply);
      return;
    }
    std::string_view decision;
    if (!root["decision"].get(decision)) ++decisions_[std::string(decision)];
    const auto found = sent_.find(static_cast<int64_t>(tag));
    if (found == sent_.end()) return;
    const SimulatedTransaction& t = found->second;
    metrics_.add(t.time_s * 1'000'000, static_cast<float>(score), t.is_fraud,
                 static_cast<uint64_t>(t.customer));
    money_.add(t, decision);
    for (const ComingLabel& label : labellers_.look_at(t, decision))
      due_.push({t.time_s + label.delay_s, t.id, label});
    sent_.erase(found);
  }

  void on_label(std::string_view reply) {
    if (reply.find("\"stored\"") != std::string_view::npos ||
        reply.find("\"corrected\"") != std::string_view::npos ||
        reply.find("\"kept\"") != std::string_view::npos) {
      ++labels_;
    } else if (errors_++ < 5) {
      fmt::print(stderr, "label reply: {}\n", reply);
    }
  }

  int silent() const {
    return complain(
        fmt::format("no reply from {} or {}; is `shrike serve` running, and are these its endpoints?",
                    options_.score, options_.feedback),
        kFailed);
  }

  static uint64_t count(const simdjson::dom::element& root, const char* key) {
    uint64_t value = 0;
    return root[key].get(value) ? 0 : value;
  }

  int64_t quantile(double q) {
    if (latencies_.empty()) return 0;
    const auto at =
        latencies_.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(latencies_.size() - 1));
    std::nth_element(latencies_.begin(), at, latencies_.end());
    return *at;
  }

  void report() {
    const auto status = Client::ask(options_.feedback, R"({"command":"status"})", 5000);
    uint64_t accepted = 0, rejected = 0, matured = 0, labels = 0;
    if (status) {
      simdjson::padded_string text(*status);
      simdjson::dom::element root = parser_.parse(text);
      accepted = count(root, "models_accepted");
      rejected = count(root, "models_rejected");
      matured = count(root, "matured");
      labels = count(root, "labels");
    }
    const int64_t p50 = quantile(0.5), p99 = quantile(0.99), p999 = quantile(0.999);
    std::string weeks;
    Json weeks_json = Json::array();
    for (int week = 0; week * 7 < options_.simulation.days; ++week) {
      const auto m = metrics_.overall({week * 7, week * 7 + 6});
      weeks += fmt::format("{}{:.3f}", week == 0 ? "" : "  ", m.average_precision);
      weeks_json.push_back(m.average_precision);
    }
    const auto rate = static_cast<double>(latencies_.size()) / seconds_;
    if (options_.json) {
      const Json all = {{"transactions", latencies_.size()},
                        {"seconds", seconds_},
                        {"transactions_per_second", std::llround(rate)},
                        {"latency_us", {{"p50", p50}, {"p99", p99}, {"p999", p999}}},
                        {"average_precision_by_week", std::move(weeks_json)},
                        {"models_proposed", accepted + rejected},
                        {"models_accepted", accepted},
                        {"models_refused", rejected},
                        {"labels_joined", labels},
                        {"money",
                         {{"caught", format_amount(money_.caught)},
                          {"lost", format_amount(money_.lost)},
                          {"hindered", format_amount(money_.hindered)}}},
                        {"matured", matured},
                        {"errors", errors_}};
      fmt::print("{}\n", to_text(all));
      return;
    }
    const auto line = [](const char* what, const std::string& value) {
      fmt::print("{:<34}{}\n", what, value);
    };
    line("transactions", fmt::format("{} in {:.1f} s ({:.0f}/s, {} in flight)", latencies_.size(), seconds_,
                                     rate, options_.window));
    line("latency at the client", fmt::format("p50 {} us, p99 {} us, p99.9 {} us", p50, p99, p999));
    line("decisions", fmt::format("{} approve, {} review, {} decline", decisions_["approve"],
                                  decisions_["review"], decisions_["decline"]));
    line("money", fmt::format("{} of frauds declined, {} lost, {} of legitimate ones declined",
                              format_amount(money_.caught), format_amount(money_.lost),
                              format_amount(money_.hindered)));
    line("average precision by week", weeks);
    line("models proposed/accepted/refused",
         fmt::format("{} / {} / {}", accepted + rejected, accepted, rejected));
    line("labels joined", fmt::format("{} sent days late, {} matured by silence", labels, matured));
    if (errors_ > 0) line("error replies", fmt::format("{}", errors_));
  }

  const Options& options_;
  // Of frauds that were declined, of those that were not, and of legitimate ones that were.
  struct Money {
    int64_t caught = 0, lost = 0, hindered = 0;  // cents
    void add(const SimulatedTransaction& t, std::string_view decision) {
      const bool declined = decision == "decline";
      if (t.is_fraud != 0) (declined ? caught : lost) += t.amount_cents;
      if (t.is_fraud == 0 && declined) hindered += t.amount_cents;
    }
  };

  Labellers labellers_;
  Money money_;
  Client score_, feedback_;
  engine::Prequential metrics_;
  simdjson::dom::parser parser_;
  std::map<int64_t, SimulatedTransaction> sent_;  // unanswered
  std::priority_queue<Due> due_;
  std::vector<int64_t> latencies_;
  std::map<std::string, uint64_t> decisions_;
  uint64_t labels_ = 0, errors_ = 0;
  double seconds_ = 0;
};

// What is said of labels needs a server that decides.
int complete(Options& options) {
  if (!options.delay.empty()) {
    const auto delay = parse_label_delay(options.delay);
    if (!delay) return complain("--delay: " + delay.error(), kBadInput);
    options.labelling.delay = *delay;
    options.labelling.delayed = true;
  }
  const LabellingOptions& labels = options.labelling;
  if (options.score.empty() && (labels.hide_declined || labels.delayed || labels.reviews_per_day > 0)) {
    return complain(
        "--hide-declined, --delay and --reviews need --score and --feedback of a running server: a "
        "file has every label (see `shrike replay --hide-declined --label-delay`)",
        kBadInput);
  }
  return 0;
}

// The shop's share of offers that are clicked, day by day, of each arm.
Json shop_day_json(const ShopLive::Day& day) {
  Json json = {{"impressions", day.shown[0] + day.shown[1]}, {"click_through", day.click_through()}};
  if (day.shown[1] > 0) {
    json["click_through_champion"] = day.click_through(0);
    json["click_through_challenger"] = day.click_through(1);
  }
  return json;
}

int play_shop(const Options& options) {
  ShopLive live(options.shop);
  live.connect(options.score, options.feedback);
  Progress progress("impressions");
  Json days = Json::array();
  const int64_t started_us = clock_us();
  ShopLive::Day day;
  while (true) {
    const auto played = live.next_day(day);
    if (!played) return complain(played.error(), kFailed);
    if (!*played) break;
    days.push_back(shop_day_json(day));
    progress.update(static_cast<double>(days.size()) / options.shop.days, live.impressions());
  }
  const double seconds = static_cast<double>(clock_us() - started_us) / 1e6;
  for (const std::string& error : live.first_errors()) fmt::print(stderr, "error reply: {}\n", error);
  if (options.json) {
    fmt::print("{}\n", to_text({{"impressions", live.impressions()},
                                {"seconds", seconds},
                                {"days", std::move(days)},
                                {"errors", live.errors()}}));
  } else {
    fmt::print("{} impressions in {:.1f} s, {} error replies\n{:>6}{:>14}{:>16}\n", live.impressions(),
               seconds, live.errors(), "day", "impressions", "click-through");
    for (size_t d = 0; d < days.size(); ++d) {
      fmt::print("{:>6}{:>14}{:>16.4f}", d, days[d]["impressions"].get<uint64_t>(),
                 days[d]["click_through"].get<double>());
      if (days[d].contains("click_through_challenger")) {
        fmt::print("  (champion {:.4f}, challenger {:.4f})", days[d]["click_through_champion"].get<double>(),
                   days[d]["click_through_challenger"].get<double>());
      }
      fmt::print("\n");
    }
  }
  return live.errors() == 0 ? 0 : kNotAllWell;
}

int play_live(const Options& options) {
  if (options.feedback.empty()) return complain("--feedback is needed beside --score", kBadInput);
  try {
    return options.mode == "ecommerce" ? play_shop(options) : Live(options).run();
  } catch (const zmq::error_t& error) {
    return complain(fmt::format("{}; expected endpoints such as tcp://127.0.0.1:7201", error.what()),
                    kBadInput);
  }
}

int simulate(Options& options) {
  if (const int code = complete(options); code != 0) return code;
  if (options.out.empty() == options.score.empty())
    return complain("give either --out FILE, or --score and --feedback of a running server", kBadInput);
  options.shop.days = options.simulation.days;
  options.shop.seed = options.simulation.seed;
  if (!options.score.empty()) return play_live(options);
  const bool shop = options.mode == "ecommerce";
  tl::expected<uint64_t, std::string> rows;
  {
    Progress progress(shop ? "impressions" : "transactions");
    const auto show = [&](double share, uint64_t done) { progress.update(share, done); };
    rows = shop ? write_shop_csv(options.out, options.shop, show)
                : write_csv(options.out, options.simulation, show);
  }
  if (!rows) return complain(rows.error(), kBadInput);
  if (options.json) {
    fmt::print("{}\n", to_text({{"rows", *rows}, {"out", options.out}}));
  } else {
    fmt::print("{} {} of {} days in {}\n", *rows, shop ? "impressions" : "transactions",
               options.simulation.days, options.out);
  }
  return 0;
}

}  // namespace

void add_simulate(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("simulate",
                         "A realistic stream of card transactions (the Fraud Detection "
                         "Handbook's process), to a file or live against a server.\n\n"
                         "  shrike simulate --days 91 --seed 7 --out stream.csv.gz\n"
                         "  shrike simulate --days 35 --seed 7 --customers 1000 --score "
                         "tcp://127.0.0.1:7201 --feedback tcp://127.0.0.1:7202\n"
                         "  shrike simulate --days 91 --seed 7 --drift-day 45 --out "
                         "drift.csv.gz      a new kind of fraud from day 45\n"
                         "  shrike simulate --mode ecommerce --days 30 --change-day 15 --score "
                         "tcp://127.0.0.1:7401 --feedback tcp://127.0.0.1:7402      a shop for "
                         "examples/ecommerce.toml");
  SimulationOptions& s = options->simulation;
  command
      ->add_option("--mode", options->mode,
                   "cards: payments; ecommerce: offers that are shown, live in the order of their scores")
      ->check(CLI::IsMember({"cards", "ecommerce"}))
      ->capture_default_str();
  command
      ->add_option("--change-day", options->shop.change_day,
                   "ecommerce: from this day on visitors' tastes are other ones than the shop knows")
      ->check(CLI::Range(0, 10000));
  command->add_option("--visitors", options->shop.visitors, "ecommerce")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  command->add_option("--items", options->shop.items, "ecommerce")
      ->check(CLI::Range(100, 10'000'000))
      ->capture_default_str();
  command->add_option("--days", s.days, "length of the stream")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_option("--seed", s.seed, "the same seed gives the same stream")->capture_default_str();
  command->add_option("--customers", s.customers)->check(CLI::Range(1, 10'000'000))->capture_default_str();
  command->add_option("--terminals", s.terminals)->check(CLI::Range(1, 10'000'000))->capture_default_str();
  command->add_option("--drift-day", s.new_scenario_from_day,
                      "a new fraud scenario appears from this day on");
  command->add_option("--end-scenario-2-day", s.end_scenario_2_at_day,
                      "an old one vanishes: no terminal is compromised from this day on");
  LabellingOptions& labels = options->labelling;
  command->add_flag("--hide-declined", labels.hide_declined,
                    "what was declined, or waits for a review in vain, gets no chargeback, as in life");
  command->add_option("--delay", options->delay,
                      "of chargebacks: 7d, or exponential:14d by its mean; default: a third of the frauds is "
                      "found by analysts within two days, the others are charged back after three to six");
  command
      ->add_option("--reviews", labels.reviews_per_day,
                   "analysts look at so many reviewed transactions a day, half as many on two days a week")
      ->check(CLI::Range(0, 10'000'000))
      ->capture_default_str();
  command->add_option("--analyst-error", labels.error, "share of their verdicts that is wrong")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--analyst-unsure", labels.unsure, "share of what they look at and cannot tell")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--out,-o", options->out, "write a CSV here; .gz compresses");
  command->add_option("--score", options->score, "a running server's score socket");
  command->add_option("--feedback", options->feedback,
                      "its feedback socket: fraud labels come hours to days late");
  command
      ->add_option("--speed", options->speed,
                   "seconds of the stream a second; 0 is as fast as the server answers")
      ->capture_default_str();
  command->add_option("--window", options->window, "transactions in flight")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command->add_flag("--json", options->json, "for machines");
  command->callback([options, &exit_code] { exit_code = simulate(*options); });
}

}  // namespace shrike::tools
