#include "tools/bench/arrivals.h"

#include <cmath>

namespace shrike::tools::bench {

int64_t Arrivals::next_ns() {
  const uint64_t number = count_++;
  switch (options_.pattern) {
    case Pattern::kPoisson:
      at_s_ -= std::log1p(-random_.uniform()) / options_.rate;
      return static_cast<int64_t>(at_s_ * 1e9);
    case Pattern::kBurst: {
      const auto burst = static_cast<uint64_t>(options_.burst);
      // From the count and not from the moment before: no error adds up over hours.
      return static_cast<int64_t>(static_cast<double>(number / burst * burst) * 1e9 / options_.rate);
    }
    case Pattern::kConstant:
      break;
  }
  return static_cast<int64_t>(static_cast<double>(number) * 1e9 / options_.rate);
}

}  // namespace shrike::tools::bench
