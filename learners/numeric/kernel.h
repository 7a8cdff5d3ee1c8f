// Which scoring kernel the process uses (see use_kernel() in model.h). Any thread. Internal to learners/.
#pragma once

#include "learners/model.h"

namespace shrike::learners {

// What use_kernel() chose, kAuto resolved: kScalar, kAvx2 or kAvx512. On machines with neither set: kScalar.
Kernel tree_kernel();
// Whether linear models and the logistic use vectors.
bool vectors_enabled();

}  // namespace shrike::learners
