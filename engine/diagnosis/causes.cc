#include "engine/diagnosis/causes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/fold/dropped.h"

namespace shrike::engine {
namespace {

constexpr std::string_view kKindNames[] = {"broken_feed",    "changed_feed", "label_noise", "missing_labels",
                                           "bad_model",      "new_fraud",    "new_traffic", "aged_model",
                                           "stuck_training", "machine",      "crashes",     "configuration"};
// A fall of the model this soon after something may come of it.
constexpr int64_t kSoonDays = 3;
// Less of the champion's contributions is hardly used.
constexpr double kHardlyUsed = 0.01;

// How far `value` is on the way from `from` to `to`, within [0, 1].
double part(double value, double from, double to) {
  return std::isfinite(value) ? std::clamp((value - from) / (to - from), 0.0, 1.0) : 0;
}

double ratio(const Pair& pair) { return pair[0] > 0 ? pair[1] / pair[0] : pair[1] > 0 ? INFINITY : 1; }

bool soon_after(int64_t day, int64_t cause) {
  return day != kNoDay && cause != kNoDay && cause - 1 <= day && day <= cause + kSoonDays;
}

std::string percent(double share) { return fmt::format("{:.3g} %", 100 * share); }

class Rules {
 public:
  explicit Rules(const Evidence& evidence) : e_(evidence) {}

  std::vector<Cause> all() {
    feeds();
    bad_models();
    label_noise();
    missing_labels();
    infrastructure();
    stuck_training();
    // What is told of the stream as a whole is weighed against what is wrong in particular.
    new_fraud();
    new_traffic();
    aged_model();
    for (Cause& cause : causes_) {
      finish(cause);
      if (e_.newest != kNoDay && e_.period.last < e_.newest) leave_alone(cause);
    }
    std::erase_if(causes_, [](const Cause& cause) { return cause.score < kWorthTelling; });
    std::stable_sort(causes_.begin(), causes_.end(),
                     [](const Cause& a, const Cause& b) { return a.score > b.score; });
    return std::move(causes_);
  }

 private:
  static void finish(Cause& cause) {
    double not_so = 1, left = 1;
    for (const Ground& ground : cause.grounds) not_so *= 1 - ground.weight;
    for (const Ground& ground : cause.against) left *= 1 - ground.weight;
    cause.score = (1 - not_so) * left;
  }
  // What a period shows that lies back may be over, or answered by now: nothing is done about it unasked.
  void leave_alone(Cause& cause) const {
    if (cause.remedy == Remedy::kNone) return;
    cause.remedy = Remedy::kNone;
    cause.advice += fmt::format("; the period ends {} days before the log, so see first whether it goes on",
                                e_.newest - e_.period.last);
  }
  static double score(Cause cause) {
    finish(cause);
    return cause.score;
  }
  static void say(std::vector<Ground>& grounds, double weight, std::string text) {
    if (weight >= 0.01) grounds.push_back({std::min(weight, 0.95), std::move(text)});
  }
  bool goes_on(int64_t last_day) const { return last_day >= e_.period.last - 1; }

  // The strongest of these kinds so far; null without one.
  const Cause* strongest(std::initializer_list<CauseKind> kinds) const {
    const Cause* best = nullptr;
    for (const Cause& cause : causes_) {
      if (std::find(kinds.begin(), kinds.end(), cause.kind) == kinds.end()) continue;
      if (best == nullptr || score(cause) > score(*best)) best = &cause;
    }
    return best;
  }
  void against_by(Cause& cause, const Cause* other, double weight) const {
    if (other == nullptr) return;
    const double of_other = score(*other);
    if (of_other >= 0.3)
      say(cause.against, weight * of_other,
          fmt::format("it is explained by {}{}", name(other->kind),
                      other->subject.empty() ? "" : " of " + other->subject));
  }
  // Did the model do worse right after this day?
  void fall_after(Cause& cause, int64_t day, double weight) const {
    if (!e_.performance || !soon_after(e_.performance.found.fell_on, day)) return;
    const PerformanceEvidence& of = e_.performance.found;
    say(cause.grounds, weight,
        fmt::format(
            "right after it the model does worse: from {} its scores take {} off the loss of the base "
            "rate, before {} (z {:.1f})",
            day_name(of.fell_on), percent(of.skill[1]), percent(of.skill[0]), of.fell_z));
  }
  // What monitors told of a subject, the first time.
  template <typename About>
  const Told* told(About&& about) const {
    if (!e_.told) return nullptr;
    for (const Told& one : e_.told.found) {
      if (about(one.judgement)) return &one;
    }
    return nullptr;
  }
  template <typename About>
  void by_monitor(Cause& cause, double weight, About&& about) const {
    const Told* one = told(about);
    if (one == nullptr) return;
    say(cause.grounds, weight,
        fmt::format("monitor {} on {} (event {}): {}", one->judgement.monitor,
                    day_name(day_of(one->judgement.time_us)), one->sequence, one->judgement.text));
  }

