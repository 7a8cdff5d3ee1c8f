#include "engine/fold/trainer.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "engine/fold/log.pb.h"
#include "learners/widening.h"

namespace shrike::engine {
namespace {

constexpr size_t kBatch = 256;
constexpr uint32_t kVersion = 1;

}  // namespace

Trainer::Trainer(ConfigPtr config) : config_(std::move(config)) {
  const TrainingConfig& training = config_->training;
  // The configuration was validated by making this very learner.
  learner_ =
      learners::make_learner(training.family, training.options, config_->columns, training.seed).value();
  champion_ = learners::make_prior_model(config_->columns, training.prior);
}

Trainer::~Trainer() = default;

void Trainer::learn(const Example& example) {
  rows_.insert(rows_.end(), example.row.begin(), example.row.end());
  labels_.push_back(example.verdict == Verdict::kFraud ? 1.0f : 0.0f);
  weights_.push_back(example.weight);
  keys_.push_back(example_key(example.transaction));
  ++examples_;
  frauds_ += example.verdict == Verdict::kFraud;
  const bool boundary = learners::is_look(examples_, config_->training.every);
  if (boundary || labels_.size() == kBatch) flush();
  if (boundary) look();
}

void Trainer::observe(const Key& transaction, std::span<const float> row) {
  if (!learner_->observes()) return;
  ++observed_;
  observed_rows_.insert(observed_rows_.end(), row.begin(), row.end());
  observed_keys_.push_back(example_key(transaction));
  if (is_cold_look(observed_)) {
    flush_observed();
    look_cold();
  } else if (observed_keys_.size() == kBatch) {
    flush_observed();
  }
}

void Trainer::flush_observed() {
  if (observed_keys_.empty()) return;
  learner_->observe(learners::MatrixView(observed_rows_, config_->columns.size()), observed_keys_);
  observed_rows_.clear();
  observed_keys_.clear();
}

void Trainer::use(learners::Workers* workers) {
  workers_ = workers;
  learner_->use(workers);
}

// First the trial's models score what the learner has not yet seen, then the learner learns it.
void Trainer::flush() {
  if (labels_.empty()) return;
  const learners::MatrixView rows(rows_, config_->columns.size());
  if (candidate_ != nullptr) {
    const size_t from = trial_.labels.size();
    trial_.champion.resize(from + labels_.size());
    trial_.candidate.resize(from + labels_.size());
    champion_->score(rows, std::span(trial_.champion).subspan(from));
    candidate_->score(rows, std::span(trial_.candidate).subspan(from));
    trial_.weights.insert(trial_.weights.end(), weights_.begin(), weights_.end());
    for (const float label : labels_) {
      trial_.labels.push_back(label > 0.5f ? 1 : 0);
      trial_.frauds += label > 0.5f;
    }
  }
  if (watch_ != nullptr) watch_->begin();
  learner_->partial_fit(rows, labels_, weights_, keys_);
  if (watch_ != nullptr) watch_->end(labels_.size());
  rows_.clear();
  labels_.clear();
  weights_.clear();
  keys_.clear();
}

void Trainer::look() {
  if (proposal_) return;  // until its event is in the log
  if (candidate_ != nullptr) {
    if (trial_.labels.size() < next_judgement_) return;
    GateResult result = judge(config_->gate, trial_.champion, trial_.candidate, trial_.labels, trial_.weights,
                              config_->training.seed * 0x9E3779B97F4A7C15ull + candidate_at_, standing());
    if (result.verdict == GateVerdict::kContinue) {
      // A judgement costs more the longer the trial: the next one waits for a quarter more evidence.
      next_judgement_ = trial_.labels.size() + trial_.labels.size() / 4;
      // While the champion is young, what was learned meanwhile is worth more than the trial's few rows.
      if (trial_asks().settled < 1 && examples_ >= 2 * candidate_at_) take_candidate();
      return;
    }
    propose(result.verdict == GateVerdict::kAccept ? ModelAction::kAccepted : ModelAction::kRejected,
            std::move(result.report));
    return;
  }
  if (learner_->ready()) take_candidate();
}

void Trainer::take_candidate() {
  flush_observed();
  candidate_ = learner_->snapshot();
  candidate_at_ = examples_;
  trial_.clear();
  next_judgement_ = 0;
}

void Trainer::look_cold() {
  if (served_ || proposal_ || candidate_ != nullptr) return;
  candidate_ = learner_->cold_snapshot();
  if (candidate_ == nullptr) return;
  candidate_at_ = 0;
  propose(ModelAction::kAccepted,
          fmt::format(R"({{"reason":"no label is known yet","transactions":{}}})", observed_));
}

void Trainer::propose(ModelAction action, std::string report) {
  Proposal proposal;
  proposal.serial = ++proposals_;
  proposal.bytes = learners::serialize(*candidate_);
  proposal.event = {action, candidate_at_, learners::content_hash(proposal.bytes), std::move(report)};
  proposal.model = candidate_;
  proposal_ = std::move(proposal);
}

void Trainer::model_event(const ModelEvent& event, learners::ModelPtr model) {
  flush();
  if (proposal_ && proposal_->event.candidate == event.candidate && proposal_->event.model == event.model) {
    proposal_.reset();
    candidate_.reset();
    candidate_at_ = 0;
  }
  if (event.action == ModelAction::kRetrained) retrained_ = std::move(model);
  if (takes_over(event.action)) {
    served_ |= event.action == ModelAction::kActivated || event.candidate > 0;
    champion_ = std::move(model);
    champion_examples_ = event.candidate > 0 || event.action == ModelAction::kAccepted
                             ? std::optional(event.candidate)
                             : std::nullopt;
    if (event.action == ModelAction::kActivated && champion_ != nullptr && !champion_->origin().empty()) {
      if (const auto adopted = learner_->adopt(*champion_); !adopted)
        spdlog::warn("learning does not go on from model {}: {}", event.model, adopted.error().reason);
    }
    trial_.clear();
    next_judgement_ = 0;
  }
  try_retrained();
}

// In place of the learner's own candidate, whose trial it ends.
void Trainer::try_retrained() {
  if (retrained_ == nullptr || proposal_) return;
  candidate_ = std::exchange(retrained_, nullptr);
  candidate_at_ = std::max<uint64_t>(examples_, 1);
  trial_.clear();
  next_judgement_ = 0;
}

std::string Trainer::save() {
  flush();
  flush_observed();
  proto::TrainerRecord record;
  record.set_version(kVersion);
  record.set_learner(learner_->save());
  record.set_examples(examples_);
  record.set_frauds(frauds_);
  record.set_observed(observed_);
  record.set_served(served_);
  if (champion_examples_) record.set_champion_examples(*champion_examples_);
  record.set_candidate(candidate_at_);
  if (candidate_ != nullptr) record.set_candidate_model(learners::serialize(*candidate_));
  record.set_champion_model(learners::serialize(*champion_));
  if (retrained_ != nullptr) record.set_retrained_model(learners::serialize(*retrained_));
  proto::TrialRecord& trial = *record.mutable_trial();
  trial.set_labels(trial_.labels.data(), trial_.labels.size());
  trial.set_champion(floats_to_bytes(trial_.champion));
  trial.set_candidate(floats_to_bytes(trial_.candidate));
  trial.set_weights(floats_to_bytes(trial_.weights));
  record.set_next_judgement(next_judgement_);
  record.set_awaits_event(proposal_.has_value());
  if (proposal_) {
    record.set_verdict_action(static_cast<uint32_t>(proposal_->event.action));
    record.set_verdict_report(proposal_->event.report);
  }
  return record.SerializeAsString();
}

tl::expected<void, std::string> Trainer::restore(std::string_view bytes) {
  proto::TrainerRecord record;
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return tl::make_unexpected(std::string("the trainer's record is damaged"));
  }
  if (record.version() > kVersion)
    return tl::make_unexpected(std::string("the trainer's record is from a newer version"));
  const TrainingConfig& training = config_->training;
  auto learner = learners::load_learner(record.learner(), training.options, config_->columns, training.seed);
  if (!learner) {
    const auto& [code, field, reason] = learner.error();
    return tl::make_unexpected(field.empty() ? reason : fmt::format("{}: {}", field, reason));
  }
  learner_ = std::move(*learner);
  learner_->use(workers_);
  examples_ = record.examples();
  frauds_ = record.frauds();
  observed_ = record.observed();
  served_ = record.served();
  champion_examples_ =
      record.has_champion_examples() ? std::optional(record.champion_examples()) : std::nullopt;
  const auto load = [](const std::string& model) -> learners::ModelPtr {
    auto loaded = learners::load_model(model);
    return loaded ? *loaded : nullptr;
  };
  champion_ = load(record.champion_model());
  candidate_at_ = record.candidate();
  const bool on_trial = !record.candidate_model().empty();
  candidate_ = on_trial ? load(record.candidate_model()) : nullptr;
  const bool waits = !record.retrained_model().empty();
  retrained_ = waits ? load(record.retrained_model()) : nullptr;
  if (champion_ == nullptr || (on_trial && candidate_ == nullptr) || (waits && retrained_ == nullptr)) {
    return tl::make_unexpected(std::string("a model in the trainer's record is damaged"));
  }
  trial_.labels.assign(record.trial().labels().begin(), record.trial().labels().end());
  trial_.frauds = static_cast<uint64_t>(std::count(trial_.labels.begin(), trial_.labels.end(), uint8_t{1}));
  trial_.champion = floats_from_bytes(record.trial().champion());
  trial_.candidate = floats_from_bytes(record.trial().candidate());
  trial_.weights = floats_from_bytes(record.trial().weights());
  trial_.weights.resize(trial_.labels.size(), 1);  // none in an earlier version
  next_judgement_ = record.next_judgement();
  proposal_.reset();
  if (record.awaits_event()) {
    ModelAction action{};
    if (!from_record(record.verdict_action(), action))
      return tl::make_unexpected(
          std::string("the trainer's proposal has an action that this version does not know"));
    propose(action, record.verdict_report());
  }
  return {};
}

}  // namespace shrike::engine
