// The engine in the caller's process, without a socket: the same recovery, features, learners, log and
// commands as a server's. A call folds, scores and decides on the caller's thread, one call at a time; the
// log, training, checkpoints and retraining have their threads, as in a server. Requests and replies are
// those of docs/wire.md, JSON or Protobuf. Any number of threads may call.
//
// With durability "async" a score returns when it is decided, and is on the disk a little later; else, and
// labels always, a call returns when its event is on the disk. What waits for no request (a model that takes
// over, a judgement) is done by the next call, whatever it is.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <tl/expected.hpp>

#include "engine/config/config.h"
#include "engine/threads/loop.h"
#include "engine/wire/wire.h"

namespace shrike::engine {

struct Composition;
class ModelLoader;

class Embedded {
 public:
  // What a reply says, for a caller that need not read it.
  struct Said {
    ErrorCode error{};  // if refused
    bool refused = false;
    bool duplicate = false;
    float score = 0;
    double risk = 0;
    Decision decision = Decision::kReview;
    Step step = Step::kFull;
    uint64_t sequence = 0;
  };

  // Opens the data directory and recovers. Errors are sentences that say what to do.
  static tl::expected<std::unique_ptr<Embedded>, std::string> open(ConfigPtr config,
                                                                   const std::string& data_dir);
  // All that was acknowledged is on the disk, with a checkpoint. No call may be under way.
  ~Embedded();

  // `reply` is overwritten; null when it is not wanted.
  Said score(std::string_view request, std::string* reply);
  Said feedback(std::string_view request, std::string* reply);

 private:
  explicit Embedded(ConfigPtr config);
  EnvelopePtr fresh(bool feedback);
  Said ask(EnvelopePtr envelope, std::unique_lock<std::mutex>& lock, std::string* reply);
  Said told(const Envelope& envelope, std::string* reply) const;
  EnvelopePtr wait_for(const Envelope* envelope);
  bool take_back();

  ConfigPtr config_;
  std::mutex calls_;  // one at a time; held for what follows, but not for the disk
  Decoder decoder_;
  std::unique_ptr<ModelLoader> loader_;
  std::vector<EnvelopePtr> handed_;  // by the engine, in this call
  Queue<EnvelopePtr> free_;          // from the thread below, to be used again

  std::mutex returns_;
  std::condition_variable returned_;
  std::unordered_map<const Envelope*, EnvelopePtr> written_;  // that somebody waits for

  std::unique_ptr<Composition> parts_;
  Loop loop_;  // takes back what the journal has written
};

}  // namespace shrike::engine
