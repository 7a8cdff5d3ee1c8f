// What `replay` and `evaluate` share: the options that say what is measured, and who counts as a card.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "engine/config/config.h"
#include "engine/replay/prequential.h"

namespace shrike::tools {

// --days; every day when empty.
tl::expected<engine::DayRange, std::string> read_days(const std::string& text);
// --label-delay; the configuration's maturity when empty.
struct LabelDelay {
  int64_t mean_us = 0;
  bool exponential = false;  // else fixed
};
tl::expected<LabelDelay, std::string> parse_label_delay(const std::string& text);  // "7d", "exponential:14d"
tl::expected<LabelDelay, std::string> read_label_delay(const std::string& text, const engine::Config& config);
// Whom card precision counts: the first entity, or the transaction itself where none is declared.
uint64_t card_of(const engine::Config& config, const features::Transaction& transaction);

}  // namespace shrike::tools
