#include "engine/log/recovery.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstring>

#include "storage/store.h"

namespace shrike::engine {

ModelBook::ModelBook(const storage::Store& store, ConfigPtr config) : store_(store) {
  auto prior = learners::make_prior_model(config->columns, config->training.prior);
  const std::string hash = learners::content_hash(learners::serialize(*prior));
  models_[hash] = std::move(prior);
}

learners::ModelPtr ModelBook::load(const std::string& hash) {
  if (auto found = models_.find(hash); found != models_.end()) return found->second;
  const auto bytes = store_.get_model(hash);
  if (!bytes) {
    spdlog::error("model {}: {}", hash, bytes.error().reason);
    return nullptr;
  }
  auto model = learners::load_model(*bytes);
  if (!model) {
    spdlog::error("model {}: {}", hash, model.error().reason);
    return nullptr;
  }
  return models_[hash] = std::move(*model);
}

tl::expected<FoldReport, std::string> fold_log(const storage::Store& store, ModelBook& models, Fold& fold,
                                               Trainer* trainer, uint64_t from, uint64_t to,
                                               const Observer& observer) {
  FoldReport report;
  std::vector<float> row(fold.config().columns.size());
  auto cursor = store.read(from);
  while (true) {
    auto next = cursor.next();
    if (!next) return tl::make_unexpected(next.error().reason);
    if (!*next || (*next)->sequence > to) break;
    const uint64_t sequence = (*next)->sequence;
    auto event = decode_event(fold.config().schema(), (*next)->value);
    if (!event) return tl::make_unexpected(fmt::format("event {}: {}", sequence, event.error()));
    if (fold.next_sequence() != sequence) {
      return tl::make_unexpected(
          fmt::format("event {} follows {}: the log has a gap", sequence, fold.next_sequence() - 1));
    }
    ++report.events;
    if (const auto* transaction = std::get_if<TransactionEvent>(&*event)) {
      const Answer& answer = transaction->answer;
      const Folded folded = fold.fold(transaction->transaction, answer.clock, row);
      // Who answered is the fold's to say, but where the canary gave no probability or there was no time.
      if (challengers_score(answer) >= 0 && answer.step != Step::kStatic)
        report.arms_different += fold.arm(folded) != answer.arm;
      fold.answer(folded, answer);
      ++report.transactions;
      const bool same = transaction->row.size() == row.size() &&
                        std::memcmp(transaction->row.data(), row.data(), row.size() * sizeof(float)) == 0;
      if (!same && report.row_differences++ == 0) report.first_difference = sequence;
    } else if (const auto* label = std::get_if<LabelEvent>(&*event)) {
      if (auto folded = fold.replay_label(*label); !folded)
        return tl::make_unexpected(fmt::format("event {}: {}", sequence, folded.error().reason));
    } else if (const auto* model = std::get_if<ModelEvent>(&*event)) {
      learners::ModelPtr loaded;
      if (model->action != ModelAction::kRejected) {
        loaded = models.load(model->model);
        if (loaded == nullptr)
          return tl::make_unexpected(fmt::format("event {}: model {} is missing", sequence, model->model));
      }
      fold.model(*model, loaded);
      if (trainer != nullptr) trainer->model_event(*model, loaded);
    } else if (const auto* repair = std::get_if<RepairEvent>(&*event)) {
      fold.repair(*repair);
    } else if (const auto* outcome = std::get_if<OutcomeEvent>(&*event)) {
      if (auto folded = fold.replay_outcome(*outcome); !folded)
        return tl::make_unexpected(fmt::format("event {}: {}", sequence, folded.error().reason));
    } else if (const auto* judgement = std::get_if<JudgementEvent>(&*event)) {
      const JudgementEvent* made = fold.next_judgement();
      const bool by_host = judgement->action == Action::kSample || judgement->monitor == kRetraining;
      report.judgements_different += !by_host && (made == nullptr || !(*made == *judgement));
      fold.judgement(*judgement);
    } else if (const auto* machine = std::get_if<MachineEvent>(&*event)) {
      fold.machine(*machine);
    } else if (const auto* kpi = std::get_if<KpiEvent>(&*event)) {
      fold.replay_kpi(*kpi);
    } else {
      fold.skip();
    }
    if (observer) observer(sequence, *event);
  }
  return report;
}

namespace {

tl::expected<uint64_t, std::string> restore_from(const storage::Checkpoint& checkpoint, ModelBook& models,
                                                 Fold& fold, Trainer* trainer) {
  if (!checkpoint.note.empty()) spdlog::warn("{}", checkpoint.note);
  const auto load = [&](const std::string& hash) { return models.load(hash); };
  for (const auto& [part, chunks] : checkpoint.parts) {
    for (const std::string& chunk : chunks) {
      tl::expected<void, std::string> done;
      if (part == "trainer") {
        if (trainer != nullptr) done = trainer->restore(chunk);
      } else {
        done = fold.restore(part, chunk, load);
      }
      if (!done) {
        return tl::make_unexpected(
            fmt::format("checkpoint at event {}, part {}: {}", checkpoint.sequence, part, done.error()));
      }
    }
  }
  return checkpoint.sequence;
}

}  // namespace

tl::expected<uint64_t, std::string> restore_checkpoint(storage::Store& store, ModelBook& models, Fold& fold,
                                                       Trainer* trainer) {
  auto checkpoint = store.latest_checkpoint();
  if (!checkpoint) return tl::make_unexpected(checkpoint.error().reason);
  return *checkpoint ? restore_from(**checkpoint, models, fold, trainer) : 0;
}

tl::expected<uint64_t, std::string> restore_oldest_checkpoint(storage::Store& store, ModelBook& models,
                                                              Fold& fold) {
  const auto committed = store.list_checkpoints();
  if (!committed) return tl::make_unexpected(committed.error().reason);
  for (const uint64_t sequence : *committed) {
    if (sequence + 1 < store.first_sequence()) continue;  // the events after it are gone
    auto checkpoint = store.get_checkpoint(sequence);
    if (!checkpoint) return tl::make_unexpected(checkpoint.error().reason);
    if (*checkpoint) return restore_from(**checkpoint, models, fold, nullptr);
  }
  return 0;
}

tl::expected<FoldReport, std::string> restore_and_fold(storage::Store& store, ModelBook& models, Fold& fold,
                                                       uint64_t to) {
  const auto restored = restore_checkpoint(store, models, fold, nullptr);
  if (!restored) return tl::make_unexpected(restored.error());
  return fold_log(store, models, fold, nullptr, fold.next_sequence(), to, nullptr);
}

tl::expected<void, std::string> write_checkpoint(storage::Store& store, uint64_t sequence, const Fold& fold,
                                                 const std::string& trainer_state) {
  auto writer = store.begin_checkpoint(sequence);
  if (!writer) return tl::make_unexpected(writer.error().reason);
  std::string problem;
  const auto add = [&](const char* part, const std::string& piece) {
    if (!problem.empty()) return;
    if (auto added = (*writer)->add(part, piece); !added) problem = added.error().reason;
  };
  fold.save([&](const char* part, std::string piece) { add(part, piece); });
  add("trainer", trainer_state);
  if (!problem.empty()) return tl::make_unexpected(problem);
  if (auto committed = (*writer)->commit(); !committed) return tl::make_unexpected(committed.error().reason);
  return {};
}

}  // namespace shrike::engine
