// What `{"command":"status"}` answers: one JSON object of counters. Called on the engine thread, now and
// then.
#pragma once

#include <string>

#include "engine/config/config.h"
#include "engine/fold/fold.h"
#include "engine/serve/journal.h"
#include "engine/threads/probe.h"

namespace shrike::engine {

std::string status_text(const Config& config, const Fold& fold, const Journal& journal, const Probe& probe);

}  // namespace shrike::engine
