// Reads and compiles the models that commands name, beside the socket thread: that takes milliseconds, and
// much longer for large ones. A thread of its own between two queues; requests come out as they went in, with
// the model or an error.
#pragma once

#include "engine/config/config.h"
#include "engine/threads/loop.h"
#include "engine/threads/queue.h"
#include "engine/wire/request.h"

namespace shrike::storage {
class Store;
}

namespace shrike::engine {

class ModelLoader {
 public:
  ModelLoader(ConfigPtr config, const storage::Store& store, size_t capacity)
      : config_(std::move(config)), store_(store), asked_(capacity), loaded_(capacity) {}

  // Whether this is a command that names a model and was not refused.
  static bool is_for(const Envelope& envelope);

  // `done` rings when a request has come out.
  void start(Bell& done);
  void stop() { loop_.stop(); }
  // The producer's and the consumer's side, of one thread. There is room for all that are in flight.
  void push(EnvelopePtr envelope);
  Queue<EnvelopePtr>& loaded() { return loaded_; }

  // The work itself, on the caller's thread.
  Result<void> load(asked::Control& control) const;

 private:
  ConfigPtr config_;
  const storage::Store& store_;
  Queue<EnvelopePtr> asked_, loaded_;
  Bell* done_ = nullptr;
  Loop loop_;
};

}  // namespace shrike::engine
