// The C face over engine/serve/embedded.h.
#include "embed/shrike.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>

#include "engine/config/config.h"
#include "engine/serve/composition.h"
#include "engine/serve/embedded.h"

struct shrike_engine {
  std::unique_ptr<shrike::engine::Embedded> embedded;
};

namespace {

using shrike::engine::Decision;
using shrike::engine::Embedded;
using shrike::engine::ErrorCode;
using shrike::engine::Step;

// A status is the error's place among the codes, which keep theirs.
constexpr int status_of(ErrorCode code) { return static_cast<int>(code) + 1; }
static_assert(status_of(ErrorCode::kMalformed) == SHRIKE_MALFORMED);
static_assert(status_of(ErrorCode::kMissing) == SHRIKE_MISSING_FIELD);
static_assert(status_of(ErrorCode::kUnknownField) == SHRIKE_UNKNOWN_FIELD);
static_assert(status_of(ErrorCode::kInvalid) == SHRIKE_INVALID_VALUE);
static_assert(status_of(ErrorCode::kTooLarge) == SHRIKE_TOO_LARGE);
static_assert(status_of(ErrorCode::kTooEarly) == SHRIKE_TOO_EARLY);
static_assert(status_of(ErrorCode::kOverloaded) == SHRIKE_OVERLOADED);
static_assert(status_of(ErrorCode::kStorage) == SHRIKE_STORAGE);
static_assert(status_of(ErrorCode::kUnavailable) == SHRIKE_UNAVAILABLE);
static_assert(status_of(ErrorCode::kNotFound) == SHRIKE_NOT_FOUND);
static_assert(status_of(ErrorCode::kConflict) == SHRIKE_CONFLICT);
static_assert(status_of(ErrorCode::kForbidden) == SHRIKE_FORBIDDEN);
static_assert(static_cast<int>(Decision::kDecline) == SHRIKE_DECLINE);
static_assert(static_cast<int>(Step::kStatic) == SHRIKE_STATIC);

thread_local std::string text_of_thread;

void hand_out(shrike_text* to) {
  if (to != nullptr) *to = {text_of_thread.data(), text_of_thread.size()};
}

// Standard output is the program's, and so is what it has told spdlog. Else warnings go to standard error.
void log_as_a_guest() {
  [[maybe_unused]] static const bool once = [] {
    if (!spdlog::default_logger_raw()->name().empty()) return true;
    auto logger =
        std::make_shared<spdlog::logger>("shrike", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    logger->set_level(spdlog::level::warn);
    spdlog::set_default_logger(std::move(logger));
    return true;
  }();
}

int status_of(const Embedded::Said& said) { return said.refused ? status_of(said.error) : SHRIKE_OK; }

}  // namespace

uint32_t shrike_abi(void) { return SHRIKE_ABI; }
const char* shrike_version(void) { return shrike::engine::kServerVersion; }

shrike_engine* shrike_open(const char* config_file, const char* data_dir, shrike_text* error) {
  log_as_a_guest();
  text_of_thread.clear();
  if (config_file == nullptr || data_dir == nullptr) {
    text_of_thread = "shrike_open() needs a configuration's file and a data directory";
    hand_out(error);
    return nullptr;
  }
  auto config = shrike::engine::load_config(config_file);
  if (!config) {
    text_of_thread = fmt::format("{}", fmt::join(config.error(), "\n"));
    hand_out(error);
    return nullptr;
  }
  auto embedded = Embedded::open(std::move(*config), data_dir);
  if (!embedded) {
    text_of_thread = std::move(embedded.error());
    hand_out(error);
    return nullptr;
  }
  return new shrike_engine{std::move(*embedded)};
}

void shrike_close(shrike_engine* engine) { delete engine; }

int shrike_score(shrike_engine* engine, const void* request, size_t size, shrike_answer* answer,
                 shrike_text* reply) {
  const Embedded::Said said = engine->embedded->score({static_cast<const char*>(request), size},
                                                      reply != nullptr ? &text_of_thread : nullptr);
  hand_out(reply);
  if (answer == nullptr) return status_of(said);
  *answer = {};
  if (said.refused) return status_of(said);
  answer->decision = static_cast<int32_t>(said.decision);
  answer->step = static_cast<int32_t>(said.step);
  answer->score = static_cast<double>(said.score);
  answer->risk = said.risk;
  answer->seq = said.sequence;
  answer->duplicate = said.duplicate;
  return SHRIKE_OK;
}

int shrike_feedback(shrike_engine* engine, const void* request, size_t size, shrike_text* reply) {
  const Embedded::Said said = engine->embedded->feedback({static_cast<const char*>(request), size},
                                                         reply != nullptr ? &text_of_thread : nullptr);
  hand_out(reply);
  return status_of(said);
}
