// A model that is tried beside the champion. First it scores everything and answers nobody (shadow), then it
// answers a share of the entities (canary), until it becomes champion or is gone. Which ones is a hash of the
// entity and of the model: as the share grows an entity that has seen the canary keeps it, and no two
// challengers are tried on the same ones. In an A/B test the share is fixed from the beginning to the end.
// Plain data.
#pragma once

#include <string>

#include "engine/fold/event.h"
#include "learners/model.h"

namespace shrike::engine {

struct Challenger {
  std::string hash;
  learners::ModelPtr model;  // null: there is none
  double share = 0;          // of entities; 0: shadow
  // Where it declines: its scores may mean something else than the champion's.
  Thresholds thresholds;
  bool tested = false;  // in an A/B test (lifecycle/ab_test.h), and not on its way to be champion

  explicit operator bool() const { return model != nullptr; }
  // Who answers the transactions of this entity (a hash of it, see Fold::rollout_entity).
  Arm arm(uint64_t entity) const {
    if (model == nullptr || share <= 0) return Arm::kChampion;
    const uint64_t draw = features::scramble(entity ^ features::scramble(salt()));
    return static_cast<double>(draw >> 11) * 0x1p-53 < share ? Arm::kCanary : Arm::kChampion;
  }

 private:
  uint64_t salt() const {
    uint64_t salt = 0;
    for (const uint8_t byte : from_hex(hash)) salt = features::scramble(salt ^ byte);
    return salt;
  }
};

}  // namespace shrike::engine
