// The entities of one kind inside a FeatureStore: states, index, order of last use. Internal to features/.
#pragma once

#include <memory>
#include <vector>

#include "features/feature_store.h"

namespace shrike::features {

struct FeatureStore::Kind {
  std::vector<std::unique_ptr<EntityState>> states;
  std::vector<uint64_t> free;  // slots to use again
  KeyIndex index;
  uint64_t oldest = KeyIndex::kNone, newest = KeyIndex::kNone;  // by last use
  uint64_t forgotten_idle = 0, forgotten_at_bound = 0, events_dropped_early = 0;
  // Events newer than a late one, taken out of its ring while it is folded.
  std::vector<int64_t> set_aside;
};

}  // namespace shrike::features
