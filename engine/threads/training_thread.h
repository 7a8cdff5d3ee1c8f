// The trainer on its own thread. The engine thread hands it examples and model events in the order of the
// log, and takes proposals back; it never waits for it, except in awaited mode at a boundary. When more
// examples wait than training.queue_examples_max, overloaded() is true: the engine refuses labels until it
// has caught up, and of the legitimate examples hands on a share alone. Which, it writes into the log:
// dropping an example without would make the learner's state depend on timing.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/fold/trainer.h"
#include "engine/threads/loop.h"
#include "engine/threads/probe.h"
#include "engine/threads/queue.h"

namespace shrike::engine {

class TrainingThread : public ExampleSink {
 public:
  // Called on the training thread: makes a proposed model durable before the proposal is handed over; false
  // stops it.
  using KeepModel = std::function<bool(const Proposal&)>;
  // Called on the training thread with the trainer's state as of a checkpoint's sequence number.
  using TakeState = std::function<void(uint64_t sequence, std::string state)>;

  TrainingThread(ConfigPtr config, std::unique_ptr<Trainer> trainer, Probe& probe, KeepModel keep,
                 TakeState take);
  ~TrainingThread() override;
  void start(Bell& engine_bell);
  void stop();

  // The engine thread's side. Examples gather until send().
  void learn(const Example& example) override;
  void observe(const Key& transaction, std::span<const float> row) override;
  // When the thread is idle, or enough has gathered.
  void send();
  void model_event(const ModelEvent& event, learners::ModelPtr model);
  void checkpoint(uint64_t sequence);
  // Waits until everything sent is learned.
  void await();
  bool take_proposal(Proposal& out) { return proposals_.pop(out); }
  bool has_proposal() const { return !proposals_.empty(); }
  bool overloaded() const;
  // The share of legitimate examples that it should get from now on, while it gets `share`: the less the
  // further it is behind (none once four times training.queue_examples_max wait), and all again when it has
  // caught up to half of it. All in awaited mode, where nothing may depend on timing.
  double affordable_share(double share) const;
  uint64_t waiting() const { return probe_.examples_waiting.load(std::memory_order_relaxed); }
  // After stop(): the trainer's state, all that was sent learned.
  std::string save() { return trainer_->save(); }

 private:
  struct Message {
    std::vector<Example> examples;  // kUnknown: only observed; their rows are `rows`
    std::vector<float> rows;
    bool is_model = false;
    ModelEvent event;
    learners::ModelPtr model;
    uint64_t checkpoint = 0;
  };
  using MessagePtr = std::unique_ptr<Message>;

  void push_gathered();
  void push(MessagePtr message);
  bool turn();
  void handle(Message& message);
  void offer();

  ConfigPtr config_;
  const bool observes_;
  std::unique_ptr<Trainer> trainer_;
  Probe& probe_;
  KeepModel keep_;
  TakeState take_;
  Queue<MessagePtr> queue_;
  Queue<Proposal> proposals_;
  Bell* engine_bell_ = nullptr;
  MessagePtr gathering_;
  uint64_t offered_ = 0;  // the proposal last offered
  uint64_t sent_ = 0;
  std::atomic<uint64_t> handled_{0};
  Loop loop_;
};

}  // namespace shrike::engine
