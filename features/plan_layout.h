// The last two steps of compiling a plan: where each accumulator lies in an entity's state, and the hash that
// tells whether saved state fits. Plain functions, internal to features/.
#pragma once

#include <cstdint>
#include <vector>

#include "features/plan.h"

namespace shrike::features {

// The bytes of an accumulator's state in the block; 0 for those that grow.
uint32_t fixed_size(const Accumulator& accumulator);

// Gives every accumulator its place (those of unbounded windows first: they outlive the ring), and the entity
// its retention.
void lay_out(EntityPlan& entity, const PlanOptions& options);

// Changes when anything changes that saved feature state depends on.
uint64_t fingerprint(const Plan& plan, const PlanOptions& options, const std::vector<FeatureSpec>& specs);

}  // namespace shrike::features
