// The transactions that have left the fold's memory, looked up in the log. On the engine thread the look-up
// must see what is still on its way to the disk, so it waits for the journal where that could matter (only
// when a transaction matured faster than the journal writes).
#pragma once

#include <functional>
#include <optional>
#include <unordered_map>

#include "engine/fold/fold.h"

namespace shrike::storage {
class Store;
}

namespace shrike::engine {

class StoreHistory : public History {
 public:
  StoreHistory(const storage::Store& store, std::shared_ptr<const features::Plan> plan)
      : store_(store), plan_(std::move(plan)) {}

  Result<std::optional<Recorded>> find(const Key& transaction) override;

  // Called before each look-up; see above.
  std::function<void()> before_look_up;
  // The label states of released transactions that the journal has not yet written: what it has wins over the
  // disk.
  void remember(const Key& transaction, const LabelState& state, uint64_t sequence, uint64_t committed);

 private:
  struct Recent {
    LabelState state;
    uint64_t sequence;
  };
  const storage::Store& store_;
  std::shared_ptr<const features::Plan> plan_;
  std::unordered_map<Key, Recent, features::KeyHash> recent_;
};

}  // namespace shrike::engine
