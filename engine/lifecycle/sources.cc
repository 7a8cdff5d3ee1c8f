#include "engine/lifecycle/sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "engine/lifecycle/sources.pb.h"

namespace shrike::engine {
namespace {

// A source is judged by about its newest thousand fraud labels.
constexpr double kForget = 1 - 1.0 / 1000;
constexpr double kFlipped = 0.5;  // a difference in means of less than this share of the others' is none

}  // namespace

double SourceMonitor::Seen::variance() const {
  if (labels < 2) return 0;
  return std::max(squares / labels - mean() * mean(), 1e-6);
}

void SourceMonitor::labelled(const Labelled& labelled) {
  const LabelEvent& event = labelled.event;
  Seen& source = seen_[static_cast<size_t>(event.source)];
  for (size_t i = 0; i < kSources; ++i) {
    const Verdict other = labelled.state.by_source[i];
    if (i == static_cast<size_t>(event.source) || other == Verdict::kUnknown || other == event.verdict)
      continue;
    ++source.contradicted;
    ++seen_[i].contradicted;
  }
  // Only what was approved: reviewers see what scored high, and so seem to agree with the champion.
  const Answer* answer = labelled.answer;
  if (event.verdict != Verdict::kFraud || answer == nullptr || answer->step == Step::kStatic ||
      answer->wanted != Decision::kApprove) {
    return;
  }
  const double score = std::sqrt(static_cast<double>(std::max(answer->score, 0.0f)));
  source.labels = source.labels * kForget + 1;
  source.sum = source.sum * kForget + score;
  source.squares = source.squares * kForget + score * score;
  ++source.all;
}

SourceMonitor::Seen SourceMonitor::others(size_t than) const {
  Seen all;
  for (size_t i = 0; i < kSources; ++i) {
    if (i == than || quarantined_[i]) continue;
    if (static_cast<Source>(than) == Source::kChargeback && static_cast<Source>(i) == Source::kCustomer)
      continue;
    all.labels += seen_[i].labels;
    all.sum += seen_[i].sum;
    all.squares += seen_[i].squares;
    all.all += seen_[i].all;
  }
  return all;
}

void SourceMonitor::close(const Period&, std::vector<JudgementEvent>& found) {
  if (!config_->sources.quarantine) return;
  const uint64_t least = config_->sources.labels_min;
  for (size_t i = 0; i < kSources; ++i) {
    const Seen& mine = seen_[i];
    const Seen rest = others(i);
    if (mine.all < least || rest.all < least) continue;
    const double error = std::sqrt(mine.variance() / mine.labels + rest.variance() / rest.labels);
    const double z = (rest.mean() - mine.mean()) / error;
    const bool departs = z > config_->sources.z && mine.mean() < kFlipped * rest.mean();
    // Back when it departs no more by half as much.
    const bool agrees = z < config_->sources.z / 2 || mine.mean() > (1 + kFlipped) / 2 * rest.mean();
    if (quarantined_[i] ? !agrees : !departs) continue;
    const std::string source(engine::name(static_cast<Source>(i)));
    JudgementEvent judgement;
    judgement.subject = judgement.target = source;
    judgement.finding = departs ? Finding::kFailed : Finding::kSuccessful;
    judgement.severity = departs ? Severity::kCritical : Severity::kInfo;
    judgement.action = departs ? Action::kQuarantine : Action::kRelease;
    const double of_mine = mine.mean() * mine.mean(), of_rest = rest.mean() * rest.mean();
    judgement.text =
        departs ? fmt::format(
                      "labels of source {} are kept and not learned from: its {} fraud labels were scored "
                      "{:.3f}, those of other sources {:.3f}. Ask its operator; `release` by hand",
                      source, mine.all, of_mine, of_rest)
                : fmt::format("labels of source {} agree with the others again and are learned from", source);
    judgement.evidence =
        nlohmann::json{
            {"fraud_labels", mine.all},           {"score", of_mine}, {"score_of_others", of_rest},
            {"fraud_labels_of_others", rest.all}, {"z", z},           {"contradicted", mine.contradicted}}
            .dump();
    found.push_back(std::move(judgement));
    quarantined_[i] = departs;
  }
}

void SourceMonitor::judged(const JudgementEvent& event) {
  if (event.action != Action::kQuarantine && event.action != Action::kRelease) return;
  const auto source = parse_source(event.target);
  if (!source) return;
  quarantined_[static_cast<size_t>(*source)] = event.action == Action::kQuarantine;
  if (event.action == Action::kRelease) seen_[static_cast<size_t>(*source)] = {};  // judged anew
}

nlohmann::json SourceMonitor::report() const {
  nlohmann::json all = nlohmann::json::object();
  for (size_t i = 0; i < kSources; ++i) {
    all[std::string(engine::name(static_cast<Source>(i)))] = {
        {"fraud_labels", seen_[i].all},
        {"score", seen_[i].mean() * seen_[i].mean()},
        {"contradicted", seen_[i].contradicted},
        {"quarantined", quarantined_[i]},
    };
  }
  return all;
}

std::string SourceMonitor::save() const {
  proto::SourcesRecord record;
  for (size_t i = 0; i < kSources; ++i) {
    proto::SourceRecord& saved = *record.add_source();
    saved.set_labels(seen_[i].labels);
    saved.set_sum(seen_[i].sum);
    saved.set_squares(seen_[i].squares);
    saved.set_all(seen_[i].all);
    saved.set_contradicted(seen_[i].contradicted);
    saved.set_quarantined(quarantined_[i]);
  }
  return record.SerializeAsString();
}

tl::expected<void, std::string> SourceMonitor::restore(std::string_view bytes) {
  proto::SourcesRecord record;
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      record.source_size() != static_cast<int>(kSources))
    return tl::make_unexpected(std::string("its record is damaged"));
  for (size_t i = 0; i < kSources; ++i) {
    const proto::SourceRecord& saved = record.source(static_cast<int>(i));
    seen_[i] = {saved.labels(), saved.sum(), saved.squares(), saved.all(), saved.contradicted()};
    quarantined_[i] = saved.quarantined();
  }
  return {};
}

}  // namespace shrike::engine
