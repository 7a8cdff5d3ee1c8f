#include "engine/lifecycle/numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>

namespace shrike::engine {
namespace {
int64_t floor_to(int64_t value, int64_t step) { return (value / step - (value % step < 0)) * step; }
}  // namespace

size_t score_bin(float score, unsigned bits, size_t bins) {
  const unsigned shift = 23 - bits;
  const uint32_t one = std::bit_cast<uint32_t>(1.0f) >> shift;
  if (!(score > 0)) return 0;
  const uint32_t below = one - std::min(std::bit_cast<uint32_t>(score) >> shift, one);
  return below >= bins ? 0 : bins - 1 - below;
}

nlohmann::json short_number(double value) {
  if (!std::isfinite(value)) return nullptr;
  const std::string text = fmt::format("{:.4g}", value);
  double rounded = 0;
  std::from_chars(text.data(), text.data() + text.size(), rounded);
  return rounded;
}

nlohmann::json shift_json(const Shifts::Shift& shift) {
  return {{"magnitude", short_number(shift.magnitude)},
          {"psi", short_number(shift.psi)},
          {"js", short_number(shift.js)},
          {"wasserstein", short_number(shift.wasserstein)},
          {"ks", short_number(shift.ks)},
          {"ks_p", short_number(shift.ks_p)},
          {"chi2", short_number(shift.chi2)},
          {"chi2_p", short_number(shift.chi2_p)},
          {"missing", {short_number(shift.missing[0]), short_number(shift.missing[1])}}};
}

int64_t start_of_hour(int64_t time_us) { return floor_to(time_us, features::kHourUs); }
int64_t start_of_day(int64_t time_us) { return floor_to(time_us, features::kDayUs); }

}  // namespace shrike::engine
