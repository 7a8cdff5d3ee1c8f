#include "engine/lifecycle/sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "engine/lifecycle/numbers.h"
#include "engine/lifecycle/sources.pb.h"

namespace shrike::engine {
namespace {

// A source is judged by about its newest thousand fraud labels.
constexpr double kForget = 1 - 1.0 / 1000;
constexpr unsigned kBits = 2;     // of a score's mantissa
constexpr double kFlipped = 0.5;  // a difference of less than this share of the others' is none
constexpr double kTells = 0.1;    // others' frauds are ranked so much above one half, or they tell nothing
constexpr double kRandom =
    0.05;  // ranked less above one half than this, by kSurely standard errors: at random
constexpr double kSurely = 3;
// A source has fallen silent when it gave so many labels a day, by a mean over about ten days, and none for
// so many: people rest at weekends.
constexpr double kTalks = 20, kDayWeight = 0.1;
constexpr uint64_t kQuietDays = 3;

}  // namespace

double SourceMonitor::Frauds::variance() const {
  if (labels < 2) return 0;
  return std::max(squares / labels - mean() * mean(), 1e-6);
}

SourceMonitor::Day& SourceMonitor::day_of(Seen& seen, int64_t time_us) const {
  const int64_t number = std::max<int64_t>(time_us, 0) / features::kDayUs;
  Day& day = seen.legitimate[static_cast<size_t>(number) % kDays];
  if (day.day < number) day = {number};
  return day;
}

// Only what was to be approved: reviewers see what scored high, and of what was declined others tell by
// chance.
bool SourceMonitor::counts(const Answer& answer) {
  return answer.step != Step::kStatic && answer.wanted == Decision::kApprove;
}

void SourceMonitor::scored(const Scored& scored) {
  const float score = champions_score(scored.answer);
  if (score < 0 || !counts(scored.answer)) return;
  const int64_t day = std::max<int64_t>(scored.time_us, 0) / features::kDayUs;
  Traffic& traffic = traffic_[static_cast<size_t>(day) % kDays];
  if (traffic.day < day) traffic = {day};
  if (traffic.day == day) ++traffic.scores[score_bin(score, kBits, kBins)];
}

// The share of its day's traffic that scored lower, of equal bins half; nothing when the day is forgotten.
std::optional<double> SourceMonitor::rank(float score, int64_t time_us) const {
  const int64_t day = std::max<int64_t>(time_us, 0) / features::kDayUs;
  const Traffic& traffic = traffic_[static_cast<size_t>(day) % kDays];
  if (traffic.day != day) return std::nullopt;
  const size_t bin = score_bin(score, kBits, kBins);
  double lower = 0, all = 0;
  for (size_t i = 0; i < kBins; ++i) {
    const double n = traffic.scores[i];
    all += n;
    lower += i < bin ? n : i == bin ? n / 2 : 0;
  }
  return all > 0 ? std::optional(lower / all) : std::nullopt;
}

// Whether the one's verdicts say something about the other.
bool SourceMonitor::may_judge(size_t other, size_t source) const {
  const DeclaredSource& judge = config_->sources.of(static_cast<Source>(other));
  return other != source && !quarantined_[other] && judge.trust != DeclaredSource::Trust::kNone &&
         judge.precedence >= config_->sources.of(static_cast<Source>(source)).precedence;
}

void SourceMonitor::labelled(const Labelled& labelled) {
  const LabelEvent& event = labelled.event;
  const size_t from = static_cast<size_t>(event.source);
  Seen& source = seen_[from];
  ++source.today;
  const Answer* answer = labelled.answer;
  const bool counts = answer != nullptr && SourceMonitor::counts(*answer);
  const double p = counts ? static_cast<double>(std::max(answer->score, 0.0f)) : 0;
  if (counts && event.verdict == Verdict::kLegitimate) day_of(source, labelled.time_us).expected += p;
  for (size_t i = 0; i < kSources; ++i) {
    const Verdict other = labelled.state.by_source[i];
    if (i == from || other == Verdict::kUnknown || other == event.verdict) continue;
    ++source.contradicted;
    ++seen_[i].contradicted;
    if (!counts) continue;
    if (event.verdict == Verdict::kFraud && other == Verdict::kLegitimate && may_judge(from, i))
      ++day_of(seen_[i], labelled.time_us).found;
    if (event.verdict == Verdict::kLegitimate && other == Verdict::kFraud && may_judge(i, from))
      ++day_of(source, labelled.time_us).found;
  }
  if (!counts || event.verdict != Verdict::kFraud) return;
  const auto above = rank(champions_score(*answer), labelled.time_us);
  if (!above) return;
  Frauds& frauds = source.frauds;
  frauds.labels = frauds.labels * kForget + 1;
  frauds.sum = frauds.sum * kForget + *above;
  frauds.squares = frauds.squares * kForget + *above * *above;
  ++frauds.all;
}

SourceMonitor::Frauds SourceMonitor::frauds_of_others(size_t than) const {
  Frauds all;
  for (size_t i = 0; i < kSources; ++i) {
    if (!may_judge(i, than)) continue;
    all.labels += seen_[i].frauds.labels;
    all.sum += seen_[i].frauds.sum;
    all.squares += seen_[i].frauds.squares;
    all.all += seen_[i].frauds.all;
  }
  return all;
}

SourceMonitor::Agreement SourceMonitor::by_frauds(size_t source) const {
  const Frauds& mine = seen_[source].frauds;
  const Frauds rest = frauds_of_others(source);
  Agreement found;
  found.mine = mine.all, found.others = rest.all;
  if (std::min(mine.all, rest.all) < config_->sources.labels_min) return found;
  const double error = std::sqrt(mine.variance() / mine.labels + rest.variance() / rest.labels);
  found.z = (rest.mean() - mine.mean()) / error;
  found.of_mine = mine.mean(), found.of_others = rest.mean();
  const double tells = mine.mean() - 0.5, others_tell = rest.mean() - 0.5;
  // As good as random, which the others' are not; or far less than the others'.
  const double most = tells + kSurely * std::sqrt(mine.variance() / mine.labels);
  const bool random = most < kRandom && found.z > kSurely;
  const bool far_less =
      others_tell > kTells && found.z > config_->sources.z && tells < kFlipped * others_tell;
  found.departs = random || far_less;
  // Back when it departs no more by half as much.
  found.agrees =
      tells > kRandom && (found.z < config_->sources.z / 2 || tells > (1 + kFlipped) / 2 * others_tell);
  found.text = fmt::format(
      "its {} fraud labels were ranked above {:.0f} % of their day's traffic, those of other sources above "
      "{:.0f} %, and chance ranks 50 %",
      mine.all, 100 * found.of_mine, 100 * found.of_others);
  return found;
}

// Of transactions old enough for the others to have spoken.
SourceMonitor::Agreement SourceMonitor::by_legitimate(size_t source) const {
  const int64_t until_us =
      now_us_ - std::min(config_->training.maturity_us, static_cast<int64_t>(kDays) / 2 * features::kDayUs);
  double expected = 0, frauds = 0;
  for (const Day& day : seen_[source].legitimate) {
    if (day.day < 0 || day.day * features::kDayUs >= until_us) continue;
    expected += day.expected;
    frauds += day.found;
  }
  Agreement found;
  found.mine = static_cast<uint64_t>(frauds);
  found.of_mine = expected, found.of_others = frauds;
  if (frauds < static_cast<double>(config_->sources.labels_min)) return found;
  found.z = (frauds - kFlipped * expected) / std::sqrt(frauds);
  found.departs = found.z > config_->sources.z / 2;
  found.agrees = frauds < kFlipped / 2 * expected;
  found.text = fmt::format(
      "of what it called legitimate {:.0f} were frauds by other sources, and {:.0f} were expected by score",
      frauds, expected);
  return found;
}

void SourceMonitor::judge(size_t i, std::vector<JudgementEvent>& found) {
  const DeclaredSource& source = config_->sources.of(static_cast<Source>(i));
  if (source.trust != DeclaredSource::Trust::kChecked) return;
  const Agreement frauds = by_frauds(i), legitimate = by_legitimate(i);
  const bool departs = frauds.departs || legitimate.departs;
  const Suspended what = frauds.departs && legitimate.departs ? Suspended::kAll
                         : frauds.departs                     ? Suspended::kFrauds
                                                              : Suspended::kLegitimate;
  const bool worse = departs && quarantined_[i] && suspended_[i] != Suspended::kAll && suspended_[i] != what;
  const bool agrees = !departs && (frauds.agrees || suspended_[i] == Suspended::kLegitimate) &&
                      (legitimate.agrees || suspended_[i] == Suspended::kFrauds);
  if (quarantined_[i] ? !worse && !agrees : !departs) return;
  JudgementEvent judgement;
  judgement.subject = judgement.target = source.name;
  judgement.finding = departs ? Finding::kFailed : Finding::kSuccessful;
  judgement.severity = departs ? Severity::kCritical : Severity::kInfo;
  judgement.action = departs ? Action::kQuarantine : Action::kRelease;
  const Suspended all = worse ? Suspended::kAll : what;
  if (departs) judgement.values[0] = static_cast<double>(all);
  constexpr const char* kWhat[] = {"labels", "fraud labels", "legitimate labels"};
  judgement.text =
      departs
          ? fmt::format(
                "{} of source {} are kept and not learned from: {}. Ask its operator; `release` by hand",
                kWhat[static_cast<size_t>(all)], source.name, frauds.departs ? frauds.text : legitimate.text)
          : fmt::format("labels of source {} agree with the others again and are learned from", source.name);
  judgement.evidence = nlohmann::json{{"fraud_labels", frauds.mine},
                                      {"rank", frauds.of_mine},
                                      {"rank_of_others", frauds.of_others},
                                      {"fraud_labels_of_others", frauds.others},
                                      {"z", frauds.z},
                                      {"legitimate_expected_frauds", legitimate.of_mine},
                                      {"legitimate_found_frauds", legitimate.of_others},
                                      {"contradicted", seen_[i].contradicted}}
                           .dump();
  found.push_back(std::move(judgement));
  quarantined_[i] = departs;
  suspended_[i] = departs ? all : Suspended::kAll;
}

void SourceMonitor::end_day(size_t i, std::vector<JudgementEvent>& found) {
  Seen& seen = seen_[i];
  const uint64_t labels = std::exchange(seen.today, 0);
  if (labels == 0) {
    if (seen.per_day < kTalks || ++seen.quiet_days != kQuietDays) return;
  } else {
    const double weight = seen.per_day > 0 ? kDayWeight : 1;
    seen.per_day += weight * (static_cast<double>(labels) - seen.per_day);
    if (std::exchange(seen.quiet_days, 0) < kQuietDays) return;
  }
  const DeclaredSource& source = config_->sources.of(static_cast<Source>(i));
  const bool quiet = labels == 0;
  JudgementEvent judgement;
  judgement.subject = source.name + " silence";
  judgement.finding = quiet ? Finding::kFailed : Finding::kSuccessful;
  judgement.severity = !quiet ? Severity::kInfo : source.silence ? Severity::kCritical : Severity::kWarning;
  judgement.action = quiet ? Action::kNone : Action::kResolve;
  judgement.text =
      quiet ? fmt::format("source {} gave {:.0f} labels a day, and none for {} days{}", source.name,
                          seen.per_day, kQuietDays,
                          source.silence ? "; its silence counts as legitimate: if it is its feed that is "
                                           "broken, `shrike judge hold_training`"
                                         : "")
            : fmt::format("source {} gives labels again", source.name);
  judgement.evidence =
      nlohmann::json{{"labels_per_day", seen.per_day}, {"quiet_days", quiet ? kQuietDays : 0}}.dump();
  found.push_back(std::move(judgement));
}

void SourceMonitor::close(const Period& period, std::vector<JudgementEvent>& found) {
  now_us_ = period.moment.now_us;
  for (size_t i = 0; i < config_->sources.declared.size(); ++i) {
    if (period.new_day) end_day(i, found);
    if (config_->sources.quarantine) judge(i, found);
  }
}

void SourceMonitor::judged(const JudgementEvent& event) {
  if (event.action != Action::kQuarantine && event.action != Action::kRelease) return;
  const auto source = config_->sources.find(event.target);
  if (!source) return;
  const size_t at = static_cast<size_t>(*source);
  quarantined_[at] = event.action == Action::kQuarantine;
  suspended_[at] = static_cast<Suspended>(std::clamp(event.values[0], 0.0, 2.0));
  if (event.action == Action::kQuarantine) return;
  seen_[at].frauds = {};  // judged anew
  seen_[at].legitimate = {};
}

nlohmann::json SourceMonitor::report() const {
  nlohmann::json all = nlohmann::json::object();
  for (size_t i = 0; i < config_->sources.declared.size(); ++i) {
    const Agreement legitimate = by_legitimate(i);
    all[config_->sources.declared[i].name] = {
        {"fraud_labels", seen_[i].frauds.all},
        {"rank", seen_[i].frauds.mean()},
        {"legitimate_expected_frauds", legitimate.of_mine},
        {"legitimate_found_frauds", legitimate.of_others},
        {"contradicted", seen_[i].contradicted},
        {"labels_per_day", seen_[i].per_day},
        {"quarantined", quarantined_[i]},
    };
  }
  return all;
}

std::string SourceMonitor::save() const {
  proto::SourcesRecord record;
  record.set_now_us(now_us_);
  for (const Traffic& day : traffic_) {
    if (day.day < 0) continue;
    proto::TrafficRecord& saved = *record.add_traffic();
    saved.set_day(day.day);
    saved.mutable_scores()->Add(day.scores.begin(), day.scores.end());
  }
  for (size_t i = 0; i < kSources; ++i) {
    const Seen& seen = seen_[i];
    proto::SourceRecord& saved = *record.add_source();
    saved.set_labels(seen.frauds.labels);
    saved.set_sum(seen.frauds.sum);
    saved.set_squares(seen.frauds.squares);
    saved.set_all(seen.frauds.all);
    saved.set_contradicted(seen.contradicted);
    saved.set_quarantined(quarantined_[i]);
    saved.set_suspended(static_cast<uint32_t>(suspended_[i]));
    saved.set_per_day(seen.per_day);
    saved.set_today(seen.today);
    saved.set_quiet_days(seen.quiet_days);
    for (const Day& day : seen.legitimate) {
      if (day.day < 0) continue;
      saved.add_day(day.day);
      saved.add_expected(day.expected);
      saved.add_found(day.found);
    }
  }
  return record.SerializeAsString();
}

tl::expected<void, std::string> SourceMonitor::restore(std::string_view bytes) {
  const auto damaged = [] { return tl::make_unexpected(std::string("its record is damaged")); };
  proto::SourcesRecord record;
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || record.source_size() == 0 ||
      record.source_size() > static_cast<int>(kSources))
    return damaged();
  now_us_ = record.now_us();
  traffic_ = {};
  for (const proto::TrafficRecord& saved : record.traffic()) {
    if (saved.day() < 0 || saved.scores_size() != static_cast<int>(kBins)) return damaged();
    Traffic& day = traffic_[static_cast<size_t>(saved.day()) % kDays];
    day.day = saved.day();
    std::copy(saved.scores().begin(), saved.scores().end(), day.scores.begin());
  }
  for (int i = 0; i < record.source_size(); ++i) {
    const proto::SourceRecord& saved = record.source(i);
    Seen& seen = seen_[static_cast<size_t>(i)];
    seen = {};
    seen.frauds = {saved.labels(), saved.sum(), saved.squares(), saved.all()};
    seen.contradicted = saved.contradicted();
    seen.per_day = saved.per_day();
    seen.today = saved.today();
    seen.quiet_days = saved.quiet_days();
    quarantined_[static_cast<size_t>(i)] = saved.quarantined();
    suspended_[static_cast<size_t>(i)] = static_cast<Suspended>(std::min(saved.suspended(), 2u));
    if (saved.day_size() != saved.expected_size() || saved.day_size() != saved.found_size()) return damaged();
    for (int d = 0; d < saved.day_size(); ++d) {
      if (saved.day(d) < 0) return damaged();
      seen.legitimate[static_cast<size_t>(saved.day(d)) % kDays] = {saved.day(d), saved.expected(d),
                                                                    saved.found(d)};
    }
  }
  return {};
}

}  // namespace shrike::engine
