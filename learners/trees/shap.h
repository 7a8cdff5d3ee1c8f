// Exact, path-dependent TreeSHAP (Lundberg, Erion, Lee, "Consistent Individualized Feature Attribution for
// Tree Ensembles", 2018, algorithm 2): what each column added to a row's margin, averaged over the orders in
// which columns become known, by the covers of the nodes. O(leaves x depth^2) a tree. Plain functions.
#pragma once

#include <span>

#include "learners/trees/tree.h"

namespace shrike::learners {

// Adds the tree's contributions for this row to `out` (one entry per column).
void add_contributions(const Tree& tree, const float* row, std::span<double> out);
// The mean of the tree's leaves by cover: what it gives when nothing is known.
double expected_value(const Tree& tree);

}  // namespace shrike::learners
