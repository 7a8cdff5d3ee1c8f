// What the importers share. Internal to learners/.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "learners/error.h"
#include "learners/matrix.h"
#include "learners/trees/tree.h"

namespace shrike::learners {

inline tl::unexpected<Error> refuse(std::string field, std::string reason) {
  return tl::make_unexpected(Error{ErrorCode::kDamaged, std::move(field), std::move(reason)});
}

// Whether bytes begin like a model that LightGBM saved as text.
bool looks_like_lightgbm(std::string_view bytes);

// What the sets of categories of a whole model may take: a file names one category in a few bytes, and its
// set is a bit for every code up to it.
class SetBudget {
 public:
  // False, and nothing is taken, when `words` more would be too much.
  bool take(size_t words) {
    if (words > left_) return false;
    left_ -= words;
    return true;
  }
  static tl::unexpected<Error> refusal(std::string field) {
    return refuse(std::move(field),
                  fmt::format("with it the sets of categories take more than {} MiB, as each is a "
                              "bit for every code up to its largest; number the categories from 0, "
                              "without gaps",
                              kSetBytesMax >> 20));
  }

 private:
  size_t left_ = kSetBytesMax / sizeof(uint32_t);
};

// Of columns that trees split by categories: whose codes their values must be. Empty when there are none.
std::vector<std::string> note_codes(const std::vector<Tree>& trees, const std::vector<Column>& columns,
                                    const char* maker);

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