  void feeds();
  void feed_of(const std::string& target, const std::vector<const ColumnChange*>& columns, bool stuck);
  static void describe_stuck(Cause& cause, const ColumnChange& worst, size_t columns);
  void drop(Cause& cause, const std::vector<const ColumnChange*>& columns) const;
  void label_noise();
  void noise_of(Source source);
  void say_flood(Cause& cause, const SourceFigures& of) const;
  bool others_fell(Source but) const;
  void missing_labels();
  void silence_of(Source source);
  void bad_models();
  void bad_model(const Takeover& takeover);
  void roll_back(Cause& cause, const Takeover& takeover) const;
  void infrastructure();
  void machine(const InfrastructureEvidence& of);
  void crashes(const InfrastructureEvidence& of);
  void configurations(const InfrastructureEvidence& of);
  void stuck_training();
  void new_fraud();
  void new_traffic();
  bool of_broken_feed(const ColumnChange& change) const;
  void aged_model();
  void retrain(Cause& cause, const std::string& why) const;

  const Evidence& e_;
  std::vector<Cause> causes_;
};

// A field whose own value is stuck, or means something else, is a feed that is broken or changed, and what is
// computed from it changes with it. Where only computed columns have changed the fields are right: it is the
// traffic, see new_traffic(), for who has no history has nothing to aggregate.
void Rules::feeds() {
  if (!e_.inputs) return;
  std::vector<const ColumnChange*> stuck, shifted;
  for (const ColumnChange& change : e_.inputs.found.changed)
    (change.stuck ? stuck : shifted).push_back(&change);
  const auto made_of = [](const ColumnChange& column, const std::string& field) {
    return std::find(column.fields.begin(), column.fields.end(), field) != column.fields.end();
  };
  const auto take = [&](std::vector<const ColumnChange*>& from, const std::string& field) {
    std::vector<const ColumnChange*> taken;
    for (const ColumnChange* column : from) {
      if (made_of(*column, field)) taken.push_back(column);
    }
    std::erase_if(from, [&](const ColumnChange* column) { return made_of(*column, field); });
    return taken;
  };
  for (const bool is_stuck : {true, false}) {
    std::vector<const ColumnChange*>& rest = is_stuck ? stuck : shifted;
    while (true) {
      const auto plain =
          std::find_if(rest.begin(), rest.end(), [](const auto* c) { return !c->value_of.empty(); });
      if (plain == rest.end()) break;
      const std::string field = (*plain)->value_of;
      std::vector<const ColumnChange*> columns = take(rest, field);
      if (is_stuck) {  // what has only shifted may come of it too
        const auto more = take(shifted, field);
        columns.insert(columns.end(), more.begin(), more.end());
      }
      feed_of(std::string(kFieldPrefix) + field, columns, is_stuck);
    }
  }
}

void Rules::describe_stuck(Cause& cause, const ColumnChange& worst, size_t columns) {
  const double missing = worst.missing[1] - worst.missing[0], common = worst.common[1] - worst.common[0];
  const std::string since = fmt::format("; {} days from {}", worst.days, day_name(worst.first_day));
  if (missing >= common) {
    say(cause.grounds, 0.5 + 0.3 * part(missing, 0.3, 0.9),
        fmt::format("{} is missing in {} of transactions, in the reference in {}{}", worst.column,
                    percent(worst.missing[1]), percent(worst.missing[0]), since));
  } else {
    say(cause.grounds, 0.5 + 0.3 * part(common, 0.5, 0.9),
        fmt::format("{} is {:g} in {} of transactions, in the reference in {}{}", worst.column,
                    worst.common_value, percent(worst.common[1]), percent(worst.common[0]), since));
  }
  if (columns > 1)
    say(cause.grounds, 0.25,
        fmt::format("{} columns that are computed from it have changed with it", columns - 1));
}

void Rules::feed_of(const std::string& target, const std::vector<const ColumnChange*>& columns, bool stuck) {
  const ColumnChange& worst = *columns.front();
  Cause cause{.kind = stuck ? CauseKind::kBrokenFeed : CauseKind::kChangedFeed, .subject = target};
  cause.first_day = worst.first_day, cause.last_day = worst.last_day;
  cause.goes_on = goes_on(worst.last_day);
  const std::string what = target.starts_with(kFieldPrefix)
                               ? "the field " + target.substr(kFieldPrefix.size())
                               : "the feature " + target;
  if (stuck) {
    cause.text = fmt::format("the feed of {} is broken", what);
    describe_stuck(cause, worst, columns.size());
  } else {
    cause.text = fmt::format("the feed of {} means something else than before, or another unit", what);
    say(cause.grounds, 0.15 + 0.4 * part(worst.psi, 0.25, 3),
        fmt::format(
            "{} is distributed otherwise: PSI {:.2g} on its worst day (large is 0.25); {} days from {}",
            worst.column, worst.psi, worst.days, day_name(worst.first_day)));
    say(cause.grounds, columns.size() > 1 ? 0.1 : 0,
        fmt::format("{} columns that are computed from it have changed with it", columns.size() - 1));
  }
  double importance = 0;
  std::set<std::string> names;
  for (const ColumnChange* column : columns) importance += column->importance, names.insert(column->column);
  by_monitor(cause, 0.2, [&](const JudgementEvent& judgement) {
    if (judgement.monitor != "drift" && judgement.monitor != "quality") return false;
    return names.contains(judgement.subject) ||
           (judgement.monitor == "quality" && judgement.text.find(worst.column) != std::string::npos);
  });
  fall_after(cause, worst.first_day, 0.35);
  if (e_.importance && importance < kHardlyUsed)
    say(cause.against, 0.5,
        fmt::format("the champion hardly uses it: {} of its contributions", percent(importance)));
  if (!stuck) {
    const auto others = std::count_if(
        e_.inputs.found.changed.begin(), e_.inputs.found.changed.end(),
        [&](const ColumnChange& other) { return !other.stuck && !names.contains(other.column); });
    say(cause.against, 0.4 * part(static_cast<double>(others), 1, 6),
        fmt::format("{} columns that have nothing to do with it have changed too", others));
  }
  drop(cause, columns);
  causes_.push_back(std::move(cause));
}

void Rules::drop(Cause& cause, const std::vector<const ColumnChange*>& columns) const {
  const bool dropped =
      e_.standing && std::all_of(columns.begin(), columns.end(), [&](const ColumnChange* column) {
        const auto& names = e_.standing.found.dropped;
        return std::find(names.begin(), names.end(), column->column) != names.end();
      });
  const std::string restore =
      "shrike judge restore_feature " + cause.subject + " --why \"the feed is mended\"";
  if (dropped) {
    cause.advice = "it is dropped from scoring; have its feed mended, then restore it";
    cause.command = restore;
    return;
  }
  if (!cause.goes_on) {
    cause.advice = fmt::format(
        "it is over since {}: nothing to drop; windows still hold the wrong values, so a "
        "retraining that learned from those days may be worse than its parent",
        day_name(cause.last_day));
    return;
  }
  const bool stuck = cause.kind == CauseKind::kBrokenFeed;
  cause.advice = stuck ? "have the feed mended; until then drop it, so that models do without it"
                       : "ask whoever sends it; if it is wrong, drop it until it is mended";
  cause.remedy = stuck ? Remedy::kDropFeature : Remedy::kNone;
  cause.target = cause.subject;
  cause.command = "shrike judge drop_feature " + cause.subject + " --why \"" + cause.text + "\"";
  cause.undo = restore;
}

void Rules::label_noise() {
  if (!e_.labels) return;
  for (size_t i = 0; i < kSources; ++i) {
    if (static_cast<Source>(i) != Source::kMatured) noise_of(static_cast<Source>(i));
  }
}

// Do the frauds that other sources report score lower than they did? Then what frauds look like has changed.
bool Rules::others_fell(Source but) const {
  double before = 0, now = 0, n_before = 0, n_now = 0;
  for (size_t i = 0; i < kSources; ++i) {
    const SourceFigures& of = e_.labels.found.sources[i];
    if (static_cast<Source>(i) == but) continue;
    before += of.judged[0] * of.fraud_score[0], n_before += of.judged[0];
    now += of.judged[1] * of.fraud_score[1], n_now += of.judged[1];
  }
  return n_before >= 20 && n_now >= 20 && now / n_now < 0.75 * before / n_before;
}

// Far more frauds than before; and the others, who would have reported them by now too, do not.
void Rules::say_flood(Cause& cause, const SourceFigures& of) const {
  if (of.flood_from == kNoDay) return;
  const auto& [before, now] = of.frauds_a_day;
  say(cause.grounds, 0.15 + 0.3 * part(now / std::max(before, 0.5), 1, 4),
      fmt::format("from {} it reports {:.3g} frauds a day, before {:.3g}", day_name(of.flood_from), now,
                  before));
  const auto since = static_cast<double>(e_.period.last - of.flood_from + 1);
  if (!(of.others_a_day[0] >= 1) || !(since >= 2 * of.others_delay_days)) return;
  say(cause.grounds, 0.45 * part(1.6 - ratio(of.others_a_day), 0, 0.5),
      fmt::format("other sources report {:.3g} a day, before {:.3g}; theirs come after {:.2g} days",
                  of.others_a_day[1], of.others_a_day[0], of.others_delay_days));
  say(cause.against, 0.5 * part(ratio(of.others_a_day), 1.5, 3),
      fmt::format("other sources report {:.3g} a day too, before {:.3g}", of.others_a_day[1],
                  of.others_a_day[0]));
}

void Rules::noise_of(Source source) {
  constexpr double kLabelsMin = 20;
  const SourceFigures& of = e_.labels.found.sources[static_cast<size_t>(source)];
  if (of.frauds[1] < kLabelsMin) return;
  const Cause* bad_model = strongest({CauseKind::kBadModel});
  const std::string& who = of.name;
  Cause cause{.kind = CauseKind::kLabelNoise, .subject = who};
  cause.text = fmt::format("labels of the source {} are false", who);
  cause.first_day = of.flood_from == kNoDay ? e_.period.first : of.flood_from;
  cause.last_day = e_.period.last;
  say_flood(cause, of);
  const double error = std::hypot(of.fraud_score_error[0], of.fraud_score_error[1]);
  if (of.judged[0] >= kLabelsMin && of.judged[1] >= kLabelsMin && error > 0 &&
      (of.fraud_score[0] - of.fraud_score[1]) / error > 4) {
    say(cause.grounds, 0.65 * part(1 - of.fraud_score[1] / of.fraud_score[0], 0.1, 0.6),
        fmt::format("what it calls fraud was scored {:.3g} by the champion, before {:.3g}",
                    std::pow(of.fraud_score[1], 2), std::pow(of.fraud_score[0], 2)));
  }
  say(cause.grounds, 0.5 * part(of.contradicted[1] - of.contradicted[0], 0.02, 0.2),
      fmt::format("other sources contradict {} of its labels, before {}", percent(of.contradicted[1]),
                  percent(of.contradicted[0])));
  by_monitor(cause, 0.5, [&](const JudgementEvent& judgement) {
    return judgement.monitor == "sources" && judgement.subject == who;
  });
  fall_after(cause, cause.first_day, 0.15);
  if (others_fell(source))
    say(cause.against, 0.6,
        "frauds that other sources report score lower too: frauds themselves have changed");
  if (of.flood_from == kNoDay && cause.grounds.size() < 2)
    say(cause.against, 0.4, "it reports no more frauds than it did");
  if (bad_model != nullptr && bad_model->first_day <= cause.first_day) against_by(cause, bad_model, 0.7);
  const bool quarantined =
      e_.standing && std::find(e_.standing.found.quarantined.begin(), e_.standing.found.quarantined.end(),
                               who) != e_.standing.found.quarantined.end();
  const std::string release = "shrike judge release " + who + " --why \"its labels are right again\"";
  if (quarantined) {
    cause.advice =
        "it is in quarantine: its labels are kept and not learned from; ask its operator, then release it";
    cause.command = release;
  } else {
    cause.advice =
        "ask its operator; until then quarantine it, so that its labels are kept and not learned from";
    cause.remedy = Remedy::kQuarantine;
    cause.target = who;
    cause.command = "shrike judge quarantine " + who + " --why \"" + cause.text + "\"";
    cause.undo = release;
  }
  causes_.push_back(std::move(cause));
}

void Rules::missing_labels() {
  if (!e_.labels) return;
  const LabelEvidence& of = e_.labels.found;
  for (size_t i = 0; i < kSources; ++i) {
    if (static_cast<Source>(i) != Source::kMatured) silence_of(static_cast<Source>(i));
  }
  Cause cause{.kind = CauseKind::kMissingLabels, .text = "labels come later or more seldom than they did"};
  cause.first_day = e_.period.first, cause.last_day = e_.period.last;
  say(cause.grounds, 0.5 * part(1 - ratio(of.a_transaction), 0.4, 0.9),
      fmt::format("{:.3g} labels come for 1,000 transactions, before {:.3g}", 1000 * of.a_transaction[1],
                  1000 * of.a_transaction[0]));
  say(cause.grounds, 0.4 * part(of.unknown[1] - of.unknown[0], 0.05, 0.5),
      fmt::format("of {} of transactions of age nothing is known, before of {}", percent(of.unknown[1]),
                  percent(of.unknown[0])));
  cause.advice =
      "look at what sends labels; what was declined gets none unless a control group is let through "
      "([control])";
  causes_.push_back(std::move(cause));
}

// A source whose labels have stopped: the longer its silence beside how many came a day, the surer. That
// fewer come says little by itself: how many frauds go through is a matter of what is declined.
void Rules::silence_of(Source source) {
  const SourceFigures& of = e_.labels.found.sources[static_cast<size_t>(source)];
  double a_day = of.labels[0] / static_cast<double>(std::max<int64_t>(e_.reference.count(), 1));
  if (source == Source::kAnalyst) {  // they look at what is reviewed
    const auto& [before, now] = e_.performance.found.figures;
    a_day *= e_.performance && before.stopped > 0 ? std::min(now.stopped / before.stopped, 1.0) : 0;
  }
  const int64_t since = std::max(of.last_day, e_.period.first - 1) + 1;
  const double missed = a_day * static_cast<double>(e_.period.last - since + 1);
  const bool later = of.delay_days[1] >= of.delay_days[0] + 1 && of.delay_days[1] >= 2 * of.delay_days[0] &&
                     of.labels[1] >= 20 && of.labels[0] >= 20;
  Cause cause{.kind = CauseKind::kMissingLabels, .subject = of.name};
  cause.text = fmt::format("labels of the source {} are missing or late", cause.subject);
  cause.first_day = later ? e_.period.first : since;
  cause.last_day = e_.period.last;
  say(cause.grounds, 0.75 * part(missed, 4, 15),
      fmt::format("none has come from {} on; as before it would have been {:.0f}", day_name(since), missed));
  if (later)
    say(cause.grounds, 0.5,
        fmt::format("half of its labels come after {:.2g} days, before after {:.2g}", of.delay_days[1],
                    of.delay_days[0]));
  cause.advice = "look at what sends them; training goes on with those of other sources and with silence";
  causes_.push_back(std::move(cause));
}

void Rules::bad_models() {
  if (!e_.models) return;
  for (const Takeover& takeover : e_.models.found.takeovers) bad_model(takeover);
}

void Rules::bad_model(const Takeover& takeover) {
  const auto& [before, after] = takeover.figures;
  Cause cause{.kind = CauseKind::kBadModel, .subject = takeover.model};
  cause.text = fmt::format("model {}, which took over on {}, is bad", takeover.model.substr(0, 12),
                           day_name(takeover.day));
  cause.first_day = takeover.day;
  cause.last_day = takeover.serves ? e_.period.last : takeover.day;
  cause.goes_on = takeover.serves;
  const bool settled = before.frauds >= 5 && after.frauds >= 3 && takeover.loss_error > 0;
  if (settled && (after.log_loss - before.log_loss) / takeover.loss_error > 3) {
    say(cause.grounds, 0.15 + 0.55 * part(before.skill() - after.skill(), 0.1, 1),
        fmt::format(
            "log loss {:.3g} under it, {:.3g} before: its scores take {} off the loss of the base rate, "
            "before {}",
            after.log_loss, before.log_loss, percent(after.skill()), percent(before.skill())));
    say(cause.grounds, 0.35 * part(before.average_precision - after.average_precision, 0.1, 0.5),
        fmt::format("average precision {:.3g} under it, {:.3g} before", after.average_precision,
                    before.average_precision));
  }
  const Pair stopped = {before.stopped, after.stopped};
  if (stopped[1] > stopped[0] + 0.01)
    say(cause.grounds, 0.5 * part(std::log(ratio(stopped)), 0.7, 2.3),
        fmt::format("{} of transactions are reviewed or declined under it, before {}", percent(stopped[1]),
                    percent(stopped[0])));
  by_monitor(cause, 0.7, [&](const JudgementEvent& judgement) {
    return judgement.action == Action::kRollBack && judgement.subject == takeover.model;
  });
  if (cause.grounds.empty()) return;  // that it took over says nothing
  if (takeover.by_hand)
    say(cause.grounds, 0.3,
        fmt::format("it was activated by hand, past the gate (event {})", takeover.sequence));
  const Cause* broken = strongest({CauseKind::kBrokenFeed});
  if (broken != nullptr && broken->first_day <= takeover.day + kSoonDays && takeover.day <= broken->last_day)
    against_by(cause, broken, 0.5);
  roll_back(cause, takeover);
  causes_.push_back(std::move(cause));
}

void Rules::roll_back(Cause& cause, const Takeover& takeover) const {
  if (!takeover.serves) {
    cause.advice = "another model serves by now; nothing to do but to look how it came to serve";
    return;
  }
  std::string to = takeover.before;
  if (e_.standing) {
    const auto& fallbacks = e_.standing.found.fallbacks;
    if (e_.standing.found.champion != takeover.model) {
      cause.advice = "another model serves by now; nothing to do but to look how it came to serve";
      return;
    }
    if (std::find(fallbacks.begin(), fallbacks.end(), to) == fallbacks.end())
      to = fallbacks.empty() ? "" : fallbacks.front();
  }
  if (to.empty()) {
    cause.advice = "no earlier champion is left to go back to; activate a kept model (`shrike models list`)";
    return;
  }
  cause.advice = "go back to the champion before it";
  cause.remedy = Remedy::kRollBack;
  cause.target = to;
  cause.command = "shrike judge roll_back " + to.substr(0, 12) + " --why \"" + cause.text + "\"";
  cause.undo = "shrike models activate " + takeover.model.substr(0, 12);
}

void Rules::stuck_training() {
  Cause cause{.kind = CauseKind::kStuckTraining, .text = "training does not come to a model that serves"};
  cause.first_day = e_.period.first, cause.last_day = e_.period.last;
  if (e_.standing && e_.standing.found.training_held) {
    say(cause.grounds, 0.6, "training is held: no candidate may take over");
    cause.command = "shrike judge go_on_training --why \"what held it is over\"";
  }
  if (e_.standing && e_.standing.found.sampled_share < 1)
    say(cause.grounds, 0.3,
        fmt::format("training is behind: {} of legitimate examples are learned",
                    percent(e_.standing.found.sampled_share)));
  if (e_.models && e_.models.found.accepted == 0)
    say(cause.grounds, 0.3 * part(static_cast<double>(e_.models.found.rejected), 2, 10),
        fmt::format("the gate refused all {} candidates; of the newest: {}", e_.models.found.rejected,
                    e_.models.found.newest_refusal));
  by_monitor(cause, 0.5, [](const JudgementEvent& judgement) { return judgement.monitor == kRetraining; });
  cause.advice = "`shrike timeline` says what each candidate lacked; `shrike status` how far the trial is";
  causes_.push_back(std::move(cause));
}

void Rules::retrain(Cause& cause, const std::string& why) const {
  if (e_.standing && e_.standing.found.retraining) {
    cause.advice = "a retraining is under way; `shrike timeline` says what comes of it";
    return;
  }
  cause.advice = "retrain with recent examples counting more; what comes of it must pass the gate";
  cause.remedy = Remedy::kRetrain;
  cause.target = "search";
  cause.command = "shrike train --strategy search --why \"" + why + "\"";
  if (e_.standing) cause.undo = "shrike models activate " + e_.standing.found.champion.substr(0, 12);
}

void Rules::infrastructure() {
  if (!e_.infrastructure) return;
  machine(e_.infrastructure.found);
  crashes(e_.infrastructure.found);
  configurations(e_.infrastructure.found);
}

void Rules::machine(const InfrastructureEvidence& of) {
  const auto& [before, now] = of.machine;
  Cause cause{.kind = CauseKind::kMachine,
              .text = "the machine, or what runs beside the server, is too slow or full"};
  cause.first_day = now.worst_day, cause.last_day = now.worst_day;
  if (now.answers == 0) return;
  const double share = now.worst_p99_ms / of.deadline_ms;
  say(cause.grounds, 0.4 * part(share, 0.3, 1),
      fmt::format("99 % of answers took up to {:.3g} ms in the worst period ({}), the deadline is {:.3g} ms",
                  now.worst_p99_ms, day_name(now.worst_day), of.deadline_ms));
  if (before.periods > 0)
    say(cause.grounds, 0.3 * part(std::log(now.p99_ms / std::max(before.p99_ms, 0.05)), 0.7, 2.3),
        fmt::format("in half of the periods 99 % took up to {:.3g} ms, before {:.3g}", now.p99_ms,
                    before.p99_ms));
  const auto requests = static_cast<double>(now.answers + now.refusals);
  say(cause.grounds, 0.5 * part(static_cast<double>(now.late + now.refusals) / requests, 0.005, 0.1),
      fmt::format("of {:.0f} requests {} were refused and {} answered late", requests, now.refusals,
                  now.late));
  say(cause.grounds, 0.5 * part(static_cast<double>(now.fallbacks + now.statics) / requests, 0.001, 0.05),
      fmt::format("{} answers came of a fallback and {} of no model", now.fallbacks, now.statics));
  by_monitor(cause, 0.5, [](const JudgementEvent& judgement) { return judgement.monitor == "machine"; });
  cause.advice =
      "look at what else runs on the machine, its memory and its disk; `shrike timeline --all` has each "
      "minute";
  causes_.push_back(std::move(cause));
}

void Rules::crashes(const InfrastructureEvidence& of) {
  Cause cause{.kind = CauseKind::kCrashes, .text = "the server ends without a clean stop"};
  size_t unclean = 0;
  for (const Start& start : of.starts) {
    if (start.folded == 0) continue;
    ++unclean;
    if (cause.first_day == kNoDay) cause.first_day = start.day;
    cause.last_day = start.day;
  }
  if (unclean == 0) return;
  cause.goes_on = goes_on(cause.last_day);
  say(cause.grounds, 0.2 + 0.4 * part(static_cast<double>(unclean), 1, 5),
      fmt::format("{} of {} starts had events to fold that no checkpoint had, the last on {}", unclean,
                  of.starts.size(), day_name(cause.last_day)));
  cause.advice =
      "look in the system's log for why it ended (memory, a signal); nothing is lost, the next start folds "
      "the tail again";
  causes_.push_back(std::move(cause));
}

void Rules::configurations(const InfrastructureEvidence& of) {
  const auto fits = [&](Cause& cause, int64_t day) {
    cause.first_day = cause.last_day = day;
    say(cause.grounds, 0.1, fmt::format("it took effect on {}", day_name(day)));
    fall_after(cause, day, 0.4);
    by_monitor(cause, 0.2, [&](const JudgementEvent& judgement) {
      return soon_after(day_of(judgement.time_us), day) && judgement.monitor != "sources" &&
             judgement.monitor != kOperator;
    });
    against_by(cause, strongest({CauseKind::kBrokenFeed, CauseKind::kLabelNoise, CauseKind::kBadModel}), 0.6);
  };
  for (const ConfigChange& change : of.configurations) {
    Cause cause{.kind = CauseKind::kConfiguration, .text = "another configuration changed what is answered"};
    fits(cause, change.day);
    std::string keys;
    for (size_t k = 0; k < std::min<size_t>(change.keys.size(), 5); ++k)
      keys += (k > 0 ? "; " : "") + change.keys[k];
    if (change.keys.size() > 5) keys += fmt::format("; and {} more", change.keys.size() - 5);
    if (change.known && change.keys.empty()) continue;  // comments
    say(cause.grounds, 0.05,
        change.known ? keys : std::string("the one before it is older than what is read"));
    cause.advice = "serve with the former text if the change was not meant";
    causes_.push_back(std::move(cause));
  }
  for (size_t v = 1; v < of.versions.size(); ++v) {
    const auto start = std::find_if(of.starts.begin(), of.starts.end(),
                                    [&](const Start& one) { return one.version == of.versions[v]; });
    if (start == of.starts.end()) continue;
    Cause cause{.kind = CauseKind::kConfiguration, .subject = of.versions[v]};
    cause.text =
        fmt::format("version {} of Shrike, after {}, answers otherwise", of.versions[v], of.versions[v - 1]);
    fits(cause, start->day);
    cause.advice =
        "`shrike replay DIR` of both versions says whether scores differ; CHANGELOG.md what has changed";
    causes_.push_back(std::move(cause));
  }
}

void Rules::new_fraud() {
  if (!e_.performance) return;
  const auto& [before, now] = e_.performance.found.figures;
  Cause cause{.kind = CauseKind::kNewFraud, .text = "frauds are of a kind that the model does not know"};
  const int64_t fell_on = e_.performance.found.fell_on;
  cause.first_day = fell_on == kNoDay ? e_.period.first : fell_on;
  cause.last_day = e_.performance.found.settled_until;
  const double error = std::hypot(before.fraud_score_error, now.fraud_score_error);
  if (error > 0 && (before.fraud_score - now.fraud_score) / error > 3)
    say(cause.grounds, 0.6 * part(1 - now.fraud_score / before.fraud_score, 0.05, 0.5),
        fmt::format("frauds are scored {:.3g}, before {:.3g}", std::pow(now.fraud_score, 2),
                    std::pow(before.fraud_score, 2)));
  const double deviates =
      (now.frauds - now.examples * before.rate()) / std::sqrt(std::max(now.examples * before.rate(), 1.0));
  if (deviates > 4)
    say(cause.grounds, 0.4 * part(std::log(now.rate() / before.rate()), 0.2, 0.9),
        fmt::format("{} of settled transactions are fraud, before {}", percent(now.rate()),
                    percent(before.rate())));
  if (cause.grounds.empty()) return;
  if (fell_on != kNoDay) fall_after(cause, fell_on, 0.3);
  by_monitor(cause, 0.2, [](const JudgementEvent& judgement) {
    return judgement.monitor == "drift" && (judgement.subject == "labels" || judgement.subject == "concept");
  });
  against_by(cause, strongest({CauseKind::kLabelNoise}), 0.7);
  against_by(cause, strongest({CauseKind::kBrokenFeed}), 0.6);
  against_by(cause, strongest({CauseKind::kBadModel}), 0.6);
  retrain(cause, "a new kind of fraud");
  causes_.push_back(std::move(cause));
}

// Is what it is computed from broken?
bool Rules::of_broken_feed(const ColumnChange& change) const {
  return std::any_of(causes_.begin(), causes_.end(), [&](const Cause& cause) {
    return cause.kind == CauseKind::kBrokenFeed &&
           std::any_of(change.fields.begin(), change.fields.end(), [&](const std::string& field) {
             return cause.subject == std::string(kFieldPrefix) + field;
           });
  });
}

void Rules::new_traffic() {
  if (!e_.inputs) return;
  const InputEvidence& of = e_.inputs.found;
  Cause cause{.kind = CauseKind::kNewTraffic, .text = "other traffic than before comes in"};
  const double volume = std::fabs(std::log(std::max(ratio(of.a_day), 1e-3)));
  say(cause.grounds, 0.45 * part(volume, 0.2, 0.7),
      fmt::format("{:.0f} transactions come a day, before {:.0f}", of.a_day[1], of.a_day[0]));
  std::vector<const ColumnChange*> shifted;
  for (const ColumnChange& change : of.changed) {
    if (of_broken_feed(change)) continue;
    shifted.push_back(&change);
    if (cause.first_day == kNoDay || change.first_day < cause.first_day) cause.first_day = change.first_day;
    cause.last_day = std::max(cause.last_day, change.last_day);
  }
  if (!shifted.empty()) {
    const double share =
        static_cast<double>(shifted.size()) / static_cast<double>(std::max<size_t>(of.compared, 1));
    say(cause.grounds, 0.55 * part(share, 0.03, 0.4),
        fmt::format(
            "{} of {} columns are distributed otherwise, with {} of what the champion goes by; the first "
            "from {}: {} (PSI {:.2g})",
            shifted.size(), of.compared, percent(of.changed_importance), day_name(cause.first_day),
            shifted.front()->column, shifted.front()->psi));
  }
  if (cause.grounds.empty()) return;
  if (cause.first_day == kNoDay) cause.first_day = e_.period.first, cause.last_day = e_.period.last;
  if (e_.performance && std::fabs(std::log(std::max(e_.performance.found.figures[1].rate(), 1e-9) /
                                           std::max(e_.performance.found.figures[0].rate(), 1e-9))) < 0.25)
    say(cause.grounds, 0.1, "the rate of frauds is what it was");
  fall_after(cause, cause.first_day, 0.1);
  against_by(cause, strongest({CauseKind::kChangedFeed}), 0.5);
  cause.advice = "is it meant (a new merchant, a season, a backfill)? The model learns it as its labels come";
  causes_.push_back(std::move(cause));
}

void Rules::aged_model() {
  if (!e_.performance) return;
  const PerformanceEvidence& of = e_.performance.found;
  const auto& [before, now] = of.figures;
  Cause cause{.kind = CauseKind::kAgedModel,
              .text = "the model has aged: it does worse, and nothing in particular shows why"};
  cause.first_day = of.fell_on == kNoDay ? e_.period.first : of.fell_on;
  cause.last_day = of.settled_until;
  if (of.fell_on != kNoDay)
    say(cause.grounds, 0.2 + 0.3 * part(of.skill[0] - of.skill[1], 0.1, 0.5),
        fmt::format("from {} its scores take {} off the loss of the base rate, before {}",
                    day_name(of.fell_on), percent(of.skill[1]), percent(of.skill[0])));
  say(cause.grounds, 0.3 * part(before.average_precision - now.average_precision, 0.05, 0.4),
      fmt::format("average precision {:.3g}, before {:.3g}", now.average_precision,
                  before.average_precision));
  by_monitor(cause, 0.25, [](const JudgementEvent& judgement) {
    return judgement.monitor == "performance" ||
           (judgement.monitor == "drift" && judgement.subject == "concept");
  });
  if (cause.grounds.empty()) return;
  if (e_.models && e_.models.found.takeovers.empty())
    say(cause.grounds, 0.15, "no model took over in the period");
  against_by(cause,
             strongest({CauseKind::kBrokenFeed, CauseKind::kLabelNoise, CauseKind::kBadModel,
                        CauseKind::kNewFraud, CauseKind::kConfiguration}),
             0.8);
  retrain(cause, "the model has aged");
  causes_.push_back(std::move(cause));
}

}  // namespace

std::string_view name(CauseKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

std::vector<Cause> diagnose(const Evidence& evidence) { return Rules(evidence).all(); }

}  // namespace shrike::engine
