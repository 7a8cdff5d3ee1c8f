// Suggestions for misspelt names. Plain function.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace shrike::features {

// The name among `known` that is nearest to `wrong` by edit distance, or "" when none is near.
std::string nearest(std::string_view wrong, const std::vector<std::string>& known);

}  // namespace shrike::features
