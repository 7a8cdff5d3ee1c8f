// What the importers share. Internal to learners/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "learners/error.h"
#include "learners/matrix.h"
#include "learners/trees/tree.h"

namespace shrike::learners {

inline tl::unexpected<Error> refuse(std::string field, std::string reason) {
  return tl::make_unexpected(Error{ErrorCode::kDamaged, std::move(field), std::move(reason)});
}

// Which of our columns each of the model's features is: by name, or by position when it has no names.
// `names_field` and `count_field` are what errors call them.
Result<std::vector<int32_t>> match_columns(const std::vector<std::string>& names, size_t features,
                                           const std::vector<Column>& columns, const char* names_field,
                                           const char* count_field);

// One node as another tool keeps it: children by index, in any order.
struct ForeignNode {
  TreeNode node;
  double exact = 0;
  int64_t left = -1, right = -1;   // of a split
  std::vector<uint32_t> set = {};  // of a categorical split: members go left
};

// The tree in our order. Refuses children that do not exist or are shared. `exact`: keep leaves in double.
Result<Tree> order_tree(std::vector<ForeignNode> nodes, int64_t root, bool exact, const std::string& where);

}  // namespace shrike::learners
