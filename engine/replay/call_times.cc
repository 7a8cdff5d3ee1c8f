#include "engine/replay/call_times.h"

#include <algorithm>

namespace shrike::engine {

double CallTimes::quantile(double q) const {
  if (us_.empty()) return 0;
  std::vector<float> sorted = us_;
  const auto at = static_cast<size_t>(q * static_cast<double>(sorted.size() - 1));
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(at), sorted.end());
  return static_cast<double>(sorted[at]);
}

}  // namespace shrike::engine
