#include "engine/diagnosis/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "engine/fold/policy.h"
#include "learners/metrics.h"

namespace shrike::engine {
namespace {

constexpr size_t kEarlyMax = 100'000, kSaidMax = 4'000'000;
// Days with fewer frauds say little of the skill.
constexpr double kFraudsOfDayMin = 2;
constexpr double kFallZ = 3, kFallMin = 0.1;

double root(float score) { return std::sqrt(static_cast<double>(std::max(score, 0.0f))); }

// Mean and standard error.
struct Mean {
  double n = 0, sum = 0, squares = 0;
  void add(double value, double weight = 1) {
    n += weight;
    sum += weight * value;
    squares += weight * value * value;
  }
  double mean() const { return n > 0 ? sum / n : 0; }
  double variance() const { return n > 0 ? std::max(squares / n - mean() * mean(), 1e-6) : 0; }
  double error() const { return n > 1 ? std::sqrt(variance() / n) : 0; }
};

double median(std::vector<float> values) {
  if (values.empty()) return std::nan("");
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return static_cast<double>(*middle);
}

double loss_of(float score, bool fraud) {
  const double p = std::clamp(static_cast<double>(score), 1e-6, 1 - 1e-6);
  return -std::log(fraud ? p : 1 - p);
}

std::string reason_of(const std::string& report) {
  const auto json = nlohmann::json::parse(report, nullptr, false);
  if (!json.is_object() || !json.contains("reason") || !json["reason"].is_string()) return "";
  return json["reason"].get<std::string>();
}

}  // namespace

Ledger::Ledger(ConfigPtr config, Days reference, Days period, size_t lines_max)
    : config_(std::move(config)), reference_(reference), period_(period), lines_max_(lines_max) {}

bool Ledger::keeps(const Key& transaction) const {
  constexpr uint64_t kDraw = 0x6469'6167'6e6f'7365;
  return share_ >= 1 || draw(transaction, kDraw) < share_;
}

void Ledger::thin_out() {
  share_ /= 2;
  std::vector<Line> kept;
  std::unordered_map<Key, uint32_t, features::KeyHash> place;
  for (const auto& [key, at] : place_) {
    if (!keeps(key)) continue;
    place.emplace(key, static_cast<uint32_t>(kept.size()));
    kept.push_back(lines_[at]);
  }
  lines_ = std::move(kept);
  place_ = std::move(place);
}

Ledger::Line* Ledger::find(const Key& transaction) {
  const auto found = place_.find(transaction);
  return found == place_.end() ? nullptr : &lines_[found->second];
}

void Ledger::see(const TransactionEvent& event) {
  const Answer& answer = event.answer;
  champion_ = answer.arm == Arm::kChampion && answer.step != Step::kStatic ? to_hex(answer.model) : champion_;
  const int64_t day = day_of(event.transaction.time_us);
  if (answer.clock != Clock::kOnTime || (!reference_.has(day) && !period_.has(day))) return;
  ++transactions_[day];
  if (!keeps(event.transaction.id)) return;
  Line line{.time_us = event.transaction.time_us, .score = champions_score(answer)};
  if (answer.step == Step::kStatic) line.score = -1;
  if (answer.control && answer.propensity > 0)
    line.weight = std::min(1 / answer.propensity, static_cast<float>(config_->control.weight_max));
  line.passes = went_through(answer, Outcome::kUnreported);
  line.stopped = answer.wanted != Decision::kApprove;
  place_[event.transaction.id] = static_cast<uint32_t>(lines_.size());
  lines_.push_back(line);
  if (const auto early = early_.find(event.transaction.id); early != early_.end()) {
    for (const Said& said : early->second) apply(lines_.back(), said.source, said.verdict);
    early_.erase(early);
  }
  if (lines_.size() > lines_max_) thin_out();
}

void Ledger::apply(Line& line, Source source, Verdict verdict) {
  line.by_source[static_cast<size_t>(source)] = verdict;
  if (!quarantined_[static_cast<size_t>(source)]) line.current = verdict;
}

void Ledger::see(const LabelEvent& event, int64_t now_us) {
  const int64_t day = day_of(now_us);
  Said said{day, event.verdict, event.source};
  if (Line* line = find(event.transaction)) {
    for (size_t i = 0; i < kSources; ++i) {
      const Verdict other = line->by_source[i];
      const bool contradicts =
          i != static_cast<size_t>(event.source) && other != Verdict::kUnknown && other != event.verdict;
      if (!contradicts || (!reference_.has(day) && !period_.has(day))) continue;
      ++contradicted_[static_cast<size_t>(event.source)][period_.has(day)];
      ++contradicted_[i][period_.has(day)];
    }
    apply(*line, event.source, event.verdict);
    // What reviewers look at scored high: only what was approved says how a source's frauds score.
    if (!line->stopped) said.score = line->score;
    said.delay_days = static_cast<float>(std::max<int64_t>(event.time_us - line->time_us, 0)) /
                      static_cast<float>(features::kDayUs);
  } else if (event.outcome == Effect::kPending && early_.size() < kEarlyMax) {
    early_[event.transaction].push_back(said);
  }
  if ((reference_.has(day) || period_.has(day)) && said_.size() < kSaidMax) said_.push_back(said);
}

void Ledger::see(const OutcomeEvent& event) {
  Line* line = find(event.transaction);
  if (line == nullptr) return;
  Answer answer;
  answer.decision = line->passes ? Decision::kApprove : Decision::kDecline;
  answer.propensity = line->passes ? 1 : 0;
  line->passes = went_through(answer, event.outcome);
}

void Ledger::see(const JudgementEvent& event) {
  if (event.action != Action::kQuarantine && event.action != Action::kRelease) return;
  if (const auto source = config_->sources.find(event.target))
    quarantined_[static_cast<size_t>(*source)] = event.action == Action::kQuarantine;
}

void Ledger::see(uint64_t sequence, const ModelEvent& event, int64_t now_us) {
  const bool in_period = period_.has(day_of(now_us));
  if (event.action == ModelAction::kRejected && in_period) {
    ++counted_.rejected;
    counted_.newest_refusal = reason_of(event.report);
  }
  counted_.retrained += event.action == ModelAction::kRetrained && in_period;
  if (!takes_over(event.action)) return;
  counted_.accepted += event.action == ModelAction::kAccepted && in_period;
  Takeover takeover{.model = event.model, .before = champion_, .sequence = sequence, .day = day_of(now_us)};
  takeover.reason = reason_of(event.report);
  takeover.by_hand = event.action == ModelAction::kActivated && takeover.reason.empty();
  takeovers_.push_back({std::move(takeover), now_us});
  champion_ = event.model;
}

Verdict Ledger::verdict(const Line& line, int64_t now_us) const {
  if (line.current != Verdict::kUnknown) return line.current;
  const bool of_age = line.time_us + config_->training.maturity_us <= now_us;
  return of_age && line.passes ? Verdict::kLegitimate : Verdict::kUnknown;
}

// `wanted`: whether a line counts. Only transactions of age do: of younger ones mostly frauds are known.
template <typename Wanted>
ScoreFigures Ledger::figures(int64_t now_us, Wanted&& wanted, double* loss_variance) const {
  ScoreFigures out;
  std::vector<float> scores, weights;
  std::vector<uint8_t> labels;
  Mean frauds, losses;
  double all = 0, stopped = 0;
  for (const Line& line : lines_) {
    if (!wanted(line)) continue;
    all += 1;
    stopped += line.stopped;
    const Verdict known = verdict(line, now_us);
    if (!is_probability(line.score) || known == Verdict::kUnknown ||
        line.time_us + config_->training.maturity_us > now_us)
      continue;
    const bool fraud = known == Verdict::kFraud;
    scores.push_back(line.score), weights.push_back(line.weight), labels.push_back(fraud);
    const auto weight = static_cast<double>(line.weight);
    out.examples += weight;
    losses.add(loss_of(line.score, fraud), weight);
    if (!fraud) continue;
    out.frauds += weight;
    frauds.add(root(line.score));
  }
  out.stopped = all > 0 ? stopped / all : 0;
  out.fraud_score = frauds.mean();
  out.fraud_score_error = frauds.error();
  out.average_precision =
      scores.empty() ? std::nan("") : learners::average_precision(scores, labels, weights);
  out.log_loss = losses.n > 0 ? losses.mean() : std::nan("");
  const double rate = out.rate();
  if (rate > 0 && rate < 1) out.base_loss = -rate * std::log(rate) - (1 - rate) * std::log(1 - rate);
  if (loss_variance != nullptr)
    *loss_variance = scores.empty() ? 0 : losses.variance() / static_cast<double>(scores.size());
  return out;
}

// From which day on is the skill lower? The split of the days' skills that chance explains least, each day
// weighing by its frauds.
void Ledger::find_fall(int64_t now_us, PerformanceEvidence& evidence) const {
  struct Day {
    int64_t day;
    double skill, frauds;
  };
  std::map<int64_t, std::array<double, 4>> sums;  // weight, frauds, loss
  for (const Line& line : lines_) {
    const Verdict known = verdict(line, now_us);
    if (!is_probability(line.score) || known == Verdict::kUnknown ||
        line.time_us + config_->training.maturity_us > now_us)
      continue;
    auto& [weight, frauds, loss, unused] = sums[day_of(line.time_us)];
    const auto w = static_cast<double>(line.weight);
    weight += w;
    frauds += known == Verdict::kFraud ? w : 0;
    loss += w * loss_of(line.score, known == Verdict::kFraud);
  }
  std::vector<Day> days;
  for (const auto& [day, sum] : sums) {
    const double rate = sum[1] / sum[0];
    if (sum[1] < kFraudsOfDayMin || rate >= 1) continue;
    const double base = -rate * std::log(rate) - (1 - rate) * std::log(1 - rate);
    days.push_back({day, 1 - sum[2] / sum[0] / base, sum[1]});
  }
  for (size_t split = 2; split + 1 < days.size(); ++split) {
    if (!period_.has(days[split].day)) continue;
    Mean before, after;
    for (size_t d = 0; d < days.size(); ++d) (d < split ? before : after).add(days[d].skill, days[d].frauds);
    const auto n = static_cast<double>(days.size());
    const double pooled = (before.variance() * before.n + after.variance() * after.n) / (before.n + after.n);
    // Days vary by more than their frauds do: they are what is counted.
    const double first = n * before.n / (before.n + after.n), second = n - first;
    const double z = (before.mean() - after.mean()) / std::sqrt(pooled * (1 / first + 1 / second));
    if (z <= evidence.fell_z || z < kFallZ || before.mean() - after.mean() < kFallMin) continue;
    evidence.fell_z = z;
    evidence.fell_on = days[split].day;
    evidence.skill = {before.mean(), after.mean()};
  }
}

tl::expected<PerformanceEvidence, std::string> Ledger::performance(int64_t now_us) const {
  PerformanceEvidence evidence;
  evidence.settled_until = std::min(day_of(now_us - config_->training.maturity_us) - 1, period_.last);
  for (const size_t side : {0, 1}) {
    const Days days = side == 0 ? reference_ : period_;
    evidence.figures[side] =
        figures(now_us, [&](const Line& line) { return days.has(day_of(line.time_us)); });
    if (evidence.figures[side].frauds >= 1) continue;
    return tl::make_unexpected(
        fmt::format("no fraud is known among the settled transactions of the {} ({} to {}); days after {} "
                    "have not settled",
                    side == 0 ? "reference" : "period", day_name(days.first), day_name(days.last),
                    day_name(evidence.settled_until)));
  }
  find_fall(now_us, evidence);
  return evidence;
}

// Transactions of a day beside the reference's mean; 1 where nothing is known.
double Ledger::traffic(int64_t day) const {
  const auto found = transactions_.find(day);
  double before = 0;
  for (const auto& [one, count] : transactions_)
    before += reference_.has(one) ? static_cast<double>(count) : 0;
  if (found == transactions_.end() || before == 0) return 1;
  return static_cast<double>(found->second) * static_cast<double>(reference_.count()) / before;
}

// The first day of the period on which a source reports far more frauds than a day of the reference at the
// same traffic: five standard deviations of a Poisson count above its mean, and twice it. Of what had been
// approved: how many others are reported is a matter of what is reviewed.
int64_t Ledger::flood_from(Source source) const {
  std::map<int64_t, double> frauds;
  double before = 0;
  for (const Said& said : said_) {
    if (said.source != source || said.verdict != Verdict::kFraud || !is_probability(said.score)) continue;
    frauds[said.day] += 1;
    before += reference_.has(said.day);
  }
  for (const auto& [day, count] : frauds) {
    const double mean = before / static_cast<double>(std::max<int64_t>(reference_.count(), 1)) * traffic(day);
    if (period_.has(day) && count > std::max(2 * mean, mean + 5 * std::sqrt(mean + 1))) return day;
  }
  return kNoDay;
}

// What a source reports since it floods, beside what the others do.
void Ledger::compare_flood(Source source, SourceFigures& figures) const {
  if (figures.flood_from == kNoDay) return;
  std::vector<float> delays;
  for (const Said& said : said_) {
    const bool before = reference_.has(said.day);
    if (said.verdict != Verdict::kFraud || !is_probability(said.score)) continue;
    if (!before && said.day < figures.flood_from) continue;
    ++(said.source == source ? figures.frauds_a_day : figures.others_a_day)[before ? 0 : 1];
    if (said.source != source && before) delays.push_back(said.delay_days);
  }
  double now = 0;
  for (int64_t day = figures.flood_from; day <= period_.last; ++day) now += traffic(day);
  const auto days = static_cast<double>(period_.last - figures.flood_from + 1);
  for (Pair* a_day : {&figures.frauds_a_day, &figures.others_a_day}) {
    (*a_day)[0] *= now / days / static_cast<double>(std::max<int64_t>(reference_.count(), 1));
    (*a_day)[1] /= days;
  }
  figures.others_delay_days = median(std::move(delays));
}

SourceFigures Ledger::source_figures(Source source) const {
  SourceFigures out;
  std::array<Mean, 2> scores;
  std::array<std::vector<float>, 2> delays;
  for (const Said& said : said_) {
    if (said.source != source) continue;
    const size_t side = period_.has(said.day) ? 1 : 0;
    ++out.labels[side];
    out.last_day = std::max(out.last_day, said.day);
    // Of transactions before the reference nothing is read: long delays are seen in its second half alone.
    const int64_t seen_days = std::max<int64_t>(reference_.count() / 2, 1);
    const bool seen = said.delay_days >= 0 && said.delay_days < static_cast<float>(seen_days);
    if (seen && said.day >= reference_.first + seen_days) delays[side].push_back(said.delay_days);
    if (said.verdict != Verdict::kFraud) continue;
    ++out.frauds[side];
    if (!is_probability(said.score)) continue;
    ++out.judged[side];
    scores[side].add(root(said.score));
  }
  for (const size_t side : {0, 1}) {
    out.fraud_score[side] = scores[side].mean();
    out.fraud_score_error[side] = scores[side].error();
    out.delay_days[side] = median(std::move(delays[side]));
    if (out.labels[side] > 0)
      out.contradicted[side] =
          static_cast<double>(contradicted_[static_cast<size_t>(source)][side]) / out.labels[side];
  }
  out.flood_from = flood_from(source);
  compare_flood(source, out);
  return out;
}

tl::expected<LabelEvidence, std::string> Ledger::labels(int64_t now_us) const {
  LabelEvidence evidence;
  Pair labels{}, transactions{}, of_age{}, unknown{};
  for (size_t i = 0; i < kSources; ++i) {
    evidence.sources[i] = source_figures(static_cast<Source>(i));
    evidence.sources[i].name = config_->sources.name(static_cast<Source>(i));
    if (static_cast<Source>(i) == Source::kMatured) continue;
    for (const size_t side : {0, 1}) labels[side] += evidence.sources[i].labels[side];
  }
  for (const Line& line : lines_) {
    const size_t side = period_.has(day_of(line.time_us)) ? 1 : 0;
    transactions[side] += 1 / share_;
    if (line.time_us + config_->training.maturity_us > now_us) continue;
    of_age[side] += 1;
    unknown[side] += verdict(line, now_us) == Verdict::kUnknown;
  }
  if (labels[0] + labels[1] == 0)
    return tl::make_unexpected(std::string("no label came in the period, nor in the reference"));
  for (const size_t side : {0, 1}) {
    evidence.a_transaction[side] = transactions[side] > 0 ? labels[side] / transactions[side] : 0;
    evidence.unknown[side] = of_age[side] > 0 ? unknown[side] / of_age[side] : 0;
  }
  return evidence;
}

ModelEvidence Ledger::models(int64_t now_us) const {
  ModelEvidence evidence = counted_;
  for (size_t i = 0; i < takeovers_.size(); ++i) {
    const TakeoverSeen& seen = takeovers_[i];
    if (!period_.has(seen.told.day)) continue;
    Takeover takeover = seen.told;
    takeover.serves = i + 1 == takeovers_.size();
    const int64_t from_us = seen.time_us - kTakeoverDays * features::kDayUs;
    int64_t begin_us = from_us, end_us = seen.time_us + kTakeoverDays * features::kDayUs;
    if (!takeover.serves) end_us = std::min(end_us, takeovers_[i + 1].time_us);
    if (i > 0) begin_us = std::max(begin_us, takeovers_[i - 1].time_us);
    // Of models that served too briefly to say anything, all of the days before are compared.
    if (seen.time_us - begin_us < features::kDayUs) begin_us = from_us;
    Pair variance{};
    takeover.figures[0] = figures(
        now_us, [&](const Line& l) { return begin_us <= l.time_us && l.time_us <= seen.time_us; },
        &variance[0]);
    takeover.figures[1] = figures(
        now_us, [&](const Line& l) { return seen.time_us < l.time_us && l.time_us <= end_us; }, &variance[1]);
    takeover.loss_error = std::sqrt(variance[0] + variance[1]);
    evidence.takeovers.push_back(std::move(takeover));
  }
  return evidence;
}

}  // namespace shrike::engine
