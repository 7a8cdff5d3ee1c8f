// Requests made ahead of their moment: a thread of its own takes transactions from a source, writes them as
// bytes and puts the labels of earlier ones between them where the stream's time has come, so that whoever
// sends only copies bytes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "engine/config/config.h"
#include "engine/threads/queue.h"
#include "engine/wire/request.h"
#include "tools/bench/source.h"
#include "tools/labellers.h"

namespace shrike::tools::bench {

struct Request {
  std::string_view bytes;  // valid until the next one is taken
  uint64_t tag = 0;        // of the transaction's id, as ReplyReader finds it in the answer
  bool label = false;      // for the feedback socket, and no arrival of its own
};

// What a load sends, one after the other.
class Supply {
 public:
  virtual ~Supply() = default;
  // False when nothing is ready: at the end, or because the maker is behind.
  virtual bool next(Request& request) = 0;
  virtual bool ended() const = 0;
};

struct TrafficOptions {
  engine::Format format = engine::Format::kProtobuf;
  bool labels = true;  // of frauds, as `labelling` says, at their delay of event time
  LabellingOptions labelling;
  uint64_t seed = 1;
};

// next() belongs to one thread, the rest to whoever owns it.
class Traffic : public Supply {
 public:
  Traffic(engine::ConfigPtr config, std::unique_ptr<Source> source, const TrafficOptions& options);
  ~Traffic() override;

  bool next(Request& request) override;
  bool ended() const override;
  // Waits until as much is ready as is kept ready.
  void wait_until_full() const;
  // The first few of its transactions, for whoever wants messages of their sizes. Valid once full.
  const std::vector<std::string>& samples() const { return samples_; }
  // Why the source ended before its time; "" when it did not. Valid once ended() holds.
  const std::string& problem() const { return problem_; }
  // Days of event time that the requests made so far span.
  double days() const { return days_.load(std::memory_order_relaxed); }

 private:
  struct Chunk {
    struct Item {
      size_t end = 0;  // of its bytes
      uint64_t tag = 0;
      bool label = false;
    };
    std::string bytes;
    std::vector<Item> items;
  };
  using ChunkPtr = std::unique_ptr<Chunk>;
  struct Due {
    int64_t time_us;
    uint64_t serial;
    std::string request;
    bool operator<(const Due& other) const {
      return std::pair(time_us, serial) > std::pair(other.time_us, other.serial);
    }
  };
  static constexpr size_t kChunks = 64, kChunkTransactions = 256, kSamples = 256;

  void run();
  bool fill(Chunk& chunk);
  void add_transaction(Chunk& chunk, int label);
  void await_labels();

  engine::ConfigPtr config_;
  std::unique_ptr<Source> source_;
  TrafficOptions options_;
  // The maker's.
  Labellers labellers_;
  features::Transaction transaction_, label_holder_;
  std::priority_queue<Due> due_;
  uint64_t labels_made_ = 0;
  int64_t first_us_ = INT64_MIN;
  std::vector<std::string> samples_;
  std::string problem_;
  std::atomic<double> days_{0};
  // Between maker and sender.
  engine::Queue<ChunkPtr> ready_{kChunks}, spare_{kChunks};
  mutable engine::Bell bell_;  // rung when there is room again
  std::atomic<bool> stopping_{false}, done_{false};
  // The sender's.
  ChunkPtr chunk_;
  size_t item_ = 0, offset_ = 0;
  std::thread thread_;
};

// The same few messages again and again: for a peer that does not look into them.
class Repeated : public Supply {
 public:
  explicit Repeated(std::vector<std::string> messages) : messages_(std::move(messages)) {}
  bool next(Request& request) override {
    request = {messages_[at_++ % messages_.size()], 0, false};
    return true;
  }
  bool ended() const override { return false; }

 private:
  std::vector<std::string> messages_;
  size_t at_ = 0;
};

// What an id is known by in a reply.
uint64_t id_tag(int64_t id);
uint64_t id_tag(std::string_view id);

}  // namespace shrike::tools::bench
