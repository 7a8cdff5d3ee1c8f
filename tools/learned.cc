#include "tools/learned.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "learners/widening.h"
#include "tools/commands.h"

namespace shrike::tools {
namespace {

using engine::Config;
using engine::Learned;
using engine::ReplayReport;
using features::format_duration;

bool learned_from_labels(const engine::Swap& swap) {
  return swap.event.action == engine::ModelAction::kActivated ||
         (swap.event.action == engine::ModelAction::kAccepted && swap.event.candidate > 0);
}

// A length of time in a unit that people think of it in; durations of a configuration are whole.
std::string length(int64_t us) {
  if (us >= 2 * features::kDayUs)
    return fmt::format("{:.1f} days", static_cast<double>(us) / static_cast<double>(features::kDayUs));
  if (us >= 2 * features::kHourUs)
    return fmt::format("{:.1f} hours", static_cast<double>(us) / static_cast<double>(features::kHourUs));
  return fmt::format("{} s", us / 1'000'000);
}

void say_what_time_kept(const Learned& learned, const Config& config, std::vector<std::string>& why) {
  if (learned.labels_outstanding > 0 && learned.frauds == 0) {
    why.push_back(fmt::format(
        "the stream is {} long and a fraud's label comes {} after it: {} labels would have "
        "come after its end (--label-delay, training.maturity)",
        length(learned.stream_us), format_duration(learned.label_delay_us), learned.labels_outstanding));
  }
  if (learned.examples == 0 && learned.stream_us < config.training.maturity_us) {
    why.push_back(
        fmt::format("nothing was learned: the stream is {} long, and silence makes a transaction "
                    "legitimate after {} (training.maturity). Is the time in the schema's unit?",
                    length(learned.stream_us), format_duration(config.training.maturity_us)));
  }
}

std::string last_rejection(const ReplayReport& report) {
  uint64_t count = 0;
  std::string newest;
  for (const engine::Swap& swap : report.swaps) {
    if (swap.event.action != engine::ModelAction::kRejected) continue;
    ++count;
    newest = swap.event.report;
  }
  return count == 0 ? ""
                    : fmt::format("the gate refused {} candidate{}, the last with {}", count,
                                  count == 1 ? "" : "s", newest);
}

}  // namespace

std::vector<std::string> why_no_model(const ReplayReport& report, const Config& config) {
  const Learned& learned = report.learned;
  std::vector<std::string> why;
  if (learned.by == Learned::By::kNothing || learned.by == Learned::By::kLog) return why;
  if (std::any_of(report.swaps.begin(), report.swaps.end(), learned_from_labels)) return why;
  say_what_time_kept(learned, config, why);
  if (learned.examples == 0 && !why.empty()) return why;  // all else follows
  if (!learned.learner_waits.empty())
    why.push_back(fmt::format("the learner has seen too little: {}", learned.learner_waits));
  if (learned.by == Learned::By::kLive) return why;
  if (learned.examples < std::min(learners::kFirstLook, config.training.every))
    why.push_back(fmt::format("a candidate is first looked for at {} examples, {} came", learned.next_look,
                              learned.examples));
  if (learned.on_trial)
    why.push_back(fmt::format(
        "a candidate is on trial still: {} examples with {} frauds; the gate asks for {} with {}, and to see "
        "that it surely knows more than the share of frauds",
        learned.trial_examples, learned.trial_frauds, learned.trial_examples_min, learned.trial_frauds_min));
  if (const std::string rejection = last_rejection(report); !rejection.empty()) why.push_back(rejection);
  return why;
}

std::string describe_learned(const ReplayReport& report) {
  const Learned& learned = report.learned;
  const std::string outstanding =
      learned.labels_outstanding == 0
          ? ""
          : fmt::format(", {} frauds' labels would have come after its end", learned.labels_outstanding);
  if (learned.by == Learned::By::kNothing) return "nothing: one model scored throughout" + outstanding;
  return fmt::format("{} examples, {} of them frauds, of a stream {} long{}", learned.examples,
                     learned.frauds, length(learned.stream_us), outstanding);
}

std::vector<std::string> remarks(const ReplayReport& report, const Config& config) {
  std::vector<std::string> all;
  const uint64_t read = report.rows + report.duplicates + report.refused;
  if (report.duplicates * 10 >= read && report.duplicates > 1) {
    const std::string& id = config.schema().fields[config.schema().id].name;
    all.push_back(fmt::format(
        "{} of {} rows have an id that came before, and are left out. If \"{}\" is not one transaction's own "
        "(an account's or a card's, say), let schema.id name a column that is, or number the rows: "
        "awk '{{print (NR==1 ? \"row\" : NR) \",\" $0}}' FILE",
        report.duplicates, read, id));
  }
  return all;
}

Json learned_json(const ReplayReport& report, const Config& config) {
  const Learned& learned = report.learned;
  Json json = {{"examples", learned.examples},
               {"frauds", learned.frauds},
               {"labels", report.counters.labels},
               {"matured", report.counters.matured},
               {"corrections", report.counters.corrections},
               {"labels_outstanding", learned.labels_outstanding},
               {"stream_seconds", learned.stream_us / 1'000'000},
               {"label_delay_seconds", learned.label_delay_us / 1'000'000},
               {"learner_waits_for", learned.learner_waits}};
  if (learned.by == Learned::By::kGate) {
    json["trial"] = {{"running", learned.on_trial},
                     {"examples", learned.trial_examples},
                     {"examples_min", learned.trial_examples_min},
                     {"frauds", learned.trial_frauds},
                     {"frauds_min", learned.trial_frauds_min}};
  }
  json["why_no_model"] = why_no_model(report, config);
  return {{"learned", std::move(json)}, {"refusals", report.refusals}, {"remarks", remarks(report, config)}};
}

bool complain_of_refusals(const ReplayReport& report) {
  const uint64_t count = report.skipped + report.refused;
  if (count == 0) return false;
  for (const std::string& why : report.refusals) fmt::print(stderr, "left out: {}\n", why);
  complain(fmt::format("{} rows were refused and left out{}", count,
                       count > report.refusals.size()
                           ? fmt::format("; the first {} are named above", report.refusals.size())
                           : ""),
           0);
  return true;
}

}  // namespace shrike::tools
