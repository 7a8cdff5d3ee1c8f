// How monitors write numbers and days down. Internal to lifecycle.
#pragma once

#include <cstdint>

#include <nlohmann/json.hpp>

#include "engine/lifecycle/shifts.h"

namespace shrike::engine {

// Four digits: a judgement's evidence is read by people, and is the same on every machine. Null for what is
// no finite number.
nlohmann::json short_number(double value);
nlohmann::json shift_json(const Shifts::Shift& shift);

// Scores by their exponent and their first `bits` of mantissa: 2^bits bins for each power of two below 1, the
// last of `bins` for 1, and the first for all that is lower.
size_t score_bin(float score, unsigned bits, size_t bins);

int64_t start_of_hour(int64_t time_us);
int64_t start_of_day(int64_t time_us);

}  // namespace shrike::engine
