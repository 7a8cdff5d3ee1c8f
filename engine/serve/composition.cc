#include "engine/serve/composition.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "engine/lifecycle/lifecycle.h"
#include "engine/serve/clocks.h"

namespace shrike::engine {

tl::expected<std::unique_ptr<Composition>, std::string> Composition::open(ConfigPtr config,
                                                                          const std::string& data_dir,
                                                                          zmq::socket_t events,
                                                                          Engine::HandOn hand_on) {
  std::unique_ptr<Composition> c(new Composition(std::move(config)));
  storage::StoreOptions options;
  options.block_cache_bytes = c->config->storage.cache_bytes;
  auto opened = storage::Store::open(data_dir, options);
  if (!opened) return tl::make_unexpected(opened.error().reason);
  c->store = std::move(*opened);
  if (auto fits = c->check_plan(data_dir); !fits) return tl::make_unexpected(fits.error());

  const size_t capacity = queue_capacity(*c->config);
  c->models = std::make_unique<ModelBook>(*c->store, c->config);
  c->history = std::make_unique<StoreHistory>(*c->store, c->config->plan);
  auto alerts = Alerts::open(c->config, *c->store, data_dir, c->probe);
  if (!alerts) return tl::make_unexpected(alerts.error());
  c->alerts = std::move(*alerts);
  c->journal =
      std::make_unique<Journal>(c->config, *c->store, c->probe, std::move(events), capacity, c->alerts.get());
  c->checkpointer = std::make_unique<Checkpointer>(c->config, *c->store, *c->journal, c->probe);
  c->workers = std::make_unique<WorkerPool>(std::max<size_t>(c->config->training.threads, 1));
  auto state = c->recover(data_dir);
  if (!state) return tl::make_unexpected(state.error());
  Composition* const parts = c.get();
  c->training = std::make_unique<TrainingThread>(
      c->config, std::move(state->trainer), c->probe,
      [parts](const Proposal& proposal) { return parts->keep(proposal); },
      [parts](uint64_t sequence, std::string saved) {
        parts->checkpointer->request(sequence, std::move(saved));
      });
  c->retrainer =
      std::make_unique<Retrainer>(c->config, *c->store, *c->journal, [parts](const Retrained& retrained) {
        return parts->keep_model(retrained.event.model, retrained.bytes);
      });
  state->fold->send_examples_to(*c->training);
  const auto config_is_new = c->note_config();
  if (!config_is_new) return tl::make_unexpected(config_is_new.error());
  if (!hand_on) hand_on = [parts](EnvelopePtr envelope) { parts->journal->push(std::move(envelope)); };
  c->engine = std::make_unique<Engine>(Engine::Parts{.config = c->config,
                                                     .fold = std::move(state->fold),
                                                     .history = *c->history,
                                                     .training = *c->training,
                                                     .checkpointer = *c->checkpointer,
                                                     .journal = *c->journal,
                                                     .retrainer = *c->retrainer,
                                                     .probe = c->probe,
                                                     .capacity = capacity,
                                                     .hand_on = std::move(hand_on),
                                                     .config_is_new = *config_is_new,
                                                     .start = parts->start_event()});
  return c;
}

Composition::~Composition() {
  if (engine) engine->stop();
  stop_behind_engine();
  if (alerts) alerts->stop();
}

void Composition::start(Bell& done) {
  start_behind_engine(done);
  engine->start(done);
}

void Composition::start_here(Bell& done) {
  start_behind_engine(done);
  engine->start_here();
}

void Composition::start_behind_engine(Bell& done) {
  alerts->start();
  journal->start(done);
  checkpointer->start();
  training->start(engine->bell());
  retrainer->start(engine->bell());
}

void Composition::stop_behind_engine() {
  if (retrainer) retrainer->stop();
  if (training) training->stop();
  if (checkpointer) checkpointer->stop();
  if (journal) journal->stop();
}

// So that the next start need not fold the tail of the log again.
void Composition::checkpoint_at_end() {
  Fold& fold = engine->fold();
  const uint64_t last = fold.next_sequence() - 1;
  if (journal->failed() || journal->committed() != last || last == started_at) return;
  fold.mark_epoch(server_time_us(*config));
  if (auto written = write_checkpoint(*store, last, fold, training->save()); !written)
    spdlog::error("checkpoint: {}", written.error());
}

tl::expected<void, std::string> Composition::check_plan(const std::string& data_dir) const {
  const std::string fingerprint = fmt::format("{:016x}", config->plan->fingerprint);
  const auto before = store->get_meta("plan");
  if (!before || !*before || **before == fingerprint) return {};
  return tl::make_unexpected(fmt::format(
      "{} was written with another schema, feature set, maturity or lateness; use its configuration "
      "(`shrike replay {} --config OLD` shows what another would say) or a new directory",
      data_dir, data_dir));
}

Composition::State Composition::begin() {
  State state;
  state.trainer = std::make_unique<Trainer>(config);
  state.trainer->use(workers.get());
  state.fold = make_fold(config, *state.trainer, history.get());
  return state;
}

// The newest checkpoint. Where the learner's state does not fit (other options, an earlier version), the
// whole log is folded instead; where retention has taken its beginning, the learner begins anew and the
// champion serves on.
tl::expected<Composition::State, std::string> Composition::restore() {
  State state = begin();
  auto checkpoint = restore_checkpoint(*store, *models, *state.fold, state.trainer.get());
  if (checkpoint) {
    started_at = *checkpoint;
    return state;
  }
  const std::string problem = checkpoint.error();
  state = begin();
  if (store->first_sequence() <= 1) {
    spdlog::warn("{}; the whole log is folded instead", problem);
    return state;
  }
  checkpoint = restore_checkpoint(*store, *models, *state.fold, nullptr);
  if (!checkpoint) return tl::make_unexpected(checkpoint.error());
  spdlog::warn(
      "{}; retention has taken the log's beginning, so the learner begins anew with what comes, and the "
      "present model serves on",
      problem);
  started_at = *checkpoint;
  state.trainer->model_event({ModelAction::kActivated, 0, state.fold->champion_hash(), ""},
                             state.fold->champion());
  return state;
}

tl::expected<Composition::State, std::string> Composition::recover(const std::string& data_dir) {
  auto state = restore();
  if (!state) return tl::make_unexpected(fmt::format("{} cannot be recovered: {}", data_dir, state.error()));
  Fold& fold = *state->fold;
  const auto folded =
      fold_log(*store, *models, fold, state->trainer.get(), fold.next_sequence(), UINT64_MAX, nullptr);
  if (!folded)
    return tl::make_unexpected(fmt::format("{} cannot be recovered: {}", data_dir, folded.error()));
  if (fold.next_sequence() <= store->last_sequence()) {
    return tl::make_unexpected(
        fmt::format("{} cannot be recovered: its checkpoint ends at event {} and the log begins at {}",
                    data_dir, fold.next_sequence() - 1, store->first_sequence()));
  }
  if (fold.next_sequence() > 1)
    spdlog::info("recovered: checkpoint at event {}, then {} events of the log", started_at, folded->events);
  tail_events = folded->events;
  probe.divergences.fetch_add(folded->row_differences);
  fold.take_boundary();
  return state;
}

// A model that is to serve is on disk first.
bool Composition::keep(const Proposal& proposal) {
  return proposal.event.action != ModelAction::kAccepted || keep_model(proposal.event.model, proposal.bytes);
}

bool Composition::keep_model(const std::string& hash, const std::string& bytes) {
  while (true) {
    auto kept = store->put_model(hash, bytes);
    if (kept) return true;
    spdlog::error("a model cannot be kept: {}", kept.error().reason);
    if (stopping.load()) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
}

StartEvent Composition::start_event() const {
  return {wall_us(), kServerVersion, XXH3_64bits(config->text.data(), config->text.size()), tail_events};
}

// Records the configuration; true when it is another than the directory's last.
tl::expected<bool, std::string> Composition::note_config() {
  const auto text = store->get_meta("config");
  if (text && *text && **text == config->text) return false;
  const std::string fingerprint = fmt::format("{:016x}", config->plan->fingerprint);
  for (const auto& [key, value] :
       {std::pair<std::string, std::string>("plan", fingerprint), {"config", config->text}}) {
    if (auto put = store->put_meta(key, value); !put) return tl::make_unexpected(put.error().reason);
  }
  return true;
}

}  // namespace shrike::engine
