#include "engine/threads/training_thread.h"

#include <algorithm>
#include <thread>

namespace shrike::engine {
namespace {
constexpr size_t kMessagesMax = 1 << 14, kGatheredMax = 256;
}

TrainingThread::TrainingThread(ConfigPtr config, std::unique_ptr<Trainer> trainer, Probe& probe,
                               KeepModel keep, TakeState take)
    : config_(std::move(config)),
      observes_(trainer->observes()),
      trainer_(std::move(trainer)),
      probe_(probe),
      keep_(std::move(keep)),
      take_(std::move(take)),
      queue_(kMessagesMax),
      proposals_(4),
      gathering_(std::make_unique<Message>()) {}

TrainingThread::~TrainingThread() { stop(); }

void TrainingThread::start(Bell& engine_bell) {
  engine_bell_ = &engine_bell;
  offer();  // what recovery left outstanding
  loop_.start({.name = "shrike-train",
               .begin =
                   [this] {
                     if (config_->training.mode == TrainingMode::kBackground) yield_to_requests();
                   },
               .turn = [this] { return turn(); },
               .waiting = [this] { return !queue_.empty(); }});
}

void TrainingThread::stop() {
  if (!loop_.running()) return;
  push_gathered();
  loop_.stop();
}

void TrainingThread::learn(const Example& example) {
  gathering_->examples.push_back({example.transaction, example.verdict, example.weight, {}});
  gathering_->rows.insert(gathering_->rows.end(), example.row.begin(), example.row.end());
}

void TrainingThread::observe(const Key& transaction, std::span<const float> row) {
  if (observes_) learn({transaction, Verdict::kUnknown, 1, row});
}

bool TrainingThread::overloaded() const {
  return waiting() > config_->training.queue_examples_max || queue_.size() > kMessagesMax / 2;
}

double TrainingThread::affordable_share(double share) const {
  if (config_->training.mode == TrainingMode::kAwaited) return 1;
  const uint64_t most = config_->training.queue_examples_max;
  if (waiting() > 4 * most) return 0;
  if (waiting() > 2 * most) return std::min(share, 0.01);
  if (overloaded()) return std::min(share, 0.1);
  return waiting() <= most / 2 ? 1 : share;
}

void TrainingThread::send() {
  if (queue_.empty() || gathering_->examples.size() >= kGatheredMax) push_gathered();
}

void TrainingThread::push_gathered() {
  if (gathering_->examples.empty()) return;
  push(std::exchange(gathering_, std::make_unique<Message>()));
}

void TrainingThread::push(MessagePtr message) {
  probe_.examples_waiting.fetch_add(message->examples.size(), std::memory_order_relaxed);
  ++sent_;
  while (!queue_.push(std::move(message))) std::this_thread::yield();
  loop_.ring();
}

void TrainingThread::model_event(const ModelEvent& event, learners::ModelPtr model) {
  push_gathered();
  auto message = std::make_unique<Message>();
  message->is_model = true;
  message->event = event;
  message->model = std::move(model);
  push(std::move(message));
}

void TrainingThread::checkpoint(uint64_t sequence) {
  push_gathered();
  auto message = std::make_unique<Message>();
  message->checkpoint = sequence;
  push(std::move(message));
}

void TrainingThread::await() {
  push_gathered();
  for (uint64_t handled = handled_.load(); handled < sent_; handled = handled_.load()) handled_.wait(handled);
}

bool TrainingThread::turn() {
  MessagePtr message;
  if (!queue_.pop(message)) return false;
  handle(*message);
  handled_.fetch_add(1);
  handled_.notify_all();
  return true;
}

void TrainingThread::handle(Message& message) {
  const size_t columns = config_->columns.size();
  for (size_t i = 0; i < message.examples.size(); ++i) {
    Example& example = message.examples[i];
    example.row = std::span<const float>(message.rows).subspan(i * columns, columns);
    if (example.verdict == Verdict::kUnknown) {
      trainer_->observe(example.transaction, example.row);
    } else {
      trainer_->learn(example);
    }
  }
  probe_.examples_waiting.fetch_sub(message.examples.size(), std::memory_order_relaxed);
  if (message.is_model) trainer_->model_event(message.event, std::move(message.model));
  probe_.trial_examples.store(trainer_->trial_examples(), std::memory_order_relaxed);
  probe_.trial_frauds.store(trainer_->trial_frauds(), std::memory_order_relaxed);
  if (message.checkpoint != 0) take_(message.checkpoint, trainer_->save());
  offer();
}

void TrainingThread::offer() {
  const auto& proposal = trainer_->proposal();
  if (!proposal || proposal->serial == offered_ || !keep_(*proposal)) return;
  offered_ = proposal->serial;
  Proposal copy = *proposal;
  // A push that fails leaves the item where it is.
  while (!proposals_.push(std::move(copy))) std::this_thread::yield();  // NOLINT(bugprone-use-after-move)
  engine_bell_->ring();
}

}  // namespace shrike::engine
